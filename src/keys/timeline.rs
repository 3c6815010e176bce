//! Which access key signs when, and how long each is needed.
//!
//! All of this follows from the names of the keys and the time, so a restart loses nothing:
//!
//! - Of the keys of the configured algorithm, the newest whose time has come signs. If there is
//!   none, the first of them signs, whatever its time: one has to, and a clock that was ahead when
//!   it was created must not keep everybody out.
//! - A key signs until the next one of the configured algorithm takes over. The last token it
//!   signed expires one access lifetime later; until then it verifies and is published.

use std::fmt;
use std::time::Duration;

use super::access_signing::AccessSigning;
use super::id::{KeyId, KeyKind};
use crate::clock::Timestamp;
use crate::config::{SigningAlgorithm, TokenConfig};

/// The longest that others may cache the public keys.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// The configuration of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The algorithm that signs access tokens.
    pub algorithm: SigningAlgorithm,
    /// How long a new key is published before it signs.
    pub activation: Duration,
    /// How long the tokens that a key signed outlive its last signature.
    pub access_lifetime: Duration,
    /// Whether access tokens are signed by a secret from the configuration, and by no key here.
    pub is_shared: bool,
}

impl Schedule {
    /// The schedule of a configuration.
    pub const fn of(config: &TokenConfig, signing: &AccessSigning) -> Self {
        Self {
            activation: config.key_activation,
            access_lifetime: config.access_lifetime,
            ..Self::without_activation(signing)
        }
    }

    /// A schedule by which keys sign and die at once.
    pub(super) const fn without_activation(signing: &AccessSigning) -> Self {
        Self {
            algorithm: signing.algorithm(),
            activation: Duration::ZERO,
            access_lifetime: Duration::ZERO,
            is_shared: signing.is_shared(),
        }
    }

    /// How long others may cache the public keys, in whole seconds: at most half the time that a
    /// new key is published before it signs, so that nobody meets a signature by an unknown key;
    /// and at most an hour, since a revoked key should not be trusted for days.
    pub fn max_age(&self) -> Duration {
        Duration::from_secs((self.activation / 2).min(MAX_AGE).as_secs())
    }

    /// When the last token signed by the access key `id` expires, if `ids` holds a key that takes
    /// over from it. This goes by the present configuration: if the lifetime was longer before, the
    /// last tokens may be refused early.
    pub(super) fn dies_at(&self, id: KeyId, ids: &[KeyId]) -> Option<Timestamp> {
        ids.iter()
            .filter(|other| other.kind() == KeyKind::Access(self.algorithm))
            .filter(|other| other.order() > id.order())
            .min_by_key(|other| other.order())
            .map(|next| next.signs_from().saturating_add(self.access_lifetime))
    }

    /// Whether everything that the key `id` signed has expired at `now`. Only access keys expire.
    pub(super) fn is_dead(&self, id: KeyId, ids: &[KeyId], now: Timestamp) -> bool {
        matches!(id.kind(), KeyKind::Access(_))
            && self.dies_at(id, ids).is_some_and(|dies_at| dies_at <= now)
    }

    /// The access key that signs at `now`, if any can.
    pub(super) fn signer(&self, ids: &[KeyId], now: Timestamp) -> Option<KeyId> {
        let access = ids.iter().filter(|id| matches!(id.kind(), KeyKind::Access(_)));
        let timeline = Timeline::new(access.map(|id| (*id, *id)), self.algorithm)?;
        Some(*timeline.signs(now))
    }

    /// The state of the key `id`, one of `ids`, at `now`.
    pub(super) fn state(&self, id: KeyId, ids: &[KeyId], now: Timestamp) -> KeyState {
        if !matches!(id.kind(), KeyKind::Access(_)) {
            let newest = ids.iter().filter(|other| other.kind() == id.kind());
            let is_newest = newest.max_by_key(|other| other.order()) == Some(&id);
            return if is_newest { KeyState::Signing } else { KeyState::Verifying { until: None } };
        }
        if self.signer(ids, now) == Some(id) {
            return KeyState::Signing;
        }
        let can_sign = id.kind() == KeyKind::Access(self.algorithm);
        if can_sign && id.signs_from() > now {
            return KeyState::Published { signs_from: id.signs_from() };
        }
        match self.dies_at(id, ids) {
            Some(dies_at) if dies_at <= now => KeyState::Dead,
            until => KeyState::Verifying { until },
        }
    }
}

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It signs, and verifies.
    Signing,
    /// It is published and verifies, so that everybody knows it when it begins to sign.
    Published {
        /// When that is.
        signs_from: Timestamp,
    },
    /// It does not sign any more, but what it signed is valid.
    Verifying {
        /// When the last of that expires; `None` while this is unknown.
        until: Option<Timestamp>,
    },
    /// Everything it signed has expired; its file is removed.
    Dead,
}

/// The access keys: one signs at a time, all of them verify.
#[derive(Clone)]
pub(crate) struct Timeline<T> {
    /// The first of the configured algorithm.
    first: T,
    /// The later ones of that algorithm, in order, and the time from which each signs.
    later: Vec<(Timestamp, T)>,
    /// Those of other algorithms, which never sign.
    others: Vec<T>,
}

impl<T> Timeline<T> {
    /// The keys in any order; `None` if none has the configured algorithm.
    pub(super) fn new(
        keys: impl IntoIterator<Item = (KeyId, T)>,
        algorithm: SigningAlgorithm,
    ) -> Option<Self> {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_by_key(|(id, _)| id.order());
        let can_sign = |(id, _): &(KeyId, T)| id.kind() == KeyKind::Access(algorithm);
        let (signing, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(can_sign);
        let mut signing = signing.into_iter().map(|(id, key)| (id.signs_from(), key));
        let (_, first) = signing.next()?;
        let others = others.into_iter().map(|(_, key)| key).collect();
        Some(Self { first, later: signing.collect(), others })
    }

    /// The key that signs at `now`.
    pub(crate) fn signs(&self, now: Timestamp) -> &T {
        let newest = self.later.iter().rev().find(|(signs_from, _)| *signs_from <= now);
        newest.map_or(&self.first, |(_, key)| key)
    }

    /// All keys: those that can sign in their order, then the others.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let later = self.later.iter().map(|(_, key)| key);
        std::iter::once(&self.first).chain(later).chain(&self.others)
    }
}

impl<T: fmt::Debug> fmt::Debug for Timeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SigningAlgorithm::{EdDsa, Es256};

    const HOUR: Duration = Duration::from_secs(3_600);
    const SCHEDULE: Schedule = Schedule {
        algorithm: EdDsa,
        activation: HOUR,
        access_lifetime: Duration::from_secs(1_800),
        is_shared: false,
    };

    const fn at(second: u64) -> Timestamp {
        Timestamp::from_unix_seconds(1_733_479_200 + second)
    }

    fn access(algorithm: SigningAlgorithm, second: u64) -> KeyId {
        KeyId::new(KeyKind::Access(algorithm), at(second), [0; 4])
    }

    #[test]
    fn keys_hand_over_to_the_second_and_die_one_lifetime_later() {
        let (a, b, c) = (access(EdDsa, 0), access(EdDsa, 3_600), access(EdDsa, 9_000));
        let ids = [c, a, b];
        let states = |second| ids.map(|id| SCHEDULE.state(id, &ids, at(second)));
        let published = |second| KeyState::Published { signs_from: at(second) };
        let until = |second| KeyState::Verifying { until: Some(at(second)) };
        use KeyState::{Dead, Signing};
        for (second, c, a, b) in [
            (0, published(9_000), Signing, published(3_600)),
            (3_599, published(9_000), Signing, published(3_600)),
            (3_600, published(9_000), until(5_400), Signing),
            (5_399, published(9_000), until(5_400), Signing),
            (5_400, published(9_000), Dead, Signing),
            (8_999, published(9_000), Dead, Signing),
            (9_000, Signing, Dead, until(10_800)),
            (10_799, Signing, Dead, until(10_800)),
            (10_800, Signing, Dead, Dead),
            (1_000_000_000, Signing, Dead, Dead),
        ] {
            assert_eq!(states(second), [c, a, b], "{second}");
            let dead = ids.map(|id| SCHEDULE.is_dead(id, &ids, at(second)));
            assert_eq!(dead, [c, a, b].map(|state| state == Dead), "{second}");
        }
    }

    #[test]
    fn a_key_set_is_kept_for_half_the_activation_and_an_hour_at_most() {
        for (activation, expected) in
            [(0, 0), (1, 0), (2, 1), (3, 1), (3_600, 1_800), (7_200, 3_600), (2_592_000, 3_600)]
        {
            let schedule = Schedule { activation: Duration::from_secs(activation), ..SCHEDULE };
            assert_eq!(schedule.max_age(), Duration::from_secs(expected), "{activation}");
        }
    }

    /// A clock that was ahead at the first start must not leave everybody without a signature.
    #[test]
    fn while_no_key_has_begun_the_first_signs() {
        let ids = [access(EdDsa, 9_000), access(EdDsa, 3_600)];
        assert_eq!(SCHEDULE.signer(&ids, at(0)), Some(ids[1]));
        assert_eq!(SCHEDULE.state(ids[1], &ids, at(0)), KeyState::Signing);
        assert_eq!(SCHEDULE.signer(&ids[..1], at(0)), Some(ids[0]));
        assert_eq!(SCHEDULE.signer(&[], at(0)), None);
    }

    #[test]
    fn keys_of_another_algorithm_verify_until_the_next_of_the_configured_one_has_outlived_them() {
        let ids = [access(EdDsa, 0), access(Es256, 1_000), access(EdDsa, 2_000)];
        assert_eq!(SCHEDULE.signer(&ids, at(1_999)), Some(ids[0]));
        assert_eq!(SCHEDULE.signer(&ids, at(2_000)), Some(ids[2]));
        for id in &ids[..2] {
            assert!(!SCHEDULE.is_dead(*id, &ids, at(3_799)));
            assert!(SCHEDULE.is_dead(*id, &ids, at(3_800)));
        }
        // Newer than all that could take over: nobody can tell.
        let ids = [access(EdDsa, 0), access(Es256, 1_000)];
        let state = SCHEDULE.state(ids[1], &ids, at(1_000_000));
        assert_eq!(state, KeyState::Verifying { until: None });
        assert!(!SCHEDULE.is_dead(ids[1], &ids, at(1_000_000)));
    }

    #[test]
    fn of_other_keys_the_newest_signs_and_none_dies() {
        let refresh = |second| KeyId::new(KeyKind::Refresh, at(second), [0; 4]);
        let ids = [refresh(0), refresh(10), access(EdDsa, 20)];
        let state = |id| SCHEDULE.state(id, &ids, at(1_000_000));
        assert_eq!(state(ids[0]), KeyState::Verifying { until: None });
        assert_eq!(state(ids[1]), KeyState::Signing);
        assert!(!SCHEDULE.is_dead(ids[0], &ids, at(1_000_000)));
    }
}
