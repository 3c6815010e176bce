//! The log: lines on stderr, as text or JSON.
//!
//! Logging never waits for stderr and never fails: a server whose log cannot be written keeps
//! serving. Lines go into a bounded queue, and a separate thread writes them. Lines that find no
//! room are counted, and the log reports their number.
//!
//! - `events`: formats `tracing` events as lines
//! - `line`: the limits of a line, and the lines that the log writes about itself
//! - `queue`: the waiting lines, and the thread that writes them

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level, Metadata};

use self::events::Events;
use self::queue::{Queue, Urgency};
use crate::clock::Clock;
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::mail;

mod events;
mod line;
mod queue;

/// How long the end of the process waits for a blocked stderr.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// The log of this process, once it is installed.
static LOG: OnceLock<Arc<Queue>> = OnceLock::new();

tokio::task_local! {
    /// The id of the request that the task is answering.
    static REQUEST: Arc<str>;
}

/// Sends all log lines to stderr from now on, in the configured form. Only the first call in a
/// process has an effect.
///
/// # Errors
/// If the system cannot start the writing thread.
pub fn start(config: &LogConfig) -> io::Result<()> {
    let format = config.format;
    let queue = Arc::new(Queue::new(format, Clock::system()));
    let waiting = Arc::clone(&queue);
    let lines = dispatch(config, move |metadata, line| take(&waiting, format, metadata, line));
    if tracing::dispatcher::set_global_default(lines).is_err() {
        return Ok(()); // The first goes on.
    }
    let writing = Arc::clone(&queue);
    thread::Builder::new().name("log".to_owned()).spawn(move || writing.write(io::stderr()))?;
    let _ = LOG.set(queue);
    Ok(())
}

/// Waits until every line so far has been written or given up, for two seconds at most. Call it
/// before the process ends, and before anything else is written to stderr.
pub fn flush() {
    if let Some(queue) = LOG.get() {
        queue.flush(FLUSH_PATIENCE);
    }
}

/// A subscriber that formats events as lines and gives each, with its line end, to `sink`.
pub fn dispatch<S>(config: &LogConfig, sink: S) -> Dispatch
where
    S: Fn(&Metadata<'_>, &str) + Send + Sync + 'static,
{
    let level = match config.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Dispatch::new(Events::new(level, config.format, Clock::system(), sink))
}

/// Adds the request's id to every line that `answering` logs.
pub fn within_request<F: Future>(name: Arc<str>, answering: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(name, answering)
}

/// Whether it is a mail that goes to the log instead of being sent. Those are written at every
/// level: someone who wants only warnings still wants their mail.
fn is_mail(metadata: &Metadata<'_>) -> bool {
    metadata.target() == mail::LOG_TARGET && *metadata.level() <= Level::INFO
}

/// Queues a line. Never fails and never blocks.
fn take(queue: &Queue, format: LogFormat, metadata: &Metadata<'_>, line: &str) {
    let urgency = if is_mail(metadata) { Urgency::Mail } else { Urgency::Ordinary };
    queue.push(&line::bounded(format, *metadata.level(), line, || queue.now()), urgency);
}

#[cfg(test)]
mod tests;
