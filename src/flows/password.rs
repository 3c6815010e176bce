//! Passwords after the first: forgotten and reset by mail, or changed by who knows the old one.

use super::credentials::{PasswordRefused, check_password};
use super::{Failure, Throttled};
use crate::app::App;
use crate::domain::password::forms::is_same;
use crate::domain::{
    Actor, Client, Email, MessageId, NewPassword, PasswordProblem, Purpose, Session, TicketId,
    TicketState, User,
};
use crate::secret::Secret;
use crate::store::{NewPasswordHash, NewTicket, PasswordChange, ResetOutcome, ResetRequest};

/// Why a mail was not even asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRefused {
    /// Too many requests from this address.
    Throttled(Throttled),
    /// It could not be carried out.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for RequestRefused {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// Asks for a link that resets the password. Whether there is an account makes no difference to
/// who asks.
///
/// # Errors
/// [`RequestRefused`].
pub async fn request_reset(app: &App, email: Email, client: Client) -> Result<(), RequestRefused> {
    let at = app.moment()?;
    count(app, &client)?;
    let lifetime = app.config.recovery.ticket_lifetime;
    let request = request(app, email, at.now.saturating_add(lifetime), client);
    app.store.request_password_reset(request, at).await?;
    Ok(())
}

/// Asks for the verification mail again. Whether there is an account, and whether it needs one,
/// makes no difference to who asks.
///
/// # Errors
/// [`RequestRefused`].
pub async fn request_verification(
    app: &App,
    email: Email,
    client: Client,
) -> Result<(), RequestRefused> {
    let at = app.moment()?;
    count(app, &client)?;
    let lifetime = app.config.registration.ticket_lifetime;
    let request = request(app, email, at.now.saturating_add(lifetime), client);
    app.store.request_verification(request, at).await?;
    Ok(())
}

/// Requests for mail count with the logins of their address, and within the same limit.
fn count(app: &App, client: &Client) -> Result<(), RequestRefused> {
    let now = app.clock.read().wall;
    app.throttle
        .login_attempt(client.block(), now)
        .map_err(|after| RequestRefused::Throttled(after.into()))
}

fn request(
    app: &App,
    email: Email,
    expires_at: crate::clock::Timestamp,
    client: Client,
) -> ResetRequest {
    ResetRequest {
        email,
        ticket: NewTicket { id: TicketId::from_bytes(app.random.bytes()), expires_at },
        message_id: MessageId::from_bytes(app.random.bytes()),
        client,
    }
}

/// The user whose password a mailed link resets, if it still does; changes nothing.
///
/// # Errors
/// [`Failure`].
pub fn look_at_reset(app: &App, token: &str) -> Result<Option<User>, Failure> {
    let now = app.moment()?.now;
    let Some(id) = app.keys.ticket().open(Purpose::ResetPassword, token) else { return Ok(None) };
    let found = app.store.find_ticket(id)?.filter(|(ticket, user)| {
        ticket.purpose == Purpose::ResetPassword && ticket.state(user, now) == TicketState::Open
    });
    Ok(found.map(|(_, user)| user))
}

/// Turns a verification link into a reset link, for whoever reads the address's mail but did not
/// choose the password.
///
/// # Errors
/// [`Failure`].
pub async fn exchange_for_reset(app: &App, token: &str) -> Result<Option<Secret<String>>, Failure> {
    let at = app.moment()?;
    let Some(id) = app.keys.ticket().open(Purpose::VerifyEmail, token) else { return Ok(None) };
    let new = NewTicket {
        id: TicketId::from_bytes(app.random.bytes()),
        expires_at: at.now.saturating_add(app.config.recovery.ticket_lifetime),
    };
    let ticket = app.store.exchange_for_reset(id, new, at).await?;
    Ok(ticket.map(|id| app.keys.ticket().seal(Purpose::ResetPassword, id)))
}

/// Why a password was not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetRefused {
    /// The new one breaks these rules.
    Weak(Vec<PasswordProblem>),
    /// The new one is the current one.
    SameAsCurrent,
    /// The current one does not count.
    Current(PasswordRefused),
    /// The link is unknown, used, superseded or expired.
    InvalidLink,
    /// The session has ended, or the credentials have changed, while the password was hashed.
    NotAuthorised,
    /// It could not be carried out.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for SetRefused {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
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

/// Sets the password of the user behind a mailed link. The link is checked before anything is
/// hashed, and a password that is refused leaves it good.
///
/// # Errors
/// [`SetRefused`]; nothing was changed then.
pub async fn reset(
    app: &App,
    token: &str,
    password: &Secret<String>,
    client: Client,
) -> Result<User, SetRefused> {
    let user = look_at_reset(app, token)?.ok_or(SetRefused::InvalidLink)?;
    let ticket = app.keys.ticket().open(Purpose::ResetPassword, token);
    let ticket = ticket.ok_or(SetRefused::InvalidLink)?;
    let new = check_new(app, password, Some(&user)).map_err(SetRefused::Weak)?;
    let new = hash(app, new, &client).await?;
    let at = app.moment()?;
    match app.store.reset_password(ticket, new, client, at).await? {
        ResetOutcome::Done(user) => {
            app.throttle.clear(user.email.key());
            Ok(user)
        }
        ResetOutcome::Invalid => Err(SetRefused::InvalidLink),
    }
}

/// Changes the password of who acts, who knows the current one.
///
/// # Errors
/// [`SetRefused`]; nothing was changed then.
pub async fn change(
    app: &App,
    user: &User,
    session: &Session,
    current: Secret<String>,
    new: NewPassword,
    client: Client,
) -> Result<(), SetRefused> {
    let new = new.into_secret();
    let is_same = is_same(&current, &new);
    let credential_version =
        check_password(app, user, current, &client).await.map_err(SetRefused::Current)?;
    if is_same {
        return Err(SetRefused::SameAsCurrent);
    }
    let new = check_new(app, &new, Some(user)).map_err(SetRefused::Weak)?;
    let new = hash(app, new, &client).await?;
    let by = Actor::logged_in(session, client);
    let at = app.moment()?;
    let change = PasswordChange { by, user: user.id, credential_version, new };
    if app.store.change_password(change, at).await? {
        Ok(())
    } else {
        Err(SetRefused::NotAuthorised)
    }
}

async fn hash(
    app: &App,
    password: NewPassword,
    client: &Client,
) -> Result<NewPasswordHash, SetRefused> {
    let password = app.hasher.hash(password, app.random.bytes(), client.block()).await?;
    Ok(NewPasswordHash { password, message_id: MessageId::from_bytes(app.random.bytes()) })
}
