//! Which job runs next and which is refused: the rule, without threads.
//!
//! Each address block has a lane, first in first out; the lanes are served in turn, so an address
//! with many jobs delays another by one job and not by all of them. Jobs are measured in hashes,
//! since a password with several forms takes as many, and a job is judged by the hashes ahead of
//! it, never by its own.
//!
//! A job is refused when its expected wait (the hashes ahead of it, times the mean time of a hash,
//! divided by the threads) is above the limit. One job may always wait, and [`MOST_WAITING`]
//! hashes at most. The number of hashes that may wait by this rule is the queue's capacity.
//!
//! - A single address may use the whole queue.
//! - Once another address waits too, no job may have as many hashes of its own address ahead of it
//!   as its share, an eighth of the capacity and at least one. Jobs that have are refused as soon
//!   as another address joins, the newest first.
//! - Where the queue is full, a newcomer takes the place of the job that has the most hashes of its
//!   own address ahead of it, if the newcomer has fewer. So a flood from many addresses leaves room
//!   for each further address, until there are more addresses than jobs that fit.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::AddressBlock;

/// The most hashes that may wait, however short they are.
pub(super) const MOST_WAITING: usize = 1024;

/// The part of the capacity that one address may hold while others wait: an eighth.
const SHARES: usize = 8;

/// A new measurement weighs an eighth in the moving average.
const WEIGHT: u32 = 8;

/// How many times the average a measurement counts at most. A suspended machine, or a thread that
/// was starved once, must not close the queue for the next hundred callers.
const OUTLIER: u32 = 4;

/// The jobs that wait, and how long a hash takes.
#[derive(Debug)]
pub(super) struct Queue<J> {
    /// The addresses with waiting jobs, the next to be served first. No lane is empty.
    lanes: VecDeque<Lane<J>>,
    /// How many hashes were taken and have not been reported finished.
    running: usize,
    /// How many jobs can run at the same time.
    threads: usize,
    /// The longest expected wait.
    max_wait: Duration,
    /// The moving average of the time of one hash.
    mean: Duration,
    /// Whether a job's caller has gone away.
    is_abandoned: fn(&J) -> bool,
}

#[derive(Debug)]
struct Lane<J> {
    from: AddressBlock,
    jobs: VecDeque<Queued<J>>,
}

/// A job with its size.
#[derive(Debug)]
pub(super) struct Queued<J> {
    /// How many hashes it makes at most.
    pub(super) hashes: usize,
    pub(super) job: J,
}

impl<J> Queue<J> {
    /// An empty queue for `threads` threads. A hash is assumed to take `estimate` until some have
    /// been measured.
    pub(super) fn new(
        threads: usize,
        max_wait: Duration,
        estimate: Duration,
        is_abandoned: fn(&J) -> bool,
    ) -> Self {
        Self {
            lanes: VecDeque::new(),
            running: 0,
            threads: threads.max(1),
            max_wait,
            mean: estimate,
            is_abandoned,
        }
    }

    /// Queues a job of at most `hashes` hashes. Returns the jobs that are refused, this one or
    /// others that it displaces.
    pub(super) fn push(&mut self, from: AddressBlock, hashes: usize, job: J) -> Vec<J> {
        // Abandoned jobs cost nothing when they are reached, but must not take up room.
        let is_abandoned = self.is_abandoned;
        for lane in &mut self.lanes {
            lane.jobs.retain(|queued| !is_abandoned(&queued.job));
        }
        self.lanes.retain(|lane| !lane.jobs.is_empty());
        let is_shared = self.lanes.iter().any(|lane| lane.from != from);
        let share = if is_shared { self.share() } else { usize::MAX };
        let mut refused = self.cut_lanes(share);
        let own_lane = self.lanes.iter().find(|lane| lane.from == from);
        let own = own_lane.map_or(0, Lane::hashes);
        if own >= share {
            refused.push(job);
            return refused;
        }
        while self.is_full() {
            let Some(displaced) = self.displace(own) else {
                refused.push(job);
                return refused;
            };
            refused.push(displaced);
        }
        let queued = Queued { hashes, job };
        match self.lanes.iter_mut().find(|lane| lane.from == from) {
            Some(lane) => lane.jobs.push_back(queued),
            None => self.lanes.push_back(Lane { from, jobs: VecDeque::from([queued]) }),
        }
        refused
    }

    /// The next job; abandoned ones are dropped. The caller must report each returned job as
    /// [`finished`](Self::finished).
    pub(super) fn pop(&mut self) -> Option<Queued<J>> {
        while let Some(mut lane) = self.lanes.pop_front() {
            let queued = lane.jobs.pop_front();
            if !lane.jobs.is_empty() {
                self.lanes.push_back(lane);
            }
            let Some(queued) = queued else { continue };
            if !(self.is_abandoned)(&queued.job) {
                self.running += queued.hashes;
                return Some(queued);
            }
        }
        None
    }

    /// A job of at most `hashes` hashes is done, `elapsed` after it was begun. (A right password
    /// may need fewer; the average is over announced hashes, since waits are estimated from those.)
    pub(super) fn finished(&mut self, elapsed: Duration, hashes: usize) {
        self.running = self.running.saturating_sub(hashes);
        let longest = (self.mean * OUTLIER).saturating_add(Duration::from_millis(1));
        let one = elapsed / u32::try_from(hashes.max(1)).unwrap_or(u32::MAX);
        self.mean = (self.mean * (WEIGHT - 1)).saturating_add(one.min(longest)) / WEIGHT;
    }

    /// How long a refused caller should wait: the expected time until everything now waiting is
    /// done, between a second and a minute.
    pub(super) fn retry_after(&self) -> Duration {
        let ahead = u32::try_from(self.waiting() + self.running).unwrap_or(u32::MAX);
        let threads = u32::try_from(self.threads).unwrap_or(u32::MAX);
        let wait = self.mean.saturating_mul(ahead) / threads;
        wait.clamp(Duration::from_secs(1), Duration::from_mins(1))
    }

    fn waiting(&self) -> usize {
        self.lanes.iter().map(Lane::hashes).sum()
    }

    /// How many hashes may wait while every thread is busy.
    fn capacity(&self) -> usize {
        let threads = u128::try_from(self.threads).unwrap_or(u128::MAX);
        let in_time =
            self.max_wait.as_nanos().saturating_mul(threads) / self.mean.as_nanos().max(1);
        // A job with `ahead` hashes before it is let in while `ahead` is at most `in_time`; of
        // those, at least as many as there are threads are running.
        let in_time = usize::try_from(in_time).unwrap_or(usize::MAX).saturating_add(1);
        in_time.saturating_sub(self.threads).clamp(1, MOST_WAITING)
    }

    /// How many hashes of its own address a job may have ahead of it while others wait, plus one.
    fn share(&self) -> usize {
        (self.capacity() / SHARES).max(1)
    }

    /// An idle thread takes a waiting job at once, so as many more may wait.
    fn is_full(&self) -> bool {
        let waiting = self.waiting();
        let is_too_late = waiting + self.running >= self.capacity() + self.threads;
        waiting > 0 && (is_too_late || waiting >= MOST_WAITING)
    }

    /// Removes the jobs that have `share` or more hashes of their own address ahead of them, newest
    /// first.
    fn cut_lanes(&mut self, share: usize) -> Vec<J> {
        let mut cut = Vec::new();
        for lane in &mut self.lanes {
            while lane.ahead() >= share
                && let Some(queued) = lane.jobs.pop_back()
            {
                cut.push(queued.job);
            }
        }
        cut
    }

    /// Removes the job with the most hashes of its own address ahead of it, if those are more than
    /// `own`.
    fn displace(&mut self, own: usize) -> Option<J> {
        let longest = self.lanes.iter_mut().rev().max_by_key(|lane| lane.ahead());
        Some(longest.filter(|lane| lane.ahead() > own)?.jobs.pop_back()?.job)
    }
}

impl<J> Lane<J> {
    fn hashes(&self) -> usize {
        self.jobs.iter().map(|queued| queued.hashes).sum()
    }

    /// How many hashes wait ahead of the newest job.
    fn ahead(&self) -> usize {
        self.jobs.iter().rev().skip(1).map(|queued| queued.hashes).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: Duration = Duration::from_millis(10);

    fn address(last: u8) -> AddressBlock {
        AddressBlock::of([192, 0, 2, last].into())
    }

    /// Two threads, both busy, and room for `capacity` waiting jobs of 10 ms.
    fn busy(capacity: u32) -> Queue<u32> {
        let max_wait = HASH * (capacity + 1) / 2;
        let mut queue = Queue::new(2, max_wait, HASH, |_| false);
        for _ in 0..2 {
            assert!(queue.push(address(255), 1, 0).is_empty());
            queue.pop().unwrap();
        }
        assert_eq!(queue.capacity(), usize::try_from(capacity).unwrap());
        queue
    }

    /// Queues a job of this address, of so many hashes, for each number; none is refused.
    fn fill(queue: &mut Queue<u32>, from: u8, hashes: usize, jobs: impl IntoIterator<Item = u32>) {
        for job in jobs {
            assert!(queue.push(address(from), hashes, job).is_empty(), "{job}");
        }
    }

    fn served(queue: &mut Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).map(|queued| queued.job).collect()
    }

    #[test]
    fn the_capacity_is_what_can_be_done_in_time() {
        for (threads, max_wait_ms, hash_ms, capacity) in [
            (2, 1_000, 15, 132),
            (4, 1_000, 120, 30),
            (1, 1_000, 400, 2),
            (4, 100, 400, 1),
            (4, 0, 15, 1),
            (2, 60_000, 1, 1_024),
            (2, 1_000, 0, 1_024),
        ] {
            let [max_wait, hash] = [max_wait_ms, hash_ms].map(Duration::from_millis);
            let queue = Queue::<u32>::new(threads, max_wait, hash, |_| false);
            assert_eq!(queue.capacity(), capacity, "{threads} {max_wait_ms} {hash_ms}");
        }
    }

    #[test]
    fn idle_threads_take_a_burst_whatever_the_wait() {
        let mut queue = Queue::new(4, Duration::ZERO, HASH, |_| false);
        fill(&mut queue, 1, 1, 0..5);
        assert_eq!(queue.push(address(1), 1, 5), [5], "four can run and one may wait");
    }

    #[test]
    fn one_address_alone_may_fill_the_queue_and_no_more() {
        let mut queue = busy(16);
        fill(&mut queue, 1, 1, 0..16);
        assert_eq!(queue.push(address(1), 1, 16), [16]);
        assert_eq!(served(&mut queue), (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn an_address_is_cut_to_an_eighth_once_another_waits() {
        let mut queue = busy(16);
        fill(&mut queue, 1, 1, 0..16);
        let put_out = queue.push(address(2), 1, 100);
        assert_eq!(put_out, (2..16).rev().collect::<Vec<_>>(), "the newest go first");
        assert_eq!(queue.push(address(1), 1, 16), [16], "it holds its share");
        assert!(queue.push(address(2), 1, 101).is_empty());
        assert_eq!(queue.push(address(2), 1, 102), [102], "and so does the other");
        assert_eq!(served(&mut queue), [0, 100, 1, 101], "they take turns");
    }

    #[test]
    fn a_flood_from_many_addresses_leaves_room_for_each_further_one() {
        let mut queue = busy(16);
        for from in 1..=8 {
            let first = u32::from(from) * 10;
            fill(&mut queue, from, 1, [first, first + 1]);
        }
        for from in 9..=16 {
            let put_out = queue.push(address(from), 1, u32::from(from) * 10);
            assert_eq!(put_out, [u32::from(from - 8) * 10 + 1]);
        }
        assert_eq!(queue.push(address(17), 1, 170), [170], "one each: nobody holds more");
        assert_eq!(queue.push(address(1), 1, 12), [12]);
    }

    #[test]
    fn abandoned_jobs_are_skipped_and_keep_nobody_out() {
        let mut queue = Queue::new(1, HASH * 3, HASH, |job| job % 2 == 1);
        fill(&mut queue, 1, 1, [1, 2, 3, 5]);
        assert!(queue.push(address(1), 1, 4).is_empty(), "three of the four were abandoned");
        assert!(queue.push(address(1), 1, 7).is_empty());
        assert_eq!(served(&mut queue), [2, 4]);
        assert_eq!(queue.running, 2, "abandoned jobs are not run");
    }

    #[test]
    fn abandoned_jobs_do_not_make_an_address_share() {
        let mut queue = Queue::new(1, HASH * 8, HASH, |job| *job == 99);
        fill(&mut queue, 1, 1, 0..4);
        let abandoned = Queued { hashes: 1, job: 99 };
        queue.lanes.push_back(Lane { from: address(2), jobs: VecDeque::from([abandoned]) });
        assert!(queue.push(address(1), 1, 4).is_empty());
        assert_eq!(served(&mut queue), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn measurements_move_the_average_and_one_outlier_hardly() {
        let mut queue = busy(100);
        queue.finished(Duration::from_secs(86_400), 1);
        assert!(queue.mean < HASH * 3 / 2, "{:?}", queue.mean);
        for _ in 0..100 {
            queue.finished(HASH * 10, 1);
        }
        assert!(queue.mean > HASH * 9 && queue.mean <= HASH * 10, "{:?}", queue.mean);
        assert_eq!(queue.capacity(), 9, "a tenth of the speed, a tenth of the room");
    }

    #[test]
    fn the_advice_grows_with_the_queue_within_bounds() {
        let mut queue = Queue::new(1, Duration::from_secs(600), Duration::from_secs(2), |_| false);
        assert_eq!(queue.retry_after(), Duration::from_secs(1));
        fill(&mut queue, 1, 1, 0..5);
        assert_eq!(queue.retry_after(), Duration::from_secs(10));
        fill(&mut queue, 1, 1, 0..100);
        assert_eq!(queue.retry_after(), Duration::from_secs(60));
    }

    #[test]
    fn a_job_of_several_hashes_delays_others_by_as_many() {
        let mut queue = busy(16);
        fill(&mut queue, 1, 3, 0..6);
        assert_eq!(queue.push(address(1), 3, 6), [6], "eighteen hashes are ahead of it");
        assert_eq!(queue.push(address(2), 3, 100), [5, 4, 3, 2, 1], "a share is two hashes");
        assert_eq!(queue.push(address(2), 1, 101), [101], "three are ahead of it");
        assert_eq!(queue.waiting(), 6);
        assert_eq!(served(&mut queue), [0, 100]);
        assert_eq!((queue.waiting(), queue.running), (0, 8));
        queue.finished(HASH * 3, 3);
        assert_eq!((queue.running, queue.mean), (5, HASH));
    }

    #[test]
    fn one_job_may_always_wait_behind_a_long_one() {
        let mut queue = Queue::new(1, Duration::ZERO, HASH, |_| false);
        assert!(queue.push(address(1), 3, 0).is_empty());
        queue.pop().unwrap();
        assert!(queue.push(address(1), 3, 1).is_empty());
        assert_eq!(queue.push(address(2), 1, 2), [2]);
    }

    proptest! {
        /// In any order of events: no address exceeds its share while others wait, at most one job
        /// exceeds the capacity, and an address without a job is refused only if every lane has a
        /// single one.
        #[test]
        fn no_order_of_events_breaks_the_shares(
            capacity in 1_u32..40,
            events in prop::collection::vec((0_u8..12, 0_u8..4, 1_usize..4), 1..400),
        ) {
            let mut queue = busy(capacity);
            let mut taken = VecDeque::from([1, 1]);
            for (number, (from, event, hashes)) in (1..).zip(events) {
                let from = address(from);
                if event == 0 {
                    if let Some(queued) = queue.pop() {
                        taken.push_back(queued.hashes);
                        let done = taken.pop_front().unwrap();
                        queue.finished(HASH * u32::try_from(done).unwrap(), done);
                    }
                    continue;
                }
                let had = queue.lanes.iter().any(|lane| lane.from == from);
                let jobs = |queue: &Queue<u32>| -> usize {
                    queue.lanes.iter().map(|lane| lane.jobs.len()).sum()
                };
                let most = queue.lanes.iter().map(|lane| lane.jobs.len()).max().unwrap_or(0);
                let before = jobs(&queue);
                let refused = queue.push(from, hashes, number);
                prop_assert_eq!(jobs(&queue), before + 1 - refused.len());
                if refused.contains(&number) {
                    prop_assert!(had || most <= 1 || queue.lanes.iter().all(|lane| lane.ahead() == 0));
                }
                prop_assert!(queue.waiting() < queue.capacity() + 3);
                if queue.lanes.len() > 1 {
                    let share = queue.share();
                    prop_assert!(queue.lanes.iter().all(|lane| lane.ahead() < share));
                }
            }
        }
    }
}
