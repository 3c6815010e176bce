//! The keys as they are right now: what a running server signs and checks with.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Keys, TicketKey};

/// The keys in use, which can be exchanged while requests are served. Clones are the same keys.
///
/// Whoever needs several of them takes [`current`](Self::current) once: each exchange replaces all
/// keys in one step.
#[derive(Clone)]
pub struct LiveKeys {
    /// Held for the time of copying a pointer, and never while anything is done with keys.
    current: Arc<RwLock<Arc<Keys>>>,
}

impl LiveKeys {
    /// Begins with `keys`.
    pub fn new(keys: Keys) -> Self {
        Self { current: Arc::new(RwLock::new(Arc::new(keys))) }
    }

    /// All keys, as they are at this moment.
    pub fn current(&self) -> Arc<Keys> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What makes and checks the tokens of mailed links.
    pub fn ticket(&self) -> Arc<TicketKey> {
        Arc::clone(self.current().ticket())
    }

    /// Takes `keys` from now on.
    pub(crate) fn replace(&self, keys: Keys) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

impl From<Keys> for LiveKeys {
    fn from(keys: Keys) -> Self {
        Self::new(keys)
    }
}

/// Shows names only.
impl fmt::Debug for LiveKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current().fmt(f)
    }
}
