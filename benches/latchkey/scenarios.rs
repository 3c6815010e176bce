//! What is measured.

use crate::Result;
use crate::client::Client;
use crate::options::Options;
use crate::report::Row;
use crate::scripts::Repeated;
use crate::seed::{Dataset, Place};
use crate::server::{Program, Running};

mod growth;
mod instructions;
mod memory;
mod passwords;
mod profile;
mod refresh;
mod saturated;
mod size;
mod start;
mod sweep;

/// One scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// It is left out unless it is named.
    pub(crate) is_only_by_name: bool,
    pub(crate) measure: fn(&Options) -> Result<Vec<Row>>,
}

impl Scenario {
    const fn new(name: &'static str, measure: fn(&Options) -> Result<Vec<Row>>) -> Self {
        Self { name, is_only_by_name: false, measure }
    }
}

/// All of them, in the order of the table.
pub(crate) const ALL: &[Scenario] = &[
    Scenario::new("profile", profile::measure),
    Scenario::new("refresh", refresh::measure),
    Scenario::new("login", passwords::logins),
    Scenario::new("register", passwords::registrations),
    Scenario::new("saturated", saturated::measure),
    Scenario::new("start", start::measure),
    Scenario::new("memory", memory::measure),
    Scenario::new("growth", growth::measure),
    Scenario::new("sweep", sweep::measure),
    Scenario::new("size", size::measure),
    Scenario { name: "instructions", is_only_by_name: true, measure: instructions::measure },
];

/// How many connections ask at once.
const CONCURRENCY: [usize; 4] = [1, 16, 64, 256];
/// The same, where a number is needed.
const MOST_AT_ONCE: u64 = 256;

/// How many users there are where their number is not what is measured.
fn usual(options: &Options) -> Dataset {
    Dataset::live(options.pick(1_000, 100_000))
}

/// A server over `place`, after its first answer.
fn start(place: &Place) -> Result<Running> {
    let server = Program::latchkey(place.path()).start()?;
    first_answer(&server)?;
    Ok(server)
}

/// Waits until the server has answered.
fn first_answer(server: &Running) -> Result<()> {
    let answered = Client::connect(server.address, 1)?.ask_once(&mut Repeated::ready(1))?;
    answered.first_error.map_or(Ok(()), |error| Err(error.into()))
}
