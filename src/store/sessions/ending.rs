//! How sessions end: one by one, all of a user's, for want of room, and when their time is over.

use std::collections::HashSet;
use std::time::Duration;

use redb::{ReadableTable, TableHandle};

use super::rotated::settle_all;
use super::{NewSession, insert};
use crate::clock::{Moment, Timestamp};
use crate::domain::{EventKind, Session, SessionId, UserId};
use crate::store::records::{SessionRecord, decode, readable};
use crate::store::tables::{SESSIONS, Write, discard};
use crate::store::{Fault, Shared, events, revocations};

/// Ends those of a user's sessions that leave no room for one more: first those that a clock which
/// was wrong dated ahead, since nobody can use them, and then the oldest. One that is over takes no
/// room, and the sweeper removes it.
pub(super) fn make_room(
    write: &mut Write<'_>,
    opening: &NewSession,
    at: Moment,
    shared: &Shared,
) -> Result<(), Fault> {
    let new = &opening.session;
    let ids = ids_of(write, new.user)?;
    if ids.len() < opening.sessions_per_user.get() {
        return Ok(());
    }
    let mut live = Vec::new();
    for id in ids {
        let session = readable(write.session_record(id))?.map(|record| record.session(id));
        live.extend(session.filter(|session| session.is_live(at.now)));
    }
    let surplus = (live.len() + 1).saturating_sub(opening.sessions_per_user.get());
    live.sort_by_key(|session| !session.is_dated_ahead(at.now));
    for displaced in live.iter().take(surplus) {
        end(write, displaced.id, at, shared.access_lifetime)?;
        let event = displaced.event(EventKind::SessionDisplaced, &new.opened_by);
        events::append(write, event, at.now, shared.max_events)?;
    }
    Ok(())
}

/// Ends a session: removes it, and marks it as revoked while its access tokens live. Says whether
/// there was one. One that cannot be read is ended too: its access tokens do not know that.
pub(in crate::store) fn end(
    write: &mut Write<'_>,
    id: SessionId,
    at: Moment,
    access_lifetime: Duration,
) -> Result<bool, Fault> {
    if write.session(id)?.is_none() {
        return Ok(false);
    }
    write.change(at);
    let session = readable(write.session_record(id))?.map(|record| record.session(id));
    let expires_at = session.as_ref().map(Session::expires_at);
    revocations::insert(write, id, expires_at, at, access_lifetime)?;
    if session.is_some() {
        return remove(write, id);
    }
    remove_unreadable(write, &HashSet::from([*id.as_bytes()]))?;
    Ok(true)
}

/// Ends every session of `user` but `kept`.
pub(in crate::store) fn end_others(
    write: &mut Write<'_>,
    user: UserId,
    kept: Option<SessionId>,
    at: Moment,
    access_lifetime: Duration,
) -> Result<(), Fault> {
    for id in ids_of(write, user)? {
        if Some(id) != kept {
            end(write, id, at, access_lifetime)?;
        }
    }
    Ok(())
}

/// Ends every session there is. Each is marked as revoked until its own end, since the clock that
/// dated its access tokens is not known.
pub(in crate::store) fn end_all(write: &mut Write<'_>, now: Timestamp) -> Result<(), Fault> {
    let mut ended = Vec::new();
    settle_all(write)?;
    for entry in write.sessions.open()?.iter()? {
        let (id, bytes) = entry?;
        let id = SessionId::from_bytes(*id.value());
        let record = decode::<SessionRecord>(SESSIONS.name(), &id, bytes.value());
        let session = readable(record.map(Some))?.map(|record| record.session(id));
        ended.extend(session.filter(|session| session.is_live(now)));
    }
    for session in ended {
        revocations::mark(write, session.id, session.expires_at())?;
    }
    write.sessions.open()?.retain(|_, _| false)?;
    write.sessions_by_user.open()?.retain(|_, ()| false)?;
    write.sessions_by_expiry.open()?.retain(|_, ()| false)?;
    Ok(())
}

/// Looks at the `batch` sessions filed under the earliest expiries up to `now`: removes those
/// that are over, and files those anew that were extended. Says how many it looked at.
pub(in crate::store) fn sweep(
    write: &mut Write<'_>,
    at: Moment,
    batch: usize,
) -> Result<usize, Fault> {
    let last = (at.now.as_micros(), &[u8::MAX; 16]);
    let due: Vec<(u64, SessionId)> = write
        .sessions_by_expiry
        .open()?
        .range((0, &[0; 16])..=last)?
        .take(batch)
        .map(|entry| {
            let (key, _) = entry?;
            let (filed_at, id) = key.value();
            Ok((filed_at, SessionId::from_bytes(*id)))
        })
        .collect::<Result<_, Fault>>()?;
    let mut unreadable = HashSet::new();
    for (filed_at, id) in &due {
        write.change(at);
        write.sessions_by_expiry.open()?.remove((*filed_at, id.as_bytes()))?;
        match readable(write.session_record(*id))?.map(|record| record.session(*id)) {
            // Nobody can use it, and it must not keep the others from being swept.
            None => drop(unreadable.insert(*id.as_bytes())),
            Some(session) if session.is_live(at.now) => {
                write.rotated_sessions.open()?.remove(id.as_bytes())?;
                insert(write, &session)?;
            }
            Some(_) => drop(remove(write, *id)?),
        }
    }
    remove_unreadable(write, &unreadable)?;
    Ok(due.len())
}

/// Removes a session with its index entries; says whether there was one.
fn remove(write: &mut Write<'_>, id: SessionId) -> Result<bool, Fault> {
    let Some(record) = write.session_record(id)? else { return Ok(false) };
    let id = id.as_bytes();
    write.rotated_sessions.open()?.remove(id)?;
    write.sessions.open()?.remove(id)?;
    write.sessions_by_user.open()?.remove((record.user.0, id))?;
    write.sessions_by_expiry.open()?.remove((record.filed_at.as_micros(), id))?;
    Ok(true)
}

fn remove_unreadable(write: &mut Write<'_>, unreadable: &HashSet<[u8; 16]>) -> Result<(), Fault> {
    for id in unreadable {
        write.rotated_sessions.open()?.remove(id)?;
    }
    let indexes = [&mut write.sessions_by_user, &mut write.sessions_by_expiry];
    discard(&mut write.sessions, indexes, unreadable)
}

/// A user's sessions, oldest first.
fn ids_of(write: &mut Write<'_>, user: UserId) -> Result<Vec<SessionId>, Fault> {
    let (first, last) = ((user.0, &[0; 16]), (user.0, &[u8::MAX; 16]));
    write
        .sessions_by_user
        .open()?
        .range(first..=last)?
        .map(|entry| Ok(SessionId::from_bytes(*entry?.0.value().1)))
        .collect()
}
