//! When to try again.

use std::time::Duration;

use crate::clock::Timestamp;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// When to try a mail again that has been tried `attempts` times, the one that just failed at
/// `now` included: after 1 s, doubling to 10 min, each give or take a fifth so that mails that
/// failed together do not come back together. `jitter` is 64 random bits.
pub fn next_attempt(attempts: u32, now: Timestamp, jitter: u64) -> Timestamp {
    let doublings = attempts.saturating_sub(1);
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    let wait = FIRST.saturating_mul(factor).min(LONGEST);
    let shortest = wait * 4 / 5;
    let spread_micros = (wait * 2 / 5).as_micros();
    let extra_micros = (spread_micros * u128::from(jitter)) >> 64;
    let extra = Duration::from_micros(u64::try_from(extra_micros).unwrap_or(0));
    now.saturating_add(shortest + extra)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);

    fn wait(attempts: u32, jitter: u64) -> Duration {
        next_attempt(attempts, NOW, jitter).saturating_since(NOW)
    }

    #[test]
    fn waits_double_from_a_second_to_ten_minutes() {
        let middle = u64::MAX / 2 + 1;
        let seconds: Vec<u64> = (0..=12).map(|n| wait(n, middle).as_secs()).collect();
        assert_eq!(seconds, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(wait(u32::MAX, middle), LONGEST);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        assert_eq!(wait(1, 0), Duration::from_millis(800));
        assert_eq!(wait(1, u64::MAX), Duration::from_micros(1_199_999));
        assert_eq!(wait(50, 0), Duration::from_secs(480));
        assert!(wait(50, u64::MAX) < Duration::from_secs(720));
    }

    #[test]
    fn the_end_of_time_is_no_overflow() {
        let end = Timestamp::from_micros(u64::MAX);
        assert_eq!(next_attempt(9, end, u64::MAX), end);
    }
}
