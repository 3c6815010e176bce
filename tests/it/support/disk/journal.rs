//! What was written to a disk, in order, and where its power was taken away.

use std::io;
use std::sync::Arc;

/// One access that a power cut could come before, within, or after.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// Bytes at an offset.
    Write(u64, Arc<[u8]>),
    /// Another length.
    Resize(u64),
    /// Everything before it is durable.
    Flush,
}

/// Everything that was written since it was begun.
#[derive(Default)]
pub(crate) struct Journal {
    entries: Vec<Entry>,
    /// How many entries it may have until the power is gone.
    ends_at: Option<usize>,
    is_out: bool,
}

impl Journal {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn lose_power_at(&mut self, position: usize) {
        self.ends_at = Some(position);
    }

    pub(super) fn is_out(&self) -> bool {
        self.is_out
    }

    pub(super) fn note(&mut self, entry: impl FnOnce() -> Entry) -> io::Result<()> {
        if self.ends_at.is_some_and(|end| self.entries.len() >= end) {
            self.is_out = true;
            return Err(io::Error::other("the power is gone"));
        }
        self.entries.push(entry());
        Ok(())
    }
}
