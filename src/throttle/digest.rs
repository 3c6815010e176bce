//! Short keyed digests under which the tables hold emails and addresses.

use aws_lc_rs::hmac;

/// A keyed digest. Without the key nobody can choose values that collide in a table, and a memory
/// dump does not list the addresses that were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest {
    /// Chooses the bucket.
    pub(super) high: u64,
    /// Chooses the bits in the bucket's overflow filter.
    pub(super) low: u64,
}

impl Digest {
    /// The digest of the same values in another epoch; epoch 0 leaves it unchanged.
    pub(super) fn in_epoch(self, epoch: u64) -> Self {
        Self { high: self.high ^ epoch, ..self }
    }
}

#[derive(Debug)]
pub(super) struct Digester(hmac::Key);

impl Digester {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The first half of the HMAC-SHA-256 of the values, each preceded by its length.
    pub(super) fn digest(&self, words: &[&str]) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        for word in words {
            context.update(&(word.len() as u64).to_be_bytes());
            context.update(word.as_bytes());
        }
        let tag = context.sign();
        let mut halves = tag.as_ref().as_chunks::<8>().0.iter().copied().map(u64::from_be_bytes);
        let mut half = || halves.next().unwrap_or_default();
        Digest { high: half(), low: half() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_depend_on_the_key_and_on_where_words_end() {
        let digester = Digester::new([1; 16]);
        let digest = digester.digest(&["ab", "c"]);
        assert_eq!(digester.digest(&["ab", "c"]), digest);
        assert_ne!(digester.digest(&["a", "bc"]), digest);
        assert_ne!(Digester::new([2; 16]).digest(&["ab", "c"]), digest);
        assert_ne!(digest.high, digest.low);
        assert_eq!(digest.in_epoch(0), digest);
        assert_ne!(digest.in_epoch(1), digest.in_epoch(2));
    }
}
