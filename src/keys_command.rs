//! `latchkey keys`: what keys there are, and new ones in place of old ones. The server may run
//! meanwhile; it takes up what changed within a second.

use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::{Config, SigningAlgorithm};
use crate::http::well_known;
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
    if new.kind().algorithm() == "HS256" {
        lines.push(format!(
            "give services that check access tokens the new secret by then: {}",
            config.storage.keys.join(format!("{new}.secret")).display()
        ));
    }
    lines.push("a running server publishes it within a second".to_owned());
    Ok(joined(&lines))
}

/// Replaces all access and refresh keys at once, and says what that means. Keys that are lost are
/// made; but only beside a database, or else the command has mistaken the place.
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
        "every session has ended; a running server refuses the old tokens within a second"
            .to_owned(),
    );
    let cached = well_known::max_age(schedule.activation);
    if schedule.algorithm == SigningAlgorithm::Hs256 {
        lines.push("services that check access tokens need the new secret".to_owned());
    } else if cached > Duration::ZERO {
        lines.push(format!(
            "services that check access tokens by themselves may hold the old keys for {} more \
             seconds; one that reads .pub.pem files needs the new one",
            cached.as_secs()
        ));
    }
    lines.push("the backups of the old keys are worth nothing any more; remove them".to_owned());
    Ok(joined(&lines))
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
