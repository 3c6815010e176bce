//! The log of the real executable, and what becomes of the server when nobody takes it.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, pipe};
use std::process::Stdio;
use std::sync::mpsc::channel;

use tempfile::TempDir;

use crate::support::{ANN, PATIENCE, Program, Running, Wire};

/// A server whose log goes there, with a connection to it.
struct Served {
    running: Running,
    wire: Wire,
    _directory: TempDir,
}

impl Served {
    fn start(level: &str, stderr: impl Into<Stdio>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = Program::in_directory(directory.path()).with("MAIL_TRANSPORT", "log");
        let running = program.with("LOG_LEVEL", level).serve_logging_to(stderr);
        Self { wire: running.connect(), running, _directory: directory }
    }

    /// Asks so often for what there is not.
    fn is_asked(&mut self, times: usize) {
        for _ in 0..times {
            assert_eq!(self.wire.get("/nowhere", "").unwrap().status, 404);
        }
    }
}

/// The log's reader died, and the first line after that ended the server.
#[test]
fn a_server_outlives_the_reader_of_its_log() {
    let (reader, writer) = pipe().unwrap();
    let mut server = Served::start("info", writer);
    drop(reader);
    server.is_asked(3);
    server.wire.register(ANN);
    server.running.stop();
}

/// The server died at its first line.
#[cfg(target_os = "linux")]
#[test]
fn a_server_starts_where_its_log_cannot_be_written() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut server = Served::start("debug", full);
    server.is_asked(1);
    server.running.stop();
}

/// Every request waited for the log's reader once the pipe to it was full.
#[test]
fn a_reader_that_stalls_keeps_no_request_waiting_and_misses_nothing() {
    let (reader, writer) = pipe().unwrap();
    let mut server = Served::start("info", writer);
    // Twice what the pipe takes, and a fraction of what may wait.
    let requests = 1_000;
    server.is_asked(requests);
    let reading = std::thread::spawn(move || {
        BufReader::new(reader).lines().map(Result::unwrap).collect::<Vec<_>>()
    });
    server.running.stop();
    let lines = reading.join().unwrap();
    let told = lines.iter().filter(|line| line.contains("path=\"/nowhere\"")).count();
    assert_eq!(told, requests);
    assert!(lines.last().unwrap().ends_with(" INFO stopped"), "{:?}", lines.last());
}

#[test]
fn a_reader_that_stalls_does_not_keep_the_server_from_stopping() {
    let (_reader, writer) = pipe().unwrap();
    let mut server = Served::start("info", writer);
    server.is_asked(1_000);
    server.running.stop();
}

#[test]
fn what_was_logged_before_a_start_failed_comes_before_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("data"), "a file").unwrap();
    // A variable that is not known is warned about.
    let log = Program::in_directory(directory.path()).with("SERVER_LISTN", "x").fails();
    assert!(log.contains("LATCHKEY_SERVER_LISTN"), "{log}");
    assert!(log.lines().last().unwrap().starts_with("latchkey: "), "{log}");
}

/// The mail was counted as sent, and nobody ever saw it.
#[test]
fn a_mail_that_goes_to_the_log_is_there_whatever_the_level() {
    for level in ["warn", "error"] {
        let (reader, writer) = pipe().unwrap();
        let mut server = Served::start(level, writer);
        server.wire.register(ANN);
        let (found, is_found) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map_while(Result::ok);
            let mut mails = lines.filter(|line| line.contains("/api/verify-email/confirm/?token="));
            found.send(mails.next()).unwrap();
            mails.count()
        });
        assert!(is_found.recv_timeout(PATIENCE).unwrap().is_some(), "{level}");
        server.running.stop();
    }
}
