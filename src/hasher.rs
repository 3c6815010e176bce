//! Password hashing: Argon2id (RFC 9106) on threads of its own.
//!
//! A hash takes milliseconds of a core and megabytes of memory, so it never runs on the threads
//! that answer requests. Its own threads run at low priority, each with one block of memory that
//! is kept while there is work, and a bounded queue before them decides who waits and who is
//! refused at once: see `queue` for the rule by which addresses share it.
//!
//! Every wrong password costs the same, measured in memory times passes: if there is no stored
//! hash, or one cheaper than the configured parameters (because those were raised), the difference
//! is computed as well. A right password costs what its hash asks for; if the hash is outdated, the
//! login replaces it.
//!
//! After the parameters were lowered, stored hashes may cost more than the configured ones. Each
//! hash that is costlier than any compared before, whether its password was right or wrong, raises
//! the cost of every wrong password until the next start. One gap remains: after each start, the
//! first wrong password for such an account takes longer than one for an unknown address, which
//! reveals to someone who measures it that the account exists. The cost is bounded by the limit on
//! what a stored hash may ask for.

mod argon;
mod memory;
mod pool;
mod queue;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use self::argon::{Argon, SALT};
use self::pool::Pool;
use crate::clock::Clock;
use crate::config::PasswordConfig;
use crate::domain::password::forms::forms;
use crate::domain::{AddressBlock, NewPassword, PasswordHash};
use crate::random::Random;
use crate::secret::Secret;

/// How long an idle thread keeps its memory.
const KEEP_MEMORY: Duration = Duration::from_secs(5);

/// Hashes and verifies passwords. If a future of its methods is dropped while it waits in the
/// queue, no work is done. The threads end with it.
#[derive(Debug)]
pub struct Hasher {
    argon: Arc<Argon>,
    pool: Pool,
}

/// The outcome of comparing a password with a stored hash.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The password is right.
    Match {
        /// The password in the form that matched, if it should be hashed again because its hash has
        /// another algorithm, version or parameters than those configured.
        outdated: Option<Secret<String>>,
    },
    /// The password is wrong, or there is no hash to compare it with.
    Mismatch,
}

/// The hash was not computed or compared because too much work is waiting. Trying again later is
/// safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HasherBusy {
    /// How long to wait before trying again: between a second and a minute.
    pub retry_after: Duration,
}

impl Hasher {
    /// Starts the hashing threads: as many as configured, or one for each core. `clock` measures
    /// how long hashes take.
    ///
    /// # Errors
    /// If Argon2 does not support the configured parameters ([`io::ErrorKind::InvalidInput`]), or
    /// if the system cannot start the threads.
    pub fn start(config: &PasswordConfig, clock: Clock) -> io::Result<Self> {
        let random = Random::system();
        let argon = Argon::new(config, random.bytes())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        let pool = Pool::start(config, KEEP_MEMORY, clock)?;
        Ok(Self { argon: Arc::new(argon), pool })
    }

    /// Hashes `password` with `salt`, which must be random and used once, on behalf of `from`.
    ///
    /// # Errors
    /// [`HasherBusy`] if it would wait too long, or if there is not enough memory.
    pub async fn hash(
        &self,
        password: NewPassword,
        salt: [u8; SALT],
        from: AddressBlock,
    ) -> Result<PasswordHash, HasherBusy> {
        self.rehash(password.into_secret(), salt, from).await
    }

    /// Hashes again, under the configured parameters, a `password` that has just matched its stored
    /// hash; otherwise like [`hash`](Self::hash). Old passwords need not follow the rules for new
    /// ones.
    ///
    /// # Errors
    /// As [`hash`](Self::hash).
    pub async fn rehash(
        &self,
        password: Secret<String>,
        salt: [u8; SALT],
        from: AddressBlock,
    ) -> Result<PasswordHash, HasherBusy> {
        let argon = Arc::clone(&self.argon);
        self.pool.run(from, 1, move |memory| argon.hash(&password, &salt, memory)).await
    }

    /// Compares `password`, in each of its [`forms`], with the `stored` hash, on behalf of `from`.
    /// Without a hash, or with one that cannot be read or that asks for more than 256 MiB, the
    /// verdict is [`Verdict::Mismatch`], for which the same work is done as for a wrong password.
    ///
    /// # Errors
    /// [`HasherBusy`] if it would wait too long, or there is not enough memory.
    pub async fn verify(
        &self,
        password: Secret<String>,
        stored: Option<PasswordHash>,
        from: AddressBlock,
    ) -> Result<Verdict, HasherBusy> {
        let argon = Arc::clone(&self.argon);
        let forms = forms(&password);
        let hashes = forms.len();
        let work = move |memory: &mut _| argon.verify(&forms, stored.as_ref(), memory);
        self.pool.run(from, hashes, work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    pub(super) fn config(memory_kib: u32, iterations: u32) -> PasswordConfig {
        let defaults = Config::load(None, &[]).unwrap().config.passwords;
        PasswordConfig { memory_kib, iterations, ..defaults }
    }

    #[test]
    fn parameters_that_argon2_does_not_know_stop_the_start() {
        let error = Hasher::start(&config(4, 1), Clock::system()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
