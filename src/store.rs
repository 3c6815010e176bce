//! Storage: one embedded database, and the sentences that are said to it.
//!
//! This module and those below it are the only ones that know redb. One method is one transaction
//! is one sentence of the domain; each takes values only and checks what it relies on inside its
//! transaction. Writes are collected by one writer thread and made durable together; reads go
//! past it. The sentences are in `users`, `sessions`, `tickets`, `outbox` and `upkeep`.

mod account;
mod condemned;
mod current;
mod decoded;
mod email_change;
mod events;
mod mailboxes;
mod medium;
mod outbox;
mod passwords;
mod records;
mod revocations;
mod sessions;
mod tables;
mod tickets;
mod trial;
mod upkeep;
mod users;
mod writer;

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tracing::error;

use crate::clock::Timestamp;
use crate::domain::{SessionId, User};
use condemned::{Condemned, Suspect};
use current::Current;
use decoded::Decoded;
use records::FiledSession;
use tables::{Read, Write};
use writer::{Message, Sentence, Writer};

pub use account::{AccountChange, Changed};
pub use email_change::{CancelOutcome, ConfirmChangeOutcome, EmailChange};
pub use mailboxes::{MailLimit, NewNotice};
pub use medium::{DataDirectory, DirectoryProblem, Medium, Memory, Opening};
pub use outbox::{FoundMail, MailToSend, NewMail, UnreadableMail};
pub use passwords::{NewPasswordHash, PasswordChange, Requested, ResetOutcome, ResetRequest};
#[cfg(any(test, fuzzing))]
pub use records::hostile::check as check_record;
pub use revocations::{Revocations, RevocationsVersion};
pub use sessions::{Authorised, NewSession, Presented, Refused, Rotated, SessionOfUser};
pub use tickets::{DisownOutcome, RedeemOutcome};
pub use upkeep::{SweepLimits, Swept};
pub use users::{LoginRecord, NewTicket, NewUser, RegisterOutcome, Taken};

/// How many sessions a server keeps apart since they were rotated, in some two megabytes of the
/// file: more than are rotated within seconds even on a busy machine.
pub const MAX_ROTATED: u64 = 4_096;

/// How storage is run.
#[derive(Clone, Copy, Debug)]
pub struct StoreSettings {
    /// The most memory for the database's cache, in bytes.
    pub cache: usize,
    /// Below so many free bytes, writes are refused.
    pub min_free: u64,
    /// The most writes that may wait for the writer.
    pub write_queue: NonZeroUsize,
    /// The most audit events that are kept.
    pub max_events: u64,
    /// The most sessions whose records are kept apart since they were rotated.
    pub max_rotated: u64,
    /// How long an access token lives, and with it the mark of a session that was ended.
    pub access_lifetime: Duration,
}

/// Why a sentence has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Storage is away, full, or has too much waiting; whether a write happened is unknown.
    Unavailable,
    /// A record cannot be read; nothing was changed. The log names it.
    Corrupt,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "storage is unavailable",
            Self::Corrupt => "a stored record cannot be read",
        })
    }
}

impl std::error::Error for StoreError {}

/// Why the database could not be opened at start.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    InUse,
    /// It was written by another version of Latchkey.
    OtherSchema(u64),
    /// Anything else, in the engine's words.
    Other(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("another process is using the database"),
            Self::OtherSchema(schema) => write!(
                f,
                "the database has schema {schema}, and this program reads {} to {}; start the \
                 version that wrote it",
                tables::OLDEST_SCHEMA,
                tables::SCHEMA
            ),
            Self::Other(reason) => write!(f, "the database cannot be opened: {reason}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// How storage was after the last commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The last commit succeeded.
    Fine,
    /// Less space is free than `min_free`; writes are refused.
    LowSpace,
    /// The database is closed after a failure and is being reopened.
    Away,
}

/// The database, shared by everyone who speaks to it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
}

/// What the writer thread and the readers share.
struct Shared {
    /// The open database, and what readers see of it.
    current: Current,
    /// How the last commit went, for the readiness probe.
    health: Mutex<Health>,
    /// The latest committed time, in microseconds.
    mark: AtomicU64,
    /// Sessions whose end could not be written yet: refused from memory meanwhile.
    condemned: Mutex<HashMap<SessionId, Condemned>>,
    /// Refresh tokens whose outcome is unknown because storage failed: each is judged before its
    /// session is used again.
    suspects: Mutex<HashMap<SessionId, Suspect>>,
    /// Users as they were decoded before, for whoever shows a token.
    decoded_users: Decoded<Arc<User>>,
    /// Their sessions.
    decoded_sessions: Decoded<FiledSession>,
    /// Whose turn it is among the sessions that were rotated of late.
    settling: sessions::Turn,
    /// Woken when mail was queued.
    mail_queued: Notify,
    /// The most sessions that are kept apart since they were rotated.
    max_rotated: u64,
    /// The most audit events that are kept.
    max_events: u64,
    /// How long the mark of a session that was ended is kept.
    access_lifetime: Duration,
}

/// The writer thread: wait for it to end, and everything that was taken on has been answered and
/// the database is closed.
#[derive(Debug)]
pub struct WriterThread(JoinHandle<()>);

impl WriterThread {
    /// Waits until the last [`Store`] is gone and the database is closed. Blocks.
    pub fn join(self) {
        if self.0.join().is_err() {
            error!("the storage writer ended by a panic");
        }
    }
}

impl Store {
    /// Opens the database on `medium`, makes it if there is none, and starts the writer.
    ///
    /// # Errors
    /// [`OpenError`] says why it cannot be opened; nothing was changed then.
    pub fn open(
        medium: impl Medium,
        settings: StoreSettings,
    ) -> Result<(Self, WriterThread), OpenError> {
        let database = medium.open(settings.cache, Opening::First)?;
        let mark = writer::prepare(&database, Opening::First)?;
        let shared = Arc::new(Shared {
            current: Current::new(database),
            health: Mutex::new(Health::Fine),
            mark: AtomicU64::new(mark.as_micros()),
            condemned: Mutex::new(HashMap::new()),
            suspects: Mutex::new(HashMap::new()),
            decoded_users: Decoded::default(),
            decoded_sessions: Decoded::default(),
            settling: sessions::Turn::default(),
            mail_queued: Notify::new(),
            max_rotated: settings.max_rotated,
            max_events: settings.max_events,
            access_lifetime: settings.access_lifetime,
        });
        let (queue, messages) = sync_channel(settings.write_queue.get());
        let writer = Writer::new(Arc::clone(&shared), Box::new(medium), settings, messages, mark);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Other(error.to_string()))?;
        Ok((Self { shared, queue }, WriterThread(thread)))
    }

    /// The latest committed time, which the clock guard holds the clock against.
    pub fn mark(&self) -> Timestamp {
        Timestamp::from_micros(self.shared.mark.load(Ordering::Acquire))
    }

    /// How the last commit went. Reads nothing and writes nothing.
    pub fn health(&self) -> Health {
        lock(&self.shared.health).clone()
    }

    /// Has the writer see whether there is enough free space again, though nothing is written.
    pub fn look_at_space(&self) {
        // A full queue means that it is looking anyway.
        let _ = self.queue.try_send(Message::LookAtSpace);
    }

    /// Waits until mail is queued, or was since the last wait.
    pub async fn mail_queued(&self) {
        self.shared.mail_queued.notified().await;
    }

    /// Says one sentence to the writer and waits until what it changed is durable.
    async fn write<T: Send + 'static>(
        &self,
        apply: impl FnMut(&mut Write<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sentence = Message::Job(Box::new(Sentence::new(apply, reply)));
        self.queue.try_send(sentence).map_err(|_| StoreError::Unavailable)?;
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Reads from the state as of the last commit.
    fn read<T>(&self, look: impl FnOnce(&Read) -> Result<T, Fault>) -> Result<T, StoreError> {
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

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("health", &self.health()).finish_non_exhaustive()
    }
}

/// What went wrong inside a transaction.
#[derive(Debug)]
enum Fault {
    /// The engine or the disk failed: the database has to be closed and opened again.
    Storage(redb::Error),
    /// A record is not what it should be: only what needs it fails.
    Corrupt { table: String, key: String, problem: String },
}

impl Fault {
    fn corrupt(table: &str, key: &dyn Debug, problem: &str) -> Self {
        let key = format!("{key:?}");
        Self::Corrupt { table: table.to_owned(), key, problem: problem.to_owned() }
    }

    /// Logs a corrupt record; a failing disk is logged by the writer, once.
    fn report(self) -> StoreError {
        match self {
            Self::Storage(_) => StoreError::Unavailable,
            Self::Corrupt { table, key, problem } => {
                error!(table, key, problem, "a stored record is corrupt; restore it from a backup");
                StoreError::Corrupt
            }
        }
    }
}

macro_rules! storage_fault {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Storage(error.into())
            }
        }
    )*};
}
storage_fault!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
