//! Time: timestamps, the clocks they come from, and when the wall clock can be trusted.
//!
//! This is the only module that asks the system for the time. Everything else receives a [`Moment`]
//! or a [`Timestamp`], read once per request.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::{datetime, format_description};

mod guard;

pub use guard::{ClockGuard, Trial};

/// How far the wall clock may be behind the last commit time before it counts as wrong.
pub const BEHIND_TOLERANCE: Duration = Duration::from_secs(60);

/// How far the wall clock may run ahead of the monotonic clock before it counts as a jump, and how
/// long the clock must keep running after a jump before it is trusted.
pub const JUMP_TOLERANCE: Duration = Duration::from_secs(24 * 60 * 60);

/// A point in time in microseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The moment `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The moment `seconds` seconds after the epoch.
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole seconds since the epoch, as JWT's `NumericDate` counts them (RFC 7519, section 2).
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The moment `duration` later; the end of time instead of an overflow.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// The moment `duration` earlier; the epoch instead of an underflow.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This moment in UTC as a calendar date and time; after the year 9999, the last one that can
    /// be represented.
    pub fn to_utc(self) -> OffsetDateTime {
        let micros = Duration::from_micros(self.0 % 1_000_000);
        i64::try_from(self.0 / 1_000_000)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .map_or(datetime!(9999-12-31 23:59:59.999999 UTC), |second| second + micros)
    }

    /// This moment in the format of mails and pages: `6 December 2024, 10:00 UTC`.
    pub fn for_people(self) -> String {
        const FORMAT: &[BorrowedFormatItem<'_>] =
            format_description!("[day padding:none] [month repr:long] [year], [hour]:[minute] UTC");
        self.to_utc().format(FORMAT).unwrap_or_else(|_| self.to_string())
    }
}

/// RFC 3339 in UTC with six digits after the second: `2024-12-06T10:00:00.123456Z`.
impl fmt::Display for Timestamp {
    /// Digit by digit, as every log line and every profile has one: with `write!` a profile took 7 %
    /// more instructions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = self.to_utc();
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        for (place, number) in [
            (0..4, utc.year().unsigned_abs()),
            (5..7, u8::from(utc.month()).into()),
            (8..10, utc.day().into()),
            (11..13, utc.hour().into()),
            (14..16, utc.minute().into()),
            (17..19, utc.second().into()),
            (20..26, utc.microsecond()),
        ] {
            write_digits(text.get_mut(place).unwrap_or_default(), number);
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Fills `digits` with the last ones of `number`.
fn write_digits(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What both clocks said at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock: it can be set, and it can be wrong.
    pub wall: Timestamp,
    /// Time since a fixed point: it cannot be set, and restarts with the process.
    pub monotonic: Duration,
}

/// A source of time: the system, or a test that moves it.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System { origin: Instant },
    Manual(Arc<Mutex<Reading>>),
}

impl Clock {
    /// The system's clocks.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    pub fn system() -> Self {
        Self { source: Source::System { origin: Instant::now() } }
    }

    /// A clock that stays at `start` until it is moved. Clones move together.
    pub fn manual(start: Timestamp) -> Self {
        let reading = Reading { wall: start, monotonic: Duration::ZERO };
        Self { source: Source::Manual(Arc::new(Mutex::new(reading))) }
    }

    /// Reads both clocks. A system clock before 1970 reads as 1970.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    pub fn read(&self) -> Reading {
        match &self.source {
            Source::System { origin } => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Reading {
                    wall: Timestamp::from_micros(micros(since_epoch)),
                    monotonic: origin.elapsed(),
                }
            }
            Source::Manual(reading) => *lock(reading),
        }
    }

    /// Reads the monotonic clock alone, to measure durations.
    pub fn monotonic(&self) -> Duration {
        match &self.source {
            Source::System { origin } => origin.elapsed(),
            Source::Manual(reading) => lock(reading).monotonic,
        }
    }

    /// Moves both readings of a manual clock forward; does nothing to the system's clock.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(reading) = &self.source {
            let mut reading = lock(reading);
            reading.wall = reading.wall.saturating_add(by);
            reading.monotonic = reading.monotonic.saturating_add(by);
        }
    }

    /// Sets a manual clock's wall time and leaves its monotonic time, as an operator or a bad NTP
    /// server would; does nothing to the system's clock.
    pub fn set_wall(&self, wall: Timestamp) {
        if let Source::Manual(reading) = &self.source {
            lock(reading).wall = wall;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time of one request, as judged by the clock guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock's time.
    pub now: Timestamp,
    /// Whether the mark and the sweeper may follow it: false while a jump forward of more than a
    /// day has not yet been confirmed by a day of running.
    pub confirmed: bool,
}

/// The wall clock is too far behind the last commit time to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockBehind {
    /// The wall clock's time.
    pub wall: Timestamp,
    /// The last commit time.
    pub mark: Timestamp,
}

impl ClockBehind {
    /// How long until the clock has caught up, if it is not corrected.
    pub fn catches_up_in(self) -> Duration {
        self.mark.saturating_since(self.wall).saturating_sub(BEHIND_TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_written_with_microseconds_in_utc() {
        let timestamp = Timestamp::from_micros(1_733_479_200_123_456);
        assert_eq!(timestamp.to_string(), "2024-12-06T10:00:00.123456Z");
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn people_read_a_date_in_words() {
        assert_eq!(
            Timestamp::from_unix_seconds(1_733_479_200).for_people(),
            "6 December 2024, 10:00 UTC"
        );
        assert_eq!(Timestamp::from_micros(u64::MAX).for_people(), "31 December 9999, 23:59 UTC");
    }

    #[test]
    fn the_far_future_is_written_as_the_last_date() {
        let end = Timestamp::from_micros(u64::MAX);
        assert_eq!(end.to_string(), "9999-12-31T23:59:59.999999Z");
    }
}
