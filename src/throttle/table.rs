//! A table of counts with a fixed size that forgets nothing that would help a guesser.
//!
//! The keys are spread over buckets of [`WAYS`] places. Every operation looks at one bucket, so its
//! time does not depend on how full the table is. When a bucket is full, expired entries leave
//! first, then the entry with the lowest count, and among equal counts the one that was counted
//! longest ago. Its key and count go to the bucket's [`Overflow`], from which it starts when it
//! comes back. Entries with a reservation or a lock never leave early: if a bucket holds nothing
//! else, new keys are told to wait.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::RetryAfter;
use super::digest::Digest;
use super::overflow::Overflow;
use super::window::{Span, Window};
use crate::clock::Timestamp;

/// How many entries share a bucket, in a table that is large enough.
const WAYS: usize = 8;

/// How long a caller waits for a reservation that others hold.
pub(super) const RESERVED_RETRY: Duration = Duration::from_secs(1);

/// Counts by key, within a window, for a fixed number of entries.
#[derive(Debug)]
pub(super) struct Table {
    /// Created when first used.
    buckets: Vec<Option<Box<Bucket>>>,
    /// The most entries of a bucket.
    ways: usize,
    /// How slots relate to time.
    pub(super) span: Span,
    /// The longest a lock lasts; a later end means that the clock was set back.
    longest_lock: Duration,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    entries: Vec<Entry>,
    /// `None` until an entry had to leave.
    overflow: Option<Box<Overflow>>,
}

/// The counts of one key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    key: Digest,
    /// Decided events.
    pub(super) window: Window,
    /// Events that were admitted and are not decided yet.
    pub(super) reserved: u32,
    /// The end of the lock.
    pub(super) locked_until: Option<Timestamp>,
}

impl Table {
    /// An empty table of at most `entries`, counting within `window`, with locks of at most
    /// `longest_lock`. Memory is allocated as entries are added.
    pub(super) fn new(entries: NonZeroUsize, window: Duration, longest_lock: Duration) -> Self {
        let ways = entries.get().min(WAYS);
        Self {
            buckets: vec![None; entries.get() / ways],
            ways,
            span: Span::new(window),
            longest_lock,
        }
    }

    /// Counts an event for each of these keys, if each has fewer than its limit, or none.
    pub(super) fn admit<const N: usize>(
        &mut self,
        counts: [(Digest, u32); N],
        now: Timestamp,
    ) -> Result<(), RetryAfter> {
        let span = self.span;
        for (key, limit) in counts {
            let window = &self.entry(key, now)?.window;
            span.until_below(limit, window, now).map_or(Ok(()), |wait| Err(RetryAfter(wait)))?;
        }
        for (key, _) in counts {
            self.entry(key, now)?.window.add(1);
        }
        Ok(())
    }

    /// The entry of `key`, updated to `now`. If there is none, it is created, unless no other entry
    /// can leave.
    pub(super) fn entry(&mut self, key: Digest, now: Timestamp) -> Result<&mut Entry, RetryAfter> {
        let (ways, longest_lock) = (self.ways, self.longest_lock);
        let slot = self.span.slot_of(now);
        let bucket = self.bucket(key).ok_or(RetryAfter(RESERVED_RETRY))?;
        if !bucket.entries.iter().any(|entry| entry.key == key) {
            bucket.make_room(ways, slot, now, longest_lock)?;
            let overflow = bucket.overflow.as_mut();
            let window = overflow.map_or_else(Window::default, |it| it.recall(key, slot));
            bucket.entries.push(Entry { key, window, reserved: 0, locked_until: None });
        }
        let entry = bucket.entries.iter_mut().find(|entry| entry.key == key);
        let entry = entry.ok_or(RetryAfter(RESERVED_RETRY))?;
        entry.bring_up_to(slot, now, longest_lock);
        Ok(entry)
    }

    /// The entry of `key`, if there is one, without updating it.
    pub(super) fn existing(&mut self, key: Digest) -> Option<&mut Entry> {
        self.bucket(key)?.entries.iter_mut().find(|entry| entry.key == key)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().flatten().map(|bucket| bucket.entries.len()).sum()
    }

    fn bucket(&mut self, key: Digest) -> Option<&mut Bucket> {
        let index = key.high % u64::try_from(self.buckets.len()).unwrap_or(1).max(1);
        let bucket = self.buckets.get_mut(usize::try_from(index).ok()?)?;
        Some(bucket.get_or_insert_default())
    }
}

impl Bucket {
    /// Makes room for one more entry.
    fn make_room(
        &mut self,
        ways: usize,
        slot: u64,
        now: Timestamp,
        longest_lock: Duration,
    ) -> Result<(), RetryAfter> {
        if self.entries.len() < ways {
            return Ok(());
        }
        for entry in &mut self.entries {
            entry.bring_up_to(slot, now, longest_lock);
        }
        self.entries.retain(|entry| !entry.may_leave_in(now).is_zero() || entry.window.total() > 0);
        if self.entries.len() < ways {
            return Ok(());
        }
        let key =
            |entry: &Entry| (entry.may_leave_in(now), entry.window.total(), entry.window.latest());
        let first = self.entries.iter().enumerate().min_by_key(|(_, entry)| key(entry));
        let Some((position, entry)) = first else { return Ok(()) };
        let wait = entry.may_leave_in(now);
        if !wait.is_zero() {
            return Err(RetryAfter(wait));
        }
        let leaving = self.entries.swap_remove(position);
        let overflow = self.overflow.get_or_insert_default();
        overflow.fold(leaving.key, &leaving.window, slot);
        Ok(())
    }
}

impl Entry {
    /// Admits one event, to be decided until [`release`](Self::release).
    pub(super) fn reserve(&mut self) {
        self.reserved = self.reserved.saturating_add(1);
    }

    /// Ends one admission, decided or given back.
    pub(super) fn release(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    fn bring_up_to(&mut self, slot: u64, now: Timestamp, longest_lock: Duration) {
        self.window.age_to(slot);
        if let Some(end) = self.locked_until {
            let end = end.min(now.saturating_add(longest_lock));
            self.locked_until = (now < end).then_some(end);
            if self.locked_until.is_none() {
                // After a lock the count starts again.
                self.window.clear();
            }
        }
    }

    /// How long reservations and the lock keep it from leaving, as far as that is known.
    fn may_leave_in(&self, now: Timestamp) -> Duration {
        match self.locked_until {
            _ if self.reserved > 0 => RESERVED_RETRY,
            Some(end) => end.saturating_since(now),
            None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::Digester;
    use super::*;

    const START: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);
    const WINDOW: Duration = Duration::from_secs(60);
    const LOCK: Duration = Duration::from_secs(10);

    fn key(number: u32) -> Digest {
        Digester::new([4; 16]).digest(&[&number.to_string()])
    }

    fn table(entries: usize) -> Table {
        Table::new(NonZeroUsize::new(entries).unwrap(), WINDOW, LOCK)
    }

    fn count(table: &mut Table, number: u32, now: Timestamp) -> u32 {
        let entry = table.entry(key(number), now).unwrap();
        entry.window.add(1);
        entry.window.total()
    }

    #[test]
    fn it_never_grows_above_its_size() {
        for entries in [1, 3, 8, 100, 1_000] {
            let mut table = table(entries);
            for number in 0..5_000 {
                count(&mut table, number, START);
            }
            assert!(table.len() <= entries, "{entries}");
            assert!(table.len() > entries / 2, "{entries}");
        }
    }

    #[test]
    fn what_has_expired_leaves_without_a_trace() {
        let mut table = table(8);
        for number in 0..8 {
            count(&mut table, number, START);
        }
        let later = START.saturating_add(WINDOW * 2);
        assert_eq!(count(&mut table, 8, later), 1);
        assert_eq!(table.len(), 1);
        assert!(table.buckets[0].as_ref().unwrap().overflow.is_none());
    }

    #[test]
    fn the_lowest_count_leaves_and_is_recalled() {
        let mut table = table(8);
        for number in 0..8 {
            for _ in 0..=number {
                count(&mut table, number, START);
            }
        }
        count(&mut table, 8, START);
        assert!(table.existing(key(0)).is_none());
        assert_eq!(table.existing(key(1)).unwrap().window.total(), 2);
        assert_eq!(count(&mut table, 0, START), 2, "its first one is not forgotten");
    }

    #[test]
    fn reserved_and_locked_entries_stay() {
        let mut table = table(2);
        table.entry(key(0), START).unwrap().reserved = 1;
        let end = Some(START.saturating_add(LOCK));
        table.entry(key(1), START).unwrap().locked_until = end;
        assert_eq!(table.entry(key(2), START).unwrap_err(), RetryAfter(RESERVED_RETRY));
        table.existing(key(0)).unwrap().release();
        assert!(table.entry(key(2), START).is_ok());
        table.entry(key(2), START).unwrap().locked_until = end;
        assert_eq!(table.entry(key(3), START).unwrap_err(), RetryAfter(LOCK));
        assert!(table.entry(key(3), START.saturating_add(LOCK)).is_ok());
    }
}
