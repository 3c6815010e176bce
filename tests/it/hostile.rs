//! Bytes from elsewhere, wherever there is no fuzzer: what the fuzz targets check is checked here of
//! their seeds, of seeds that were changed, and of what proptest draws. Inputs that once broke
//! something lie among the seeds. (Records are private to storage: their part is in its module.)

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::properties::edits::edited;
use crate::properties::{config, email, fields, request, router, ticket, token, username};
use crate::support::all_below;

/// Panics if something does not hold of these bytes.
type Check = fn(&[u8]);

/// Each directory of seeds, and what is checked of them.
const CHECKS: [(&str, Check); 8] = [
    ("config", config::check),
    ("email", email::check),
    ("fields", fields::check),
    ("request", request::check),
    ("router", router::check),
    ("ticket", ticket::check),
    ("token", token::check),
    ("username", username::check),
];

/// The seeds of all fuzz targets, by the names of their files, with what is checked of them.
fn seeds() -> &'static [(String, Vec<u8>, Check)] {
    static SEEDS: OnceLock<Vec<(String, Vec<u8>, Check)>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let mut seeds = Vec::new();
        for (target, check) in CHECKS {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
            let files = all_below(&corpus).into_iter().filter(|path| path.is_file());
            let read = |path: PathBuf| std::fs::read(&path).map(|seed| (path, seed)).unwrap();
            let mut found: Vec<_> = files.map(read).collect();
            found.sort();
            assert!(found.len() >= 5, "{target} has lost its seeds");
            let named = |(path, seed): (PathBuf, _)| (path.display().to_string(), seed, check);
            seeds.extend(found.into_iter().map(named));
        }
        seeds
    })
}

#[test]
fn every_seed_holds() {
    for (name, seed, check) in seeds() {
        let held = std::panic::catch_unwind(|| check(seed));
        assert!(held.is_ok(), "{name}");
    }
}

/// A part of an address between two dots, its length where the limits are.
fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9-]{0,4}",
        "[a-z0-9][a-z0-9-]{60,63}[a-z0-9]?",
        "xn--[a-z0-9-]{0,8}",
        "\\PC{1,3}"
    ]
}

/// Something near an address.
fn address() -> impl Strategy<Value = String> {
    let local_part = prop_oneof!["[a-z0-9.!#$%&'*+/=?^_`{|}~-]{0,8}", "[a-z]{60,70}", "\\PC{0,4}"];
    let domain = vec(label(), 1..5).prop_map(|labels| labels.join("."));
    let near = (local_part, "@{0,2}", domain).prop_map(|(local, at, domain)| local + &at + &domain);
    let of_length = |length: usize| format!("{}@{}.example", "l".repeat(64), "d.".repeat(length));
    // Around the 254 characters that an address may have.
    let long =
        (85..95_usize, "[a-z]{0,9}").prop_map(move |(length, more)| more + &of_length(length));
    prop_oneof![4 => near, 1 => long]
}

proptest! {
    #[test]
    fn any_bytes_hold(bytes in vec(any::<u8>(), 0..120), text in "\\PC{0,60}") {
        for (target, check) in CHECKS {
            if target != "router" {
                check(&bytes);
                check(text.as_bytes());
            }
        }
    }

    #[test]
    fn addresses_hold(text in address()) {
        email::check(text.as_bytes());
    }

    #[test]
    fn long_fields_hold(text in prop_oneof!["p{1020,1028}", "é{510,514}", " {0,3}é{148,152}"]) {
        for name in ["password", "email", "username", "token"] {
            fields::check(format!("{{\"{name}\": \"{text}\"}}").as_bytes());
            fields::check(format!("{name}={text}").as_bytes());
        }
    }

    #[test]
    fn names_hold(text in prop_oneof!["[\\w!-@]{0,12}", "\\PC{0,3}", "[\\w@.+-]{148,152}"]) {
        username::check(text.as_bytes());
    }

    #[test]
    fn changed_seeds_hold(which in any::<Index>(), script in vec(any::<u8>(), 0..12)) {
        for (target, _) in CHECKS {
            let is_its = |(name, ..): &&(String, Vec<u8>, Check)| {
                name.contains(&format!("/{target}/"))
            };
            let seeds: Vec<_> = seeds().iter().filter(is_its).collect();
            let (_, seed, check) = which.get(&seeds);
            check(&edited(seed, &script));
        }
    }
}
