//! The profile: who the bearer of an access token is, by now.

use std::sync::Arc;

use super::Failure;
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::{Session, User};
use crate::jwt::{Expiry, TokenError};
use crate::store::SessionOfUser;

/// Why the bearer is nobody.
#[derive(Debug, PartialEq, Eq)]
pub enum NotAuthenticated {
    /// The token itself is not a good access token.
    Token(TokenError),
    /// Its user is gone.
    NoUser,
    /// Its session has ended.
    NoSession,
    /// It could not be found out.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for NotAuthenticated {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// The user and session behind an access token, as they are now.
///
/// # Errors
/// [`NotAuthenticated`].
pub fn authenticate(app: &App, token: &str) -> Result<(Arc<User>, Arc<Session>), NotAuthenticated> {
    let now = app.moment()?.now;
    let claims =
        app.tokens.check_access(token, now, Expiry::Enforced).map_err(NotAuthenticated::Token)?;
    match app.store.find_session_of_user(claims.session, claims.user, now)? {
        SessionOfUser::Live(user, session) => Ok((seen_at(user, now), session)),
        SessionOfUser::NoUser => Err(NotAuthenticated::NoUser),
        SessionOfUser::NoSession => Err(NotAuthenticated::NoSession),
    }
}

/// The user without a change of address that is too old by `now`.
fn seen_at(user: Arc<User>, now: Timestamp) -> Arc<User> {
    let is_too_old = user.pending_email.is_some() && user.pending_email_at(now).is_none();
    if is_too_old { Arc::new(Arc::unwrap_or_clone(user).seen_at(now)) } else { user }
}
