//! `latchkey keys rotate`: a new key for access tokens. The server may be running; it publishes the
//! key within a second.

use super::text::{joined, moment};
use crate::clock::Timestamp;
use crate::config::{DataConfig, SigningAlgorithm};
use crate::keys::{self, AccessSigning, KeysError, Schedule};
use crate::random::Random;

/// Makes a new access key that signs once it has been published for `tokens.key_activation`, and
/// says what happens when.
///
/// # Errors
/// [`KeysError`]; nothing has changed then.
pub fn rotate_keys(
    config: &DataConfig,
    now: Timestamp,
    random: &Random,
) -> Result<String, KeysError> {
    let signing = AccessSigning::of(&config.tokens, &config.storage.keys)?;
    let schedule = Schedule::of(&config.tokens, &signing);
    let rotated = keys::rotate(&config.storage.keys, schedule, now, random)?;
    let new = rotated.new;
    let mut lines = vec![format!("made {new}")];
    match rotated.signing {
        Some(old) => {
            let until = new.signs_from().saturating_add(schedule.access_lifetime);
            lines.push(format!("it signs access tokens from {} on", moment(new.signs_from())));
            lines.push(format!("{old} signs until then and verifies until {}", moment(until)));
        }
        None => lines.push(format!(
            "it signs access tokens as soon as the server is started with tokens.algorithm = \
             \"{}\"",
            new.kind().algorithm()
        )),
    }
    if schedule.algorithm == SigningAlgorithm::Hs256 {
        lines.push(format!(
            "give services that check access tokens the new secret by then: {}",
            config.storage.keys.join(format!("{new}.secret")).display()
        ));
    }
    lines.push(format!("a running server {} it within a second", taking(schedule.algorithm)));
    Ok(joined(&lines))
}

/// What a server does with a new key.
const fn taking(algorithm: SigningAlgorithm) -> &'static str {
    match algorithm {
        SigningAlgorithm::EdDsa | SigningAlgorithm::Es256 => "publishes",
        SigningAlgorithm::Hs256 => "uses",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::{START, install, without_tags};

    #[test]
    fn a_rotation_says_what_happens_when() {
        let root = tempfile::tempdir().unwrap();
        let config = install(&root, "EdDSA");
        assert_eq!(
            without_tags(&rotate_keys(&config, START, &Random::seeded(2)).unwrap()),
            "made access-eddsa-1733482800\n\
             it signs access tokens from 2024-12-06T11:00:00Z on\n\
             access-eddsa-1733479200 signs until then and verifies until 2024-12-06T11:30:00Z\n\
             a running server publishes it within a second\n"
        );
        let root = tempfile::tempdir().unwrap();
        let config = install(&root, "HS256");
        let said = rotate_keys(&config, START, &Random::seeded(2)).unwrap();
        let file = config.storage.keys.join("access-hs256-1733482800-").display().to_string();
        assert!(said.contains("the new secret by then: ") && said.contains(&file), "{said}");
        assert!(!said.contains("publishes"), "{said}");
    }
}
