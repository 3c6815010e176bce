//! How commands write lines and times.

use crate::clock::Timestamp;

/// A time to the second, which is all that a key's name holds.
pub(super) fn moment(timestamp: Timestamp) -> String {
    let text = timestamp.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

/// One line each.
pub(super) fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
