//! What keeps the file in order: sweeping, and the operator's word about the clock.

use std::time::Duration;

use super::tables::meta;
use super::{Store, StoreError, events, mailboxes, outbox, revocations, sessions, tickets};
use crate::clock::{Moment, Timestamp};

/// What is swept.
#[derive(Clone, Copy, Debug)]
pub struct SweepLimits {
    /// The most entries of each kind in one transaction.
    pub batch: usize,
    /// How long mail that was given up is kept.
    pub keep_failed_mail: Duration,
    /// How long audit events are kept.
    pub keep_events: Duration,
}

/// How a sweep went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Whether there may be more to sweep already.
    pub is_unfinished: bool,
}

impl Store {
    /// Removes what is over: a bounded batch of sessions, tickets, failed mail and events. While
    /// the clock's jump is unconfirmed it removes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep(&self, limits: SweepLimits, at: Moment) -> Result<Swept, StoreError> {
        if !at.confirmed {
            return Ok(Swept { is_unfinished: false });
        }
        let batch = limits.batch;
        let failed_before = at.now.saturating_sub(limits.keep_failed_mail);
        let events_before = at.now.saturating_sub(limits.keep_events);
        // Each kind by itself, so that what is wrong with one leaves the others in order.
        let swept = [
            self.write(move |write| sessions::sweep(write, at, batch)).await,
            self.write(move |write| tickets::sweep(write, at, batch)).await,
            self.write(move |write| mailboxes::sweep(write, at, batch)).await,
            self.write(move |write| revocations::sweep(write, at, batch)).await,
            self.write(move |write| outbox::sweep(write, at, failed_before, batch)).await,
            self.write(move |write| events::sweep(write, at, events_before, batch)).await,
        ];
        let mut is_unfinished = false;
        for count in swept {
            is_unfinished |= count? >= batch;
        }
        Ok(Swept { is_unfinished })
    }

    /// Sets the mark to `now` and ends all sessions: the operator's word that the clock, which
    /// lies behind what was committed, is right.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accept_clock(&self, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |write| {
            write.change(Moment { now, confirmed: false });
            sessions::end_all(write, now)?;
            write.meta.open()?.insert(meta::MARK, now.as_micros())?;
            Ok(())
        })
        .await
    }
}
