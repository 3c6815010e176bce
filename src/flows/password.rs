//! Passwords after the first: reset by mail, or changed by someone who knows the current one.

use std::time::Duration;

use super::Failure;
use super::credentials::{PasswordRefused, check_password};
use super::link::{Link, LinkOutcome, PastReset};
use super::mail_request::{self, RequestRefused};
use crate::app::App;
use crate::domain::password::forms::is_same;
use crate::domain::{
    Actor, Client, Email, MessageId, NewPassword, PasswordProblem, Purpose, Session, TicketId, User,
};
use crate::secret::Secret;
use crate::store::{NewPasswordHash, NewTicket, PasswordChange, ResetOutcome};

/// For how long a repeated reset gets the answer of the first, which its client may have lost.
const REPEAT_WINDOW: Duration = Duration::from_secs(10 * 60);

/// Asks for a link that resets the password. The answer is the same whether or not there is an
/// account.
///
/// # Errors
/// [`RequestRefused`].
pub async fn request_reset(app: &App, email: Email, client: Client) -> Result<(), RequestRefused> {
    let lifetime = app.config.recovery.ticket_lifetime;
    let (request, at) = mail_request::admit(app, email, lifetime, client)?;
    app.store.request_password_reset(request, at).await?;
    Ok(())
}

/// The token of a reset link in exchange for a verification link: for someone who reads the
/// address's mail, but did not choose the password.
///
/// # Errors
/// The [`LinkOutcome`] of a link that cannot be exchanged.
pub async fn exchange_for_reset(app: &App, link: &Link) -> Result<Secret<String>, LinkOutcome> {
    let invalid = LinkOutcome::Invalid(Some(Purpose::ResetPassword));
    if link.purpose != Purpose::VerifyEmail {
        return Err(invalid);
    }
    let at = app.moment()?;
    let new = NewTicket {
        id: TicketId::from_bytes(app.random.bytes()),
        expires_at: at.now.saturating_add(app.config.recovery.ticket_lifetime),
    };
    let ticket = app.store.exchange_for_reset(link.ticket, new, at).await?.ok_or(invalid)?;
    Ok(app.keys.ticket().seal(Purpose::ResetPassword, ticket))
}

/// Checks a new password by the rules, for `user` where there is one.
///
/// # Errors
/// What is wrong with it.
pub fn check_new(
    app: &App,
    password: &Secret<String>,
    user: Option<&User>,
) -> Result<NewPassword, Vec<PasswordProblem>> {
    let policy = &app.config.passwords.policy;
    let username = user.and_then(|user| user.username.as_ref());
    NewPassword::check(password, policy, user.map(|user| &user.email), username)
}

/// Sets the password of the user behind a mailed link.
///
/// # Errors
/// [`Failure`].
pub async fn reset(
    app: &App,
    link: &Link,
    new: NewPassword,
    client: Client,
) -> Result<LinkOutcome, Failure> {
    let new = hash(app, new, &client).await?;
    let at = app.moment()?;
    Ok(match app.store.reset_password(link.ticket, new, client, at).await? {
        ResetOutcome::Done(user) => {
            app.throttle.clear(user.email.key());
            LinkOutcome::PasswordReset
        }
        // Perhaps another request with this link was faster.
        ResetOutcome::Invalid => match Link::look_up(app, link.purpose, link.ticket) {
            Ok(link) => link.invalid(),
            Err(outcome) => outcome,
        },
    })
}

/// Whether a reset repeats `past`: with the same password, while that is the user's and for
/// ten minutes. The comparison costs and counts like a login of that account.
///
/// # Errors
/// [`Failure`].
pub async fn repeats(
    app: &App,
    past: &PastReset,
    new: NewPassword,
    client: &Client,
) -> Result<bool, Failure> {
    let PastReset { user, used } = past;
    let now = app.moment()?.now;
    let stands = user.credential_version == used.credential_version
        && now.saturating_since(used.at) <= REPEAT_WINDOW;
    if !stands || app.throttle.login_attempt(client.block(), now).is_err() {
        return Ok(false);
    }
    match check_password(app, user, new.into_secret(), client).await {
        Ok(credential_version) => Ok(credential_version == used.credential_version),
        Err(PasswordRefused::Failed(failure)) => Err(failure),
        Err(PasswordRefused::Wrong | PasswordRefused::LockedOut(_))
        | Err(PasswordRefused::NotAuthorised) => Ok(false),
    }
}

/// Why a password was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordChangeRefused {
    /// The new one is the current one.
    SameAsCurrent,
    /// The current one does not count, or who acts has been logged out meanwhile.
    Current(PasswordRefused),
}

impl<F: Into<Failure>> From<F> for PasswordChangeRefused {
    fn from(failure: F) -> Self {
        Self::Current(PasswordRefused::Failed(failure.into()))
    }
}

/// Changes the password of who acts, who knows the current one.
///
/// # Errors
/// [`PasswordChangeRefused`]; nothing was changed then.
pub async fn change(
    app: &App,
    user: &User,
    session: &Session,
    current: Secret<String>,
    new: NewPassword,
    client: Client,
) -> Result<(), PasswordChangeRefused> {
    let is_same = is_same(&current, new.as_secret());
    let credential_version = check_password(app, user, current, &client)
        .await
        .map_err(PasswordChangeRefused::Current)?;
    if is_same {
        return Err(PasswordChangeRefused::SameAsCurrent);
    }
    let new = hash(app, new, &client).await?;
    let by = Actor::logged_in(session, client);
    let at = app.moment()?;
    let change = PasswordChange { by, user: user.id, credential_version, new };
    if app.store.change_password(change, at).await? {
        Ok(())
    } else {
        Err(PasswordChangeRefused::Current(PasswordRefused::NotAuthorised))
    }
}

async fn hash(
    app: &App,
    password: NewPassword,
    client: &Client,
) -> Result<NewPasswordHash, Failure> {
    let password = app.hasher.hash(password, app.random.bytes(), client.block()).await?;
    Ok(NewPasswordHash { password, message_id: MessageId::from_bytes(app.random.bytes()) })
}
