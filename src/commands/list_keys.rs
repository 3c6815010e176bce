//! `latchkey keys list`: all keys and what each does. The server may be running.

use super::text::moment;
use crate::clock::Timestamp;
use crate::config::DataConfig;
use crate::keys::{self, AccessSigning, KeyId, KeyState, KeysError, Schedule};

/// A table of all keys and what each does at `now`.
pub fn list_keys(config: &DataConfig, now: Timestamp) -> Result<String, KeysError> {
    let signing = AccessSigning::of(&config.tokens, &config.storage.keys)?;
    let keys = keys::list(&config.storage.keys, Schedule::of(&config.tokens, &signing), now)?;
    let mut rows = vec![["KEY", "USE", "ALGORITHM", "STATE"].map(str::to_owned)];
    rows.extend(keys.iter().map(|(id, state)| {
        let kind = id.kind();
        [name(*id), kind.purpose().to_owned(), kind.algorithm().to_owned(), described(*state)]
    }));
    Ok(table(&rows))
}

/// What a key is called: the name of its files, or the setting that it comes from.
fn name(id: KeyId) -> String {
    if id == KeyId::SHARED { "tokens.shared_secret".to_owned() } else { id.to_string() }
}

fn described(state: KeyState) -> String {
    match state {
        KeyState::Signing => "signing".to_owned(),
        KeyState::Published { signs_from } => {
            format!("published, signs from {}", moment(signs_from))
        }
        KeyState::Verifying { until: Some(until) } => format!("verifying until {}", moment(until)),
        KeyState::Verifying { until: None } => "verifying".to_owned(),
        KeyState::Dead => "expired, to be removed by the running server".to_owned(),
    }
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
    rows.iter().map(|row| line(row) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::commands::rotate_keys;
    use crate::commands::tests::{START, install, without_tags};
    use crate::random::Random;

    #[test]
    fn the_list_shows_what_each_key_does() {
        let root = tempfile::tempdir().unwrap();
        let config = install(&root, "EdDSA");
        let random = Random::seeded(2);
        rotate_keys(&config, START, &random).unwrap();
        let later = START.saturating_add(Duration::from_secs(3_700));
        rotate_keys(&config, later, &random).unwrap();
        let list = list_keys(&config, later).unwrap();
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
}
