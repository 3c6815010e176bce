//! The account as its owner changes it: name, address, and deleting it.

use super::credentials::{PasswordRefused, check_password};
use super::{Failure, Throttled};
use crate::app::App;
use crate::domain::{Actor, Client, Email, MessageId, Session, TicketId, User, Username};
use crate::secret::Secret;
use crate::store::{AccountChange, Changed, EmailChange, NewTicket, Taken};

/// What the owner wants to change; `None` leaves a field unchanged.
#[derive(Debug, Default)]
pub struct ProfileChange {
    /// A new name, or none any more.
    pub username: Option<Option<Username>>,
    /// Another address, or the same in other letter case.
    pub email: Option<Email>,
    /// The current password, which a really new address asks for.
    pub current_password: Option<Secret<String>>,
}

/// Why nothing was changed.
#[derive(Debug, PartialEq, Eq)]
pub enum ChangeRefused {
    /// A really new address asks for the current password, and there was none.
    PasswordRequired,
    /// The current password does not count.
    Password(PasswordRefused),
    /// Someone else has the address or the name.
    Taken(Taken),
    /// The new address has been sent too much mail.
    Throttled(Throttled),
    /// The session has ended, or the credentials have changed, meanwhile.
    NotAuthorised,
    /// It could not be carried out.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for ChangeRefused {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// Whether `email` is another address than the user's, and not only spelt otherwise.
pub fn is_new_address(user: &User, email: &Email) -> bool {
    email.key() != user.email.key()
}

/// Changes a profile: the name and the spelling of the address at once, a really new address once
/// it has been confirmed.
///
/// # Errors
/// [`ChangeRefused`]; nothing was changed then.
pub async fn change_profile(
    app: &App,
    user: &User,
    session: &Session,
    change: ProfileChange,
    client: Client,
) -> Result<User, ChangeRefused> {
    let mut wanted = AccountChange { username: change.username, ..AccountChange::default() };
    match change.email {
        Some(email) if is_new_address(user, &email) => {
            let password = change.current_password.ok_or(ChangeRefused::PasswordRequired)?;
            let credential_version = check_password(app, user, password, &client)
                .await
                .map_err(ChangeRefused::Password)?;
            wanted.email = Some(email_change(app, email, credential_version)?);
        }
        spelling => wanted.spelling = spelling,
    }
    let by = Actor::logged_in(session, client);
    let at = app.moment()?;
    match app.store.change_account(by, user.id, wanted, at).await? {
        Changed::Done(user) => Ok(user.seen_at(at.now)),
        Changed::Taken(taken) => Err(ChangeRefused::Taken(taken)),
        Changed::TooMuchMail(retry_after) => {
            Err(ChangeRefused::Throttled(Throttled { retry_after }))
        }
        Changed::NotAuthorised => Err(ChangeRefused::NotAuthorised),
    }
}

fn email_change(
    app: &App,
    email: Email,
    credential_version: u64,
) -> Result<EmailChange, ChangeRefused> {
    let expires_at = app.moment()?.now.saturating_add(app.config.email_change.ticket_lifetime);
    let ticket = || NewTicket { id: TicketId::from_bytes(app.random.bytes()), expires_at };
    let message_id = || MessageId::from_bytes(app.random.bytes());
    Ok(EmailChange {
        email,
        credential_version,
        tickets: [ticket(), ticket()],
        message_ids: [message_id(), message_id()],
    })
}

/// Deletes the account of who acts, who knows its password.
///
/// # Errors
/// [`ChangeRefused`]; nothing was changed then.
pub async fn delete(
    app: &App,
    user: &User,
    session: &Session,
    password: Secret<String>,
    client: Client,
) -> Result<(), ChangeRefused> {
    let credential_version =
        check_password(app, user, password, &client).await.map_err(ChangeRefused::Password)?;
    let by = Actor::logged_in(session, client);
    let message_id = MessageId::from_bytes(app.random.bytes());
    let at = app.moment()?;
    if app.store.delete_user(by, user.id, credential_version, message_id, at).await? {
        Ok(())
    } else {
        Err(ChangeRefused::NotAuthorised)
    }
}
