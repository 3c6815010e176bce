//! Sessions, and the rule by which their refresh tokens rotate.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::{Client, UserId, hex};
use crate::clock::{BEHIND_TOLERANCE, Timestamp};

/// A session's identifier: 48 bits of milliseconds, so that later sessions sort after earlier
/// ones, and 80 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// An identifier for a session opened at `now`.
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let [_, _, time @ ..] = now.as_millis().to_be_bytes();
        let mut id = [0; 16];
        let (head, tail) = id.split_at_mut(time.len());
        head.copy_from_slice(&time);
        tail.copy_from_slice(&random);
        Self(id)
    }

    /// The identifier as stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The identifier's bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Its digest in the list of revoked sessions: the first 16 bytes of the SHA-256 of its text,
    /// so that the list reveals no session that was not known before.
    pub fn digest(&self) -> [u8; 16] {
        let digest = digest(&SHA256, self.to_string().as_bytes());
        let mut short = [0; 16];
        short.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        short
    }

    /// Reads the 32 hexadecimal digits of a token's `sid`.
    pub fn parse(text: &str) -> Option<Self> {
        hex::parse16(text).map(Self)
    }
}

/// Its bytes as one number, most significant first.
impl From<SessionId> for u128 {
    fn from(id: SessionId) -> Self {
        Self::from_be_bytes(id.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

hex::serde_as_hex!(SessionId);

/// One login on one device: what the literature calls a refresh-token family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its identifier.
    pub id: SessionId,
    /// Its user.
    pub user: UserId,
    /// How often its refresh token was rotated.
    pub generation: u64,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When its current refresh token was issued.
    pub rotated_at: Timestamp,
    /// The address that asked for the last rotation; at first the one that opened the session.
    pub rotated_from: IpAddr,
    /// When its current refresh token expires; never after [`ends_at`](Self::ends_at).
    pub token_expires_at: Timestamp,
    /// When it ends, however often it rotates; `None` for never.
    pub ends_at: Option<Timestamp>,
    /// The client that opened it.
    pub opened_by: Client,
}

/// How long sessions and their tokens live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLifetimes {
    /// A refresh token's lifetime, from each rotation.
    pub refresh: Duration,
    /// A session's lifetime, however often it rotates; `None` for no end.
    pub session: Option<Duration>,
    /// How long after a rotation the replaced token still leads to the same successor.
    pub reuse_grace: Duration,
}

impl Session {
    /// A session opened at `now`.
    pub fn open(
        id: SessionId,
        user: UserId,
        opened_by: Client,
        now: Timestamp,
        lifetimes: SessionLifetimes,
    ) -> Self {
        let ends_at = lifetimes.session.map(|lifetime| now.saturating_add(lifetime));
        Self {
            id,
            user,
            generation: 0,
            opened_at: now,
            rotated_at: now,
            rotated_from: opened_by.address,
            token_expires_at: token_expiry(now, lifetimes, ends_at),
            ends_at,
            opened_by,
        }
    }

    /// When it can no longer be used.
    pub fn expires_at(&self) -> Timestamp {
        self.ends_at.map_or(self.token_expires_at, |end| end.min(self.token_expires_at))
    }

    /// Whether it can still be used at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at()
    }

    /// Whether its tokens were issued so far ahead of `now` that the clock must have been wrong.
    /// They are refused until then.
    pub fn is_dated_ahead(&self, now: Timestamp) -> bool {
        self.rotated_at > now.saturating_add(BEHIND_TOLERANCE)
    }

    /// What a refresh token of generation `presented`, found authentic and not expired, does at
    /// `now` when it comes from the address `from`: the design's table of cases.
    pub fn rotate(
        &self,
        presented: u64,
        from: IpAddr,
        now: Timestamp,
        lifetimes: SessionLifetimes,
    ) -> Rotation {
        if !self.is_live(now) {
            return Rotation::Expired;
        }
        if presented == self.generation {
            let mut successor = self.clone();
            successor.generation = self.generation.saturating_add(1);
            successor.rotated_at = now;
            successor.rotated_from = from;
            successor.token_expires_at = token_expiry(now, lifetimes, self.ends_at);
            return Rotation::Rotated(successor);
        }
        if presented > self.generation {
            return Rotation::Ahead;
        }
        let since_rotation = now.saturating_since(self.rotated_at);
        let is_predecessor = presented.checked_add(1) == Some(self.generation);
        if !is_predecessor {
            return Rotation::Reused(Theft::SuccessorUsed);
        }
        if self.is_dated_ahead(now) {
            return Rotation::DatedAhead;
        }
        if since_rotation <= lifetimes.reuse_grace {
            Rotation::Repeated
        } else {
            Rotation::Reused(Theft::GraceOver)
        }
    }
}

fn token_expiry(
    now: Timestamp,
    lifetimes: SessionLifetimes,
    ends_at: Option<Timestamp>,
) -> Timestamp {
    let expiry = now.saturating_add(lifetimes.refresh);
    ends_at.map_or(expiry, |end| end.min(expiry))
}

/// What a presented refresh token leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It was the current one: this is the session with its successor.
    Rotated(Session),
    /// It was just replaced: the same successor again, and nothing changes.
    Repeated,
    /// It was replaced for good: the session ends.
    Reused(Theft),
    /// Its generation was never issued, as after an older copy of the database was put back:
    /// refused, and the session continues.
    Ahead,
    /// It was replaced at a time in the future, by a wrong clock: refused, since the grace would
    /// last until then, and the session continues.
    DatedAhead,
    /// The session is past its end.
    Expired,
}

/// Why a superseded token counts as stolen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theft {
    /// Its successor has been used.
    SuccessorUsed,
    /// The grace after its rotation is over.
    GraceOver,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const GRACE: Duration = Duration::from_secs(30);
    const LIFETIMES: SessionLifetimes = SessionLifetimes {
        refresh: DAY,
        session: Some(Duration::from_secs(30 * 86_400)),
        reuse_grace: GRACE,
    };
    const START: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn opened() -> Session {
        let client = Client::new("192.0.2.1".parse().unwrap(), "curl/8");
        Session::open(SessionId::new(START, [7; 10]), UserId(1), client, START, LIFETIMES)
    }

    fn rotated(session: &Session, now: Timestamp) -> Session {
        match session.rotate(session.generation, HERE, now, LIFETIMES) {
            Rotation::Rotated(successor) => successor,
            other => panic!("expected a successor, got {other:?}"),
        }
    }

    #[test]
    fn identifiers_sort_by_time_and_read_back() {
        let early = SessionId::new(START, [255; 10]);
        let late = SessionId::new(START.saturating_add(Duration::from_millis(1)), [0; 10]);
        assert!(early < late);
        assert_eq!(SessionId::parse(&early.to_string()), Some(early));
        assert_eq!(SessionId::parse(&early.to_string().to_uppercase()), None);
        assert_eq!(SessionId::parse("+00000000000000000000000000000ff"), None);
    }

    #[test]
    fn the_current_token_rotates() {
        let later = START.saturating_add(Duration::from_secs(60));
        let successor = rotated(&opened(), later);
        assert_eq!(successor.generation, 1);
        assert_eq!(successor.rotated_at, later);
        assert_eq!(successor.token_expires_at, later.saturating_add(DAY));
        assert_eq!(
            Session {
                generation: 0,
                rotated_at: START,
                token_expires_at: START.saturating_add(DAY),
                ..successor
            },
            opened()
        );
    }

    #[test]
    fn the_predecessor_repeats_within_the_grace_and_is_theft_after_it() {
        let session = rotated(&opened(), START);
        let end_of_grace = START.saturating_add(GRACE);
        assert_eq!(session.rotate(0, HERE, START, LIFETIMES), Rotation::Repeated);
        assert_eq!(session.rotate(0, HERE, end_of_grace, LIFETIMES), Rotation::Repeated);
        let after = end_of_grace.saturating_add(Duration::from_micros(1));
        assert_eq!(session.rotate(0, HERE, after, LIFETIMES), Rotation::Reused(Theft::GraceOver));
    }

    #[test]
    fn no_grace_lasts_until_a_time_ahead() {
        let ahead = START.saturating_add(DAY / 2);
        let session = rotated(&opened(), ahead);
        let leeway = ahead.saturating_sub(BEHIND_TOLERANCE);
        assert_eq!(session.rotate(0, HERE, START, LIFETIMES), Rotation::DatedAhead);
        assert_eq!(session.rotate(0, HERE, leeway, LIFETIMES), Rotation::Repeated);
        let twice = rotated(&session, ahead);
        let reused = twice.rotate(0, HERE, START, LIFETIMES);
        assert_eq!(reused, Rotation::Reused(Theft::SuccessorUsed));
    }

    #[test]
    fn an_older_token_is_theft_at_once() {
        let session = rotated(&rotated(&opened(), START), START);
        assert_eq!(session.rotate(1, HERE, START, LIFETIMES), Rotation::Repeated);
        assert_eq!(
            session.rotate(0, HERE, START, LIFETIMES),
            Rotation::Reused(Theft::SuccessorUsed)
        );
    }

    #[test]
    fn a_generation_never_issued_is_refused_without_harm() {
        assert_eq!(opened().rotate(1, HERE, START, LIFETIMES), Rotation::Ahead);
        assert_eq!(opened().rotate(u64::MAX, HERE, START, LIFETIMES), Rotation::Ahead);
    }

    #[test]
    fn no_rotation_reaches_past_the_end_of_the_session() {
        let mut session = opened();
        let mut now = START;
        for _ in 0..40 {
            now = now.saturating_add(DAY - Duration::from_secs(1));
            match session.rotate(session.generation, HERE, now, LIFETIMES) {
                Rotation::Rotated(successor) => session = successor,
                Rotation::Expired => break,
                other => panic!("{other:?}"),
            }
        }
        let end = START.saturating_add(30 * DAY);
        assert_eq!(session.expires_at(), end);
        assert!(session.is_live(end.saturating_sub(Duration::from_micros(1))));
        assert_eq!(session.rotate(session.generation, HERE, end, LIFETIMES), Rotation::Expired);
    }

    #[test]
    fn without_a_session_lifetime_rotation_goes_on() {
        let lifetimes = SessionLifetimes { session: None, ..LIFETIMES };
        let session = Session { ends_at: None, ..opened() };
        let now = START.saturating_add(DAY / 2);
        assert!(
            matches!(session.rotate(0, HERE, now, lifetimes), Rotation::Rotated(next) if next.token_expires_at == now.saturating_add(DAY))
        );
    }
}
