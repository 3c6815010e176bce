//! Randomness: the system's, or a seeded stream that a test can repeat.

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryRng};

/// Where random bytes come from.
pub struct Random {
    source: Source,
}

enum Source {
    /// The system; names come from a generator that it has seeded once.
    System {
        names: Box<OnceLock<Mutex<StdRng>>>,
    },
    Seeded(Box<Mutex<StdRng>>),
    /// A system that has none.
    #[cfg(test)]
    Absent,
}

/// The operating system gives no random bytes.
#[derive(Debug)]
pub struct NoRandomness(String);

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the operating system gives no random bytes ({}); without them no key can be made; in \
             a bare root directory on an old kernel, provide /dev/random and /dev/urandom",
            self.0
        )
    }
}

impl std::error::Error for NoRandomness {}

impl Random {
    /// The operating system's generator.
    pub fn system() -> Self {
        Self { source: Source::System { names: Box::default() } }
    }

    /// A repeatable stream, for tests only: whoever knows the seed knows every byte.
    pub fn seeded(seed: u64) -> Self {
        Self { source: Source::Seeded(Box::new(Mutex::new(StdRng::seed_from_u64(seed)))) }
    }

    /// Asks for a byte and throws it away, so that a start can say what is missing rather than
    /// panic at the first key.
    ///
    /// # Errors
    /// [`NoRandomness`], if [`bytes`](Self::bytes) would panic now.
    pub fn check(&self) -> Result<(), NoRandomness> {
        match &self.source {
            Source::System { .. } => {
                SysRng.try_fill_bytes(&mut [0]).map_err(|error| NoRandomness(error.to_string()))
            }
            Source::Seeded(_) => Ok(()),
            #[cfg(test)]
            Source::Absent => Err(NoRandomness("no such file or directory".to_owned())),
        }
    }

    /// `N` fresh random bytes.
    ///
    /// # Panics
    /// If the operating system has none to give: no key, salt or identifier may be made then. A
    /// start asks [`check`](Self::check) first, and a system that has some goes on having some.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.source {
            #[expect(clippy::expect_used, reason = "nothing of ours is safe without randomness")]
            Source::System { .. } => {
                SysRng.try_fill_bytes(&mut bytes).expect("the operating system's random generator")
            }
            Source::Seeded(generator) => {
                generator.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
            }
            #[cfg(test)]
            Source::Absent => {}
        }
        bytes
    }

    /// 16 bytes for what has to be told apart and is no secret: a request's name, a token's `jti`.
    /// Asking the system for them would cost every request a system call. Two copies of one running
    /// process, as of a virtual machine that is resumed twice, would give the same ones.
    ///
    /// # Panics
    /// As [`bytes`](Self::bytes) does, at the first call.
    pub fn name(&self) -> [u8; 16] {
        let Source::System { names } = &self.source else { return self.bytes() };
        let names = names.get_or_init(|| Mutex::new(StdRng::from_seed(self.bytes())));
        let mut name = [0; 16];
        names.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut name);
        name
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::System { .. } => "Random::System",
            Source::Seeded(_) => "Random::Seeded",
            #[cfg(test)]
            Source::Absent => "Random::Absent",
        })
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
    fn a_system_without_randomness_is_found_out_before_it_is_needed() {
        let error = Random { source: Source::Absent }.check().unwrap_err();
        assert!(error.to_string().contains("/dev/urandom"), "{error}");
        for random in [Random::system(), Random::seeded(7)] {
            assert!(random.check().is_ok());
        }
    }
}
