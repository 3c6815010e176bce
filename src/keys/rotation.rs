//! Replaces keys: on schedule, or at once because others know the old ones.

use std::path::Path;
use std::time::Duration;

use super::KeysError;
use super::contents::Contents;
use super::directory::{KeyDirectory, key_ids};
use super::id::{KeyId, KeyKind};
use super::timeline::{KeyState, Schedule};
use crate::clock::{BEHIND_TOLERANCE, Timestamp};
use crate::random::Random;

/// Times in names are whole seconds; rounding up keeps the full wait.
const ROUND_UP: Duration = Duration::from_micros(999_999);
const SECOND: Duration = Duration::from_secs(1);

/// All keys of `directory` and the state of each at `now`: those of access tokens, refresh tokens
/// and mailed links, each in the order in which they sign.
///
/// # Errors
/// If there are none, or the directory cannot be read.
pub fn list(
    directory: &Path,
    schedule: Schedule,
    now: Timestamp,
) -> Result<Vec<(KeyId, KeyState)>, KeysError> {
    let mut ids = key_ids(&existing(directory)?)?;
    if ids.is_empty() {
        return Err(KeysError::NoKeys { path: directory.to_owned() });
    }
    if schedule.is_shared {
        ids.retain(|id| id.kind() != KeyId::SHARED.kind());
        ids.push(KeyId::SHARED);
    }
    let rank = |id: &KeyId| match id.kind() {
        KeyKind::Access(_) => 0,
        KeyKind::Refresh => 1,
        KeyKind::Ticket => 2,
    };
    ids.sort_by_key(|id| (rank(id), id.order()));
    Ok(ids.iter().map(|id| (*id, schedule.state(*id, &ids, now))).collect())
}

/// A scheduled rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The new key of access tokens, published from now on.
    pub new: KeyId,
    /// The key that signs now; `None` if no key has the configured algorithm. Then the new one
    /// signs as soon as a server is started with this configuration.
    pub signing: Option<KeyId>,
}

/// Creates a new key for access tokens that signs once it has been published for the configured
/// time. When this returns the key is durable.
///
/// # Errors
/// If a shared secret signs, there are no keys yet, any of them is damaged, the clock contradicts
/// the key that signs, or the key cannot be written; nothing has changed then.
pub fn rotate(
    directory: &Path,
    schedule: Schedule,
    now: Timestamp,
    random: &Random,
) -> Result<Rotated, KeysError> {
    if schedule.is_shared {
        return Err(KeysError::SharedSecret);
    }
    let directory = existing(directory)?;
    let mut contents = read_some(&directory)?;
    let signing = schedule.signer(&contents.ids(), now);
    let mut signs_from = now.saturating_add(schedule.activation).saturating_add(ROUND_UP);
    if let Some(signing) = signing {
        let latest = now.saturating_add(schedule.activation).saturating_add(BEHIND_TOLERANCE);
        if signing.signs_from() > latest {
            return Err(KeysError::Clock { now, signing, signs_from: signing.signs_from() });
        }
        signs_from = signs_from.max(signing.signs_from().saturating_add(SECOND));
    }
    let kind = KeyKind::Access(schedule.algorithm);
    let new = contents.add(&directory, kind, signs_from, random)?;
    directory.sync();
    Ok(Rotated { new, signing })
}

/// The result of replacing compromised keys.
#[derive(Debug)]
pub struct Replaced {
    /// The new keys, which sign at once.
    pub made: Vec<KeyId>,
    /// The old keys, which are revoked.
    pub forgotten: Vec<KeyId>,
    /// Why files of old keys still exist, if they do.
    pub leftover: Option<KeysError>,
}

/// Replaces all keys at once. Nothing that the old keys signed is valid any more: every session has
/// ended and every mailed link is void. Waiting mail gets its link when it is sent, under the new
/// key.
///
/// A new key is created for every algorithm that had one, because a running server may still use
/// another algorithm than the one configured now.
///
/// # Errors
/// If there are no keys yet, any of them is damaged, or the directory cannot be written. Then the
/// old keys still count, together with the new ones created so far. It can be repeated.
pub fn replace_compromised(
    directory: &Path,
    schedule: Schedule,
    now: Timestamp,
    random: &Random,
) -> Result<Replaced, KeysError> {
    let directory = KeyDirectory::open(directory)?;
    let mut contents = Contents::read(&directory)?;
    let forgotten = contents.ids();
    let configured = KeyKind::Access(schedule.algorithm);
    let mut kinds: Vec<KeyKind> = Vec::new();
    for kind in forgotten.iter().map(KeyId::kind) {
        if matches!(kind, KeyKind::Access(_)) && kind != configured && !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let mut made = Vec::new();
    for kind in &kinds {
        made.push(contents.add(&directory, *kind, now, random)?);
    }
    if !schedule.is_shared {
        // Last, so that the newest key has the configured algorithm; as the first of it, it signs
        // at once.
        let last = if kinds.is_empty() { now } else { now.saturating_add(SECOND) };
        made.push(contents.add(&directory, configured, last, random)?);
    }
    for kind in [KeyKind::Refresh, KeyKind::Ticket] {
        made.push(contents.add(&directory, kind, now, random)?);
    }
    directory.sync();
    // From here on there is no going back.
    contents.begin_forgetting(&directory, &forgotten)?;
    let leftover = contents.finish_forgetting(&directory).err();
    Ok(Replaced { made, forgotten, leftover })
}

/// Removes the files of keys whose tokens have all expired at `now`, and returns the keys. Does
/// nothing while another process has the directory locked.
///
/// # Errors
/// If a file cannot be removed.
pub(super) fn remove_dead(
    directory: &Path,
    schedule: Schedule,
    now: Timestamp,
) -> Result<Vec<KeyId>, KeysError> {
    let Some(directory) = KeyDirectory::try_open(directory)? else { return Ok(Vec::new()) };
    let ids = key_ids(&directory)?;
    let dead: Vec<KeyId> =
        ids.iter().copied().filter(|id| schedule.is_dead(*id, &ids, now)).collect();
    for id in &dead {
        directory.remove_key(*id)?;
    }
    Ok(dead)
}

/// Opens an existing directory: a command that had to create one would have the wrong path.
fn existing(path: &Path) -> Result<KeyDirectory, KeysError> {
    if path.is_dir() {
        KeyDirectory::open(path)
    } else {
        Err(KeysError::NoKeys { path: path.to_owned() })
    }
}

/// The keys, at least one.
fn read_some(directory: &KeyDirectory) -> Result<Contents, KeysError> {
    let contents = Contents::read(directory)?;
    if contents.keys.is_empty() {
        return Err(KeysError::NoKeys { path: directory.path().to_owned() });
    }
    Ok(contents)
}

#[cfg(test)]
mod tests;
