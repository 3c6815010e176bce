//! Limits that are kept in memory: on guessing passwords, and on how often an address may try.
//!
//! # Guessing
//! Failures are counted for each pair of an account and an address block. A guess takes its place
//! in the count before the password is hashed and gives it back if it was right or was never
//! made, so that many guesses at one time are as limited as one after the other. Failures are
//! counted for each account as well; above that limit only addresses that have logged in to it
//! before may go on. An account that does not exist is counted exactly like one that does: this
//! module cannot tell them apart.
//!
//! # Bounds
//! Each table holds a fixed number of entries, and whoever fills it with other keys gains no
//! guess: what leaves a full table is remembered well enough never to be counted lower when it
//! comes back (see `table` and `overflow`). What honest people see of such a flood:
//!
//! - Pairs at known addresses have a table of their own, which cannot be filled without knowing
//!   as many passwords: somebody who has logged in from there before sees nothing of it.
//! - Others see next to nothing until the failing pairs of one window are ten times as many as the
//!   table has entries. From then on some of them, and in the end most, start with a count that
//!   is not theirs and are locked out after fewer failures; a right password at the first attempt
//!   still passes unless that count has reached the limit.
//! - The limits for each address work alike: in a flood from very many addresses some further
//!   ones may be throttled for up to the limit's minute or hour.
//!
//! # Wrong clocks
//! Times come from a wall clock. What is dated in the future, after the clock was set back, counts
//! as happening now: a lockout then lasts no longer than its configured time from there. A clock
//! that jumps forward ends lockouts early by as much as it jumped.
//!
//! Everything is forgotten when the process ends.

mod digest;
mod logins;
mod overflow;
mod table;
mod window;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::digest::{Digest, Digester};
pub use self::logins::LoginPermit;
use self::logins::Logins;
use self::table::{Full, Table};
use crate::clock::Timestamp;
use crate::config::{LoginConfig, RegistrationConfig};
use crate::domain::AddressBlock;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Too many requests from one address: try again after this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

/// Too many failed guesses: nothing is tried, not even the right password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockedOut {
    /// When trying again is worth it.
    pub retry_after: Duration,
}

/// All limits that are kept in memory. One for the process; each call takes microseconds.
#[derive(Debug)]
pub struct Throttle {
    digester: Digester,
    registrations: Option<AddressLimit>,
    login_attempts: Option<AddressLimit>,
    /// Shared with the permits that are out.
    logins: Arc<Mutex<Logins>>,
}

impl Throttle {
    /// Limits as configured, nothing counted yet. `key` must be random: it keeps anybody from
    /// choosing addresses or emails that are counted together.
    pub fn new(login: &LoginConfig, registration: &RegistrationConfig, key: [u8; 16]) -> Self {
        let entries = login.limiter_entries;
        let limit = |limit: Option<NonZeroU32>, window| {
            limit.map(|limit| AddressLimit::new(entries, window, limit.get()))
        };
        Self {
            digester: Digester::new(key),
            registrations: limit(registration.per_address_per_hour, HOUR),
            login_attempts: limit(login.per_address_per_minute, MINUTE),
            logins: Arc::new(Mutex::new(Logins::new(login))),
        }
    }

    /// Counts a registration from this address.
    ///
    /// # Errors
    /// [`RetryAfter`] if the hour's number is used up; then it is not counted.
    pub fn registration(&self, from: AddressBlock, now: Timestamp) -> Result<(), RetryAfter> {
        self.count(self.registrations.as_ref(), from, now)
    }

    /// Counts an attempt to log in from this address, whatever becomes of it.
    ///
    /// # Errors
    /// [`RetryAfter`] if the minute's number is used up; then it is not counted.
    pub fn login_attempt(&self, from: AddressBlock, now: Timestamp) -> Result<(), RetryAfter> {
        self.count(self.login_attempts.as_ref(), from, now)
    }

    /// Takes a place for one guess at the password of the account with this email (in the form
    /// under which accounts are found). `is_known_address` says whether this address has logged
    /// in to that account before; false where there is no such account.
    ///
    /// # Errors
    /// [`LockedOut`] if there is no place: because of failures, or for a second because guesses
    /// under way hold all that are left. Nothing is counted then.
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

    /// Forgets all failures at the account with this email, wherever they came from, and ends its
    /// lockouts: for a password that was reset.
    pub fn clear(&self, email_key: &str) {
        let email = self.email_digest(email_key);
        lock(&self.logins).clear(email);
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
        limit.count(self.digester.digest(&["address", &from.to_string()]), now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many of something from one address within a stretch of time.
#[derive(Debug)]
struct AddressLimit {
    table: Mutex<Table>,
    limit: u32,
}

impl AddressLimit {
    fn new(entries: NonZeroUsize, window: Duration, limit: u32) -> Self {
        Self { table: Mutex::new(Table::new(entries, window, Duration::ZERO)), limit }
    }

    fn count(&self, address: Digest, now: Timestamp) -> Result<(), RetryAfter> {
        let mut table = lock(&self.table);
        let span = table.span();
        let entry =
            table.entry(address, now).map_err(|Full(retry_after)| RetryAfter(retry_after))?;
        if entry.total() >= self.limit {
            return Err(RetryAfter(span.until_forgotten(entry.slot_above(self.limit), now)));
        }
        entry.count();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
