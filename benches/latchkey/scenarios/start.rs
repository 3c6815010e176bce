//! From the start of the process to its first answer, beyond what a program needs that does
//! nothing but bind and answer: with an empty directory, with many users, and with the same after
//! `kill -9` in the midst of commits.

use std::path::Path;
use std::time::Duration;

use super::{first_answer, usual};
use crate::Result;
use crate::client::{Client, Pace};
use crate::contest::median;
use crate::options::Options;
use crate::report::{Row, Target};
use crate::scripts::Refreshes;
use crate::seed::{Dataset, Place};
use crate::server::{Program, Running};
use crate::stopwatch;

/// So many rotate their sessions when the server is killed.
const ROTATING: u64 = 64;
const BEFORE_THE_KILL: Duration = Duration::from_millis(300);

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    let starts = options.pick(3, 21);
    let mut rows = Vec::new();

    let mut times = Times::default();
    for _ in 0..starts {
        let place = Place::empty()?;
        times.bare(place.path())?;
        times.add(&Program::latchkey(place.path()))?.stop()?;
    }
    rows.push(times.row("start, fresh".to_owned(), 50.0));

    let dataset = options.pick(usual(options), Dataset::live(1_000_000));
    let place = dataset.copy()?;
    let people = place.people(dataset.users, starts * ROTATING)?;
    let program = Program::latchkey(place.path());
    let mut times = Times::default();
    for _ in 0..starts {
        times.bare(place.path())?;
        times.add(&program)?.stop()?;
    }
    rows.push(times.row(format!("start, {} users", dataset.users), 15.0));

    let mut times = Times::default();
    for people in people.chunks(usize::try_from(ROTATING)?) {
        let server = program.start()?;
        let mut client = Client::connect(server.address, people.len())?;
        let mut rotating = Refreshes::new(people.len(), people);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // It is cut off, and complains.
                let _ = client.run(10 * BEFORE_THE_KILL, Pace::ClosedLoop, &mut rotating);
            });
            stopwatch::let_pass(BEFORE_THE_KILL);
            server.kill()
        })?;
        times.bare(place.path())?;
        times.add(&program)?.stop()?;
    }
    rows.push(times.row(format!("start, {} users, after kill -9", dataset.users), 30.0));
    Ok(rows)
}

/// How long starts took, in milliseconds.
#[derive(Default)]
struct Times {
    ours: Vec<f64>,
    bare: Vec<f64>,
}

impl Times {
    fn add(&mut self, program: &Program) -> Result<Running> {
        let (server, took) = timed(program)?;
        self.ours.push(took);
        Ok(server)
    }

    fn bare(&mut self, directory: &Path) -> Result<()> {
        let (_, took) = timed(&Program::ceiling(&["ceiling-start"], directory)?)?;
        self.bare.push(took);
        Ok(())
    }

    fn row(self, name: String, most: f64) -> Row {
        let (ours, bare) = (median(self.ours), median(self.bare));
        Row::figure(name, ours, " ms")
            .beside(bare)
            .verdict(ours - bare, " ms")
            .target(Target::AtMost(most))
    }
}

/// Starts it, and says how long that took up to its first answer.
fn timed(program: &Program) -> Result<(Running, f64)> {
    let server = program.start()?;
    first_answer(&server)?;
    let took = server.started.elapsed().as_secs_f64() * 1000.0;
    Ok((server, took))
}
