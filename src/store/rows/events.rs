//! Audit events: appended, merged when they repeat, and kept within their number.

use std::time::Duration;

use super::records::{EventRecord, find_over};
use super::{Tx, View};
use crate::clock::Timestamp;
use crate::domain::{Actor, Author, Event, EventKind, SessionId, UserId};
use crate::store::engine::{
    Fault, Numbers, ReadableTable, ReadableTableMetadata, Records, TableHandle, decode, meta,
    readable,
};

/// Events of one kind, user and address block are merged into the first for this long, so that
/// none stays the newest of its kind for ever and outlives its time.
const MERGE_WITHIN: Duration = Duration::from_secs(60 * 60);

impl View<'_> {
    /// The events after the first `skip`, oldest first, `limit` at most.
    pub(crate) fn events(self, skip: usize, limit: usize) -> Result<Vec<Event>, Fault> {
        let events = self.tables.events()?;
        let mut found = Vec::new();
        for entry in events.iter()?.skip(skip).take(limit) {
            let (number, bytes) = entry?;
            let record: EventRecord = decode(events.name(), &number.value(), bytes.value())?;
            found.push(record.event());
        }
        Ok(found)
    }
}

impl Tx<'_, '_> {
    /// Notes what `by` does to `user`, in the last event of its kind where that was shortly before,
    /// and drops the oldest events above their number.
    pub(crate) fn note(
        &mut self,
        kind: EventKind,
        user: UserId,
        session: Option<SessionId>,
        by: &Actor,
    ) -> Result<(), Fault> {
        let now = self.now();
        let (by, max_events) = (Author::from(by), self.policy.max_events);
        let repeated = repeated(kind, &by);
        let key = (user.0, repeated.as_str());
        let tables = self.write();
        if let Some(number) = tables.latest_events.open()?.number(key)? {
            // What happens is noted, whatever became of the one before.
            let found = readable(tables.events.open()?.load::<EventRecord>(number))?;
            let is_shortly_before = |record: &EventRecord| {
                // One from a time ahead would take in all that happens until then.
                record.at <= now && now.saturating_since(record.at) <= MERGE_WITHIN
            };
            if let Some(mut record) = found.filter(is_shortly_before) {
                record.count = record.count.saturating_add(1);
                record.last_at = record.last_at.max(now);
                record.session = session;
                return tables.events.save(number, &record);
            }
        }
        let number = tables.next_number(meta::NEXT_EVENT)?;
        let record = EventRecord { kind, user, session, at: now, last_at: now, count: 1, by };
        tables.latest_events.open()?.insert(key, number)?;
        tables.events.save(number, &record)?;
        // Two at a time, so that a number that was lowered is reached without one long transaction.
        for _ in 0..2 {
            if self.tables.events.open()?.len()? > max_events {
                self.drop_oldest_event()?;
            }
        }
        Ok(())
    }

    /// Drops up to `batch` of the oldest events, of those that were last seen before `before`; says
    /// how many.
    pub(crate) fn sweep_events(&mut self, before: Timestamp, batch: usize) -> Result<usize, Fault> {
        let last_at = |event: &EventRecord| event.last_at;
        let now = self.now();
        let over = find_over(self.tables.events.open()?, last_at, now, before, batch)?;
        let Some(last) = over else { return Ok(0) };
        let mut count = 0;
        while count < batch && self.oldest_event()?.is_some_and(|number| number <= last) {
            self.drop_oldest_event()?;
            count += 1;
        }
        Ok(count)
    }

    fn oldest_event(&mut self) -> Result<Option<u64>, Fault> {
        Ok(self.tables.events.open()?.first()?.map(|(number, _)| number.value()))
    }

    fn drop_oldest_event(&mut self) -> Result<(), Fault> {
        let Some(number) = self.oldest_event()? else { return Ok(()) };
        let tables = self.write();
        let record = readable(tables.events.open()?.load::<EventRecord>(number))?;
        tables.events.open()?.remove(number)?;
        let latest = tables.latest_events.open()?;
        let Some(record) = record else {
            // It does not say whose latest it was.
            latest.retain(|_, latest| latest != number)?;
            return Ok(());
        };
        let repeated = repeated(record.kind, &record.by);
        let key = (record.user.0, repeated.as_str());
        if latest.number(key)? == Some(number) {
            latest.remove(key)?;
        }
        Ok(())
    }
}

/// What two events of a user have in common if the second repeats the first.
fn repeated(kind: EventKind, by: &Author) -> String {
    format!("{} {by}", kind.code())
}
