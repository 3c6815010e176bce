//! The length limit, and the lines that the log writes about itself.

use serde_json::Value;
use tracing::Level;

use crate::clock::Timestamp;
use crate::config::LogFormat;

/// The longest line, in bytes with its line end. Everything that is logged has far lower limits of
/// its own; this one guards against mistakes.
pub(super) const MAX_LINE: usize = 8 * 1024;

/// The end of a text line that was cut.
const CUT: &str = "… (cut)\n";

/// How many bytes are kept of a JSON line that is too long. They become a string in a new line,
/// where each may take two.
const MAX_BEGINNING: usize = MAX_LINE / 2 - 256;

/// What is logged instead of a line over [`MAX_LINE`]. In JSON it is a valid object again.
pub(super) fn cut(format: LogFormat, now: Timestamp, level: Level, line: &str) -> String {
    match format {
        LogFormat::Text => format!("{}{CUT}", beginning(line, MAX_LINE - CUT.len())),
        LogFormat::Json => {
            let beginning = beginning(line, MAX_BEGINNING).into();
            json(now, level, "a log line was too long", "beginning", &beginning)
        }
    }
}

/// Reports that `lines` lines were dropped.
pub(super) fn dropped(format: LogFormat, now: Timestamp, lines: usize) -> String {
    const MESSAGE: &str = "log lines were dropped: stderr was too slow or closed";
    match format {
        LogFormat::Text => format!("{now}  WARN {MESSAGE} lines={lines}\n"),
        LogFormat::Json => json(now, Level::WARN, MESSAGE, "lines", &lines.into()),
    }
}

/// A JSON line with one field besides those that every line has.
fn json(now: Timestamp, level: Level, message: &str, name: &str, value: &Value) -> String {
    format!(
        "{{\"timestamp\":\"{now}\",\"level\":\"{level}\",\"message\":\"{message}\",\"{name}\":{value}}}\n"
    )
}

/// The first `most` bytes, or a few less at a character boundary.
fn beginning(line: &str, most: usize) -> &str {
    line.get(..line.floor_char_boundary(most)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_line(format: LogFormat, line: &str) -> String {
        cut(format, Timestamp::EPOCH, Level::WARN, line)
    }

    #[test]
    fn a_text_line_is_cut_visibly() {
        for filling in ["x", "é", "😀"] {
            let line = format!("a{}\n", filling.repeat(MAX_LINE));
            let cut = cut_line(LogFormat::Text, &line);
            assert!((MAX_LINE - 4..=MAX_LINE).contains(&cut.len()), "{}", cut.len());
            assert!(line.starts_with(cut.strip_suffix(CUT).unwrap()));
        }
    }

    #[test]
    fn a_json_line_becomes_the_field_of_another() {
        for filling in ["x", "\"", "\\", "é"] {
            let line = format!("{{{}\n", filling.repeat(MAX_LINE));
            let cut = cut_line(LogFormat::Json, &line);
            assert!(cut.len() <= MAX_LINE && cut.ends_with("}\n"), "{}", cut.len());
            let object: Value = serde_json::from_str(&cut).unwrap();
            assert_eq!(object["level"], "WARN");
            assert_eq!(object["timestamp"], "1970-01-01T00:00:00.000000Z");
            let beginning = object["beginning"].as_str().unwrap();
            assert!(beginning.len() > 3_000 && line.starts_with(beginning));
        }
    }
}
