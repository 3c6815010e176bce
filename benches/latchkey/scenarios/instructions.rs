//! How many instructions a request takes, counted by valgrind's callgrind. Unlike times, these
//! hardly differ from run to run, so they show a regression of one percent on any machine.
//!
//! The server is run twice, for some requests and for many more; the difference holds neither
//! start nor stop.

use std::fs;
use std::path::Path;

use super::{first_answer, usual};
use crate::Result;
use crate::client::{Client, Script};
use crate::options::Options;
use crate::population::Person;
use crate::report::Row;
use crate::scripts::{Refreshes, Repeated};
use crate::server::Program;

/// How many requests are made, the fewer and the more.
const REQUESTS: [u32; 2] = [300, 1_300];

pub(crate) fn measure(options: &Options) -> Result<Vec<Row>> {
    let valgrind = ["/usr/bin/valgrind", "/usr/local/bin/valgrind"];
    let valgrind = valgrind.into_iter().find(|path| Path::new(path).exists());
    let valgrind = valgrind.ok_or("valgrind is not installed")?;
    let profile = |person: Person| Box::new(Repeated::profiles(1, &[person])) as Box<dyn Script>;
    let refresh = |person: Person| Box::new(Refreshes::new(1, &[person])) as Box<dyn Script>;
    Ok(vec![
        Row::figure("instructions, profile", count(options, valgrind, profile)?, ""),
        Row::figure("instructions, refresh", count(options, valgrind, refresh)?, ""),
    ])
}

fn count(
    options: &Options,
    valgrind: &str,
    script: impl Fn(Person) -> Box<dyn Script>,
) -> Result<f64> {
    let mut totals = Vec::new();
    for requests in REQUESTS {
        let dataset = usual(options);
        let place = dataset.copy()?;
        let person = place.people(dataset.users, 1)?.pop().ok_or("nobody was seeded")?;
        let counts = place.path().join("counts");
        let arguments =
            ["--tool=callgrind".to_owned(), format!("--callgrind-out-file={}", counts.display())];
        let server = Program::latchkey(place.path()).under(valgrind, &arguments).start()?;
        first_answer(&server)?;
        let mut client = Client::connect(server.address, 1)?;
        let mut script = script(person);
        for _ in 0..requests {
            let asked = client.ask_once(&mut *script)?;
            if let Some(error) = asked.first_error {
                return Err(error.into());
            }
        }
        server.stop()?;
        totals.push(total(&fs::read_to_string(counts)?)?);
    }
    let [few, many] = totals.as_slice() else { return Err("two runs".into()) };
    let [fewer, more] = REQUESTS;
    Ok(many.saturating_sub(*few) as f64 / f64::from(more - fewer))
}

fn total(counts: &str) -> Result<u64> {
    let line = counts.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(line.ok_or("callgrind has counted nothing")?.trim().parse()?)
}
