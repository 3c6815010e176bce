//! Revoked sessions: those that ended before their access tokens died, for services that verify
//! access tokens without asking.

use super::{Tx, View};
use crate::clock::Timestamp;
use crate::domain::SessionId;
use crate::store::engine::{Fault, Index, Numbers, ReadableTable, ReadableTableMetadata, meta};

/// The most sessions that are listed; above it the list says that it is not complete.
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
    /// How many there are.
    count: u64,
    /// The first to go. They go from this end only and none comes back, so that equal numbers which
    /// came and went show here.
    first: Option<(u64, [u8; 16])>,
    /// Until when the list is not complete.
    incomplete_until: Option<u64>,
}

impl View<'_> {
    pub(crate) fn revocations_version(self) -> Result<RevocationsVersion, Fault> {
        let revoked = self.tables.revoked_sessions()?;
        let first = revoked.first()?.map(|(key, _)| (key.value().0, *key.value().1));
        let incomplete_until = self.tables.meta()?.number(meta::REVOKED_INCOMPLETE_UNTIL)?;
        Ok(RevocationsVersion { count: revoked.len()?, first, incomplete_until })
    }

    pub(crate) fn revocations(self, now: Timestamp) -> Result<Revocations, Fault> {
        let now = now.as_micros();
        let digests = self
            .tables
            .revoked_sessions()?
            .range((now, &[u8::MAX; 16])..)?
            .map(|entry| Ok(*entry?.0.value().1))
            .collect::<Result<_, Fault>>()?;
        let incomplete_until = self.tables.meta()?.number(meta::REVOKED_INCOMPLETE_UNTIL)?;
        Ok(Revocations { digests, is_complete: incomplete_until.is_none_or(|until| now >= until) })
    }
}

impl Tx<'_, '_> {
    /// Lists a session that ends now, for as long as an access token of it may live: no longer than
    /// until `session_expires_at`, where that is known.
    pub(super) fn revoke_session(
        &mut self,
        id: SessionId,
        session_expires_at: Option<Timestamp>,
    ) -> Result<(), Fault> {
        let latest = self.now().saturating_add(self.policy.access_lifetime);
        // By a clock that is in doubt nothing is over.
        let end = session_expires_at.filter(|_| self.at.confirmed);
        let expires_at = end.map_or(latest, |end| end.min(latest));
        if expires_at <= self.now() {
            return Ok(());
        }
        self.revoke_session_until(id, expires_at)
    }

    /// Lists a session until `expires_at`.
    pub(super) fn revoke_session_until(
        &mut self,
        id: SessionId,
        expires_at: Timestamp,
    ) -> Result<(), Fault> {
        let tables = self.write();
        let revoked = tables.revoked_sessions.open()?;
        revoked.insert((expires_at.as_micros(), &id.digest()), ())?;
        if revoked.len()? <= MAX_REVOKED {
            return Ok(());
        }
        let dropped = revoked.pop_first()?.map(|(key, _)| key.value().0);
        if let Some(until) = dropped {
            let meta = tables.meta.open()?;
            let known = meta.number(meta::REVOKED_INCOMPLETE_UNTIL)?.unwrap_or_default();
            meta.insert(meta::REVOKED_INCOMPLETE_UNTIL, until.max(known))?;
        }
        Ok(())
    }

    /// Removes up to `batch` sessions from the list whose access tokens have died; says how many.
    pub(crate) fn sweep_revocations(&mut self, batch: usize) -> Result<usize, Fault> {
        let over = self.tables.revoked_sessions.open()?.until(self.at.now.as_micros(), batch)?;
        for (expires_at, digest) in &over {
            self.write().revoked_sessions.open()?.remove((*expires_at, digest))?;
        }
        Ok(over.len())
    }
}
