//! `GET /api/profile/`, held against a bare server that answers the same bytes.

use std::fs;

use super::{CONCURRENCY, MOST_AT_ONCE, start, usual};
use crate::Result;
use crate::client::Client;
use crate::contest::{Loaded, alternate};
use crate::memory::Memory;
use crate::options::Options;
use crate::report::{Row, Target};
use crate::scripts::{Recorded, Repeated};
use crate::server::Program;

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    let dataset = usual(options);
    let place = dataset.copy()?;
    let people = place.people(dataset.users, MOST_AT_ONCE)?;
    let server = start(&place)?;

    let first = people.get(..1).unwrap_or_default();
    let mut recorded = Recorded { script: &mut Repeated::profiles(1, first), answer: Vec::new() };
    let asked = Client::connect(server.address, 1)?.ask_once(&mut recorded)?;
    if let Some(error) = asked.first_error {
        return Err(error.into());
    }
    let recording = place.path().join("answer");
    fs::write(&recording, &recorded.answer)?;
    let recording = recording.display().to_string();
    let bare = Program::ceiling(&["ceiling-http", &recording], place.path())?.start()?;

    let mut rows = Vec::new();
    for connections in CONCURRENCY {
        let people = people.get(..connections).ok_or("too few people were seeded")?;
        let mut ours =
            Loaded::new(server.address, connections, Repeated::profiles(connections, people))?;
        let script = Repeated::profiles_of_ceiling(connections, people);
        let mut theirs = Loaded::new(bare.address, connections, script)?;
        let tallies = alternate(options.turns(), &mut [&mut ours, &mut theirs])?;
        let [ours, theirs] = tallies.as_slice() else { return Err("two sides".into()) };
        let row = Row::contest(format!("profile, {connections} at once"), ours, theirs)
            .memory(Memory::of(server.pid())?.resident);
        rows.push(if connections == 64 { row.target(Target::AtLeast(0.75)) } else { row });
    }
    server.stop()?;
    Ok(rows)
}
