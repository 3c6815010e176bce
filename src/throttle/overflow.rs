//! What is remembered of counts that had to leave a full bucket. It errs on the high side.

use super::digest::Digest;
use super::window::{Span, Window};

/// The number of filter bits of one generation.
const BITS: u64 = 512;

/// The number of bits that one key sets.
const MARKS: u32 = 4;

/// The keys that left a bucket, in a Bloom filter, and the highest count among them. A key that
/// left is always found and starts from at least its own count when it comes back. A key that never
/// left is found by mistake once in a hundred times with fifty keys in the filter, one in twelve
/// with a hundred, two in five with two hundred.
///
/// Two generations take turns, so that everything is forgotten eventually, even if keys leave all
/// the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Overflow {
    current: Generation,
    previous: Generation,
}

#[derive(Clone, Debug, Default)]
struct Generation {
    /// The slot in which the first key left.
    since: u64,
    /// The slot of the latest event that is counted here.
    latest: u64,
    /// The highest count that any of the keys had.
    highest: u32,
    marks: [u64; (BITS / 64) as usize],
}

impl Overflow {
    /// Remembers a key that leaves with these counts. Slots in the future, from before the clock
    /// was set back, count as `now`.
    pub(super) fn fold(&mut self, key: Digest, window: &Window, now: u64) {
        self.clamp(now);
        if Span::is_forgotten(self.current.since, now) {
            // Everything the previous generation counts had happened when the current one began.
            self.previous = std::mem::take(&mut self.current);
            self.current.since = now;
        }
        let Some(latest) = window.latest() else { return };
        let current = &mut self.current;
        current.latest = current.latest.max(latest.min(now));
        current.highest = current.highest.max(window.total());
        for (word, bit) in marks(key) {
            if let Some(word) = current.marks.get_mut(word) {
                *word |= bit;
            }
        }
    }

    /// The count that a new or returning key starts from.
    pub(super) fn recall(&mut self, key: Digest, now: u64) -> Window {
        self.clamp(now);
        let (mut latest, mut highest) = (0, 0);
        for generation in [&self.current, &self.previous] {
            let is_live = !Span::is_forgotten(generation.latest, now);
            if is_live && generation.holds(key) {
                latest = latest.max(generation.latest);
                highest = highest.max(generation.highest);
            }
        }
        let mut window = Window::of(latest, highest);
        window.age_to(now);
        window
    }

    fn clamp(&mut self, now: u64) {
        for generation in [&mut self.current, &mut self.previous] {
            generation.since = generation.since.min(now);
            generation.latest = generation.latest.min(now);
        }
    }
}

impl Generation {
    fn holds(&self, key: Digest) -> bool {
        marks(key).all(|(word, bit)| self.marks.get(word).is_some_and(|marked| marked & bit != 0))
    }
}

/// The words and bits that a key sets, from 9 bits of its digest each.
fn marks(key: Digest) -> impl Iterator<Item = (usize, u64)> {
    (0..MARKS).map(move |mark| {
        let bit = (key.low >> (mark * BITS.ilog2())) % BITS;
        (usize::try_from(bit / 64).unwrap_or_default(), 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::super::digest::Digester;
    use super::*;

    fn key(number: u32) -> Digest {
        Digester::new([3; 16]).digest(&[&number.to_string()])
    }

    #[test]
    fn who_left_comes_back_to_at_least_their_count() {
        let mut overflow = Overflow::default();
        for number in 0..1_000 {
            overflow.fold(key(number), &Window::of(100, 1 + number % 3), 100);
        }
        for number in 0..1_000 {
            assert!(overflow.recall(key(number), 105).total() > number % 3);
        }
    }

    #[test]
    fn who_never_left_is_seldom_taken_for_somebody_who_did() {
        for (left, most_mistaken) in [(0, 0), (50, 25), (100, 110), (200, 480)] {
            let mut overflow = Overflow::default();
            for number in 0..left {
                overflow.fold(key(number), &Window::of(100, 1), 100);
            }
            let mistaken = (10_000..11_000)
                .filter(|number| overflow.recall(key(*number), 100).total() > 0)
                .count();
            assert!(mistaken <= most_mistaken, "{left}: {mistaken} of 1000");
        }
    }

    #[test]
    fn a_new_generation_leaves_the_one_before_it_in_force() {
        let mut overflow = Overflow::default();
        overflow.fold(key(0), &Window::of(100, 1), 100);
        overflow.fold(key(1), &Window::of(111, 4), 111);
        overflow.fold(key(2), &Window::of(112, 2), 112);
        assert_eq!(overflow.recall(key(1), 122).total(), 4);
        assert_eq!(overflow.recall(key(1), 123).total(), 0);
        assert_eq!(overflow.recall(key(2), 123).total(), 2);
    }

    #[test]
    fn everything_is_forgotten_after_its_time_under_a_flood_too() {
        let mut overflow = Overflow::default();
        overflow.fold(key(0), &Window::of(100, 4), 100);
        for now in 100..112 {
            assert_eq!(overflow.recall(key(0), now).total(), 4, "{now}");
            overflow.fold(key(1), &Window::of(now, 1), now);
        }
        let mut last_seen = 0;
        for now in 112..200 {
            overflow.fold(key(1), &Window::of(now, 1), now);
            assert!(overflow.recall(key(1), now).total() > 0, "{now}");
            if overflow.recall(key(0), now).total() > 0 {
                last_seen = now;
            }
        }
        assert!(last_seen < 100 + 3 * 12, "{last_seen}");
    }

    #[test]
    fn a_clock_set_back_makes_nothing_last_longer() {
        let mut overflow = Overflow::default();
        overflow.fold(key(0), &Window::of(1_000, 4), 1_000);
        assert_eq!(overflow.recall(key(0), 10).total(), 4);
        assert_eq!(overflow.recall(key(0), 21).total(), 4);
        assert_eq!(overflow.recall(key(0), 22).total(), 0);
        overflow.fold(key(1), &Window::of(22, 1), 22);
        assert_eq!(overflow.recall(key(1), 22).total(), 1);
    }
}
