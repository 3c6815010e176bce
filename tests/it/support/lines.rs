//! What the program logs, for a test to read.

use std::sync::{Arc, Mutex, PoisonError};

use latchkey::config::{LogConfig, LogFormat};
use latchkey::logging;
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;

/// Lines of the log as they were written.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<String>>);

impl Lines {
    /// A log that takes down here all that `level` asks for.
    pub(crate) fn log(&self, level: LevelFilter) -> Dispatch {
        self.log_and(level, |_| {})
    }

    /// The same, which then does something with each line.
    pub(crate) fn log_and(
        &self,
        level: LevelFilter,
        then: impl Fn(&str) + Send + Sync + 'static,
    ) -> Dispatch {
        let lines = self.clone();
        let config = LogConfig { format: LogFormat::Text, level };
        logging::dispatch(&config, move |_, line| {
            lines.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(line);
            then(line);
        })
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those that hold `part`.
    pub(crate) fn with(&self, part: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}
