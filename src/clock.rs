//! Time: what a moment is, where it comes from, and when the wall clock is to be believed.
//!
//! This is the only module that asks the system for the time. Everything else is handed a
//! [`Moment`] or a [`Timestamp`], read once per request.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// How far the wall clock may lie behind the latest committed time before it counts as wrong.
pub const BEHIND_TOLERANCE: Duration = Duration::from_secs(60);

/// How far the wall clock may run ahead of the monotonic clock before it counts as a jump, and
/// for how long a jump must have stood before it is believed.
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

    /// This moment in UTC as a calendar date and time; the last one that can be written for
    /// moments after the year 9999.
    pub fn to_utc(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .unwrap_or(time::macros::datetime!(9999-12-31 23:59:59.999999 UTC))
    }
}

/// RFC 3339 in UTC with six digits after the second: `2024-12-06T10:00:00.123456Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORMAT: &[BorrowedFormatItem<'_>] = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"
        );
        let text = self.to_utc().format(FORMAT).map_err(|_| fmt::Error)?;
        f.write_str(&text)
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
    /// Time since some fixed point: it cannot be set, and starts anew with the process.
    pub monotonic: Duration,
}

/// Where time comes from: the system, or a test that moves it by hand.
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

    /// A clock that stands still at `start` until it is moved. Clones move together.
    pub fn manual(start: Timestamp) -> Self {
        let reading = Reading { wall: start, monotonic: Duration::ZERO };
        Self { source: Source::Manual(Arc::new(Mutex::new(reading))) }
    }

    /// Both clocks, now. A system clock before 1970 reads as 1970.
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

    /// Moves a manual clock's both hands forward; does nothing to the system's.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(reading) = &self.source {
            let mut reading = lock(reading);
            reading.wall = reading.wall.saturating_add(by);
            reading.monotonic = reading.monotonic.saturating_add(by);
        }
    }

    /// Sets a manual clock's wall time and leaves its monotonic one, as an operator or a bad NTP
    /// server would; does nothing to the system's.
    pub fn set_wall(&self, wall: Timestamp) {
        if let Source::Manual(reading) = &self.source {
            lock(reading).wall = wall;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time of one request, as far as the clock guard vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock's time.
    pub now: Timestamp,
    /// Whether the mark and the sweeper may follow it: false while a jump forward of more than a
    /// day has not yet been confirmed by a day of running.
    pub confirmed: bool,
}

/// The wall clock lies too far behind the latest committed time to decide anything by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockBehind {
    /// What the wall clock says.
    pub wall: Timestamp,
    /// The latest committed time.
    pub mark: Timestamp,
}

impl ClockBehind {
    /// How long until the clock has caught up, if it runs on as it is.
    pub fn catches_up_in(self) -> Duration {
        self.mark.saturating_since(self.wall).saturating_sub(BEHIND_TOLERANCE)
    }
}

/// How far the day has come that is to confirm a jump. Kept over restarts, or else a server that
/// is never on for a whole day would never believe its clock again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What the wall clock said when this was noted.
    pub wall: Timestamp,
    /// For how long the server had run by then since the jump.
    pub stood_for: Duration,
}

/// Judges readings of the clock: refuses those behind the mark, and holds back the mark and the
/// sweeper after a jump forward.
#[derive(Debug)]
pub struct ClockGuard {
    state: Mutex<GuardState>,
}

#[derive(Debug)]
struct GuardState {
    /// The last reading that was believed and renewed; both clocks are expected to have moved
    /// alike since.
    baseline: Reading,
    /// The jump that has not been confirmed yet; none while the clocks agree.
    jump: Option<Jump>,
}

#[derive(Clone, Copy, Debug)]
struct Jump {
    /// The first reading after it, or after the last start.
    seen: Reading,
    /// For how long it had stood before that.
    stood_before: Duration,
}

impl Jump {
    fn stood_for(self, now: Reading) -> Duration {
        self.stood_before.saturating_add(ran_between(self.seen, now))
    }
}

impl ClockGuard {
    /// A guard that begins with the reading `start` and with `mark`, the latest committed time as
    /// it was found in the database, or the epoch in a new one.
    ///
    /// Nothing else tells what the time was before this start, so a wall clock that is more than
    /// [`JUMP_TOLERANCE`] ahead of the mark counts as one that has jumped: a restart must not
    /// confirm it. A server that was switched off for longer has its day of doubt too. `trial` is
    /// what was noted of that day before the start; it counts if the clock has run on from there.
    pub fn new(start: Reading, mark: Timestamp, trial: Option<Trial>) -> Self {
        let baseline =
            if mark == Timestamp::EPOCH { start } else { Reading { wall: mark, ..start } };
        let mut state = GuardState { baseline, jump: None };
        if start.wall >= mark {
            // The day that has to confirm a jump begins now, and not with the first request.
            state.confirms(start);
        }
        if let (Some(jump), Some(trial)) = (&mut state.jump, trial) {
            let latest = trial.wall.saturating_add(JUMP_TOLERANCE);
            if (trial.wall..=latest).contains(&start.wall) {
                jump.stood_before = trial.stood_for;
            }
        }
        Self { state: Mutex::new(state) }
    }

    /// Judges one reading against `mark`, the latest committed time.
    ///
    /// # Errors
    /// [`ClockBehind`] if the wall clock is more than [`BEHIND_TOLERANCE`] behind the mark.
    pub fn check(&self, reading: Reading, mark: Timestamp) -> Result<Moment, ClockBehind> {
        if reading.wall.saturating_add(BEHIND_TOLERANCE) < mark {
            return Err(ClockBehind { wall: reading.wall, mark });
        }
        Ok(Moment { now: reading.wall, confirmed: lock(&self.state).confirms(reading) })
    }

    /// How far the day has come that is to confirm a jump; none while there is no doubt.
    pub fn trial(&self, reading: Reading) -> Option<Trial> {
        let jump = lock(&self.state).jump?;
        Some(Trial { wall: reading.wall, stood_for: jump.stood_for(reading) })
    }
}

impl GuardState {
    fn confirms(&mut self, reading: Reading) -> bool {
        if reading.wall <= latest_since(self.baseline, reading) {
            self.jump = None;
            // The baseline is renewed once a day at most, so that several smaller steps within a
            // day add up to a jump; and whenever the clock was set back, so that a jump from
            // there is seen.
            let is_old = ran_between(self.baseline, reading) >= JUMP_TOLERANCE;
            if is_old || reading.wall < self.baseline.wall {
                self.baseline = reading;
            }
            return true;
        }
        let jump = match self.jump {
            Some(jump) if !is_apart(jump.seen, reading) => jump,
            // The first jump, or one that leads elsewhere than the one before: what has confirmed
            // that says nothing about this.
            _ => Jump { seen: reading, stood_before: Duration::ZERO },
        };
        let has_stood = jump.stood_for(reading) >= JUMP_TOLERANCE;
        if has_stood {
            self.baseline = reading;
        }
        self.jump = (!has_stood).then_some(jump);
        has_stood
    }
}

/// How long the process ran from one reading to a later one.
fn ran_between(from: Reading, to: Reading) -> Duration {
    to.monotonic.saturating_sub(from.monotonic)
}

/// The latest that the wall clock may say at `to` without having jumped forward since `from`.
fn latest_since(from: Reading, to: Reading) -> Timestamp {
    from.wall.saturating_add(ran_between(from, to)).saturating_add(JUMP_TOLERANCE)
}

/// Whether the wall clock was set since `from`, forward or back, by more than the tolerance.
fn is_apart(from: Reading, to: Reading) -> bool {
    let unset = from.wall.saturating_add(ran_between(from, to));
    to.wall > latest_since(from, to) || to.wall.saturating_add(JUMP_TOLERANCE) < unset
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const START: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);

    #[test]
    fn a_timestamp_is_written_with_microseconds_in_utc() {
        let timestamp = Timestamp::from_micros(1_733_479_200_123_456);
        assert_eq!(timestamp.to_string(), "2024-12-06T10:00:00.123456Z");
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn the_far_future_is_written_as_the_last_date() {
        let end = Timestamp::from_micros(u64::MAX);
        assert_eq!(end.to_string(), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn half_a_second_back_is_forgiven_and_an_hour_is_not() {
        let clock = Clock::manual(START);
        let guard = ClockGuard::new(clock.read(), Timestamp::EPOCH, None);
        clock.set_wall(START.saturating_sub(Duration::from_millis(500)));
        assert!(guard.check(clock.read(), START).is_ok());
        clock.set_wall(START.saturating_sub(Duration::from_secs(3_600)));
        let behind = guard.check(clock.read(), START).unwrap_err();
        assert_eq!(behind.catches_up_in(), Duration::from_secs(3_540));
        clock.advance(behind.catches_up_in());
        assert!(guard.check(clock.read(), START).is_ok());
    }

    #[test]
    fn a_jump_forward_is_confirmed_by_a_day_of_running() {
        let clock = Clock::manual(START);
        let guard = ClockGuard::new(clock.read(), Timestamp::EPOCH, None);
        let confirmed = || guard.check(clock.read(), START).unwrap().confirmed;
        clock.advance(3 * DAY);
        assert!(confirmed(), "time that passed is no jump");
        clock.set_wall(clock.read().wall.saturating_add(2 * DAY));
        assert!(!confirmed());
        clock.advance(DAY - Duration::from_secs(1));
        assert!(!confirmed());
        clock.advance(Duration::from_secs(1));
        assert!(confirmed());
    }

    #[test]
    fn a_jump_that_is_taken_back_leaves_no_trace() {
        let clock = Clock::manual(START);
        let guard = ClockGuard::new(clock.read(), Timestamp::EPOCH, None);
        let confirmed = || guard.check(clock.read(), START).unwrap().confirmed;
        clock.set_wall(START.saturating_add(365 * DAY));
        assert!(!confirmed());
        clock.set_wall(START);
        assert!(confirmed());
        clock.set_wall(START.saturating_add(365 * DAY));
        assert!(!confirmed(), "a second jump counts from anew");
    }

    #[test]
    fn small_steps_within_a_day_add_up_to_a_jump() {
        let clock = Clock::manual(START);
        let guard = ClockGuard::new(clock.read(), Timestamp::EPOCH, None);
        for _ in 0..2 {
            clock.set_wall(clock.read().wall.saturating_add(DAY * 3 / 4));
            clock.advance(Duration::from_secs(1));
            let _ = guard.check(clock.read(), START);
        }
        assert!(!guard.check(clock.read(), START).unwrap().confirmed);
    }

    #[test]
    fn a_second_jump_does_not_ride_on_the_day_of_the_first() {
        let clock = Clock::manual(START);
        let guard = ClockGuard::new(clock.read(), START, None);
        let confirmed = || guard.check(clock.read(), START).unwrap().confirmed;
        clock.set_wall(START.saturating_add(2 * DAY));
        assert!(!confirmed());
        clock.advance(DAY - Duration::from_secs(1));
        clock.set_wall(clock.read().wall.saturating_add(400 * DAY));
        assert!(!confirmed());
        clock.advance(Duration::from_secs(1));
        assert!(!confirmed(), "the second jump has stood for a second");
        // Back by so much that it is still ahead is another jump too.
        clock.set_wall(START.saturating_add(200 * DAY));
        assert!(!confirmed());
        clock.advance(DAY - Duration::from_secs(1));
        assert!(!confirmed());
        clock.advance(Duration::from_secs(1));
        assert!(confirmed());
    }

    #[test]
    fn a_start_far_ahead_of_the_mark_is_a_jump_however_often_it_is_repeated() {
        let clock = Clock::manual(START.saturating_add(40 * DAY));
        for _ in 0..3 {
            let guard = ClockGuard::new(clock.read(), START, None);
            assert!(!guard.check(clock.read(), START).unwrap().confirmed);
            clock.advance(DAY - Duration::from_secs(1));
            assert!(!guard.check(clock.read(), START).unwrap().confirmed);
        }
        // Set right, it is believed at once.
        let guard = ClockGuard::new(clock.read(), START, None);
        clock.set_wall(START.saturating_add(DAY / 2));
        assert!(guard.check(clock.read(), START).unwrap().confirmed);
    }

    #[test]
    fn a_server_that_was_switched_off_for_a_week_is_believed_after_a_day() {
        let clock = Clock::manual(START.saturating_add(7 * DAY));
        let guard = ClockGuard::new(clock.read(), START, None);
        // Nobody asked anything at first: the day counts from the start.
        clock.advance(DAY);
        assert!(guard.check(clock.read(), START).unwrap().confirmed);
    }

    #[test]
    fn a_server_that_is_never_on_for_a_day_believes_its_clock_all_the_same() {
        const HOUR: Duration = Duration::from_secs(3_600);
        let clock = Clock::manual(START.saturating_add(3 * DAY));
        let mut trial = None;
        for hours in [0, 10, 20] {
            let guard = ClockGuard::new(clock.read(), START, trial);
            let confirmed = || guard.check(clock.read(), START).unwrap().confirmed;
            clock.advance((10 * HOUR).min((23 - hours) * HOUR));
            assert!(!confirmed());
            trial = guard.trial(clock.read());
            // Switched off over night.
            clock.set_wall(clock.read().wall.saturating_add(14 * HOUR));
        }
        let stood_for = trial.unwrap().stood_for;
        assert_eq!(stood_for, 23 * HOUR);
        let guard = ClockGuard::new(clock.read(), START, trial);
        clock.advance(HOUR);
        assert!(guard.check(clock.read(), START).unwrap().confirmed);
        assert_eq!(guard.trial(clock.read()), None);
    }

    #[test]
    fn a_trial_does_not_count_for_another_jump() {
        let noted = START.saturating_add(40 * DAY);
        let trial = Trial { wall: noted, stood_for: DAY - Duration::from_secs(1) };
        for (wall, counts) in [
            (noted, true),
            (noted.saturating_add(DAY), true),
            (noted.saturating_add(DAY * 2), false),
            (noted.saturating_sub(Duration::from_secs(1)), false),
        ] {
            let clock = Clock::manual(wall);
            let guard = ClockGuard::new(clock.read(), START, Some(trial));
            clock.advance(Duration::from_secs(1));
            let confirmed = guard.check(clock.read(), START).unwrap().confirmed;
            assert_eq!(confirmed, counts, "{wall}");
        }
    }

    #[test]
    fn a_start_that_the_mark_bears_out_is_believed() {
        for (mark, off) in [(START, DAY), (START, Duration::ZERO), (Timestamp::EPOCH, DAY)] {
            let clock = Clock::manual(START.saturating_add(off));
            let guard = ClockGuard::new(clock.read(), mark, None);
            assert!(guard.check(clock.read(), mark).unwrap().confirmed, "{mark} {off:?}");
        }
    }

    #[test]
    fn small_steps_add_up_to_a_jump_across_a_restart() {
        let clock = Clock::manual(START.saturating_add(DAY * 3 / 4));
        let guard = ClockGuard::new(clock.read(), START, None);
        assert!(guard.check(clock.read(), START).unwrap().confirmed);
        clock.set_wall(clock.read().wall.saturating_add(DAY / 2));
        assert!(!guard.check(clock.read(), START).unwrap().confirmed);
    }

    #[test]
    fn a_start_far_behind_leaves_no_doubt_once_the_clock_is_right() {
        let clock = Clock::manual(START.saturating_sub(40 * DAY));
        let guard = ClockGuard::new(clock.read(), START, None);
        assert!(guard.check(clock.read(), START).is_err());
        clock.set_wall(START);
        assert!(guard.check(clock.read(), START).unwrap().confirmed);
    }
}
