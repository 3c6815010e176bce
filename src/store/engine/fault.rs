//! What can go wrong in storage.

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tracing::error;

/// Why an operation has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Storage is away, full, or has too much waiting; whether a write happened is unknown.
    #[error("storage is unavailable")]
    Unavailable,
    /// A record cannot be read; nothing was changed. The log names it.
    #[error("a stored record cannot be read")]
    Corrupt,
}

/// What went wrong inside a transaction.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The engine or the disk failed: the database has to be closed and opened again.
    Storage(redb::Error),
    /// A record is not what it should be: only what needs it fails.
    Corrupt(CorruptRecord),
}

/// A record that cannot be read.
#[derive(Debug)]
pub(crate) struct CorruptRecord {
    pub(crate) table: String,
    pub(crate) key: String,
    pub(crate) problem: String,
}

impl CorruptRecord {
    /// Logs which record it is.
    pub(crate) fn report(&self) {
        let Self { table, key, problem } = self;
        error!(table, key, problem, "a stored record is corrupt; restore it from a backup");
    }
}

impl Fault {
    pub(crate) fn corrupt(table: &str, key: &dyn Debug, problem: &str) -> Self {
        let key = format!("{key:?}");
        Self::Corrupt(CorruptRecord { table: table.to_owned(), key, problem: problem.to_owned() })
    }

    /// What the caller is told. Logs a corrupt record; the writer logs a failing disk, once.
    pub(super) fn report(self) -> StoreError {
        match self {
            Self::Storage(_) => StoreError::Unavailable,
            Self::Corrupt(record) => {
                record.report();
                StoreError::Corrupt
            }
        }
    }

    pub(super) fn into_storage(self) -> redb::Error {
        match self {
            Self::Storage(error) => error,
            Self::Corrupt(CorruptRecord { table, key, problem }) => {
                redb::Error::Corrupted(format!("{table} {key}: {problem}"))
            }
        }
    }
}

/// What was read, for callers that can do without it: `None`, and a line in the log, if the record
/// is corrupt.
pub(crate) fn readable<T>(read: Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
    match read {
        Err(Fault::Corrupt(record)) => {
            record.report();
            Ok(None)
        }
        read => read,
    }
}

macro_rules! storage_fault {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Storage(error.into())
            }
        }
    )*};
}
storage_fault!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError);

/// Takes a lock. No code panics between two changes that belong together, so a poisoned lock is
/// taken as well.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
