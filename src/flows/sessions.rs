//! A person's sessions: listing them, ending them, and telling whether a token is still good.

use super::Failure;
use super::profile::NotAuthenticated;
use super::refresh::RefreshRefused;
use crate::app::App;
use crate::domain::{Authorised, Client, Session, SessionId, Shown, UserId};
use crate::jwt::{Expiry, RefreshClaims, TokenError};
use crate::store::SessionOfUser;

/// A user's sessions that can still be used, newest first.
///
/// # Errors
/// [`Failure`].
pub fn list(app: &App, user: UserId) -> Result<Vec<Session>, Failure> {
    let now = app.moment()?.now;
    Ok(app.store.find_sessions(user, now)?)
}

/// Why a session was not ended.
#[derive(Debug, PartialEq, Eq)]
pub enum EndRefused {
    /// There is none of that name among those of who asks: which of both is not told.
    NotFound,
    /// Who asks has been logged out meanwhile.
    NotAuthenticated,
    /// It could not be carried out.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for EndRefused {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// Ends one session of the user who acts.
///
/// # Errors
/// [`EndRefused`]; nothing was changed then.
pub async fn end(app: &App, by: Authorised, id: SessionId) -> Result<(), EndRefused> {
    let (at, user) = (app.moment()?, by.user);
    match app.store.end_session(by.into(), user, id, at).await? {
        Some(true) => Ok(()),
        Some(false) => Err(EndRefused::NotFound),
        None => Err(EndRefused::NotAuthenticated),
    }
}

/// Ends all sessions of the user who acts.
///
/// # Errors
/// [`NotAuthenticated`], where who acts has been logged out meanwhile.
pub async fn end_all(app: &App, by: Authorised) -> Result<(), NotAuthenticated> {
    let (at, user) = (app.moment()?, by.user);
    let is_done = app.store.end_all_sessions(by.into(), user, at).await?;
    if is_done { Ok(()) } else { Err(NotAuthenticated::NoSession) }
}

/// Ends the session of a refresh token. Any authentic one will do, expired or superseded too, and
/// ending an ended session is a success: the user wanted to be logged out, and is.
///
/// # Errors
/// [`RefreshRefused`], never for its session.
pub async fn log_out_by_refresh_token(
    app: &App,
    token: &str,
    client: Client,
) -> Result<(), RefreshRefused> {
    let at = app.moment()?;
    let claims =
        app.tokens.check_refresh(token, at.now, Expiry::Ignored).map_err(RefreshRefused::Token)?;
    app.store
        .log_out(Authorised { user: claims.user, session: claims.session, client }, at)
        .await?;
    Ok(())
}

/// Ends the session of an access token. As with refresh tokens, any authentic one will do, and
/// ending what has ended is success: nobody should have to refresh in order to log out.
///
/// # Errors
/// [`NotAuthenticated`], never for its user or session.
pub async fn log_out_by_access_token(
    app: &App,
    token: &str,
    client: Client,
) -> Result<(), NotAuthenticated> {
    let at = app.moment()?;
    let claims =
        app.tokens.check_access(token, at.now, Expiry::Ignored).map_err(NotAuthenticated::Token)?;
    app.store
        .log_out(Authorised { user: claims.user, session: claims.session, client }, at)
        .await?;
    Ok(())
}

/// Ends the session of a refresh token that has not expired, and tells whether there was one. One
/// that was superseded ends it as well: it asks for less than it could have done.
///
/// # Errors
/// [`RefreshRefused`].
pub async fn revoke(app: &App, token: &str, client: Client) -> Result<(), RefreshRefused> {
    let at = app.moment()?;
    let claims =
        app.tokens.check_refresh(token, at.now, Expiry::Enforced).map_err(RefreshRefused::Token)?;
    let of = Authorised { user: claims.user, session: claims.session, client };
    let was_there = app.store.log_out(of, at).await?;
    if was_there { Ok(()) } else { Err(RefreshRefused::Session) }
}

/// Checks that a token of either kind is good: an access token whose session lives, or a refresh
/// token that a refresh would answer with tokens. It only looks, so that a superseded token shown
/// here is no reuse.
///
/// # Errors
/// [`RefreshRefused`].
pub fn check(app: &App, token: &str) -> Result<(), RefreshRefused> {
    let now = app.moment()?.now;
    let (user, session, refresh) = match app.tokens.check_access(token, now, Expiry::Enforced) {
        Ok(claims) => (claims.user, claims.session, None),
        Err(TokenError::WrongType) => {
            let claims = app.tokens.check_refresh(token, now, Expiry::Enforced);
            let claims = claims.map_err(RefreshRefused::Token)?;
            (claims.user, claims.session, Some(claims))
        }
        Err(error) => return Err(RefreshRefused::Token(error)),
    };
    let SessionOfUser::Live(_, found) = app.store.find_session_of_user(session, user, now)? else {
        return Err(RefreshRefused::Session);
    };
    let gives_tokens = |claims: RefreshClaims| {
        let RefreshClaims { generation, expires_at, .. } = claims;
        let shown = Shown { generation, expires_at, from: found.rotated_from };
        found.rotate(shown, now, app.config.tokens.sessions).gives_tokens()
    };
    if refresh.is_none_or(gives_tokens) { Ok(()) } else { Err(RefreshRefused::Session) }
}
