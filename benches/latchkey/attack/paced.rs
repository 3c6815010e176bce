//! Honest clients at a steady pace, whom an attack must not keep from being served.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Findings, milliseconds};
use crate::Result;
use crate::client::{Client, Outcome, Pace, Script};
use crate::population::Person;
use crate::scripts::{Refreshes, Repeated};

/// So many connections look at profiles.
const READERS: usize = 16;

/// Clients that ask in a thread of their own.
pub(super) struct Paced {
    what: &'static str,
    aim: Duration,
    thread: JoinHandle<Result<Outcome>>,
}

/// A hundred profiles a second, for `lasts`.
pub(super) fn profiles(
    address: SocketAddr,
    people: &[Person],
    lasts: Duration,
    aim: Duration,
) -> Paced {
    let script = Repeated::profiles(READERS, people);
    Paced::start("profiles", address, READERS, lasts, Duration::from_millis(10), aim, script)
}

/// Twenty refreshes a second, for `lasts`, each session by turns.
pub(super) fn refreshes(
    address: SocketAddr,
    people: &[Person],
    lasts: Duration,
    aim: Duration,
) -> Paced {
    let count = people.len();
    let script = Refreshes::new(count, people);
    Paced::start("refreshes", address, count, lasts, Duration::from_millis(50), aim, script)
}

impl Paced {
    fn start(
        what: &'static str,
        address: SocketAddr,
        connections: usize,
        lasts: Duration,
        interval: Duration,
        aim: Duration,
        mut script: impl Script + Send + 'static,
    ) -> Self {
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(address, connections)?;
            client.run(lasts, Pace::Every(interval), &mut script)
        });
        Self { what, aim, thread }
    }

    /// Waits for their end; all of them must have been served.
    pub(super) fn served(self, findings: &mut Findings) -> Result<()> {
        let what = self.what;
        let outcome = self.thread.join().map_err(|_| "the honest clients panicked")??;
        findings.tell(&format!(
            "honest {what}: {} served, p99 {} (aim: {}), longest {}",
            outcome.latency.count(),
            milliseconds(outcome.latency.p99()),
            milliseconds(self.aim),
            milliseconds(outcome.latency.longest()),
        ))?;
        findings.holds(outcome.latency.count() > 0, format!("{what} were asked for"))?;
        findings.holds(
            outcome.errors == 0 && outcome.unsent == 0,
            format!(
                "{} {what} not served, {} not sent: {:?}",
                outcome.errors, outcome.unsent, outcome.first_error
            ),
        )
    }
}
