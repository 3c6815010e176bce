//! Sessions that have to end but whose end cannot be written: refused from memory until it can.

use std::sync::Arc;

use tracing::warn;

use super::events::{self, NewEvent};
use super::sessions::{self, Presented};
use super::{Store, StoreError, lock};
use crate::clock::{Moment, Timestamp};
use crate::domain::session::SessionLifetimes;
use crate::domain::{Client, Rotation, SessionId, Theft, UserId};

/// The most sessions that are remembered so.
const MAX_REMEMBERED: usize = 100_000;
/// The most sessions that are ended in one transaction.
const BATCH: usize = 100;

/// A session that has to end, and why.
#[derive(Clone, Debug)]
pub(super) struct Condemned {
    user: UserId,
    theft: Theft,
    client: Client,
}

/// A refresh token that came while storage could not say what it leads to.
#[derive(Clone, Debug)]
pub(super) struct Suspect {
    presented: Presented,
    lifetimes: SessionLifetimes,
    at: Timestamp,
}

impl Store {
    /// Remembers a token whose outcome is unknown, and judges it as soon as that is possible.
    pub(super) fn suspect(&self, presented: Presented, lifetimes: SessionLifetimes, at: Timestamp) {
        let session = presented.session;
        let mut suspects = lock(&self.shared.suspects);
        if suspects.len() < MAX_REMEMBERED {
            suspects.entry(session).or_insert(Suspect { presented, lifetimes, at });
        }
        drop(suspects);
        self.judge(session);
    }

    /// Whether a session is refused from memory, after judging what is suspected of it.
    pub(super) fn is_condemned(&self, session: SessionId) -> bool {
        self.judge(session);
        self.is_condemned_now(session)
    }

    /// Whether a session is refused from memory.
    pub(super) fn is_condemned_now(&self, session: SessionId) -> bool {
        lock(&self.shared.condemned).contains_key(&session)
    }

    /// Decides what a suspected token was, if storage can be read by now.
    fn judge(&self, id: SessionId) {
        let Some(suspect) = lock(&self.shared.suspects).get(&id).cloned() else { return };
        let found = self.read(|read| read.session(id)?.map(|newest| newest.record()).transpose());
        if matches!(found, Err(StoreError::Unavailable)) {
            return;
        }
        lock(&self.shared.suspects).remove(&id);
        // Nobody can use a session that cannot be read.
        let Some(session) = found.ok().flatten().map(|record| record.session(id)) else { return };
        let Suspect { presented, lifetimes, at } = suspect;
        let rotation =
            session.rotate(presented.generation, presented.client.address, at, lifetimes);
        let Rotation::Reused(theft) = rotation else { return };
        let condemned = Condemned { user: session.user, theft, client: presented.client };
        let mut all = lock(&self.shared.condemned);
        if all.len() < MAX_REMEMBERED {
            all.insert(id, condemned);
        }
    }

    /// Ends the sessions whose end could not be written before, each with its audit event.
    ///
    /// # Errors
    /// [`StoreError`]; they stay refused from memory.
    pub async fn end_condemned_sessions(&self, at: Moment) -> Result<(), StoreError> {
        let suspects: Vec<SessionId> =
            lock(&self.shared.suspects).keys().copied().take(BATCH).collect();
        suspects.into_iter().for_each(|session| self.judge(session));
        let condemned: Vec<(SessionId, Condemned)> = lock(&self.shared.condemned)
            .iter()
            .take(BATCH)
            .map(|(id, condemned)| (*id, condemned.clone()))
            .collect();
        if condemned.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let ending = condemned.clone();
        self.write(move |write| {
            for (id, condemned) in &ending {
                if !sessions::end(write, *id, at, shared.access_lifetime)? {
                    continue;
                }
                let event = NewEvent {
                    kind: condemned.theft.into(),
                    user: condemned.user,
                    session: Some(*id),
                    client: condemned.client.clone(),
                };
                events::append(write, event, at.now, shared.max_events)?;
            }
            Ok(())
        })
        .await?;
        let mut remaining = lock(&self.shared.condemned);
        for (id, condemned) in condemned {
            remaining.remove(&id);
            warn!(
                session = %id, user = %condemned.user, theft = ?condemned.theft,
                address = %condemned.client.address,
                "a superseded refresh token was used while storage was away; its session has been \
                 ended now"
            );
        }
        Ok(())
    }
}
