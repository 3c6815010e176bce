//! What can be wrong with the key files, in words that say what to do.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::id::{KeyId, KeyKind};
use crate::clock::Timestamp;
use crate::private_files::FileError;

/// Why the keys cannot be used. Each message is one line and names the file.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The directory or a file cannot be used.
    #[error("{0}{hint}", hint = read_only_hint(.0))]
    File(#[from] FileError),
    /// A key file is there, and cannot be what it was. No new key is made in its place.
    #[error(
        "key file {path} is damaged: {problem}; restore it from a backup, or remove it, which \
         invalidates what it signed"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The public half beside a key pair is not its.
    #[error(
        "public key file {path} is not the public half of the key beside it: {problem}; remove it, \
         and it is written again"
    )]
    PublicHalf {
        /// The public half.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A public half is there and its private key is not.
    #[error(
        "key file {path} is missing; restore it from a backup, or remove {public} too, which \
         invalidates what it signed"
    )]
    PrivateMissing {
        /// Where the private key should be.
        path: PathBuf,
        /// The public half.
        public: PathBuf,
    },
    /// A directory that keys were to be found in holds none.
    #[error(
        "there are no keys in {path} (storage.keys); the first start of the server creates them"
    )]
    NoKeys {
        /// The directory.
        path: PathBuf,
    },
    /// Keys that a running server needs are not there any more.
    #[error(
        "there is no {} key ({}) in {path} any more; restore it from a backup; if it is lost, \
         `latchkey keys rotate --compromised` replaces it, which ends all sessions",
        kind.purpose(),
        kind.algorithm()
    )]
    Missing {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        kind: KeyKind,
    },
    /// The list of keys that must not be used cannot be read.
    #[error(
        "{path} lists revoked keys and cannot be read; remove it and run `latchkey keys rotate \
         --compromised` again"
    )]
    Forgotten {
        /// The list.
        path: PathBuf,
    },
    /// The clock and the key that signs contradict each other.
    #[error(
        "the clock says {now}, but the signing key {signing} signs only from {signs_from} on; set \
         the clock if it is wrong; if the key is wrong, `latchkey keys rotate --compromised` \
         replaces it, which ends all sessions"
    )]
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
    #[error(
        "access tokens are signed with tokens.shared_secret, so this does not apply; change that \
         secret where it is kept and at all services that use it; refresh tokens and mailed links \
         stay good (`latchkey keys rotate --compromised` replaces their keys)"
    )]
    SharedSecret,
    /// The cryptographic library made no key.
    #[error("the cryptographic library could not make a key")]
    Generate,
}

/// What to do about missing keys where none can be written.
fn read_only_hint(error: &FileError) -> &'static str {
    match error {
        FileError::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            " (keys are missing; create them where the directory is writable)"
        }
        _ => "",
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
