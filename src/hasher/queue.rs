//! Which hash is done next, and which is refused: the pure rule, without threads.
//!
//! Jobs wait in one lane for each address block, first in first out; the lanes are served in
//! turn, so that an address with many jobs delays another by one job and not by all of them.
//!
//! A job is refused when its expected wait (the jobs ahead of it, times the mean time of a job,
//! divided by the threads) is longer than the limit. One job may always wait, and
//! [`MOST_WAITING`] at most. The number that may wait by this rule is the queue's capacity.
//!
//! - While one address is alone it may use the whole queue.
//! - Once another address waits too, each holds at most its share, an eighth of the capacity and
//!   at least one job. What an address holds above it is put out as soon as another joins, the
//!   newest first.
//! - Where the queue is full, a newcomer takes the place of the newest job of the address that
//!   holds the most, if it then still holds no more than that address. So a flood from many
//!   addresses leaves room for each further one, until more addresses than jobs would fit.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::AddressBlock;

/// The most jobs that wait, however short they are.
pub(super) const MOST_WAITING: usize = 1024;

/// The part of the capacity that one address may hold while others wait: an eighth.
const SHARES: usize = 8;

/// A new measurement weighs an eighth in the moving average.
const WEIGHT: u32 = 8;

/// How much longer than the average a measurement counts at most. A machine that was suspended,
/// or a thread that was starved once, must not close the queue for the next hundred callers.
const OUTLIER: u32 = 4;

/// What a refused caller is asked to wait at least and at most.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The jobs that wait, and what is known about how long they take.
#[derive(Debug)]
pub(super) struct Queue<J> {
    /// The addresses with waiting jobs, the one whose turn is next in front; no lane is empty.
    lanes: VecDeque<Lane<J>>,
    /// How many jobs the lanes hold together.
    waiting: usize,
    /// How many jobs were taken and not yet reported finished.
    running: usize,
    /// How many jobs can run at one time.
    threads: usize,
    /// The longest expected wait.
    max_wait: Duration,
    /// The moving average of the time of one job.
    mean: Duration,
    /// Tells a job that nobody waits for any more.
    is_abandoned: fn(&J) -> bool,
}

#[derive(Debug)]
struct Lane<J> {
    from: AddressBlock,
    jobs: VecDeque<J>,
}

impl<J> Queue<J> {
    /// An empty queue for `threads` threads. A job is taken to last `estimate` until some have
    /// been measured.
    pub(super) fn new(
        threads: usize,
        max_wait: Duration,
        estimate: Duration,
        is_abandoned: fn(&J) -> bool,
    ) -> Self {
        Self {
            lanes: VecDeque::new(),
            waiting: 0,
            running: 0,
            threads: threads.max(1),
            max_wait,
            mean: estimate,
            is_abandoned,
        }
    }

    /// Lets a job wait. Returns those that may not, this one or others that it displaces: their
    /// callers are to be told to come back later.
    pub(super) fn push(&mut self, from: AddressBlock, job: J) -> Vec<J> {
        let mut most_allowed = self.most_allowed(from);
        if self.is_full() || self.most_held() > most_allowed || self.held_by(from) >= most_allowed {
            // Abandoned jobs cost nothing when they are reached, but must not keep others out.
            self.drop_abandoned();
            most_allowed = self.most_allowed(from);
        }
        let mut put_out = self.cut_lanes(most_allowed);
        let own = self.held_by(from);
        if own >= most_allowed {
            put_out.push(job);
            return put_out;
        }
        if self.is_full() {
            let most = self.most_held();
            if own + 1 >= most {
                put_out.push(job);
                return put_out;
            }
            put_out.extend(self.take_newest_of_an_address_with(most));
        }
        match self.lanes.iter_mut().find(|lane| lane.from == from) {
            Some(lane) => lane.jobs.push_back(job),
            None => self.lanes.push_back(Lane { from, jobs: VecDeque::from([job]) }),
        }
        self.waiting += 1;
        put_out
    }

    /// The job whose turn it is. Abandoned ones are dropped on the way. Each job that is returned
    /// is to be reported [`finished`](Self::finished).
    pub(super) fn pop(&mut self) -> Option<J> {
        while let Some(mut lane) = self.lanes.pop_front() {
            let job = lane.jobs.pop_front();
            if !lane.jobs.is_empty() {
                self.lanes.push_back(lane);
            }
            let Some(job) = job else { continue };
            self.waiting -= 1;
            if !(self.is_abandoned)(&job) {
                self.running += 1;
                return Some(job);
            }
        }
        None
    }

    /// A job that was taken is done, `elapsed` after it was begun.
    pub(super) fn finished(&mut self, elapsed: Duration) {
        self.running = self.running.saturating_sub(1);
        let longest = (self.mean * OUTLIER).saturating_add(Duration::from_millis(1));
        self.mean = (self.mean * (WEIGHT - 1)).saturating_add(elapsed.min(longest)) / WEIGHT;
    }

    /// How long a refused caller should wait: until all that waits now is done, as far as can be
    /// told, and between a second and a minute.
    pub(super) fn retry_after(&self) -> Duration {
        let ahead = u32::try_from(self.waiting + self.running).unwrap_or(u32::MAX);
        let threads = u32::try_from(self.threads).unwrap_or(u32::MAX);
        let (least, most) = RETRY_AFTER;
        (self.mean.saturating_mul(ahead) / threads).clamp(least, most)
    }

    /// How many jobs may wait while every thread is busy.
    fn capacity(&self) -> usize {
        let threads = u128::try_from(self.threads).unwrap_or(u128::MAX);
        let in_time =
            self.max_wait.as_nanos().saturating_mul(threads) / self.mean.as_nanos().max(1);
        // A job with `ahead` jobs before it is let in while `ahead` is at most `in_time`; of
        // those, as many as there are threads are running.
        let in_time = usize::try_from(in_time).unwrap_or(usize::MAX).saturating_add(1);
        in_time.saturating_sub(self.threads).clamp(1, MOST_WAITING)
    }

    /// How many jobs one address may hold while others wait.
    fn share(&self) -> usize {
        (self.capacity() / SHARES).max(1)
    }

    /// How many jobs one address may hold if one of `from` waits.
    fn most_allowed(&self, from: AddressBlock) -> usize {
        let is_shared = self.lanes.iter().any(|lane| lane.from != from);
        if is_shared { self.share() } else { usize::MAX }
    }

    /// A thread without work takes a waiting job at once, so as many more may wait.
    fn is_full(&self) -> bool {
        let is_too_late = self.waiting + self.running >= self.capacity() + self.threads;
        is_too_late || self.waiting >= MOST_WAITING
    }

    fn held_by(&self, from: AddressBlock) -> usize {
        self.lanes.iter().find(|lane| lane.from == from).map_or(0, |lane| lane.jobs.len())
    }

    fn most_held(&self) -> usize {
        self.lanes.iter().map(|lane| lane.jobs.len()).max().unwrap_or(0)
    }

    /// Takes out what any address holds above `most`, which is at least one, the newest first.
    fn cut_lanes(&mut self, most: usize) -> Vec<J> {
        let mut cut = Vec::new();
        for lane in &mut self.lanes {
            let kept = lane.jobs.len().min(most);
            cut.extend(lane.jobs.drain(kept..).rev());
        }
        self.waiting -= cut.len();
        cut
    }

    /// `most` is the most that any address holds, and more than one.
    fn take_newest_of_an_address_with(&mut self, most: usize) -> Option<J> {
        let lane = self.lanes.iter_mut().find(|lane| lane.jobs.len() == most)?;
        let job = lane.jobs.pop_back()?;
        self.waiting -= 1;
        Some(job)
    }

    fn drop_abandoned(&mut self) {
        let is_abandoned = self.is_abandoned;
        for lane in &mut self.lanes {
            lane.jobs.retain(|job| !is_abandoned(job));
        }
        self.lanes.retain(|lane| !lane.jobs.is_empty());
        self.waiting = self.lanes.iter().map(|lane| lane.jobs.len()).sum();
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
            assert!(queue.push(address(255), 0).is_empty());
            queue.pop().unwrap();
        }
        assert_eq!(queue.capacity(), usize::try_from(capacity).unwrap());
        queue
    }

    fn served(queue: &mut Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
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
        for job in 0..5 {
            assert!(queue.push(address(1), job).is_empty());
        }
        assert_eq!(queue.push(address(1), 5), [5], "four can run and one may wait");
    }

    #[test]
    fn one_address_alone_may_fill_the_queue_and_no_more() {
        let mut queue = busy(16);
        for job in 0..16 {
            assert!(queue.push(address(1), job).is_empty());
        }
        assert_eq!(queue.push(address(1), 16), [16]);
        assert_eq!(served(&mut queue), (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn an_address_is_cut_to_an_eighth_once_another_waits() {
        let mut queue = busy(16);
        for job in 0..16 {
            assert!(queue.push(address(1), job).is_empty());
        }
        let put_out = queue.push(address(2), 100);
        assert_eq!(put_out, (2..16).rev().collect::<Vec<_>>(), "the newest go first");
        assert_eq!(queue.push(address(1), 16), [16], "it holds its share");
        assert!(queue.push(address(2), 101).is_empty());
        assert_eq!(queue.push(address(2), 102), [102], "and so does the other");
        assert_eq!(served(&mut queue), [0, 100, 1, 101], "they take turns");
    }

    #[test]
    fn a_flood_from_many_addresses_leaves_room_for_each_further_one() {
        let mut queue = busy(16);
        for from in 1..=8 {
            for job in 0..2 {
                assert!(queue.push(address(from), u32::from(from) * 10 + job).is_empty());
            }
        }
        for from in 9..=16 {
            let put_out = queue.push(address(from), u32::from(from) * 10);
            assert_eq!(put_out, [u32::from(from - 8) * 10 + 1]);
        }
        assert_eq!(queue.push(address(17), 170), [170], "one each: nobody holds more");
        assert_eq!(queue.push(address(1), 12), [12]);
    }

    #[test]
    fn abandoned_jobs_are_skipped_and_keep_nobody_out() {
        let mut queue = Queue::new(1, HASH * 3, HASH, |job| job % 2 == 1);
        for job in [1, 2, 3, 5] {
            assert!(queue.push(address(1), job).is_empty());
        }
        assert!(queue.push(address(1), 4).is_empty(), "three of the four were abandoned");
        assert!(queue.push(address(1), 7).is_empty());
        assert_eq!(served(&mut queue), [2, 4]);
        assert_eq!(queue.running, 2, "abandoned jobs are not run");
    }

    #[test]
    fn abandoned_jobs_do_not_make_an_address_share() {
        let mut queue = Queue::new(1, HASH * 8, HASH, |job| *job == 99);
        for job in 0..4 {
            assert!(queue.push(address(1), job).is_empty());
        }
        queue.lanes.push_back(Lane { from: address(2), jobs: VecDeque::from([99]) });
        queue.waiting += 1;
        assert!(queue.push(address(1), 4).is_empty());
        assert_eq!(served(&mut queue), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn measurements_move_the_average_and_one_outlier_hardly() {
        let mut queue = busy(100);
        queue.finished(Duration::from_secs(86_400));
        assert!(queue.mean < HASH * 3 / 2, "{:?}", queue.mean);
        for _ in 0..100 {
            queue.finished(HASH * 10);
        }
        assert!(queue.mean > HASH * 9 && queue.mean <= HASH * 10, "{:?}", queue.mean);
        assert_eq!(queue.capacity(), 9, "a tenth of the speed, a tenth of the room");
    }

    #[test]
    fn the_advice_grows_with_the_queue_within_bounds() {
        let mut queue = Queue::new(1, Duration::from_secs(600), Duration::from_secs(2), |_| false);
        assert_eq!(queue.retry_after(), Duration::from_secs(1));
        for _ in 0..5 {
            assert!(queue.push(address(1), 0).is_empty());
        }
        assert_eq!(queue.retry_after(), Duration::from_secs(10));
        for _ in 0..100 {
            assert!(queue.push(address(1), 0).is_empty());
        }
        assert_eq!(queue.retry_after(), Duration::from_secs(60));
    }

    proptest! {
        /// Whatever comes and goes: nobody above the share beside others, never too many, and an
        /// address without a job is refused only if no address holds more than one.
        #[test]
        fn no_order_of_events_breaks_the_shares(
            capacity in 1_u32..40,
            events in prop::collection::vec((0_u8..12, 0_u8..4), 1..400),
        ) {
            let mut queue = busy(capacity);
            for (number, (from, event)) in (1..).zip(events) {
                let from = address(from);
                if event == 0 {
                    if queue.pop().is_some() {
                        queue.finished(HASH);
                    }
                    continue;
                }
                let had = queue.held_by(from);
                let before = queue.waiting;
                let most = queue.lanes.iter().map(|lane| lane.jobs.len()).max().unwrap_or(0);
                let put_out = queue.push(from, number);
                prop_assert_eq!(queue.waiting, before + 1 - put_out.len());
                if put_out.contains(&number) {
                    prop_assert!(had > 0 || most <= 1);
                }
                let sum: usize = queue.lanes.iter().map(|lane| lane.jobs.len()).sum();
                prop_assert_eq!(sum, queue.waiting);
                prop_assert!(queue.waiting <= queue.capacity());
                if queue.lanes.len() > 1 {
                    let share = queue.share();
                    prop_assert!(queue.lanes.iter().all(|lane| lane.jobs.len() <= share));
                }
            }
        }
    }
}
