//! Users: a person's account.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Email, TicketId, Username};
use crate::clock::Timestamp;

/// A user's number: from 1 upwards, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub u64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An account, without its password hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub id: UserId,
    /// Its address.
    pub email: Email,
    /// Its user name, if it has one.
    pub username: Option<Username>,
    /// Whether the address has been confirmed.
    pub is_email_verified: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Raised by every change of password, email or disablement, so that a check made outside a
    /// transaction can be compared with the account inside it.
    pub credential_version: u64,
    /// Whether the operator has disabled it.
    pub is_disabled: bool,
    /// The requested new address, until it is confirmed, cancelled or expired.
    pub pending_email: Option<Box<PendingEmail>>,
}

impl User {
    /// The user at `now`, without an expired change of address.
    #[must_use]
    pub fn seen_at(mut self, now: Timestamp) -> Self {
        self.pending_email = self.pending_email.filter(|pending| now < pending.expires_at);
        self
    }

    /// The change of address that can still be confirmed at `now`.
    pub fn pending_email_at(&self, now: Timestamp) -> Option<&PendingEmail> {
        self.pending_email.as_deref().filter(|pending| now < pending.expires_at)
    }
}

/// A requested change of address that is not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingEmail {
    /// The new address.
    pub email: Email,
    /// The ticket that was sent to it.
    pub ticket: TicketId,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}
