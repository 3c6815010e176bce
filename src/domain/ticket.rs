//! Tickets: what a mailed link carries.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Email, UserId, hex};
use crate::clock::Timestamp;

/// What a ticket is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Confirming that the address given at registration is the person's own.
    VerifyEmail,
    /// Choosing a new password.
    ResetPassword,
    /// Confirming a new address for an account.
    ChangeEmail,
    /// Calling off a change of address, from the old one.
    CancelEmailChange,
}

impl Purpose {
    /// The number that stands for it in storage keys and MACs; never given to another purpose.
    pub const fn code(self) -> u8 {
        match self {
            Self::VerifyEmail => 1,
            Self::ResetPassword => 2,
            Self::ChangeEmail => 3,
            Self::CancelEmailChange => 4,
        }
    }
}

/// A ticket's identifier: 16 random bytes. It is not the link's secret; the MAC over it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId([u8; 16]);

impl TicketId {
    /// Takes 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        hex::parse16(text).map(Self)
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketId({self})")
    }
}

hex::serde_as_hex!(TicketId);

/// A ticket as storage keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its identifier.
    pub id: TicketId,
    /// What it is good for.
    pub purpose: Purpose,
    /// Whose account it concerns.
    pub user: UserId,
    /// The address it was sent to; it counts only while that is still the user's (or, for a
    /// change of address, the pending) one.
    pub email: Email,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops counting.
    pub expires_at: Timestamp,
    /// When it was redeemed: kept, so that a second click can say so.
    pub redeemed_at: Option<Timestamp>,
}

impl Ticket {
    /// Whether it can still be redeemed at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.redeemed_at.is_none() && now < self.expires_at
    }
}
