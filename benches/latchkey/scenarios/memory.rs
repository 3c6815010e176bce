//! What the server holds: idle, under load, with many idle connections, and after a flood of
//! logins.

use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use super::{MOST_AT_ONCE, first_answer, start, usual};
use crate::Result;
use crate::client::{Client, Script};
use crate::contest::{Loaded, Side};
use crate::memory::{Memory, mebibytes};
use crate::options::Options;
use crate::population::Person;
use crate::report::{Row, Target};
use crate::scripts::{Logins, Refreshes, Repeated};
use crate::server::{Program, Running};
use crate::{seed, stopwatch};

const CONNECTIONS: usize = 64;
/// How often memory is looked at under load.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longer than a hashing thread keeps its memory without work.
const BETWEEN_FLOODS: Duration = Duration::from_secs(7);
/// So many connections are opened before they are asked: no more than the queue of newcomers holds.
const GROUP: usize = 250;
/// So many leave from one address: far fewer than it has ports.
const GROUPS_PER_ADDRESS: usize = 16;

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    let dataset = usual(options);
    let place = dataset.copy()?;
    let people = place.people(dataset.users, MOST_AT_ONCE)?;
    let people = people.get(..CONNECTIONS).ok_or("too few people were seeded")?;

    let server = start(&place)?;
    stopwatch::let_pass(Duration::from_secs(2));
    let idle = Memory::of(server.pid())?.resident;
    let mut rows = vec![row("memory, idle", idle, 10.0)];

    let lasts = options.pick(Duration::from_secs(1), Duration::from_secs(5));
    let profiles = Repeated::profiles(CONNECTIONS, people);
    let reading = most_during(&server, profiles, lasts)?;
    let refreshes = Refreshes::new(CONNECTIONS, people);
    let writing = most_during(&server, refreshes, lasts)?;
    rows.push(row("memory, profile and refresh, 64 at once", reading.max(writing), 24.0));
    server.stop()?;

    let count = options.pick(1_000, 10_000);
    let files = getrlimit(Resource::Nofile).current;
    if files.is_some_and(|files| files < u64::try_from(count + 1_000).unwrap_or(u64::MAX)) {
        crate::note(&format!("too few open files are allowed for {count} connections: left out"));
    } else {
        rows.push(idle_connections(&place, count)?);
    }
    rows.push(after_logins(options, &place, people)?);
    Ok(rows)
}

fn row(name: impl Into<String>, bytes: u64, most: f64) -> Row {
    Row::figure(name, mebibytes(bytes), " MiB").target(Target::AtMost(most)).memory(bytes)
}

/// The most the server holds while it is under load.
fn most_during(server: &Running, script: impl Script + Send, lasts: Duration) -> Result<u64> {
    let mut load = Loaded::new(server.address, CONNECTIONS, script)?;
    std::thread::scope(|scope| {
        let loading = scope.spawn(move || load.slice(lasts));
        let mut most = 0;
        while !loading.is_finished() {
            most = Memory::of(server.pid())?.resident.max(most);
            stopwatch::let_pass(LOOK_EVERY);
        }
        let outcome = loading.join().map_err(|_| "a client panicked")??;
        outcome.first_error.map_or(Ok(most), |error| Err(error.into()))
    })
}

/// What it holds with `count` connections that have asked once and stay.
fn idle_connections(place: &seed::Place, count: usize) -> Result<Row> {
    let server = Program::latchkey(place.path()).with("SERVER_MAX_CONNECTIONS", "12000").start()?;
    first_answer(&server)?;
    let mut clients = Vec::new();
    for group in 0..count / GROUP {
        let nth = u8::try_from(group / GROUPS_PER_ADDRESS)?.saturating_add(1);
        let source = Ipv4Addr::new(127, 0, 0, nth);
        let mut client = Client::connect_from(source, server.address, GROUP)?;
        let asked = client.ask_once(&mut Repeated::ready(GROUP))?;
        if let Some(error) = asked.first_error {
            return Err(error.into());
        }
        clients.push(client);
    }
    // The first connections must still be there.
    if let Some(client) = clients.first_mut() {
        let asked = client.ask_once(&mut Repeated::ready(GROUP))?;
        if let Some(error) = asked.first_error {
            return Err(format!("an idle connection did not stay: {error}").into());
        }
    }
    let resident = Memory::of(server.pid())?.resident;
    drop(clients);
    server.stop()?;
    Ok(row(format!("memory, {count} idle connections"), resident, 100.0))
}

/// How much more it holds than before two floods of logins, some time after them. Between the two
/// the memory of the first was given back: a heap that is left in pieces shows in the second.
fn after_logins(options: &Options, place: &seed::Place, people: &[Person]) -> Result<Row> {
    let [floods, after] = options.pick([2, 12], [10, 30]).map(Duration::from_secs);
    let server = start(place)?;
    let before = Memory::of(server.pid())?.resident;
    most_during(&server, Logins::new(people), floods)?;
    stopwatch::let_pass(BETWEEN_FLOODS);
    most_during(&server, Logins::new(people), floods)?;
    stopwatch::let_pass(after);
    let Memory { resident: left, peak } = Memory::of(server.pid())?;
    server.stop()?;
    let beyond = mebibytes(left) - mebibytes(before);
    let name = format!("memory, {} s after two floods of logins", after.as_secs());
    crate::note(&format!("while they were hashed it held {:.1} MiB", mebibytes(peak)));
    Ok(Row::figure(name, mebibytes(left), " MiB")
        .beside(mebibytes(before))
        .verdict(beyond, " MiB")
        .target(Target::AtMost(8.0))
        .memory(left))
}
