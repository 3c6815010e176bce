//! Why a start fails, in words that say what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::http::pages::PagesError;
use crate::keys::KeysError;
use crate::mail::MailSetupError;
use crate::random::NoRandomness;
use crate::store::{DirectoryProblem, OpenError};

/// Why the server does not start. Each says what to do in one line.
#[derive(Debug)]
pub enum StartError {
    /// The system has no randomness.
    Random(NoRandomness),
    /// The mail templates or the transport.
    Mail(MailSetupError),
    /// The pages.
    Pages(PagesError),
    /// The address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The data directory.
    Directory(DirectoryProblem),
    /// There is a database, but not the keys it was used with.
    KeysGone {
        /// The directory of the database.
        data: PathBuf,
        /// The directory of the keys.
        keys: PathBuf,
        /// What there is no key for, such as "refresh".
        missing: Vec<&'static str>,
    },
    /// There is no database in this directory, and tokens of another one may still count.
    NoDatabase(PathBuf),
    /// The keys.
    Keys(KeysError),
    /// The database.
    Store(OpenError),
    /// The hashing threads or the runtime.
    Threads(io::Error),
    /// The signals that stop the server cannot be waited for.
    Signals(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(error) => error.fmt(f),
            Self::Mail(error) => error.fmt(f),
            Self::Pages(error) => error.fmt(f),
            Self::Listen { address, error } => {
                write!(f, "cannot listen on {address} (server.listen): {error}")
            }
            Self::Directory(problem) => problem.fmt(f),
            Self::KeysGone { data, keys, missing } => write!(
                f,
                "there is a database in {}, but no {} key in {} (storage.keys); mount that \
                 directory, or put the keys back from a backup; if they are lost, `latchkey keys \
                 rotate --compromised` makes new ones, which ends all sessions and voids all \
                 mailed links",
                data.display(),
                missing.join(", "),
                keys.display()
            ),
            Self::NoDatabase(data) => write!(
                f,
                "there is no database in {} (storage.directory), and tokens.shared_secret may have \
                 signed tokens for the accounts of another one; mount or restore that one, or \
                 begin a new one with `latchkey serve --new-database`",
                data.display()
            ),
            Self::Keys(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Threads(error) => write!(f, "cannot start threads: {error}"),
            Self::Signals(error) => write!(f, "cannot wait for signals: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
