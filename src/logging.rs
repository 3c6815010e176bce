//! The log: lines on stderr, for people or for machines.
//!
//! Whoever logs neither waits for stderr nor learns that it is gone: a server whose log cannot be
//! written goes on serving. Lines go into a bounded queue, from which a thread of its own writes
//! them; those that find no room are counted, and the log says how many they were.
//!
//! - `line`: what a line may look like, and those that the log writes about itself
//! - `queue`: the lines that wait, and the thread that writes them

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;

use self::queue::{Queue, Urgency};
use crate::clock::Clock;
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::mail;

mod line;
mod queue;

/// How long the end of the process waits for a stderr that takes nothing.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// The log of this process, once there is one.
static LOG: OnceLock<Arc<Queue>> = OnceLock::new();

/// Sends all log lines to stderr from now on, in the configured form. Only the first call in a
/// process has an effect.
///
/// # Errors
/// If the system gives no thread to write them.
pub fn start(config: &LogConfig) -> io::Result<()> {
    let queue = Arc::new(Queue::new(config.format, Clock::system()));
    let lines = dispatch(config, Lines { format: config.format, queue: Arc::clone(&queue) });
    if tracing::dispatcher::set_global_default(lines).is_err() {
        return Ok(()); // The first goes on.
    }
    let writing = Arc::clone(&queue);
    thread::Builder::new().name("log".to_owned()).spawn(move || writing.write(io::stderr()))?;
    let _ = LOG.set(queue);
    Ok(())
}

/// Waits until every line so far has been written, or could not be: for two seconds at most. To
/// be called before the process ends, and before anything else goes to stderr.
pub fn flush() {
    if let Some(queue) = LOG.get() {
        queue.flush(FLUSH_PATIENCE);
    }
}

/// What makes lines out of events and hands them to `writer`.
fn dispatch<W>(config: &LogConfig, writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match config.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let filter = filter_fn(move |metadata| *metadata.level() <= level || is_mail(metadata))
        .with_max_level_hint(level.max(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_timer(Time(Clock::system()))
        .with_target(false)
        .with_ansi(false)
        // It would tell of a failed write on stderr, and panic if that fails as well.
        .log_internal_errors(false);
    let events = tracing_subscriber::registry().with(filter);
    match config.format {
        LogFormat::Text => events.with(lines).into(),
        LogFormat::Json => {
            events.with(lines.json().flatten_event(true).with_span_list(false)).into()
        }
    }
}

/// The time in front of each line, as the rest of the program writes it.
struct Time(Clock);

impl FormatTime for Time {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", self.0.read().wall)
    }
}

/// Whether it is about a mail that goes to the log instead of being sent. It is written at every
/// level: whoever wants only warnings still wants their mail.
fn is_mail(metadata: &Metadata<'_>) -> bool {
    metadata.target() == mail::LOG_TARGET && *metadata.level() <= Level::INFO
}

/// Where the lines go.
#[derive(Debug)]
struct Lines {
    format: LogFormat,
    queue: Arc<Queue>,
}

impl Lines {
    fn entry(&self, level: Level, urgency: Urgency) -> Entry<'_> {
        Entry { lines: self, level, urgency }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Entry<'a>;

    fn make_writer(&'a self) -> Entry<'a> {
        self.entry(Level::INFO, Urgency::Ordinary)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Entry<'a> {
        let urgency = if is_mail(metadata) { Urgency::Mail } else { Urgency::Ordinary };
        self.entry(*metadata.level(), urgency)
    }
}

/// Takes one line. It never fails and never blocks.
#[derive(Debug)]
struct Entry<'a> {
    lines: &'a Lines,
    level: Level,
    urgency: Urgency,
}

impl Write for Entry<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Lines { format, queue } = self.lines;
        let bounded = line::bounded(*format, self.level, line, || queue.now());
        queue.push(&bounded, self.urgency);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
