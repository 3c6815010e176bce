//! `POST /api/login/` and `POST /api/register/`, held against Argon2id alone on the same number of
//! threads, and against the C library. Beside that, what is left of Argon2id's speed to a bare
//! server that hashes and then commits one record.

use super::refresh::{Records, spread};
use super::{CONCURRENCY, MOST_AT_ONCE, start, usual};
use crate::Result;
use crate::argon::{Hashing, Library};
use crate::client::Script;
use crate::contest::{Loaded, Side, alternate};
use crate::memory::Memory;
use crate::options::Options;
use crate::population::Person;
use crate::report::{Row, Target};
use crate::scripts::{Commits, Logins, Registrations};
use crate::seed::Place;

pub(crate) fn logins(options: &Options) -> Result<Vec<Row>> {
    let script = |people: &[Person]| Logins::new(people);
    measure(options, "login", script, |connections| matches!(connections, 16 | 64).then_some(0.97))
}

pub(crate) fn registrations(options: &Options) -> Result<Vec<Row>> {
    let mut series = 0;
    let script = |_: &[Person]| {
        series += 1;
        Registrations::new(series)
    };
    measure(options, "register", script, |connections| {
        matches!(connections, 16 | 64).then_some(0.95)
    })
}

fn measure<S: Script + Send>(
    options: &Options,
    name: &str,
    mut script: impl FnMut(&[Person]) -> S,
    target: impl Fn(usize) -> Option<f64>,
) -> Result<Vec<Row>> {
    let dataset = usual(options);
    let place = dataset.copy()?;
    let mut people = place.people(dataset.users, MOST_AT_ONCE + 1)?;
    let first = people.pop().ok_or("nobody was seeded")?;
    let records = Records::copy(&place)?;
    let server = start(&place)?;
    let bare = records.served_bare(&server, &first)?;
    let mut rows = Vec::new();
    for connections in CONCURRENCY {
        if options.is_quick && connections > 16 {
            break;
        }
        let people = people.get(..connections).ok_or("too few people were seeded")?;
        let mut ours = Loaded::new(server.address, connections, script(people))?;
        // One after the other cannot be hashed on two threads.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = connections.min(cores);
        let mut theirs = Hashing::new(threads)?;
        let parts = Commits::new(connections, &first, spread(dataset.users, connections)?);
        let mut parts = Loaded::new(bare.address, connections, parts.after_hash())?;
        let mut library = library(&place, threads)?;
        let mut sides: Vec<&mut dyn Side> = vec![&mut ours, &mut theirs, &mut parts];
        if let Some(library) = &mut library {
            sides.push(library);
        }
        let tallies = alternate(options.hashing_turns(), &mut sides)?;
        let [ours, theirs, parts, others @ ..] = tallies.as_slice() else {
            return Err("three sides at least".into());
        };
        let name = format!("{name}, {connections} at once");
        let row = Row::contest(&name, ours, theirs).memory(Memory::of(server.pid())?.resident);
        let target = target(connections);
        rows.push(match target {
            Some(least) => row.target(Target::AtLeast(least)),
            None => row,
        });
        rows.push(Row::contest(format!("{name}, against its bare parts"), ours, parts));
        rows.push(Row::contest(format!("{name}, the bare parts"), parts, theirs));
        if let [library] = others {
            let row = Row::contest(format!("{name}, against libargon2"), ours, library);
            let is_aimed_at = target.is_some();
            rows.push(if is_aimed_at { row.target(Target::AtLeast(1.0)) } else { row });
        }
    }
    server.stop()?;
    Ok(rows)
}

fn library(place: &Place, threads: usize) -> Result<Option<Library>> {
    let library = Library::compile(place.path(), threads)?;
    if library.is_none() {
        crate::note("there is no libargon2.so.1, or no C compiler: left out");
    }
    Ok(library)
}
