//! The directory transport: one `.eml` file a mail.
//!
//! A mail holds a link that opens an account, so the directory is the server's alone (0700) and
//! so is each file (0600), whatever the umask. A file appears whole or not at all, and is flushed
//! with its name before the mail counts as sent.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::domain::QueuedMail;

/// The directory that mails are written to.
#[derive(Clone, Debug)]
pub(super) struct MailDirectory {
    path: PathBuf,
}

impl MailDirectory {
    /// The directory `path`, which need not be there yet.
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Makes the directory, and those above it, where they are missing; returns what the system
    /// knows of it.
    pub(super) fn make(&self) -> io::Result<Metadata> {
        create_directory(&self.path)?;
        self.path.metadata()
    }

    /// Writes one mail. Its name depends on the mail alone, so that a second delivery of the
    /// same one takes the place of the first; names sort by the time of queueing.
    pub(super) async fn deliver(&self, mail: &QueuedMail, raw: Vec<u8>) -> io::Result<()> {
        let directory = self.path.clone();
        let name = file_name(mail);
        tokio::task::spawn_blocking(move || write_atomically(&directory, &name, &raw))
            .await
            .unwrap_or_else(|_| Err(io::Error::other("writing a mail was broken off")))
    }
}

/// `SECONDS-MAIL-MESSAGE.eml`, the numbers in a width that keeps them in order.
fn file_name(mail: &QueuedMail) -> String {
    let (seconds, id) = (mail.queued_at.unix_seconds(), mail.id.0);
    format!("{seconds:010}-{id:010}-{}.eml", mail.message_id)
}

fn write_atomically(directory: &Path, name: &str, raw: &[u8]) -> io::Result<()> {
    create_directory(directory)?;
    let mut temporary_name = OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(".new");
    let temporary = directory.join(temporary_name);
    // What a crash left behind would be in the way of `create_new`, which in turn is what keeps
    // from writing through a link that someone else put there.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(&temporary, raw)
        .and_then(|()| fs::rename(&temporary, directory.join(name)))
        .and_then(|()| File::open(directory)?.sync_all());
    if written.is_err() {
        // Best effort: the next attempt removes it too.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, raw: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(raw)?;
    file.sync_all()
}

/// Makes `path` and what is missing above it, each with 0700 and flushed into its parent. One
/// that exists is left as it is.
fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if parent != path {
        create_directory(parent)?;
    }
    DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    File::open(parent)?.sync_all()
}
