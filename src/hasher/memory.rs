//! The block of memory that a hashing thread keeps while there is work.

use argon2::Block;
use zeroize::Zeroize;

/// The least that is allocated, in blocks of 1 KiB; unused blocks take no memory. glibc maps
/// allocations of more than 32 MiB separately and unmaps them when they are freed. Smaller ones may
/// come from the heap, where a later small allocation behind them can keep all of it from being
/// returned (mallopt(3), `M_MMAP_THRESHOLD`).
const MAPPED: usize = 33 * 1024;

/// Argon2's memory. Its contents are derived from a password, so it is wiped before it is freed.
/// Between hashes it is not wiped, since the next hash overwrites it.
#[derive(Default)]
pub(super) struct Memory {
    blocks: Vec<Block>,
    /// How many blocks all hashes so far have asked for.
    #[cfg(test)]
    pub(super) asked: usize,
}

impl Memory {
    /// `count` blocks of 1 KiB with arbitrary contents; `None` if there is not enough memory.
    pub(super) fn blocks(&mut self, count: usize) -> Option<&mut [Block]> {
        #[cfg(test)]
        {
            self.asked = self.asked.saturating_add(count);
        }
        if self.blocks.len() < count {
            // Growing in place could leave an unwiped copy behind.
            self.give_back();
            self.blocks.try_reserve_exact(count.max(MAPPED)).ok()?;
            self.blocks.resize(count, Block::new());
        }
        self.blocks.get_mut(..count)
    }

    /// Gives back everything if it is more than `count` blocks, so that one costly hash does not
    /// set the size for all that follow.
    pub(super) fn keep_at_most(&mut self, count: usize) {
        if self.blocks.len() > count {
            self.give_back();
        }
    }

    pub(super) fn give_back(&mut self) {
        // What was never used has nothing to be wiped, and would take memory by that.
        self.blocks.iter_mut().zeroize();
        self.blocks = Vec::new();
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_when_asked_and_shrinks_when_told() {
        let mut memory = Memory::default();
        assert_eq!(memory.blocks(8).unwrap().len(), 8);
        assert_eq!(memory.blocks(4).unwrap().len(), 4);
        assert_eq!(memory.len(), 8);
        memory.keep_at_most(8);
        assert_eq!(memory.len(), 8);
        assert_eq!(memory.blocks(9).unwrap().len(), 9);
        memory.keep_at_most(8);
        assert_eq!(memory.len(), 0);
    }

    #[test]
    fn more_than_the_system_has_is_none() {
        let mut memory = Memory::default();
        assert!(memory.blocks(usize::MAX / Block::SIZE).is_none());
        assert_eq!(memory.len(), 0);
        assert!(memory.blocks(8).is_some());
    }
}
