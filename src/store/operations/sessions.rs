//! Opening, listing and ending sessions.

use std::sync::Arc;

use crate::clock::{Moment, Timestamp};
use crate::domain::{
    Actor, Authentication, Authorised, Event, EventKind, Session, SessionId, User, UserId,
};
use crate::store::engine::{Fault, readable};
use crate::store::rows::Tx;
use crate::store::{Revocations, RevocationsVersion, Store, StoreError};

/// A session to be opened after a password was checked.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The session.
    pub session: Session,
    /// Whose it is, and what they have shown; the session is refused if that no longer counts.
    pub authentication: Authentication,
    /// The sessions that it replaces, as authentic tokens told: they end.
    pub former: Vec<Authorised>,
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
    /// Opens a session, ending those it replaces and others of the user if there are too many,
    /// and remembers where the login came from. Says whether it did: not if the account's
    /// credentials have changed.
    pub async fn open_session(&self, opening: NewSession, at: Moment) -> Result<bool, StoreError> {
        self.write(at, move |tx| {
            let session = &opening.session;
            let account = tx.account(session.user)?;
            let is_current =
                account.is_some_and(|account| opening.authentication.is_valid_for(&account.user));
            if !is_current {
                return Ok(false);
            }
            for former in &opening.former {
                log_out(tx, former)?;
            }
            let by = Actor::Visitor(session.opened_by.clone());
            make_room(tx, session.user, &by)?;
            tx.add_session(session)?;
            tx.remember_address(session.user, session.opened_by.block())?;
            tx.note(EventKind::LoggedIn, session.user, Some(session.id), &by)?;
            Ok(true)
        })
        .await
    }

    /// What an access token's user and session are at `now`.
    pub fn find_session_of_user(
        &self,
        session: SessionId,
        user: UserId,
        now: Timestamp,
    ) -> Result<SessionOfUser, StoreError> {
        let has_to_end = self.has_to_end(session);
        self.read(|view| {
            let Some(owner) = view.known_user(user)? else { return Ok(SessionOfUser::NoUser) };
            let found = view.known_session(session)?;
            let found = found.filter(|found| found.user == user && found.is_live(now));
            let is_usable = !owner.is_disabled && !has_to_end;
            Ok(match found {
                Some(found) if is_usable => SessionOfUser::Live(owner, found),
                _ => SessionOfUser::NoSession,
            })
        })
    }

    /// A user's sessions that can still be used at `now`, newest first.
    pub fn find_sessions(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let mut found = self.read(|view| view.sessions_of(user))?;
        found.retain(|session| session.is_live(now) && !self.shared.pending.has_to_end(session.id));
        Ok(found)
    }

    /// Ends a session of `user`. Says whether there was one; `None`, if who acts may not.
    pub async fn end_session(
        &self,
        by: Actor,
        user: UserId,
        id: SessionId,
        at: Moment,
    ) -> Result<Option<bool>, StoreError> {
        self.write(at, move |tx| {
            if tx.authorise(&by, user)?.is_none() {
                return Ok(None);
            }
            let session = tx.session(id)?;
            let is_own =
                session.is_some_and(|session| session.user == user && session.is_live(at.now));
            if is_own {
                tx.end_session(id)?;
                tx.note(EventKind::SessionEnded, user, Some(id), &by)?;
            }
            Ok(Some(is_own))
        })
        .await
    }

    /// Ends the session of a token that is authentic, expired or superseded too. That it has ended
    /// before is no refusal. Says whether it was still there.
    pub async fn log_out(&self, of: Authorised, at: Moment) -> Result<bool, StoreError> {
        self.write(at, move |tx| log_out(tx, &of)).await
    }

    /// Ends all sessions of `user`. Says whether who acts may.
    pub async fn end_all_sessions(
        &self,
        by: Actor,
        user: UserId,
        at: Moment,
    ) -> Result<bool, StoreError> {
        self.write(at, move |tx| {
            if tx.authorise(&by, user)?.is_none() {
                return Ok(false);
            }
            tx.end_sessions(user, None)?;
            tx.note(EventKind::AllSessionsEnded, user, by.session(), &by)?;
            Ok(true)
        })
        .await
    }

    /// How many sessions there are, those past their end and not yet swept included.
    pub fn count_sessions(&self) -> Result<u64, StoreError> {
        self.read(|view| view.count_sessions())
    }

    /// The version of the list of revoked sessions: while it stays the same, so does the list.
    pub fn revocations_version(&self) -> Result<RevocationsVersion, StoreError> {
        self.read(|view| view.revocations_version())
    }

    /// What services that verify access tokens by themselves should no longer honour at `now`.
    pub fn find_revocations(&self, now: Timestamp) -> Result<Revocations, StoreError> {
        self.read(|view| view.revocations(now))
    }

    /// Notes a wrong password for an account, and that a lockout begins with it. For an address
    /// without an account nothing is noted, but something is committed all the same: or it would
    /// show in how long the next writer has to wait.
    pub async fn note_failure(
        &self,
        user: Option<UserId>,
        begins_lockout: bool,
        by: Actor,
        at: Moment,
    ) -> Result<(), StoreError> {
        self.write(at, move |tx| {
            tx.commit_anyway();
            let Some(user) = user else { return Ok(()) };
            let lockout = begins_lockout.then_some(EventKind::LockedOut);
            for kind in [EventKind::LoginFailed].into_iter().chain(lockout) {
                tx.note(kind, user, None, &by)?;
            }
            Ok(())
        })
        .await
    }

    /// The events after the first `skip`, oldest first, `limit` at most.
    pub fn events(&self, skip: usize, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(|view| view.events(skip, limit))
    }
}

fn log_out(tx: &mut Tx<'_, '_>, of: &Authorised) -> Result<bool, Fault> {
    let (at, session) = (tx.at, tx.session(of.session));
    // What is over by a clock that is in doubt may live on once that is right; and one that cannot
    // be read is good for nothing but to be ended.
    let may_end = readable(session)?.is_none_or(|session| {
        session.user == of.user && (!at.confirmed || session.is_live(at.now))
    });
    if !may_end || !tx.end_session(of.session)? {
        return Ok(false);
    }
    let by = Actor::User(of.clone());
    tx.note(EventKind::SessionEnded, of.user, Some(of.session), &by)?;
    Ok(true)
}

/// Ends those of a user's sessions that leave no room for one more: first those that a clock which
/// was wrong dated ahead, since nobody can use them; then those that were never rotated and whose
/// access token has expired, as logins of programs that forget their tokens are; then the one that
/// was rotated longest ago. One that is over takes no room, and the sweeper removes it.
fn make_room(tx: &mut Tx<'_, '_>, user: UserId, by: &Actor) -> Result<(), Fault> {
    let (now, most, access) =
        (tx.now(), tx.policy.sessions_per_user.get(), tx.policy.access_lifetime);
    let ids = tx.session_ids_of(user)?;
    if ids.len() < most {
        return Ok(());
    }
    let mut live = Vec::new();
    for id in ids {
        let session = tx.session(id);
        live.extend(readable(session)?.filter(|session| session.is_live(now)));
    }
    let surplus = (live.len() + 1).saturating_sub(most);
    live.sort_by_key(|session| {
        let is_forgotten =
            session.generation == 0 && session.opened_at.saturating_add(access) <= now;
        (!session.is_dated_ahead(now), !is_forgotten, session.rotated_at)
    });
    for displaced in live.iter().take(surplus) {
        tx.end_session(displaced.id)?;
        tx.note(EventKind::SessionDisplaced, user, Some(displaced.id), by)?;
    }
    Ok(())
}
