//! The use cases: one function each, from typed values to a typed outcome.
//!
//! A flow reads the clock once, takes randomness from [`App`](crate::app::App), and knows neither
//! HTTP nor the database.

pub mod account;
pub mod confirmation;
pub mod credentials;
pub mod delivery;
pub mod key_watch;
pub mod link;
pub mod login;
pub mod mail_request;
pub mod password;
pub mod profile;
pub mod refresh;
pub mod registration;
pub mod revocation;
pub mod sessions;
pub mod supervise;
pub mod upkeep;
pub mod verification;

use std::time::Duration;

use crate::clock::ClockBehind;
use crate::hasher::HasherBusy;
use crate::store::StoreError;
use crate::throttle::RetryAfter;

/// Why a use case could not be carried out at all, whatever was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The wall clock lies behind what was committed.
    ClockBehind(ClockBehind),
    /// Too many passwords wait to be hashed.
    Busy {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// Storage has no answer.
    Store(StoreError),
}

impl From<ClockBehind> for Failure {
    fn from(behind: ClockBehind) -> Self {
        Self::ClockBehind(behind)
    }
}

impl From<HasherBusy> for Failure {
    fn from(busy: HasherBusy) -> Self {
        Self::Busy { retry_after: busy.retry_after }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RetryAfter> for Throttled {
    fn from(after: RetryAfter) -> Self {
        Self { retry_after: after.0 }
    }
}

/// A request that one of the limits refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// When it is worth trying again.
    pub retry_after: Duration,
}
