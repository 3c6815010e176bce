//! Keeping a running server's keys what the directory says.

use std::path::PathBuf;

use tracing::{debug, error, info, warn};

use super::directory::Listing;
use super::id::{KeyId, KeyKind};
use super::live::LiveKeys;
use super::rotation;
use super::timeline::{KeyState, Schedule};
use super::{Keys, KeysError};
use crate::clock::Timestamp;

/// Notices that keys were added or taken away, takes them, and removes the dead.
#[derive(Debug)]
pub struct KeyWatch {
    directory: PathBuf,
    schedule: Schedule,
    keys: LiveKeys,
    /// The directory as it was when the keys in use were read; none before the first look, since
    /// it may have changed after the start read it.
    seen: Option<Listing>,
    /// What the log was told last of what is wrong.
    problem: Option<String>,
    /// The key that signed when the watch last looked.
    signing: Option<KeyId>,
}

impl KeyWatch {
    /// Watches over `keys`, which were read from `directory`.
    pub const fn new(directory: PathBuf, schedule: Schedule, keys: LiveKeys) -> Self {
        Self { directory, schedule, keys, seen: None, problem: None, signing: None }
    }

    /// Looks once: cheap while nothing has changed. Keys that cannot be read leave those in use as
    /// they are, and the log says once what is wrong. Files are removed only if `may_remove`:
    /// while the clock is in doubt, nobody knows what is dead.
    ///
    /// Reads and writes files, and so may block.
    pub fn look(&mut self, now: Timestamp, may_remove: bool) {
        let removed = self.remove_dead(now, may_remove);
        match self.take_changes(now).and_then(|taken| removed.map(|()| taken)) {
            Ok(Taken::LaterPerhaps) => {}
            Ok(Taken::All) => {
                if self.problem.take().is_some() {
                    info!("the key directory is fine again");
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
                info!(%kid, "removed a key whose last token has died");
            }
        }
        Ok(())
    }

    fn take_changes(&mut self, now: Timestamp) -> Result<Taken, KeysError> {
        // Listed first: what changes after this is seen by the next look. What cannot be read is
        // not remembered as seen, and so is tried again each time.
        let listing = Listing::of(&self.directory)?;
        if self.seen.as_ref() == Some(&listing) {
            return Ok(Taken::All);
        }
        let before = self.keys.current();
        let Some(keys) = Keys::reload(&self.directory, before.signing().clone())? else {
            debug!("the key directory is in use; it is read a moment later");
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
            error!(%error, "the key directory is not as it should be; the keys in use stay");
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

    /// One line for each key that came or went, and one for the sessions that went with them.
    fn log_changes(&self, before: &[KeyId], after: &[KeyId], now: Timestamp) {
        for kid in after.iter().filter(|id| !before.contains(id)) {
            match self.schedule.state(*kid, after, now) {
                KeyState::Published { signs_from } => {
                    info!(%kid, %signs_from, "a new key is published");
                }
                _ => info!(%kid, "a new key is in use"),
            }
        }
        // That a dead one goes was said when its files were removed.
        let is_dead = |id: KeyId| self.schedule.is_dead(id, before, now);
        for kid in before.iter().filter(|id| !after.contains(id) && !is_dead(**id)) {
            warn!(%kid, "a key is gone; what it signed is refused from now on");
        }
        let is_kept = |id: &KeyId| id.kind() == KeyKind::Refresh && after.contains(id);
        if !before.iter().any(is_kept) {
            warn!("all refresh keys were replaced; every session has ended");
        }
    }
}

/// Whether a look saw everything.
enum Taken {
    /// The keys in use are those of the directory.
    All,
    /// Somebody else had the directory.
    LaterPerhaps,
}

#[cfg(test)]
mod tests;
