//! Audit events: what an operator will want to know afterwards.

use serde::{Deserialize, Serialize};

use super::{Client, SessionId, Theft, UserId};
use crate::clock::Timestamp;

/// Something worth remembering about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Whose account it concerns.
    pub user: UserId,
    /// The session it concerns, where there is one.
    pub session: Option<SessionId>,
    /// When it happened first.
    pub at: Timestamp,
    /// When it happened last; repeated events of one kind are merged.
    pub last_at: Timestamp,
    /// How often it happened.
    pub count: u64,
    /// What caused it.
    pub client: Client,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A superseded refresh token came after its successor had been used; its session ended.
    RefreshTokenReused,
    /// A superseded refresh token came after the grace; its session ended.
    RefreshTokenStale,
    /// A superseded refresh token came within the grace from another address than the one that
    /// had rotated it.
    GraceUsedElsewhere,
    /// A refresh token of a generation that was never issued, as after an older copy of the
    /// database was put back.
    RefreshTokenAhead,
    /// The person behind the address said that the account was not theirs, and it was removed.
    AccountDisowned,
    /// An account was made.
    Registered,
    /// The address was confirmed.
    EmailVerified,
    /// A session was opened.
    LoggedIn,
    /// A wrong password, here or where the current one is asked for.
    LoginFailed,
    /// One wrong password too many: attempts from there, or from everywhere that is not known, are
    /// refused from now on for a while.
    LockedOut,
    /// The password was changed by someone who knew it.
    PasswordChanged,
    /// A reset of the password was asked for.
    PasswordResetRequested,
    /// The password was reset by someone who reads the address's mail.
    PasswordReset,
    /// The name was changed.
    UsernameChanged,
    /// A change of address was asked for.
    EmailChangeRequested,
    /// The address was changed, or its spelling.
    EmailChanged,
    /// A change of address was called off, or came to nothing because the address was taken.
    EmailChangeCancelled,
    /// The owner ended a session.
    SessionEnded,
    /// The owner ended all sessions.
    AllSessionsEnded,
    /// The owner deleted the account.
    AccountDeleted,
    /// A session ended because a login was one too many; it was the oldest.
    SessionDisplaced,
}

impl EventKind {
    /// The number that stands for it in storage keys; never given to another kind.
    pub const fn code(self) -> u8 {
        match self {
            Self::RefreshTokenReused => 1,
            Self::RefreshTokenStale => 2,
            Self::GraceUsedElsewhere => 3,
            Self::RefreshTokenAhead => 4,
            Self::AccountDisowned => 5,
            Self::Registered => 6,
            Self::EmailVerified => 7,
            Self::LoggedIn => 8,
            Self::LoginFailed => 9,
            Self::LockedOut => 10,
            Self::PasswordChanged => 11,
            Self::PasswordResetRequested => 12,
            Self::PasswordReset => 13,
            Self::UsernameChanged => 14,
            Self::EmailChangeRequested => 15,
            Self::EmailChanged => 16,
            Self::EmailChangeCancelled => 17,
            Self::SessionEnded => 18,
            Self::AllSessionsEnded => 19,
            Self::AccountDeleted => 20,
            Self::SessionDisplaced => 21,
        }
    }
}

impl From<Theft> for EventKind {
    fn from(theft: Theft) -> Self {
        match theft {
            Theft::SuccessorUsed => Self::RefreshTokenReused,
            Theft::GraceOver => Self::RefreshTokenStale,
        }
    }
}
