//! `POST /api/token/refresh/`, each connection rotating its own session, held against a bare
//! server that commits the same records, and against redb alone.

use std::fs;

use super::{CONCURRENCY, MOST_AT_ONCE, first_answer, start, usual};
use crate::Result;
use crate::client::Client;
use crate::contest::{Alone, Loaded, Tally, alternate, ratio};
use crate::database::copy_sessions;
use crate::memory::Memory;
use crate::options::Options;
use crate::population::Person;
use crate::report::{Row, Target};
use crate::scripts::{Commits, Recorded, Refreshes};
use crate::seed::Place;
use crate::server::{Program, Running};

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    let dataset = usual(options);
    let place = dataset.copy()?;
    let mut people = place.people(dataset.users, MOST_AT_ONCE + 1)?;
    let records = place.path().join("records");
    copy_sessions(&place.database(), &records)?;
    let server = start(&place)?;
    let first = people.pop().ok_or("nobody was seeded")?;
    let arguments = [record(&place, &server, first)?, records.display().to_string()];
    let [recording, records] = arguments.each_ref().map(String::as_str);
    let bare = Program::ceiling(&["ceiling-commit", recording, records], place.path())?.start()?;

    let mut rows = Vec::new();
    let mut rotating = Refreshes::new(people.len(), &people);
    for connections in CONCURRENCY {
        let people = people.get(..connections).ok_or("too few people were seeded")?;
        let mut ours = Loaded::new(server.address, connections, &mut rotating)?;
        let commits = Commits::new(people, usize::try_from(dataset.users)?);
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
    server.stop()?;

    // What is left when the signature of the access token costs next to nothing.
    let server = Program::latchkey(place.path()).with("TOKENS_ALGORITHM", "HS256").start()?;
    first_answer(&server)?;
    for connections in [64, 256] {
        let people = people.get(..connections).ok_or("too few people were seeded")?;
        let mut ours = Loaded::new(server.address, connections, &mut rotating)?;
        let commits = Commits::new(people, usize::try_from(dataset.users)?);
        let mut theirs = Loaded::new(bare.address, connections, commits)?;
        let tallies = alternate(options.turns(), &mut [&mut ours, &mut theirs])?;
        let [ours, theirs] = tallies.as_slice() else { return Err("two sides".into()) };
        rows.push(Row::contest(format!("refresh, {connections} at once, HS256"), ours, theirs));
    }
    server.stop()?;
    Ok(rows)
}

/// Records an answer; says in which file.
fn record(place: &Place, server: &Running, person: Person) -> Result<String> {
    let mut recorded = Recorded { script: &mut Refreshes::new(1, &[person]), answer: Vec::new() };
    let asked = Client::connect(server.address, 1)?.ask_once(&mut recorded)?;
    if let Some(error) = asked.first_error {
        return Err(error.into());
    }
    let file = place.path().join("answer");
    fs::write(&file, &recorded.answer)?;
    Ok(file.display().to_string())
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
