//! `POST /api/token/refresh/`, each connection rotating its own session, held against a bare
//! server that commits the same records, and against redb alone.

use std::path::PathBuf;
use std::{fs, slice};

use super::{CONCURRENCY, MOST_AT_ONCE, first_answer, start, usual};
use crate::Result;
use crate::client::Client;
use crate::contest::{Alone, Loaded, Tally, Turns, alternate, ratio};
use crate::database::copy_sessions;
use crate::memory::Memory;
use crate::options::Options;
use crate::population::Person;
use crate::report::{Row, Target};
use crate::scripts::{Commits, Recorded, Refreshes};
use crate::seed::{Dataset, Place, forget};
use crate::server::{Program, Running};

/// So many at once rotate sessions of which each comes back only after all the others.
const IN_TURN: usize = 64;

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    let dataset = usual(options);
    let place = dataset.copy()?;
    // More than the server keeps apart from the others after a rotation; few are too few for that.
    let many = options.pick(0, 20_000);
    let mut people = place.people(dataset.users, MOST_AT_ONCE + 1 + many)?;
    let crowd = people.split_off(usize::try_from(MOST_AT_ONCE + 1)?);
    let records = Records::copy(&place)?;
    let server = start(&place)?;
    let first = people.pop().ok_or("nobody was seeded")?;
    let bare = records.served_bare(&server, &first)?;
    forget(&place.database())?;
    records.forget()?;

    let mut rows = Vec::new();
    let mut rotating = Refreshes::new(people.len(), &people);
    for connections in CONCURRENCY {
        let mut ours = Loaded::new(server.address, connections, &mut rotating)?;
        let commits = Commits::new(connections, &first, spread(dataset.users, connections)?);
        let mut theirs = Loaded::new(bare.address, connections, commits)?;
        // One alone needs no queue: that is one commit after the other.
        let callers = if connections == 1 { 0 } else { connections };
        let mut alone = Alone::new(bare.address, callers)?;
        let tallies = alternate(options.turns(), &mut [&mut ours, &mut theirs, &mut alone])?;
        let [ours, theirs, alone] = tallies.as_slice() else { return Err("three sides".into()) };
        let name = format!("refresh, {connections} at once");
        let row = Row::contest(&name, ours, theirs).memory(Memory::of(server.pid())?.resident);
        if connections == 1 {
            rows.push(row);
            rows.push(beyond_one_commit(ours, alone));
        } else {
            rows.push(row.target(Target::AtLeast(0.75)));
            rows.push(Row::contest(format!("{name}, against redb alone"), ours, alone));
        }
    }
    if !crowd.is_empty() {
        let mut ours = Loaded::new(server.address, IN_TURN, Refreshes::new(IN_TURN, &crowd))?;
        let commits = Commits::new(IN_TURN, &first, spread(dataset.users, crowd.len())?);
        let mut theirs = Loaded::new(bare.address, IN_TURN, commits)?;
        let tallies = alternate(options.turns(), &mut [&mut ours, &mut theirs])?;
        let [ours, theirs] = tallies.as_slice() else { return Err("two sides".into()) };
        let name = format!("refresh, {IN_TURN} at once, {} sessions in turn", crowd.len());
        rows.push(Row::contest(name, ours, theirs));
    }
    rows.extend(other_algorithms(&dataset, &server, &mut rotating, options.turns())?);
    server.stop()?;
    Ok(rows)
}

/// What the signature of the access token costs: the same on a server that signs by EdDSA, and on
/// one whose signatures cost next to nothing.
fn other_algorithms(
    dataset: &Dataset,
    server: &Running,
    rotating: &mut Refreshes,
    turns: Turns,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for algorithm in ["EdDSA", "HS256"] {
        let place = dataset.copy()?;
        let people = place.people(dataset.users, MOST_AT_ONCE)?;
        let other = Program::latchkey(place.path()).with("TOKENS_ALGORITHM", algorithm).start()?;
        first_answer(&other)?;
        forget(&place.database())?;
        let mut others = Refreshes::new(people.len(), &people);
        for connections in [64, 256] {
            let mut ours = Loaded::new(server.address, connections, &mut *rotating)?;
            let mut theirs = Loaded::new(other.address, connections, &mut others)?;
            let tallies = alternate(turns, &mut [&mut ours, &mut theirs])?;
            let [ours, theirs] = tallies.as_slice() else { return Err("two sides".into()) };
            let name = format!("refresh, {connections} at once, against {algorithm}");
            let row = Row::contest(name, ours, theirs);
            let has_target = (algorithm, connections) == ("EdDSA", 256);
            rows.push(if has_target { row.target(Target::AtLeast(0.90)) } else { row });
        }
        other.stop()?;
    }
    Ok(rows)
}

/// The records of the sessions at a place, in a database of their own.
pub(super) struct Records<'p> {
    place: &'p Place,
    database: PathBuf,
}

impl<'p> Records<'p> {
    /// Copies them. No server may be running there yet.
    pub(super) fn copy(place: &'p Place) -> Result<Self> {
        let database = place.path().join("records");
        copy_sessions(&place.database(), &database)?;
        Ok(Self { place, database })
    }

    /// Has the system forget what it remembers of them.
    pub(super) fn forget(&self) -> Result<()> {
        forget(&self.database)
    }

    /// Starts the bare server that commits them and gives the answer that `server` gives this
    /// person, whose token is used up thereby.
    pub(super) fn served_bare(&self, server: &Running, person: &Person) -> Result<Running> {
        let script = &mut Refreshes::new(1, slice::from_ref(person));
        let mut recorded = Recorded { script, answer: Vec::new() };
        let asked = Client::connect(server.address, 1)?.ask_once(&mut recorded)?;
        if let Some(error) = asked.first_error {
            return Err(error.into());
        }
        let directory = self.place.path();
        let recording = directory.join("answer");
        fs::write(&recording, &recorded.answer)?;
        let arguments = [&recording, &self.database].map(|file| file.display().to_string());
        let [recording, records] = arguments.each_ref().map(String::as_str);
        Program::ceiling(&["ceiling-commit", recording, records], directory)?.start()
    }
}

/// The places of `count` records that are spread over all.
pub(super) fn spread(records: u64, count: usize) -> Result<Vec<usize>> {
    let apart = (usize::try_from(records)? / count).max(1);
    Ok((0..count).map(|nth| nth * apart).collect())
}

/// How much longer one refresh takes than one commit, in milliseconds.
fn beyond_one_commit(ours: &Tally, alone: &Tally) -> Row {
    let millis = |tally: &Tally| tally.median_latency() * 1000.0;
    // The median of the differences of neighbouring slices, by way of their ratios.
    let beyond = millis(alone) * (ratio(&ours.medians, &alone.medians) - 1.0);
    Row::figure("refresh, 1 at once, beyond one commit", millis(ours), " ms")
        .beside(millis(alone))
        .verdict(beyond, " ms")
        .target(Target::AtMost(0.3))
}
