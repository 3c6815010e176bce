//! The directory transport: one `.eml` file per mail, private because its link opens an account.

use std::path::{Path, PathBuf};

use crate::domain::QueuedMail;
use crate::private_files::{self, FILE_MODE, FileError};

/// The directory that mails are written to.
#[derive(Clone, Debug)]
pub(super) struct MailDirectory(PathBuf);

impl MailDirectory {
    /// The directory `path`, which need not exist yet.
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Creates the directory where it is missing, and checks that it is private.
    pub(super) fn prepare(&self) -> Result<(), FileError> {
        private_files::create_directory(&self.0)?;
        private_files::open_directory(&self.0).map(drop)
    }

    /// Writes one mail. Its name depends on the mail alone, so that a second delivery of the same
    /// one replaces the first; names sort by the time of queueing.
    ///
    /// # Errors
    /// Why it was not written.
    pub(super) async fn deliver(&self, mail: &QueuedMail, raw: Vec<u8>) -> Result<(), String> {
        let directory = self.0.clone();
        let name = file_name(mail);
        let write = move || {
            private_files::create_directory(&directory)?;
            private_files::replace(&directory, &name, &raw, FILE_MODE)
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err("writing a mail was broken off".to_owned()),
        }
    }
}

/// `SECONDS-MAIL-MESSAGE.eml`, the numbers in a width that keeps them in order.
fn file_name(mail: &QueuedMail) -> String {
    let (seconds, id) = (mail.queued_at.unix_seconds(), mail.id.0);
    format!("{seconds:010}-{id:010}-{}.eml", mail.message_id)
}
