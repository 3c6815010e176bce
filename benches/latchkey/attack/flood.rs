//! Ten times more logins than hashing can do, from an address each, beside honest clients.

use std::net::SocketAddr;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::asker::{credentials, write_post};
use super::people::{PASSWORD, email};
use super::{Findings, Scale, milliseconds, paced, people};
use crate::answer::Answer;
use crate::client::{Client, Outcome, Pace, Script};
use crate::latency::Latency;
use crate::memory::{Memory, mebibytes};
use crate::server::Program;
use crate::{Result, stopwatch};

const PEOPLE: usize = 60;
const PACED: usize = 20;
/// So many can wait for an answer at one time: more than hashing does within `max_wait`.
const CONNECTIONS: usize = 1_000;
/// How much more is asked than hashing can do.
const TIMES: f64 = 10.0;
/// What memory may come to without what hashing holds, and what two hashing threads hold.
const MOST_MEMORY: u64 = (100 + 2 * 19) << 20;
/// How much memory may grow from the first third of the flood to the last.
const FLAT: u64 = 16 << 20;

/// Logs people in with the right password, each time from another address.
struct Logins {
    asked: Vec<Option<Instant>>,
    next: u32,
    /// Until when it is a flood, in which refusals are expected; `None` if it is no flood.
    until: Option<Instant>,
    /// How many were accepted until then.
    accepted: u64,
    refused: u64,
    refusals: Latency,
}

impl Logins {
    fn new(connections: usize, until: Option<Instant>) -> Self {
        let asked = vec![None; connections];
        Self { asked, next: 0, until, accepted: 0, refused: 0, refusals: Latency::default() }
    }
}

impl Script for Logins {
    fn request(&mut self, connection: usize, request: &mut Vec<u8>) {
        self.next = self.next.wrapping_add(1);
        let client = std::net::Ipv4Addr::from(0x0A00_0000 | (self.next & 0x00FF_FFFF));
        // The first of them are the honest ones, whose sessions must not make room for these.
        let number = PACED + usize::try_from(self.next).unwrap_or(0) % (PEOPLE - PACED);
        let body = credentials(&email(number), PASSWORD);
        write_post(request, "/api/login/", &client.to_string(), &body);
        if let Some(asked) = self.asked.get_mut(connection) {
            *asked = Some(stopwatch::now());
        }
    }

    fn answer(
        &mut self,
        connection: usize,
        answer: &Answer<'_>,
    ) -> std::result::Result<(), String> {
        let asked = self.asked.get_mut(connection).and_then(Option::take);
        match answer.status {
            200 => {
                let is_in_time = self.until.is_none_or(|until| stopwatch::now() <= until);
                self.accepted += u64::from(is_in_time);
            }
            503 | 429 if self.until.is_some() && answer.header("retry-after").is_some() => {
                self.refused += 1;
                self.refusals.record(asked.map(|asked| asked.elapsed()).unwrap_or_default());
            }
            status => return Err(format!("a login was {status}")),
        }
        Ok(())
    }
}

/// Logins by four at a time, which is as many as hashing can do.
fn alone(address: SocketAddr, lasts: Duration, findings: &mut Findings) -> Result<f64> {
    let mut client = Client::connect(address, 4)?;
    let outcome = client.run(lasts, Pace::ClosedLoop, &mut Logins::new(4, None))?;
    let text =
        format!("{} logins failed without a flood: {:?}", outcome.errors, outcome.first_error);
    findings.holds(outcome.errors == 0, text)?;
    Ok(outcome.per_second())
}

pub(super) fn attack(scale: Scale, findings: &mut Findings) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Program::latchkey(directory.path())
        .with("PASSWORDS_MAX_WAIT", "1s")
        .in_own_session()
        .start()?;
    let address = server.address;
    people::register(address, PEOPLE)?;
    let honest = people::log_in(address, PACED)?;
    let capacity = alone(address, scale.lasting(10, 2), findings)?;
    findings.tell(&format!("hashing alone does {capacity:.0} logins a second"))?;

    let lasts = scale.lasting(60, 6);
    let profiles = paced::profiles(address, &honest, lasts, Duration::from_millis(20));
    let refreshes = paced::refreshes(address, &honest, lasts, Duration::from_millis(100));
    let interval = Duration::from_secs_f64(1.0 / (capacity * TIMES));
    let (ended, has_ended) = channel::<()>();
    let flood = std::thread::spawn(move || -> Result<(Outcome, Logins)> {
        let _ended = ended;
        let mut client = Client::connect(address, CONNECTIONS)?;
        let mut script = Logins::new(CONNECTIONS, Some(stopwatch::now() + lasts));
        let outcome = client.run(lasts, Pace::Every(interval), &mut script)?;
        Ok((outcome, script))
    });
    let mut memory = Vec::new();
    while has_ended.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
        memory.push(Memory::of(server.pid())?.resident);
    }
    let (outcome, logins) = flood.join().map_err(|_| "the flood panicked")??;
    // Full speed again: the second after the flood is for what still waited.
    let waiting = alone(address, Duration::from_secs(1), findings)?;
    let after = alone(address, scale.lasting(5, 2), findings)?;

    let accepted = logins.accepted as f64 / lasts.as_secs_f64();
    findings.tell(&format!(
        "flood of {:.0} logins a second for {} s: {accepted:.0} a second accepted, {:.0}% of what hashing alone does \
         (aim: 90%)",
        logins.accepted.saturating_add(logins.refused) as f64 / lasts.as_secs_f64(),
        lasts.as_secs(),
        accepted / capacity * 100.0,
    ))?;
    findings.tell(&format!(
        "{} refused with 503 or 429 and Retry-After, p99 {} (aim: 50.0 ms)",
        logins.refused,
        milliseconds(logins.refusals.p99())
    ))?;
    profiles.served(findings)?;
    refreshes.served(findings)?;
    findings.tell(&format!(
        "afterwards {waiting:.0} logins in the first second, then {after:.0} a second ({:.0}% of before)",
        after / capacity * 100.0
    ))?;
    let text =
        format!("{} answers of the flood were wrong: {:?}", outcome.errors, outcome.first_error);
    findings.holds(outcome.errors == 0, text)?;
    findings
        .holds(logins.refused > logins.accepted, "that was no flood: most of it was accepted")?;
    findings.holds(logins.accepted > 0, "the flood kept every login out")?;

    let third = memory.len() / 3;
    let most = |part: Option<&[u64]>| part.unwrap_or_default().iter().copied().max().unwrap_or(0);
    let (early, late) = (most(memory.get(..third)), most(memory.get(third * 2..)));
    findings.tell(&format!(
        "memory {:.0} MiB in the first third and {:.0} MiB in the last",
        mebibytes(early),
        mebibytes(late)
    ))?;
    findings.holds(late <= early + FLAT, "memory grew with the flood")?;
    let peak = Memory::of(server.pid())?.peak;
    findings.holds(peak < MOST_MEMORY, format!("memory came to {:.0} MiB", mebibytes(peak)))?;
    server.stop()
}
