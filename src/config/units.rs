//! Durations and sizes as people write them: "30m", "64KiB".

use std::time::Duration;

/// What may follow the number of a duration, largest first, in milliseconds.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// What may follow the number of a size, largest first, in bytes.
const SIZE_UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// `count` days.
pub(super) const fn days(count: u64) -> Duration {
    Duration::from_hours(24 * count)
}

/// Reads a whole number followed by `ms`, `s`, `m`, `h` or `d`. Zero needs no unit.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATION_UNITS).map(Duration::from_millis)
}

/// The shortest way to write `duration`, which is one of whole milliseconds.
pub(super) fn duration_text(duration: Duration) -> String {
    write(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS, "s")
}

/// Reads a whole number followed by `KiB`, `MiB`, `GiB` or `TiB`, in bytes. Zero needs no unit.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZE_UNITS)
}

/// The shortest way to write a size of so many `bytes`, which are whole KiB.
pub(super) fn size_text(bytes: u64) -> String {
    write(bytes, &SIZE_UNITS, "KiB")
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    if text == "0" {
        return Some(0);
    }
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.checked_mul(*factor)
}

fn write(amount: u64, units: &[(&str, u64)], unit_of_zero: &str) -> String {
    let is_whole = |(_, factor): &&(&str, u64)| amount > 0 && amount.is_multiple_of(*factor);
    match units.iter().find(is_whole) {
        Some((unit, factor)) => format!("{}{unit}", amount / factor),
        None => format!("{amount}{unit_of_zero}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis, shortest) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("250ms", 250, "250ms"),
            ("1000ms", 1_000, "1s"),
            ("90s", 90_000, "90s"),
            ("30m", 1_800_000, "30m"),
            (" 30 m ", 1_800_000, "30m"),
            ("24h", 86_400_000, "1d"),
            ("36h", 129_600_000, "36h"),
            ("90d", 7_776_000_000, "90d"),
        ] {
            let duration = parse_duration(text);
            assert_eq!(duration, Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(duration_text(duration.unwrap()), shortest);
        }
        assert_eq!(days(2), Duration::from_secs(172_800));
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, shortest) in [
            ("0", 0, "0KiB"),
            ("64KiB", 65_536, "64KiB"),
            ("19MiB", 19_922_944, "19MiB"),
            ("1024 KiB", 1_048_576, "1MiB"),
            ("2GiB", 2_147_483_648, "2GiB"),
            ("1TiB", 1_099_511_627_776, "1TiB"),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(size_text(bytes), shortest);
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", " ", "m", "30", "-1s", "+1s", "1.5h", "30 parsecs", "1h30m", "1H", "٣s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(parse_duration("18446744073709551615d"), None);
        assert_eq!(parse_duration("18446744073709551616ms"), None);
        for text in ["", "KiB", "64", "64KB", "64kib", "1.5MiB", "-1KiB", "99999999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
