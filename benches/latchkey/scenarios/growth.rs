//! How everything slows down with the number of users and sessions, held against a thousand; and
//! what a user takes on the disk.

use std::os::unix::fs::MetadataExt;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::refresh::{Records, spread};
use super::start;
use crate::Result;
use crate::contest::{Loaded, Side, Turns, alternate};
use crate::database::stored_bytes;
use crate::memory::Memory;
use crate::options::Options;
use crate::population::Person;
use crate::report::{Row, Target};
use crate::scripts::{Commits, Logins, Refreshes, Registrations, Repeated};
use crate::seed::{Dataset, Place, forget};
use crate::server::Running;

/// So many at once ask for what is cheap, and for what is hashed.
const CONNECTIONS: usize = 64;
const HASHING: usize = 16;
/// So many people are asked about in turn, so that no few records stay in every cache.
const PEOPLE: u64 = 1_000;
/// Every scenario within 1.25 times of what it is with a thousand users.
const SLOWEST: Target = Target::AtLeast(1.0 / 1.25);

/// A server with so many users.
struct Grown {
    users: u64,
    people: Vec<Person>,
    server: Running,
    /// The ceiling of a refresh over as many records.
    bare: Running,
    /// The people's places among the records, in another order.
    places: Vec<usize>,
    /// What the file takes on the disk before the server starts, how long it is, and how much of
    /// it holds something, in bytes.
    on_disk: u64,
    length: u64,
    in_use: u64,
    _place: Place,
}

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    let sizes: &[u64] = options.pick(&[1_000, 10_000], &[1_000, 10_000, 100_000, 1_000_000]);
    let mut grown = Vec::new();
    for users in sizes {
        grown.push(Grown::new(*users)?);
    }
    let (cheap, hashing) = (options.turns(), options.hashing_turns());
    let mut rows = judged("profile", cheap, &grown, |it| {
        let script = Repeated::profiles(CONNECTIONS, &it.people);
        Loaded::new(it.server.address, CONNECTIONS, script)
    })?;
    rows.extend(judged("refresh", cheap, &grown, |it| {
        let script = Refreshes::new(CONNECTIONS, &it.people);
        Loaded::new(it.server.address, CONNECTIONS, script)
    })?);
    let bare = contest("commit of a refresh's ceiling", cheap, &grown, |it| {
        let person = it.people.first().ok_or("nobody was seeded")?;
        let script = Commits::new(CONNECTIONS, person, it.places.clone());
        Loaded::new(it.bare.address, CONNECTIONS, script)
    })?;
    rows.extend(bare.into_iter().map(|(row, _)| row));
    rows.extend(judged("login", hashing, &grown, |it| {
        let people = it.people.get(..HASHING).unwrap_or_default();
        Loaded::new(it.server.address, HASHING, Logins::new(people))
    })?);
    rows.extend(judged("register", hashing, &grown, |it| {
        Loaded::new(it.server.address, HASHING, Registrations::new(1))
    })?);
    let largest = sizes.last().copied().unwrap_or_default();
    for it in grown {
        let [on_disk, length, in_use] =
            [it.on_disk, it.length, it.in_use].map(|bytes| per_user(bytes, it.users));
        let each = format!("{} users, each", it.users);
        let row = Row::figure(format!("database on the disk, {each}"), on_disk, " bytes");
        // A small file is mostly made of what every file has.
        let is_judged = it.users == largest && !options.is_quick;
        rows.push(if is_judged { row.target(Target::AtMost(1_200.0)) } else { row });
        rows.push(Row::figure(format!("its length, {each}"), length, " bytes"));
        rows.push(Row::figure(format!("of it in use, {each}"), in_use, " bytes"));
        it.server.stop()?;
    }
    Ok(rows)
}

impl Grown {
    fn new(users: u64) -> Result<Self> {
        let place = Dataset::live(users).copy()?;
        let mut people = place.people(users, PEOPLE)?;
        let mut places = spread(users, people.len())?;
        // They come back in no order that their records lie in.
        let mut order = StdRng::seed_from_u64(users);
        people.shuffle(&mut order);
        places.shuffle(&mut order);
        let in_use = stored_bytes(&place.database())?;
        let file = std::fs::metadata(place.database())?;
        // The system counts blocks of 512 bytes, whatever the file system's are. A file that
        // grows in large steps is longer than what it takes.
        let (on_disk, length) = (file.blocks() * 512, file.len());
        let records = Records::copy(&place)?;
        let server = start(&place)?;
        let first = people.pop().ok_or("nobody was seeded")?;
        let bare = records.served_bare(&server, &first)?;
        forget(&place.database())?;
        records.forget()?;
        Ok(Self { users, people, server, bare, places, on_disk, length, in_use, _place: place })
    }
}

/// A contest of servers, each of which must keep up with the smallest.
fn judged<'s>(
    name: &str,
    turns: Turns,
    grown: &'s [Grown],
    load: impl Fn(&'s Grown) -> Result<Loaded<'s>>,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (row, it) in contest(name, turns, grown, load)? {
        rows.push(row.target(SLOWEST).memory(Memory::of(it.server.pid())?.resident));
    }
    Ok(rows)
}

/// All sizes take turns; each is held against the first.
fn contest<'s>(
    name: &str,
    turns: Turns,
    grown: &'s [Grown],
    load: impl Fn(&'s Grown) -> Result<Loaded<'s>>,
) -> Result<Vec<(Row, &'s Grown)>> {
    let mut loads = grown.iter().map(load).collect::<Result<Vec<_>>>()?;
    let mut sides: Vec<&mut dyn Side> = Vec::new();
    for load in &mut loads {
        sides.push(load);
    }
    let tallies = alternate(turns, &mut sides)?;
    let (first, others) = tallies.split_first().ok_or("there are sizes")?;
    let (smallest, larger) = grown.split_first().ok_or("there are sizes")?;
    let mut rows = Vec::new();
    for (tally, it) in others.iter().zip(larger) {
        let name = format!("{name}, {} users against {}", it.users, smallest.users);
        rows.push((Row::contest(name, tally, first), it));
    }
    Ok(rows)
}

fn per_user(bytes: u64, users: u64) -> f64 {
    bytes as f64 / users as f64
}
