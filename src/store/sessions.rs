//! Sentences about sessions.

mod ending;
mod rotated;

use std::num::NonZeroUsize;
use std::sync::Arc;

use redb::{ReadableTableMetadata, TableHandle};

use super::decoded::Edition;
use super::events::{self, NewEvent};
use super::records::{FiledSession, SessionRecord, UserRecord, encode, load, missing, readable};
use super::tables::{SESSIONS, SESSIONS_BY_USER, Write};
use super::{Fault, Shared, Store, StoreError, users};
use crate::clock::{Moment, Timestamp};
use crate::domain::session::SessionLifetimes;
use crate::domain::{Client, EventKind, Rotation, Session, SessionId, Theft, User, UserId};
use ending::make_room;

pub(super) use ending::{end, end_all, end_others, sweep};
#[cfg(test)]
pub(super) use rotated::SETTLED_AT_ONCE;
pub(super) use rotated::Turn;

/// A session to be opened after a password was checked.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The session.
    pub session: Session,
    /// The credentials that the check saw; the session is refused if they have changed since.
    pub credential_version: u64,
    /// The most sessions of one user; one more ends the oldest.
    pub sessions_per_user: NonZeroUsize,
    /// Whoever logs in held these sessions until now, as authentic tokens of them told: they end.
    pub former: Vec<Authorised>,
}

/// Who acts, as a token told; every write checks it again inside its transaction.
#[derive(Clone, Debug)]
pub struct Authorised {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// Where the request came from.
    pub client: Client,
}

/// A refresh token that was found authentic and not expired.
#[derive(Clone, Debug)]
pub struct Presented {
    /// Its session.
    pub session: SessionId,
    /// Its user.
    pub user: UserId,
    /// Its generation.
    pub generation: u64,
    /// Who presents it.
    pub client: Client,
}

/// How a rotation went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The session with its new generation.
    New(Session),
    /// Nothing changed: the session as it is since the rotation shortly before.
    Same(Session),
    /// No token.
    Refused(Refused),
}

/// Why a refresh token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its session is unknown, ended or over, or its user is gone or disabled.
    NoSession,
    /// It was superseded for good; its session has been ended.
    Reused(Theft),
    /// Its generation was never issued.
    Ahead,
}

/// What an access token's user and session are by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionOfUser {
    /// Both are there.
    Live(Arc<User>, Arc<Session>),
    /// The user is gone.
    NoUser,
    /// The session has ended or is over, or the user is disabled.
    NoSession,
}

impl Store {
    /// Opens a session, ending those it replaces and the user's oldest if there are too many,
    /// and remembers where the login came from. Says whether it did: not if the account's
    /// credentials have changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_session(&self, opening: NewSession, at: Moment) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            let session = &opening.session;
            let user = load::<u64, UserRecord>(write.users.open()?, session.user.0)?;
            let is_current = user.is_some_and(|user| {
                !user.is_disabled && user.credential_version == opening.credential_version
            });
            if !is_current {
                return Ok(false);
            }
            write.change(at);
            for former in &opening.former {
                log_out(write, former, at, &shared)?;
            }
            make_room(write, &opening, at, &shared)?;
            insert(write, session)?;
            users::remember_address(write, session.user, session.opened_by.block(), at.now)?;
            let event = session.event(EventKind::LoggedIn, &session.opened_by);
            events::append(write, event, at.now, shared.max_events)?;
            Ok(true)
        })
        .await
    }

    /// What an access token's user and session are at `now`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_session_of_user(
        &self,
        session: SessionId,
        user: UserId,
        now: Timestamp,
    ) -> Result<SessionOfUser, StoreError> {
        let is_condemned = self.is_condemned(session);
        let Shared { decoded_users, decoded_sessions, .. } = &*self.shared;
        self.read(|read| {
            let found = decoded_users.load(
                read.users()?,
                user.0,
                user.0.into(),
                read.edition,
                |record: UserRecord| Arc::new(record.user(user)),
                Arc::clone,
            )?;
            let Some(owner) = found else { return Ok(SessionOfUser::NoUser) };
            let found = read
                .known_session(session, decoded_sessions, |filed| Arc::clone(&filed.session))?
                .filter(|found| found.user == user && found.is_live(now));
            let is_usable = !owner.is_disabled && !is_condemned;
            Ok(match found {
                Some(found) if is_usable => SessionOfUser::Live(owner, found),
                _ => SessionOfUser::NoSession,
            })
        })
    }

    /// Does to a session what the presented refresh token leads to. A session that has to end
    /// but whose end cannot be written is refused from memory until it can.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rotate_session(
        &self,
        presented: Presented,
        lifetimes: SessionLifetimes,
        at: Moment,
    ) -> Result<Rotated, StoreError> {
        if self.is_condemned(presented.session) {
            return Err(StoreError::Unavailable);
        }
        let shared = Arc::clone(&self.shared);
        let token = presented.clone();
        let rotated = self.write(move |write| rotate(write, &token, lifetimes, at, &shared)).await;
        if rotated.is_err() {
            self.suspect(presented, lifetimes, at.now);
        }
        rotated
    }

    /// The session that a rotation would lead to, going by the last commit; none where it would
    /// give no new token. Whatever waits to be written may make it come out otherwise.
    pub fn foresee_rotation(
        &self,
        presented: &Presented,
        lifetimes: SessionLifetimes,
        now: Timestamp,
    ) -> Option<Session> {
        let Presented { session: id, generation, client, .. } = presented;
        let session = self.read(|read| {
            let Some(newest) = read.session(*id)? else { return Ok(None) };
            let remembered = &self.shared.decoded_sessions;
            let bytes = newest.bytes();
            let known = remembered
                .recall((*id).into(), read.edition, bytes, |filed| Arc::clone(&filed.session));
            // What is decoded here is not kept: the rotation may have written its successor by
            // now. And what cannot be decoded is the rotation's to report.
            let decoded = || newest.record().ok();
            Ok(known.or_else(|| decoded().map(|record| Arc::new(record.session(*id)))))
        });
        match session.ok()??.rotate(*generation, client.address, now, lifetimes) {
            Rotation::Rotated(successor) => Some(successor),
            _ => None,
        }
    }

    /// A user's sessions that can still be used at `now`, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_sessions(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.read(|read| {
            let (first, last) = ((user.0, &[0; 16]), (user.0, &[u8::MAX; 16]));
            let mut found = Vec::new();
            for entry in read.open(SESSIONS_BY_USER)?.range(first..=last)?.rev() {
                let (key, _) = entry?;
                let id = SessionId::from_bytes(*key.value().1);
                let record = read.session(id)?.ok_or_else(|| missing(SESSIONS.name(), &id));
                let record = record.and_then(|newest| newest.record());
                found.extend(readable(record.map(Some))?.map(|record| record.session(id)));
            }
            found.retain(|session| session.is_live(now) && !self.is_condemned_now(session.id));
            Ok(found)
        })
    }

    /// Ends a session of the user who acts. Says whether there was one; none, if who acts may not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_session(
        &self,
        by: Authorised,
        id: SessionId,
        at: Moment,
    ) -> Result<Option<bool>, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            if authorise(write, &by, at)?.is_none() {
                return Ok(None);
            }
            let is_own = write
                .session_record(id)?
                .is_some_and(|record| record.user == by.user && record.session(id).is_live(at.now));
            if is_own {
                end_noted(write, &by, id, at, &shared)?;
            }
            Ok(Some(is_own))
        })
        .await
    }

    /// Ends the session of a token that is authentic, whatever else it is. That it has ended
    /// before is no refusal. Says whether it was still there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn log_out(&self, of: Authorised, at: Moment) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| log_out(write, &of, at, &shared)).await
    }

    /// Ends all sessions of the user who acts. Says whether who acts may.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_all_sessions(&self, by: Authorised, at: Moment) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            if authorise(write, &by, at)?.is_none() {
                return Ok(false);
            }
            write.change(at);
            end_others(write, by.user, None, at, shared.access_lifetime)?;
            let event = by.event(EventKind::AllSessionsEnded);
            events::append(write, event, at.now, shared.max_events)?;
            Ok(true)
        })
        .await
    }

    /// How many sessions there are, those past their end and not yet swept included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count_sessions(&self) -> Result<u64, StoreError> {
        self.read(|read| Ok(read.sessions()?.len()?))
    }
}

fn rotate(
    write: &mut Write<'_>,
    presented: &Presented,
    lifetimes: SessionLifetimes,
    at: Moment,
    shared: &Shared,
) -> Result<Rotated, Fault> {
    let max_events = shared.max_events;
    let refused = Ok(Rotated::Refused(Refused::NoSession));
    let user = presented.user;
    let is_disabled = shared.decoded_users.load(
        write.users.open()?,
        user.0,
        user.0.into(),
        Edition::UNCOMMITTED,
        |record: UserRecord| Arc::new(record.user(user)),
        |user| user.is_disabled,
    )?;
    let id = presented.session;
    let filed = write
        .session(id)?
        .map(|newest| {
            newest.recall(&shared.decoded_sessions, Edition::UNCOMMITTED, FiledSession::clone)
        })
        .transpose()?;
    let (Some(false), Some(FiledSession { session, filed_at })) = (is_disabled, filed) else {
        return refused;
    };
    if session.user != user {
        return refused;
    }
    let from = presented.client.address;
    let event = |kind| NewEvent {
        kind,
        user: session.user,
        session: Some(id),
        client: presented.client.clone(),
    };
    match session.rotate(presented.generation, from, at.now, lifetimes) {
        Rotation::Rotated(successor) => {
            write.change(at);
            let record = encode(&SessionRecord::new(&successor, filed_at))?;
            rotated::put(write, id, &record, shared)?;
            let filed = FiledSession { session: Arc::new(successor.clone()), filed_at };
            shared.decoded_sessions.keep(id.into(), Edition::UNCOMMITTED, &record, filed);
            Ok(Rotated::New(successor))
        }
        Rotation::Repeated => {
            if session.rotated_from != from {
                write.change(at);
                events::append(write, event(EventKind::GraceUsedElsewhere), at.now, max_events)?;
            }
            Ok(Rotated::Same(Arc::unwrap_or_clone(session)))
        }
        Rotation::Reused(theft) => {
            write.change(at);
            end(write, id, at, shared.access_lifetime)?;
            events::append(write, event(theft.into()), at.now, max_events)?;
            Ok(Rotated::Refused(Refused::Reused(theft)))
        }
        Rotation::Ahead => {
            write.change(at);
            events::append(write, event(EventKind::RefreshTokenAhead), at.now, max_events)?;
            Ok(Rotated::Refused(Refused::Ahead))
        }
        Rotation::DatedAhead | Rotation::Expired => refused,
    }
}

fn insert(write: &mut Write<'_>, session: &Session) -> Result<(), Fault> {
    let id = session.id.as_bytes();
    let filed_at = session.expires_at();
    let record = encode(&SessionRecord::new(session, filed_at))?;
    write.sessions.open()?.insert(id, record.as_slice())?;
    write.sessions_by_user.open()?.insert((session.user.0, id), ())?;
    write.sessions_by_expiry.open()?.insert((filed_at.as_micros(), id), ())?;
    Ok(())
}

fn log_out(
    write: &mut Write<'_>,
    of: &Authorised,
    at: Moment,
    shared: &Shared,
) -> Result<bool, Fault> {
    let record = write.session_record(of.session);
    // What is over by a clock that is in doubt may live on once that is right; and one that cannot
    // be read is good for nothing but to be ended.
    let may_end = readable(record)?.is_none_or(|record| {
        record.user == of.user && (!at.confirmed || record.session(of.session).is_live(at.now))
    });
    Ok(may_end && end_noted(write, of, of.session, at, shared)?)
}

fn end_noted(
    write: &mut Write<'_>,
    by: &Authorised,
    id: SessionId,
    at: Moment,
    shared: &Shared,
) -> Result<bool, Fault> {
    let was_there = end(write, id, at, shared.access_lifetime)?;
    if was_there {
        let event = NewEvent { session: Some(id), ..by.event(EventKind::SessionEnded) };
        events::append(write, event, at.now, shared.max_events)?;
    }
    Ok(was_there)
}

/// The account of who acts, if its session still lives and it is not disabled.
pub(super) fn authorise(
    write: &mut Write<'_>,
    by: &Authorised,
    at: Moment,
) -> Result<Option<UserRecord>, Fault> {
    let is_live = write
        .session_record(by.session)?
        .is_some_and(|record| record.user == by.user && record.session(by.session).is_live(at.now));
    if !is_live {
        return Ok(None);
    }
    let user = load::<u64, UserRecord>(write.users.open()?, by.user.0)?;
    Ok(user.filter(|user| !user.is_disabled))
}

impl Session {
    /// An event that `client` causes with this session.
    fn event(&self, kind: EventKind, client: &Client) -> NewEvent {
        NewEvent { kind, user: self.user, session: Some(self.id), client: client.clone() }
    }
}

impl Authorised {
    /// An event that who acts causes.
    pub(super) fn event(&self, kind: EventKind) -> NewEvent {
        NewEvent { kind, user: self.user, session: Some(self.session), client: self.client.clone() }
    }
}
