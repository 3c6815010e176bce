//! The log: lines on stderr, as text or JSON.
//!
//! Logging never blocks and never fails: lines go into a bounded queue, and a thread writes them to
//! stderr. Lines that do not fit are dropped and counted, and the log reports the count. A server
//! whose log cannot be written goes on serving.
//!
//! - `events`: formats `tracing` events as lines
//! - `line`: the length limit, and the lines that the log writes about itself
//! - `queue`: the queue and the thread that writes it

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing::{Dispatch, Level, Metadata};

use self::events::Events;
use self::queue::{CAPACITY, MAIL_CAPACITY, Queue};
use crate::clock::Clock;
use crate::config::LogConfig;
use crate::mail;

mod events;
mod line;
mod queue;

/// How long [`flush`] waits for a stderr that accepts nothing.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The queue of this process, once [`start`] has run.
static LOG: OnceLock<Arc<Queue>> = OnceLock::new();

tokio::task_local! {
    /// The id of the request that the task is answering.
    static REQUEST: Arc<str>;
}

/// Sends all log lines to stderr from now on, in the configured format. Only the first call in a
/// process has an effect.
///
/// # Errors
/// If the thread that writes them cannot be started.
pub fn start(config: &LogConfig) -> io::Result<()> {
    let queue = Arc::new(Queue::new(config.format, Clock::system()));
    let sending = Arc::clone(&queue);
    let dispatch = dispatch(config, move |metadata, line| {
        let capacity = if is_mail(metadata) { MAIL_CAPACITY } else { CAPACITY };
        sending.push(line, capacity);
    });
    if tracing::dispatcher::set_global_default(dispatch).is_err() {
        return Ok(());
    }
    let writing = Arc::clone(&queue);
    thread::Builder::new().name("log".to_owned()).spawn(move || writing.write(io::stderr()))?;
    let _ = LOG.set(queue);
    Ok(())
}

/// Waits until all lines so far have been written or lost, for at most two seconds. Call it before
/// the process ends, and before anything else goes to stderr.
pub fn flush() {
    if let Some(queue) = LOG.get() {
        queue.flush(FLUSH_TIMEOUT);
    }
}

/// A dispatcher that formats events as lines and passes each, with its line end, to `sink`.
pub fn dispatch<S>(config: &LogConfig, sink: S) -> Dispatch
where
    S: Fn(&Metadata<'_>, &str) + Send + Sync + 'static,
{
    Dispatch::new(Events::new(config.level, config.format, Clock::system(), sink))
}

/// Adds the request id to every line that `answering` logs.
pub fn within_request<F: Future>(id: Arc<str>, answering: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(id, answering)
}

/// Whether an event is a mail that goes to the log instead of being sent. Such lines are written
/// at every level: with `log.level = "warn"` the mail is still needed.
fn is_mail(metadata: &Metadata<'_>) -> bool {
    metadata.target() == mail::LOG_TARGET && *metadata.level() <= Level::INFO
}

#[cfg(test)]
mod tests;
