//! Data directories as a server leaves them after years: filled once, kept under
//! `target/bench-data` between runs, and copied before each use.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::population::{self, Person};
use crate::{Result, stopwatch};

/// Raised when what is seeded changes, so that no older directory is taken for it.
const SCHEMA: u32 = 4;
/// The seeded refresh tokens are good for a day; older directories are made again.
const KEPT_FOR: Duration = Duration::from_secs(12 * 60 * 60);

/// What a data directory holds: so many confirmed users, each with one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dataset {
    pub(crate) users: u64,
    pub(crate) sessions: Sessions,
}

/// What the sessions of a data directory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// All can be used.
    Live,
    /// All are over and wait for the sweeper, but for those of the last thousand users.
    Expired,
}

impl Dataset {
    /// So many users, each with a session that can be used.
    pub(crate) const fn live(users: u64) -> Self {
        Self { users, sessions: Sessions::Live }
    }

    /// A copy of its own of this data directory, as `data` in a new directory.
    pub(crate) fn copy(self) -> Result<Place> {
        let original = self.original()?;
        let place = Place::empty()?;
        copy(&original.join("data"), &place.data())?;
        Ok(place)
    }

    /// The directory that copies are made of; it is filled if there is none yet.
    fn original(self) -> Result<PathBuf> {
        let kind = match self.sessions {
            Sessions::Live => "live",
            Sessions::Expired => "expired",
        };
        let directory = root()?.join(format!("v{SCHEMA}-{}-{kind}", self.users));
        let is_fresh = fs::metadata(directory.join("filled"))
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|filled| filled.elapsed().is_ok_and(|age| age < KEPT_FOR));
        if is_fresh {
            return Ok(directory);
        }
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir(&directory)?;
        let begun = stopwatch::now();
        population::fill(&directory.join("data"), self)?;
        fs::write(directory.join("filled"), "")?;
        let took = begun.elapsed().as_secs_f64();
        crate::note(&format!("seeded {} users with {kind} sessions in {took:.1} s", self.users));
        Ok(directory)
    }
}

/// A directory for one server, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    /// One with nothing in it, on the file system that the build lies on: a temporary one may be
    /// no disk at all.
    pub(crate) fn empty() -> Result<Self> {
        Ok(Self { directory: TempDir::with_prefix_in("run-", root()?)? })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The data directory of a server that is started here.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The database's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.data().join("latchkey.redb")
    }

    /// `count` of the `users` here, spread over all of them, with tokens to act for them. No
    /// server may be running here yet.
    pub(crate) fn people(&self, users: u64, count: u64) -> Result<Vec<Person>> {
        population::people(&self.data(), users, count, (users / count).max(1))
    }

    /// The last `count` of the `users` here.
    pub(crate) fn last_people(&self, users: u64, count: u64) -> Result<Vec<Person>> {
        population::people(&self.data(), users, count, 1)
    }
}

/// A directory of the bench's own in this build's target.
fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench-data");
    fs::create_dir_all(&root)?;
    Ok(root)
}

/// A copy that shares its blocks with the original where the file system can do that, and that is
/// on the disk: what is measured after it must not wait for its writing.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let options = ["-a", "--reflink=auto", "--"].map(OsStr::new);
    run(Command::new("cp").args(options).arg(from).arg(to))?;
    run(Command::new("sync").arg("-f").arg(to))
}

/// Has the system forget what it remembers of a file that is on the disk: of one that was copied,
/// or read from end to end, it does so in pieces of up to two megabytes, and to write a page of
/// such a piece costs many times of what it costs in a file that was written page by page.
pub(crate) fn forget(file: &Path) -> Result<()> {
    let file = fs::File::open(file)?;
    Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
