//! Sessions, found by identifier, by user and by expiry.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::records::{FiledSession, SessionRecord};
use super::{Tx, View};
use crate::clock::Timestamp;
use crate::domain::{Session, SessionId, UserId};
use crate::store::engine::{
    Fault, Index, ReadableTableMetadata, discard, encode, missing, readable,
};

impl View<'_> {
    /// A session, which may be known from before.
    pub(crate) fn known_session(self, id: SessionId) -> Result<Option<Arc<Session>>, Fault> {
        let (cache, take) =
            (&self.cache.sessions, |filed: &FiledSession| Arc::clone(&filed.session));
        if let Some(known) = cache.known(id.into(), self.tables.edition, take) {
            return Ok(Some(known));
        }
        let turn = |record: SessionRecord| record.filed(id);
        self.tables.session(id)?.map(|newest| newest.decoded(cache, turn, take)).transpose()
    }

    /// The same, and what is decoded for it is not kept. Where the record is corrupt there is none:
    /// that is for the transaction to report.
    pub(crate) fn glimpse_session(self, id: SessionId) -> Result<Option<Arc<Session>>, Fault> {
        let Some(newest) = self.tables.session(id)? else { return Ok(None) };
        let known = newest.recall(&self.cache.sessions, |filed| Arc::clone(&filed.session));
        let decoded = || newest.record::<SessionRecord>().ok();
        Ok(known.or_else(|| decoded().map(|record| Arc::new(record.session(id)))))
    }

    pub(crate) fn session(self, id: SessionId) -> Result<Option<Session>, Fault> {
        let record = self.tables.session(id)?.map(|newest| newest.record::<SessionRecord>());
        Ok(record.transpose()?.map(|record| record.session(id)))
    }

    /// A user's sessions that can be read, newest first.
    pub(crate) fn sessions_of(self, user: UserId) -> Result<Vec<Session>, Fault> {
        let mut found = Vec::new();
        for id in self.tables.sessions_by_user()?.under(user.0)?.into_iter().rev() {
            let id = SessionId::from_bytes(id);
            let session = self.session(id);
            let session =
                session.and_then(|found| found.ok_or_else(|| missing("sessions_1", &id)).map(Some));
            found.extend(readable(session)?);
        }
        Ok(found)
    }

    pub(crate) fn count_sessions(self) -> Result<u64, Fault> {
        Ok(self.tables.sessions()?.len()?)
    }
}

impl Tx<'_, '_> {
    pub(crate) fn session(&mut self, id: SessionId) -> Result<Option<Session>, Fault> {
        Ok(self.record(id)?.map(|record| record.session(id)))
    }

    fn record(&mut self, id: SessionId) -> Result<Option<SessionRecord>, Fault> {
        self.tables.session(id)?.map(|newest| newest.record()).transpose()
    }

    /// A session, which may be known from before, and the expiry under which the index has it.
    pub(crate) fn filed_session(
        &mut self,
        id: SessionId,
    ) -> Result<Option<(Arc<Session>, Timestamp)>, Fault> {
        let turn = |record: SessionRecord| record.filed(id);
        let take = |filed: &FiledSession| (Arc::clone(&filed.session), filed.filed_at);
        let cache = &self.cache.sessions;
        self.tables.session(id)?.map(|newest| newest.decoded(cache, turn, take)).transpose()
    }

    /// Writes a session that is new, with its index entries.
    pub(crate) fn add_session(&mut self, session: &Session) -> Result<(), Fault> {
        let (id, filed_at) = (session.id, session.expires_at());
        let record = encode(&SessionRecord::new(session, filed_at))?;
        let tables = self.write();
        tables.add_session(id, &record)?;
        tables.sessions_by_user.open()?.insert((session.user.0, id.as_bytes()), ())?;
        tables.sessions_by_expiry.open()?.insert((filed_at.as_micros(), id.as_bytes()), ())?;
        Ok(())
    }

    /// Writes a session that is there already, and leaves the indexes as they are: the sweeper
    /// files it anew when it comes to it.
    pub(crate) fn update_session(
        &mut self,
        session: &Session,
        filed_at: Timestamp,
    ) -> Result<(), Fault> {
        let record = encode(&SessionRecord::new(session, filed_at))?;
        self.write().put_rotated_session(session.id, &record)?;
        let filed = FiledSession { session: Arc::new(session.clone()), filed_at };
        self.cache.sessions.keep_uncommitted(session.id.into(), &record, filed);
        Ok(())
    }

    /// A user's sessions, oldest first.
    pub(crate) fn session_ids_of(&mut self, user: UserId) -> Result<Vec<SessionId>, Fault> {
        let ids = self.tables.sessions_by_user.open()?.under(user.0)?;
        Ok(ids.into_iter().map(SessionId::from_bytes).collect())
    }

    /// Ends a session: removes it, and lists it as revoked while its access tokens live. Says
    /// whether there was one. One that cannot be read is ended too: its access tokens do not know
    /// that.
    pub(crate) fn end_session(&mut self, id: SessionId) -> Result<bool, Fault> {
        if self.tables.session(id)?.is_none() {
            return Ok(false);
        }
        let record = self.record(id);
        let record = readable(record)?;
        let session = record.clone().map(|record| record.session(id));
        // Access tokens from before it was bound may live longer than the session.
        let end = session.filter(|session| !session.is_bound).map(|session| session.expires_at());
        self.revoke_session(id, end)?;
        match record {
            Some(record) => self.remove_session(id, &record)?,
            None => self.discard_sessions(&HashSet::from([*id.as_bytes()]))?,
        }
        Ok(true)
    }

    /// Ends every session there is. Each is listed as revoked until the last of its access tokens
    /// has run out by its own end, since the clock that dated them is not known.
    pub(crate) fn end_every_session(&mut self) -> Result<(), Fault> {
        let now = self.now();
        let mut ended = Vec::new();
        self.write().remove_all_sessions(|id, record: Result<SessionRecord, Fault>| {
            let session = readable(record.map(Some))?.map(|record| record.session(id));
            ended.extend(session.filter(|session| session.is_live(now)));
            Ok(())
        })?;
        for session in ended {
            let end = session.expires_at();
            // Access tokens from before it was bound may live longer than the session.
            let longer =
                if session.is_bound { self.policy.access_lifetime } else { Duration::ZERO };
            self.revoke_session_until(session.id, end.saturating_add(longer))?;
        }
        let tables = self.write();
        tables.sessions_by_user.open()?.retain(|_, ()| false)?;
        tables.sessions_by_expiry.open()?.retain(|_, ()| false)?;
        Ok(())
    }

    /// Looks at the `batch` sessions filed under the earliest expiries up to now: removes those
    /// that are over, and files those anew that were extended. Says how many it looked at.
    pub(crate) fn sweep_sessions(&mut self, batch: usize) -> Result<usize, Fault> {
        let now = self.now();
        let due = self.tables.sessions_by_expiry.open()?.until(now.as_micros(), batch)?;
        let mut unreadable = HashSet::new();
        for (filed_at, bytes) in &due {
            let id = SessionId::from_bytes(*bytes);
            self.write().sessions_by_expiry.open()?.remove((*filed_at, bytes))?;
            let record = self.record(id);
            match readable(record)? {
                // Nobody can use it, and it must not keep the others from being swept.
                None => drop(unreadable.insert(*bytes)),
                Some(record) => {
                    let session = record.clone().session(id);
                    if session.is_live(now) {
                        self.refile_session(&session)?;
                    } else {
                        self.remove_session(id, &record)?;
                    }
                }
            }
        }
        self.discard_sessions(&unreadable)?;
        Ok(due.len())
    }

    /// Files a session under its expiry as it is now.
    fn refile_session(&mut self, session: &Session) -> Result<(), Fault> {
        let (id, filed_at) = (session.id, session.expires_at());
        let record = encode(&SessionRecord::new(session, filed_at))?;
        let tables = self.write();
        tables.put_session(id, &record)?;
        tables.sessions_by_expiry.open()?.insert((filed_at.as_micros(), id.as_bytes()), ())?;
        Ok(())
    }

    fn remove_session(&mut self, id: SessionId, record: &SessionRecord) -> Result<(), Fault> {
        let (tables, bytes) = (self.write(), id.as_bytes());
        tables.remove_session(id)?;
        tables.sessions_by_user.open()?.remove((record.user.0, bytes))?;
        tables.sessions_by_expiry.open()?.remove((record.filed_at.as_micros(), bytes))?;
        Ok(())
    }

    /// Removes sessions that cannot be read, with their index entries.
    fn discard_sessions(&mut self, unreadable: &HashSet<[u8; 16]>) -> Result<(), Fault> {
        if unreadable.is_empty() {
            return Ok(());
        }
        let tables = self.write();
        for id in unreadable {
            tables.remove_session(SessionId::from_bytes(*id))?;
        }
        let indexes = [&mut tables.sessions_by_user, &mut tables.sessions_by_expiry];
        discard(&mut tables.sessions, indexes, unreadable)
    }
}
