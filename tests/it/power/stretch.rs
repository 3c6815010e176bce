//! A stretch of a disk's journal: what was asked for while it was written, and so what may be left
//! wherever it is cut. And the count of all cuts.

use std::collections::BTreeMap;

use super::census::Census;
use super::driver::Ended;
use super::model::{Expected, Model};
use super::operation::{Kind, Operation};

/// How many cuts came into what.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) cuts: usize,
    /// Those of them that the running server saw.
    pub(super) live: usize,
    /// Those of them after which the whole server was asked.
    pub(super) probed: usize,
    pub(super) operations: usize,
    pub(super) by_kind: BTreeMap<Kind, usize>,
}

impl Tally {
    /// Counts a cut that came into `kinds`.
    pub(super) fn count(&mut self, kinds: &[Kind]) {
        self.cuts += 1;
        for kind in kinds {
            *self.by_kind.entry(*kind).or_default() += 1;
        }
    }
}

/// A stretch of the journal, and what may be on the disk wherever it is cut.
pub(super) struct Stretch<'s> {
    pub(super) from: usize,
    pub(super) to: usize,
    /// What is there after each operation, what was there before them first.
    pub(super) stages: &'s [Model],
    /// What each operation should lead to.
    pub(super) expected: &'s [Expected],
    pub(super) operations: &'s [(Kind, Option<usize>)],
    /// Whether it is cut everywhere, and not only at flushes and here and there.
    pub(super) is_dense: bool,
}

impl Stretch<'_> {
    /// The first stage that may be left by a cut at `position`: what was answered before is there.
    pub(super) fn least(&self, position: usize) -> usize {
        let is_promised = |(place, (_, answered)): (usize, &(Kind, Option<usize>))| {
            let is_answered = answered.is_some_and(|answered| answered <= position);
            (is_answered && self.expected[place].has_effect).then_some(place + 1)
        };
        self.operations.iter().enumerate().filter_map(is_promised).max().unwrap_or(0)
    }

    /// What a cut at `position` comes into.
    pub(super) fn under_way(&self, position: usize) -> Vec<Kind> {
        let open = self.operations.iter().zip(self.expected).filter(|((kind, answered), due)| {
            let writes = due.has_effect || matches!(kind, Kind::Repeat | Kind::Sweep);
            writes && answered.is_none_or(|answered| answered > position)
        });
        open.map(|((kind, _), _)| *kind).collect()
    }

    /// Which of the stages that a cut at `position` may leave is in a database.
    pub(super) fn stage_of(&self, census: &Census, position: usize) -> Result<usize, String> {
        let stages = self.stages.iter().enumerate().skip(self.least(position));
        let found = stages.clone().find(|(_, model)| model.agrees_with(census));
        found.map(|(stage, _)| stage).ok_or_else(|| {
            let views: Vec<_> = stages.map(|(_, model)| model.view()).collect();
            format!(
                "the database has {:?}, which is none of what it may have: {views:?}",
                census.view
            )
        })
    }
}

/// Holds an answer against the model. A power cut leaves open whether there is one.
pub(super) fn check_answer(
    operation: &Operation,
    due: Expected,
    ended: Option<&Ended>,
    is_out: bool,
) -> Result<(), String> {
    let kind = operation.kind();
    let Some(ended) = ended else {
        return if is_out { Ok(()) } else { Err(format!("{kind:?} never ended")) };
    };
    let status = ended.reply.as_ref().map(|reply| reply.status);
    if status == due.status || (status == Some(503) && is_out) {
        return Ok(());
    }
    Err(format!("{kind:?} is answered by {status:?}, and {:?} was due", due.status))
}
