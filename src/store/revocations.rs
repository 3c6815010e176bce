//! Revoked sessions: marks of those that ended before their access tokens died, for services
//! that verify access tokens without asking.

use std::time::Duration;

use redb::{ReadableTable, ReadableTableMetadata};

use super::tables::{META, REVOKED_SESSIONS, Write, meta};
use super::{Fault, Store, StoreError};
use crate::clock::{Moment, Timestamp};
use crate::domain::SessionId;

/// The most marks that are kept; above it the list says that it is not complete.
const MAX_REVOKED: u64 = 100_000;

/// The sessions that ended before their access tokens died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations {
    /// Their digests, see [`SessionId::digest`](crate::domain::SessionId::digest).
    pub digests: Vec<[u8; 16]>,
    /// Whether these are all.
    pub is_complete: bool,
}

/// What tells one state of the list from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationsVersion {
    /// How many marks there are.
    count: u64,
    /// The first to go. Marks go from this end only and none comes back, so that marks which came
    /// and went in equal numbers show here.
    first: Option<(u64, [u8; 16])>,
    /// Until when the list is not complete.
    incomplete_until: Option<u64>,
}

impl Store {
    /// The version of the list: while it stays the same, so do the sessions that were ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn revocations_version(&self) -> Result<RevocationsVersion, StoreError> {
        self.read(|read| {
            let revoked = read.open(REVOKED_SESSIONS)?;
            let first = revoked.first()?.map(|(key, _)| (key.value().0, *key.value().1));
            let incomplete_until =
                read.open(META)?.get(meta::REVOKED_INCOMPLETE_UNTIL)?.map(|until| until.value());
            Ok(RevocationsVersion { count: revoked.len()?, first, incomplete_until })
        })
    }

    /// What services that verify access tokens by themselves should no longer honour at `now`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_revocations(&self, now: Timestamp) -> Result<Revocations, StoreError> {
        self.read(|read| {
            let first = (now.as_micros(), &[u8::MAX; 16]);
            let digests = read
                .open(REVOKED_SESSIONS)?
                .range(first..)?
                .map(|entry| Ok(*entry?.0.value().1))
                .collect::<Result<_, Fault>>()?;
            let incomplete_until =
                read.open(META)?.get(meta::REVOKED_INCOMPLETE_UNTIL)?.map(|until| until.value());
            let is_complete = incomplete_until.is_none_or(|until| now.as_micros() >= until);
            Ok(Revocations { digests, is_complete })
        })
    }
}

/// Marks a session that ends at `at`, for as long as an access token of it may live: no longer than
/// until `session_expires_at`, where that is known.
pub(super) fn insert(
    write: &mut Write<'_>,
    id: SessionId,
    session_expires_at: Option<Timestamp>,
    at: Moment,
    access_lifetime: Duration,
) -> Result<(), Fault> {
    let latest = at.now.saturating_add(access_lifetime);
    // By a clock that is in doubt nothing is over.
    let end = session_expires_at.filter(|_| at.confirmed);
    let expires_at = end.map_or(latest, |end| end.min(latest));
    if expires_at <= at.now {
        return Ok(());
    }
    mark(write, id, expires_at)
}

/// Marks a session until `expires_at`.
pub(super) fn mark(
    write: &mut Write<'_>,
    id: SessionId,
    expires_at: Timestamp,
) -> Result<(), Fault> {
    let revoked = write.revoked_sessions.open()?;
    revoked.insert((expires_at.as_micros(), &id.digest()), ())?;
    if revoked.len()? <= MAX_REVOKED {
        return Ok(());
    }
    let dropped = revoked.pop_first()?.map(|(key, _)| key.value().0);
    if let Some(until) = dropped {
        let meta = write.meta.open()?;
        let known = meta.get(meta::REVOKED_INCOMPLETE_UNTIL)?.map_or(0, |known| known.value());
        meta.insert(meta::REVOKED_INCOMPLETE_UNTIL, until.max(known))?;
    }
    Ok(())
}

/// Removes up to `batch` marks whose access tokens have died by `at`; says how many.
pub(super) fn sweep(write: &mut Write<'_>, at: Moment, batch: usize) -> Result<usize, Fault> {
    let revoked = write.revoked_sessions.open()?;
    let last = (at.now.as_micros(), &[u8::MAX; 16]);
    let over: Vec<(u64, [u8; 16])> = revoked
        .range((0, &[0; 16])..=last)?
        .take(batch)
        .map(|entry| {
            let (key, _) = entry?;
            Ok((key.value().0, *key.value().1))
        })
        .collect::<Result<_, Fault>>()?;
    for (expires_at, digest) in &over {
        revoked.remove((*expires_at, digest))?;
    }
    if !over.is_empty() {
        write.change(at);
    }
    Ok(over.len())
}
