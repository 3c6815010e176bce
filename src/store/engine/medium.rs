//! What the database lies on: a directory, or memory.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, DatabaseError, StorageBackend};
use thiserror::Error;

use super::schema::{OpenError, Opening, prepare};
use crate::private_files::{self, FILE_MODE, FileError};

/// The database file's name in the data directory.
const DATABASE: &str = "latchkey.redb";
/// The name under which a new database is prepared.
const NEW_DATABASE: &str = "latchkey.redb.new";
/// The file whose lock says that a process uses the directory.
const LOCK: &str = "lock";

/// Where the database lies. It is asked again whenever the database had to be closed.
pub trait Medium: Send + 'static {
    /// Opens the database. Only the first time one may be made where there is none: if it is gone
    /// later, a disk has gone with it, and an empty database would take its place.
    ///
    /// # Errors
    /// [`OpenError`], if it can be neither opened nor made.
    fn open(&self, cache: usize, opening: Opening) -> Result<Database, OpenError>;

    /// How many bytes are free for it.
    fn free_space(&self) -> io::Result<u64>;
}

/// A data directory, held against other processes for as long as this lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DirectoryProblem {
    /// It, the database in it or its lock cannot be made or used, or is not private.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process uses it.
    #[error(
        "another latchkey process uses the data directory {0}; stop it, or give this one a \
         directory of its own (storage.directory)"
    )]
    InUse(PathBuf),
}

impl DataDirectory {
    /// Makes the directory if there is none (mode 0700, its entry flushed), checks that it and
    /// the database in it are private, and takes its lock.
    ///
    /// # Errors
    /// [`DirectoryProblem`]; nothing but an empty directory and a lock file was made then.
    pub fn open(path: &Path) -> Result<Self, DirectoryProblem> {
        private_files::create_directory(path)?;
        // A start that was cut off may have made it without flushing its entry.
        private_files::sync_parent(path).map_err(FileError::io("flush the entry of", path))?;
        private_files::open_directory(path)?;
        let database = path.join(DATABASE);
        // A copy that was put back may have got other rights on its way.
        if let Ok(metadata) = database.metadata() {
            private_files::check(&database, &metadata, FILE_MODE)?;
        }
        let lock_path = path.join(LOCK);
        let lock = open_lock(&lock_path).map_err(FileError::io("write to", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DirectoryProblem::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(FileError::io("lock", &lock_path)(error).into()),
        }
    }

    /// Whether there is a database in `path`. Looks, and makes nothing.
    pub fn holds_database(path: &Path) -> bool {
        path.join(DATABASE).exists()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes an empty database under another name and moves it into place, so that a crash
    /// half-way leaves none rather than a broken one.
    fn create(&self, cache: usize) -> Result<(), OpenError> {
        let new = self.path.join(NEW_DATABASE);
        private_files::remove_if_exists(&new).map_err(other)?;
        drop(private_files::create_file(&new).map_err(other)?);
        let database = builder(cache).create(&new).map_err(open_error)?;
        prepare(&database, Opening::First)?;
        database.close().map_err(open_error)?;
        File::open(&new).and_then(|file| file.sync_all()).map_err(other)?;
        std::fs::rename(&new, self.path.join(DATABASE)).map_err(other)?;
        File::open(&self.path)
            .and_then(|directory| private_files::sync_directory(&directory))
            .map_err(other)
    }
}

impl Medium for DataDirectory {
    fn open(&self, cache: usize, opening: Opening) -> Result<Database, OpenError> {
        let path = self.path.join(DATABASE);
        if opening == Opening::First && !path.exists() {
            self.create(cache)?;
        }
        builder(cache).open(&path).map_err(|error| match open_error(error) {
            OpenError::Other(reason) => OpenError::Other(format!("{}: {reason}", path.display())),
            error => error,
        })
    }

    fn free_space(&self) -> io::Result<u64> {
        let statistics = rustix::fs::statvfs(&self.path)?;
        Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
    }
}

/// The lock file; made where there is none.
fn open_lock(path: &Path) -> io::Result<File> {
    match private_files::create_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            File::options().write(true).open(path)
        }
        created => created,
    }
}

fn builder(cache: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache);
    builder
}

fn open_error(error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse,
        error => OpenError::Other(error.to_string()),
    }
}

fn other(error: io::Error) -> OpenError {
    OpenError::Other(error.to_string())
}

/// Memory, for tests. Clones lie on the same memory, so that a store can be closed and opened
/// again.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<InMemoryBackend>);

impl Medium for Memory {
    fn open(&self, cache: usize, _: Opening) -> Result<Database, OpenError> {
        builder(cache).create_with_backend(self.clone()).map_err(open_error)
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data)
    }
}
