//! The writer: one thread that takes every write that is waiting, applies them in one
//! transaction, commits it durably once, and then answers each caller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use redb::{Database, ReadableTable};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::tables::{OLDEST_SCHEMA, SCHEMA, TABLES, Write, meta};
use super::{Fault, Health, Medium, OpenError, Opening, Shared, StoreError, StoreSettings, lock};
use crate::clock::{Clock, Timestamp};

/// The most writes in one transaction: enough to share a flush, few enough to answer soon.
const MAX_BATCH: usize = 1024;
/// The mark is written when it has moved by this much; far less than the guard's tolerance.
const MARK_STEP: Duration = Duration::from_secs(1);
/// The first and the longest wait before a closed database is opened again.
const REOPEN_AFTER: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What the writer is told.
pub(super) enum Message {
    /// A sentence to apply.
    Job(Box<dyn Job>),
    /// A read failed on the database as it was opened the `epoch`th time.
    ReadFailed { epoch: u64, reason: String },
    /// Nobody may have asked for long: see whether there is space again.
    LookAtSpace,
}

/// A sentence on its way: applied, perhaps more than once, then answered once.
pub(super) trait Job: Send {
    fn apply(&mut self, write: &mut Write<'_>) -> Result<(), Fault>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A sentence with what it answers.
pub(super) struct Sentence<T, F> {
    apply: F,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Sentence<T, F> {
    pub(super) fn new(apply: F, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { apply, outcome: None, reply }
    }
}

impl<T, F> Job for Sentence<T, F>
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
    settings: StoreSettings,
    messages: Receiver<Message>,
    /// The mark as it is in the file; the shared one may be a little later.
    written_mark: Timestamp,
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
    pub(super) fn new(
        shared: Arc<Shared>,
        medium: Box<dyn Medium>,
        settings: StoreSettings,
        messages: Receiver<Message>,
        written_mark: Timestamp,
    ) -> Self {
        Self {
            shared,
            medium,
            settings,
            messages,
            written_mark,
            clock: Clock::system(),
            reopen: None,
            reopen_failure: String::new(),
        }
    }

    /// Works until the last [`Store`](super::Store) is gone, then closes the database.
    pub(super) fn run(mut self) {
        // However this thread ends, the readiness probe must not go on saying that all is fine.
        let _gone = ReportGone(Arc::clone(&self.shared));
        let mut batch = Vec::new();
        while let Some(message) = self.next() {
            let step = catch_unwind(AssertUnwindSafe(|| self.step(message, &mut batch)));
            if step.is_err() {
                // Whoever is in the batch is told that the outcome is unknown.
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
        let mut write = Write::new(&transaction);
        for (place, job) in batch.iter_mut().enumerate() {
            let applied = catch_unwind(AssertUnwindSafe(|| job.apply(&mut write)));
            let error = match applied {
                Ok(Ok(())) => continue,
                Ok(Err(Fault::Storage(error))) => return Err(error),
                Ok(Err(fault @ Fault::Corrupt { .. })) => fault.report(),
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
        let moves_mark = latest >= self.written_mark.saturating_add(MARK_STEP);
        if moves_mark {
            write_mark(&mut write, latest).map_err(Fault::into_storage)?;
        }
        drop(write);
        transaction.commit()?;
        self.shared.current.committed();
        if moves_mark {
            self.written_mark = latest;
        }
        self.shared.mark.fetch_max(latest.as_micros(), Ordering::AcqRel);
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
            let mark = prepare(&database, Opening::Again)?;
            if mark < self.written_mark {
                let reason = "this is not the database that was open before, or an older copy";
                return Err(OpenError::Other(reason.to_owned()));
            }
            Ok((database, mark))
        });
        match opened {
            Ok((database, mark)) => {
                self.written_mark = mark;
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

/// Makes the tables in a new database, checks the schema of an old one, and reads the mark.
pub(super) fn prepare(database: &Database, opening: Opening) -> Result<Timestamp, OpenError> {
    let prepared = || -> Result<Result<Timestamp, Option<u64>>, Fault> {
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        let lacks_tables = transaction.list_tables()?.count() < TABLES;
        let mut write = Write::new(&transaction);
        let table = write.meta.open()?;
        let schema = table.get(meta::SCHEMA)?.map(|value| value.value());
        let mark = table.get(meta::MARK)?.map_or(0, |value| value.value());
        match schema {
            Some(SCHEMA) => {}
            // What was open before is of this schema: anything else was put in its place.
            None | Some(OLDEST_SCHEMA..SCHEMA) if opening == Opening::First => {}
            other => return Ok(Err(other)),
        }
        if lacks_tables || schema != Some(SCHEMA) {
            // All of them at first; later those that a newer version has added.
            write.create_all()?;
            write.meta.open()?.insert(meta::SCHEMA, SCHEMA)?;
        }
        let has_changes = write.has_changes;
        drop(write);
        if has_changes {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(Ok(Timestamp::from_micros(mark)))
    };
    match prepared() {
        Ok(Ok(mark)) => Ok(mark),
        Ok(Err(Some(other))) => Err(OpenError::OtherSchema(other)),
        Ok(Err(None)) => Err(OpenError::Other("it is empty".to_owned())),
        Err(fault) => Err(OpenError::Other(fault.into_storage().to_string())),
    }
}

fn write_mark(write: &mut Write<'_>, mark: Timestamp) -> Result<(), Fault> {
    write.meta.open()?.insert(meta::MARK, mark.as_micros())?;
    Ok(())
}

impl Fault {
    fn into_storage(self) -> redb::Error {
        match self {
            Self::Storage(error) => error,
            Self::Corrupt { table, key, problem } => {
                redb::Error::Corrupted(format!("{table} {key}: {problem}"))
            }
        }
    }
}
