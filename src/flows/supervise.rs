//! Supervision: a task that goes on for as long as the server does outlives its own panics.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::error;

/// The wait before a task that panicked is started again.
const PAUSE: Duration = Duration::from_secs(10);

/// Runs what `start` makes of `context` until it ends, which it does when the other side of
/// `stopped` is gone. If it panics, the log says so and it is started again after a pause.
pub async fn supervise<C, T>(
    task: &'static str,
    context: C,
    stopped: watch::Receiver<()>,
    start: impl Fn(C, watch::Receiver<()>) -> T,
) where
    C: Clone,
    T: Future<Output = ()> + Send + 'static,
{
    let start = |stopped| start(context.clone(), stopped);
    supervise_with(PAUSE, task, stopped, start).await;
}

/// Waits until the other side of `stopped` is gone.
pub async fn until_stopped(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

async fn supervise_with<T>(
    pause: Duration,
    task: &'static str,
    stopped: watch::Receiver<()>,
    start: impl Fn(watch::Receiver<()>) -> T,
) where
    T: Future<Output = ()> + Send + 'static,
{
    loop {
        // In a set, so that it ends with this future.
        let mut running = JoinSet::new();
        running.spawn(start(stopped.clone()));
        let has_panicked =
            running.join_next().await.and_then(Result::err).is_some_and(|error| error.is_panic());
        if !has_panicked {
            return;
        }
        error!(task, again_in = ?pause, "a background task panicked; it will be started again");
        tokio::select! {
            () = until_stopped(stopped.clone()) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

    /// A task that panics at its first `panics` starts, and how often it was started.
    fn task(panics: usize) -> (Arc<AtomicUsize>, impl Fn(watch::Receiver<()>) -> Task) {
        let starts = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&starts);
        let start = move |stopped| -> Task {
            let number = count.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                assert!(number >= panics, "as ordered");
                until_stopped(stopped).await;
            })
        };
        (starts, start)
    }

    #[tokio::test]
    async fn a_task_that_panics_is_started_again_and_ends_at_the_stop() {
        let (stop, stopped) = watch::channel(());
        let (starts, start) = task(2);
        let supervised = supervise_with(Duration::ZERO, "test", stopped, start);
        let stopping = async {
            while starts.load(Ordering::SeqCst) < 3 {
                tokio::task::yield_now().await;
            }
            drop(stop);
        };
        tokio::join!(supervised, stopping);
        assert_eq!(starts.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn it_pauses_before_the_next_start_and_a_stop_ends_the_pause() {
        let (stop, stopped) = watch::channel(());
        let (starts, start) = task(usize::MAX);
        let supervised = supervise("test", (), stopped, move |(), stopped| start(stopped));
        let stopping = async {
            while starts.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            drop(stop);
        };
        tokio::join!(supervised, stopping);
        assert_eq!(starts.load(Ordering::SeqCst), 1);
    }
}
