//! Profiles and refreshes while logins keep every hashing thread busy, held against the same
//! without logins.

use super::{MOST_AT_ONCE, start, usual};
use crate::Result;
use crate::client::{Outcome, Script};
use crate::contest::{Beside, Loaded, Tally, alternate};
use crate::memory::Memory;
use crate::options::Options;
use crate::population::Person;
use crate::report::{Row, Target};
use crate::scripts::{Logins, Refreshes, Repeated};
use crate::server::Running;

const CONNECTIONS: usize = 64;

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    let dataset = usual(options);
    let place = dataset.copy()?;
    let people = place.people(dataset.users, MOST_AT_ONCE)?;
    let server = start(&place)?;
    let mut groups = people.chunks(CONNECTIONS);
    let (Some(one), Some(other), Some(logging_in)) = (groups.next(), groups.next(), groups.next())
    else {
        return Err("too few people were seeded".into());
    };

    let profiles = |people| Repeated::profiles(CONNECTIONS, people);
    let sides = [profiles(one), profiles(other)];
    let [with, without] = contest(options, &server, sides, logging_in)?;
    let memory = Memory::of(server.pid())?.resident;
    let [p99, p99_alone] = [&with, &without].map(|tally| tally.total.latency.p99().as_secs_f64());
    let mut rows = vec![
        Row::contest("profile while 64 log in, against alone", &with, &without)
            .memory(memory)
            .target(Target::AtLeast(0.5)),
        Row::figure("profile while 64 log in, p99", p99 * 1000.0, " ms")
            .beside(p99_alone * 1000.0)
            .target(Target::AtMost(10.0)),
    ];
    let refreshes = |people| Refreshes::new(CONNECTIONS, people);
    let sides = [refreshes(one), refreshes(other)];
    let [with, without] = contest(options, &server, sides, logging_in)?;
    rows.push(
        Row::contest("refresh while 64 log in, against alone", &with, &without)
            .memory(Memory::of(server.pid())?.resident)
            .target(Target::AtLeast(0.5)),
    );
    server.stop()?;
    Ok(rows)
}

/// Two loads of one kind, the first of them with logins beside it.
fn contest(
    options: &Options,
    server: &Running,
    [with, without]: [impl Script + Send; 2],
    logging_in: &[Person],
) -> Result<[Tally; 2]> {
    let mut with = Loaded::new(server.address, CONNECTIONS, with)?;
    let mut without = Loaded::new(server.address, CONNECTIONS, without)?;
    let mut logins = Loaded::new(server.address, logging_in.len(), Logins::new(logging_in))?;
    let (measured, other) = (&mut with, &mut logins);
    let mut with = Beside { measured, other, others: Outcome::default() };
    let tallies = alternate(options.turns(), &mut [&mut with, &mut without])?;
    let others = with.others;
    let [mut with, without] = <[Tally; 2]>::try_from(tallies).map_err(|_| "there are two sides")?;
    with.total.errors += others.errors;
    with.total.first_error = with.total.first_error.or(others.first_error);
    Ok([with, without])
}
