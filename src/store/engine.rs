//! The embedded engine: the only module that names redb.
//!
//! It applies writes on one thread and makes them durable together, reads past that thread, and
//! closes and reopens the database when the disk fails. `tables` lists the tables; [`rotated`] and
//! [`decoded`] make sessions cheap to rotate and to read.

mod decoded;
mod fault;
mod medium;
mod rotated;
mod schema;
mod snapshot;
mod table;
mod tables;
mod writer;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tracing::error;

use crate::clock::Timestamp;
use writer::{Closure, Message, Shared, Writer};

pub(super) use decoded::Decoded;
pub(super) use fault::{CorruptRecord, Fault, lock, readable};
#[cfg(test)]
pub(super) use rotated::SETTLED_AT_ONCE;
#[cfg(test)]
pub(super) use schema::prepare;
pub(super) use table::{
    Index, Numbers, ReadableTable, ReadableTableMetadata, Record, Records, TableHandle, decode,
    discard, encode, missing,
};
#[cfg(test)]
pub(super) mod list {
    pub(crate) use super::tables::*;
}
pub(super) use tables::{Read, Write, meta};

pub use fault::StoreError;
pub use medium::{DataDirectory, DirectoryProblem, Medium, Memory};
pub use schema::{OpenError, Opening};
pub use writer::Health;

/// How many sessions a server keeps apart since they were rotated, in some two megabytes of the
/// file: more than are rotated within seconds even on a busy machine.
pub const MAX_ROTATED: u64 = 4_096;

/// How the engine is run.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// The most memory for the database's cache, in bytes.
    pub cache: usize,
    /// Below so many free bytes, writes are refused.
    pub min_free: u64,
    /// The most writes that may wait for the writer.
    pub write_queue: NonZeroUsize,
    /// The most sessions whose records are kept apart since they were rotated.
    pub max_rotated: u64,
}

/// The open database.
#[derive(Clone)]
pub(super) struct Engine {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
}

/// The writer thread: wait for it to end, and every write that was accepted has been answered and
/// the database is closed.
#[derive(Debug)]
pub struct WriterThread(JoinHandle<()>);

impl WriterThread {
    /// Waits until the last [`Store`](super::Store) is gone and the database is closed. Blocks.
    pub fn join(self) {
        if self.0.join().is_err() {
            error!("the storage writer panicked");
        }
    }
}

/// A write on its way: its answer comes when it is durable.
pub(super) struct Pending<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Pending<T> {
    /// The answer, if it is there already.
    pub(super) fn now(&mut self) -> Option<Result<T, StoreError>> {
        self.0.try_recv().ok()
    }

    /// Waits for the answer.
    pub(super) async fn answer(self) -> Result<T, StoreError> {
        self.0.await.unwrap_or(Err(StoreError::Unavailable))
    }
}

impl Engine {
    /// Opens the database on `medium`, makes it if there is none, and starts the writer.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed then.
    pub(super) fn open(
        medium: impl Medium,
        settings: EngineSettings,
    ) -> Result<(Self, WriterThread), OpenError> {
        let (queue, messages) = sync_channel(settings.write_queue.get());
        let writer = Writer::open(Box::new(medium), settings, messages)?;
        let shared = Arc::clone(writer.shared());
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Other(error.to_string()))?;
        Ok((Self { shared, queue }, WriterThread(thread)))
    }

    /// The last commit time.
    pub(super) fn last_commit(&self) -> Timestamp {
        Timestamp::from_micros(self.shared.last_commit.load(Ordering::Acquire))
    }

    /// How the last commit went.
    pub(super) fn health(&self) -> Health {
        lock(&self.shared.health).clone()
    }

    /// Has the writer check again whether there is enough free space, though nothing is written.
    pub(super) fn look_at_space(&self) {
        // A full queue means that it is looking anyway.
        let _ = self.queue.try_send(Message::LookAtSpace);
    }

    /// Waits until mail is queued, or was since the last wait.
    pub(super) async fn mail_queued(&self) {
        self.shared.mail_queued.notified().await;
    }

    /// Hands an operation to the writer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], if the queue is full.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        apply: impl FnMut(&mut Write<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<Pending<T>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Message::Job(Box::new(Closure::new(apply, reply)));
        self.queue.try_send(job).map_err(|_| StoreError::Unavailable)?;
        Ok(Pending(answer))
    }

    /// Reads from the state as of the last commit.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&Read) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let (outcome, epoch) = self.shared.current.read(look).ok_or(StoreError::Unavailable)?;
        outcome.map_err(|fault| {
            if let Fault::Storage(error) = &fault {
                // The writer logs the failure, closes and reopens. A full queue means that it is
                // busy finding out by itself.
                let reason = format!("a read failed: {error}");
                let _ = self.queue.try_send(Message::ReadFailed { epoch, reason });
            }
            fault.report()
        })
    }
}
