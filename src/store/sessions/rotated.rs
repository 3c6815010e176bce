//! Sessions that were rotated of late, kept apart from the others.
//!
//! Rotations are the commonest writes there are, and the sessions of a large installation lie all
//! over its file: each written in its place dirties a leaf of its own and the branches above it,
//! and a disk takes pages that lie far apart one by one. So the newest record of a session that
//! was rotated lies in a small table, whose few pages a batch of rotations shares. The one in
//! [`SESSIONS`] stays as it was, and counts for nothing until the newer one is put in its place:
//! when the small table is full, some neighbours at a time.

use std::sync::Mutex;

use redb::{AccessGuard, ReadableTable, ReadableTableMetadata, TableHandle};

use crate::domain::SessionId;
use crate::store::decoded::{Decoded, Edition};
use crate::store::records::{FiledSession, SessionRecord, decode};
use crate::store::tables::{Id, ROTATED_SESSIONS, Read, Record, SESSIONS, Write};
use crate::store::{Fault, Shared, lock};

/// So many neighbours are put in their places at a time, but no more than half of all.
pub(in crate::store) const SETTLED_AT_ONCE: usize = 64;

/// The session that is put in its place next: that one, or the first behind it. They take turns,
/// so that those that go together lie close together.
#[derive(Default)]
pub(in crate::store) struct Turn(Mutex<[u8; 16]>);

/// The identifier of a session that is kept apart, and its record.
type Apart = ([u8; 16], Vec<u8>);

/// A session's record as it is now, and the table that it was found in.
pub(in crate::store) struct Newest<'t> {
    table: &'static str,
    id: SessionId,
    bytes: AccessGuard<'t, Record>,
}

impl<'t> Newest<'t> {
    /// Looks in both tables.
    fn find(
        rotated: &'t impl ReadableTable<Id, Record>,
        sessions: &'t impl ReadableTable<Id, Record>,
        id: SessionId,
    ) -> Result<Option<Self>, Fault> {
        let found = |table, bytes| Self { table, id, bytes };
        if let Some(bytes) = rotated.get(id.as_bytes())? {
            return Ok(Some(found(ROTATED_SESSIONS.name(), bytes)));
        }
        Ok(sessions.get(id.as_bytes())?.map(|bytes| found(SESSIONS.name(), bytes)))
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.value()
    }

    /// The record.
    pub(in crate::store) fn record(&self) -> Result<SessionRecord, Fault> {
        decode(self.table, &self.id, self.bytes())
    }

    /// What is wanted of the session, which may be known from before.
    pub(super) fn recall<W>(
        &self,
        decoded: &Decoded<FiledSession>,
        edition: Edition,
        take: impl Fn(&FiledSession) -> W,
    ) -> Result<W, Fault> {
        let turn = |record: SessionRecord| record.filed(self.id);
        decoded.of(self.table, &self.id, self.id.into(), edition, self.bytes(), turn, take)
    }
}

impl Write<'_> {
    /// A session's record as it is now.
    pub(in crate::store) fn session(&mut self, id: SessionId) -> Result<Option<Newest<'_>>, Fault> {
        Newest::find(self.rotated_sessions.open()?, self.sessions.open()?, id)
    }

    /// The same, decoded.
    pub(in crate::store) fn session_record(
        &mut self,
        id: SessionId,
    ) -> Result<Option<SessionRecord>, Fault> {
        self.session(id)?.map(|newest| newest.record()).transpose()
    }
}

impl Read {
    /// What is wanted of a session as of the last commit, which may be known from before.
    pub(super) fn known_session<W>(
        &self,
        id: SessionId,
        decoded: &Decoded<FiledSession>,
        take: impl Fn(&FiledSession) -> W,
    ) -> Result<Option<W>, Fault> {
        if let Some(wanted) = decoded.known(id.into(), self.edition, &take) {
            return Ok(Some(wanted));
        }
        self.session(id)?.map(|newest| newest.recall(decoded, self.edition, take)).transpose()
    }

    /// A session's record as of the last commit.
    pub(in crate::store) fn session(&self, id: SessionId) -> Result<Option<Newest<'_>>, Fault> {
        Newest::find(self.rotated_sessions()?, self.sessions()?, id)
    }
}

/// Writes what a session is since its rotation.
pub(super) fn put(
    write: &mut Write<'_>,
    id: SessionId,
    record: &[u8],
    shared: &Shared,
) -> Result<(), Fault> {
    write.rotated_sessions.open()?.insert(id.as_bytes(), record)?;
    let half = usize::try_from(shared.max_rotated / 2).unwrap_or(usize::MAX);
    let most = SETTLED_AT_ONCE.min(half).max(1);
    // At first there may be none left behind the one whose turn it is.
    while write.rotated_sessions.open()?.len()? > shared.max_rotated {
        let mut turn = lock(&shared.settling.0);
        let due = rotated_from(write, &turn, most)?;
        // They have had their turn even if the disk fails at their places: others come next.
        let last = due.last().filter(|_| due.len() == most);
        *turn = last.map(|(id, _)| *id).unwrap_or_default();
        settle(write, &due)?;
    }
    Ok(())
}

/// Puts every session in its place.
pub(super) fn settle_all(write: &mut Write<'_>) -> Result<(), Fault> {
    let all = rotated_from(write, &[0; 16], usize::MAX)?;
    settle(write, &all)
}

/// Up to `most` of those that are kept apart, the first of them at or behind `from`.
fn rotated_from(write: &mut Write<'_>, from: &[u8; 16], most: usize) -> Result<Vec<Apart>, Fault> {
    let rotated = write.rotated_sessions.open()?;
    let mut found = Vec::new();
    for entry in rotated.range::<&[u8; 16]>(from..)?.take(most) {
        let (id, record) = entry?;
        found.push((*id.value(), record.value().to_vec()));
    }
    Ok(found)
}

/// Puts sessions in their places.
fn settle(write: &mut Write<'_>, due: &[Apart]) -> Result<(), Fault> {
    for (id, record) in due {
        write.rotated_sessions.open()?.remove(id)?;
        write.sessions.open()?.insert(id, record.as_slice())?;
    }
    Ok(())
}
