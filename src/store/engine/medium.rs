//! What the database lies on: a directory, or memory.

use std::fmt;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::schema::{OpenError, Opening, prepare};

/// The database file's name in the data directory.
const DATABASE: &str = "latchkey.redb";
/// The name under which a new database is prepared.
const NEW_DATABASE: &str = "latchkey.redb.new";
/// The file whose lock says that a process uses the directory.
const LOCK: &str = "lock";

/// The rights of the directory and of what is in it, whatever the umask takes from them.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Where the database lies. It is asked again whenever the database had to be closed.
pub trait Medium: Send + 'static {
    /// Opens the database. Only the first time one may be made where there is none: if it is gone
    /// later, a disk has gone with it, and an empty database would take its place.
    ///
    /// # Errors
    /// [`OpenError`], if it can be neither opened nor made.
    fn open(&self, cache: usize, opening: Opening) -> Result<Database, OpenError>;

    /// How many bytes are free for it.
    ///
    /// # Errors
    /// What the system said.
    fn free_space(&self) -> io::Result<u64>;
}

/// A data directory, held against other processes for as long as this lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum DirectoryProblem {
    /// It cannot be made, read or written.
    Io {
        /// What was tried: `create`, `open`, …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others than its owner may look into it, or into the database.
    TooOpen {
        /// Which of the two.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be.
        mend: u32,
    },
    /// It belongs to another user.
    NotOwned {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Another process uses it.
    InUse(PathBuf),
}

impl fmt::Display for DirectoryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, error } => {
                write!(f, "cannot {action} {}: {error}", path.display())
            }
            Self::TooOpen { path, mode, mend } => write!(
                f,
                "{path} holds what nobody else should read, and others may look into it (mode \
                 {mode:04o}); run: chmod {mend:o} {path}",
                path = path.display()
            ),
            Self::NotOwned { path, owner } => write!(
                f,
                "the data directory {path} belongs to user {owner}; start latchkey as that user, \
                 or run: chown -R \"$(id -u)\" {path}",
                path = path.display()
            ),
            Self::InUse(path) => write!(
                f,
                "another latchkey process uses the data directory {}; stop it, or give this one \
                 a directory of its own (storage.directory)",
                path.display()
            ),
        }
    }
}

impl std::error::Error for DirectoryProblem {}

impl DataDirectory {
    /// Makes the directory if there is none (mode 0700, its entry flushed), checks that it and
    /// the database in it are private, and takes its lock.
    ///
    /// # Errors
    /// [`DirectoryProblem`]; nothing but an empty directory and a lock file was made then.
    pub fn open(path: &Path) -> Result<Self, DirectoryProblem> {
        let problem =
            |action| move |error| DirectoryProblem::Io { action, path: path.to_owned(), error };
        create_private(path).map_err(problem("create the data directory"))?;
        let metadata = path.metadata().map_err(problem("look at the data directory"))?;
        let owner = metadata.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(DirectoryProblem::NotOwned { path: path.to_owned(), owner });
        }
        check_rights(path, &metadata, DIRECTORY_MODE)?;
        let database = path.join(DATABASE);
        // A copy that was put back may have got other rights on its way.
        if let Ok(metadata) = database.metadata() {
            check_rights(&database, &metadata, FILE_MODE)?;
        }
        let lock_path = path.join(LOCK);
        let lock = open_lock(&lock_path).map_err(|error| DirectoryProblem::Io {
            action: "write to",
            path: lock_path,
            error,
        })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DirectoryProblem::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(problem("lock the data directory")(error)),
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
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(other(error)),
            _ => {}
        }
        let file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .mode(FILE_MODE)
            .open(&new)
            .map_err(other)?;
        file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(other)?;
        drop(file);
        let database = builder(cache).create(&new).map_err(open_error)?;
        prepare(&database, Opening::First)?;
        database.close().map_err(open_error)?;
        File::open(&new).and_then(|file| file.sync_all()).map_err(other)?;
        std::fs::rename(&new, self.path.join(DATABASE)).map_err(other)?;
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(other)
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

/// Makes the directory `path` and those above it that are missing, mode 0700, and flushes the
/// entry of each, also where a start that was cut off has made some already.
fn create_private(path: &Path) -> io::Result<()> {
    let missing = path
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists());
    let made: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    for made in made.iter().rev() {
        match DirBuilder::new().mode(DIRECTORY_MODE).create(made) {
            // Someone else was faster; whether it is private is looked at later.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created?,
        }
        std::fs::set_permissions(made, Permissions::from_mode(DIRECTORY_MODE))?;
        sync_parent(made)?;
    }
    if !path.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    sync_parent(path)
}

/// Refuses what others than its owner have any right to.
fn check_rights(path: &Path, metadata: &Metadata, mend: u32) -> Result<(), DirectoryProblem> {
    let mode = metadata.permissions().mode() & 0o7777;
    let is_open_to_others = mode & 0o077 != 0;
    if is_open_to_others {
        return Err(DirectoryProblem::TooOpen { path: path.to_owned(), mode, mend });
    }
    Ok(())
}

/// The lock file; made where there is none.
fn open_lock(path: &Path) -> io::Result<File> {
    let is_new = !path.exists();
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(path)?;
    if is_new {
        lock.set_permissions(Permissions::from_mode(FILE_MODE))?;
    }
    Ok(lock)
}

/// Flushes the directory that holds `path`, so that the entry itself is durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
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
