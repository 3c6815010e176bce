//! The keys, each in its own file and never in the database.
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
//! | `.forgotten` | the names of keys that must not be used, while their files are being removed |
//!
//! A file is named after its key. The name ([`KeyId`]) holds use, algorithm and the time from which
//! it signs, so that keys cannot be confused. Secrets are 32 random bytes as base64url in one line.
//!
//! Missing keys are created, and flushed before anything relies on them. A key that is damaged, or
//! that others can read, stops the start with advice: a new key in its place would silently refuse
//! everybody's tokens.
//!
//! # The life of a key
//!
//! The first access key signs at once. A key made by `latchkey keys rotate` is published at once
//! and signs `key_activation` later; the previous one verifies until its last token has expired,
//! then its files are removed. After a change of algorithm the next start creates a key that signs
//! at once. The newest refresh key and the newest ticket key sign, and all of them verify. A secret
//! that other services share ([`AccessSigning`]) signs access tokens in place of any key here; keys
//! of other algorithms go on verifying.
//!
//! `latchkey keys rotate --compromised` revokes all existing keys. A running server looks for such
//! changes every second ([`KeyWatch`]). The files are the only record: everything else follows from
//! their names and the time.

mod access_signing;
mod contents;
mod directory;
mod error;
mod id;
mod live;
mod material;
mod pem;
mod ring;
mod rotation;
mod signing;
mod ticket;
mod timeline;
mod watch;

use std::cmp::Reverse;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use access_signing::AccessSigning;
pub use error::KeysError;
pub use id::{KeyId, KeyKind};
pub use live::LiveKeys;
pub(crate) use ring::Ring;
pub use rotation::{Replaced, Rotated, list, replace_compromised, rotate};
pub(crate) use signing::JwtKey;
pub use ticket::TicketKey;
pub(crate) use timeline::Timeline;
pub use timeline::{KeyState, Schedule};
pub use watch::KeyWatch;

use contents::Contents;
use directory::KeyDirectory;
use material::KeyMaterial;

use crate::clock::Timestamp;
use crate::random::Random;

/// All keys, ready for use.
#[derive(Clone)]
pub struct Keys {
    signing: AccessSigning,
    access: Timeline<Arc<JwtKey>>,
    refresh: Ring<Arc<JwtKey>>,
    ticket: Arc<TicketKey>,
    /// Their names.
    ids: Vec<KeyId>,
}

impl Keys {
    /// Reads the keys in `directory`, and makes those that are missing: one that signs access
    /// tokens unless a shared secret does, one for refresh tokens, one for tickets. `now` goes into
    /// the names of new ones. Once this returns, all of them are on the disk to stay.
    ///
    /// # Errors
    /// If the directory or a file cannot be read or created, is damaged, or can be read by other
    /// users. If an existing key cannot be used, none is created.
    pub fn load_or_create(
        directory: &Path,
        signing: impl Into<AccessSigning>,
        now: Timestamp,
        random: &Random,
    ) -> Result<Self, KeysError> {
        let signing = signing.into();
        let directory = KeyDirectory::open(directory)?;
        let mut contents = Contents::read(&directory)?;
        for kid in contents.complete(&directory, &signing, now, random)? {
            tracing::info!(%kid, "made a new key");
        }
        finish_forgetting(&mut contents, &directory);
        Self::new(contents.keys, signing)
    }

    /// Reads the keys in `directory` again for a running server; `None` while another process has
    /// the directory locked.
    ///
    /// # Errors
    /// If the directory or a file cannot be read, is damaged, or can be read by other users, or if
    /// a required key is missing: none is created while the server runs.
    fn reload(path: &Path, signing: AccessSigning) -> Result<Option<Self>, KeysError> {
        let Some(directory) = KeyDirectory::try_open(path)? else { return Ok(None) };
        let mut contents = Contents::read(&directory)?;
        for kind in signing.needed() {
            if !contents.keys.iter().any(|key| key.id().kind() == kind) {
                return Err(KeysError::Missing { path: path.to_owned(), kind });
            }
        }
        finish_forgetting(&mut contents, &directory);
        Self::new(contents.keys, signing).map(Some)
    }

    /// New keys that are not stored, for tests.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn ephemeral(
        signing: impl Into<AccessSigning>,
        random: &Random,
    ) -> Result<Self, KeysError> {
        let signing = signing.into();
        let needed = signing.needed().into_iter();
        let keys = needed.map(|kind| contents::generate(kind, Timestamp::EPOCH, random));
        Self::new(keys.collect::<Result<Vec<_>, _>>()?, signing)
    }

    /// The keys that make and check the tokens of mailed links.
    pub const fn ticket(&self) -> &Arc<TicketKey> {
        &self.ticket
    }

    /// The algorithm that signs access tokens.
    pub(crate) const fn signing(&self) -> &AccessSigning {
        &self.signing
    }

    /// The keys of access tokens.
    pub(crate) const fn access(&self) -> &Timeline<Arc<JwtKey>> {
        &self.access
    }

    /// The keys of refresh tokens.
    pub(crate) const fn refresh(&self) -> &Ring<Arc<JwtKey>> {
        &self.refresh
    }

    /// The keys of access tokens that a verifier may need at `now`, including those that do not
    /// sign yet.
    pub(crate) fn access_alive(
        &self,
        access_lifetime: Duration,
        now: Timestamp,
    ) -> impl Iterator<Item = &JwtKey> {
        let schedule = Schedule { access_lifetime, ..Schedule::without_activation(&self.signing) };
        let keys = self.access.iter().map(|key| &**key);
        keys.filter(move |key| !schedule.is_dead(key.id(), &self.ids, now))
    }

    fn new(mut keys: Vec<KeyMaterial>, signing: AccessSigning) -> Result<Self, KeysError> {
        if let AccessSigning::SharedSecret(secret) = &signing {
            // A secret of the directory would sign in its place.
            keys.retain(|key| key.id().kind() != KeyId::SHARED.kind());
            keys.push(KeyMaterial::shared(secret).map_err(|_| KeysError::Generate)?);
        }
        let algorithm = signing.algorithm();
        let mut newest_first: Vec<&KeyMaterial> = keys.iter().collect();
        newest_first.sort_by_key(|key| Reverse(key.id().order()));
        let (mut access, mut refresh, mut ticket) = (Vec::new(), Vec::new(), Vec::new());
        for key in newest_first {
            let jwt_key = || JwtKey::new(key).map(Arc::new).ok_or(KeysError::Generate);
            match key.id().kind() {
                KeyKind::Access(_) => access.push((key.id(), jwt_key()?)),
                KeyKind::Refresh => refresh.push(jwt_key()?),
                KeyKind::Ticket => ticket.push(key),
            }
        }
        let ticket = TicketKey::new(Ring::new(ticket).ok_or(KeysError::Generate)?);
        Ok(Self {
            signing,
            access: Timeline::new(access, algorithm).ok_or(KeysError::Generate)?,
            refresh: Ring::new(refresh).ok_or(KeysError::Generate)?,
            ticket: Arc::new(ticket),
            ids: keys.iter().map(KeyMaterial::id).collect(),
        })
    }
}

/// Shows only names.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("access", &self.access)
            .field("refresh", &self.refresh)
            .field("ticket", &self.ticket)
            .finish()
    }
}

/// Finishes what a crash interrupted, as far as possible.
fn finish_forgetting(contents: &mut Contents, directory: &KeyDirectory) {
    if let Err(error) = contents.finish_forgetting(directory) {
        tracing::warn!(%error, "a revoked key is not used any more, but its file cannot be removed");
    }
}

#[cfg(test)]
mod tests;
