//! Logging in: a password for a session and its first tokens.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::credentials::note_failure;
use super::{Failure, Throttled};
use crate::app::App;
use crate::domain::{Authentication, Authorised, Client, Email, Session, SessionId, User};
use crate::hasher::Verdict;
use crate::jwt::Expiry;
use crate::secret::Secret;
use crate::store::{LoginRecord, NewSession};
use crate::throttle::LockedOut;

/// A session's current tokens.
#[derive(Debug)]
pub struct TokenPair {
    /// The access token.
    pub access: Secret<String>,
    /// The refresh token.
    pub refresh: Secret<String>,
    /// For how long the refresh token is good.
    pub refresh_for: Duration,
}

impl TokenPair {
    /// The tokens of `session` as it is now: a fresh access token and its one refresh token.
    pub(super) fn of(app: &App, session: &Session, now: crate::clock::Timestamp) -> Self {
        Self {
            access: app.tokens.access(session, now, app.random.name()),
            refresh: app.tokens.refresh(session),
            refresh_for: session.expires_at().saturating_since(now),
        }
    }
}

/// A login that succeeded.
#[derive(Debug)]
pub struct LoggedIn {
    /// Who it is.
    pub user: User,
    /// The session's tokens.
    pub tokens: TokenPair,
}

/// Why there is no session.
#[derive(Debug, PartialEq, Eq)]
pub enum LoginRefused {
    /// Unknown address, wrong password or disabled account: which one is not told.
    InvalidCredentials,
    /// The password is right, but the address must be confirmed first.
    EmailNotVerified,
    /// Too many attempts from this address.
    Throttled(Throttled),
    /// Too many failures at this account.
    LockedOut(LockedOut),
    /// It could not be carried out.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for LoginRefused {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// Checks a password and opens a session. `former` are refresh tokens of sessions that it replaces:
/// those end with it, of any user, as by a logout. Whatever else is among them is passed
/// over.
///
/// The attempt is counted before the password is looked at and given back when it was right, so
/// that guesses made at the same time cannot slip through. Unknown accounts are hashed for all the
/// same.
///
/// # Errors
/// [`LoginRefused`]; no session was opened then.
pub async fn log_in(
    app: &Arc<App>,
    email: Email,
    password: Secret<String>,
    former: Vec<Secret<String>>,
    client: Client,
) -> Result<LoggedIn, LoginRefused> {
    let now = app.moment()?.now;
    let from = client.block();
    app.throttle.login_attempt(from, now).map_err(|after| LoginRefused::Throttled(after.into()))?;
    let found = app.store.find_login(&email, from)?;
    let knows_address = found.as_ref().is_some_and(|login| login.knows_address);
    let permit = app
        .throttle
        .begin_login(email.key(), from, knows_address, now)
        .map_err(LoginRefused::LockedOut)?;

    // Compared with nothing, even the right password of a disabled account costs what a wrong one
    // does.
    let active = found.as_ref().filter(|login| !login.user.is_disabled);
    let stored = active.map(|login| login.password.clone());
    let verdict = app.hasher.verify(password, stored, from).await?;
    let at = app.moment()?;
    let (login, outdated) = match (found, verdict) {
        (Some(login), Verdict::Match { outdated }) => (login, outdated),
        (failed, _) => {
            let begins_lockout = permit.fail(at.now);
            note_failure(app, failed.map(|login| login.user.id), begins_lockout, &client);
            if client.address.is_loopback() && app.throttle.loopback_failure(email.key()) {
                warn!(
                    "logins at many accounts have failed from this machine itself: if they come \
                     through a proxy, it does not name its clients, and all of them count as one; \
                     have it send X-Forwarded-For, and list its address in server.trusted_proxies \
                     (see docs/operate.md); this is logged once"
                );
            }
            return Err(LoginRefused::InvalidCredentials);
        }
    };
    permit.succeed();
    let authentication = Authentication::by_password(&login.user);
    if app.config.login.require_verified_email && !login.user.is_email_verified {
        return Err(LoginRefused::EmailNotVerified);
    }

    let held = |token: &Secret<String>| {
        let token = token.expose().trim();
        let former = app.tokens.check_refresh(token, at.now, Expiry::Ignored).ok()?;
        Some(Authorised { user: former.user, session: former.session, client: client.clone() })
    };
    let former = former.iter().filter_map(held).collect();
    let id = SessionId::new(at.now, app.random.bytes());
    let lifetimes = app.config.tokens.sessions;
    let session = Session::open(id, authentication.user, client, at.now, lifetimes);
    let opening = NewSession { session: session.clone(), authentication, former };
    if !app.store.open_session(opening, at).await? {
        // The password was changed, or the account closed, while it was being checked.
        return Err(LoginRefused::InvalidCredentials);
    }
    if let Some(password) = outdated {
        rehash_later(app, &login, password, &session);
    }
    let tokens = TokenPair::of(app, &session, at.now);
    Ok(LoggedIn { user: login.user.seen_at(at.now), tokens })
}

/// Hashes a password anew under the configured parameters, after the answer. If that fails the
/// next login tries again.
fn rehash_later(app: &Arc<App>, login: &LoginRecord, password: Secret<String>, session: &Session) {
    let app = Arc::clone(app);
    let user = login.user.id;
    let version = login.user.credential_version;
    let from = session.opened_by.block();
    tokio::spawn(async move {
        let salt = app.random.bytes();
        let Ok(hash) = app.hasher.rehash(password, salt, from).await else { return };
        let Ok(at) = app.moment() else { return };
        if let Err(error) = app.store.rehash_password(user, version, hash, at).await {
            warn!(%error, %user, "a password could not be rehashed; the next login tries again");
        }
    });
}
