//! The writer: one thread that takes every write that is waiting, applies them in one
//! transaction, commits it durably once, and then answers each caller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redb::Database;
use tokio::sync::{Notify, oneshot};
use tracing::{error, info, warn};

use super::EngineSettings;
use super::fault::{Fault, StoreError, lock};
use super::medium::Medium;
use super::schema::{OpenError, Opening, prepare};
use super::snapshot::Current;
use super::tables::{Settling, Write, meta};
use crate::clock::{Clock, Timestamp};

/// The most writes in one transaction: enough to share a flush, few enough to answer soon.
const MAX_BATCH: usize = 1024;
/// The last commit time is written when it has moved by this much; far less than the clock guard's
/// tolerance.
const LAST_COMMIT_STEP: Duration = Duration::from_secs(1);
/// The first and the longest wait before a closed database is opened again.
const REOPEN_AFTER: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

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

/// What the writer thread and the readers share.
pub(super) struct Shared {
    /// The open database, and what readers see of it.
    pub(super) current: Current,
    /// How the last commit went, for the readiness probe.
    pub(super) health: Mutex<Health>,
    /// The last commit time, in microseconds.
    pub(super) last_commit: AtomicU64,
    /// Woken when mail was queued.
    pub(super) mail_queued: Notify,
}

/// What the writer is told.
pub(super) enum Message {
    /// An operation to apply.
    Job(Box<dyn Job>),
    /// A read failed on the database as it was opened the `epoch`th time.
    ReadFailed { epoch: u64, reason: String },
    /// Nobody may have asked for long: see whether there is space again.
    LookAtSpace,
}

/// An operation: applied, perhaps more than once, then answered once.
pub(super) trait Job: Send {
    fn apply(&mut self, write: &mut Write<'_>) -> Result<(), Fault>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// An operation as a closure, and what it answers.
pub(super) struct Closure<T, F> {
    apply: F,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Closure<T, F> {
    pub(super) fn new(apply: F, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { apply, outcome: None, reply }
    }
}

impl<T, F> Job for Closure<T, F>
where
    T: Send,
    F: FnMut(&mut Write<'_>) -> Result<T, Fault> + Send,
{
    fn apply(&mut self, write: &mut Write<'_>) -> Result<(), Fault> {
        self.outcome = Some((self.apply)(write)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { outcome, reply, .. } = *self;
        let answer = committed.and_then(|()| outcome.ok_or(StoreError::Unavailable));
        // A caller that has gone away needs no answer; what was written stays written.
        let _ = reply.send(answer);
    }
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    medium: Box<dyn Medium>,
    settings: EngineSettings,
    settling: Settling,
    messages: Receiver<Message>,
    /// The last commit time in the file; the shared one may be a little later.
    written: Timestamp,
    /// For the pauses before the database is opened again, not for anything that is stored.
    clock: Clock,
    /// While the database is closed: when to try again, and how long to wait after that.
    reopen: Option<(Duration, Duration)>,
    /// Why it could not be opened again the last time, so that each reason is logged once.
    reopen_failure: String,
}

/// Reports that storage is away once the writer has ended.
struct ReportGone(Arc<Shared>);

impl Drop for ReportGone {
    fn drop(&mut self) {
        *lock(&self.0.health) = Health::Away;
    }
}

/// How a transaction over a batch went.
enum Committed {
    All,
    /// The job at this place of the batch cannot be applied; nothing was committed.
    Without(usize, StoreError),
}

impl Writer {
    /// Opens the database on `medium`, and makes it if there is none.
    pub(super) fn open(
        medium: Box<dyn Medium>,
        settings: EngineSettings,
        messages: Receiver<Message>,
    ) -> Result<Self, OpenError> {
        let database = medium.open(settings.cache, Opening::First)?;
        let written = prepare(&database, Opening::First)?;
        let shared = Shared {
            current: Current::new(database),
            health: Mutex::new(Health::Fine),
            last_commit: AtomicU64::new(written.as_micros()),
            mail_queued: Notify::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            medium,
            settings,
            settling: Settling::new(settings.max_rotated),
            messages,
            written,
            clock: Clock::system(),
            reopen: None,
            reopen_failure: String::new(),
        })
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Works until the last [`Store`](crate::store::Store) is gone, then closes the database.
    pub(super) fn run(mut self) {
        // However this thread ends, the readiness probe must not go on saying that all is fine.
        let _gone = ReportGone(Arc::clone(&self.shared));
        let mut batch = Vec::new();
        while let Some(message) = self.next() {
            let step = catch_unwind(AssertUnwindSafe(|| self.step(message, &mut batch)));
            if step.is_err() {
                // Dropping a job tells its caller that the outcome is unknown.
                batch.clear();
                self.fail("the storage engine panicked");
            }
        }
        self.close();
    }

    /// Takes a message and whatever else is waiting, and commits what there is to commit.
    fn step(&mut self, message: Option<Message>, batch: &mut Vec<Box<dyn Job>>) {
        if let Some(message) = message {
            self.take(message, batch);
        }
        while batch.len() < MAX_BATCH
            && let Ok(message) = self.messages.try_recv()
        {
            self.take(message, batch);
        }
        self.try_reopen();
        if !batch.is_empty() {
            self.commit(batch);
        }
    }

    /// The next message; `Some(None)` when it is time to try to open the database again; none at
    /// the end.
    fn next(&self) -> Option<Option<Message>> {
        let Some((at, _)) = self.reopen else { return self.messages.recv().ok().map(Some) };
        let wait = at.saturating_sub(self.clock.monotonic());
        match self.messages.recv_timeout(wait) {
            Ok(message) => Some(Some(message)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn take(&mut self, message: Message, batch: &mut Vec<Box<dyn Job>>) {
        match message {
            Message::Job(job) => batch.push(job),
            Message::ReadFailed { epoch, reason } => {
                if self.shared.current.epoch() == epoch && self.reopen.is_none() {
                    self.fail(&reason);
                }
            }
            Message::LookAtSpace => {
                self.has_space();
            }
        }
    }

    /// Applies and commits a batch and answers everyone in it. A job that cannot be applied is
    /// answered alone, and the others are applied again without it.
    fn commit(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        if !self.has_space() {
            for job in batch.drain(..) {
                job.answer(Err(StoreError::Unavailable));
            }
            return;
        }
        while !batch.is_empty() {
            let Some(database) = self.shared.current.database() else {
                batch.drain(..).for_each(|job| job.answer(Err(StoreError::Unavailable)));
                return;
            };
            match self.transact(&database, batch) {
                Ok(Committed::All) => {
                    batch.drain(..).for_each(|job| job.answer(Ok(())));
                }
                Ok(Committed::Without(place, error)) => batch.remove(place).answer(Err(error)),
                Err(error) => {
                    drop(database);
                    self.fail(&error.to_string());
                }
            }
        }
    }

    fn transact(
        &mut self,
        database: &Database,
        batch: &mut [Box<dyn Job>],
    ) -> Result<Committed, redb::Error> {
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        let mut write = Write::new(&transaction, &self.settling);
        for (place, job) in batch.iter_mut().enumerate() {
            let applied = catch_unwind(AssertUnwindSafe(|| job.apply(&mut write)));
            let error = match applied {
                Ok(Ok(())) => continue,
                Ok(Err(Fault::Storage(error))) => return Err(error),
                Ok(Err(fault @ Fault::Corrupt(_))) => fault.report(),
                Err(_) => {
                    error!("a storage operation panicked; nothing of it was written");
                    StoreError::Corrupt
                }
            };
            drop(write);
            transaction.abort()?;
            return Ok(Committed::Without(place, error));
        }
        if !write.has_changes {
            // Everyone was refused, or found things as they were committed before.
            drop(write);
            transaction.abort()?;
            return Ok(Committed::All);
        }
        let (latest, has_mail) = (write.latest, write.has_mail);
        let is_step = latest >= self.written.saturating_add(LAST_COMMIT_STEP);
        if is_step {
            let meta = write.meta.open().map_err(Fault::into_storage)?;
            meta.insert(meta::LAST_COMMIT, latest.as_micros())?;
        }
        drop(write);
        transaction.commit()?;
        self.shared.current.committed();
        if is_step {
            self.written = latest;
        }
        self.shared.last_commit.fetch_max(latest.as_micros(), Ordering::AcqRel);
        self.report(Health::Fine);
        if has_mail {
            self.shared.mail_queued.notify_one();
        }
        Ok(Committed::All)
    }

    /// Whether enough space is free to write. A file system that does not say counts as enough.
    fn has_space(&self) -> bool {
        let has_space =
            self.medium.free_space().map_or(true, |free| free >= self.settings.min_free);
        let health = lock(&self.shared.health).clone();
        match (has_space, health) {
            (false, Health::Fine) => {
                error!(
                    min_free = self.settings.min_free,
                    "the disk has less free space than storage.min_free; writes are refused \
                     until there is more"
                );
                self.report(Health::LowSpace);
            }
            (true, Health::LowSpace) => {
                info!("the disk has free space again");
                self.report(Health::Fine);
            }
            _ => {}
        }
        has_space
    }

    fn report(&self, health: Health) {
        *lock(&self.shared.health) = health;
    }

    /// Closes the database after a failure, to be opened again after a pause.
    fn fail(&mut self, reason: &str) {
        error!(
            reason,
            "storage failed; requests that need it are refused while it is closed and opened \
             again; look at the disk and the system's log"
        );
        self.report(Health::Away);
        self.close();
        self.reopen = Some((self.clock.monotonic(), REOPEN_AFTER.0));
    }

    fn close(&self) {
        // While a reader still holds it, the last one to let go closes it.
        if let Some(database) = self.shared.current.take().and_then(Arc::into_inner)
            && let Err(error) = database.close()
        {
            warn!(%error, "the database did not close cleanly; it will be repaired when opened");
        }
    }

    fn try_reopen(&mut self) {
        let now = self.clock.monotonic();
        let Some((at, pause)) = self.reopen else { return };
        if now < at {
            return;
        }
        let opened = self.medium.open(self.settings.cache, Opening::Again).and_then(|database| {
            let last_commit = prepare(&database, Opening::Again)?;
            if last_commit < self.written {
                let reason = "this is not the database that was open before, or an older copy";
                return Err(OpenError::Other(reason.to_owned()));
            }
            Ok((database, last_commit))
        });
        match opened {
            Ok((database, last_commit)) => {
                self.written = last_commit;
                self.shared.current.put(database);
                self.reopen = None;
                self.reopen_failure.clear();
                self.report(Health::Fine);
                info!("storage is back");
            }
            Err(error) => {
                let reason = error.to_string();
                if reason != self.reopen_failure {
                    error!(reason, "storage cannot be opened again yet");
                    self.reopen_failure = reason;
                }
                let longer = pause.saturating_mul(2).min(REOPEN_AFTER.1);
                self.reopen = Some((now.saturating_add(pause), longer));
            }
        }
    }
}
