//! Keeps a running server's keys in step with the directory.

use std::path::PathBuf;

use tracing::{debug, error, info, warn};

use super::directory::Listing;
use super::id::{KeyId, KeyKind};
use super::live::LiveKeys;
use super::rotation;
use super::timeline::{KeyState, Schedule};
use super::{Keys, KeysError};
use crate::clock::Timestamp;

/// Notices added and removed keys, takes them over, and removes expired ones.
#[derive(Debug)]
pub struct KeyWatch {
    directory: PathBuf,
    schedule: Schedule,
    keys: LiveKeys,
    /// The directory when the keys in use were read; `None` before the first look, since it may
    /// have changed after the start read it.
    seen: Option<Listing>,
    /// The problem that was logged last.
    problem: Option<String>,
    /// The key that signed when the watch last looked.
    signing: Option<KeyId>,
}

impl KeyWatch {
    /// Watches `keys`, which were read from `directory`.
    pub const fn new(directory: PathBuf, schedule: Schedule, keys: LiveKeys) -> Self {
        Self { directory, schedule, keys, seen: None, problem: None, signing: None }
    }

    /// Looks once, which is cheap while nothing has changed. If keys cannot be read, those in use
    /// stay, and the log reports the problem once. Files are removed only if `may_remove`: while
    /// the clock is in doubt it is unknown what has expired.
    ///
    /// Blocks: reads and writes files.
    pub fn look(&mut self, now: Timestamp, may_remove: bool) {
        let removed = self.remove_dead(now, may_remove);
        match self.take_changes(now).and_then(|taken| removed.map(|()| taken)) {
            Ok(Taken::LaterPerhaps) => {}
            Ok(Taken::All) => {
                if self.problem.take().is_some() {
                    info!("the key directory is usable again");
                }
            }
            Err(error) => self.complain(&error),
        }
        self.note_signing(now);
    }

    fn remove_dead(&self, now: Timestamp, may_remove: bool) -> Result<(), KeysError> {
        let keys = self.keys.current();
        let is_any_dead = keys.ids.iter().any(|id| self.schedule.is_dead(*id, &keys.ids, now));
        if may_remove && is_any_dead {
            for kid in rotation::remove_dead(&self.directory, self.schedule, now)? {
                info!(%kid, "removed a key whose last token has expired");
            }
        }
        Ok(())
    }

    fn take_changes(&mut self, now: Timestamp) -> Result<Taken, KeysError> {
        // Listed first: later changes are noticed by the next look. What cannot be read is not
        // remembered as seen, so it is tried again each time.
        let listing = Listing::of(&self.directory)?;
        if self.seen.as_ref() == Some(&listing) {
            return Ok(Taken::All);
        }
        let before = self.keys.current();
        let Some(keys) = Keys::reload(&self.directory, before.signing().clone())? else {
            debug!("the key directory is locked by another process; trying again in a moment");
            return Ok(Taken::LaterPerhaps);
        };
        self.seen = Some(listing);
        let after = keys.ids.clone();
        self.keys.replace(keys);
        self.log_changes(&before.ids, &after, now);
        Ok(Taken::All)
    }

    fn complain(&mut self, error: &KeysError) {
        let problem = error.to_string();
        if self.problem.as_ref() != Some(&problem) {
            error!(%error, "the key directory cannot be used; the keys in use stay");
        }
        self.problem = Some(problem);
    }

    fn note_signing(&mut self, now: Timestamp) {
        let signing = self.keys.current().access().signs(now).id();
        let before = self.signing.replace(signing);
        if before.is_some_and(|before| before != signing) {
            info!(kid = %signing, "access tokens are signed by another key from now on");
        }
    }

    /// Logs a line for each added or removed key, and one for the sessions that ended with them.
    fn log_changes(&self, before: &[KeyId], after: &[KeyId], now: Timestamp) {
        for kid in after.iter().filter(|id| !before.contains(id)) {
            match self.schedule.state(*kid, after, now) {
                KeyState::Published { signs_from } => {
                    info!(%kid, %signs_from, "a new key is published");
                }
                _ => info!(%kid, "a new key is in use"),
            }
        }
        // The removal of an expired key was logged when its files were removed.
        let is_dead = |id: KeyId| self.schedule.is_dead(id, before, now);
        for kid in before.iter().filter(|id| !after.contains(id) && !is_dead(**id)) {
            warn!(%kid, "a key was removed; what it signed is refused from now on");
        }
        let is_kept = |id: &KeyId| id.kind() == KeyKind::Refresh && after.contains(id);
        if !before.iter().any(is_kept) {
            warn!("all refresh keys were replaced; every session has ended");
        }
    }
}

/// The result of a look.
enum Taken {
    /// The keys in use are those of the directory.
    All,
    /// Another process had the directory locked.
    LaterPerhaps,
}

#[cfg(test)]
mod tests;
