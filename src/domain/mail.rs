//! Mail that waits to be delivered: what is said to whom, never the link itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Email, TicketId, UserId, hex};
use crate::clock::Timestamp;

/// A mail's place in the outbox; later mails have higher numbers, and none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MailId(pub u64);

/// The random part of a mail's `Message-ID`: the same at every attempt, so that a receiver can
/// fold duplicates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// Takes 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        hex::parse16(text).map(Self)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

hex::serde_as_hex!(MessageId);

/// What a mail says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MailKind {
    /// Please confirm your address: carries the link of this ticket.
    VerifyEmail {
        /// The ticket behind the link.
        ticket: TicketId,
    },
    /// You, or someone else, asked for a new password: carries the link of this ticket.
    ResetPassword {
        /// The ticket behind the link.
        ticket: TicketId,
    },
    /// Please confirm your new address, at which this arrives: carries the link of this ticket.
    ChangeEmail {
        /// The ticket behind the link.
        ticket: TicketId,
    },
    /// Your account is about to get a new address; at the old one, with the link of this ticket,
    /// which calls it off.
    EmailChangeRequested {
        /// The ticket behind the link.
        ticket: TicketId,
        /// The address that was asked for.
        new_email: Email,
    },
    /// Your account has a new address; at the old one.
    EmailChanged {
        /// The address it has now.
        new_email: Email,
    },
    /// Your password was reset.
    PasswordReset,
    /// Your password was changed.
    PasswordChanged,
    /// Your account was deleted.
    AccountDeleted,
}

impl MailKind {
    /// What the mail is for, as logs name it; its templates are named after it.
    pub const fn purpose(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } => "verify_email",
            Self::ResetPassword { .. } => "reset_password",
            Self::ChangeEmail { .. } => "change_email",
            Self::EmailChangeRequested { .. } => "email_change_requested",
            Self::EmailChanged { .. } => "email_changed",
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::AccountDeleted => "account_deleted",
        }
    }

    /// The ticket whose link the mail carries; none for a notice.
    pub fn ticket(&self) -> Option<TicketId> {
        match self {
            Self::VerifyEmail { ticket }
            | Self::ResetPassword { ticket }
            | Self::ChangeEmail { ticket }
            | Self::EmailChangeRequested { ticket, .. } => Some(*ticket),
            Self::EmailChanged { .. }
            | Self::PasswordReset
            | Self::PasswordChanged
            | Self::AccountDeleted => None,
        }
    }
}

/// A mail in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMail {
    /// Its place.
    pub id: MailId,
    /// What it says.
    pub kind: MailKind,
    /// Whose account it concerns.
    pub user: UserId,
    /// Where it goes.
    pub to: Email,
    /// The random part of its `Message-ID`.
    pub message_id: MessageId,
    /// When it was queued; its `Date`.
    pub queued_at: Timestamp,
    /// After this it is of no use and is given up: its ticket's expiry, or a day for a notice.
    pub give_up_at: Timestamp,
    /// How often delivery was tried.
    pub attempts: u32,
    /// Not to be tried before this.
    pub due_at: Timestamp,
}
