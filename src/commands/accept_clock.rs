//! `latchkey clock accept`: the operator says that the clock is right although it lies behind the
//! data.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::clock::{BEHIND_TOLERANCE, Timestamp};
use crate::config::DataConfig;
use crate::store::{DataDirectory, DirectoryProblem, OpenError, Store, StoreError};

/// Why the clock was not accepted.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// There is no database here, so the directory is most likely the wrong one.
    #[error(
        "there is no database in {0} (storage.directory); run the command where the server runs, \
         or name its configuration with --config"
    )]
    NoDatabase(PathBuf),
    /// The clock is not behind: sessions would end for nothing.
    #[error(
        "the clock is not behind; nothing was changed (the time is {now}, and the last commit was at \
         {last_commit})"
    )]
    NotBehind {
        /// What the clock says.
        now: Timestamp,
        /// The latest committed time.
        last_commit: Timestamp,
    },
    /// The data directory; most likely the server still runs.
    #[error(transparent)]
    Directory(#[from] DirectoryProblem),
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The write failed.
    #[error("nothing was changed: {0}")]
    Write(StoreError),
    /// The write got no answer.
    #[error(
        "{0}; the change may or may not have been written; check the disk and run the command again"
    )]
    Unanswered(StoreError),
    /// The runtime.
    #[error(transparent)]
    Runtime(#[from] io::Error),
}

/// Sets the last commit time back to `now`, ends all sessions, and says so.
///
/// # Errors
/// [`AcceptError`]; the server must not be running. Nothing was changed then, unless it is
/// [`StoreError::Unavailable`].
pub fn accept_clock(config: &DataConfig, now: Timestamp) -> Result<String, AcceptError> {
    let path = &config.storage.directory;
    if !DataDirectory::holds_database(path) {
        return Err(AcceptError::NoDatabase(path.clone()));
    }
    let directory = DataDirectory::open(path)?;
    let (store, writer) = Store::open(directory, (&config.storage).into(), config.into())?;
    let accepted = accept_in(&store, now);
    drop(store);
    writer.join();
    accepted.map(|()| format!("accepted the present time, {now}; all sessions have ended\n"))
}

fn accept_in(store: &Store, now: Timestamp) -> Result<(), AcceptError> {
    let last_commit = store.last_commit();
    if now.saturating_add(BEHIND_TOLERANCE) >= last_commit {
        return Err(AcceptError::NotBehind { now, last_commit });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(store.accept_clock(now)).map_err(|error| match error {
        StoreError::Unavailable => AcceptError::Unanswered(error),
        StoreError::Corrupt => AcceptError::Write(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);

    fn config(root: &tempfile::TempDir) -> DataConfig {
        let mut config = DataConfig::load(None, &[]).unwrap();
        config.storage.directory = root.path().join("data");
        config
    }

    fn open(config: &DataConfig) -> (Store, crate::store::WriterThread) {
        let directory = DataDirectory::open(&config.storage.directory).unwrap();
        Store::open(directory, (&config.storage).into(), config.into()).unwrap()
    }

    /// A database whose last commit was at [`LAST`].
    fn make_database(config: &DataConfig) {
        let (store, writer) = open(config);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.accept_clock(LAST)).unwrap();
        drop(store);
        writer.join();
    }

    fn last_commit(config: &DataConfig) -> Timestamp {
        let (store, writer) = open(config);
        let last_commit = store.last_commit();
        drop(store);
        writer.join();
        last_commit
    }

    #[test]
    fn where_there_is_no_database_none_is_made() {
        let root = tempfile::tempdir().unwrap();
        let config = config(&root);
        let error = accept_clock(&config, LAST).unwrap_err().to_string();
        assert!(error.starts_with("there is no database in "), "{error}");
        assert!(!config.storage.directory.exists());
    }

    #[test]
    fn a_clock_that_is_behind_is_accepted_and_any_other_refused() {
        let root = tempfile::tempdir().unwrap();
        let config = config(&root);
        make_database(&config);
        for now in
            [LAST, LAST.saturating_add(BEHIND_TOLERANCE), LAST.saturating_sub(BEHIND_TOLERANCE)]
        {
            let error = accept_clock(&config, now).unwrap_err().to_string();
            assert!(error.starts_with("the clock is not behind; nothing was changed"), "{error}");
            assert_eq!(last_commit(&config), LAST);
        }
        let behind = LAST.saturating_sub(BEHIND_TOLERANCE * 2);
        assert!(accept_clock(&config, behind).unwrap().contains(&behind.to_string()));
        assert_eq!(last_commit(&config), behind);
    }

    #[test]
    fn where_storage_gives_no_answer_the_outcome_is_unknown() {
        let root = tempfile::tempdir().unwrap();
        let mut config = config(&root);
        make_database(&config);
        config.storage.min_free = u64::MAX;
        let error = accept_clock(&config, LAST.saturating_sub(BEHIND_TOLERANCE * 2)).unwrap_err();
        assert!(
            error.to_string().contains("the change may or may not have been written"),
            "{error}"
        );
    }
}
