//! `latchkey keys`: what keys there are, and new ones in place of old ones. The server may run
//! meanwhile; it takes up what changed within a second.

use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::{Config, SigningAlgorithm};
use crate::keys::{self, KeyId, KeyState, KeysError, Schedule};
use crate::random::Random;
use crate::store::DataDirectory;

/// Why it was not done.
#[derive(Debug)]
pub struct KeysCommandError(KeysError);

impl fmt::Display for KeysCommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // What a start would advise could take the directory away from the server.
            KeysError::ForeignOwner { path, owner, us } => write!(
                f,
                "{} belongs to user {owner}, and this is user {us}; run the command as the user \
                 that the server runs as",
                path.display()
            ),
            error => error.fmt(f),
        }
    }
}

impl std::error::Error for KeysCommandError {}

impl From<KeysError> for KeysCommandError {
    fn from(error: KeysError) -> Self {
        Self(error)
    }
}

/// A table of all keys and what each does at `now`.
///
/// # Errors
/// [`KeysCommandError`]
pub fn list(config: &Config, now: Timestamp) -> Result<String, KeysCommandError> {
    let keys = keys::list(&config.storage.keys, Schedule::of(&config.tokens), now)?;
    let mut rows = vec![["KEY", "USE", "ALGORITHM", "STATE"].map(str::to_owned)];
    rows.extend(keys.iter().map(|(id, state)| {
        let kind = id.kind();
        [id.to_string(), kind.purpose().to_owned(), kind.algorithm().to_owned(), described(*state)]
    }));
    Ok(table(&rows))
}

/// Makes a new access key that signs once it has been published for `tokens.key_activation`, and
/// says what happens when.
///
/// # Errors
/// [`KeysCommandError`]; nothing has changed then.
pub fn rotate(config: &Config, now: Timestamp) -> Result<String, KeysCommandError> {
    let schedule = Schedule::of(&config.tokens);
    let rotated = keys::rotate(&config.storage.keys, schedule, now, &Random::system())?;
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

/// Replaces all keys at once, and says what that means. Keys that are lost are made; but only beside
/// a database, or else the command has mistaken the place.
///
/// # Errors
/// [`KeysCommandError`]
pub fn replace_compromised(config: &Config, now: Timestamp) -> Result<String, KeysCommandError> {
    let schedule = Schedule::of(&config.tokens);
    let random = Random::system();
    if !DataDirectory::holds_database(&config.storage.directory) {
        keys::list(&config.storage.keys, schedule, now)?;
    }
    let replaced = keys::replace_compromised(&config.storage.keys, schedule, now, &random)?;
    let line = |verb: &'static str| move |id: &KeyId| format!("{verb} {id}");
    let mut lines: Vec<String> = replaced.made.iter().map(line("made")).collect();
    lines.extend(replaced.forgotten.iter().map(line("forgot")));
    if let Some(error) = replaced.leftover {
        lines.push(format!(
            "the old keys are out of use, but not all their files are gone: {error}"
        ));
    }
    lines.push(
        "every session has ended and every mailed link is void; a running server refuses the old \
         ones within a second"
            .to_owned(),
    );
    let cached = schedule.max_age();
    if schedule.algorithm == SigningAlgorithm::Hs256 {
        lines.push("services that check access tokens need the new secret".to_owned());
    } else if cached > Duration::ZERO {
        lines.push(format!(
            "services that check access tokens by themselves may hold the old keys for {} more \
             seconds; one that reads .pub.pem files needs the new one",
            cached.as_secs()
        ));
    }
    lines.push("do not put the old keys back from a backup: they would count again".to_owned());
    Ok(joined(&lines))
}

/// What a server does with a new key.
const fn taking(algorithm: SigningAlgorithm) -> &'static str {
    match algorithm {
        SigningAlgorithm::EdDsa | SigningAlgorithm::Es256 => "publishes",
        SigningAlgorithm::Hs256 => "takes up",
    }
}

fn described(state: KeyState) -> String {
    match state {
        KeyState::Signing => "signing".to_owned(),
        KeyState::Published { signs_from } => {
            format!("published, signs from {}", moment(signs_from))
        }
        KeyState::Verifying { until: Some(until) } => format!("verifying until {}", moment(until)),
        KeyState::Verifying { until: None } => "verifying".to_owned(),
        KeyState::Dead => "dead, its file goes while the server runs".to_owned(),
    }
}

/// To the second, which is all that keys know.
fn moment(timestamp: Timestamp) -> String {
    let text = timestamp.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

fn table(rows: &[[String; 4]]) -> String {
    let mut widths = [0; 4];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let line = |row: &[String; 4]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    joined(&rows.iter().map(line).collect::<Vec<_>>())
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::keys::Keys;

    const START: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);

    /// A configuration whose data is in `root`, and its keys.
    fn install(root: &tempfile::TempDir, algorithm: &str) -> Config {
        let file = root.path().join("config.toml");
        let toml = format!(
            "storage.directory = '{}'\ntokens.algorithm = '{algorithm}'\n",
            root.path().join("data").display()
        );
        std::fs::write(&file, toml).unwrap();
        let config = Config::load(Some(&file), &[]).unwrap().config;
        let algorithm = config.tokens.algorithm;
        Keys::load_or_create(&config.storage.keys, algorithm, START, &Random::seeded(1)).unwrap();
        config
    }

    /// The text with the random part of each key's name left out.
    fn without_tags(text: &str) -> String {
        let mut shown = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("-17334") {
            let (head, tail) = rest.split_at(at + "-1733479200".len());
            shown.push_str(head);
            rest = &tail["-0a1b2c3d".len()..];
        }
        shown + rest
    }

    #[test]
    fn the_list_shows_what_each_key_does() {
        let root = tempfile::tempdir().unwrap();
        let config = install(&root, "EdDSA");
        rotate(&config, START).unwrap();
        let later = START.saturating_add(Duration::from_secs(3_700));
        rotate(&config, later).unwrap();
        let list = list(&config, later).unwrap();
        assert_eq!(
            without_tags(&list),
            "\
KEY                                USE      ALGORITHM    STATE
access-eddsa-1733479200   access   EdDSA        verifying until 2024-12-06T11:30:00Z
access-eddsa-1733482800   access   EdDSA        signing
access-eddsa-1733486500   access   EdDSA        published, signs from 2024-12-06T12:01:40Z
refresh-hs256-1733479200  refresh  HS256        signing
ticket-hmac-1733479200    ticket   HMAC-SHA256  signing
"
        );
    }

    #[test]
    fn a_rotation_says_what_happens_when() {
        let root = tempfile::tempdir().unwrap();
        let config = install(&root, "EdDSA");
        assert_eq!(
            without_tags(&rotate(&config, START).unwrap()),
            "made access-eddsa-1733482800\n\
             it signs access tokens from 2024-12-06T11:00:00Z on\n\
             access-eddsa-1733479200 signs until then and verifies until 2024-12-06T11:30:00Z\n\
             a running server publishes it within a second\n"
        );
        let root = tempfile::tempdir().unwrap();
        let config = install(&root, "HS256");
        let said = rotate(&config, START).unwrap();
        let file = config.storage.keys.join("access-hs256-1733482800-").display().to_string();
        assert!(said.contains("the new secret by then: ") && said.contains(&file), "{said}");
        assert!(!said.contains("publishes"), "{said}");
    }

    #[test]
    fn a_replacement_says_what_it_did_and_what_remains_to_be_done() {
        let root = tempfile::tempdir().unwrap();
        let config = install(&root, "EdDSA");
        let said = without_tags(&replace_compromised(&config, START).unwrap());
        for line in [
            "made access-eddsa-1733479200",
            "made refresh-hs256-1733479200",
            "made ticket-hmac-1733479200",
            "forgot access-eddsa-1733479200",
            "forgot refresh-hs256-1733479200",
            "forgot ticket-hmac-1733479200",
            "every session has ended and every mailed link is void; a running server refuses the \
             old ones within a second",
        ] {
            assert!(said.lines().any(|said| said == line), "{line}: {said}");
        }
        assert!(said.contains("may hold the old keys for 1800 more seconds"), "{said}");
    }

    #[test]
    fn whoever_is_not_the_owner_is_told_to_run_it_as_the_owner() {
        let error = KeysError::ForeignOwner { path: "data/keys".into(), owner: 1_000, us: 0 };
        let message = KeysCommandError(error).to_string();
        assert!(message.starts_with("data/keys belongs to user 1000, and this is user 0; run the"));
        assert!(!message.contains("chown"));
    }
}
