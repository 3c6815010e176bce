//! Audit events: what an operator will want to know afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Client, Session, SessionId, Theft, UserId};
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
    /// Who caused it.
    pub by: Author,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user who is logged in, as a token told. Every write looks at user and session again
    /// inside its transaction.
    User(Authorised),
    /// Somebody who is not logged in: who registers or logs in, or follows a mailed link.
    Visitor(Client),
    /// The operator, by a command on the machine.
    Operator,
    /// The program itself, at nobody's request.
    Program,
}

/// A user who is logged in, as a token told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorised {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// Where the request came from.
    pub client: Client,
}

impl Actor {
    /// The user of `session`, by a request from `client`.
    pub const fn logged_in(session: &Session, client: Client) -> Self {
        Self::User(Authorised { user: session.user, session: session.id, client })
    }

    /// The session that acts.
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::User(by) => Some(by.session),
            Self::Visitor(_) | Self::Operator | Self::Program => None,
        }
    }
}

impl From<Authorised> for Actor {
    fn from(user: Authorised) -> Self {
        Self::User(user)
    }
}

/// Who caused an event, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Author {
    /// Somebody who sent a request.
    Client(Client),
    /// Nobody who did.
    Local(Local),
}

/// Who acts without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Local {
    /// The operator.
    Operator,
    /// The program itself.
    Program,
}

impl Author {
    /// Who sent the request, where there was one.
    pub const fn client(&self) -> Option<&Client> {
        match self {
            Self::Client(client) => Some(client),
            Self::Local(_) => None,
        }
    }
}

/// The address block; of who acts without a request, their name.
impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => client.block().fmt(f),
            Self::Local(Local::Operator) => f.write_str("operator"),
            Self::Local(Local::Program) => f.write_str("program"),
        }
    }
}

impl From<&Actor> for Author {
    fn from(actor: &Actor) -> Self {
        match actor {
            Actor::User(Authorised { client, .. }) | Actor::Visitor(client) => {
                Self::Client(client.clone())
            }
            Actor::Operator => Self::Local(Local::Operator),
            Actor::Program => Self::Local(Local::Program),
        }
    }
}

/// What happened. Its number is never given to another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A superseded refresh token came after its successor had been used; its session ended.
    RefreshTokenReused = 1,
    /// A superseded refresh token came after the grace; its session ended.
    RefreshTokenStale = 2,
    /// A superseded refresh token came within the grace from another address than the one that
    /// had rotated it.
    GraceUsedElsewhere = 3,
    /// A refresh token of a generation that was never issued, as after an older copy of the
    /// database was put back.
    RefreshTokenAhead = 4,
    /// The person behind the address said that the account was not theirs, and it was removed.
    AccountDisowned = 5,
    /// An account was made.
    Registered = 6,
    /// The address was confirmed.
    EmailVerified = 7,
    /// A session was opened.
    LoggedIn = 8,
    /// A wrong password, here or where the current one is asked for.
    LoginFailed = 9,
    /// One wrong password too many: attempts from there, or from everywhere that is not known, are
    /// refused from now on for a while.
    LockedOut = 10,
    /// The password was changed by someone who knew it.
    PasswordChanged = 11,
    /// A reset of the password was asked for.
    PasswordResetRequested = 12,
    /// The password was reset by someone who reads the address's mail.
    PasswordReset = 13,
    /// The name was changed.
    UsernameChanged = 14,
    /// A change of address was asked for.
    EmailChangeRequested = 15,
    /// The address was changed, or its spelling.
    EmailChanged = 16,
    /// A change of address was called off, or came to nothing because the address was taken.
    EmailChangeCancelled = 17,
    /// The owner ended a session.
    SessionEnded = 18,
    /// The owner ended all sessions.
    AllSessionsEnded = 19,
    /// The owner deleted the account.
    AccountDeleted = 20,
    /// A session ended because a login was one too many.
    SessionDisplaced = 21,
    /// The first refresh token of a session came after the grace, while its successor was unused,
    /// from another address block than the one that had rotated it.
    FirstTokenUsedElsewhere = 22,
}

impl EventKind {
    /// The number that stands for it in storage keys.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Theft> for EventKind {
    fn from(theft: Theft) -> Self {
        match theft {
            Theft::SuccessorUsed => Self::RefreshTokenReused,
            Theft::GraceOver { .. } => Self::RefreshTokenStale,
        }
    }
}
