//! The ceiling of a refresh: a bare hyper server whose handler has one record written by a group
//! commit, as durable as the server's, and does nothing else. The same writer can be driven
//! without HTTP, which is redb alone, and after a hash, which is what a login is made of.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::argon::{self, Hashed};
use crate::ceiling_http::{Recording, serve};
use crate::database::SESSIONS;
use crate::latency::Latency;
use crate::{Result, stopwatch};

/// The server's own cache and largest batch.
const CACHE: usize = 16 << 20;
const MAX_BATCH: usize = 1024;

/// A record, by its place, and who waits for it to be durable.
type Job = (usize, oneshot::Sender<()>);

/// Serves until it is killed: `POST /commit/RECORD` commits that record, `POST /login/RECORD`
/// hashes a password before, and
/// `GET /alone/CALLERS/MILLISECONDS` says how often `CALLERS` at once can do so without HTTP; with
/// no callers, one thread does it without a queue.
pub(crate) fn run(recording: &Path, database: &Path) -> Result<()> {
    let recording = Recording::load(recording)?;
    let table = Arc::new(Table::open(database)?);
    let (queue, jobs) = sync_channel(MAX_BATCH);
    let writing = Arc::clone(&table);
    std::thread::spawn(move || {
        if let Err(error) = writing.commit_all(&jobs) {
            // Waiting clients get a 500, which the bench counts as an error.
            crate::note(&format!("the ceiling cannot commit: {error}"));
        }
    });
    let ceiling = Arc::new(Ceiling { recording, table, queue, hashing: argon::hash_for_all()? });
    serve(move |request| {
        let ceiling = Arc::clone(&ceiling);
        async move { ceiling.answer(request).await }
    })
}

struct Ceiling {
    recording: Recording,
    table: Arc<Table>,
    queue: SyncSender<Job>,
    hashing: Sender<Hashed>,
}

impl Ceiling {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let is_whole = body.collect().await.is_ok();
        let mut path = head.uri.path().split('/').skip(1);
        let (what, first, second) = (path.next(), number(path.next()), number(path.next()));
        let answer = match (what, first, second) {
            (Some("commit"), Some(record), _) if is_whole => {
                commit(&self.queue, record).await.map(|()| self.recording.answer())
            }
            (Some("login"), Some(record), _) if is_whole => {
                self.log_in(record).await.map(|()| self.recording.answer())
            }
            (Some("alone"), Some(callers), Some(millis)) => {
                self.alone(callers, millis).await.map(|text| Response::new(Full::new(text.into())))
            }
            _ => None,
        };
        answer.unwrap_or_else(|| {
            let mut failed = Response::new(Full::default());
            *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            failed
        })
    }

    async fn log_in(&self, record: usize) -> Option<()> {
        let (done, is_done) = oneshot::channel();
        self.hashing.send(done).ok()?;
        is_done.await.ok()?;
        commit(&self.queue, record).await
    }

    /// The answered in time, and median, p99 and longest in nanoseconds, in one line.
    async fn alone(&self, callers: usize, millis: usize) -> Option<String> {
        let ends = stopwatch::now() + Duration::from_millis(u64::try_from(millis).ok()?);
        let records = self.table.keys.len();
        let mut all = Latency::default();
        if callers == 0 {
            let table = Arc::clone(&self.table);
            let committing = tokio::task::spawn_blocking(move || table.commit_until(ends));
            all = committing.await.ok()?.ok()?;
        }
        let mut calling = JoinSet::new();
        for caller in 0..callers {
            let (queue, record) = (self.queue.clone(), caller * (records / callers).max(1));
            calling.spawn(async move {
                let mut latency = Latency::default();
                let mut asked = stopwatch::now();
                while asked < ends && commit(&queue, record).await.is_some() {
                    let answered = stopwatch::now();
                    latency.record(answered - asked);
                    asked = answered;
                }
                latency
            });
        }
        calling.join_all().await.iter().for_each(|latency| all.merge(latency));
        let [median, p99, longest] =
            [all.median(), all.p99(), all.longest()].map(|took| took.as_nanos());
        Some(format!("{} {median} {p99} {longest}", all.count()))
    }
}

async fn commit(queue: &SyncSender<Job>, record: usize) -> Option<()> {
    let (done, is_done) = oneshot::channel();
    queue.try_send((record, done)).ok()?;
    is_done.await.ok()
}

fn number(text: Option<&str>) -> Option<usize> {
    text?.parse().ok()
}

/// The table that is written to.
struct Table {
    database: Database,
    keys: Vec<[u8; 16]>,
    /// One of the records, which stands for all: they are of one size.
    record: Vec<u8>,
}

impl Table {
    fn open(file: &Path) -> Result<Self> {
        let database = Builder::new().set_cache_size(CACHE).open(file)?;
        let reading = database.begin_read()?;
        let table = reading.open_table(SESSIONS)?;
        let mut keys = Vec::with_capacity(usize::try_from(table.len()?)?);
        for entry in table.iter()? {
            keys.push(*entry?.0.value());
        }
        let record = table.last()?.map(|(_, value)| value.value().to_vec()).unwrap_or_default();
        drop((table, reading));
        Ok(Self { database, keys, record })
    }

    /// The writer thread: takes what waits, commits it, and tells everyone.
    fn commit_all(&self, jobs: &Receiver<Job>) -> Result<()> {
        let mut batch = Vec::new();
        while let Ok(job) = jobs.recv() {
            batch.push(job);
            batch.extend(jobs.try_iter().take(MAX_BATCH - 1));
            self.commit(batch.iter().map(|(record, _)| *record))?;
            for (_, done) in batch.drain(..) {
                let _ = done.send(());
            }
        }
        Ok(())
    }

    fn commit(&self, records: impl Iterator<Item = usize>) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(true);
        let mut table = transaction.open_table(SESSIONS)?;
        for record in records {
            let key = self.keys.get(record % self.keys.len()).ok_or("the table is empty")?;
            table.insert(key, self.record.as_slice())?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }

    /// One commit after the other until `ends`, with neither a queue nor another thread.
    fn commit_until(&self, ends: Instant) -> Result<Latency> {
        let mut latency = Latency::default();
        let mut begun = stopwatch::now();
        while begun < ends {
            self.commit(std::iter::once(0))?;
            let done = stopwatch::now();
            latency.record(done - begun);
            begun = done;
        }
        Ok(latency)
    }
}
