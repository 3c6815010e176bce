//! A disk in memory that can fill up, break, fail at a chosen access, be slow, keep a journal of
//! everything that is written to it, and lose its power.

// The fuzz targets take this file in from elsewhere, so it says where the rest of it is.
#[path = "disk/gate.rs"]
mod gate;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use latchkey::store::{Medium, Memory, OpenError, Opening};
use redb::{Builder, Database, StorageBackend};

use gate::Gate;
pub(crate) use gate::Place;

/// A medium in memory. Clones are the same disk, so that an application can be restarted on it.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<State>);

#[derive(Default)]
struct State {
    memory: Memory,
    /// Whether nothing is free.
    is_full: AtomicBool,
    /// Which accesses fail by order; each that did is counted.
    fault: Mutex<Option<Fault>>,
    faults: AtomicU64,
    /// Everything written since the journal was begun, in order; `None` while nobody wants one.
    journal: Mutex<Option<Journal>>,
    /// How many entries the journal had when the disk was last opened.
    opened_at: AtomicUsize,
    /// Where the storage writer can be made to wait.
    gate: Gate,
}

/// What a database does to its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Resize,
    Flush,
}

#[derive(Debug)]
struct Fault {
    /// Which access; `None` for every one.
    access: Option<Access>,
    /// How many more accesses of the kind succeed.
    after: usize,
    kind: io::ErrorKind,
}

/// One access that a power cut could come before, within, or after.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// Bytes at an offset.
    Write(u64, Arc<[u8]>),
    /// Another length.
    Resize(u64),
    /// Everything before it is durable.
    Flush,
}

/// Everything that was written since it was begun.
#[derive(Default)]
struct Journal {
    entries: Vec<Entry>,
    /// How many entries it may have until the power is gone.
    ends_at: Option<usize>,
    is_out: bool,
}

impl Disk {
    /// Fills the disk up, or makes room.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.0.is_full.store(is_full, Ordering::SeqCst);
    }

    /// Breaks the disk, or repairs it.
    pub(crate) fn set_broken(&self, is_broken: bool) {
        let fault = Fault { access: None, after: 0, kind: io::ErrorKind::Other };
        *self.fault() = is_broken.then_some(fault);
    }

    /// Lets one kind of access fail, once `after` more of it have succeeded and until
    /// [`mend`](Self::mend).
    pub(crate) fn fail(&self, access: Access, after: usize, kind: io::ErrorKind) {
        self.0.faults.store(0, Ordering::SeqCst);
        *self.fault() = Some(Fault { access: Some(access), after, kind });
    }

    /// Lets every access succeed again.
    pub(crate) fn mend(&self) {
        *self.fault() = None;
    }

    /// How many accesses have failed since they were ordered to.
    pub(crate) fn faults(&self) -> u64 {
        self.0.faults.load(Ordering::SeqCst)
    }

    /// Lets whatever is written from now on wait, before any of it is applied, or lets it go on.
    pub(crate) fn set_held(&self, is_held: bool) {
        if is_held {
            self.gate().hold_next_look();
        } else {
            self.gate().let_go();
        }
    }

    /// A disk with a copy of everything that was on another.
    pub(crate) fn holding(image: &[u8]) -> Self {
        let disk = Self::default();
        disk.0.memory.set_len(u64::try_from(image.len()).unwrap()).unwrap();
        disk.0.memory.write(0, image).unwrap();
        disk
    }

    /// Everything on it, byte for byte.
    pub(crate) fn image(&self) -> Vec<u8> {
        let length = usize::try_from(self.0.memory.len().unwrap()).unwrap();
        let mut image = vec![0; length];
        self.0.memory.read(0, &mut image).unwrap();
        image
    }

    /// Replaces some bytes wherever they are by as many others.
    pub(crate) fn replace(&self, these: &[u8], others: &[u8]) {
        assert_eq!(these.len(), others.len());
        let image = self.image();
        for (place, window) in image.windows(these.len()).enumerate() {
            if window == these {
                self.0.memory.write(u64::try_from(place).unwrap(), others).unwrap();
            }
        }
    }

    /// Begins a journal of everything that is written from now on.
    pub(crate) fn record(&self) {
        *self.journal() = Some(Journal::default());
    }

    /// How many entries the journal has.
    pub(crate) fn position(&self) -> usize {
        self.journal().as_ref().map_or(0, |journal| journal.entries.len())
    }

    /// How many entries the journal had when the disk was last opened.
    pub(crate) fn opened_at(&self) -> usize {
        self.0.opened_at.load(Ordering::SeqCst)
    }

    /// The journal's entries from `first` on.
    pub(crate) fn entries(&self, first: usize) -> Vec<Entry> {
        self.journal().as_ref().map_or(Vec::new(), |journal| journal.entries[first..].to_vec())
    }

    /// Takes the power away before the entry of the journal at `position`: that write or flush and
    /// every access after it fails.
    pub(crate) fn lose_power_at(&self, position: usize) {
        self.journal().as_mut().unwrap().ends_at = Some(position);
    }

    /// Whether the power is gone.
    pub(crate) fn is_out(&self) -> bool {
        self.journal().as_ref().is_some_and(|journal| journal.is_out)
    }

    /// Where the storage writer can be made to wait.
    pub(crate) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    fn fault(&self) -> MutexGuard<'_, Option<Fault>> {
        self.0.fault.lock().unwrap()
    }

    fn journal(&self) -> MutexGuard<'_, Option<Journal>> {
        self.0.journal.lock().unwrap()
    }

    fn work(&self, access: Access) -> io::Result<()> {
        if self.is_out() {
            return Err(io::Error::other("the power is gone"));
        }
        let mut fault = self.fault();
        let is_ordered = |fault: &&mut Fault| fault.access.is_none_or(|one| one == access);
        let Some(ordered) = fault.as_mut().filter(is_ordered) else { return Ok(()) };
        if ordered.after > 0 {
            ordered.after -= 1;
            return Ok(());
        }
        self.0.faults.fetch_add(1, Ordering::SeqCst);
        Err(ordered.kind.into())
    }

    /// Enters into the journal what is about to be done.
    fn note(&self, entry: impl FnOnce() -> Entry) -> io::Result<()> {
        if let Some(journal) = self.journal().as_mut() {
            if journal.ends_at.is_some_and(|end| journal.entries.len() >= end) {
                journal.is_out = true;
                self.gate().power_is_out();
                return Err(io::Error::other("the power is gone"));
            }
            journal.entries.push(entry());
        }
        Ok(())
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("position", &self.position()).finish_non_exhaustive()
    }
}

impl Medium for Disk {
    fn open(&self, cache: usize, _: Opening) -> Result<Database, OpenError> {
        self.0.opened_at.store(self.position(), Ordering::SeqCst);
        Builder::new()
            .set_cache_size(cache)
            .create_with_backend(self.clone())
            .map_err(|error| OpenError::Other(error.to_string()))
    }

    /// The writer asks before each transaction.
    fn free_space(&self) -> io::Result<u64> {
        self.gate().pass_space();
        Ok(if self.0.is_full.load(Ordering::SeqCst) { 0 } else { u64::MAX })
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.work(Access::Read)?;
        self.0.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.work(Access::Read)?;
        self.0.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.work(Access::Resize)?;
        self.note(|| Entry::Resize(len))?;
        self.0.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.work(Access::Flush)?;
        self.gate().pass_flush();
        self.note(|| Entry::Flush)?;
        self.0.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.work(Access::Write)?;
        self.note(|| Entry::Write(offset, data.into()))?;
        self.0.memory.write(offset, data)
    }
}
