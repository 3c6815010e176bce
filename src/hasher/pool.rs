//! The hashing threads: they take jobs from the queue and keep a block of memory while they do.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::HasherBusy;
use super::memory::Memory;
use super::queue::{Queue, Queued};
use crate::clock::Clock;
use crate::domain::AddressBlock;

/// How the threads are started.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolOptions {
    /// How many there are.
    pub(super) threads: usize,
    /// The longest expected wait of a job.
    pub(super) max_wait: Duration,
    /// The assumed duration of a job, until some have been measured.
    pub(super) estimate: Duration,
    /// How long an idle thread keeps its memory.
    pub(super) keep_memory: Duration,
}

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
    keep_memory: Duration,
    /// Makes only one thread report that priorities cannot be lowered.
    priority_warning: Once,
}

struct State {
    queue: Queue<BoxedJob>,
    is_stopping: bool,
}

/// A piece of work for a thread.
trait Job: Send {
    /// Whether the caller has gone away.
    fn is_abandoned(&self) -> bool;

    /// Does the work and answers the caller.
    fn run(self: Box<Self>, memory: &mut Memory);
}

type BoxedJob = Box<dyn Job>;

struct Work<T, F> {
    work: F,
    answer: oneshot::Sender<T>,
}

impl<T: Send, F: FnOnce(&mut Memory) -> T + Send> Job for Work<T, F> {
    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn run(self: Box<Self>, memory: &mut Memory) {
        let answer = (self.work)(memory);
        // A caller that went away meanwhile needs no answer.
        let _ = self.answer.send(answer);
    }
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system cannot start a thread; those already started end.
    pub(super) fn start(options: PoolOptions, clock: Clock) -> std::io::Result<Self> {
        let is_abandoned: fn(&BoxedJob) -> bool = |job| job.is_abandoned();
        let queue = Queue::new(options.threads, options.max_wait, options.estimate, is_abandoned);
        let pool = Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State { queue, is_stopping: false }),
                changed: Condvar::new(),
                clock,
                keep_memory: options.keep_memory,
                priority_warning: Once::new(),
            }),
        };
        for number in 1..=options.threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new()
                .name(format!("hasher-{number}"))
                .spawn(move || shared.serve())?;
        }
        Ok(pool)
    }

    /// Runs `work`, which makes `hashes` hashes at most, on one of the threads. If the returned
    /// future is dropped before the work begins, it is not done.
    ///
    /// # Errors
    /// [`HasherBusy`] if it would wait too long, was displaced by another address, or panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        from: AddressBlock,
        hashes: usize,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, HasherBusy> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Work { work, answer });
        let refused = self.shared.lock().queue.push(from, hashes, job);
        self.shared.changed.notify_one();
        // Dropping a job tells its caller that it was refused. Not under the lock.
        drop(refused);
        answered.await.map_err(|_| self.busy())
    }

    /// The answer to a caller that cannot be served now.
    pub(super) fn busy(&self) -> HasherBusy {
        HasherBusy { retry_after: self.shared.lock().queue.retry_after() }
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

    /// The body of one thread.
    fn serve(&self) {
        if let Err(error) = lower_priority() {
            self.priority_warning.call_once(|| {
                tracing::warn!(%error, "hashing threads run at normal priority");
            });
        }
        let mut memory = Memory::default();
        while let Some(Queued { hashes, job }) = self.next_job(&mut memory) {
            let begun = self.clock.read().monotonic;
            let outcome = catch_unwind(AssertUnwindSafe(|| job.run(&mut memory)));
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
    fn next_job(&self, memory: &mut Memory) -> Option<Queued<BoxedJob>> {
        let mut state = self.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            if let Some(job) = state.queue.pop() {
                return Some(job);
            }
            if memory.len() == 0 {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (guard, waited) = self
                .changed
                .wait_timeout(state, self.keep_memory)
                .unwrap_or_else(PoisonError::into_inner);
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
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::clock::Timestamp;

    fn address(last: u8) -> AddressBlock {
        AddressBlock::of([192, 0, 2, last].into())
    }

    /// One thread; `waiting` jobs may wait while it is busy.
    fn pool(waiting: u32) -> Pool {
        let estimate = Duration::from_millis(10);
        let options = PoolOptions {
            threads: 1,
            max_wait: estimate * waiting,
            estimate,
            keep_memory: Duration::ZERO,
        };
        Pool::start(options, Clock::manual(Timestamp::EPOCH)).unwrap()
    }

    /// Keeps the pool's only thread busy until the gate, the sender, is dropped.
    async fn occupy(
        pool: &Arc<Pool>,
    ) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), HasherBusy>>) {
        let (gate, opened) = mpsc::channel();
        let (begun, has_begun) = oneshot::channel();
        let pool = Arc::clone(pool);
        let task = tokio::spawn(async move {
            let work = move |_: &mut Memory| {
                begun.send(()).unwrap();
                let _ = opened.recv();
            };
            pool.run(address(255), 1, work).await
        });
        has_begun.await.unwrap();
        (gate, task)
    }

    type Answer = Result<(), HasherBusy>;

    /// A caller whose future was polled once, so that its job is in the queue.
    struct Caller {
        future: Pin<Box<dyn Future<Output = Answer> + Send>>,
        answer: Option<Answer>,
    }

    fn call(pool: &Arc<Pool>, from: AddressBlock, work: impl FnOnce() + Send + 'static) -> Caller {
        let pool = Arc::clone(pool);
        let mut future: Pin<Box<dyn Future<Output = Answer> + Send>> =
            Box::pin(async move { pool.run(from, 1, move |_| work()).await });
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let answer = match polled {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        };
        Caller { future, answer }
    }

    impl Caller {
        async fn answer(self) -> Answer {
            match self.answer {
                Some(answer) => answer,
                None => self.future.await,
            }
        }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_serves_the_rest_in_turn() {
        let pool = Arc::new(pool(3));
        let (gate, occupied) = occupy(&pool).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let job = |number: usize| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(number)
        };
        let first = call(&pool, address(1), job(1));
        let second = call(&pool, address(1), job(2));
        let third = call(&pool, address(1), job(3));
        assert!(call(&pool, address(1), job(4)).answer.is_some_and(|answer| answer.is_err()));
        let other = call(&pool, address(2), job(10));
        drop(gate);
        assert_eq!(occupied.await.unwrap(), Ok(()));
        assert_eq!(first.answer().await, Ok(()));
        assert_eq!(other.answer().await, Ok(()));
        let busy = HasherBusy { retry_after: Duration::from_secs(1) };
        assert_eq!(second.answer().await, Err(busy), "above its share once another waits");
        assert_eq!(third.answer().await, Err(busy));
        assert_eq!(*order.lock().unwrap(), [1, 10]);
    }

    #[tokio::test]
    async fn a_caller_that_went_away_is_not_worked_for() {
        let pool = Arc::new(pool(8));
        let (gate, occupied) = occupy(&pool).await;
        let done = Arc::new(AtomicUsize::new(0));
        let count = || {
            let done = Arc::clone(&done);
            move || {
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        let abandoned = call(&pool, address(1), count());
        let kept = call(&pool, address(1), count());
        drop(abandoned);
        drop(gate);
        occupied.await.unwrap().unwrap();
        kept.answer().await.unwrap();
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_panic_ends_neither_the_thread_nor_the_caller() {
        let pool = Arc::new(pool(1));
        let answer = pool.run(address(1), 1, |_| panic!("for the test")).await;
        let _: HasherBusy = answer.map(|(): ()| ()).unwrap_err();
        assert_eq!(pool.run(address(1), 1, |_| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn an_idle_thread_gives_its_memory_back() {
        let pool = pool(1);
        pool.run(address(1), 1, |memory| memory.blocks(8).is_some()).await.unwrap();
        // The next job may come before the thread has found itself idle; some job comes after.
        while pool.run(address(1), 1, |memory| memory.len()).await.unwrap() > 0 {
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
                (thread::current().name().map(str::to_owned), nice)
            })
            .await
            .unwrap();
        assert_eq!(name.as_deref(), Some("hasher-1"));
        let own = rustix::process::getpriority_process(None).unwrap();
        assert_eq!(nice, own.max(10), "and only the hashing threads are slowed down");
    }
}
