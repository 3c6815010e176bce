//! The current keys of a running server.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Keys, TicketKey};

/// The keys in use, which can be replaced while requests are served. Clones share the same keys.
///
/// Code that needs several of them calls [`current`](Self::current) once: all keys are replaced in
/// one step.
#[derive(Clone)]
pub struct LiveKeys {
    /// Held only while a pointer is copied, never while keys are used.
    current: Arc<RwLock<Arc<Keys>>>,
}

impl LiveKeys {
    /// Starts with `keys`.
    pub fn new(keys: Keys) -> Self {
        Self { current: Arc::new(RwLock::new(Arc::new(keys))) }
    }

    /// All current keys.
    pub fn current(&self) -> Arc<Keys> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keys that make and check the tokens of mailed links.
    pub fn ticket(&self) -> Arc<TicketKey> {
        Arc::clone(self.current().ticket())
    }

    /// Replaces all keys by `keys`.
    pub(crate) fn replace(&self, keys: Keys) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

impl From<Keys> for LiveKeys {
    fn from(keys: Keys) -> Self {
        Self::new(keys)
    }
}

/// Shows only names.
impl fmt::Debug for LiveKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current().fmt(f)
    }
}
