//! Limits that are kept in memory: on guessing passwords, and on how often an address may try.
//!
//! # Guessing
//! Failures are counted for each pair of an account and an address block. A guess reserves its
//! place in the count before the password is hashed and gives it back if the password was right or
//! was never checked, so that parallel guesses are limited like consecutive ones. Failures are also
//! counted for each account; above that limit addresses that have logged in to it before go on as
//! usual, and all others together are admitted at a slow pace: a guesser gets little out of it, and
//! an owner on a new network is never refused for longer than an hour or so. Accounts that do not
//! exist are counted in the same way: this module cannot tell the difference.
//!
//! # Bounds
//! Each table holds a fixed number of entries. Filling it with other keys gains no guess: a key
//! that leaves a full table is remembered well enough never to come back with a lower count (see
//! `table` and `overflow`). What other users notice of such a flood:
//!
//! - Pairs with known addresses have a table of their own, which cannot be filled without knowing
//!   as many passwords. Users who have logged in from their address before are unaffected.
//! - Other users are unaffected until the failing pairs of one window are ten times as many as the
//!   table has entries. From then on some of them, and eventually most, start with a count that is
//!   not theirs and are locked out after fewer failures. A right password at the first attempt
//!   still passes unless that count has reached the limit.
//! - The limits for each address work in the same way: in a flood from very many addresses, other
//!   addresses may be throttled for up to the limit's minute or hour.
//!
//! # Wrong clocks
//! Times come from the wall clock. After the clock was set back, events dated in the future count
//! as happening now, so a lockout lasts no longer than its configured time. A clock that jumps
//! forward ends lockouts early by the size of the jump.
//!
//! Everything is forgotten when the process ends.

mod digest;
mod logins;
mod overflow;
mod table;
mod window;

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::digest::{Digest, Digester};
pub use self::logins::LoginPermit;
use self::logins::Logins;
use self::table::Table;
use crate::clock::Timestamp;
use crate::config::{LoginConfig, RegistrationConfig};
use crate::domain::AddressBlock;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// More accounts than one person at this machine mistypes the password of.
const MANY: usize = 10;

/// Too many requests from one address: try again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

/// Too many failed guesses: no password is checked, not even the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockedOut {
    /// How long to wait before trying again.
    pub retry_after: Duration,
    /// Whether it is the pace of an account with too many failures in a day, which a reset of the
    /// password ends, and not the lockout of one address.
    pub is_slowed: bool,
}

/// All limits that are kept in memory. One for the process; each call takes microseconds.
#[derive(Debug)]
pub struct Throttle {
    digester: Digester,
    registrations: Option<AddressLimit>,
    login_attempts: Option<AddressLimit>,
    /// Shared with the outstanding permits.
    logins: Arc<Mutex<Logins>>,
    /// The accounts at which logins from loopback failed.
    loopback: Mutex<HashSet<Digest>>,
}

/// A limit on events from one address within a period.
#[derive(Debug)]
struct AddressLimit {
    table: Mutex<Table>,
    limit: u32,
}

impl Throttle {
    /// The configured limits, with nothing counted yet. `key` must be random, so that nobody can
    /// choose addresses or emails that are counted together.
    pub fn new(login: &LoginConfig, registration: &RegistrationConfig, key: [u8; 16]) -> Self {
        let entries = login.limiter_entries;
        let limit = |limit: Option<NonZeroU32>, window| {
            let table = Mutex::new(Table::new(entries, window, Duration::ZERO));
            limit.map(|limit| AddressLimit { table, limit: limit.get() })
        };
        Self {
            digester: Digester::new(key),
            registrations: limit(registration.per_address_per_hour, HOUR),
            login_attempts: limit(login.per_address_per_minute, MINUTE),
            logins: Arc::new(Mutex::new(Logins::new(login))),
            loopback: Mutex::default(),
        }
    }

    /// Counts a registration from this address.
    ///
    /// # Errors
    /// [`RetryAfter`] if the hour's limit is reached; then it is not counted.
    pub fn registration(&self, from: AddressBlock, now: Timestamp) -> Result<(), RetryAfter> {
        self.count(self.registrations.as_ref(), from, now)
    }

    /// Counts an attempt to log in from this address, successful or not.
    ///
    /// # Errors
    /// [`RetryAfter`] if the minute's limit is reached; then it is not counted.
    pub fn login_attempt(&self, from: AddressBlock, now: Timestamp) -> Result<(), RetryAfter> {
        self.count(self.login_attempts.as_ref(), from, now)
    }

    /// Reserves one guess at the password of the account with this email (in the form used to look
    /// up accounts). `is_known_address` is whether this address has logged in to that account
    /// before; false if there is no such account.
    ///
    /// # Errors
    /// [`LockedOut`] if none is left, because of failures or, for a second, because guesses under
    /// way hold the rest. Nothing is counted then.
    pub fn begin_login(
        &self,
        email_key: &str,
        from: AddressBlock,
        is_known_address: bool,
        now: Timestamp,
    ) -> Result<LoginPermit, LockedOut> {
        let email = self.email_digest(email_key);
        let pair = self.digester.digest(&["pair", email_key, &from.to_string()]);
        LoginPermit::take(&self.logins, pair, email, is_known_address, now)
    }

    /// Forgets all failures at the account with this email, from every address, and ends its
    /// lockouts. For a password that was reset.
    pub fn clear(&self, email_key: &str) {
        let email = self.email_digest(email_key);
        lock(&self.logins).epochs.begin(email);
    }

    /// Counts a failed login from loopback. Returns true once: when logins at many accounts have
    /// failed from there, as they do behind a proxy that does not name its clients.
    pub fn loopback_failure(&self, email_key: &str) -> bool {
        let mut accounts = lock(&self.loopback);
        accounts.len() < MANY
            && accounts.insert(self.email_digest(email_key))
            && accounts.len() == MANY
    }

    fn email_digest(&self, email_key: &str) -> Digest {
        self.digester.digest(&["email", email_key])
    }

    fn count(
        &self,
        limit: Option<&AddressLimit>,
        from: AddressBlock,
        now: Timestamp,
    ) -> Result<(), RetryAfter> {
        let Some(limit) = limit else { return Ok(()) };
        let address = self.digester.digest(&["address", &from.to_string()]);
        lock(&limit.table).admit([(address, limit.limit)], now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
