//! What a hash costs, and the difference between two costs.

use argon2::Params;

/// What a hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    /// Its memory, in blocks of 1 KiB.
    pub(super) blocks: usize,
    /// How many blocks it computes in all its passes. The time of a hash is roughly proportional to
    /// this: lanes are computed one after the other.
    pub(super) work: u64,
}

impl Cost {
    /// The cost of no hash.
    pub(super) const NONE: Self = Self { blocks: 0, work: 0 };

    /// The cost of a hash with these parameters.
    pub(super) fn of(params: &Params) -> Self {
        let blocks = params.block_count();
        let passes = u64::from(params.t_cost());
        Self { blocks, work: as_work(blocks).saturating_mul(passes) }
    }

    /// The higher of both costs, of memory and work separately.
    pub(super) fn max(self, other: Self) -> Self {
        Self { blocks: self.blocks.max(other.blocks), work: self.work.max(other.work) }
    }

    /// Parameters for a hash that makes up the difference between `done` and this cost, within the
    /// memory of this cost; `None` if the difference is too small for a hash. It has `lanes` lanes
    /// if the memory has room for them.
    pub(super) fn lacking(self, done: Self, lanes: u32) -> Option<Params> {
        let missing = self.work.saturating_sub(done.work);
        let passes = missing.div_ceil(as_work(self.blocks).max(1)).max(1);
        let memory = u32::try_from(missing / passes).ok()?;
        let has_room = memory >= Params::MIN_M_COST.saturating_mul(lanes);
        let lanes = if has_room { lanes } else { 1 };
        Params::new(memory, u32::try_from(passes).ok()?, lanes, None).ok()
    }
}

fn as_work(blocks: usize) -> u64 {
    u64::try_from(blocks).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn params(memory: u32, passes: u32, lanes: u32) -> Params {
        Params::new(memory, passes, lanes, None).unwrap()
    }

    #[test]
    fn nothing_done_lacks_the_parameters_themselves() {
        for (memory, passes, lanes) in [(8, 1, 1), (256, 1, 1), (19 * 1024, 2, 1), (65_536, 3, 4)] {
            let params = params(memory, passes, lanes);
            assert_eq!(Cost::of(&params).lacking(Cost::NONE, lanes), Some(params));
        }
    }

    proptest! {
        /// Whatever is configured and stored, a wrong password costs as much as an unknown address,
        /// within one per cent, and needs no more memory.
        #[test]
        fn what_is_missing_is_made_up_for(
            (memory, passes, lanes) in (256_u32..300_000, 1_u32..8, 1_u32..=16),
            (stored_memory, stored_passes) in (8_u32..300_000, 1_u32..8),
        ) {
            let stored = Cost::of(&params(stored_memory, stored_passes, 1));
            let highest = Cost::of(&params(memory, passes, lanes)).max(stored);
            for done in [Cost::NONE, stored] {
                let added = highest.lacking(done, lanes);
                let added = added.map_or(Cost::NONE, |added| Cost::of(&added));
                let total = done.work + added.work;
                prop_assert!(total <= highest.work, "{total} of {}", highest.work);
                let slack = (highest.work / 100).max(64 * u64::from(passes.max(stored_passes)));
                prop_assert!(highest.work - total <= slack, "{total} of {}", highest.work);
                prop_assert!(added.blocks <= highest.blocks);
            }
        }
    }
}
