//! Honest clients at a steady pace, whom an attack must not keep from being served.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use super::people::Person;
use super::{Findings, milliseconds};
use crate::Result;
use crate::answer::Answer;
use crate::client::{Client, Outcome, Pace, Script};

/// Looks at the profile.
struct Profiles {
    people: Vec<Person>,
}

impl Script for Profiles {
    fn request(&mut self, connection: usize, request: &mut Vec<u8>) {
        if request.is_empty()
            && let Some(person) = self.people.get(connection % self.people.len().max(1))
        {
            let access = &person.access;
            request.extend_from_slice(
                format!("GET /api/profile/ HTTP/1.1\r\nHost: latchkey\r\nAuthorization: Bearer {access}\r\n\r\n")
                    .as_bytes(),
            );
        }
    }

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> std::result::Result<(), String> {
        if answer.status == 200 { Ok(()) } else { Err(format!("a profile was {}", answer.status)) }
    }
}

/// Rotates, each connection a session of its own.
struct Refreshes {
    people: Vec<Person>,
}

impl Script for Refreshes {
    fn request(&mut self, connection: usize, request: &mut Vec<u8>) {
        if let Some(person) = self.people.get(connection) {
            let body = format!(r#"{{"refresh":"{}"}}"#, person.refresh);
            super::asker::write_post(request, "/api/token/refresh/", super::people::HOME, &body);
        }
    }

    fn answer(
        &mut self,
        connection: usize,
        answer: &Answer<'_>,
    ) -> std::result::Result<(), String> {
        let next = answer.text_field("refresh").map(str::to_owned);
        match (answer.status, next, self.people.get_mut(connection)) {
            (200, Some(next), Some(person)) if next != person.refresh => {
                person.refresh = next;
                Ok(())
            }
            (status, ..) => Err(format!("a refresh was {status}")),
        }
    }
}

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
    let mut script = Profiles { people: people.to_vec() };
    paced(
        "profiles",
        address,
        16,
        lasts,
        Duration::from_millis(10),
        aim,
        move |client, lasts, pace| client.run(lasts, pace, &mut script),
    )
}

/// Twenty refreshes a second, for `lasts`, each session by turns.
pub(super) fn refreshes(
    address: SocketAddr,
    people: &[Person],
    lasts: Duration,
    aim: Duration,
) -> Paced {
    let count = people.len();
    let mut script = Refreshes { people: people.to_vec() };
    paced(
        "refreshes",
        address,
        count,
        lasts,
        Duration::from_millis(50),
        aim,
        move |client, lasts, pace| client.run(lasts, pace, &mut script),
    )
}

fn paced(
    what: &'static str,
    address: SocketAddr,
    connections: usize,
    lasts: Duration,
    interval: Duration,
    aim: Duration,
    mut run: impl FnMut(&mut Client, Duration, Pace) -> Result<Outcome> + Send + 'static,
) -> Paced {
    let thread = std::thread::spawn(move || {
        let mut client = Client::connect(address, connections)?;
        run(&mut client, lasts, Pace::Every(interval))
    });
    Paced { what, aim, thread }
}

impl Paced {
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
