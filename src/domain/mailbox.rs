//! The limit on mail to one mailbox, so that nobody can flood another's with our mail.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The pause between mails once two have been sent in a row.
const PAUSE: Duration = Duration::from_secs(60);

/// The mails of one purpose to one mailbox: a number per day, two in a row, then one a minute (the
/// generic cell rate algorithm with a burst of two).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// When the window opened.
    since: Timestamp,
    /// How many were sent in it.
    count: u32,
    /// When the next mail would be due if mails came exactly a pause apart.
    paced_at: Timestamp,
}

impl Mailbox {
    /// The window in which mails are counted.
    pub const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

    /// Counts one more mail at `now`, after those counted in `before`.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub fn send(
        before: Option<Self>,
        now: Timestamp,
        per_day: NonZeroU32,
    ) -> Result<Self, Duration> {
        let fresh = Self { since: now, count: 0, paced_at: now };
        let is_over = |mailbox: &Self| {
            // A window that opens in the future was written by a wrong clock.
            mailbox.since > now || now >= mailbox.expires_at()
        };
        let mailbox = before.filter(|mailbox| !is_over(mailbox)).unwrap_or(fresh);
        if mailbox.count >= per_day.get() {
            return Err(mailbox.expires_at().saturating_since(now));
        }
        let ahead = mailbox.paced_at.saturating_since(now);
        if ahead > PAUSE {
            return Err(ahead.saturating_sub(PAUSE));
        }
        let paced_at = mailbox.paced_at.max(now).saturating_add(PAUSE);
        Ok(Self { count: mailbox.count.saturating_add(1), paced_at, ..mailbox })
    }

    /// When the count can be forgotten.
    pub fn expires_at(&self) -> Timestamp {
        self.since.saturating_add(Self::WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);

    #[test]
    fn two_in_a_row_then_one_a_minute_and_so_many_a_day() {
        let per_day = NonZeroU32::new(5).unwrap();
        let mut mailbox = None;
        let mut send = |seconds: u64| {
            let now = START.saturating_add(Duration::from_secs(seconds));
            match Mailbox::send(mailbox, now, per_day) {
                Ok(sent) => {
                    mailbox = Some(sent);
                    0
                }
                Err(wait) => wait.as_secs(),
            }
        };
        for (at, wait) in [
            (0, 0),
            (0, 0),
            (0, 60),
            (59, 1),
            (60, 0),
            (60, 60),
            (1_000, 0),
            (1_000, 0),
            (1_000, 86_400 - 1_000),
            (86_399, 1),
            (86_400, 0),
            (86_400, 0),
            (86_400, 60),
        ] {
            assert_eq!(send(at), wait, "at {at} s");
        }
    }

    #[test]
    fn a_window_from_the_future_is_forgotten() {
        let per_day = NonZeroU32::new(1).unwrap();
        let future =
            Mailbox::send(None, START.saturating_add(Mailbox::WINDOW * 9), per_day).unwrap();
        assert!(Mailbox::send(Some(future), START, per_day).is_ok());
    }
}
