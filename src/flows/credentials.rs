//! The current password, where it is asked for again: a borrowed phone must not be enough.

use super::Failure;
use crate::app::App;
use crate::domain::{Actor, Client, User, UserId};
use crate::hasher::Verdict;
use crate::secret::Secret;
use crate::throttle::LockedOut;

/// Why a password does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordRefused {
    /// It is wrong.
    Wrong,
    /// Too many failures at this account.
    LockedOut(LockedOut),
    /// The account has gone, or got another address, since who acts was looked up.
    NotAuthorised,
    /// It could not be found out.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for PasswordRefused {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// Checks the current password of `user` and says which credentials it was checked against. A
/// wrong one counts like a failed login.
///
/// # Errors
/// [`PasswordRefused`].
pub async fn check_password(
    app: &App,
    user: &User,
    password: Secret<String>,
    client: &Client,
) -> Result<u64, PasswordRefused> {
    let now = app.moment()?.now;
    let from = client.block();
    let found = app.store.find_login(&user.email, from)?;
    let Some(login) = found.filter(|login| login.user.id == user.id) else {
        return Err(PasswordRefused::NotAuthorised);
    };
    let permit = app
        .throttle
        .begin_login(user.email.key(), from, login.knows_address, now)
        .map_err(PasswordRefused::LockedOut)?;
    match app.hasher.verify(password, Some(login.password), from).await? {
        Verdict::Match { .. } => {
            permit.succeed();
            Ok(login.user.credential_version)
        }
        Verdict::Mismatch => {
            let begins_lockout = permit.fail(app.clock.read().wall);
            note_failure(app, Some(user.id), begins_lockout, client);
            Err(PasswordRefused::Wrong)
        }
    }
}

/// Notes a wrong password, and that a lockout begins with it, without making anyone wait for it;
/// storage is given as much to do where there is no account to note it of. An event that storage
/// cannot take is lost.
pub(super) fn note_failure(app: &App, user: Option<UserId>, begins_lockout: bool, client: &Client) {
    let Ok(at) = app.moment() else { return };
    let (store, by) = (app.store.clone(), Actor::Visitor(client.clone()));
    tokio::spawn(async move {
        let _ = store.note_failure(user, begins_lockout, by, at).await;
    });
}
