//! Taking new keys: in good order, or at once because the old ones are known to others.

use std::path::Path;
use std::time::Duration;

use super::KeysError;
use super::contents::Contents;
use super::directory::{KeyDirectory, key_ids};
use super::id::{KeyId, KeyKind};
use super::timeline::{KeyState, Schedule};
use crate::clock::{BEHIND_TOLERANCE, Timestamp};
use crate::random::Random;

/// The times in names are whole seconds, and a promise to wait is kept in full.
const ROUND_UP: Duration = Duration::from_micros(999_999);
const SECOND: Duration = Duration::from_secs(1);

/// All keys of `directory` and what each does at `now`: those of access tokens, of refresh tokens,
/// of mailed links, each in the order in which they sign.
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

/// A rotation in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The new key of access tokens, published from now on.
    pub new: KeyId,
    /// The key that signs now; none if none is of the configured algorithm, and then the new one
    /// signs as soon as a server is started with this configuration.
    pub signing: Option<KeyId>,
}

/// Makes a new key of access tokens that signs once it has been published for the configured time.
/// When this returns it is on the disk to stay.
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

/// What came of replacing keys that others know.
#[derive(Debug)]
pub struct Replaced {
    /// The new keys, which sign at once.
    pub made: Vec<KeyId>,
    /// The old ones, which are out of use.
    pub forgotten: Vec<KeyId>,
    /// Why files of old ones are still there, if they are.
    pub leftover: Option<KeysError>,
}

/// Puts new keys in the place of all there are, at once. Nothing that the old ones signed is good
/// any more: every session has ended, and every link that was mailed is void. Mail that still
/// waits gets its link when it is sent, and so by the new key.
///
/// A new key is made for every algorithm that there was a key of: a server that still runs with
/// another algorithm than is configured by now needs one to go on with.
///
/// # Errors
/// If there are no keys yet, any of them is damaged, or the directory cannot be written; the old
/// keys count then as before, and new ones beside them as far as they were made. It can be repeated.
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
        // After the others, since the newest is of the configured algorithm; it signs at once all
        // the same, as the first of it.
        let last = if kinds.is_empty() { now } else { now.saturating_add(SECOND) };
        made.push(contents.add(&directory, configured, last, random)?);
    }
    for kind in [KeyKind::Refresh, KeyKind::Ticket] {
        made.push(contents.add(&directory, kind, now, random)?);
    }
    directory.sync();
    // From here on there is no way back.
    contents.begin_forgetting(&directory, &forgotten)?;
    let leftover = contents.finish_forgetting(&directory).err();
    Ok(Replaced { made, forgotten, leftover })
}

/// Removes the files of keys of which nothing is good any more at `now`, and says which; nothing
/// while somebody else has the directory.
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

/// Opens a directory that must be there: a command that makes one has mistaken the place.
fn existing(path: &Path) -> Result<KeyDirectory, KeysError> {
    if path.is_dir() {
        KeyDirectory::open(path)
    } else {
        Err(KeysError::NoKeys { path: path.to_owned() })
    }
}

/// The keys, of which there must be some.
fn read_some(directory: &KeyDirectory) -> Result<Contents, KeysError> {
    let contents = Contents::read(directory)?;
    if contents.keys.is_empty() {
        return Err(KeysError::NoKeys { path: directory.path().to_owned() });
    }
    Ok(contents)
}

#[cfg(test)]
mod tests;
