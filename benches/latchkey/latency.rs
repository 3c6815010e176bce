//! How long requests took: a histogram of fixed size, so that recording costs nothing to speak of.
//!
//! Each power of two of nanoseconds has 64 buckets, which makes a quantile exact to 1.6%; up to
//! 63 nanoseconds, and the longest, are exact.

use std::time::Duration;

const SUB_BUCKETS: u64 = 64;
const SUB_BITS: u32 = SUB_BUCKETS.trailing_zeros();
/// Up to 18 minutes; what takes longer counts as that.
const LONGEST_BITS: u32 = 40;
const BUCKETS: usize = ((LONGEST_BITS - SUB_BITS + 1) as usize) * (SUB_BUCKETS as usize);

/// Durations, as a distribution.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    counts: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, longest: Duration::ZERO }
    }
}

impl Latency {
    /// Adds one.
    pub(crate) fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(took);
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The longest of them.
    pub(crate) const fn longest(&self) -> Duration {
        self.longest
    }

    /// The one that `share` (0 to 1) of all do not exceed; zero if there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(highest_in(index)).min(self.longest);
            }
        }
        self.longest
    }

    /// The one in the middle.
    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// The one that only one in a hundred exceeds.
    pub(crate) fn p99(&self) -> Duration {
        self.quantile(0.99)
    }
}

/// The bucket of a number of nanoseconds.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min((1 << LONGEST_BITS) - 1);
    let bits = u64::BITS - nanos.leading_zeros();
    let shift = bits.saturating_sub(SUB_BITS + 1);
    // Below 128 the number is its own bucket; above, the leading seven bits and the shift are.
    usize::try_from(u64::from(shift) * SUB_BUCKETS + (nanos >> shift)).unwrap_or(usize::MAX)
}

/// The most nanoseconds in a bucket.
fn highest_in(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    let shift = (index / SUB_BUCKETS).saturating_sub(1);
    let leading = index - shift * SUB_BUCKETS;
    ((leading + 1) << shift) - 1
}
