//! What signs access tokens.

use std::path::Path;

use super::KeysError;
use super::directory::{KeyDirectory, key_ids};
use super::id::{KeyId, KeyKind};
use crate::config::{SigningAlgorithm, TokenConfig};
use crate::secret::Secret;

/// What signs access tokens: a key of the key directory, or a secret from the configuration.
#[derive(Clone, Debug)]
pub enum AccessSigning {
    /// A key of this algorithm.
    Key(SigningAlgorithm),
    /// A secret that other services share, with HS256.
    SharedSecret(Secret<String>),
}

impl AccessSigning {
    /// What is configured. Where that leaves the algorithm open, it is that of the newest access key
    /// in `directory`, and ES256 where there is none.
    ///
    /// # Errors
    /// If the directory is there and cannot be read.
    pub fn of(config: &TokenConfig, directory: &Path) -> Result<Self, KeysError> {
        if let Some(secret) = &config.shared_secret {
            return Ok(Self::SharedSecret(secret.clone()));
        }
        if let Some(algorithm) = config.algorithm {
            return Ok(Self::Key(algorithm));
        }
        let ids = match directory.is_dir() {
            true => key_ids(&KeyDirectory::open(directory)?)?,
            false => Vec::new(),
        };
        Ok(Self::Key(newest_algorithm(&ids).unwrap_or(SigningAlgorithm::Es256)))
    }

    /// The algorithm.
    pub const fn algorithm(&self) -> SigningAlgorithm {
        match self {
            Self::Key(algorithm) => *algorithm,
            Self::SharedSecret(_) => SigningAlgorithm::Hs256,
        }
    }

    /// Whether a secret from the configuration signs.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::SharedSecret(_))
    }

    /// The kinds of which there must be a key in the directory.
    pub fn needed(&self) -> Vec<KeyKind> {
        let access = match self {
            Self::Key(algorithm) => Some(KeyKind::Access(*algorithm)),
            Self::SharedSecret(_) => None,
        };
        access.into_iter().chain([KeyKind::Refresh, KeyKind::Ticket]).collect()
    }
}

impl From<SigningAlgorithm> for AccessSigning {
    fn from(algorithm: SigningAlgorithm) -> Self {
        Self::Key(algorithm)
    }
}

fn newest_algorithm(ids: &[KeyId]) -> Option<SigningAlgorithm> {
    let access = ids.iter().filter_map(|id| match id.kind() {
        KeyKind::Access(algorithm) => Some((id.order(), algorithm)),
        KeyKind::Refresh | KeyKind::Ticket => None,
    });
    access.max_by_key(|(order, _)| *order).map(|(_, algorithm)| algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::config::SigningAlgorithm::{EdDsa, Es256, Hs256};

    #[test]
    fn the_newest_access_key_says_the_algorithm_and_no_other_key_does() {
        let key = |kind, second| KeyId::new(kind, Timestamp::from_unix_seconds(second), [0; 4]);
        let access = |algorithm, second| key(KeyKind::Access(algorithm), second);
        let later = [key(KeyKind::Refresh, 9), key(KeyKind::Ticket, 9)];
        for (ids, expected) in [
            (vec![], None),
            (vec![access(EdDsa, 1)], Some(EdDsa)),
            (vec![access(EdDsa, 2), access(Es256, 1)], Some(EdDsa)),
            (vec![access(EdDsa, 1), access(Es256, 2)], Some(Es256)),
            (vec![access(Hs256, 3), access(EdDsa, 1), access(Es256, 2)], Some(Hs256)),
        ] {
            let ids: Vec<KeyId> = ids.into_iter().chain(later).collect();
            assert_eq!(newest_algorithm(&ids), expected, "{ids:?}");
        }
    }
}
