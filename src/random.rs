//! Randomness: the system's, or a seeded stream that a test can repeat.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryRng};

/// Where random bytes come from.
pub struct Random {
    source: Source,
}

enum Source {
    System,
    Seeded(Box<Mutex<StdRng>>),
}

impl Random {
    /// The operating system's generator.
    pub fn system() -> Self {
        Self { source: Source::System }
    }

    /// A repeatable stream, for tests only: whoever knows the seed knows every byte.
    pub fn seeded(seed: u64) -> Self {
        Self { source: Source::Seeded(Box::new(Mutex::new(StdRng::seed_from_u64(seed)))) }
    }

    /// `N` fresh random bytes.
    ///
    /// # Panics
    /// If the operating system has none to give: no key, salt or identifier may be made then.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.source {
            #[expect(clippy::expect_used, reason = "nothing of ours is safe without randomness")]
            Source::System => {
                SysRng.try_fill_bytes(&mut bytes).expect("the operating system's random generator")
            }
            Source::Seeded(generator) => {
                generator.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
            }
        }
        bytes
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::System => "Random::System",
            Source::Seeded(_) => "Random::Seeded",
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
    }
}
