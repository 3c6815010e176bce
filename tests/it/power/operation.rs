//! What is asked of the server: each request with all that it needs to be sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use latchkey::flows::delivery;
use latchkey::flows::upkeep::Upkeep;
use serde_json::json;

use crate::support::{ELSEWHERE, Reply, TestApp};

/// What a power cut can come into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    FirstStart,
    Register,
    Confirm,
    Resend,
    LogIn,
    /// A current refresh token is shown.
    Refresh,
    /// One that was just superseded, from elsewhere.
    Repeat,
    /// One whose successor was used.
    Reuse,
    /// One that was superseded too long ago.
    Stale,
    Forgot,
    Reset,
    ChangePassword,
    AskForAddress,
    ConfirmAddress,
    CancelAddress,
    LogOut,
    EndSession,
    LogOutEverywhere,
    Delete,
    Deliver,
    Sweep,
    Close,
    Reopen,
    Recover,
}

impl Kind {
    pub(super) const COUNT: usize = Self::Recover as usize + 1;
}

/// A request. Sessions and tickets are named by their place in the model; a login's former session
/// is the one that it replaces, with a token of it.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Operation {
    Register { email: String, username: Option<String>, password: String },
    Confirm { ticket: usize, token: String },
    Resend { email: String },
    LogIn { email: String, password: String, former: Option<(usize, String)> },
    Present { session: usize, generation: usize, token: String, kind: Kind },
    Forgot { email: String },
    Reset { ticket: usize, token: String, password: String },
    ChangePassword { session: usize, access: String, current: String, new: String },
    AskForAddress { session: usize, access: String, password: String, email: String },
    ConfirmAddress { ticket: usize, token: String },
    CancelAddress { ticket: usize, token: String },
    LogOut { session: usize, token: String },
    EndSession { session: usize, access: String, ended: usize, id: String },
    LogOutEverywhere { session: usize, access: String },
    Delete { session: usize, access: String, password: String },
    Deliver,
    Sweep,
}

/// A request under way; what is not a request gives no reply.
pub(super) type UnderWay = Pin<Box<dyn Future<Output = Option<Reply>> + Send>>;

impl Operation {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Register { .. } => Kind::Register,
            Self::Confirm { .. } => Kind::Confirm,
            Self::Resend { .. } => Kind::Resend,
            Self::LogIn { .. } => Kind::LogIn,
            Self::Present { kind, .. } => *kind,
            Self::Forgot { .. } => Kind::Forgot,
            Self::Reset { .. } => Kind::Reset,
            Self::ChangePassword { .. } => Kind::ChangePassword,
            Self::AskForAddress { .. } => Kind::AskForAddress,
            Self::ConfirmAddress { .. } => Kind::ConfirmAddress,
            Self::CancelAddress { .. } => Kind::CancelAddress,
            Self::LogOut { .. } => Kind::LogOut,
            Self::EndSession { .. } => Kind::EndSession,
            Self::LogOutEverywhere { .. } => Kind::LogOutEverywhere,
            Self::Delete { .. } => Kind::Delete,
            Self::Deliver => Kind::Deliver,
            Self::Sweep => Kind::Sweep,
        }
    }

    /// How many passwords it has hashed, one after the other, before it comes to storage.
    pub(super) const fn hashes(&self) -> usize {
        match self {
            Self::ChangePassword { .. } => 2,
            Self::Register { .. }
            | Self::LogIn { .. }
            | Self::Reset { .. }
            | Self::AskForAddress { .. }
            | Self::Delete { .. } => 1,
            _ => 0,
        }
    }

    /// How many mails it queues at most.
    pub(super) const fn mails(&self) -> usize {
        match self {
            Self::AskForAddress { .. } => 2,
            Self::Register { .. }
            | Self::Resend { .. }
            | Self::Forgot { .. }
            | Self::Reset { .. }
            | Self::ChangePassword { .. }
            | Self::ConfirmAddress { .. }
            | Self::Delete { .. } => 1,
            _ => 0,
        }
    }

    pub(super) fn start(&self, app: &TestApp) -> UnderWay {
        let call = match self {
            Self::Register { email, username, password } => {
                app.registering(email, username.as_deref().unwrap_or_default(), password)
            }
            Self::Confirm { token, .. } | Self::ConfirmAddress { token, .. } => {
                app.confirming(token)
            }
            Self::CancelAddress { token, .. } => app.press("cancel", token),
            Self::Resend { email } => app.resending(email),
            Self::LogIn { email, password, former: None } => app.login(email, password),
            Self::LogIn { email, password, former: Some((_, token)) } => app.post(
                "/api/login/",
                &json!({"email": email, "password": password, "refresh": token}),
            ),
            // From elsewhere, so that there is something to write: an event.
            Self::Present { token, kind: Kind::Repeat, .. } => {
                app.refreshing(token).from(ELSEWHERE)
            }
            Self::Present { token, .. } => app.refreshing(token),
            Self::Forgot { email } => app.forgetting(email),
            Self::Reset { token, password, .. } => app.resetting(token, password),
            Self::ChangePassword { access, current, new, .. } => app.changing(access, current, new),
            Self::AskForAddress { access, password, email, .. } => app
                .call("PATCH", "/api/profile/")
                .json(&json!({"email": email, "current_password": password}))
                .bearer(access),
            Self::LogOut { token, .. } => app.logging_out(token),
            Self::EndSession { access, id, .. } => {
                app.call("DELETE", &format!("/api/sessions/{id}/")).bearer(access)
            }
            Self::LogOutEverywhere { access, .. } => {
                app.call("POST", "/api/logout/all/").bearer(access)
            }
            Self::Delete { access, password, .. } => app
                .call("DELETE", "/api/profile/")
                .json(&json!({"password": password}))
                .bearer(access),
            Self::Deliver => {
                let (app, mailer) = (Arc::clone(&app.app), Arc::clone(&app.mailer));
                return Box::pin(async move {
                    delivery::deliver_all(&app, &mailer).await;
                    None
                });
            }
            Self::Sweep => {
                let app = Arc::clone(&app.app);
                return Box::pin(async move {
                    Upkeep::default().round(&app).await;
                    None
                });
            }
        };
        Box::pin(async move { Some(call.await) })
    }
}

/// Chooses one of several by a number that may be any.
pub(super) fn choose<T>(choices: &[T], number: usize) -> Option<&T> {
    choices.get(number.checked_rem(choices.len())?)
}

/// What else is done where an action finds nothing to be done to.
pub(super) const fn instead(kind: Kind) -> Kind {
    match kind {
        Kind::Confirm | Kind::Resend | Kind::LogIn | Kind::Forgot => Kind::Register,
        Kind::Reset => Kind::Forgot,
        Kind::ConfirmAddress | Kind::CancelAddress => Kind::AskForAddress,
        Kind::Repeat | Kind::Reuse | Kind::Stale => Kind::Refresh,
        _ => Kind::LogIn,
    }
}
