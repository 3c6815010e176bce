//! Argon2 over a given block of memory, and the PHC strings that say how (RFC 9106; the PHC
//! string format).

use std::sync::atomic::{AtomicBool, Ordering};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use super::Verdict;
use super::memory::Memory;
use crate::config::PasswordConfig;
use crate::domain::PasswordHash;
use crate::secret::Secret;

/// The length of a salt, in bytes.
pub(super) const SALT: usize = 16;

/// The length of a new hash's tag, in bytes.
const TAG: usize = 32;

/// The most memory that a stored hash may ask for, in KiB, unless the configuration asks for
/// more: 256 MiB. A hash that came from elsewhere must not choose how much we use.
const MOST_MEMORY_KIB: u64 = 256 * 1024;

/// The most work that a stored hash may ask for, in KiB times passes, unless the configuration
/// asks for more: as much as four passes over the most memory.
const MOST_WORK: u64 = 4 * MOST_MEMORY_KIB;

/// Hashes and verifies, on whichever thread calls it.
#[derive(Debug)]
pub(super) struct Argon {
    /// What new hashes are made with.
    configured: Params,
    /// What passwords are held against where there is no hash: it costs the same.
    decoy: Stored,
    /// Whether an unreadable hash has been reported; one line tells the operator as much as a
    /// line for each attempt.
    has_reported: AtomicBool,
}

/// A stored hash, taken apart.
#[derive(Debug)]
struct Stored {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    tag: Vec<u8>,
}

impl Argon {
    /// With the configured parameters, and a random salt and tag that stand in for missing ones.
    ///
    /// # Errors
    /// If Argon2 does not know such parameters, as less than 8 KiB a lane.
    pub(super) fn new(
        config: &PasswordConfig,
        decoy_salt: [u8; SALT],
        decoy_tag: [u8; TAG],
    ) -> Result<Self, argon2::Error> {
        let configured =
            Params::new(config.memory_kib, config.iterations, config.parallelism, Some(TAG))?;
        let decoy = Stored {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            params: configured.clone(),
            salt: decoy_salt.to_vec(),
            tag: decoy_tag.to_vec(),
        };
        Ok(Self { configured, decoy, has_reported: AtomicBool::new(false) })
    }

    /// Makes a hash; none if the memory for it is not to be had.
    pub(super) fn hash(
        &self,
        password: &Secret<String>,
        salt: &[u8; SALT],
        memory: &mut Memory,
    ) -> Option<PasswordHash> {
        use argon2::password_hash::phc;

        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let tag = tag(password, (algorithm, version, &self.configured), salt, memory)?;
        let phc = phc::PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: phc::ParamsString::try_from(&self.configured).ok()?,
            salt: Some(phc::Salt::new(salt).ok()?),
            hash: Some(phc::Output::new(&tag).ok()?),
        };
        Some(PasswordHash::new(phc.to_string()))
    }

    /// Compares a password with a hash; none if the memory for it is not to be had. Without a
    /// hash, or with one that cannot be read, the same work is done and nothing matches.
    pub(super) fn verify(
        &self,
        password: &Secret<String>,
        stored: Option<&PasswordHash>,
        memory: &mut Memory,
    ) -> Option<Verdict> {
        let readable = stored.and_then(|stored| self.read(stored));
        if stored.is_some()
            && readable.is_none()
            && !self.has_reported.swap(true, Ordering::Relaxed)
        {
            tracing::error!("a stored password hash cannot be read: no password matches it");
        }
        let against = readable.as_ref().unwrap_or(&self.decoy);
        let how = (against.algorithm, against.version, &against.params);
        let tag = tag(password, how, &against.salt, memory);
        memory.keep_at_most(self.configured.block_count());
        let is_equal = verify_slices_are_equal(&tag?, &against.tag).is_ok();
        let is_match = is_equal && readable.is_some();
        Some(if is_match {
            Verdict::Match { is_outdated: self.is_outdated(against) }
        } else {
            Verdict::Mismatch
        })
    }

    fn is_outdated(&self, stored: &Stored) -> bool {
        stored.algorithm != Algorithm::Argon2id
            || stored.version != Version::V0x13
            || stored.params != self.configured
    }

    /// Takes a PHC string apart; none if it is damaged, of no Argon2, or asks for more memory or
    /// work than is allowed.
    fn read(&self, stored: &PasswordHash) -> Option<Stored> {
        let phc = argon2::PasswordHash::new(stored.as_str()).ok()?;
        let is_complete = ["m", "t", "p"].iter().all(|name| phc.params.get(*name).is_some());
        if !is_complete {
            return None;
        }
        let params = Params::try_from(&phc).ok()?;
        let memory = |params: &Params| u64::from(params.m_cost());
        let work = |params: &Params| memory(params).saturating_mul(u64::from(params.t_cost()));
        let is_within_bounds = memory(&params) <= MOST_MEMORY_KIB.max(memory(&self.configured))
            && work(&params) <= MOST_WORK.max(work(&self.configured));
        if !is_within_bounds {
            return None;
        }
        // Before version 19 the string did not name its version, which was 16.
        let version = phc.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
        Some(Stored {
            algorithm: Algorithm::new(phc.algorithm).ok()?,
            version,
            params,
            salt: phc.salt?.to_vec(),
            tag: phc.hash?.as_bytes().to_vec(),
        })
    }
}

/// Argon2's tag, as long as the parameters say.
fn tag(
    password: &Secret<String>,
    (algorithm, version, params): (Algorithm, Version, &Params),
    salt: &[u8],
    memory: &mut Memory,
) -> Option<Zeroizing<Vec<u8>>> {
    let blocks = memory.blocks(params.block_count())?;
    let mut tag = Zeroizing::new(vec![0; params.output_len().unwrap_or(TAG)]);
    Argon2::new(algorithm, version, params.clone())
        .hash_password_into_with_memory(password.expose().as_bytes(), salt, &mut tag, blocks)
        .ok()?;
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PasswordPolicy;

    fn argon(memory_kib: u32, iterations: u32) -> Argon {
        let config = PasswordConfig {
            policy: PasswordPolicy { min_length: 8 },
            memory_kib,
            iterations,
            parallelism: 1,
            threads: None,
            max_wait: std::time::Duration::from_secs(1),
        };
        Argon::new(&config, [1; SALT], [2; TAG]).unwrap()
    }

    fn secret(password: &str) -> Secret<String> {
        Secret::new(password.to_owned())
    }

    fn verdict(argon: &Argon, password: &str, stored: &str) -> Verdict {
        let stored = PasswordHash::new(stored.to_owned());
        argon.verify(&secret(password), Some(&stored), &mut Memory::default()).unwrap()
    }

    const CURRENT: Verdict = Verdict::Match { is_outdated: false };
    const OUTDATED: Verdict = Verdict::Match { is_outdated: true };

    /// Of the reference implementation's test program, with "password" and "somesalt".
    const REFERENCE: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    const REFERENCE_16: &str =
        "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY";

    #[test]
    fn a_hash_is_a_phc_string_that_its_password_alone_matches() {
        let argon = argon(256, 1);
        let hash = argon.hash(&secret("pass word"), &[7; SALT], &mut Memory::default()).unwrap();
        let start = "$argon2id$v=19$m=256,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw$";
        assert!(hash.as_str().starts_with(start), "{}", hash.as_str());
        assert_eq!(hash.as_str().len(), start.len() + 43);
        assert_eq!(verdict(&argon, "pass word", hash.as_str()), CURRENT);
        assert_eq!(verdict(&argon, "pass word ", hash.as_str()), Verdict::Mismatch);
    }

    #[test]
    fn hashes_of_other_programs_and_other_parameters_match_and_are_outdated() {
        for (memory, iterations, stored, expected) in [
            (256, 2, REFERENCE, CURRENT),
            (256, 3, REFERENCE, OUTDATED),
            (512, 2, REFERENCE, OUTDATED),
            (256, 2, REFERENCE_16, OUTDATED),
        ] {
            let argon = argon(memory, iterations);
            assert_eq!(verdict(&argon, "password", stored), expected, "{memory} {stored}");
            assert_eq!(verdict(&argon, "Password", stored), Verdict::Mismatch);
        }
    }

    #[test]
    fn what_cannot_be_read_or_asks_too_much_matches_nothing() {
        let argon = argon(256, 2);
        let with = |from: &str, to: &str| REFERENCE.replace(from, to);
        for stored in [
            String::new(),
            "!".to_owned(),
            with("argon2id", "argon2x"),
            with("v=19", "v=18"),
            with("m=256,", ""),
            with("m=256", "m=4"),
            with("m=256", "m=262145"),
            with("m=256", "m=4294967295"),
            with("t=2", "t=4294967295"),
            with("t=2", "t=0"),
            with("p=1", "p=100000"),
            with("$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", ""),
            with("$c29tZXNhbHQ", "$c29t"),
            format!("{REFERENCE}$"),
        ] {
            assert!(argon.read(&PasswordHash::new(stored.clone())).is_none(), "{stored}");
            assert_eq!(verdict(&argon, "password", &stored), Verdict::Mismatch, "{stored}");
        }
        assert!(argon.read(&PasswordHash::new(with("m=256", "m=262144"))).is_some());
    }

    #[test]
    fn a_configuration_above_the_bounds_reads_its_own_hashes() {
        let argon = argon(300 * 1024, 5);
        let own = REFERENCE.replace("m=256,t=2", "m=307200,t=5");
        assert!(argon.read(&PasswordHash::new(own)).is_some());
    }

    #[test]
    fn without_a_hash_the_same_memory_is_filled_and_nothing_matches() {
        let argon = argon(256, 1);
        let mut memory = Memory::default();
        assert_eq!(argon.verify(&secret("x"), None, &mut memory), Some(Verdict::Mismatch));
        assert_eq!(memory.len(), 256);
        let filled = memory.blocks(256).unwrap().iter().filter(|block| {
            let words: &[u64] = (*block).as_ref();
            words.iter().any(|word| *word != 0)
        });
        assert_eq!(filled.count(), 256);
    }

    #[test]
    fn the_decoy_never_matches_even_where_its_tag_does() {
        let mut argon = argon(256, 1);
        let how = (Algorithm::Argon2id, Version::V0x13, &argon.configured);
        let tag = tag(&secret("x"), how, &argon.decoy.salt, &mut Memory::default()).unwrap();
        argon.decoy.tag = tag.to_vec();
        assert_eq!(
            argon.verify(&secret("x"), None, &mut Memory::default()),
            Some(Verdict::Mismatch)
        );
    }

    #[test]
    fn a_costly_stored_hash_does_not_set_the_size_of_the_kept_memory() {
        let argon = argon(256, 1);
        let mut memory = Memory::default();
        let costly = PasswordHash::new(REFERENCE.replace("m=256", "m=1024"));
        argon.verify(&secret("password"), Some(&costly), &mut memory).unwrap();
        assert_eq!(memory.len(), 0);
    }
}
