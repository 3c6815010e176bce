//! Whose turn it is: three lanes, served in turn, so that none waits for another to end.

use std::collections::HashSet;
use std::time::Duration;

use super::memory::Memory;
use crate::clock::Timestamp;
use crate::domain::MailId;
use crate::store::{FoundMail, MailToSend, Store, StoreError};

/// No attempt is put off by more than some minutes: a mail that is due later than this was put
/// off by a clock that was wrong.
const LATEST_DUE: Duration = Duration::from_secs(60 * 60);
/// The most mails of which is known that the walk over what is left need not try them.
const MAX_TRIED: usize = 10_000;

/// Why it is a mail's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// It was queued since the start, and this is its first attempt.
    New,
    /// It is due, the longest due first.
    Due,
    /// It is left from before the start, and tried once whenever it is due.
    Left,
}

impl Lane {
    /// Whether a new mail goes before it.
    pub(super) const fn is_backlog(self) -> bool {
        matches!(self, Self::Due | Self::Left)
    }
}

/// What a slot that came free is given by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// The wall clock.
    pub(super) now: Timestamp,
    /// The monotonic clock.
    pub(super) monotonic: Duration,
    /// Whether the slot may go to a mail that is not new.
    pub(super) has_room_for_backlog: bool,
}

/// The mails that wait, in the order of their turns.
#[derive(Debug)]
pub(super) struct Lineup {
    lanes: &'static [Lane],
    /// The place in `lanes` whose turn is next.
    next: usize,
    /// The last mail that was queued before the start; none when all of those were tried.
    left_until: Option<MailId>,
    /// The last of them that was tried.
    left_after: Option<MailId>,
    /// Those beyond it that were tried already because they were due.
    tried: HashSet<MailId>,
    /// The last new mail that had its turn.
    new_after: Option<MailId>,
    pub(super) memory: Memory,
}

impl Lineup {
    /// Everything up to `last` once, what is due, and what is queued from now on.
    pub(super) fn serving(last: Option<MailId>) -> Self {
        Self::new(&[Lane::New, Lane::Due, Lane::Left], last)
    }

    /// Everything up to `last` once.
    pub(super) fn everything(last: Option<MailId>) -> Self {
        Self::new(&[Lane::Left], last)
    }

    /// What is due.
    pub(super) fn due() -> Self {
        Self::new(&[Lane::Due], None)
    }

    fn new(lanes: &'static [Lane], last: Option<MailId>) -> Self {
        Self {
            lanes,
            next: 0,
            left_until: last,
            left_after: None,
            tried: HashSet::new(),
            new_after: last,
            memory: Memory::default(),
        }
    }

    /// The mail whose turn it is; none if nobody's is.
    pub(super) fn next(
        &mut self,
        store: &Store,
        turn: Turn,
        is_under_way: impl Fn(MailId) -> bool,
    ) -> Result<Option<(Lane, MailToSend)>, StoreError> {
        let lanes = self.lanes;
        let places = lanes.iter().enumerate().cycle().skip(self.next).take(lanes.len());
        for (place, lane) in places {
            if lane.is_backlog() && !turn.has_room_for_backlog {
                continue;
            }
            let found = match lane {
                Lane::New => self.next_new(store, turn, &is_under_way)?,
                Lane::Due => self.next_due(store, turn, &is_under_way)?,
                Lane::Left => self.next_left(store, turn, &is_under_way)?,
            };
            if let Some(item) = found {
                self.next = (place + 1) % lanes.len();
                return Ok(Some((*lane, item)));
            }
        }
        Ok(None)
    }

    fn next_new(
        &mut self,
        store: &Store,
        turn: Turn,
        is_under_way: impl Fn(MailId) -> bool,
    ) -> Result<Option<MailToSend>, StoreError> {
        loop {
            let found = store.find_mail_after(self.new_after)?;
            self.new_after = found.last().or(self.new_after);
            let Some(item) = self.take(found) else { return Ok(None) };
            let id = item.mail.id;
            // One that was tried already was due before it was seen here; it is no longer new.
            let is_new = item.mail.attempts == 0 && !is_under_way(id);
            if is_new && !self.memory.is_left_alone(id, turn.monotonic) {
                return Ok(Some(item));
            }
        }
    }

    fn next_due(
        &mut self,
        store: &Store,
        turn: Turn,
        is_under_way: impl Fn(MailId) -> bool,
    ) -> Result<Option<MailToSend>, StoreError> {
        let Self { memory, .. } = self;
        let is_out = |id| is_under_way(id) || memory.is_left_alone(id, turn.monotonic);
        let found = store.find_due_mail(turn.now, LATEST_DUE, is_out)?;
        let item = self.take(found);
        if let Some(item) = &item {
            let id = item.mail.id;
            let will_be_met = Some(id) > self.left_after && Some(id) <= self.left_until;
            if will_be_met && self.tried.len() < MAX_TRIED {
                self.tried.insert(id);
            }
        }
        Ok(item)
    }

    fn next_left(
        &mut self,
        store: &Store,
        turn: Turn,
        is_under_way: impl Fn(MailId) -> bool,
    ) -> Result<Option<MailToSend>, StoreError> {
        while self.left_until.is_some() {
            let found = store.find_mail_after(self.left_after)?;
            self.left_after = found.last().or(self.left_after);
            let item = self.take(found).filter(|item| Some(item.mail.id) <= self.left_until);
            let Some(item) = item else {
                self.left_until = None;
                self.tried = HashSet::new();
                return Ok(None);
            };
            let id = item.mail.id;
            let was_tried = self.tried.remove(&id) || is_under_way(id);
            if !was_tried && !self.memory.is_left_alone(id, turn.monotonic) {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// The mail that was found. What cannot be read is told to the log once, and left alone.
    fn take(&mut self, found: FoundMail) -> Option<MailToSend> {
        for unreadable in found.unreadable {
            if self.memory.is_newly_unreadable(unreadable.id) {
                unreadable.report();
            }
        }
        found.mail
    }
}
