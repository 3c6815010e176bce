//! `latchkey keys rotate --compromised`: new keys in place of all. The server may be running; it
//! refuses the old ones within a second.

use std::time::Duration;

use super::text::joined;
use crate::clock::Timestamp;
use crate::config::{DataConfig, SigningAlgorithm};
use crate::keys::{self, AccessSigning, KeyId, KeysError, Schedule};
use crate::random::Random;
use crate::store::DataDirectory;

/// Replaces all keys at once, and says what that means. Where there are none, new ones are made only
/// beside a database; otherwise the directory is most likely the wrong one.
pub fn replace_keys(
    config: &DataConfig,
    now: Timestamp,
    random: &Random,
) -> Result<String, KeysError> {
    let signing = AccessSigning::of(&config.tokens, &config.storage.keys)?;
    let schedule = Schedule::of(&config.tokens, &signing);
    if !DataDirectory::holds_database(&config.storage.directory) {
        keys::list(&config.storage.keys, schedule, now)?;
    }
    let replaced = keys::replace_compromised(&config.storage.keys, schedule, now, random)?;
    let line = |verb: &'static str| move |id: &KeyId| format!("{verb} {id}");
    let mut lines: Vec<String> = replaced.made.iter().map(line("made")).collect();
    lines.extend(replaced.forgotten.iter().map(line("revoked")));
    if let Some(error) = replaced.leftover {
        lines.push(format!(
            "the old keys are revoked, but some of their files could not be removed: {error}"
        ));
    }
    let ended = if schedule.is_shared { "refresh token is void" } else { "session has ended" };
    lines.push(format!(
        "every {ended} and every mailed link is void; a running server refuses the old keys within \
         a second"
    ));
    let cached = schedule.max_age();
    if schedule.is_shared {
        lines.push(
            "access tokens are still valid, since tokens.shared_secret still signs them: change it \
             here, restart the server, and change it at the services that share it"
                .to_owned(),
        );
    } else if schedule.algorithm == SigningAlgorithm::Hs256 {
        lines.push("services that check access tokens need the new secret".to_owned());
    } else if cached > Duration::ZERO {
        lines.push(format!(
            "services that check access tokens by themselves may trust the old keys for {} more \
             seconds; a service that reads .pub.pem files needs the new one",
            cached.as_secs()
        ));
    }
    lines.push("do not restore the old keys from a backup: they would be valid again".to_owned());
    Ok(joined(&lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::{START, install, without_tags};

    #[test]
    fn a_replacement_says_what_it_did_and_what_remains_to_be_done() {
        let root = tempfile::tempdir().unwrap();
        let config = install(&root, "EdDSA");
        let said = without_tags(&replace_keys(&config, START, &Random::seeded(2)).unwrap());
        for line in [
            "made access-eddsa-1733479200",
            "made refresh-hs256-1733479200",
            "made ticket-hmac-1733479200",
            "revoked access-eddsa-1733479200",
            "revoked refresh-hs256-1733479200",
            "revoked ticket-hmac-1733479200",
            "every session has ended and every mailed link is void; a running server refuses the \
         old keys within a second",
        ] {
            assert!(said.lines().any(|said| said == line), "{line}: {said}");
        }
        assert!(said.contains("may trust the old keys for 1800 more seconds"), "{said}");
    }

    #[test]
    fn access_tokens_of_a_shared_secret_outlive_a_replacement() {
        let root = tempfile::tempdir().unwrap();
        let mut config = install(&root, "HS256");
        config.tokens.shared_secret = Some("0123456789abcdef0123456789abcdef".to_owned().into());
        let said = replace_keys(&config, START, &Random::seeded(2)).unwrap();
        assert!(!said.contains("every session has ended"), "{said}");
        assert!(said.contains("access tokens are still valid"), "{said}");
    }
}
