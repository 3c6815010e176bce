//! What can be wrong with the key files, in words that say what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::id::{KeyId, KeyKind};
use crate::clock::Timestamp;

/// Why the keys cannot be used. Each message is one line and names the file.
#[derive(Debug)]
pub enum KeysError {
    /// The system refused to do something with a file or the directory.
    Io {
        /// What was tried, as in "cannot … PATH".
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read or write it.
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its rights as they are.
        mode: u32,
        /// Its rights as they should be.
        mend: u32,
    },
    /// It belongs to somebody else, who could change it.
    ForeignOwner {
        /// The file or directory.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// The number of the user this process runs as.
        us: u32,
    },
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
    /// The cryptographic library made no key.
    Generate,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, source } => {
                write!(f, "cannot {action} {}: {source}", path.display())?;
                match source.kind() {
                    io::ErrorKind::PermissionDenied => {
                        f.write_str(" (the user that latchkey runs as needs read and write rights to the key directory)")
                    }
                    io::ErrorKind::ReadOnlyFilesystem => f.write_str(
                        " (keys are missing; make them where the directory can be written to)",
                    ),
                    _ => Ok(()),
                }
            }
            Self::TooOpen { path, mode, mend } => write!(
                f,
                "{} holds secrets and others may use it (mode {mode:04o}); run: chmod {mend:o} {}",
                path.display(),
                Quoted(path)
            ),
            Self::ForeignOwner { path, owner, us } => write!(
                f,
                "{} belongs to user {owner}, not to user {us} that latchkey runs as; run: chown {us} {}",
                path.display(),
                Quoted(path)
            ),
            Self::Damaged { path, problem } => write!(
                f,
                "key file {} is damaged: {problem}; put it back from a backup, or remove it: what it \
                 signed is refused then",
                path.display()
            ),
            Self::PublicHalf { path, problem } => write!(
                f,
                "public key file {} is not the public half of the key beside it: {problem}; remove \
                 it and it is written anew",
                path.display()
            ),
            Self::PrivateMissing { path, public } => write!(
                f,
                "key file {} is missing; put it back from a backup, or remove {} too: what it signed \
                 is refused then",
                path.display(),
                public.display()
            ),
            Self::NoKeys { path } => write!(
                f,
                "there are no keys in {} (storage.keys); the first start of the server makes them",
                path.display()
            ),
            Self::Missing { path, kind } => write!(
                f,
                "there is no {} key ({}) in {} any more; put it back from a backup; if it is \
                 lost, `latchkey keys rotate --compromised` replaces it, which ends all sessions",
                kind.purpose(),
                kind.algorithm(),
                path.display()
            ),
            Self::Forgotten { path } => write!(
                f,
                "{} names keys that must not be used, and cannot be read; remove it and run \
                 `latchkey keys rotate --compromised` again",
                path.display()
            ),
            Self::Clock { now, signing, signs_from } => write!(
                f,
                "the clock says {now}, but the key that signs, {signing}, signs only from \
                 {signs_from} on; set the clock if it is wrong; if the key is, `latchkey keys \
                 rotate --compromised` replaces it, which ends all sessions"
            ),
            Self::Generate => f.write_str("the cryptographic library could not make a key"),
        }
    }
}

impl std::error::Error for KeysError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A path as a shell takes it for one word.
struct Quoted<'a>(&'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.to_string_lossy();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
        if !path.starts_with('-') && path.bytes().all(is_plain) {
            return f.write_str(&path);
        }
        let dashed = if path.starts_with('-') { "./" } else { "" };
        write!(f, "'{dashed}{}'", path.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_pasted_into_a_shell() {
        let command = |path: &str| {
            let error = KeysError::TooOpen { path: path.into(), mode: 0o644, mend: 0o600 };
            error.to_string().split_once("run: ").unwrap().1.to_owned()
        };
        assert_eq!(command("data/keys"), "chmod 600 data/keys");
        assert_eq!(command("my data/it's"), "chmod 600 'my data/it'\\''s'");
        assert_eq!(command("-R"), "chmod 600 './-R'");
    }

    #[test]
    fn a_refused_write_is_one_line_that_says_what_is_needed() {
        let message = |kind: io::ErrorKind| {
            let path = "data/keys/access.pem".into();
            KeysError::Io { action: "write key file", path, source: kind.into() }.to_string()
        };
        let denied = message(io::ErrorKind::PermissionDenied);
        assert!(
            denied.starts_with("cannot write key file data/keys/access.pem: permission denied")
        );
        assert!(denied.contains("needs read and write rights to the key directory"), "{denied}");
        let read_only = message(io::ErrorKind::ReadOnlyFilesystem);
        assert!(read_only.contains("keys are missing"), "{read_only}");
    }
}
