//! Going down in time, whatever hangs: a disk, a mail server, a client.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::warn;

use crate::server::Drained;
use crate::store::WriterThread;

/// The most of the time for going down that is kept for closing the database.
const CLOSING: Duration = Duration::from_millis(500);

/// Runs `future` on a runtime of many threads, and returns when it is done: what still hangs then
/// is left behind, to end with the process.
///
/// # Errors
/// If the system gives no threads.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    // Dropping it would wait without limit for a call to the system that does not come back.
    runtime.shutdown_background();
    Ok(output)
}

/// How much of `limit` what is under way has to finish.
pub(super) fn time_to_finish(limit: Duration) -> Duration {
    limit.saturating_sub(CLOSING.min(limit / 10))
}

/// Goes on with `serving` and `background`, and once it `is_told` to stop, is done within `limit`:
/// what is under way first, then the database.
pub(super) async fn within(
    limit: Duration,
    is_told: oneshot::Receiver<Instant>,
    serving: impl Future<Output = Drained>,
    mut background: JoinSet<()>,
    writer: WriterThread,
) {
    let (pass_on, told) = oneshot::channel();
    let too_late = async {
        match is_told.await {
            Ok(at) => {
                let _ = pass_on.send(at);
                sleep_until(at + limit).await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    let going_down = async {
        serving.await;
        if let Ok(at) = told.await {
            finish(&mut background, at + time_to_finish(limit)).await;
        }
        close(writer).await;
    };
    tokio::select! {
        () = going_down => {}
        () = too_late => warn!(
            "the database was still closing when the time was up (server.shutdown_timeout); \
             nothing that was answered is lost"
        ),
    }
}

/// Waits for the tasks in the background, and ends those that are not done by `deadline`.
pub(super) async fn finish(background: &mut JoinSet<()>, deadline: Instant) {
    // A task that panicked has been reported by the panic itself.
    let all = async { while background.join_next().await.is_some() {} };
    if timeout_at(deadline, all).await.is_err() {
        warn!(
            "mail or upkeep under way was cut off; mail that was being sent is sent again after \
             the next start"
        );
        background.shutdown().await;
    }
}

/// Waits until the writer has closed the database.
pub(super) async fn close(writer: WriterThread) {
    let _ = tokio::task::spawn_blocking(move || writer.join()).await;
}
