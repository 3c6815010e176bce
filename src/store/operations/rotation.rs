//! Rotating a session: what a refresh token leads to, in one transaction.

use std::sync::Arc;

use crate::clock::{Moment, Timestamp};
use crate::domain::{
    Actor, AddressBlock, Authorised, Client, EventKind, Rotation, Session, SessionId, Shown, Theft,
    UserId,
};
use crate::store::engine::Fault;
use crate::store::rows::Tx;
use crate::store::{Store, StoreError};

/// A refresh token that was found authentic and not expired.
#[derive(Clone, Debug)]
pub struct Presented {
    /// Its session.
    pub session: SessionId,
    /// Its user.
    pub user: UserId,
    /// Its generation.
    pub generation: u64,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Who presents it.
    pub client: Client,
}

/// Why a refresh token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its session is unknown, ended or over, or its user is gone.
    NoSession,
    /// Its user is disabled.
    Disabled,
    /// It was superseded for good; its session has been ended.
    Reused(Theft),
    /// Its generation was never issued.
    Ahead,
}

impl Presented {
    /// The token as the rule goes by it.
    pub(super) const fn shown(&self) -> Shown {
        let Self { generation, expires_at, .. } = *self;
        Shown { generation, expires_at, from: self.client.address }
    }
}

impl Store {
    /// Does to a session what the presented refresh token leads to, and makes its tokens by
    /// `make`: of the session with its new generation, or as it is since the rotation shortly
    /// before. A session that has to end but whose end cannot be written is refused from memory
    /// until it can.
    ///
    /// Signing takes the processor while the writer waits for the disk. So the tokens are made
    /// meanwhile, of the session that the rotation would lead to by the last commit, and once more
    /// if it came out otherwise. They are given out when the session is durable.
    pub async fn rotate_session<T>(
        &self,
        presented: Presented,
        at: Moment,
        make: impl Fn(&Session) -> T,
    ) -> Result<Result<T, Refused>, StoreError> {
        if self.has_to_end(presented.session) {
            return Err(StoreError::Unavailable);
        }
        let token = presented.clone();
        let rotated = match self.begin(at, move |tx| rotate(tx, &token)) {
            Ok(mut pending) => match pending.now() {
                Some(rotated) => rotated.map(|session| session.map(|session| make(&session))),
                None => {
                    let foreseen = self.foresee_rotation(&presented, at.now);
                    let foreseen = foreseen.map(|session| (make(&session), session));
                    pending.answer().await.map(|session| {
                        session.map(|session| match foreseen {
                            Some((made, foreseen)) if foreseen == session => made,
                            _ => make(&session),
                        })
                    })
                }
            },
            Err(error) => Err(error),
        };
        if rotated.is_err() {
            self.judge_later(presented, at.now);
        }
        rotated
    }

    /// The session that a rotation would lead to, going by the last commit; `None` where it would
    /// give no new token. Whatever waits to be written may make it come out otherwise.
    pub(crate) fn foresee_rotation(
        &self,
        presented: &Presented,
        now: Timestamp,
    ) -> Option<Session> {
        let session = self.read(|view| view.glimpse_session(presented.session)).ok()??;
        match session.rotate(presented.shown(), now, self.shared.policy.sessions) {
            Rotation::Rotated(successor) => Some(successor),
            _ => None,
        }
    }
}

fn rotate(tx: &mut Tx<'_, '_>, presented: &Presented) -> Result<Result<Session, Refused>, Fault> {
    let Presented { session: id, user, ref client, .. } = *presented;
    let refused = Ok(Err(Refused::NoSession));
    match tx.is_disabled(user)? {
        Some(false) => {}
        Some(true) => return Ok(Err(Refused::Disabled)),
        None => return refused,
    }
    let Some((session, filed_at)) = tx.filed_session(id)? else { return refused };
    if session.user != user {
        return refused;
    }
    let note = |tx: &mut Tx<'_, '_>, kind| {
        let by = Authorised { user, session: id, client: client.clone() };
        tx.note(kind, user, Some(id), &Actor::User(by))
    };
    match session.rotate(presented.shown(), tx.now(), tx.policy.sessions) {
        Rotation::Rotated(successor) => {
            tx.update_session(&successor, filed_at)?;
            Ok(Ok(successor))
        }
        Rotation::Repeated => {
            if session.rotated_from != client.address {
                note(tx, EventKind::GraceUsedElsewhere)?;
            }
            Ok(Ok(Arc::unwrap_or_clone(session)))
        }
        Rotation::KeptFirst(bound) => {
            if let Some(bound) = &bound {
                tx.update_session(bound, filed_at)?;
            }
            if AddressBlock::of(session.rotated_from) != client.block() {
                note(tx, EventKind::FirstTokenUsedElsewhere)?;
            }
            Ok(Ok(bound.unwrap_or_else(|| Arc::unwrap_or_clone(session))))
        }
        Rotation::Reused(theft) => {
            tx.end_session(id)?;
            note(tx, theft.into())?;
            Ok(Err(Refused::Reused(theft)))
        }
        Rotation::Ahead => {
            note(tx, EventKind::RefreshTokenAhead)?;
            Ok(Err(Refused::Ahead))
        }
        Rotation::DatedAhead | Rotation::Expired => refused,
    }
}
