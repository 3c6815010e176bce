//! Counts events within a period in a fixed number of bytes.

use std::time::Duration;

use crate::clock::Timestamp;

/// The number of slots in a window, which are forgotten one by one.
const SLOTS: usize = 12;

/// How long an event counts: at least the window, and at most an eleventh longer, since all
/// events of a slot are forgotten together. Slots are numbered from the epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The length of a slot in microseconds.
    slot: u64,
}

impl Span {
    pub(super) fn new(window: Duration) -> Self {
        let micros = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        // The newest slot is never complete, so the others have to cover the whole window.
        Self { slot: micros.div_ceil(SLOTS as u64 - 1).max(1) }
    }

    pub(super) fn slot_of(self, now: Timestamp) -> u64 {
        now.as_micros() / self.slot
    }

    /// How long after `now` fewer than `limit` of the events of `window` count; `None` if that is so
    /// already.
    pub(super) fn until_below(
        self,
        limit: u32,
        window: &Window,
        now: Timestamp,
    ) -> Option<Duration> {
        let mut left = 0_u32;
        let back = window.counts.iter().position(|count| {
            left = left.saturating_add(*count);
            left >= limit
        })?;
        let forgotten = window.newest.saturating_sub(back as u64).saturating_add(SLOTS as u64);
        Some(Timestamp::from_micros(forgotten.saturating_mul(self.slot)).saturating_since(now))
    }

    /// Whether events of `slot` no longer count at the slot `now`.
    pub(super) fn is_forgotten(slot: u64, now: u64) -> bool {
        now.saturating_sub(slot) >= SLOTS as u64
    }
}

/// The number of events in each of the last slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// The slot of the first count; the others are those of earlier slots.
    newest: u64,
    counts: [u32; SLOTS],
}

impl Window {
    /// `count` events in one slot.
    pub(super) fn of(slot: u64, count: u32) -> Self {
        let mut window = Self { newest: slot, ..Self::default() };
        window.add(count);
        window
    }

    /// Advances to `slot` and forgets what is too old then. If the clock was set back, events dated
    /// in the future are dated now: they count for one window from here.
    pub(super) fn age_to(&mut self, slot: u64) {
        let steps = usize::try_from(slot.saturating_sub(self.newest)).unwrap_or(SLOTS).min(SLOTS);
        self.newest = slot;
        self.counts.rotate_right(steps % SLOTS);
        self.counts.iter_mut().take(steps).for_each(|count| *count = 0);
    }

    /// `count` more events in the newest slot.
    pub(super) fn add(&mut self, count: u32) {
        let [newest, ..] = &mut self.counts;
        *newest = newest.saturating_add(count);
    }

    pub(super) fn clear(&mut self) {
        self.counts = [0; SLOTS];
    }

    /// How many events still count.
    pub(super) fn total(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The slot of the latest event; `None` if nothing counts.
    pub(super) fn latest(&self) -> Option<u64> {
        let back = self.counts.iter().position(|count| *count > 0)?;
        Some(self.newest.saturating_sub(back as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_unix_seconds(1_733_479_200).saturating_add(Duration::from_micros(micros))
    }

    #[test]
    fn an_event_counts_for_the_window_and_hardly_longer() {
        let span = Span::new(WINDOW);
        for begun in (0..60_000_000).step_by(1_234_567) {
            let window = Window::of(span.slot_of(at(begun)), 1);
            let total_after = |micros: u64| {
                let mut window = window;
                window.age_to(span.slot_of(at(begun + micros)));
                window.total()
            };
            assert_eq!(total_after(60_000_000), 1, "{begun}");
            assert_eq!(total_after(65_454_546), 0, "{begun}");
            let wait = span.until_below(1, &window, at(begun)).unwrap();
            let wait = u64::try_from(wait.as_micros()).unwrap();
            assert_eq!((total_after(wait - 1), total_after(wait)), (1, 0), "{begun}");
        }
    }

    #[test]
    fn events_are_forgotten_slot_by_slot() {
        let mut window = Window::default();
        for slot in 100..112 {
            window.age_to(slot);
            window.add(1);
        }
        assert_eq!((window.total(), window.latest()), (12, Some(111)));
        let span = Span { slot: 1 };
        let now = Timestamp::from_micros(111);
        for (limit, wait) in [(13, None), (12, Some(1)), (2, Some(11)), (1, Some(12))] {
            let wait = wait.map(Duration::from_micros);
            assert_eq!(span.until_below(limit, &window, now), wait, "{limit}");
        }
        for (slot, total) in [(112, 11), (115, 8), (122, 1), (123, 0), (u64::MAX, 0)] {
            window.age_to(slot);
            assert_eq!(window.total(), total, "{slot}");
        }
        assert_eq!(window.latest(), None);
    }

    #[test]
    fn a_clock_set_back_dates_the_future_now() {
        let mut window = Window::of(1_000, 3);
        window.age_to(1_005);
        window.age_to(10);
        assert_eq!((window.total(), window.latest()), (3, Some(5)));
        window.age_to(16);
        assert_eq!(window.total(), 3);
        window.age_to(17);
        assert_eq!(window.total(), 0, "nothing counts longer than it would have");
    }

    #[test]
    fn no_length_of_window_overflows() {
        for window in [Duration::ZERO, Duration::from_micros(1), Duration::MAX] {
            let span = Span::new(window);
            for now in [Timestamp::EPOCH, at(0), Timestamp::from_micros(u64::MAX)] {
                let slot = span.slot_of(now);
                let mut counts = Window::of(slot, u32::MAX);
                counts.add(1);
                let _ = span.until_below(1, &counts, now);
                counts.age_to(0);
                assert_eq!(counts.total(), u32::MAX);
            }
        }
    }
}
