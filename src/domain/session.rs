//! Sessions, and the rule by which their refresh tokens rotate.

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

    /// Its digest in the list of revoked sessions: the first 16 bytes of the SHA-256 of its text,
    /// so that the list reveals no session that was not known before.
    pub fn digest(&self) -> [u8; 16] {
        let digest = digest(&SHA256, self.to_string().as_bytes());
        digest.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

/// Its bytes as one number, most significant first.
impl From<SessionId> for u128 {
    fn from(id: SessionId) -> Self {
        Self::from_be_bytes(id.0)
    }
}

hex::identifier!(SessionId);

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
    /// Whether [`ends_at`](Self::ends_at) is the expiry of its first refresh token, because the
    /// client that holds it does not store later ones. Access tokens from before that was known may
    /// live longer than the session.
    pub is_bound: bool,
    /// The client that opened it.
    pub opened_by: Client,
}

/// A refresh token that was found authentic and not expired, as far as the rule goes by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// How often its session had been rotated when it was issued.
    pub generation: u64,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The address that it comes from.
    pub from: IpAddr,
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
    /// Whether the first token of a session leads to its successor until it expires, as long as
    /// that was never used.
    pub keep_first: bool,
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
            is_bound: false,
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

    /// What a refresh token does at `now`: the design's table of cases.
    ///
    /// Many clients never store the tokens that a refresh gives them, and show the one of the login
    /// until it expires. A first token whose successor was never used tells nothing of a theft, so
    /// it goes on leading there. Shown after the grace, it proves that its client is such a one; then
    /// the session ends with that token, so that neither a copy of it nor its successor is worth
    /// more than it.
    pub fn rotate(&self, shown: Shown, now: Timestamp, lifetimes: SessionLifetimes) -> Rotation {
        if !self.is_live(now) {
            return Rotation::Expired;
        }
        if shown.generation == self.generation {
            let mut successor = self.clone();
            successor.generation = self.generation.saturating_add(1);
            successor.rotated_at = now;
            successor.rotated_from = shown.from;
            successor.token_expires_at = token_expiry(now, lifetimes, self.ends_at);
            return Rotation::Rotated(successor);
        }
        if shown.generation > self.generation {
            return Rotation::Ahead;
        }
        let is_predecessor = shown.generation.checked_add(1) == Some(self.generation);
        if !is_predecessor {
            return Rotation::Reused(Theft::SuccessorUsed);
        }
        if self.is_dated_ahead(now) {
            return Rotation::DatedAhead;
        }
        let since_rotation = now.saturating_since(self.rotated_at);
        if since_rotation <= lifetimes.reuse_grace {
            return Rotation::Repeated;
        }
        if shown.generation > 0 || !lifetimes.keep_first {
            return Rotation::Reused(Theft::GraceOver { unused_for: since_rotation });
        }
        Rotation::KeptFirst(if self.is_bound { None } else { Some(self.bound(shown.expires_at)) })
    }

    /// The session once it is known that it ends at `end` at the latest.
    fn bound(&self, end: Timestamp) -> Self {
        let end = self.ends_at.map_or(end, |ends_at| ends_at.min(end));
        let token_expires_at = self.token_expires_at.min(end);
        Self { ends_at: Some(end), token_expires_at, is_bound: true, ..self.clone() }
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
    /// It is the first one, after the grace, and its successor was never used: the same successor
    /// again. This is the session as it is to be written, where it did not end with that token yet.
    KeptFirst(Option<Session>),
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

impl Rotation {
    /// Whether it gives tokens.
    pub const fn gives_tokens(&self) -> bool {
        matches!(self, Self::Rotated(_) | Self::Repeated | Self::KeptFirst(_))
    }
}

/// Why a superseded token counts as stolen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theft {
    /// Its successor has been used.
    SuccessorUsed,
    /// The grace after its rotation is over.
    GraceOver {
        /// How long ago that rotation was, since when its successor was not used.
        unused_for: Duration,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const GRACE: Duration = Duration::from_secs(30);
    const LIFETIMES: SessionLifetimes = SessionLifetimes {
        refresh: DAY,
        session: Some(Duration::from_secs(30 * 86_400)),
        reuse_grace: GRACE,
        keep_first: true,
    };
    const STRICT: SessionLifetimes = SessionLifetimes { keep_first: false, ..LIFETIMES };
    const START: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn opened() -> Session {
        let client = Client::new("192.0.2.1".parse().unwrap(), "curl/8");
        Session::open(SessionId::new(START, [7; 10]), UserId(1), client, START, LIFETIMES)
    }

    /// A token of a generation, of which the first expires a day after the start.
    fn shown(generation: u64) -> Shown {
        let expires_at = if generation == 0 {
            START.saturating_add(DAY)
        } else {
            Timestamp::from_micros(u64::MAX)
        };
        Shown { generation, expires_at, from: HERE }
    }

    fn rotated(session: &Session, now: Timestamp) -> Session {
        match session.rotate(shown(session.generation), now, LIFETIMES) {
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
        let unused_for = GRACE + Duration::from_micros(1);
        let (end_of_grace, after) = (START.saturating_add(GRACE), START.saturating_add(unused_for));
        let once = rotated(&opened(), START);
        let twice = rotated(&once, START);
        for (session, generation, lifetimes) in [(&once, 0, STRICT), (&twice, 1, LIFETIMES)] {
            let rotate = |now| session.rotate(shown(generation), now, lifetimes);
            assert_eq!(rotate(START), Rotation::Repeated);
            assert_eq!(rotate(end_of_grace), Rotation::Repeated);
            assert_eq!(rotate(after), Rotation::Reused(Theft::GraceOver { unused_for }));
        }
    }

    #[test]
    fn a_first_token_whose_successor_was_never_used_is_kept_and_bounds_the_session() {
        let (start, end) = (START.saturating_add(DAY / 2), START.saturating_add(DAY));
        let session = rotated(&opened(), start);
        let after = start.saturating_add(GRACE + Duration::from_micros(1));
        assert_eq!(session.rotate(shown(0), start, LIFETIMES), Rotation::Repeated, "not known yet");
        let kept = session.rotate(shown(0), after, LIFETIMES);
        let Rotation::KeptFirst(Some(bound)) = kept else { panic!("{kept:?}") };
        let expected = Session {
            ends_at: Some(end),
            token_expires_at: end,
            is_bound: true,
            ..session.clone()
        };
        assert_eq!(bound, expected);
        assert_eq!(bound.rotate(shown(0), after, LIFETIMES), Rotation::KeptFirst(None), "once");
        assert_eq!(bound.rotate(shown(0), end, LIFETIMES), Rotation::Expired);
        // A holder who uses the successor does not get past that end, and from then on the first
        // token is theft.
        let next = rotated(&bound, after);
        assert_eq!((next.ends_at, next.token_expires_at), (Some(end), end));
        let reused = next.rotate(shown(0), after, LIFETIMES);
        assert_eq!(reused, Rotation::Reused(Theft::SuccessorUsed));
        // A session that ends before its first token does keeps its end.
        let short = Session { ends_at: Some(start.saturating_add(DAY / 4)), ..session };
        let kept = short.rotate(shown(0), after, LIFETIMES);
        assert!(matches!(kept, Rotation::KeptFirst(Some(bound)) if bound.ends_at == short.ends_at));
    }

    #[test]
    fn no_grace_lasts_until_a_time_ahead() {
        let ahead = START.saturating_add(DAY / 2);
        let session = rotated(&opened(), ahead);
        let leeway = ahead.saturating_sub(BEHIND_TOLERANCE);
        assert_eq!(session.rotate(shown(0), START, LIFETIMES), Rotation::DatedAhead);
        assert_eq!(session.rotate(shown(0), leeway, LIFETIMES), Rotation::Repeated);
        let twice = rotated(&session, ahead);
        let reused = twice.rotate(shown(0), START, LIFETIMES);
        assert_eq!(reused, Rotation::Reused(Theft::SuccessorUsed));
    }

    #[test]
    fn an_older_token_is_theft_at_once() {
        let session = rotated(&rotated(&opened(), START), START);
        assert_eq!(session.rotate(shown(1), START, LIFETIMES), Rotation::Repeated);
        assert_eq!(
            session.rotate(shown(0), START, LIFETIMES),
            Rotation::Reused(Theft::SuccessorUsed)
        );
    }

    #[test]
    fn a_generation_never_issued_is_refused_without_harm() {
        assert_eq!(opened().rotate(shown(1), START, LIFETIMES), Rotation::Ahead);
        assert_eq!(opened().rotate(shown(u64::MAX), START, LIFETIMES), Rotation::Ahead);
    }

    #[test]
    fn no_rotation_reaches_past_the_end_of_the_session() {
        let mut session = opened();
        let mut now = START;
        for _ in 0..40 {
            now = now.saturating_add(DAY - Duration::from_secs(1));
            match session.rotate(shown(session.generation), now, LIFETIMES) {
                Rotation::Rotated(successor) => session = successor,
                Rotation::Expired => break,
                other => panic!("{other:?}"),
            }
        }
        let end = START.saturating_add(30 * DAY);
        assert_eq!(session.expires_at(), end);
        assert!(session.is_live(end.saturating_sub(Duration::from_micros(1))));
        assert_eq!(session.rotate(shown(session.generation), end, LIFETIMES), Rotation::Expired);
    }

    #[test]
    fn without_a_session_lifetime_rotation_goes_on() {
        let lifetimes = SessionLifetimes { session: None, ..LIFETIMES };
        let session = Session { ends_at: None, ..opened() };
        let now = START.saturating_add(DAY / 2);
        assert!(
            matches!(session.rotate(shown(0), now, lifetimes), Rotation::Rotated(next) if next.token_expires_at == now.saturating_add(DAY))
        );
    }

    proptest! {
        /// Two holders present whatever tokens there are, in any order and at any time. No token
        /// ever has two live successors, and none lives longer than the table allows.
        #[test]
        fn no_order_of_presents_gives_two_successors_or_a_longer_life(
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..40_000), 1..40),
            keep_first in any::<bool>(),
            grace in 0_u64..100_000,
            lifetime in prop::option::of(3_600_u64..400_000),
        ) {
            let lifetimes = SessionLifetimes {
                refresh: DAY,
                session: lifetime.map(Duration::from_secs),
                reuse_grace: Duration::from_secs(grace),
                keep_first,
            };
            let client = Client::new(HERE, "");
            let id = SessionId::new(START, [7; 10]);
            let mut session = Session::open(id, UserId(1), client, START, lifetimes);
            let last_end = session.ends_at;
            // Of each generation, when its token expires at the latest.
            let mut expiries = vec![session.token_expires_at];
            let (mut now, mut ended, mut bound) = (START, false, None);
            for (which, seconds) in steps {
                now = now.saturating_add(Duration::from_secs(seconds));
                let generation = which.index(expiries.len());
                let expires_at = expiries[generation];
                if ended || now >= expires_at {
                    continue;
                }
                let newest = expiries.len() - 1;
                let shown = Shown { generation: generation as u64, expires_at, from: HERE };
                let unused_for = now.saturating_since(session.rotated_at);
                let leads_on = match session.rotate(shown, now, lifetimes) {
                    Rotation::Rotated(next) => {
                        prop_assert_eq!(generation, newest, "only the newest token has a successor to get");
                        expiries.push(next.token_expires_at);
                        session = next;
                        true
                    }
                    Rotation::Repeated => {
                        prop_assert!(generation + 1 == newest && unused_for <= lifetimes.reuse_grace);
                        true
                    }
                    Rotation::KeptFirst(written) => {
                        prop_assert!(keep_first && (generation, newest) == (0, 1));
                        prop_assert!(unused_for > lifetimes.reuse_grace);
                        prop_assert_eq!(written.is_some(), bound.is_none(), "written once");
                        bound = Some(expiries[0]);
                        session = written.unwrap_or(session);
                        expiries[1] = expiries[1].min(expiries[0]);
                        true
                    }
                    Rotation::Reused(_) => {
                        prop_assert!(generation < newest);
                        ended = true;
                        false
                    }
                    Rotation::Expired => false,
                    other => return Err(TestCaseError::fail(format!("{other:?}"))),
                };
                if leads_on {
                    prop_assert_eq!(session.generation as usize, expiries.len() - 1);
                    prop_assert!(session.is_live(now));
                    let end = session.expires_at();
                    prop_assert!(end <= now.saturating_add(DAY));
                    prop_assert!(last_end.is_none_or(|last| end <= last));
                    prop_assert!(bound.is_none_or(|bound| end <= bound));
                }
            }
        }
    }
}
