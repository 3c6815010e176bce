//! The keys, each in a file of its own and never in the database.
//!
//! The directory holds, for its owner alone (mode 0700, files 0600):
//!
//! | file | holds |
//! |---|---|
//! | `access-eddsa-….pem`, `access-es256-….pem` | a pair that signs access tokens (PKCS#8) |
//! | `access-eddsa-….pub.pem`, `access-es256-….pub.pem` | its public half, for services that check tokens (mode 0644) |
//! | `access-hs256-….secret` | a secret that signs access tokens, shared with such services |
//! | `refresh-hs256-….secret` | the secret that signs refresh tokens |
//! | `ticket-hmac-….secret` | the secret behind mailed links |
//!
//! A file is named after its key, whose name ([`KeyId`]) says use and algorithm, so that no key
//! can be taken for another's. Secrets are 32 random bytes as base64url in one line. Of several
//! keys of a kind the newest signs and all of them verify; keys of an algorithm that is not
//! configured any more verify for as long as their files lie there.
//!
//! What is missing is made, and flushed before anything relies on it. What is damaged, or open to
//! others, stops the start with what to do about it: a new key in its place would refuse
//! everybody's tokens without a word.

mod directory;
mod error;
mod id;
mod material;
mod pem;
mod ring;
mod signing;
mod ticket;

use std::cmp::Reverse;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use error::KeysError;
pub use id::{KeyId, KeyKind};
pub(crate) use ring::Ring;
pub(crate) use signing::JwtKey;
pub use ticket::TicketKey;

use directory::{Audience, KeyDirectory};
use id::FileName;
use material::KeyMaterial;

use crate::clock::Timestamp;
use crate::config::SigningAlgorithm;
use crate::random::Random;

/// All keys, ready for use.
#[derive(Clone)]
pub struct Keys {
    access: Ring<Arc<JwtKey>>,
    refresh: Ring<Arc<JwtKey>>,
    ticket: TicketKey,
}

impl Keys {
    /// Reads the keys in `directory`, and makes those that are missing: one that signs access
    /// tokens with `algorithm`, one for refresh tokens, one for tickets. `now` goes into the names
    /// of new ones. Once this returns, all of them are on the disk to stay.
    ///
    /// # Errors
    /// If the directory or a file cannot be read or made, is damaged, or is open to others than
    /// the user of this process. While one that is there cannot be used, none is made.
    pub fn load_or_create(
        directory: &Path,
        algorithm: SigningAlgorithm,
        now: Timestamp,
        random: &Random,
    ) -> Result<Self, KeysError> {
        let directory = KeyDirectory::open(directory)?;
        let mut found = read_all(&directory)?;
        for kind in needed(algorithm) {
            if found.iter().any(|key| key.id().kind() == kind) {
                continue;
            }
            let key = generate(kind, now, random)?;
            // The public half comes second: alone it would look like the rest of a lost pair.
            directory.write(&key.id().private_file(), &key.private_text(), Audience::Owner)?;
            write_public(&directory, &key)?;
            tracing::info!(kid = %key.id(), "made a new key");
            found.push(key);
        }
        directory.sync();
        Self::new(found, algorithm)
    }

    /// New keys that are kept nowhere: for tests.
    ///
    /// # Errors
    /// If the cryptographic library makes none.
    pub fn ephemeral(algorithm: SigningAlgorithm, random: &Random) -> Result<Self, KeysError> {
        let keys = needed(algorithm).map(|kind| generate(kind, Timestamp::EPOCH, random));
        Self::new(keys.into_iter().collect::<Result<_, _>>()?, algorithm)
    }

    /// What makes and checks the tokens of mailed links.
    pub const fn ticket(&self) -> &TicketKey {
        &self.ticket
    }

    /// The keys of access tokens.
    pub(crate) const fn access(&self) -> &Ring<Arc<JwtKey>> {
        &self.access
    }

    /// The keys of refresh tokens.
    pub(crate) const fn refresh(&self) -> &Ring<Arc<JwtKey>> {
        &self.refresh
    }

    fn new(mut found: Vec<KeyMaterial>, algorithm: SigningAlgorithm) -> Result<Self, KeysError> {
        found.sort_by_key(|key| Reverse(key.id().age()));
        let (mut access, mut refresh, mut ticket) = (Vec::new(), Vec::new(), Vec::new());
        for key in &found {
            let jwt_key = || JwtKey::new(key).map(Arc::new).ok_or(KeysError::Generate);
            match key.id().kind() {
                KeyKind::Access(_) => access.push(jwt_key()?),
                KeyKind::Refresh => refresh.push(jwt_key()?),
                KeyKind::Ticket => ticket.push(key),
            }
        }
        // A stable sort: within each half the newest stays first.
        access.sort_by_key(|key| key.id().kind() != KeyKind::Access(algorithm));
        Ok(Self {
            access: Ring::new(access).ok_or(KeysError::Generate)?,
            refresh: Ring::new(refresh).ok_or(KeysError::Generate)?,
            ticket: TicketKey::new(Ring::new(ticket).ok_or(KeysError::Generate)?),
        })
    }
}

/// Shows names only.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("access", &self.access)
            .field("refresh", &self.refresh)
            .field("ticket", &self.ticket)
            .finish()
    }
}

/// The kinds of which there must be a key.
const fn needed(algorithm: SigningAlgorithm) -> [KeyKind; 3] {
    [KeyKind::Access(algorithm), KeyKind::Refresh, KeyKind::Ticket]
}

fn generate(kind: KeyKind, now: Timestamp, random: &Random) -> Result<KeyMaterial, KeysError> {
    KeyMaterial::generate(KeyId::new(kind, now, random.bytes()), random).ok_or(KeysError::Generate)
}

/// Reads all keys of the directory, and completes pairs that lack their public half.
fn read_all(directory: &KeyDirectory) -> Result<Vec<KeyMaterial>, KeysError> {
    let names = directory.names()?;
    let mut keys = Vec::new();
    let mut public_halves = Vec::new();
    for name in &names {
        match FileName::of(name) {
            FileName::Private(id) => {
                let text = directory.read(name, Audience::Owner)?;
                let key = KeyMaterial::from_text(id, &text).map_err(|problem| {
                    KeysError::Damaged { path: directory.path_of(name), problem }
                })?;
                keys.push(key);
            }
            FileName::Public(id) => public_halves.push(id),
            FileName::Unknown => {
                tracing::warn!(file = %directory.path_of(name).display(), "not named as a key is, ignored");
            }
            FileName::Other => {}
        }
    }
    for id in &public_halves {
        if !keys.iter().any(|key| key.id() == *id) {
            let path = directory.path_of(&id.private_file());
            let public = directory.path_of(&id.public_file().unwrap_or_default());
            return Err(KeysError::PrivateMissing { path, public });
        }
    }
    // Only now that all is known to be good is anything written.
    for key in &keys {
        match key.id().public_file() {
            Some(name) if public_halves.contains(&key.id()) => {
                let text = directory.read(&name, Audience::All)?;
                key.check_public(&text).map_err(|problem| KeysError::PublicHalf {
                    path: directory.path_of(&name),
                    problem,
                })?;
            }
            _ => write_public(directory, key)?,
        }
    }
    Ok(keys)
}

fn write_public(directory: &KeyDirectory, key: &KeyMaterial) -> Result<(), KeysError> {
    match key.id().public_file().zip(key.public_text()) {
        Some((name, text)) => directory.write(&name, &text, Audience::All),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
