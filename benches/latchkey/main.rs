//! The bench: the release server under load, in its own process, with a real file.

mod answer;
mod client;
mod latency;
mod memory;
mod server;
mod stopwatch;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

struct Health;

impl client::Script for Health {
    fn request(&mut self, _: usize, request: &mut Vec<u8>) {
        if request.is_empty() {
            request.extend_from_slice(b"GET /healthz HTTP/1.1\r\nHost: latchkey\r\n\r\n");
        }
    }

    fn answer(&mut self, _: usize, answer: &answer::Answer<'_>) -> std::result::Result<(), String> {
        if answer.status == 200 { Ok(()) } else { Err(format!("status {}", answer.status)) }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut out = std::io::stdout();
    let directory = tempfile::tempdir()?;
    let server = server::Program::latchkey(directory.path()).start()?;
    for (count, pace) in [
        (1, client::Pace::ClosedLoop),
        (64, client::Pace::ClosedLoop),
        (12000, client::Pace::ClosedLoop),
        (64, client::Pace::Every(Duration::from_micros(500))),
    ] {
        let mut client = client::Client::connect(server.address, count)?;
        let outcome = client.run(Duration::from_secs(1), pace, &mut Health)?;
        writeln!(
            out,
            "{count} {pace:?}: {:.0}/s median {:?} p99 {:?} max {:?} errors {} {:?} unsent {}",
            outcome.per_second(),
            outcome.latency.median(),
            outcome.latency.p99(),
            outcome.latency.longest(),
            outcome.errors,
            outcome.first_error,
            outcome.unsent,
        )?;
    }
    writeln!(out, "{:?}", memory::Memory::of(server.pid())?)?;
    server.stop()
}
