//! A disk in memory that can fill up, break, and keep its writer waiting.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use latchkey::store::{Medium, Memory, OpenError, Opening};
use redb::{Builder, Database, StorageBackend};

/// A medium in memory. Clones are the same disk, so that an application can be restarted on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    memory: Memory,
    /// Whether nothing is free.
    is_full: Arc<AtomicBool>,
    /// Whether every access fails.
    is_broken: Arc<AtomicBool>,
    /// Whether the next write has to wait.
    is_held: Arc<(Mutex<bool>, Condvar)>,
}

impl Disk {
    /// Fills the disk up, or makes room.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    /// Breaks the disk, or mends it.
    pub(crate) fn set_broken(&self, is_broken: bool) {
        self.is_broken.store(is_broken, Ordering::SeqCst);
    }

    /// Lets whatever is written from now on wait, before any of it is applied, or lets it go on.
    pub(crate) fn set_held(&self, is_held: bool) {
        let (held, changed) = &*self.is_held;
        *held.lock().unwrap() = is_held;
        changed.notify_all();
    }

    /// A disk with a copy of everything that was on another.
    pub(crate) fn holding(image: &[u8]) -> Self {
        let disk = Self::default();
        disk.memory.set_len(u64::try_from(image.len()).unwrap()).unwrap();
        disk.memory.write(0, image).unwrap();
        disk
    }

    /// Everything on it, byte for byte.
    pub(crate) fn image(&self) -> Vec<u8> {
        let length = usize::try_from(self.memory.len().unwrap()).unwrap();
        let mut image = vec![0; length];
        self.memory.read(0, &mut image).unwrap();
        image
    }

    /// Replaces some bytes wherever they are by as many others.
    pub(crate) fn replace(&self, these: &[u8], others: &[u8]) {
        assert_eq!(these.len(), others.len());
        let image = self.image();
        for (place, window) in image.windows(these.len()).enumerate() {
            if window == these {
                self.memory.write(u64::try_from(place).unwrap(), others).unwrap();
            }
        }
    }

    fn work(&self) -> io::Result<()> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is broken"));
        }
        Ok(())
    }
}

impl Medium for Disk {
    fn open(&self, cache: usize, _: Opening) -> Result<Database, OpenError> {
        Builder::new()
            .set_cache_size(cache)
            .create_with_backend(self.clone())
            .map_err(|error| OpenError::Other(error.to_string()))
    }

    /// The writer asks before each transaction.
    fn free_space(&self) -> io::Result<u64> {
        let (held, changed) = &*self.is_held;
        drop(changed.wait_while(held.lock().unwrap(), |is_held| *is_held).unwrap());
        Ok(if self.is_full.load(Ordering::SeqCst) { 0 } else { u64::MAX })
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.work()?;
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.work()?;
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.work()?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.work()?;
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.work()?;
        self.memory.write(offset, data)
    }
}
