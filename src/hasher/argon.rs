//! Argon2 in a given block of memory (RFC 9106), and PHC strings, which record its parameters.

mod cost;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use self::cost::Cost;
use super::Verdict;
use super::memory::Memory;
use crate::config::PasswordConfig;
use crate::domain::PasswordHash;
use crate::secret::Secret;

/// The algorithm and version of new hashes.
const ALGORITHM: Algorithm = Algorithm::Argon2id;
const VERSION: Version = Version::V0x13;

/// The length of a salt, in bytes.
pub(super) const SALT: usize = 16;

/// The length of a new hash's tag, in bytes.
const TAG: usize = 32;

/// The most memory that a stored hash may ask for, in KiB, unless the configuration asks for more:
/// 256 MiB. A stored hash must not decide how much memory we use.
const MOST_MEMORY_KIB: u64 = 256 * 1024;

/// The most work that a stored hash may ask for, in KiB times passes, unless the configuration asks
/// for more: four passes over the most memory.
const MOST_WORK: u64 = 4 * MOST_MEMORY_KIB;

/// Hashes and verifies on the calling thread.
#[derive(Debug)]
pub(super) struct Argon {
    /// The parameters of new hashes.
    configured: Argon2<'static>,
    /// The cost of every wrong password: that of the configured parameters, or of the costliest
    /// stored hash compared since the start.
    highest: Mutex<Cost>,
    /// The salt of work that is done only to take time.
    decoy_salt: [u8; SALT],
    /// Whether an unreadable hash has been logged; once is enough.
    has_reported: AtomicBool,
}

#[derive(Debug)]
struct Stored {
    /// Its algorithm, version and parameters.
    argon: Argon2<'static>,
    /// Whether these are not the configured ones.
    is_outdated: bool,
    salt: Vec<u8>,
    tag: Vec<u8>,
}

impl Argon {
    /// With the configured parameters, which Argon2 may not support, and a random salt for work that
    /// is done only to take time.
    pub(super) fn new(
        config: &PasswordConfig,
        decoy_salt: [u8; SALT],
    ) -> Result<Self, argon2::Error> {
        let params =
            Params::new(config.memory_kib, config.iterations, config.parallelism, Some(TAG))?;
        Ok(Self {
            highest: Mutex::new(Cost::of(&params)),
            configured: Argon2::new(ALGORITHM, VERSION, params),
            decoy_salt,
            has_reported: AtomicBool::new(false),
        })
    }

    /// Computes a hash; `None` if there is not enough memory.
    pub(super) fn hash(
        &self,
        password: &Secret<String>,
        salt: &[u8; SALT],
        memory: &mut Memory,
    ) -> Option<PasswordHash> {
        use argon2::password_hash::phc;

        let tag = tag(password, &self.configured, salt, memory)?;
        let phc = phc::PasswordHash {
            algorithm: ALGORITHM.ident(),
            version: Some(VERSION.into()),
            params: phc::ParamsString::try_from(self.configured.params()).ok()?,
            salt: Some(phc::Salt::new(salt).ok()?),
            hash: Some(phc::Output::new(&tag).ok()?),
        };
        Some(PasswordHash::new(phc.to_string()))
    }

    /// Compares the forms of one password with a hash, one after the other; `None` if there is not
    /// enough memory. Without a hash, or with one that cannot be read, nothing matches.
    ///
    /// Every mismatch costs the same for each form, so that the time reveals neither whether there
    /// was a hash nor how old it is.
    pub(super) fn verify(
        &self,
        forms: &[Secret<String>],
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
        let verdict = self.compare(forms, readable.as_ref(), memory);
        memory.keep_at_most(self.configured.params().block_count());
        verdict
    }

    fn compare(
        &self,
        forms: &[Secret<String>],
        stored: Option<&Stored>,
        memory: &mut Memory,
    ) -> Option<Verdict> {
        let own_cost = stored.map_or(Cost::NONE, |stored| Cost::of(stored.argon.params()));
        let highest = self.highest(own_cost);
        // Allocating takes time too, so every comparison allocates the same amount at once.
        memory.blocks(highest.blocks)?;
        if let Some(stored) = stored {
            for form in forms {
                let tag = tag(form, &stored.argon, &stored.salt, memory)?;
                if verify_slices_are_equal(&tag, &stored.tag).is_ok() {
                    let outdated = stored.is_outdated.then(|| form.clone());
                    return Some(Verdict::Match { outdated });
                }
            }
        }
        if let Some(missing) = highest.lacking(own_cost, self.configured.params().p_cost()) {
            let missing = Argon2::new(ALGORITHM, VERSION, missing);
            for form in forms {
                tag(form, &missing, &self.decoy_salt, memory)?;
            }
        }
        Some(Verdict::Mismatch)
    }

    /// The highest cost since the start, `met` included.
    fn highest(&self, met: Cost) -> Cost {
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        *highest = highest.max(met);
        *highest
    }

    /// Parses a PHC string; `None` if it is damaged, is not Argon2, or asks for more memory or work
    /// than is allowed.
    fn read(&self, stored: &PasswordHash) -> Option<Stored> {
        let phc = argon2::PasswordHash::new(stored.as_str()).ok()?;
        let is_complete = ["m", "t", "p"].iter().all(|name| phc.params.get(*name).is_some());
        if !is_complete {
            return None;
        }
        let (params, configured) = (Params::try_from(&phc).ok()?, self.configured.params());
        let memory = |params: &Params| u64::from(params.m_cost());
        let work = |params: &Params| memory(params).saturating_mul(u64::from(params.t_cost()));
        let is_within_bounds = memory(&params) <= MOST_MEMORY_KIB.max(memory(configured))
            && work(&params) <= MOST_WORK.max(work(configured));
        if !is_within_bounds {
            return None;
        }
        let algorithm = Algorithm::new(phc.algorithm).ok()?;
        // Before version 19 the string did not name its version, which was 16.
        let version = phc.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
        Some(Stored {
            is_outdated: (algorithm, version) != (ALGORITHM, VERSION) || params != *configured,
            argon: Argon2::new(algorithm, version, params),
            salt: phc.salt?.to_vec(),
            tag: phc.hash?.as_bytes().to_vec(),
        })
    }
}

/// Argon2's tag, of the length given by the parameters.
fn tag(
    password: &Secret<String>,
    argon: &Argon2<'_>,
    salt: &[u8],
    memory: &mut Memory,
) -> Option<Zeroizing<Vec<u8>>> {
    let blocks = memory.blocks(argon.params().block_count())?;
    let mut tag = Zeroizing::new(vec![0; argon.params().output_len().unwrap_or(TAG)]);
    argon
        .hash_password_into_with_memory(password.expose().as_bytes(), salt, &mut tag, blocks)
        .ok()?;
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hasher::tests::config;

    fn argon(memory_kib: u32, iterations: u32) -> Argon {
        Argon::new(&config(memory_kib, iterations), [1; SALT]).unwrap()
    }

    fn secret(password: &str) -> Secret<String> {
        Secret::new(password.to_owned())
    }

    /// Compares the forms of a password with a hash.
    fn verify(argon: &Argon, forms: &[&str], stored: Option<&str>, memory: &mut Memory) -> Verdict {
        let forms: Vec<_> = forms.iter().map(|form| secret(form)).collect();
        let stored = stored.map(|stored| PasswordHash::new(stored.to_owned()));
        argon.verify(&forms, stored.as_ref(), memory).unwrap()
    }

    /// The result of a comparison: `None`, or whether the hash is outdated.
    fn outdated(verdict: Verdict) -> Option<bool> {
        match verdict {
            Verdict::Match { outdated } => Some(outdated.is_some()),
            Verdict::Mismatch => None,
        }
    }

    fn verdict(argon: &Argon, password: &str, stored: &str) -> Option<bool> {
        outdated(verify(argon, &[password], Some(stored), &mut Memory::default()))
    }

    const CURRENT: Option<bool> = Some(false);
    const OUTDATED: Option<bool> = Some(true);
    const MISMATCH: Option<bool> = None;

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
        assert_eq!(verdict(&argon, "pass word ", hash.as_str()), MISMATCH);
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
            assert_eq!(verdict(&argon, "Password", stored), MISMATCH);
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
            assert_eq!(verdict(&argon, "password", &stored), MISMATCH, "{stored}");
        }
        let reads = |argon: &Argon, hash| argon.read(&PasswordHash::new(hash)).is_some();
        assert!(reads(&argon, with("m=256", "m=262144")));
        let above = with("m=256,t=2", "m=307200,t=5");
        assert!(!reads(&argon, above.clone()));
        assert!(reads(&self::argon(300 * 1024, 5), above), "the configuration asks for it");
    }

    /// The number of blocks that were written to.
    fn filled(memory: &mut Memory) -> usize {
        let blocks = memory.blocks(memory.len()).unwrap();
        let is_filled = |block: &&argon2::Block| {
            let words: &[u64] = (*block).as_ref();
            words.iter().any(|word| *word != 0)
        };
        blocks.iter().filter(is_filled).count()
    }

    /// Cheaper hashes, made before the configured parameters were raised, used to reveal known
    /// addresses.
    #[test]
    fn a_wrong_password_makes_up_for_a_cheap_hash_and_a_right_one_does_not() {
        let argon = argon(1024, 3);
        // 1024 KiB in 3 passes, less 256 KiB in 2, is 853 KiB in 3, of which Argon2 uses 852.
        for (stored, password, expected, written) in [
            (Some(REFERENCE), "password", OUTDATED, 256),
            (Some(REFERENCE), "Password", MISMATCH, 852),
            (None, "password", MISMATCH, 1024),
        ] {
            let mut memory = Memory::default();
            let verdict = verify(&argon, &[password], stored, &mut memory);
            assert_eq!(outdated(verdict), expected);
            assert_eq!(memory.len(), 1024, "whatever it is held against");
            assert_eq!(filled(&mut memory), written, "{password}");
        }
    }

    /// Costlier hashes, made before the configured parameters were lowered, used to reveal known
    /// addresses.
    #[test]
    fn once_a_costlier_hash_was_met_and_not_refused_unknown_addresses_cost_as_much() {
        let highest = Cost { blocks: 1024, work: 2048 };
        for (password, memory, expected) in [
            ("password", "m=1024", highest),
            ("Password", "m=1024", highest),
            ("password", "m=262145", Cost { blocks: 256, work: 256 }),
        ] {
            let argon = argon(256, 1);
            verdict(&argon, password, &REFERENCE.replace("m=256", memory));
            assert_eq!(argon.highest(Cost::NONE), expected, "{password} {memory}");
        }
    }

    #[test]
    fn a_password_matches_in_any_of_its_forms_and_is_hashed_anew_in_that_one() {
        let argon = argon(512, 2);
        for (forms, expected) in [
            (&["password", "x"][..], Some("password")),
            (&["x", "password"], Some("password")),
            (&["x", "y", "password"], Some("password")),
            (&["x", "y", "z"], None),
        ] {
            let found = match verify(&argon, forms, Some(REFERENCE), &mut Memory::default()) {
                Verdict::Match { outdated } => outdated,
                Verdict::Mismatch => None,
            };
            assert_eq!(found.as_ref().map(|form| form.expose().as_str()), expected);
        }
    }

    /// A match in the first form must not be told from a mismatch by anyone but its owner: what a
    /// mismatch costs follows from the number of forms alone.
    #[test]
    fn a_mismatch_costs_the_same_for_each_form_with_and_without_a_hash() {
        for count in 1..=3 {
            let forms = &["a", "b", "c"][..count];
            let costs = [None, Some(REFERENCE), Some("!")].map(|stored| {
                let mut memory = Memory::default();
                let verdict = verify(&argon(1024, 2), forms, stored, &mut memory);
                assert!(matches!(verdict, Verdict::Mismatch));
                memory.asked
            });
            // At first all of it at once, then one block after the other for each hash: 256 KiB in
            // 2 passes and the 768 KiB in 2 that these lack are as much as 1024 KiB in 2.
            assert_eq!(costs, [1024 * (1 + count); 3]);
        }
    }

    #[test]
    fn a_costly_stored_hash_does_not_set_the_size_of_the_kept_memory() {
        let mut memory = Memory::default();
        let costly = REFERENCE.replace("m=256", "m=1024");
        verify(&argon(256, 1), &["password"], Some(&costly), &mut memory);
        assert_eq!(memory.len(), 0);
    }
}
