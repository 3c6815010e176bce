//! The hashing threads: they take jobs from the queue and keep a block of memory while they do.

use std::any::Any;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::HasherBusy;
use super::memory::Memory;
use super::queue::{Queue, Queued};
use crate::clock::Clock;
use crate::config::PasswordConfig;
use crate::domain::AddressBlock;

/// The assumed time for one KiB in one pass, until hashes have been measured.
const ESTIMATE_PER_KIB: Duration = Duration::from_micros(1);

/// Threads at low priority with a bounded queue before them. They end when this is dropped, each
/// after the job it has begun.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Notified when a job was pushed, and when the threads should end.
    changed: Condvar,
    clock: Clock,
    /// How long an idle thread keeps its memory.
    keep_memory: Duration,
}

struct State {
    queue: Queue<Job>,
    is_stopping: bool,
}

/// A piece of work for a thread.
struct Job {
    /// Upgrades as long as the caller waits.
    caller: Weak<()>,
    /// Does the work and answers the caller.
    work: Box<dyn FnOnce(&mut Memory) + Send>,
}

impl Pool {
    /// Starts as many threads as configured, or one for each core. If the system cannot start one,
    /// those already started end.
    pub(super) fn start(
        config: &PasswordConfig,
        keep_memory: Duration,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let threads = config
            .threads
            .or_else(|| thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get);
        let estimate =
            ESTIMATE_PER_KIB.saturating_mul(config.memory_kib).saturating_mul(config.iterations);
        let is_abandoned = |job: &Job| job.caller.strong_count() == 0;
        let queue = Queue::new(threads, config.max_wait, estimate, is_abandoned);
        let pool = Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State { queue, is_stopping: false }),
                changed: Condvar::new(),
                clock,
                keep_memory,
            }),
        };
        for number in 1..=threads {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new()
                .name(format!("hasher-{number}"))
                .spawn(move || shared.serve(number))?;
        }
        Ok(pool)
    }

    /// Runs `work`, which makes `hashes` hashes at most, on one of the threads. If the returned
    /// future is dropped before the work begins, it is not done. [`HasherBusy`] is the answer if it
    /// would wait too long, was displaced by another address, returned `None` for want of memory, or
    /// panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        from: AddressBlock,
        hashes: usize,
        work: impl FnOnce(&mut Memory) -> Option<T> + Send + 'static,
    ) -> Result<T, HasherBusy> {
        let (answer, answered) = oneshot::channel();
        let work = move |memory: &mut Memory| {
            // A caller that went away meanwhile needs no answer.
            let _ = answer.send(work(memory));
        };
        // Dropped with this future.
        let caller = Arc::new(());
        let job = Job { caller: Arc::downgrade(&caller), work: Box::new(work) };
        let refused = self.shared.lock().queue.push(from, hashes, job);
        self.shared.changed.notify_one();
        // Dropping a job tells its caller that it was refused. Not under the lock.
        drop(refused);
        let busy = || HasherBusy { retry_after: self.shared.lock().queue.retry_after() };
        answered.await.ok().flatten().ok_or_else(busy)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().is_stopping = true;
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of the thread of this number.
    fn serve(&self, number: usize) {
        if let Err(error) = lower_priority()
            && number == 1
        {
            tracing::warn!(%error, "hashing threads run at normal priority");
        }
        let mut memory = Memory::default();
        while let Some(Queued { hashes, job }) = self.next_job(&mut memory) {
            let begun = self.clock.read().monotonic;
            let outcome = catch_unwind(AssertUnwindSafe(|| (job.work)(&mut memory)));
            let elapsed = self.clock.read().monotonic.saturating_sub(begun);
            self.lock().queue.finished(elapsed, hashes);
            if let Err(panic) = outcome {
                memory.give_back();
                // The message is not logged: it could quote what was being worked on.
                discard(panic);
                tracing::error!("a hashing job panicked");
            }
        }
    }

    /// Waits for a job; `None` when the threads should end. An idle thread gives its memory back.
    fn next_job(&self, memory: &mut Memory) -> Option<Queued<Job>> {
        let mut state = self.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            if let Some(job) = state.queue.pop() {
                return Some(job);
            }
            let timeout = if memory.len() == 0 { Duration::MAX } else { self.keep_memory };
            let (guard, waited) =
                self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if waited.timed_out() {
                // Wiping takes milliseconds: not under the lock.
                drop(state);
                memory.give_back();
                state = self.lock();
            }
        }
    }
}

/// Drops a panic's payload, which may panic in turn.
fn discard(panic: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(second);
    }
}

/// Linux keeps a nice value for each thread; elsewhere it belongs to the whole process, which
/// must not be slowed down.
#[cfg(target_os = "linux")]
fn lower_priority() -> std::io::Result<()> {
    use rustix::process::{getpriority_process, setpriority_process};

    /// About a tenth of the processor time of a thread at 0 if both need it.
    const NICE: i32 = 10;

    let thread = Some(rustix::thread::gettid());
    if getpriority_process(thread)? < NICE {
        setpriority_process(thread, NICE)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::JoinHandle;

    use super::*;
    use crate::clock::Timestamp;
    use crate::hasher::tests::config;

    fn address(last: u8) -> AddressBlock {
        AddressBlock::of([192, 0, 2, last].into())
    }

    /// One thread; `waiting` jobs, of 10 ms each, may wait while it is busy.
    fn pool(waiting: u32) -> Pool {
        let config = PasswordConfig {
            threads: NonZeroUsize::new(1),
            max_wait: Duration::from_millis(10) * waiting,
            ..config(10_000, 1)
        };
        Pool::start(&config, Duration::ZERO, Clock::manual(Timestamp::EPOCH)).unwrap()
    }

    type Caller = JoinHandle<Result<(), HasherBusy>>;

    /// A caller whose job is in the queue, or was refused.
    async fn call(
        pool: &Arc<Pool>,
        from: AddressBlock,
        work: impl FnOnce() + Send + 'static,
    ) -> Caller {
        let pool = Arc::clone(pool);
        let work = move |_: &mut Memory| {
            work();
            Some(())
        };
        let caller = tokio::spawn(async move { pool.run(from, 1, work).await });
        // Lets it run until it waits.
        tokio::task::yield_now().await;
        caller
    }

    /// A job that reports its number when it is done.
    fn job(done: &mpsc::Sender<u32>, number: u32) -> impl FnOnce() + Send + 'static {
        let done = done.clone();
        move || done.send(number).unwrap()
    }

    /// Keeps the pool's only thread busy until the gate, the sender, is dropped.
    async fn occupy(pool: &Arc<Pool>) -> (mpsc::Sender<()>, Caller) {
        let (gate, opened) = mpsc::channel();
        let (begun, has_begun) = oneshot::channel();
        let work = move || {
            begun.send(()).unwrap();
            let _ = opened.recv();
        };
        let caller = call(pool, address(255), work).await;
        has_begun.await.unwrap();
        (gate, caller)
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_serves_the_rest_in_turn() {
        let pool = Arc::new(pool(3));
        let (gate, occupied) = occupy(&pool).await;
        let (done, order) = mpsc::channel();
        let first = call(&pool, address(1), job(&done, 1)).await;
        let second = call(&pool, address(1), job(&done, 2)).await;
        let third = call(&pool, address(1), job(&done, 3)).await;
        assert!(call(&pool, address(1), job(&done, 4)).await.is_finished(), "refused");
        let other = call(&pool, address(2), job(&done, 10)).await;
        drop(gate);
        assert_eq!(occupied.await.unwrap(), Ok(()));
        assert_eq!(first.await.unwrap(), Ok(()));
        assert_eq!(other.await.unwrap(), Ok(()));
        let busy = HasherBusy { retry_after: Duration::from_secs(1) };
        assert_eq!(second.await.unwrap(), Err(busy), "above its share once another waits");
        assert_eq!(third.await.unwrap(), Err(busy));
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [1, 10]);
    }

    #[tokio::test]
    async fn a_caller_that_went_away_is_not_worked_for() {
        let pool = Arc::new(pool(8));
        let (gate, occupied) = occupy(&pool).await;
        let (done, order) = mpsc::channel();
        let abandoned = call(&pool, address(1), job(&done, 1)).await;
        let kept = call(&pool, address(1), job(&done, 2)).await;
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        drop(gate);
        occupied.await.unwrap().unwrap();
        assert_eq!(kept.await.unwrap(), Ok(()));
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [2]);
    }

    #[tokio::test]
    async fn a_panic_ends_neither_the_thread_nor_the_caller() {
        let pool = Arc::new(pool(1));
        let answer = pool.run(address(1), 1, |_| -> Option<()> { panic!("for the test") }).await;
        let _: HasherBusy = answer.unwrap_err();
        assert_eq!(pool.run(address(1), 1, |_| Some(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn an_idle_thread_gives_its_memory_back() {
        let pool = pool(1);
        pool.run(address(1), 1, |memory| memory.blocks(8).map(|_| ())).await.unwrap();
        // The next job may come before the thread has found itself idle; some job comes after.
        while pool.run(address(1), 1, |memory| Some(memory.len())).await.unwrap() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn threads_end_when_the_pool_is_dropped() {
        let pool = Arc::new(pool(1));
        let (gate, occupied) = occupy(&pool).await;
        let shared = Arc::downgrade(&pool.shared);
        drop(gate);
        occupied.await.unwrap().unwrap();
        drop(pool);
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn threads_have_a_name_and_a_low_priority() {
        let pool = pool(1);
        let (name, nice) = pool
            .run(address(1), 1, |_| {
                let thread = Some(rustix::thread::gettid());
                let nice = rustix::process::getpriority_process(thread).unwrap();
                Some((thread::current().name().map(str::to_owned), nice))
            })
            .await
            .unwrap();
        assert_eq!(name.as_deref(), Some("hasher-1"));
        let own = rustix::process::getpriority_process(None).unwrap();
        assert_eq!(nice, own.max(10), "and only the hashing threads are slowed down");
    }
}
