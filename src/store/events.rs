//! Audit events: appended, merged when they repeat, and kept within their number.

use std::sync::Arc;
use std::time::Duration;

use redb::{ReadableTable, ReadableTableMetadata};

use super::records::{EventRecord, encode, load, require};
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

/// Writes `event`, into the last one of its kind where that was shortly before, and drops the
/// oldest events above `max_events`.
pub(super) fn append(
    write: &mut Write<'_>,
    event: NewEvent,
    now: Timestamp,
    max_events: u64,
) -> Result<(), Fault> {
    let block = event.client.block().to_string();
    let key = (event.user.0, event.kind.code(), block.as_str());
    let latest = write.latest_events.open()?.get(key)?.map(|number| number.value());
    if let Some(number) = latest {
        let events = write.events.open()?;
        let mut record: EventRecord = require(events, number)?;
        if now.saturating_since(record.at) <= MERGE_WITHIN {
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
            drop_oldest(write, |_| true)?;
        }
    }
    Ok(())
}

/// Drops the oldest event if `is_droppable` says so of it; says whether it did.
pub(super) fn drop_oldest(
    write: &mut Write<'_>,
    is_droppable: impl FnOnce(&EventRecord) -> bool,
) -> Result<bool, Fault> {
    let first = {
        let events = write.events.open()?;
        events.first()?.map(|(number, _)| number.value())
    };
    let Some(number) = first else { return Ok(false) };
    let record = match load::<u64, EventRecord>(write.events.open()?, number) {
        // It must not keep those after it for ever.
        Err(fault @ Fault::Corrupt { .. }) => {
            fault.report();
            write.events.open()?.remove(number)?;
            return Ok(true);
        }
        record => record?,
    };
    let Some(record) = record else { return Ok(false) };
    if !is_droppable(&record) {
        return Ok(false);
    }
    write.events.open()?.remove(number)?;
    let block = record.client.block().to_string();
    let key = (record.user.0, record.kind.code(), block.as_str());
    let latest = write.latest_events.open()?;
    let is_latest = latest.get(key)?.is_some_and(|latest| latest.value() == number);
    if is_latest {
        latest.remove(key)?;
    }
    Ok(true)
}
