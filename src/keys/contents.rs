//! The contents of the key directory: reads all keys, creates missing ones, and revokes keys that
//! must not be used any more.
//!
//! Keys are revoked in two steps, so that a crash leaves no doubt. First, after new keys have been
//! created, their names go into a list ([`FORGOTTEN`]): once that is durable, none of them is used,
//! whether its files still exist or not. Then the files are removed, and the list last. The next
//! process that opens the directory finishes an interrupted revocation.

use std::time::Duration;

use super::KeysError;
use super::access_signing::AccessSigning;
use super::directory::{Audience, KeyDirectory, read_forgotten};
use super::id::{FORGOTTEN, FileName, KeyId, KeyKind};
use super::material::KeyMaterial;
use crate::clock::Timestamp;
use crate::random::Random;

/// The times in names are whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// A new key that is not stored yet.
pub(super) fn generate(
    kind: KeyKind,
    signs_from: Timestamp,
    random: &Random,
) -> Result<KeyMaterial, KeysError> {
    let id = KeyId::new(kind, signs_from, random.bytes());
    KeyMaterial::generate(id, random).ok_or(KeysError::Generate)
}

/// The valid keys of a directory.
pub(super) struct Contents {
    pub(super) keys: Vec<KeyMaterial>,
    /// Keys that must not be used, and whose files may still exist.
    forgotten: Vec<KeyId>,
}

impl Contents {
    /// Reads all keys except the revoked ones, and adds missing public halves.
    pub(super) fn read(directory: &KeyDirectory) -> Result<Self, KeysError> {
        let names = directory.names()?;
        let forgotten = read_forgotten(directory, &names)?;
        let mut keys: Vec<KeyMaterial> = Vec::new();
        let mut public_halves = Vec::new();
        for name in &names {
            match FileName::of(name) {
                FileName::Private(id) | FileName::Public(id) if forgotten.contains(&id) => {}
                FileName::Private(id) => {
                    let text = directory.read(name, Audience::Owner)?;
                    let key = KeyMaterial::from_text(id, &text).map_err(|problem| {
                        KeysError::Damaged { path: directory.path_of(name), problem }
                    })?;
                    keys.push(key);
                }
                FileName::Public(id) => public_halves.push(id),
                FileName::Unknown => {
                    let file = directory.path_of(name);
                    tracing::warn!(file = %file.display(), "not named like a key, ignored");
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
        // Nothing is written before everything is known to be valid.
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
        Ok(Self { keys, forgotten })
    }

    /// The names of the keys.
    pub(super) fn ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(KeyMaterial::id).collect()
    }

    /// Creates a new key and writes it.
    pub(super) fn add(
        &mut self,
        directory: &KeyDirectory,
        kind: KeyKind,
        signs_from: Timestamp,
        random: &Random,
    ) -> Result<KeyId, KeysError> {
        let key = generate(kind, signs_from, random)?;
        // The public half comes second: alone it would look like the rest of a lost pair.
        directory.write(&key.id().private_file(), &key.private_text(), Audience::Owner)?;
        write_public(directory, &key)?;
        let id = key.id();
        self.keys.push(key);
        Ok(id)
    }

    /// Makes a key of each kind that is needed and missing; it signs at once. Once this returns, all
    /// keys are on the disk to stay.
    ///
    /// A new access key is made also where the newest is of another algorithm: otherwise it would
    /// not be known which of them signed last, nor when its tokens have died.
    pub(super) fn complete(
        &mut self,
        directory: &KeyDirectory,
        signing: &AccessSigning,
        now: Timestamp,
        random: &Random,
    ) -> Result<Vec<KeyId>, KeysError> {
        let mut made = Vec::new();
        for kind in signing.needed() {
            let newest = self.newest_like(kind);
            if newest.is_some_and(|newest| newest.kind() == kind) {
                continue;
            }
            let after_it = newest.map(|newest| newest.signs_from().saturating_add(SECOND));
            made.push(self.add(directory, kind, after_it.map_or(now, |it| it.max(now)), random)?);
        }
        directory.sync();
        Ok(made)
    }

    /// Revokes keys: from now on they are not used, here or by any process that reads the
    /// directory.
    pub(super) fn begin_forgetting(
        &mut self,
        directory: &KeyDirectory,
        ids: &[KeyId],
    ) -> Result<(), KeysError> {
        let mut all = self.forgotten.clone();
        all.extend(ids);
        let list: String = all.iter().map(|id| format!("{id}\n")).collect();
        directory.write(FORGOTTEN, &list, Audience::Owner)?;
        self.keys.retain(|key| !ids.contains(&key.id()));
        self.forgotten = all;
        Ok(())
    }

    /// Removes the files of revoked keys, and then the list.
    ///
    /// # Errors
    /// If a file cannot be removed. The list stays then, and the keys remain unused.
    pub(super) fn finish_forgetting(&mut self, directory: &KeyDirectory) -> Result<(), KeysError> {
        if self.forgotten.is_empty() {
            return Ok(());
        }
        for id in &self.forgotten {
            directory.remove_key(*id)?;
        }
        directory.remove(FORGOTTEN)?;
        self.forgotten.clear();
        Ok(())
    }

    /// The newest key with the same use as `kind`, of any algorithm.
    fn newest_like(&self, kind: KeyKind) -> Option<KeyId> {
        let ids = self.ids().into_iter();
        let alike = ids.filter(|id| id.kind().purpose() == kind.purpose());
        alike.max_by_key(KeyId::order)
    }
}

fn write_public(directory: &KeyDirectory, key: &KeyMaterial) -> Result<(), KeysError> {
    match key.id().public_file().zip(key.public_text()) {
        Some((name, text)) => directory.write(&name, &text, Audience::All),
        None => Ok(()),
    }
}
