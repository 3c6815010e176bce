//! Access tokens that were verified before, so that each signature is checked once and not at every
//! request: that takes longer than everything else about reading a profile.
//!
//! It keeps a digest of the token and its claims, never the token. An entry is valid only for the
//! exact set of keys that verified it: when keys are replaced, everything is forgotten. Times are
//! checked at every use; session and user are always looked up in storage.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;

use super::AccessToken;
use crate::keys::Keys;

/// The number of buckets, a power of two; two bytes of the digest choose one.
const BUCKETS: usize = 2_048;

/// The most tokens of one bucket: 16,384 in all, about 2 MiB.
const MOST_OF_BUCKET: usize = 8;

/// The SHA-256 of a token.
#[derive(Clone, Copy)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(token: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }

    fn bucket(&self) -> usize {
        let [first, second, ..] = self.0;
        usize::from(u16::from_be_bytes([first, second])) % BUCKETS
    }
}

/// The remembered tokens.
pub(super) struct Verified {
    buckets: Box<[Mutex<Bucket>]>,
}

#[derive(Default)]
struct Bucket {
    /// The keys that verified all of `tokens`. While this is held, no other set of keys has the
    /// same address.
    keys: Weak<Keys>,
    tokens: Vec<(Digest, AccessToken)>,
}

impl Verified {
    /// The claims of the token, if `keys` verified it and it is remembered.
    pub(super) fn find(&self, keys: &Arc<Keys>, digest: &Digest) -> Option<AccessToken> {
        let bucket = self.buckets.get(digest.bucket())?;
        let bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if !bucket.is_of(keys) {
            return None;
        }
        let is_it = |known: &Digest| verify_slices_are_equal(&known.0, &digest.0).is_ok();
        bucket.tokens.iter().find(|(known, _)| is_it(known)).map(|(_, token)| token.clone())
    }

    /// Remembers that `keys` verified a token. If there is no room, the entry that expires first is
    /// dropped.
    pub(super) fn keep(&self, keys: &Arc<Keys>, digest: Digest, token: AccessToken) {
        let Some(bucket) = self.buckets.get(digest.bucket()) else { return };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if !bucket.is_of(keys) {
            *bucket = Bucket { keys: Arc::downgrade(keys), tokens: Vec::new() };
        }
        let is_it = |(known, _): &(Digest, _)| known.0 == digest.0;
        if bucket.tokens.iter().any(is_it) {
            return;
        }
        if bucket.tokens.len() >= MOST_OF_BUCKET {
            let expiries = bucket.tokens.iter().map(|(_, token)| token.claims.expires_at);
            let first = expiries.enumerate().min_by_key(|(_, expires_at)| *expires_at);
            if let Some((place, _)) = first {
                bucket.tokens.swap_remove(place);
            }
        }
        bucket.tokens.push((digest, token));
    }
}

impl Default for Verified {
    fn default() -> Self {
        Self { buckets: std::iter::repeat_with(Mutex::default).take(BUCKETS).collect() }
    }
}

impl Bucket {
    fn is_of(&self, keys: &Arc<Keys>) -> bool {
        std::ptr::eq(self.keys.as_ptr(), Arc::as_ptr(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::config::SigningAlgorithm;
    use crate::domain::{SessionId, UserId};
    use crate::jwt::AccessClaims;
    use crate::random::Random;

    fn keys() -> Arc<Keys> {
        Arc::new(Keys::ephemeral(SigningAlgorithm::EdDsa, &Random::seeded(1)).unwrap())
    }

    fn token(user: u64) -> AccessToken {
        let session = SessionId::new(Timestamp::EPOCH, [7; 10]);
        let (issued_at, expires_at) = (Timestamp::EPOCH, Timestamp::from_unix_seconds(user));
        let claims = AccessClaims { user: UserId(user), session, issued_at, expires_at };
        AccessToken { claims, not_before: None }
    }

    fn users(verified: &Verified) -> Vec<UserId> {
        let tokens_of = |bucket: &Mutex<Bucket>| {
            let bucket = bucket.lock().unwrap();
            bucket.tokens.iter().map(|(_, token)| token.claims.user).collect::<Vec<_>>()
        };
        verified.buckets.iter().flat_map(tokens_of).collect()
    }

    #[test]
    fn a_token_is_found_under_the_keys_that_vouched_for_it_alone() {
        let (verified, keys, others) = (Verified::default(), keys(), keys());
        let digest = Digest::of("a.b.c");
        assert!(verified.find(&keys, &digest).is_none());
        verified.keep(&keys, digest, token(1));
        assert_eq!(verified.find(&keys, &digest).map(|found| found.claims.user), Some(UserId(1)));
        assert!(verified.find(&keys, &Digest::of("a.b.d")).is_none());
        assert!(verified.find(&others, &digest).is_none(), "others have vouched for nothing");
        verified.keep(&others, digest, token(2));
        assert!(verified.find(&keys, &digest).is_none(), "exchanged keys are forgotten");
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered_and_what_expires_first_goes() {
        let (verified, keys) = (Verified::default(), keys());
        // All in one bucket.
        let digest = |number: u8| Digest(std::array::from_fn(|at| if at < 2 { 0 } else { number }));
        for number in 1..=20 {
            verified.keep(&keys, digest(number), token(u64::from(number)));
        }
        let mut users = users(&verified);
        users.sort_unstable();
        assert_eq!(users, (13..=20).map(UserId).collect::<Vec<_>>());
        assert!(verified.find(&keys, &digest(20)).is_some());
        assert!(verified.find(&keys, &digest(12)).is_none());
    }
}
