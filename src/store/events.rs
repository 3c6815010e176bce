//! Audit events: appended, merged when they repeat, and kept within their number.

use std::sync::Arc;
use std::time::Duration;

use redb::{ReadableTable, ReadableTableMetadata};

use super::records::{EventRecord, encode, find_over, load, readable};
use super::tables::{EVENTS, Write, meta};
use super::{Fault, Store, StoreError};
use crate::clock::{Moment, Timestamp};
use crate::domain::{Client, Event, EventKind, SessionId, UserId};

/// Events of one kind, user and address block are merged into the first for this long, so that
/// none stays the newest of its kind for ever and outlives its time.
const MERGE_WITHIN: Duration = Duration::from_secs(60 * 60);

/// An event that happens now.
#[derive(Clone, Debug)]
pub(super) struct NewEvent {
    pub(super) kind: EventKind,
    pub(super) user: UserId,
    pub(super) session: Option<SessionId>,
    pub(super) client: Client,
}

impl Store {
    /// Notes a wrong password for an account, and that a lockout begins with it. For
    /// an address without an account nothing is noted, but something is committed all the same:
    /// or it would show in how long whoever writes next has to wait.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_failure(
        &self,
        user: Option<UserId>,
        begins_lockout: bool,
        client: Client,
        at: Moment,
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            write.change(at);
            let Some(user) = user else { return Ok(()) };
            let lockout = begins_lockout.then_some(EventKind::LockedOut);
            for kind in [EventKind::LoginFailed].into_iter().chain(lockout) {
                let event = NewEvent { kind, user, session: None, client: client.clone() };
                append(write, event, at.now, shared.max_events)?;
            }
            Ok(())
        })
        .await
    }

    /// The events after the first `skip`, oldest first, `limit` at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn events(&self, skip: usize, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(|read| {
            let events = read.open(EVENTS)?;
            let mut found = Vec::new();
            for entry in events.iter()?.skip(skip).take(limit) {
                let (number, bytes) = entry?;
                let record: EventRecord =
                    super::records::decode(EVENTS_NAME, &number.value(), bytes.value())?;
                found.push(record.event());
            }
            Ok(found)
        })
    }
}

const EVENTS_NAME: &str = "events_1";

/// What two events of a user have in common if the second repeats the first.
fn repeated(kind: EventKind, client: &Client) -> String {
    format!("{} {}", kind.code(), client.block())
}

/// Writes `event`, into the last one of its kind where that was shortly before, and drops the
/// oldest events above `max_events`.
pub(super) fn append(
    write: &mut Write<'_>,
    event: NewEvent,
    now: Timestamp,
    max_events: u64,
) -> Result<(), Fault> {
    let repeated = repeated(event.kind, &event.client);
    let key = (event.user.0, repeated.as_str());
    let latest = write.latest_events.open()?.get(key)?.map(|number| number.value());
    if let Some(number) = latest {
        let events = write.events.open()?;
        // What happens is noted, whatever became of the one before.
        let found = readable(load::<u64, EventRecord>(events, number))?;
        let is_shortly_before = |record: &EventRecord| {
            // One from a time ahead would take in all that happens until then.
            record.at <= now && now.saturating_since(record.at) <= MERGE_WITHIN
        };
        if let Some(mut record) = found.filter(is_shortly_before) {
            record.count = record.count.saturating_add(1);
            record.last_at = record.last_at.max(now);
            record.session = event.session;
            events.insert(number, encode(&record)?.as_slice())?;
            return Ok(());
        }
    }
    let number = write.next_number(meta::NEXT_EVENT)?;
    let record = EventRecord {
        kind: event.kind,
        user: event.user,
        session: event.session,
        at: now,
        last_at: now,
        count: 1,
        client: event.client,
    };
    write.latest_events.open()?.insert(key, number)?;
    write.events.open()?.insert(number, encode(&record)?.as_slice())?;
    // Two at a time, so that a number that was lowered is reached without one long transaction.
    for _ in 0..2 {
        if write.events.open()?.len()? > max_events {
            drop_oldest(write)?;
        }
    }
    Ok(())
}

/// Drops up to `batch` of the oldest events, of those that were last seen before `before`; says how
/// many.
pub(super) fn sweep(
    write: &mut Write<'_>,
    at: Moment,
    before: Timestamp,
    batch: usize,
) -> Result<usize, Fault> {
    let last_at = |event: &EventRecord| event.last_at;
    let Some(last) = find_over(write.events.open()?, last_at, at.now, before, batch)? else {
        return Ok(0);
    };
    write.change(at);
    let mut count = 0;
    while count < batch && oldest(write)?.is_some_and(|number| number <= last) {
        drop_oldest(write)?;
        count += 1;
    }
    Ok(count)
}

fn oldest(write: &mut Write<'_>) -> Result<Option<u64>, Fault> {
    Ok(write.events.open()?.first()?.map(|(number, _)| number.value()))
}

fn drop_oldest(write: &mut Write<'_>) -> Result<(), Fault> {
    let Some(number) = oldest(write)? else { return Ok(()) };
    let record = readable(load::<u64, EventRecord>(write.events.open()?, number))?;
    write.events.open()?.remove(number)?;
    let latest = write.latest_events.open()?;
    let Some(record) = record else {
        // It does not say whose latest it was.
        latest.retain(|_, latest| latest != number)?;
        return Ok(());
    };
    let repeated = repeated(record.kind, &record.client);
    let key = (record.user.0, repeated.as_str());
    let is_latest = latest.get(key)?.is_some_and(|latest| latest.value() == number);
    if is_latest {
        latest.remove(key)?;
    }
    Ok(())
}
