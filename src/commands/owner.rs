//! Acting as the owner of the data directory when root runs a command.
//!
//! A key that root wrote could not be read by the server, which runs as a user of its own. So a
//! command gives up root's rights for those of the directory's owner, after it has read the
//! configuration, which that user may not be allowed to read.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a command cannot act as the owner of the data directory.
#[derive(Debug, Error)]
pub enum OwnerError {
    /// The directory cannot be looked at; most likely it does not exist.
    #[error(
        "cannot look at the data directory {path} (storage.directory): {error}; name the server's \
         configuration with --config"
    )]
    Directory {
        /// The data directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Root may not change its user here.
    #[error("cannot act as user {owner}, who owns {path}: {error}; run the command as that user")]
    Change {
        /// The data directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// What the system said.
        error: io::Error,
    },
    /// There is more than one thread: each has rights of its own, and the others would keep root's.
    #[error("cannot change the user while there are other threads")]
    Threads,
}

/// Makes this process the owner of the directory `data` if root runs it: groups first, then group
/// and user, each with its saved number, so that there is no way back. Does nothing for any other
/// user, and on systems other than Linux.
///
/// To be called before any thread is started.
///
/// # Errors
/// [`OwnerError`]; no data was touched.
#[cfg(target_os = "linux")]
pub fn become_owner(data: &Path) -> Result<(), OwnerError> {
    use std::os::unix::fs::MetadataExt;

    use rustix::process::{Gid, Uid, geteuid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

    if !geteuid().is_root() {
        return Ok(());
    }
    let path = data.to_owned();
    let metadata = match data.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return Err(OwnerError::Directory { path, error }),
    };
    let owner = metadata.uid();
    let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(metadata.gid()));
    if uid.is_root() {
        return Ok(());
    }
    // The system's calls change one thread; the threads that it starts later inherit the change.
    if std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
        return Err(OwnerError::Threads);
    }
    set_thread_groups(&[gid])
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid))
        .map_err(|error| OwnerError::Change { path, owner, error: error.into() })
}

/// Does nothing: other systems offer no way to it without `unsafe`.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn become_owner(_: &Path) -> Result<(), OwnerError> {
    Ok(())
}
