//! What is kept of each thing: a record and its index entries are read and written by one method
//! here, so that no operation can forget one.

mod events;
#[cfg(any(test, fuzzing))]
pub(super) mod hostile;
mod mailboxes;
mod outbox;
mod records;
mod revocations;
mod sessions;
mod tickets;
mod users;

use std::sync::Arc;

use super::engine::{Decoded, Fault, Numbers, Read, Write, meta};
use super::policy::Policy;
use crate::clock::{Moment, Timestamp};
use crate::domain::User;
use records::FiledSession;

pub(super) use mailboxes::Notice;
pub(super) use outbox::NewMail;
pub(super) use records::Account;

pub use outbox::{FoundMail, MailToSend, UnreadableMail};
pub use revocations::{Revocations, RevocationsVersion};

/// Users and sessions that were decoded before, for requests that carry a token.
#[derive(Default)]
pub(super) struct RowCache {
    users: Decoded<Arc<User>>,
    sessions: Decoded<FiledSession>,
}

/// A write transaction as operations see it.
pub(super) struct Tx<'a, 't> {
    tables: &'a mut Write<'t>,
    cache: &'a RowCache,
    /// The limits and lifetimes that it goes by.
    pub(super) policy: &'a Policy,
    /// When it happens.
    pub(super) at: Moment,
}

impl<'a, 't> Tx<'a, 't> {
    pub(super) const fn new(
        tables: &'a mut Write<'t>,
        cache: &'a RowCache,
        policy: &'a Policy,
        at: Moment,
    ) -> Self {
        Self { tables, cache, policy, at }
    }

    /// The time by the clock.
    pub(super) const fn now(&self) -> Timestamp {
        self.at.now
    }

    /// Has the transaction committed although this operation may write nothing: for an operation
    /// that must take as long whether or not there is an account.
    pub(super) fn commit_anyway(&mut self) {
        self.tables.change(self.at);
    }

    /// The tables, to write to. Every method that writes takes them from here, so that what it
    /// writes is committed.
    fn write(&mut self) -> &mut Write<'t> {
        self.tables.change(self.at);
        self.tables
    }

    /// Sets the last commit time to the present, although it lies ahead.
    pub(super) fn reset_last_commit(&mut self) -> Result<(), Fault> {
        let now = self.at.now.as_micros();
        self.write().meta.open()?.insert(meta::LAST_COMMIT, now)?;
        Ok(())
    }

    /// Notes what the clock says, and for how many microseconds it has stood its trial.
    pub(super) fn note_clock_trial(&mut self, stood_for: u64) -> Result<(), Fault> {
        let wall = self.at.now.as_micros();
        let meta = self.write().meta.open()?;
        let last_commit = meta.number(meta::LAST_COMMIT)?.unwrap_or_default();
        meta.insert(meta::TRIAL_SINCE, last_commit)?;
        meta.insert(meta::TRIAL_WALL, wall)?;
        meta.insert(meta::TRIAL_STOOD_FOR, stood_for)?;
        Ok(())
    }
}

/// The state as of the last commit, as operations see it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    tables: &'a Read,
    cache: &'a RowCache,
}

impl<'a> View<'a> {
    pub(super) const fn new(tables: &'a Read, cache: &'a RowCache) -> Self {
        Self { tables, cache }
    }

    /// What was noted of the clock's trial since the last commit time last moved: what the clock
    /// said, and for how many microseconds it had stood its trial.
    pub(super) fn clock_trial(self) -> Result<Option<(u64, u64)>, Fault> {
        let meta = self.tables.meta()?;
        if meta.number(meta::TRIAL_SINCE)? != meta.number(meta::LAST_COMMIT)? {
            return Ok(None);
        }
        Ok(meta.number(meta::TRIAL_WALL)?.zip(meta.number(meta::TRIAL_STOOD_FOR)?))
    }
}
