//! The ceiling of a login: Argon2id alone, with the server's parameters, on as many threads as it
//! hashes on, each with memory that it keeps. And the same by the C library libargon2, where the
//! system has it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use latchkey::config::Config;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::sync::oneshot;

use crate::client::Outcome;
use crate::latency::Latency;
use crate::population::PASSWORD;
use crate::{Result, stopwatch};

/// The length of salt and tag that the server has.
const SALT: [u8; 16] = [7; 16];
const TAG: usize = 32;

/// The nice value of the server's hashing threads.
const NICE: i32 = 10;

/// Threads that hash and do nothing else.
pub(crate) struct Hashing {
    params: Params,
    threads: Vec<Vec<Block>>,
}

impl Hashing {
    /// On `threads` threads, with the default parameters.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let [memory, iterations, lanes] = parameters()?;
        let params =
            Params::new(memory, iterations, lanes, Some(TAG)).map_err(|error| error.to_string())?;
        let blocks = vec![Block::new(); params.block_count()];
        Ok(Self { threads: vec![blocks; threads], params })
    }

    /// Hashes for `lasts`.
    pub(crate) fn run(&mut self, lasts: Duration) -> Result<Outcome> {
        let ends = stopwatch::now() + lasts;
        let params = &self.params;
        let mut outcome = Outcome { lasted: lasts, ..Outcome::default() };
        let hashed: Vec<Result<Latency>> = std::thread::scope(|scope| {
            let hashing: Vec<_> = self
                .threads
                .iter_mut()
                .map(|blocks| scope.spawn(move || hash_until(ends, params, blocks)))
                .collect();
            let ended = hashing.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err("a hashing thread panicked".into()))
            });
            ended.collect()
        });
        for latency in hashed {
            outcome.latency.merge(&latency?);
        }
        outcome.answered = outcome.latency.count();
        Ok(outcome)
    }
}

/// Who waits for a hash.
pub(crate) type Hashed = oneshot::Sender<()>;

/// Threads like the server's, as many and of as low a priority, that hash once for everyone who
/// waits in the queue. They end with it.
pub(crate) fn hash_for_all() -> Result<mpsc::Sender<Hashed>> {
    let Hashing { params, threads } = Hashing::new(available_parallelism()?.get())?;
    let (queue, waiting) = mpsc::channel::<Hashed>();
    let waiting = Arc::new(Mutex::new(waiting));
    for mut blocks in threads {
        let (params, waiting) = (params.clone(), Arc::clone(&waiting));
        thread::spawn(move || {
            let _ = setpriority_process(Some(gettid()), NICE);
            let next = || waiting.lock().ok()?.recv().ok();
            while let Some(hashed) = next() {
                // A caller that gets no result takes it for a failure.
                if hash(&params, &mut blocks).is_ok() {
                    let _ = hashed.send(());
                }
            }
        });
    }
    Ok(queue)
}

fn hash(params: &Params, blocks: &mut [Block]) -> Result<()> {
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    argon
        .hash_password_into_with_memory(PASSWORD.as_bytes(), &SALT, &mut [0; TAG], blocks)
        .map_err(|error| error.to_string().into())
}

/// Only what is done in time counts.
fn hash_until(ends: Instant, params: &Params, blocks: &mut [Block]) -> Result<Latency> {
    let mut latency = Latency::default();
    let mut begun = stopwatch::now();
    loop {
        hash(params, blocks)?;
        let done = stopwatch::now();
        if done > ends {
            return Ok(latency);
        }
        latency.record(done - begun);
        begun = done;
    }
}

/// A program that hashes by libargon2.
pub(crate) struct Library {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Library {
    /// Compiles it in `directory`; `None` if there is no such library.
    pub(crate) fn compile(directory: &Path, threads: usize) -> Result<Option<Self>> {
        let program = directory.join("libargon2");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/latchkey/libargon2.c");
        let compiled = Command::new("cc")
            .args(["-O2", "-pthread", "-o"])
            .arg(&program)
            .arg(source)
            .arg("-l:libargon2.so.1")
            .output();
        if !compiled.is_ok_and(|output| output.status.success()) {
            return Ok(None);
        }
        let numbers = parameters()?.into_iter().map(|number| number.to_string());
        let arguments = std::iter::once(threads.to_string()).chain(numbers).collect();
        Ok(Some(Self { program, arguments }))
    }

    /// Hashes for `lasts`. It tells no latencies.
    pub(crate) fn run(&self, lasts: Duration) -> Result<Outcome> {
        let output = Command::new(&self.program)
            .arg(lasts.as_millis().to_string())
            .args(&self.arguments)
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let answered =
            text.trim().parse().map_err(|_| format!("libargon2 failed: it said {text:?}"))?;
        Ok(Outcome { answered, lasted: lasts, ..Outcome::default() })
    }
}

/// The default memory in KiB, passes and lanes.
fn parameters() -> Result<[u32; 3]> {
    let passwords = Config::load(None, &[])?.config.passwords;
    Ok([passwords.memory_kib, passwords.iterations, passwords.parallelism])
}
