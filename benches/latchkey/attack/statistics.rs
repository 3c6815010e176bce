//! Whether two kinds of request can be told apart by the time their answers take.
//!
//! Both are measured in the same round, in an order drawn for each round, so that whatever else
//! the machine does meets both alike. Of each round the difference counts. The test is Wilcoxon's
//! signed-rank test of whether these differences lie above a margin, or below its opposite. It
//! looks at ranks, so that a few long pauses of the machine weigh no more than any others.

use crate::contest::median;

/// Differences up to this, in seconds, are told and not held against the server: half of what is
/// planted. The limits leave nobody the thousands of requests about one account that it would take
/// to see less than that over a network.
pub(super) const MARGIN: f64 = 500e-6;

/// How many standard deviations count as a proof: by chance less than once in ten thousand times,
/// either side taken.
pub(super) const PROOF: f64 = 4.0;

/// What a number of paired measurements say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    /// The median of the differences, in seconds.
    pub(super) median: f64,
    /// By how many standard deviations the differences lie outside the margin, whichever side.
    pub(super) evidence: f64,
}

impl Comparison {
    /// Compares by the differences of the rounds, in seconds.
    pub(super) fn of(differences: &[f64]) -> Self {
        let above: Vec<f64> = differences.iter().map(|difference| difference - MARGIN).collect();
        let below: Vec<f64> = differences.iter().map(|difference| -difference - MARGIN).collect();
        let evidence = signed_rank(&above).max(signed_rank(&below));
        Self { median: median(differences.to_vec()), evidence }
    }

    /// Whether the two are told apart.
    pub(super) fn tells_apart(&self) -> bool {
        self.evidence > PROOF
    }
}

/// How many standard deviations the signed ranks of `values` lie above what they would be if each
/// were as likely to be above zero as below.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn signed_rank(values: &[f64]) -> f64 {
    let mut ordered: Vec<f64> = values.iter().copied().filter(|value| *value != 0.0).collect();
    ordered.sort_by(|one, other| one.abs().total_cmp(&other.abs()));
    let count = ordered.len() as f64;
    let positive: f64 = (ordered.iter().enumerate())
        .filter(|(_, value)| **value > 0.0)
        .map(|(rank, _)| (rank + 1) as f64)
        .sum();
    let expected = count * (count + 1.0) / 4.0;
    let variance = count * (count + 1.0) * (2.0 * count + 1.0) / 24.0;
    if variance > 0.0 { (positive - expected) / variance.sqrt() } else { 0.0 }
}
