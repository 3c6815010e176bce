//! The limits of a line, and the lines that the log writes about itself.

use std::borrow::Cow;

use serde::Serialize;
use tracing::Level;

use crate::clock::Timestamp;
use crate::config::LogFormat;

/// The longest line, in bytes, line end included. Everything that is logged has a far lower limit,
/// so this only guards against mistakes.
pub(super) const MAX_LINE: usize = 8 * 1024;

/// The end of a line that was cut.
const CUT: &str = "… (cut)\n";

/// How much is kept of a JSON line that is too long, in bytes. It becomes a string in another line,
/// where each byte may take two.
const MAX_BEGINNING: usize = MAX_LINE / 2 - 256;

/// The line, or its beginning if it is too long. In JSON the result is an object again.
pub(super) fn bounded(
    format: LogFormat,
    level: Level,
    line: &str,
    now: impl FnOnce() -> Timestamp,
) -> Cow<'_, str> {
    if line.len() <= MAX_LINE {
        return Cow::Borrowed(line);
    }
    Cow::Owned(match format {
        LogFormat::Text => format!("{}{CUT}", beginning(line, MAX_LINE - CUT.len())),
        LogFormat::Json => json(&Own {
            beginning: Some(beginning(line, MAX_BEGINNING)),
            ..Own::new(now(), level, "a log line was too long")
        }),
    })
}

/// Reports that `lines` lines were dropped.
pub(super) fn dropped(format: LogFormat, now: Timestamp, lines: u64) -> String {
    const MESSAGE: &str = "log lines were dropped: stderr is too slow, or was away";
    match format {
        LogFormat::Text => format!("{now}  WARN {MESSAGE} lines={lines}\n"),
        LogFormat::Json => json(&Own { lines: Some(lines), ..Own::new(now, Level::WARN, MESSAGE) }),
    }
}

/// A JSON line that does not come from an event, with the fields that every line starts with.
#[derive(Serialize)]
struct Own<'a> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beginning: Option<&'a str>,
}

impl Own<'_> {
    fn new(now: Timestamp, level: Level, message: &'static str) -> Self {
        let timestamp = now.to_string();
        Self { timestamp, level: level.as_str(), message, lines: None, beginning: None }
    }
}

fn json(line: &Own<'_>) -> String {
    // Strings and numbers can always be serialised.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

/// The first `most` bytes, or a few less so that no character is split.
fn beginning(line: &str, most: usize) -> &str {
    line.get(..line.floor_char_boundary(most)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded_text(format: LogFormat, line: &str) -> String {
        bounded(format, Level::WARN, line, || Timestamp::EPOCH).into_owned()
    }

    #[test]
    fn a_line_of_the_limit_stays_as_it_is() {
        let line = format!("{}\n", "x".repeat(MAX_LINE - 1));
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(bounded_text(format, &line), line);
        }
    }

    #[test]
    fn a_longer_line_is_cut_where_it_can_be_seen() {
        for filling in ["x", "é", "😀"] {
            let line = format!("a{}\n", filling.repeat(MAX_LINE));
            let cut = bounded_text(LogFormat::Text, &line);
            assert!((MAX_LINE - 4..=MAX_LINE).contains(&cut.len()), "{}", cut.len());
            assert!(line.starts_with(cut.strip_suffix("… (cut)\n").unwrap()));
        }
    }

    #[test]
    fn a_longer_line_of_json_becomes_an_object_of_its_own() {
        for filling in ["x", "\"", "\\", "é"] {
            let line = format!("{{{}\n", filling.repeat(MAX_LINE));
            let cut = bounded_text(LogFormat::Json, &line);
            assert!(cut.len() <= MAX_LINE && cut.ends_with("}\n"), "{}", cut.len());
            let object: serde_json::Value = serde_json::from_str(&cut).unwrap();
            assert_eq!(object["level"], "WARN");
            assert_eq!(object["timestamp"], "1970-01-01T00:00:00.000000Z");
            let beginning = object["beginning"].as_str().unwrap();
            assert!(beginning.len() > 3_000 && line.starts_with(beginning));
        }
    }
}
