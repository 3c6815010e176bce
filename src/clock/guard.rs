//! The clock guard: when the wall clock can be trusted.

use std::sync::Mutex;
use std::time::Duration;

use super::{BEHIND_TOLERANCE, ClockBehind, JUMP_TOLERANCE, Moment, Reading, Timestamp, lock};

/// How much of the day that confirms a jump has passed. Kept across restarts, since otherwise a
/// server that never runs for a whole day would never trust its clock again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The wall clock's time when this was recorded.
    pub wall: Timestamp,
    /// How long the server had run since the jump by then.
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
    /// The last trusted reading; both clocks should have advanced by the same amount since.
    baseline: Reading,
    /// The jump that is not confirmed yet; `None` while the clocks agree.
    jump: Option<Jump>,
}

#[derive(Clone, Copy, Debug)]
struct Jump {
    /// The first reading after it, or after the last start.
    seen: Reading,
    /// How long it had lasted before that.
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
    /// confirm it. A server that was off for longer has to wait for its day as well. `trial` is
    /// what was recorded of that day before the start; it counts if the clock has run on from
    /// there.
    pub fn new(start: Reading, mark: Timestamp, trial: Option<Trial>) -> Self {
        let baseline =
            if mark == Timestamp::EPOCH { start } else { Reading { wall: mark, ..start } };
        let mut state = GuardState { baseline, jump: None };
        if start.wall >= mark {
            // The day that confirms a jump begins now, not with the first request.
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

    /// How much of the day that confirms a jump has passed; `None` if there is no jump.
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
            // day add up to a jump; and whenever the clock was set back, so that a jump from there
            // is noticed.
            let is_old = ran_between(self.baseline, reading) >= JUMP_TOLERANCE;
            if is_old || reading.wall < self.baseline.wall {
                self.baseline = reading;
            }
            return true;
        }
        let jump = match self.jump {
            Some(jump) if !is_apart(jump.seen, reading) => jump,
            // The first jump, or one to another time than the one before: the time that confirmed
            // that one does not count for this one.
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

/// The latest wall clock time at `to` that is not a jump forward since `from`.
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
    use crate::clock::Clock;

    const DAY: Duration = Duration::from_secs(86_400);
    const START: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);

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
