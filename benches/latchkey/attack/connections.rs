//! Connections that want nothing but to be there, and connections that want nothing at all.
//!
//! Each scenario has a server of its own, and honest clients beside it who must all be served.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};

use super::paced;
use super::people;
use super::{Findings, Scale};
use crate::answer::Answer;
use crate::client::{Client, Script};
use crate::memory::{Memory, mebibytes};
use crate::population::Person;
use crate::server::{Program, Running};
use crate::{Result, stopwatch};

/// What memory may come to without what hashing holds, and what two hashing threads hold by
/// default.
const MOST_MEMORY: u64 = (100 + 2 * 19) << 20;
const AIM: Duration = Duration::from_millis(50);
const CROWD: usize = 10_000;
const PROBE: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: latchkey\r\n\r\n";
/// What an idle connection may take.
const MOST_OF_ONE: u64 = 6 * 1024;
/// The limits that a server has if nobody changes them.
const MOST_CONNECTIONS: usize = 4096;
const OF_ONE_ADDRESS: usize = 256;

pub(super) fn attack(scale: Scale, findings: &mut Findings) -> Result<()> {
    idle(scale, findings)?;
    storm(scale, findings)?;
    let almost_a_head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(15 * 1024));
    held("heads that lack their last byte", almost_a_head.as_bytes(), scale, findings)?;
    let length = 64 * 1024;
    let head = "POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
    let told = format!("{head}\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length - 1));
    held("bodies that lack their last byte", told.as_bytes(), scale, findings)?;
    let chunk = format!("{:x}\r\n{}\r\n", 1024, "x".repeat(1024));
    let chunks = format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(63));
    held("chunks that never end", chunks.as_bytes(), scale, findings)
}

/// Ten thousand connections that have had an answer and ask no more: on a server that takes as
/// many as it does by default, where the longest idle make room, and on one that takes them all.
fn idle(scale: Scale, findings: &mut Findings) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Program::latchkey(directory.path()).in_own_session().start()?;
    let honest = Honest::of(&server)?;
    let mut crowd = Vec::new();
    for index in 0..CROWD {
        let last = u8::try_from(index / 1_000)?.saturating_add(2);
        let mut stream = from_address(server.address, last)?;
        stream.write_all(PROBE)?;
        crowd.push(stream);
    }
    honest.beside(scale.lasting(20, 4), findings)?;
    let open = open_files(&server)?;
    findings.tell(&format!("{CROWD} idle connections, of which the server keeps {open}"))?;
    findings.holds(open <= MOST_CONNECTIONS + 64, format!("{open} files are open"))?;
    bounded(&server, findings)?;
    drop(crowd);
    server.stop()?;

    let directory = tempfile::tempdir()?;
    let server = Program::latchkey(directory.path())
        .in_own_session()
        .with("SERVER_MAX_CONNECTIONS", "12000")
        .with("SERVER_IDLE_TIMEOUT", "1h")
        .with("SERVER_HEADER_TIMEOUT", "5m")
        .start()?;
    let honest = Honest::of(&server)?;
    let before = Memory::of(server.pid())?.resident;
    let mut crowd = Client::connect(server.address, CROWD)?;
    let first = crowd.ask_once(&mut Probe)?;
    findings.holds(first.errors == 0, format!("not all were answered: {:?}", first.first_error))?;
    let grown = Memory::of(server.pid())?.resident.saturating_sub(before);
    honest.beside(scale.lasting(20, 4), findings)?;
    let again = crowd.ask_once(&mut Probe)?;
    let text = format!("{} idle connections were lost: {:?}", again.errors, again.first_error);
    findings.holds(again.errors == 0 && again.latency.count() == first.latency.count(), text)?;
    findings.tell(&format!(
        "{CROWD} idle connections, all of them kept, take {:.1} MiB",
        mebibytes(grown)
    ))?;
    let most = u64::try_from(CROWD)? * MOST_OF_ONE;
    findings.holds(grown < most, format!("they take more than {:.0} MiB", mebibytes(most)))?;
    server.stop()
}

struct Probe;

impl Script for Probe {
    fn request(&mut self, _: usize, request: &mut Vec<u8>) {
        if request.is_empty() {
            request.extend_from_slice(PROBE);
        }
    }

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> std::result::Result<(), String> {
        if answer.status == 200 { Ok(()) } else { Err(format!("a probe was {}", answer.status)) }
    }
}

/// Connections that are opened and closed again as fast as can be: politely, by a reset, and with
/// half a request.
fn storm(scale: Scale, findings: &mut Findings) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Program::latchkey(directory.path()).in_own_session().start()?;
    let honest = Honest::of(&server)?;
    let before = open_files(&server)?;
    let is_over = AtomicBool::new(false);
    let (address, lasts) = (server.address, scale.lasting(20, 4));
    let count = std::thread::scope(|scope| {
        let storm = scope.spawn(|| open_and_close(address, &is_over));
        let served = honest.beside(lasts, findings);
        is_over.store(true, Ordering::Relaxed);
        let count = storm.join().map_err(|_| "the storm panicked")?;
        served.and(count)
    })?;
    findings.tell(&format!("{count} connections opened and closed beside that"))?;
    findings.holds(count > 100, "the storm was none")?;
    // It takes the server a moment to notice the last of them.
    let asked = stopwatch::now();
    while open_files(&server)? > before && asked.elapsed() < Duration::from_secs(20) {
        stopwatch::let_pass(Duration::from_millis(10));
    }
    let after = open_files(&server)?;
    findings.holds(after <= before, format!("{before} open files became {after}"))?;
    bounded(&server, findings)?;
    server.stop()
}

fn open_and_close(address: SocketAddr, is_over: &AtomicBool) -> Result<u64> {
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        // From many addresses, which have ports enough among them.
        let stream = from_address(address, u8::try_from(count % 200)?);
        // Out of ports for now: they come back within a minute, and the storm goes on till then.
        let Ok(mut stream) = stream else { continue };
        match count % 3 {
            0 => {}
            1 => rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?,
            _ => {
                let _ = stream.write_all(b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nConte");
            }
        }
        drop(stream);
        count += 1;
    }
    Ok(count)
}

/// As many connections as there may be, of as many addresses as that takes, each with all but the
/// last byte of something.
fn held(what: &str, bytes: &[u8], scale: Scale, findings: &mut Findings) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let share = OF_ONE_ADDRESS.to_string();
    let server = Program::latchkey(directory.path())
        .in_own_session()
        .with("SERVER_TRUSTED_PROXIES", "")
        .with("SERVER_MAX_CONNECTIONS_PER_ADDRESS", &share)
        .with("SERVER_HEADER_TIMEOUT", "1m")
        .with("SERVER_REQUEST_TIMEOUT", "1m")
        .start()?;
    let honest = Honest::of(&server)?;
    let mut crowd = Vec::new();
    let mut refused = 0;
    // Some are left for the honest: once all are busy, nobody new is let in.
    for index in 0..MOST_CONNECTIONS - 2 * OF_ONE_ADDRESS {
        let nth = u8::try_from(index / OF_ONE_ADDRESS)?.saturating_add(2);
        let mut stream = from_address(server.address, nth)?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        if stream.write_all(bytes).is_err() {
            refused += 1;
        }
        crowd.push(stream);
    }
    honest.beside(scale.lasting(10, 3), findings)?;
    findings
        .tell(&format!("{} connections held {what} ({refused} of them refused)", crowd.len()))?;
    bounded(&server, findings)?;
    drop(crowd);
    server.stop()
}

/// Honest clients of a server.
struct Honest {
    address: SocketAddr,
    people: Vec<Person>,
}

impl Honest {
    fn of(server: &Running) -> Result<Self> {
        people::register(server.address, 4)?;
        let people = people::log_in(server.address, 4)?;
        Ok(Self { address: server.address, people })
    }

    fn beside(&self, lasts: Duration, findings: &mut Findings) -> Result<()> {
        let profiles = paced::profiles(self.address, &self.people, lasts, AIM);
        let refreshes = paced::refreshes(self.address, &self.people, lasts, AIM);
        profiles.served(findings).and(refreshes.served(findings))
    }
}

fn bounded(server: &Running, findings: &mut Findings) -> Result<()> {
    let peak = Memory::of(server.pid())?.peak;
    findings.tell(&format!("{:.0} MiB at most", mebibytes(peak)))?;
    let text = format!("memory came to {:.0} MiB", mebibytes(peak));
    findings.holds(peak < MOST_MEMORY, text)
}

fn open_files(server: &Running) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", server.pid()))?.count())
}

/// A connection from 127.0.0.`last`, or from whichever the system takes if that is 0.
fn from_address(address: SocketAddr, last: u8) -> Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    if last > 0 {
        rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
    }
    rustix::net::connect(&socket, &address)?;
    Ok(TcpStream::from(socket))
}
