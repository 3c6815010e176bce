//! The counts in which a guess reserves its place, and the reservation.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::digest::Digest;
use super::table::{RESERVED_RETRY, Table};
use super::{HOUR, LockedOut, RetryAfter, lock};
use crate::clock::Timestamp;
use crate::config::LoginConfig;

/// How long failures count for an email.
const DAY: Duration = Duration::from_hours(24);

/// The reservation of one guess, given back when it is dropped. Without a verdict, for example
/// because nothing could be hashed, that is all that happens.
#[derive(Debug)]
#[must_use = "a guess that is not reported does not count"]
pub struct LoginPermit {
    logins: Arc<Mutex<Logins>>,
    pair: Digest,
    is_known_address: bool,
    /// `None` if failures are not counted for each email, or if there was no room to count this
    /// one.
    email: Option<Digest>,
}

impl LoginPermit {
    /// Reserves a place in the counts of a pair and an email. Above the email's limit, an address
    /// that has not logged in to it before is admitted at its pace.
    ///
    /// # Errors
    /// [`LockedOut`] if either has none left; then nothing is reserved.
    pub(super) fn take(
        shared: &Arc<Mutex<Logins>>,
        pair: Digest,
        email: Digest,
        is_known_address: bool,
        now: Timestamp,
    ) -> Result<Self, LockedOut> {
        let logins = &mut *lock(shared);
        let epoch = logins.epochs.of(email);
        let (pair, email) = (pair.in_epoch(epoch), email.in_epoch(epoch));
        let locked_out = |RetryAfter(retry_after)| LockedOut { retry_after, is_slowed: false };
        let slowed = |RetryAfter(retry_after)| LockedOut { retry_after, is_slowed: true };

        let max_failures = logins.max_failures;
        let pairs = if is_known_address { &mut logins.known } else { &mut logins.strangers };
        let span = pairs.span;
        let pair_entry = pairs.entry(pair, now).map_err(locked_out)?;
        let (failed, reserved) = (pair_entry.window.total(), pair_entry.reserved);
        let wait = (pair_entry.locked_until.map(|end| end.saturating_since(now)))
            .or_else(|| span.until_below(max_failures, &pair_entry.window, now))
            .or((failed.saturating_add(reserved) >= max_failures).then_some(RESERVED_RETRY));
        if let Some(wait) = wait {
            return Err(locked_out(RetryAfter(wait)));
        }

        let mut counted = None;
        if let Some(emails) = &mut logins.emails {
            if !is_known_address {
                let entry = emails.table.entry(email, now).map_err(slowed)?;
                let (failed, reserved) = (entry.window.total(), entry.reserved);
                if failed >= emails.limit {
                    let counts = [(email, emails.per_hour), (pair, emails.per_hour_from_one)];
                    emails.paced.admit(counts, now).map_err(slowed)?;
                } else if failed.saturating_add(reserved) >= emails.limit {
                    return Err(slowed(RetryAfter(RESERVED_RETRY)));
                }
            }
            if let Ok(entry) = emails.table.entry(email, now) {
                entry.reserve();
                counted = Some(email);
            }
        }
        pair_entry.reserve();
        Ok(Self { logins: Arc::clone(shared), pair, is_known_address, email: counted })
    }

    /// The password was right: the pair's failures are forgotten.
    pub fn succeed(self) {
        let mut logins = lock(&self.logins);
        if let Some(pair) = logins.pairs(self.is_known_address).existing(self.pair) {
            pair.window.clear();
        }
    }

    /// The password was wrong. The last allowed failure locks out the pair from `now` on, or, for
    /// the day, slows down all addresses that have not logged in to that account before. Returns
    /// whether this was the last one of either, so that the start is reported once.
    pub fn fail(self, now: Timestamp) -> bool {
        let mut logins = lock(&self.logins);
        let (max_failures, lockout) = (logins.max_failures, logins.lockout);
        let mut begins_lockout = false;
        if let Some((emails, email)) = logins.emails.as_mut().zip(self.email)
            && let Ok(email) = emails.table.entry(email, now)
        {
            email.window.add(1);
            begins_lockout = email.window.total() == emails.limit;
        }
        if let Ok(pair) = logins.pairs(self.is_known_address).entry(self.pair, now) {
            pair.window.add(1);
            if pair.window.total() >= max_failures {
                pair.locked_until = Some(now.saturating_add(lockout));
                begins_lockout = true;
            }
        }
        begins_lockout
    }
}

impl Drop for LoginPermit {
    fn drop(&mut self) {
        let mut logins = lock(&self.logins);
        if let Some((emails, email)) = logins.emails.as_mut().zip(self.email)
            && let Some(email) = emails.table.existing(email)
        {
            email.release();
        }
        if let Some(pair) = logins.pairs(self.is_known_address).existing(self.pair) {
            pair.release();
        }
    }
}

/// All counts of guesses.
#[derive(Debug)]
pub(super) struct Logins {
    /// How many failures lock out a pair.
    max_failures: u32,
    /// How long a pair is locked out.
    lockout: Duration,
    /// Pairs of an email and an address that has not logged in to it before.
    pub(super) strangers: Table,
    /// Pairs of an email and an address that has. A flood of other pairs cannot displace these.
    known: Table,
    /// `None` if failures are not counted for each email.
    pub(super) emails: Option<EmailLimit>,
    pub(super) epochs: Epochs,
}

#[derive(Debug)]
pub(super) struct EmailLimit {
    pub(super) table: Table,
    limit: u32,
    /// The attempts of the last hour that were admitted above the limit, by email and by pair.
    /// Also the right password's count: the pace bounds what a guesser can try.
    paced: Table,
    per_hour: u32,
    per_hour_from_one: u32,
}

impl Logins {
    pub(super) fn new(config: &LoginConfig) -> Self {
        let entries = config.limiter_entries;
        let pairs = || Table::new(entries, config.failure_window, config.lockout);
        let emails = config.max_failures_per_email.map(|limit| EmailLimit {
            table: Table::new(entries, DAY, Duration::ZERO),
            limit: limit.get(),
            paced: Table::new(entries, HOUR, Duration::ZERO),
            per_hour: config.slowed_per_hour.get(),
            per_hour_from_one: config.slowed_per_address_per_hour.get(),
        });
        Self {
            max_failures: config.max_failures.get(),
            lockout: config.lockout,
            strangers: pairs(),
            known: pairs(),
            emails,
            epochs: Epochs::new(entries),
        }
    }

    fn pairs(&mut self, is_known_address: bool) -> &mut Table {
        if is_known_address { &mut self.known } else { &mut self.strangers }
    }
}

/// How often failures were cleared, by email. The number is part of the digests under which
/// failures are counted, so raising it abandons all earlier counts of that email without searching
/// for them.
///
/// At least half of the entries are kept. When a half is full, the older one is dropped, and
/// unexpired counts from before those clearings count again.
#[derive(Debug)]
pub(super) struct Epochs {
    recent: HashMap<Digest, u64>,
    older: HashMap<Digest, u64>,
    /// The most entries of each half.
    half: usize,
    /// The last number that was assigned.
    last: u64,
}

impl Epochs {
    fn new(entries: NonZeroUsize) -> Self {
        let half = (entries.get() / 2).max(1);
        Self { recent: HashMap::new(), older: HashMap::new(), half, last: 0 }
    }

    /// The number of an email; 0 if it was never cleared.
    fn of(&self, email: Digest) -> u64 {
        self.recent.get(&email).or_else(|| self.older.get(&email)).copied().unwrap_or(0)
    }

    /// Forgets all failures at this email.
    pub(super) fn begin(&mut self, email: Digest) {
        if self.recent.len() >= self.half {
            self.older = std::mem::take(&mut self.recent);
        }
        self.last += 1;
        self.recent.insert(email, self.last);
    }
}
