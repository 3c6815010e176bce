//! Queued mail: kind and recipient, never the link itself.

use serde::{Deserialize, Serialize};

use super::{Email, TicketId, UserId, hex};
use crate::clock::Timestamp;

/// A mail's number in the outbox; later mails have higher numbers, and none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MailId(pub u64);

/// The random part of a mail's `Message-ID`: the same at every attempt, so that a receiver can drop
/// duplicates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MessageId([u8; 16]);

hex::identifier!(MessageId);

/// What a mail says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MailKind {
    /// "Please confirm your address", with the link of this ticket.
    VerifyEmail {
        /// The ticket behind the link.
        ticket: TicketId,
    },
    /// "Choose a new password", with the link of this ticket.
    ResetPassword {
        /// The ticket behind the link.
        ticket: TicketId,
    },
    /// "Please confirm your new address", sent there, with the link of this ticket.
    ChangeEmail {
        /// The ticket behind the link.
        ticket: TicketId,
    },
    /// "Your address is about to change", sent to the old address, with the link of this ticket,
    /// which cancels the change.
    EmailChangeRequested {
        /// The ticket behind the link.
        ticket: TicketId,
        /// The requested address.
        new_email: Email,
    },
    /// "Your address was changed", sent to the old address.
    EmailChanged {
        /// The new address.
        new_email: Email,
    },
    /// "Your password was reset".
    PasswordReset,
    /// "Your password was changed".
    PasswordChanged,
    /// "Your account was deleted".
    AccountDeleted,
}

impl MailKind {
    /// Its name in logs and file names of templates.
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

    /// The ticket whose link the mail carries; `None` for a notice.
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
    /// Its number.
    pub id: MailId,
    /// What it says.
    pub kind: MailKind,
    /// The account it concerns.
    pub user: UserId,
    /// The recipient.
    pub to: Email,
    /// The random part of its `Message-ID`.
    pub message_id: MessageId,
    /// When it was queued; its `Date`.
    pub queued_at: Timestamp,
    /// When it is given up: when its ticket expires, or after a day for a notice.
    pub give_up_at: Timestamp,
    /// How often delivery was tried.
    pub attempts: u32,
    /// When the next attempt is due.
    pub due_at: Timestamp,
}
