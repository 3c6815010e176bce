//! The memory for the incomplete bodies of all connections.
//!
//! A body that waits for its rest takes a share. When no memory is left, the body that has waited
//! longest gives way to the new one, so bodies that never end keep nobody out.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Complaint;

/// How much all incomplete bodies may hold, in bytes. A larger `max_body` raises it, so that
/// several of the largest fit.
const MAX_HELD: usize = 16 * 1024 * 1024;
const LARGEST_AT_A_TIME: usize = 8;

/// What a waiting body costs regardless of its size, in bytes: two buffers of hyper's and the
/// request's state.
const OVERHEAD: usize = 20 * 1024;

/// The free memory, and who holds the rest.
#[derive(Debug)]
pub(super) struct Room(Mutex<State>);

#[derive(Debug)]
struct State {
    left: usize,
    /// The waiting bodies, in the order in which they began to wait.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// The log of bodies that gave way.
    gave_way: Complaint,
}

#[derive(Debug)]
struct Waiting {
    bytes: usize,
    /// Dropped when the body has to give way.
    _stays: oneshot::Sender<()>,
}

/// One body's share, given back when dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    room: &'a Room,
    number: u64,
    stays: oneshot::Receiver<()>,
}

/// There is no room, or the body had to give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Room {
    /// Room for bodies of at most `max_body`.
    pub(super) fn new(max_body: usize) -> Self {
        let left = MAX_HELD.max(max_body.saturating_add(OVERHEAD) * LARGEST_AT_A_TIME);
        let gave_way = Complaint::default();
        Self(Mutex::new(State { left, waiting: BTreeMap::new(), next: 0, gave_way }))
    }

    /// A share for a body of which `bytes` have arrived.
    pub(super) fn share(&self, bytes: usize) -> Result<Share<'_>, NoRoom> {
        let mut state = self.lock();
        let (told, stays) = oneshot::channel();
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, Waiting { bytes: 0, _stays: told });
        let share = Share { room: self, number, stays };
        let has_room = state.grow(number, bytes.saturating_add(OVERHEAD));
        // Before the share, which also locks when it is dropped.
        drop(state);
        if has_room { Ok(share) } else { Err(NoRoom) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives `number` this many more bytes, for which the bodies before it give way one by one.
    fn grow(&mut self, number: u64, more: usize) -> bool {
        if !self.waiting.contains_key(&number) {
            return false;
        }
        while self.left < more {
            let longest = self.waiting.first_key_value().map(|(first, _)| *first);
            let Some(longest) = longest.filter(|first| *first < number) else { return false };
            self.give_back(longest);
            if let Some(suppressed) = self.gave_way.is_due(Instant::now()) {
                tracing::warn!(
                    suppressed,
                    "the memory for unfinished bodies is used up: the oldest was dropped"
                );
            }
        }
        self.left -= more;
        if let Some(waiting) = self.waiting.get_mut(&number) {
            waiting.bytes += more;
        }
        true
    }

    fn give_back(&mut self, number: u64) {
        self.left += self.waiting.remove(&number).map_or(0, |waiting| waiting.bytes);
    }
}

impl Share<'_> {
    /// Enlarges the share.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), NoRoom> {
        if self.room.lock().grow(self.number, more) { Ok(()) } else { Err(NoRoom) }
    }

    /// Waits until the body has to give way.
    pub(super) fn poll_gives_way(&mut self, cx: &mut Context<'_>) -> Poll<NoRoom> {
        std::pin::Pin::new(&mut self.stays).poll(cx).map(|_| NoRoom)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.room.lock().give_back(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn left(room: &Room) -> usize {
        room.lock().left
    }

    fn has_to_give_way(share: &mut Share<'_>) -> bool {
        share.poll_gives_way(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_share_costs_what_has_come_and_is_given_back() {
        let room = Room::new(1024);
        assert_eq!(left(&room), MAX_HELD);
        let mut share = room.share(100).unwrap();
        assert_eq!(left(&room), MAX_HELD - OVERHEAD - 100);
        share.grow(50).unwrap();
        assert_eq!(left(&room), MAX_HELD - OVERHEAD - 150);
        drop(share);
        assert_eq!(left(&room), MAX_HELD);
    }

    #[test]
    fn the_longest_waiting_give_way_one_by_one() {
        let room = Room::new(1024);
        let third = MAX_HELD / 3 - OVERHEAD;
        let [mut first, mut second, mut third] = [(); 3].map(|()| room.share(third).unwrap());
        assert!(left(&room) < OVERHEAD);
        let mut fourth = room.share(0).unwrap();
        assert!(has_to_give_way(&mut first));
        assert!(!has_to_give_way(&mut second) && !has_to_give_way(&mut third));
        // What gave way has nothing to give back any more.
        let before = left(&room);
        drop(first);
        assert_eq!(left(&room), before);
        fourth.grow(before + 1).unwrap();
        assert!(has_to_give_way(&mut second) && !has_to_give_way(&mut third));
        // Who came first has no claim against those after it.
        let rest = left(&room);
        third.grow(rest).unwrap();
        assert_eq!(third.grow(1), Err(NoRoom));
        assert!(!has_to_give_way(&mut fourth));
        drop((second, third, fourth));
        assert_eq!(left(&room), MAX_HELD);
    }

    #[test]
    fn what_will_never_fit_is_refused_and_takes_nothing() {
        let room = Room::new(1024);
        assert!(room.share(MAX_HELD).is_err());
        assert_eq!(left(&room), MAX_HELD);
        assert!(room.lock().waiting.is_empty());
    }

    #[test]
    fn several_of_the_largest_find_room() {
        let largest = 16 * 1024 * 1024;
        let room = Room::new(largest);
        let mut shares: Vec<_> =
            (0..LARGEST_AT_A_TIME).map(|_| room.share(largest).unwrap()).collect();
        assert!(!shares.iter_mut().any(has_to_give_way));
    }
}
