//! Refreshes while a great many sessions that are over are being swept, held against a server
//! with as many users and nothing to sweep. Both get as many requests a second, or the faster one
//! would be compared under more load.

use std::time::Duration;

use rustix::process::Signal;

use super::start;
use crate::Result;
use crate::client::{Outcome, Pace};
use crate::contest::{Loaded, Side, alternate};
use crate::database::count_sessions;
use crate::memory::Memory;
use crate::options::Options;
use crate::population::Person;
use crate::report::{Row, Target};
use crate::scripts::Refreshes;
use crate::seed::{Dataset, Sessions};
use crate::server::Running;

const CONNECTIONS: usize = 64;
/// A thousand a second: a fraction of what either can do.
const PACE: Pace = Pace::Every(Duration::from_millis(1));

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    let users = options.pick(10_000, 1_000_000);
    let mut sides = Vec::new();
    let mut places = Vec::new();
    let mut before = 0;
    for sessions in [Sessions::Expired, Sessions::Live] {
        let place = Dataset { users, sessions }.copy()?;
        // Of the last thousand users all sessions can be used.
        let people = place.last_people(users, u64::try_from(CONNECTIONS)?)?;
        if sessions == Sessions::Expired {
            before = count_sessions(&place.database())?;
        }
        sides.push(Paused::new(start(&place)?, people)?);
        places.push(place);
    }
    let mut in_turn: Vec<&mut dyn Side> = Vec::new();
    for side in &mut sides {
        in_turn.push(side);
    }
    let tallies = alternate(options.turns(), &mut in_turn)?;
    let [sweeping, idle] = tallies.as_slice() else { return Err("two sides".into()) };
    let mut memory = 0;
    for side in sides {
        side.server.signal(Signal::CONT)?;
        memory = Memory::of(side.server.pid())?.resident.max(memory);
        side.server.stop()?;
    }
    let swept = match places.first() {
        Some(place) => before.saturating_sub(count_sessions(&place.database())?),
        None => 0,
    };
    crate::note(&format!("{swept} of {before} sessions were swept meanwhile"));
    if swept == 0 {
        return Err("nothing was swept".into());
    }
    let (with, without) = (sweeping.total.latency.p99(), idle.total.latency.p99());
    let name = format!("refresh while {users} sessions are swept, p99");
    Ok(vec![
        Row::rate("refresh while they are swept, as many as are asked for", sweeping)
            .memory(memory),
        Row::figure(name, with.as_secs_f64() * 1000.0, " ms")
            .beside(without.as_secs_f64() * 1000.0)
            .verdict(crate::contest::ratio(&sweeping.p99s, &idle.p99s), "")
            .target(Target::AtMost(2.0)),
    ])
}

/// A server that stands still while it is not its turn, so that its sweeping does not slow down
/// the other.
struct Paused {
    server: Running,
    load: Loaded<'static>,
}

impl Paused {
    fn new(server: Running, people: Vec<Person>) -> Result<Self> {
        let script = Refreshes::new(CONNECTIONS, &people);
        let load = Loaded::new(server.address, CONNECTIONS, script)?.paced(PACE);
        server.signal(Signal::STOP)?;
        Ok(Self { server, load })
    }
}

impl Side for Paused {
    fn slice(&mut self, lasts: Duration) -> Result<Outcome> {
        self.server.signal(Signal::CONT)?;
        let outcome = self.load.slice(lasts);
        self.server.signal(Signal::STOP)?;
        outcome
    }
}
