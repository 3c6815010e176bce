//! The directory of key files: its lock, and what is read, written and removed in it.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::error::KeysError;
use super::id::{FORGOTTEN, FileName, KeyId};
use crate::private_files::{self, FILE_MODE, FileError, UNFINISHED};

/// The mode of a public half.
const PUBLIC_MODE: u32 = 0o644;

/// The most bytes of a key file; a key takes a few hundred.
const MAX_FILE: u64 = 16 * 1024;

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Its owner.
    Owner,
    /// Everybody.
    All,
}

/// The directory, locked against other processes that read or make keys.
pub(super) struct KeyDirectory {
    path: PathBuf,
    /// Holds the lock until it is closed.
    handle: File,
}

impl KeyDirectory {
    /// Opens the directory, makes it where it is missing, and removes what a crash left behind.
    /// Waits while another process has it, which takes moments.
    ///
    /// # Errors
    /// If it cannot be made or read, or if others than its owner have rights to it.
    pub(super) fn open(path: &Path) -> Result<Self, KeysError> {
        private_files::create_directory(path)?;
        let handle = private_files::open_directory(path)?;
        // Where the file system knows no locks, the database's lock is the only one.
        let _ = flock(&handle, FlockOperation::LockExclusive);
        Self::locked(path, handle)
    }

    /// Opens a directory that is there, and removes what a crash left behind; `None` while another
    /// process has it: one that was stopped must not stop us.
    ///
    /// # Errors
    /// If it cannot be read, or if others than its owner have rights to it.
    pub(super) fn try_open(path: &Path) -> Result<Option<Self>, KeysError> {
        let handle = private_files::open_directory(path)?;
        match flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            _ => Self::locked(path, handle).map(Some),
        }
    }

    fn locked(path: &Path, handle: File) -> Result<Self, KeysError> {
        let directory = Self { path: path.to_owned(), handle };
        directory.remove_unfinished()?;
        Ok(directory)
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names of all that lies in it, sorted. A name that is not UTF-8 is none of ours.
    pub(super) fn names(&self) -> Result<Vec<String>, KeysError> {
        let failed = || FileError::io("read", &self.path);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed())? {
            names.extend(entry.map_err(failed())?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a whole file. One for its owner alone must be its owner's alone.
    pub(super) fn read(
        &self,
        name: &str,
        audience: Audience,
    ) -> Result<Zeroizing<String>, KeysError> {
        let path = self.path_of(name);
        // A pipe under this name would otherwise hold up the start for ever.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&path);
        let file = file.map_err(FileError::io("read", &path))?;
        let metadata = file.metadata().map_err(FileError::io("read", &path))?;
        if !metadata.is_file() {
            return Err(KeysError::Damaged { path, problem: "it is not a file" });
        }
        if audience == Audience::Owner {
            private_files::check(&path, &metadata, FILE_MODE)?;
        }
        if metadata.len() > MAX_FILE {
            return Err(KeysError::Damaged { path, problem: "it is too long for a key" });
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize));
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(FileError::io("read", &path))?;
        match str::from_utf8(&bytes) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(KeysError::Damaged { path, problem: "it is not text" }),
        }
    }

    /// Writes a new file: whatever happens, it is there whole or not at all, and once this
    /// returns it stays, a power cut included.
    pub(super) fn write(
        &self,
        name: &str,
        text: &str,
        audience: Audience,
    ) -> Result<(), KeysError> {
        let mode = match audience {
            Audience::Owner => FILE_MODE,
            Audience::All => PUBLIC_MODE,
        };
        Ok(private_files::replace(&self.path, name, text.as_bytes(), mode)?)
    }

    /// Removes the files of a key, to stay removed. The public half goes first: alone it would
    /// look like the rest of a lost pair, while a private file gets its public half back.
    pub(super) fn remove_key(&self, id: KeyId) -> Result<(), KeysError> {
        if let Some(public) = id.public_file() {
            self.remove(&public)?;
        }
        self.remove(&id.private_file())
    }

    /// Removes a file, to stay removed; one that is not there is fine.
    pub(super) fn remove(&self, name: &str) -> Result<(), KeysError> {
        let path = self.path_of(name);
        let removed = private_files::remove_if_exists(&path)
            .and_then(|()| private_files::sync_directory(&self.handle));
        Ok(removed.map_err(FileError::io("remove", &path))?)
    }

    /// Flushes the directory's and its own entry: a process that was killed may have left files
    /// whose names are not on the disk yet, and what this start relies on must stay.
    pub(super) fn sync(&self) {
        // A read-only file system may refuse, and a parent may be closed to us. What was made in
        // this run has been flushed, or has failed, already.
        let _ = private_files::sync_directory(&self.handle);
        let _ = private_files::sync_parent(&self.path);
    }

    fn remove_unfinished(&self) -> Result<(), KeysError> {
        for name in self.names()?.iter().filter(|name| name.starts_with(UNFINISHED)) {
            let path = self.path_of(name);
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!(file = %path.display(), "removed an unfinished key file"),
                Err(error) => tracing::warn!(
                    file = %path.display(), %error, "cannot remove an unfinished key file"
                ),
            }
        }
        Ok(())
    }
}

/// The names of the keys of a directory, none of them read.
pub(super) fn key_ids(directory: &KeyDirectory) -> Result<Vec<KeyId>, KeysError> {
    let names = directory.names()?;
    let forgotten = read_forgotten(directory, &names)?;
    let ids = names.iter().filter_map(|name| match FileName::of(name) {
        FileName::Private(id) => Some(id),
        FileName::Public(_) | FileName::Unknown | FileName::Other => None,
    });
    Ok(ids.filter(|id| !forgotten.contains(id)).collect())
}

/// The names on the list of revoked keys; `names` are those of all files.
pub(super) fn read_forgotten(
    directory: &KeyDirectory,
    names: &[String],
) -> Result<Vec<KeyId>, KeysError> {
    if !names.iter().any(|name| name == FORGOTTEN) {
        return Ok(Vec::new());
    }
    let text = directory.read(FORGOTTEN, Audience::Owner)?;
    let ids: Option<Vec<KeyId>> = text.lines().map(KeyId::parse).collect();
    // A line that says nothing may have been the name of a key that must not be used.
    ids.ok_or_else(|| KeysError::Forgotten { path: directory.path_of(FORGOTTEN) })
}

/// What can be seen of a directory without reading any key: enough to tell that it has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    /// Name, length, and when it was changed, in seconds and nanoseconds.
    files: Vec<(String, u64, i64, i64)>,
}

impl Listing {
    /// Lists the key files in a directory. It need not be locked: what changes while it is listed
    /// is seen by the next listing.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn of(path: &Path) -> Result<Self, KeysError> {
        let failed = || FileError::io("read", path);
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_key = matches!(FileName::of(&name), FileName::Private(_) | FileName::Public(_));
            if is_key || name == FORGOTTEN {
                // A file that went meanwhile is missed by the next listing.
                let Ok(metadata) = entry.metadata() else { continue };
                files.push((name, metadata.len(), metadata.mtime(), metadata.mtime_nsec()));
            }
        }
        files.sort_unstable();
        Ok(Self { files })
    }
}
