//! Users: a person's account.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Email, Username};
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
    /// Its address, as typed.
    pub email: Email,
    /// Its name, where one was chosen.
    pub username: Option<Username>,
    /// Whether someone who reads that address's mail has confirmed it.
    pub is_email_verified: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Raised by every change of password, email or disablement, so that a check made outside a
    /// transaction can be held against the account as it is by then.
    pub credential_version: u64,
    /// Whether the operator has closed it.
    pub is_disabled: bool,
}
