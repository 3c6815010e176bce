//! Failed logins from this machine itself, by account.

use std::collections::HashSet;
use std::sync::Mutex;

use super::digest::Digest;
use super::lock;

/// More accounts than one person at this machine mistypes the password of.
const MANY: usize = 10;

/// The accounts at which logins from loopback failed. Many of them mean a proxy on this machine
/// that does not name its clients, so that all of them count as one address.
#[derive(Debug, Default)]
pub(super) struct LoopbackFailures(Mutex<HashSet<Digest>>);

impl LoopbackFailures {
    /// Counts a failure. Returns true once: when the accounts become many.
    pub(super) fn count(&self, account: Digest) -> bool {
        let mut accounts = lock(&self.0);
        accounts.len() < MANY && accounts.insert(account) && accounts.len() == MANY
    }
}
