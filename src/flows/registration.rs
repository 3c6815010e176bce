//! Registering: an address, a password, perhaps a name.

use super::{Failure, Throttled};
use crate::app::App;
use crate::domain::{
    Client, Email, MessageId, NewPassword, PasswordProblem, TicketId, User, Username,
};
use crate::secret::Secret;
use crate::store::{NewTicket, NewUser, RegisterOutcome, Taken};

/// What someone asks to register, as far as each field is good on its own; a field with an error
/// is `None`.
#[derive(Debug)]
pub struct Draft {
    /// The address.
    pub email: Option<Email>,
    /// The name, or `Some(None)` where none was chosen.
    pub username: Option<Option<Username>>,
    /// The password.
    pub password: Option<Secret<String>>,
    /// The password once more.
    pub repeated: Option<Secret<String>>,
}

/// Why nobody was registered.
#[derive(Debug, PartialEq, Eq)]
pub enum RegistrationRefused {
    /// Fields are missing from the draft, or have these problems besides.
    Fields {
        /// What someone else has already.
        taken: Taken,
        /// The rules that the password breaks.
        password: Vec<PasswordProblem>,
    },
    /// Every field is good, but the two passwords differ.
    PasswordsDiffer,
    /// Too many attempts from this address.
    Throttled(Throttled),
    /// It could not be carried out.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for RegistrationRefused {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// Whether the operator lets anyone register.
pub fn is_open(app: &App) -> bool {
    app.config.registration.is_enabled
}

/// Makes the account and queues the verification mail, durably, all or nothing.
///
/// The answer tells whether an address or a name is taken. So an attempt that holds either of them
/// counts before anything else about it is judged, and a client over the limit is told only that:
/// otherwise a bad password in the same request would be a way around the limit.
///
/// # Errors
/// [`RegistrationRefused`]; nothing was written then.
pub async fn register(
    app: &App,
    draft: Draft,
    client: &Client,
) -> Result<User, RegistrationRefused> {
    let Draft { email, username, password, repeated } = draft;
    let name = username.as_ref().and_then(Option::as_ref);
    let mut taken = Taken::default();
    if email.is_some() || name.is_some() {
        app.throttle
            .registration(client.block(), app.clock.read().wall)
            .map_err(|after| RegistrationRefused::Throttled(after.into()))?;
        taken = app.store.find_taken(email.as_ref(), name)?;
    }
    let policy = &app.config.passwords.policy;
    let checked = password.as_ref().map(|it| NewPassword::check(it, policy, email.as_ref(), name));
    let (email, username, new, repeated) = match (email, username, checked, repeated) {
        (Some(email), Some(username), Some(Ok(new)), Some(repeated)) if !taken.any() => {
            (email, username, new, repeated)
        }
        (_, _, checked, _) => {
            let password = checked.and_then(Result::err).unwrap_or_default();
            return Err(RegistrationRefused::Fields { taken, password });
        }
    };
    if password.is_none_or(|password| password.expose() != repeated.expose()) {
        return Err(RegistrationRefused::PasswordsDiffer);
    }
    app.moment()?;
    let password = app.hasher.hash(new, app.random.bytes(), client.block()).await?;
    // Hashing may have waited: what follows happens now.
    let at = app.moment()?;
    let new = NewUser {
        email,
        username,
        password,
        ticket: NewTicket {
            id: TicketId::from_bytes(app.random.bytes()),
            expires_at: at.now.saturating_add(app.config.registration.ticket_lifetime),
        },
        message_id: MessageId::from_bytes(app.random.bytes()),
        client: client.clone(),
    };
    match app.store.register_user(new, at).await? {
        RegisterOutcome::Registered(user) => Ok(user),
        RegisterOutcome::Taken(taken) => {
            Err(RegistrationRefused::Fields { taken, password: Vec::new() })
        }
    }
}
