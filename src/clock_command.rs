//! `latchkey clock accept`: the operator's word that the clock is right although it lies behind
//! the data.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::clock::{BEHIND_TOLERANCE, Timestamp};
use crate::config::Config;
use crate::store::{DataDirectory, DirectoryProblem, OpenError, Store, StoreError};

/// Why it was not done.
#[derive(Debug)]
pub enum AcceptError {
    /// There is nothing whose time could be behind: the command has mistaken the place.
    NoDatabase(PathBuf),
    /// The clock is as right as it needs to be, and sessions would end for nothing.
    NotBehind {
        /// What the clock says.
        now: Timestamp,
        /// The latest committed time.
        mark: Timestamp,
    },
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
            Self::NoDatabase(directory) => write!(
                f,
                "there is no database in {} (storage.directory); run the command where the server \
                 runs, or name its configuration with --config",
                directory.display()
            ),
            Self::NotBehind { now, mark } => write!(
                f,
                "the clock is not behind; nothing was changed (it says {now}, and the latest \
                 commit was at {mark})"
            ),
            Self::Directory(problem) => problem.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Store(error @ StoreError::Unavailable) => write!(
                f,
                "{error}; it may or may not have happened; look at the disk, and run the command \
                 again"
            ),
            Self::Store(error) => write!(f, "nothing was changed: {error}"),
            Self::Runtime(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AcceptError {}

/// Sets the mark to `now`, which the clock says and which lies behind it, ends all sessions, and
/// returns `now`.
///
/// # Errors
/// [`AcceptError`]; the server must not be running. But for [`StoreError::Unavailable`], nothing
/// was changed then.
pub fn accept(config: &Config, now: Timestamp) -> Result<Timestamp, AcceptError> {
    let path = &config.storage.directory;
    if !DataDirectory::holds_database(path) {
        return Err(AcceptError::NoDatabase(path.clone()));
    }
    let directory = DataDirectory::open(path).map_err(AcceptError::Directory)?;
    let (store, writer) =
        Store::open(directory, config.into(), config.into()).map_err(AcceptError::Open)?;
    let accepted = accept_in(&store, now);
    drop(store);
    writer.join();
    accepted.map(|()| now)
}

fn accept_in(store: &Store, now: Timestamp) -> Result<(), AcceptError> {
    let mark = store.last_commit();
    if now.saturating_add(BEHIND_TOLERANCE) >= mark {
        return Err(AcceptError::NotBehind { now, mark });
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().map_err(AcceptError::Runtime)?;
    runtime.block_on(store.accept_clock(now)).map_err(AcceptError::Store)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);

    fn config(root: &tempfile::TempDir) -> Config {
        let mut config = Config::load(None, &[]).unwrap().config;
        config.storage.directory = root.path().join("data");
        config
    }

    /// A database whose mark is [`MARK`].
    fn make_database(config: &Config) {
        let directory = DataDirectory::open(&config.storage.directory).unwrap();
        let (store, writer) = Store::open(directory, config.into(), config.into()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.accept_clock(MARK)).unwrap();
        drop(store);
        writer.join();
    }

    fn mark(config: &Config) -> Timestamp {
        let directory = DataDirectory::open(&config.storage.directory).unwrap();
        let (store, writer) = Store::open(directory, config.into(), config.into()).unwrap();
        let mark = store.last_commit();
        drop(store);
        writer.join();
        mark
    }

    #[test]
    fn where_there_is_no_database_none_is_made() {
        let root = tempfile::tempdir().unwrap();
        let config = config(&root);
        let error = accept(&config, MARK).unwrap_err().to_string();
        assert!(error.starts_with("there is no database in "), "{error}");
        assert!(!config.storage.directory.exists());
    }

    #[test]
    fn a_clock_that_is_behind_is_accepted_and_any_other_refused() {
        let root = tempfile::tempdir().unwrap();
        let config = config(&root);
        make_database(&config);
        for now in
            [MARK, MARK.saturating_add(BEHIND_TOLERANCE), MARK.saturating_sub(BEHIND_TOLERANCE)]
        {
            let error = accept(&config, now).unwrap_err().to_string();
            assert!(error.starts_with("the clock is not behind; nothing was changed"), "{error}");
            assert_eq!(mark(&config), MARK);
        }
        let behind = MARK.saturating_sub(BEHIND_TOLERANCE * 2);
        assert_eq!(accept(&config, behind).unwrap(), behind);
        assert_eq!(mark(&config), behind);
    }

    #[test]
    fn where_storage_gives_no_answer_the_outcome_is_unknown() {
        let root = tempfile::tempdir().unwrap();
        let mut config = config(&root);
        make_database(&config);
        config.storage.min_free = u64::MAX;
        let error = accept(&config, MARK.saturating_sub(BEHIND_TOLERANCE * 2)).unwrap_err();
        assert!(error.to_string().contains("it may or may not have happened"), "{error}");
    }
}
