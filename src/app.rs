//! The application: what every use case needs, made once.

use crate::clock::{Clock, ClockBehind, ClockGuard, Moment};
use crate::config::{Config, PublicUrl};
use crate::hasher::Hasher;
use crate::jwt::Tokens;
use crate::keys::LiveKeys;
use crate::random::Random;
use crate::store::Store;
use crate::throttle::Throttle;

/// Everything a use case reaches for. One is made at start and shared by all requests.
#[derive(Debug)]
pub struct App {
    /// What the operator said.
    pub config: Config,
    /// The base of mailed links.
    pub public_url: PublicUrl,
    /// Where the time comes from; read once per request, by [`moment`](Self::moment).
    pub clock: Clock,
    /// Judges the time before anything is decided by it.
    pub guard: ClockGuard,
    /// Where identifiers and salts come from.
    pub random: Random,
    /// Where everything is kept.
    pub store: Store,
    /// Hashes passwords on threads of its own.
    pub hasher: Hasher,
    /// Makes and checks access and refresh tokens.
    pub tokens: Tokens,
    /// The keys in use, which [`tokens`](Self::tokens) shares; flows need the one behind mailed
    /// links.
    pub keys: LiveKeys,
    /// Counts attempts.
    pub throttle: Throttle,
}

impl App {
    /// The time of this request.
    ///
    /// # Errors
    /// [`ClockBehind`], while the wall clock lies too far behind what was committed.
    pub fn moment(&self) -> Result<Moment, ClockBehind> {
        self.guard.check(self.clock.read(), self.store.last_commit())
    }
}
