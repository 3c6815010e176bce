//! The database as it is at present: open or away, and what readers see of it.
//!
//! To begin a read transaction and open its tables costs several times what a look at one record
//! does, and between two commits all readers see the same. So they share one transaction, which
//! the first of them begins and the next commit ends.

use std::sync::{Arc, Mutex, MutexGuard};

use redb::{Database, ReadableDatabase};

use super::decoded::Edition;
use super::fault::{Fault, lock};
use super::tables::Read;

/// The open database, if it is open, and the transaction that readers share.
pub(super) struct Current(Mutex<Open>);

/// The database and its snapshot.
struct Open {
    /// None while it is closed after a failure.
    database: Option<Arc<Database>>,
    /// How often it was opened.
    epoch: u64,
    /// What readers saw last.
    edition: Edition,
    /// None until somebody reads what was committed last.
    snapshot: Option<Arc<Snapshot>>,
}

/// What was committed last, for as long as that is so.
struct Snapshot {
    // Before the database that it is of, so that the last reader to let go closes that.
    read: Read,
    _database: Arc<Database>,
}

impl Current {
    pub(super) fn new(database: Database) -> Self {
        let database = Some(Arc::new(database));
        Self(Mutex::new(Open { database, epoch: 1, edition: Edition::UNCOMMITTED, snapshot: None }))
    }

    /// What `look` finds in the state as of the last commit, and how often the database had been
    /// opened by then; nothing while it is away.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&Read) -> Result<T, Fault>,
    ) -> Option<(Result<T, Fault>, u64)> {
        let mut open = self.open();
        let epoch = open.epoch;
        let snapshot = match &open.snapshot {
            Some(snapshot) => Arc::clone(snapshot),
            // Begun while nobody can say that something was committed: it would miss that.
            None => {
                open.edition = open.edition.next();
                match Snapshot::of(open.database.clone()?, open.edition) {
                    Ok(begun) => Arc::clone(open.snapshot.insert(Arc::new(begun))),
                    Err(fault) => return Some((Err(fault), epoch)),
                }
            }
        };
        drop(open);
        Some((look(&snapshot.read), epoch))
    }

    /// Lets later readers see what was just committed. Called before anybody is told of it.
    pub(super) fn committed(&self) {
        let ended = self.open().snapshot.take();
        drop(ended);
    }

    pub(super) fn database(&self) -> Option<Arc<Database>> {
        self.open().database.clone()
    }

    /// How often the database was opened.
    pub(super) fn epoch(&self) -> u64 {
        self.open().epoch
    }

    /// Takes the database away from readers. Those who are reading still hold it.
    pub(super) fn take(&self) -> Option<Arc<Database>> {
        let mut open = self.open();
        let (ended, database) = (open.snapshot.take(), open.database.take());
        drop(open);
        drop(ended);
        database
    }

    /// Gives readers the database once it is open again.
    pub(super) fn put(&self, database: Database) {
        let mut open = self.open();
        open.database = Some(Arc::new(database));
        open.epoch = open.epoch.saturating_add(1);
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        lock(&self.0)
    }
}

impl Snapshot {
    fn of(database: Arc<Database>, edition: Edition) -> Result<Self, Fault> {
        Ok(Self { read: Read::new(database.begin_read()?, edition), _database: database })
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::super::tables::{Settling, Write, meta};
    use super::*;

    fn commit(database: &Database, number: u64) {
        let transaction = database.begin_write().unwrap();
        let settling = Settling::new(0);
        let mut write = Write::new(&transaction, &settling);
        write.meta.open().unwrap().insert(meta::LAST_COMMIT, number).unwrap();
        drop(write);
        transaction.commit().unwrap();
    }

    fn seen(current: &Current) -> Option<(u64, u64)> {
        let look = |read: &Read| Ok(read.meta()?.get(meta::LAST_COMMIT)?.unwrap().value());
        current.read(look).map(|(seen, epoch)| (seen.unwrap(), epoch))
    }

    #[test]
    fn readers_share_what_was_committed_last_and_see_nothing_while_it_is_away() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        commit(&database, 1);
        let current = Current::new(database);
        assert_eq!(seen(&current), Some((1, 1)));
        commit(&current.database().unwrap(), 2);
        assert_eq!(seen(&current), Some((1, 1)), "the transaction is the one from before");
        current.committed();
        assert_eq!(seen(&current), Some((2, 1)));
        let database = Arc::into_inner(current.take().unwrap());
        assert_eq!(seen(&current), None);
        current.put(database.expect("nobody holds it any more"));
        assert_eq!((seen(&current), current.epoch()), (Some((2, 2)), 2));
    }
}
