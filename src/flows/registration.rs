//! Registering: an address, a password, perhaps a name.

use super::{Failure, Throttled};
use crate::app::App;
use crate::domain::{Client, Email, MessageId, NewPassword, TicketId, User, Username};
use crate::store::{NewTicket, NewUser, RegisterOutcome, Taken};

/// What is registered, each value checked on its own.
#[derive(Debug)]
pub struct Registration {
    /// The address.
    pub email: Email,
    /// The name, where one was chosen.
    pub username: Option<Username>,
    /// The password.
    pub password: NewPassword,
}

/// Why nobody was registered.
#[derive(Debug, PartialEq, Eq)]
pub enum RegistrationRefused {
    /// Someone has the address or the name.
    Taken(Taken),
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

/// Counts an attempt that will tell whether an address or a name is taken.
///
/// # Errors
/// [`Throttled`], if there were too many from that address.
pub fn count_attempt(app: &App, client: &Client) -> Result<(), Throttled> {
    let now = app.clock.read().wall;
    app.throttle.registration(client.block(), now).map_err(Throttled::from)
}

/// Whether someone has the address or the name, so that this can be said together with whatever
/// else is wrong. [`register`] looks again.
///
/// # Errors
/// [`Failure`].
pub fn look_for_taken(
    app: &App,
    email: Option<&Email>,
    username: Option<&Username>,
) -> Result<Taken, Failure> {
    Ok(app.store.find_taken(email, username)?)
}

/// Makes the account and queues the verification mail, durably, all or nothing.
///
/// # Errors
/// [`RegistrationRefused`]; nothing was written then.
pub async fn register(
    app: &App,
    registration: Registration,
    client: &Client,
) -> Result<User, RegistrationRefused> {
    app.moment()?;
    let salt = app.random.bytes();
    let password = app.hasher.hash(registration.password, salt, client.block()).await?;
    // Hashing may have waited: what follows happens now.
    let at = app.moment()?;
    let new = NewUser {
        email: registration.email,
        username: registration.username,
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
        RegisterOutcome::Taken(taken) => Err(RegistrationRefused::Taken(taken)),
    }
}
