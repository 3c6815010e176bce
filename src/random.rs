//! Randomness: the system's, or a seeded stream for tests.

use std::sync::{Mutex, OnceLock, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryRng};
use thiserror::Error;

/// A source of random bytes.
#[derive(Debug)]
pub struct Random {
    source: Source,
}

/// No generator shows its state in `Debug`.
#[derive(Debug)]
enum Source {
    /// The system. Names come from a generator that the system has seeded once.
    System {
        names: Box<OnceLock<Mutex<StdRng>>>,
    },
    Seeded(Box<Mutex<StdRng>>),
}

/// The operating system provides no random bytes.
#[derive(Debug, Error)]
#[error(
    "the operating system provides no random bytes ({0}), which keys are made of; in a bare root \
     directory on an old kernel, provide /dev/random and /dev/urandom"
)]
pub struct NoRandomness(String);

impl Random {
    /// The operating system's generator.
    pub fn system() -> Self {
        Self { source: Source::System { names: Box::default() } }
    }

    /// A repeatable stream, for tests only: the seed determines every byte.
    pub fn seeded(seed: u64) -> Self {
        Self { source: Source::Seeded(Box::new(Mutex::new(StdRng::seed_from_u64(seed)))) }
    }

    /// Asks for a byte and discards it, so that a start can report what is missing instead of
    /// panicking at the first key.
    ///
    /// # Errors
    /// [`NoRandomness`], if [`bytes`](Self::bytes) would panic now.
    pub fn check(&self) -> Result<(), NoRandomness> {
        match &self.source {
            Source::System { .. } => {
                SysRng.try_fill_bytes(&mut [0]).map_err(|error| NoRandomness(error.to_string()))
            }
            Source::Seeded(_) => Ok(()),
        }
    }

    /// `N` fresh random bytes.
    ///
    /// # Panics
    /// If the operating system has none: no key, salt or identifier may be made then. A start calls
    /// [`check`](Self::check) first, and a system that has some keeps having some.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.source {
            #[expect(clippy::expect_used, reason = "nothing is safe without randomness")]
            Source::System { .. } => {
                SysRng.try_fill_bytes(&mut bytes).expect("the operating system's random generator")
            }
            Source::Seeded(generator) => {
                generator.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
            }
        }
        bytes
    }

    /// 16 bytes for identifiers that must be unique but are not secret: a request's id, a token's
    /// `jti`. They cost no system call. Two copies of one running process, such as a virtual
    /// machine that is resumed twice, give the same ones.
    ///
    /// # Panics
    /// Like [`bytes`](Self::bytes), at the first call.
    pub fn name(&self) -> [u8; 16] {
        let Source::System { names } = &self.source else { return self.bytes() };
        let names = names.get_or_init(|| Mutex::new(StdRng::from_seed(self.bytes())));
        let mut name = [0; 16];
        names.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut name);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        assert_eq!(Random::seeded(7).bytes::<16>(), Random::seeded(7).bytes::<16>());
        assert_ne!(Random::seeded(7).bytes::<16>(), Random::seeded(8).bytes::<16>());
        let system = Random::system();
        assert_ne!(system.bytes::<16>(), system.bytes::<16>());
        assert_ne!(system.name(), system.name());
        assert_ne!(system.name(), Random::system().name());
    }

    #[test]
    fn generators_are_there_and_do_not_show_their_state() {
        for random in [Random::system(), Random::seeded(7)] {
            assert!(random.check().is_ok());
            random.name();
            assert!(format!("{random:?}").contains("ChaCha12Rng { ... }"), "{random:?}");
        }
    }
}
