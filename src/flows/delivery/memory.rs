//! What delivery remembers of mails that storage cannot be asked about. All of it is bounded and
//! forgotten at a restart.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::attempt::Report;
use crate::domain::MailId;

/// The most mails that are left alone for a while.
const MAX_RESTING: usize = 1_000;
/// The most mails whose unreadable record is remembered.
const MAX_UNREADABLE: usize = 10_000;

/// Mails that are not to be tried now although they are due.
#[derive(Debug, Default)]
pub(super) struct Memory {
    resting: HashMap<MailId, Rest>,
    unreadable: HashSet<MailId>,
}

#[derive(Debug)]
struct Rest {
    /// By the monotonic clock.
    until: Duration,
    /// What storage has yet to be told; the mail is not to be sent again before.
    owed: Option<Report>,
}

impl Memory {
    /// Leaves a mail alone until `until`, by the monotonic clock. What is `owed` of it is asked
    /// for then.
    pub(super) fn rest(&mut self, id: MailId, until: Duration, owed: Option<Report>) {
        if self.resting.len() >= MAX_RESTING {
            // Forgetting one that owes nothing costs an early attempt, another a second mail.
            let least =
                self.resting.iter().min_by_key(|(_, rest)| (rest.owed.is_some(), rest.until));
            if let Some(least) = least.map(|(id, _)| *id) {
                self.resting.remove(&least);
            }
        }
        self.resting.insert(id, Rest { until, owed });
    }

    /// Notes that a mail cannot be read; says whether that is news.
    pub(super) fn is_newly_unreadable(&mut self, id: MailId) -> bool {
        self.unreadable.len() < MAX_UNREADABLE && self.unreadable.insert(id)
    }

    /// Whether a mail is to be left alone at `monotonic`.
    pub(super) fn is_left_alone(&self, id: MailId, monotonic: Duration) -> bool {
        self.unreadable.contains(&id)
            || self.resting.get(&id).is_some_and(|rest| monotonic < rest.until)
    }

    /// Ends a mail's rest; returns what storage has yet to be told of it.
    pub(super) fn take_owed(&mut self, id: MailId) -> Option<Report> {
        self.resting.remove(&id)?.owed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    #[test]
    fn a_mail_that_was_sent_but_not_recorded_is_left_alone_and_then_only_reported() {
        let mut memory = Memory::default();
        memory.rest(MailId(1), minutes(10), Some(Report::Finished));
        memory.rest(MailId(2), minutes(10), None);
        for id in [MailId(1), MailId(2)] {
            assert!(memory.is_left_alone(id, minutes(9)));
            assert!(!memory.is_left_alone(id, minutes(10)));
        }
        assert!(!memory.is_left_alone(MailId(3), minutes(9)));
        assert_eq!(memory.take_owed(MailId(1)), Some(Report::Finished));
        assert_eq!(memory.take_owed(MailId(1)), None);
        assert_eq!(memory.take_owed(MailId(2)), None);
        assert!(!memory.is_left_alone(MailId(2), minutes(9)), "its rest has ended");
    }

    #[test]
    fn an_unreadable_mail_is_news_once_and_stays_left_alone() {
        let mut memory = Memory::default();
        assert!(memory.is_newly_unreadable(MailId(1)));
        assert!(!memory.is_newly_unreadable(MailId(1)));
        assert!(memory.is_left_alone(MailId(1), Duration::MAX));
    }

    #[test]
    fn neither_grows_without_bound_and_what_is_owed_goes_last() {
        let mut memory = Memory::default();
        memory.rest(MailId(0), minutes(1), Some(Report::Finished));
        for number in 1..=2 * MAX_RESTING as u64 {
            memory.rest(MailId(number), minutes(number), None);
        }
        assert_eq!(memory.resting.len(), MAX_RESTING);
        assert!(memory.resting.contains_key(&MailId(0)));
        assert!(memory.resting.contains_key(&MailId(2 * MAX_RESTING as u64)));
        for number in 0..2 * MAX_UNREADABLE as u64 {
            memory.is_newly_unreadable(MailId(number));
        }
        assert_eq!(memory.unreadable.len(), MAX_UNREADABLE);
        assert!(!memory.is_newly_unreadable(MailId(u64::MAX)), "what is not remembered is no news");
    }
}
