//! Sessions that have to end but whose end cannot be written: refused from memory until it can.

use std::collections::HashMap;
use std::sync::Mutex;

use tracing::warn;

use super::rotation::Presented;
use crate::clock::{Moment, Timestamp};
use crate::domain::{Actor, Authorised, Client, Rotation, SessionId, Theft, UserId};
use crate::store::engine::lock;
use crate::store::{Store, StoreError};

/// The most sessions that are remembered so.
const MAX_REMEMBERED: usize = 100_000;
/// The most sessions that are ended in one transaction.
const BATCH: usize = 100;

/// Sessions that have to end as soon as storage can be written.
#[derive(Default)]
pub(crate) struct PendingEnds {
    /// Those of which that is known.
    ends: Mutex<HashMap<SessionId, PendingEnd>>,
    /// Refresh tokens whose outcome is unknown because storage failed: each is judged before its
    /// session is used again.
    unjudged: Mutex<HashMap<SessionId, UnjudgedToken>>,
}

/// Why a session has to end.
#[derive(Clone, Debug)]
struct PendingEnd {
    user: UserId,
    theft: Theft,
    client: Client,
}

/// A refresh token that came while storage could not say what it leads to.
#[derive(Clone, Debug)]
struct UnjudgedToken {
    presented: Presented,
    at: Timestamp,
}

impl PendingEnds {
    /// Whether a session is refused from memory.
    pub(super) fn has_to_end(&self, session: SessionId) -> bool {
        lock(&self.ends).contains_key(&session)
    }

    #[cfg(test)]
    pub(crate) fn unjudged(&self) -> usize {
        lock(&self.unjudged).len()
    }
}

impl Store {
    /// Remembers a token whose outcome is unknown, and judges it as soon as that is possible.
    pub(super) fn judge_later(&self, presented: Presented, at: Timestamp) {
        let session = presented.session;
        let mut unjudged = lock(&self.shared.pending.unjudged);
        if unjudged.len() < MAX_REMEMBERED {
            unjudged.entry(session).or_insert(UnjudgedToken { presented, at });
        }
        drop(unjudged);
        self.judge(session);
    }

    /// Whether a session is refused from memory, after judging a token of it that waits for that.
    pub(super) fn has_to_end(&self, session: SessionId) -> bool {
        self.judge(session);
        self.shared.pending.has_to_end(session)
    }

    /// Decides what an unjudged token was, if storage can be read by now.
    fn judge(&self, id: SessionId) {
        let pending = &self.shared.pending;
        let Some(token) = lock(&pending.unjudged).get(&id).cloned() else { return };
        let found = self.read(|view| view.session(id));
        if matches!(found, Err(StoreError::Unavailable)) {
            return;
        }
        lock(&pending.unjudged).remove(&id);
        // Nobody can use a session that cannot be read.
        let Some(session) = found.ok().flatten() else { return };
        let UnjudgedToken { presented, at } = token;
        let rotation = session.rotate(presented.shown(), at, self.shared.policy.sessions);
        let Rotation::Reused(theft) = rotation else { return };
        let mut ends = lock(&pending.ends);
        if ends.len() < MAX_REMEMBERED {
            ends.insert(id, PendingEnd { user: session.user, theft, client: presented.client });
        }
    }

    /// Ends the sessions whose end could not be written before, each with its audit event.
    ///
    /// # Errors
    /// [`StoreError`]; they stay refused from memory.
    pub async fn write_pending_ends(&self, at: Moment) -> Result<(), StoreError> {
        let pending = &self.shared.pending;
        let unjudged: Vec<SessionId> =
            lock(&pending.unjudged).keys().copied().take(BATCH).collect();
        unjudged.into_iter().for_each(|session| self.judge(session));
        let due: Vec<(SessionId, PendingEnd)> =
            lock(&pending.ends).iter().take(BATCH).map(|(id, end)| (*id, end.clone())).collect();
        if due.is_empty() {
            return Ok(());
        }
        let ending = due.clone();
        self.write(at, move |tx| {
            for (session, PendingEnd { user, theft, client }) in ending.iter().cloned() {
                if tx.end_session(session)? {
                    let by = Actor::User(Authorised { user, session, client });
                    tx.note(theft.into(), user, Some(session), &by)?;
                }
            }
            Ok(())
        })
        .await?;
        let mut remaining = lock(&pending.ends);
        for (id, PendingEnd { user, theft, client }) in due {
            remaining.remove(&id);
            warn!(
                session = %id, %user, ?theft, address = %client.address,
                "a superseded refresh token was used while storage was away; its session has been \
                 ended now"
            );
        }
        Ok(())
    }
}
