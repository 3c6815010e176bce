//! Records: what is kept of each thing, as JSON.
//!
//! Every field added after the first release is `#[serde(default)]`, so that older files open.

use std::net::IpAddr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::domain::{
    Author, Client, Email, Event, EventKind, MailId, MailKind, MessageId, PasswordHash,
    PendingEmail, Purpose, QueuedMail, Session, SessionId, Ticket, TicketId, TicketUse, User,
    UserId, Username,
};
use crate::store::engine::{Fault, ReadableTable, Record, TableHandle, decode};

/// The last of the records that are over, where they are numbered in the order in which they were
/// made and `time_of` says from when they are: those before `before` are. It looks no further than
/// `batch`, if there is one by then.
///
/// A record from a time ahead of `now` was dated by a clock that was wrong, and one that cannot be
/// read has no date. Either is older than those after it: it goes with the first of them.
pub(super) fn find_over<R: DeserializeOwned>(
    table: &(impl ReadableTable<u64, Record> + TableHandle),
    time_of: impl Fn(&R) -> Timestamp,
    now: Timestamp,
    before: Timestamp,
    batch: usize,
) -> Result<Option<u64>, Fault> {
    let mut over = None;
    for (place, entry) in table.iter()?.enumerate() {
        if over.is_some() && place >= batch {
            break;
        }
        let (number, bytes) = entry?;
        let time = decode(table.name(), &number.value(), bytes.value()).map(|it| time_of(&it));
        match time {
            Ok(time) if time < before => over = Some(number.value()),
            Ok(time) if time <= now => break,
            Ok(_) | Err(_) => {}
        }
    }
    Ok(over)
}

/// A user, with what only a check of the password needs besides.
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) password: PasswordHash,
}

/// A user, under the user's number.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct UserRecord {
    pub(super) email: Email,
    pub(super) username: Option<Username>,
    pub(super) password: PasswordHash,
    pub(super) is_email_verified: bool,
    pub(super) created_at: Timestamp,
    pub(super) credential_version: u64,
    pub(super) is_disabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending_email: Option<Box<PendingEmail>>,
}

impl UserRecord {
    pub(super) fn account(self, id: UserId) -> Account {
        let user = User {
            id,
            email: self.email,
            username: self.username,
            is_email_verified: self.is_email_verified,
            created_at: self.created_at,
            credential_version: self.credential_version,
            is_disabled: self.is_disabled,
            pending_email: self.pending_email,
        };
        Account { user, password: self.password }
    }
}

impl From<Account> for UserRecord {
    fn from(Account { user, password }: Account) -> Self {
        Self {
            email: user.email,
            username: user.username,
            password,
            is_email_verified: user.is_email_verified,
            created_at: user.created_at,
            credential_version: user.credential_version,
            is_disabled: user.is_disabled,
            pending_email: user.pending_email,
        }
    }
}

/// A session, under its identifier.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SessionRecord {
    pub(super) user: UserId,
    pub(super) generation: u64,
    pub(super) opened_at: Timestamp,
    pub(super) rotated_at: Timestamp,
    pub(super) rotated_from: IpAddr,
    pub(super) token_expires_at: Timestamp,
    pub(super) ends_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_bound: bool,
    pub(super) opened_by: Client,
    /// The expiry under which the index has it.
    pub(super) filed_at: Timestamp,
}

impl SessionRecord {
    pub(super) fn new(session: &Session, filed_at: Timestamp) -> Self {
        Self {
            user: session.user,
            generation: session.generation,
            opened_at: session.opened_at,
            rotated_at: session.rotated_at,
            rotated_from: session.rotated_from,
            token_expires_at: session.token_expires_at,
            ends_at: session.ends_at,
            is_bound: session.is_bound,
            opened_by: session.opened_by.clone(),
            filed_at,
        }
    }

    pub(super) fn filed(self, id: SessionId) -> FiledSession {
        FiledSession { filed_at: self.filed_at, session: Arc::new(self.session(id)) }
    }

    pub(super) fn session(self, id: SessionId) -> Session {
        Session {
            id,
            user: self.user,
            generation: self.generation,
            opened_at: self.opened_at,
            rotated_at: self.rotated_at,
            rotated_from: self.rotated_from,
            token_expires_at: self.token_expires_at,
            ends_at: self.ends_at,
            is_bound: self.is_bound,
            opened_by: self.opened_by,
        }
    }
}

/// A session, and the expiry under which the index has it.
#[derive(Clone)]
pub(super) struct FiledSession {
    pub(super) session: Arc<Session>,
    pub(super) filed_at: Timestamp,
}

/// A ticket, under its identifier.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct TicketRecord {
    pub(super) purpose: Purpose,
    pub(super) user: UserId,
    pub(super) email: Email,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) redeemed_at: Option<Timestamp>,
    /// The credential version that its use led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) redeemed_version: Option<u64>,
}

impl TicketRecord {
    pub(super) fn new(ticket: &Ticket) -> Self {
        Self {
            purpose: ticket.purpose,
            user: ticket.user,
            email: ticket.email.clone(),
            created_at: ticket.created_at,
            expires_at: ticket.expires_at,
            redeemed_at: ticket.used.map(|used| used.at),
            redeemed_version: ticket.used.map(|used| used.credential_version),
        }
    }

    pub(super) fn ticket(self, id: TicketId) -> Ticket {
        Ticket {
            id,
            purpose: self.purpose,
            user: self.user,
            email: self.email,
            created_at: self.created_at,
            expires_at: self.expires_at,
            used: self.redeemed_at.map(|at| TicketUse {
                at,
                credential_version: self.redeemed_version.unwrap_or_default(),
            }),
        }
    }
}

/// A mail that waits, under its number.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct MailRecord {
    pub(super) mail: MailKind,
    pub(super) user: UserId,
    pub(super) to: Email,
    pub(super) message_id: MessageId,
    pub(super) queued_at: Timestamp,
    pub(super) give_up_at: Timestamp,
    pub(super) attempts: u32,
    pub(super) due_at: Timestamp,
}

impl MailRecord {
    pub(super) fn mail(self, id: MailId) -> QueuedMail {
        QueuedMail {
            id,
            kind: self.mail,
            user: self.user,
            to: self.to,
            message_id: self.message_id,
            queued_at: self.queued_at,
            give_up_at: self.give_up_at,
            attempts: self.attempts,
            due_at: self.due_at,
        }
    }
}

/// A mail that was given up.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct FailedMailRecord {
    #[serde(flatten)]
    pub(super) mail: MailRecord,
    pub(super) failed_at: Timestamp,
    pub(super) reason: String,
}

/// An audit event, under its number.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct EventRecord {
    pub(super) kind: EventKind,
    pub(super) user: UserId,
    pub(super) session: Option<SessionId>,
    pub(super) at: Timestamp,
    pub(super) last_at: Timestamp,
    pub(super) count: u64,
    #[serde(rename = "client")]
    pub(super) by: Author,
}

impl EventRecord {
    pub(super) fn event(self) -> Event {
        Event {
            kind: self.kind,
            user: self.user,
            session: self.session,
            at: self.at,
            last_at: self.last_at,
            count: self.count,
            by: self.by,
        }
    }
}
