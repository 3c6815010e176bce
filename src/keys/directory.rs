//! The directory of key files: its rights, and files that are either there whole or not at all.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::contents::FORGOTTEN;
use super::error::KeysError;
use super::id::{FileName, KeyId};

/// Rights of the directory, of a private and of a public file.
const DIRECTORY_MODE: u32 = 0o700;
const PRIVATE_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

/// How a file that is still being written is named: this, and the name it will have.
const UNFINISHED: &str = ".new-";

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
        create_directory(path)?;
        let handle = open_handle(path)?;
        // Where the file system knows no locks, the database's lock is the only one.
        let _ = flock(&handle, FlockOperation::LockExclusive);
        Self::locked(path, handle)
    }

    /// Opens a directory that is there, and removes what a crash left behind; none while another
    /// process has it: one that was stopped must not stop us.
    ///
    /// # Errors
    /// If it cannot be read, or if others than its owner have rights to it.
    pub(super) fn try_open(path: &Path) -> Result<Option<Self>, KeysError> {
        let handle = open_handle(path)?;
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
        let failed = || io_error("read the key directory", &self.path);
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
        let file = file.map_err(io_error("read key file", &path))?;
        let metadata = file.metadata().map_err(io_error("read key file", &path))?;
        if !metadata.is_file() {
            return Err(KeysError::Damaged { path, problem: "it is not a file" });
        }
        if audience == Audience::Owner {
            check_rights(&path, &metadata, PRIVATE_MODE)?;
        }
        if metadata.len() > MAX_FILE {
            return Err(KeysError::Damaged { path, problem: "it is too long for a key" });
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize));
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(io_error("read key file", &path))?;
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
        let path = self.path_of(name);
        let unfinished = self.path_of(&format!("{UNFINISHED}{name}"));
        let written = write_whole(&unfinished, text, audience)
            .and_then(|()| fs::rename(&unfinished, &path))
            .and_then(|()| flush_directory(&self.handle));
        written.map_err(|error| {
            // If even that fails, the next start removes it.
            let _ = fs::remove_file(&unfinished);
            io_error("write key file", &path)(error)
        })
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
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        removed
            .and_then(|()| flush_directory(&self.handle))
            .map_err(io_error("remove key file", &path))
    }

    /// Flushes the directory's and its own entry: a process that was killed may have left files
    /// whose names are not on the disk yet, and what this start relies on must stay.
    pub(super) fn sync(&self) {
        // A read-only file system may refuse, and a parent may be closed to us. What was made in
        // this run has been flushed, or has failed, already.
        let _ = flush_directory(&self.handle);
        let _ = sync_parent(&self.path);
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
        let failed = || io_error("read the key directory", path);
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

fn open_handle(path: &Path) -> Result<File, KeysError> {
    let handle = File::open(path).map_err(io_error("read the key directory", path))?;
    let metadata = handle.metadata().map_err(io_error("read the key directory", path))?;
    check_rights(path, &metadata, DIRECTORY_MODE)?;
    Ok(handle)
}

/// Makes a directory, with the ones above it, for its owner alone and to stay.
fn create_directory(path: &Path) -> Result<(), KeysError> {
    let failed = || io_error("create the key directory", path);
    let create = || DirBuilder::new().mode(DIRECTORY_MODE).create(path);
    let created = match (create(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            create_directory(parent)?;
            create()
        }
        (created, _) => created,
    };
    match created {
        Ok(()) => {
            // The umask may have taken rights from the owner.
            fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE)).map_err(failed())?;
            sync_parent(path).map_err(failed())
        }
        // A directory on a read-only file system is reported as such even where it exists.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(failed()(error)),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => flush_directory(&File::open(".")?),
        Some(parent) => flush_directory(&File::open(parent)?),
        None => Ok(()),
    }
}

fn flush_directory(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        // Some network file systems have no such thing for a directory and keep it safe otherwise,
        // or not: there is nothing more to be done.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            Ok(())
        }
        flushed => flushed,
    }
}

fn write_whole(path: &Path, text: &str, audience: Audience) -> io::Result<()> {
    let mode = match audience {
        Audience::Owner => PRIVATE_MODE,
        Audience::All => PUBLIC_MODE,
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_MODE).open(path)?;
    // Only now the rights as meant: the umask had its say in the line above.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Refuses what others than its owner, the user of this process, have any right to.
fn check_rights(path: &Path, metadata: &Metadata, mend: u32) -> Result<(), KeysError> {
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us {
        return Err(KeysError::ForeignOwner { path: path.to_owned(), owner: metadata.uid(), us });
    }
    let mode = metadata.mode() & 0o7777;
    let is_open_to_others = mode & 0o077 != 0;
    if is_open_to_others {
        return Err(KeysError::TooOpen { path: path.to_owned(), mode, mend });
    }
    Ok(())
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    let path = path.to_owned();
    move |source| KeysError::Io { action, path, source }
}
