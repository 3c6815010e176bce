//! What can be wrong with the key files, in words that say what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::id::{KeyId, KeyKind};
use crate::clock::Timestamp;
use crate::private_files::FileError;

/// Why the keys cannot be used. Each message is one line and names the file.
#[derive(Debug)]
pub enum KeysError {
    /// The directory or a file cannot be used.
    File(FileError),
    /// A key file is there, and cannot be what it was. No new key is made in its place.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The public half beside a key pair is not its.
    PublicHalf {
        /// The public half.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A public half is there and its private key is not.
    PrivateMissing {
        /// Where the private key should be.
        path: PathBuf,
        /// The public half.
        public: PathBuf,
    },
    /// A directory that keys were to be found in holds none.
    NoKeys {
        /// The directory.
        path: PathBuf,
    },
    /// Keys that a running server needs are not there any more.
    Missing {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        kind: KeyKind,
    },
    /// The list of keys that must not be used cannot be read.
    Forgotten {
        /// The list.
        path: PathBuf,
    },
    /// The clock and the key that signs contradict each other.
    Clock {
        /// What the clock says.
        now: Timestamp,
        /// The key.
        signing: KeyId,
        /// From when that signs, by its name.
        signs_from: Timestamp,
    },
    /// A secret from the configuration signs access tokens, so that no key of the directory can take
    /// over.
    SharedSecret,
    /// The cryptographic library made no key.
    Generate,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => {
                error.fmt(f)?;
                match error {
                    FileError::Io { source, .. }
                        if source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
                    {
                        f.write_str(
                            " (keys are missing; create them where the directory is writable)",
                        )
                    }
                    _ => Ok(()),
                }
            }
            Self::Damaged { path, problem } => write!(
                f,
                "key file {} is damaged: {problem}; restore it from a backup, or remove it, which \
                 invalidates what it signed",
                path.display()
            ),
            Self::PublicHalf { path, problem } => write!(
                f,
                "public key file {} is not the public half of the key beside it: {problem}; remove it, and it is written again",
                path.display()
            ),
            Self::PrivateMissing { path, public } => write!(
                f,
                "key file {} is missing; restore it from a backup, or remove {} too, which \
                 invalidates what it signed",
                path.display(),
                public.display()
            ),
            Self::NoKeys { path } => write!(
                f,
                "there are no keys in {} (storage.keys); the first start of the server creates them",
                path.display()
            ),
            Self::Missing { path, kind } => write!(
                f,
                "there is no {} key ({}) in {} any more; restore it from a backup; if it is \
                 lost, `latchkey keys rotate --compromised` replaces it, which ends all sessions",
                kind.purpose(),
                kind.algorithm(),
                path.display()
            ),
            Self::Forgotten { path } => write!(
                f,
                "{} lists revoked keys and cannot be read; remove it and run \
                 `latchkey keys rotate --compromised` again",
                path.display()
            ),
            Self::Clock { now, signing, signs_from } => write!(
                f,
                "the clock says {now}, but the signing key {signing} signs only from {signs_from} on; set \
                 the clock if it is wrong; if the key is wrong, `latchkey keys rotate --compromised` \
                 replaces it, which ends all sessions"
            ),
            Self::SharedSecret => f.write_str(
                "access tokens are signed with tokens.shared_secret, so this does not apply; change \
                 that secret where it is kept and at all services that use it; refresh tokens and \
                 mailed links stay good (`latchkey keys rotate --compromised` replaces their keys)",
            ),
            Self::Generate => f.write_str("the cryptographic library could not make a key"),
        }
    }
}

impl std::error::Error for KeysError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => error.source(),
            _ => None,
        }
    }
}

impl From<FileError> for KeysError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_can_be_written_the_message_says_what_to_do() {
        let source = io::ErrorKind::ReadOnlyFilesystem.into();
        let error = FileError::Io { action: "write", path: "data/keys/a.pem".into(), source };
        let message = KeysError::from(error).to_string();
        assert!(message.starts_with("cannot write data/keys/a.pem: read-only filesystem"));
        assert!(message.contains("keys are missing"), "{message}");
    }
}
