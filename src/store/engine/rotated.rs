//! Sessions that were rotated lately, kept apart from the others.
//!
//! Rotations are the commonest writes there are, and the sessions of a large installation lie all
//! over its file: each written in its place dirties a leaf of its own and the branches above it,
//! and a disk takes pages that lie far apart one by one. So the newest record of a session that
//! was rotated lies in a small table, whose few pages a batch of rotations shares. The one in the
//! table of all sessions stays as it was, and is not read until the newer one is put in its place:
//! when the small table is full, some neighbours at a time.
//!
//! Nothing outside this file knows of the small table: a session is read, written and removed by
//! the methods here.

use redb::{AccessGuard, ReadableTable, ReadableTableMetadata, TableHandle};
use serde::de::DeserializeOwned;

use super::decoded::{Decoded, Edition};
use super::fault::{Fault, lock};
use super::table::{Id, Record, decode};
use super::tables::{ROTATED_SESSIONS, Read, SESSIONS, Write};
use crate::domain::SessionId;

/// So many neighbours are put in their places at a time, but no more than half of all.
pub(crate) const SETTLED_AT_ONCE: usize = 64;

/// The identifier of a session that is kept apart, and its record.
type Apart = ([u8; 16], Vec<u8>);

/// A session's record as it is now.
pub(crate) struct Newest<'t> {
    table: &'static str,
    id: SessionId,
    edition: Edition,
    bytes: AccessGuard<'t, Record>,
}

impl<'t> Newest<'t> {
    /// Looks in both tables.
    fn find(
        rotated: &'t impl ReadableTable<Id, Record>,
        sessions: &'t impl ReadableTable<Id, Record>,
        id: SessionId,
        edition: Edition,
    ) -> Result<Option<Self>, Fault> {
        let found = |table, bytes| Self { table, id, edition, bytes };
        if let Some(bytes) = rotated.get(id.as_bytes())? {
            return Ok(Some(found(ROTATED_SESSIONS.name(), bytes)));
        }
        Ok(sessions.get(id.as_bytes())?.map(|bytes| found(SESSIONS.name(), bytes)))
    }

    /// The record.
    pub(crate) fn record<R: DeserializeOwned>(&self) -> Result<R, Fault> {
        decode(self.table, &self.id, self.bytes.value())
    }

    /// What is wanted of the session, which may be known from before.
    pub(crate) fn decoded<R: DeserializeOwned, T, W>(
        &self,
        decoded: &Decoded<T>,
        turn: impl FnOnce(R) -> T,
        take: impl Fn(&T) -> W,
    ) -> Result<W, Fault> {
        let (id, bytes) = (self.id, self.bytes.value());
        decoded.of(self.table, &id, id.into(), self.edition, bytes, turn, take)
    }

    /// What is wanted of the session, if it is known from before.
    pub(crate) fn recall<T, W>(&self, decoded: &Decoded<T>, take: impl Fn(&T) -> W) -> Option<W> {
        decoded.recall(self.id.into(), self.edition, self.bytes.value(), take)
    }
}

impl Read {
    /// A session's record as of the last commit.
    pub(crate) fn session(&self, id: SessionId) -> Result<Option<Newest<'_>>, Fault> {
        Newest::find(self.rotated_sessions()?, self.sessions()?, id, self.edition)
    }
}

impl Write<'_> {
    /// A session's record as it is now.
    pub(crate) fn session(&mut self, id: SessionId) -> Result<Option<Newest<'_>>, Fault> {
        let (rotated, sessions) = (self.rotated_sessions.open()?, self.sessions.open()?);
        Newest::find(rotated, sessions, id, Edition::UNCOMMITTED)
    }

    /// Writes a session that is not there.
    pub(crate) fn add_session(&mut self, id: SessionId, record: &[u8]) -> Result<(), Fault> {
        self.sessions.open()?.insert(id.as_bytes(), record)?;
        Ok(())
    }

    /// Writes a session that is there in its place.
    pub(crate) fn put_session(&mut self, id: SessionId, record: &[u8]) -> Result<(), Fault> {
        self.rotated_sessions.open()?.remove(id.as_bytes())?;
        self.add_session(id, record)
    }

    /// Writes a session that is there and likely to be written again soon.
    pub(crate) fn put_rotated_session(
        &mut self,
        id: SessionId,
        record: &[u8],
    ) -> Result<(), Fault> {
        self.rotated_sessions.open()?.insert(id.as_bytes(), record)?;
        let settling = self.settling;
        let half = usize::try_from(settling.max / 2).unwrap_or(usize::MAX);
        let most = SETTLED_AT_ONCE.min(half).max(1);
        // At first there may be none left behind the one whose turn it is.
        while self.rotated_sessions.open()?.len()? > settling.max {
            let mut next = lock(&settling.next);
            let due = self.rotated_from(&next, most)?;
            // They have had their turn even if the disk fails at their places: others come next.
            let last = due.last().filter(|_| due.len() == most);
            *next = last.map(|(id, _)| *id).unwrap_or_default();
            self.settle(&due)?;
        }
        Ok(())
    }

    /// Removes a session, but not its index entries.
    pub(crate) fn remove_session(&mut self, id: SessionId) -> Result<(), Fault> {
        self.rotated_sessions.open()?.remove(id.as_bytes())?;
        self.sessions.open()?.remove(id.as_bytes())?;
        Ok(())
    }

    /// Removes every session, but no index entries, after showing each to `visit`.
    pub(crate) fn remove_all_sessions<R: DeserializeOwned>(
        &mut self,
        mut visit: impl FnMut(SessionId, Result<R, Fault>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let all = self.rotated_from(&[0; 16], usize::MAX)?;
        self.settle(&all)?;
        let sessions = self.sessions.open()?;
        for entry in sessions.iter()? {
            let (id, bytes) = entry?;
            let id = SessionId::from_bytes(*id.value());
            visit(id, decode(SESSIONS.name(), &id, bytes.value()))?;
        }
        sessions.retain(|_, _| false)?;
        Ok(())
    }

    /// Up to `most` of those that are kept apart, the first of them at or behind `from`.
    fn rotated_from(&mut self, from: &[u8; 16], most: usize) -> Result<Vec<Apart>, Fault> {
        let rotated = self.rotated_sessions.open()?;
        let mut found = Vec::new();
        for entry in rotated.range::<&[u8; 16]>(from..)?.take(most) {
            let (id, record) = entry?;
            found.push((*id.value(), record.value().to_vec()));
        }
        Ok(found)
    }

    /// Puts sessions in their places.
    fn settle(&mut self, due: &[Apart]) -> Result<(), Fault> {
        for (id, record) in due {
            self.rotated_sessions.open()?.remove(id)?;
            self.sessions.open()?.insert(id, record.as_slice())?;
        }
        Ok(())
    }
}
