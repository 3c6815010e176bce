//! Why a start fails, in words that say what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::http::pages::PagesError;
use crate::keys::KeysError;
use crate::mail::MailSetupError;
use crate::random::NoRandomness;
use crate::store::{DirectoryProblem, OpenError};

/// Why the server does not start. Each says what to do in one line.
#[derive(Debug, Error)]
pub enum StartError {
    /// The system has no randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The mail templates or the transport.
    #[error(transparent)]
    Mail(#[from] MailSetupError),
    /// The pages.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (server.listen): {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DirectoryProblem),
    /// There is a database, but not the keys it was used with.
    #[error(
        "there is a database in {data}, but no {} key in {keys} (storage.keys); mount that \
         directory, or put the keys back from a backup; {}",
        missing.join(", "),
        without_backup(missing)
    )]
    KeysGone {
        /// The directory of the database.
        data: PathBuf,
        /// The directory of the keys.
        keys: PathBuf,
        /// What there is no key for, such as "refresh".
        missing: Vec<&'static str>,
    },
    /// There is no database in this directory, and tokens of another one may still count.
    #[error(
        "there is no database in {0} (storage.directory), and tokens.shared_secret may have signed \
         tokens for the accounts of another one; mount or restore that one, or begin a new one \
         with `latchkey serve --new-database`"
    )]
    NoDatabase(PathBuf),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The database.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The hashing threads or the runtime.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    /// The signals that stop the server cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
}

/// What to do where there is no backup of the keys for these purposes.
fn without_backup(missing: &[&str]) -> &'static str {
    if *missing == ["access"] {
        "if there is none, as after tokens.shared_secret was removed, `latchkey keys rotate` makes \
         a key and ends no session"
    } else {
        "if they are lost, `latchkey keys rotate --compromised` makes new ones, which ends all \
         sessions and voids all mailed links"
    }
}
