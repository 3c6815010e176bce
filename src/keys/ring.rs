//! Several keys of one use.

use std::fmt;

/// One or more keys: the first signs, all of them verify.
#[derive(Clone)]
pub(crate) struct Ring<T> {
    signs: T,
    others: Vec<T>,
}

impl<T> Ring<T> {
    /// The keys in this order; `None` if there are none.
    pub(super) fn new(keys: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut keys = keys.into_iter();
        Some(Self { signs: keys.next()?, others: keys.collect() })
    }

    /// The key that signs.
    pub(crate) const fn signs(&self) -> &T {
        &self.signs
    }

    /// All keys, the one that signs first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.signs).chain(&self.others)
    }

    /// Maps every key.
    pub(crate) fn map<U>(&self, mut turn: impl FnMut(&T) -> U) -> Ring<U> {
        Ring { signs: turn(&self.signs), others: self.others.iter().map(turn).collect() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
