//! `latchkey clock accept`: the operator's word that the clock is right although it lies behind
//! the data.

use std::fmt;
use std::io;

use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::store::{DataDirectory, DirectoryProblem, OpenError, Store, StoreError, StoreSettings};

/// Why it was not done.
#[derive(Debug)]
pub enum AcceptError {
    /// The data directory; most likely the server still runs.
    Directory(DirectoryProblem),
    /// The database.
    Open(OpenError),
    /// Writing.
    Store(StoreError),
    /// The runtime.
    Runtime(io::Error),
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(problem) => problem.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Store(error) => write!(f, "nothing was changed: {error}"),
            Self::Runtime(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AcceptError {}

/// Sets the mark to the clock's time, ends all sessions, and says which time that was.
///
/// # Errors
/// [`AcceptError`]; the server must not be running.
pub fn accept(config: &Config) -> Result<Timestamp, AcceptError> {
    let directory =
        DataDirectory::open(&config.storage.directory).map_err(AcceptError::Directory)?;
    let settings = StoreSettings {
        cache: config.storage.cache,
        min_free: config.storage.min_free,
        write_queue: config.storage.write_queue,
        max_events: config.audit.max_events,
        access_lifetime: config.tokens.access_lifetime,
    };
    let (store, writer) = Store::open(directory, settings).map_err(AcceptError::Open)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().map_err(AcceptError::Runtime)?;
    let now = Clock::system().read().wall;
    let accepted = runtime.block_on(store.accept_clock(now)).map_err(AcceptError::Store);
    drop(store);
    writer.join();
    accepted.map(|()| now)
}
