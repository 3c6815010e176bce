//! What is left on a disk after a power cut: everything up to the last flush, and of what came
//! after it whatever chance left there.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::Entry;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// What becomes of the writes that were not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// None reaches the disk.
    Nothing,
    /// All of them do.
    Everything,
    /// Each does or does not, whichever came first.
    Some(u64),
    /// Each of their sectors does or does not.
    Torn(u64),
}

/// A disk as its journal is walked through.
#[derive(Clone)]
pub(super) struct Platter {
    durable: Vec<u8>,
    pending: Vec<Entry>,
}

impl Platter {
    pub(super) fn new(image: Vec<u8>) -> Self {
        Self { durable: image, pending: Vec::new() }
    }

    /// Goes past one entry of the journal.
    pub(super) fn pass(&mut self, entry: &Entry) {
        if *entry == Entry::Flush {
            let pending = std::mem::take(&mut self.pending);
            pending.iter().for_each(|entry| apply(&mut self.durable, entry));
        } else {
            self.pending.push(entry.clone());
        }
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What a power cut at this place leaves.
    pub(super) fn cut(&self, fate: Fate) -> Vec<u8> {
        let mut image = self.durable.clone();
        match fate {
            Fate::Nothing => {}
            Fate::Everything => self.pending.iter().for_each(|entry| apply(&mut image, entry)),
            Fate::Some(seed) => {
                let mut chance = StdRng::seed_from_u64(seed);
                let survivors = self.pending.iter().filter(|_| chance.random_bool(0.5));
                survivors.for_each(|entry| apply(&mut image, entry));
            }
            Fate::Torn(seed) => {
                let mut chance = StdRng::seed_from_u64(seed);
                self.pending.iter().for_each(|entry| tear(&mut image, entry, &mut chance));
            }
        }
        image
    }
}

fn apply(image: &mut Vec<u8>, entry: &Entry) {
    match entry {
        Entry::Write(offset, data) => put(image, usize::try_from(*offset).unwrap(), data),
        Entry::Resize(length) => image.resize(usize::try_from(*length).unwrap(), 0),
        Entry::Flush => {}
    }
}

/// Applies some sectors of a write, or a change of length or not.
fn tear(image: &mut Vec<u8>, entry: &Entry, chance: &mut StdRng) {
    let Entry::Write(offset, data) = entry else {
        if chance.random_bool(0.5) {
            apply(image, entry);
        }
        return;
    };
    let offset = usize::try_from(*offset).unwrap();
    let mut from = 0;
    while from < data.len() {
        let to = ((offset + from) / SECTOR * SECTOR + SECTOR - offset).min(data.len());
        if chance.random_bool(0.5) {
            put(image, offset + from, &data[from..to]);
        }
        from = to;
    }
}

/// Writes as far as the file goes: where a change of length was lost, so is what lies beyond.
fn put(image: &mut [u8], offset: usize, data: &[u8]) {
    if let Some(place) = image.get_mut(offset..) {
        let room = place.len().min(data.len());
        place[..room].copy_from_slice(&data[..room]);
    }
}

#[test]
fn a_cut_leaves_what_was_flushed_and_of_the_rest_whatever_chance_leaves() {
    let mut platter = Platter::new(Vec::new());
    for entry in [
        Entry::Resize(2_048),
        Entry::Write(0, vec![1; 2_048].into()),
        Entry::Flush,
        Entry::Write(256, vec![2; 1_024].into()),
        Entry::Write(0, vec![3; 256].into()),
    ] {
        platter.pass(&entry);
    }
    let all = [vec![3; 256], vec![2; 1_024], vec![1; 768]].concat();
    assert_eq!(platter.cut(Fate::Nothing), [1; 2_048]);
    assert_eq!(platter.cut(Fate::Everything), all);
    let later_alone = [vec![3; 256], vec![1; 1_792]].concat();
    assert!((0..64).any(|seed| platter.cut(Fate::Some(seed)) == later_alone), "reordered");
    let torn = |seed| platter.cut(Fate::Torn(seed));
    // The write of 1,024 bytes from 256 on ends at the sectors' boundaries 512 and 1,024.
    let middle = [vec![1; 512], vec![2; 512], vec![1; 1_024]].concat();
    assert!((0..256).any(|seed| torn(seed) == middle), "torn");
    assert_eq!(torn(7), torn(7), "a seed repeats");
}
