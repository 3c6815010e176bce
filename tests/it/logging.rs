//! The log of the real executable, and what becomes of the server when nobody takes it.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, PipeReader, Read, Write, pipe};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{ANN, PASSWORD};

/// Longer than anything takes; only a server that hangs lets it run out.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that serves. It is killed when this is dropped.
struct Served {
    child: Child,
    wire: BufReader<TcpStream>,
    _directory: TempDir,
}

fn command(directory: &Path, level: &str, stderr: impl Into<Stdio>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latchkey"));
    command
        .env_clear()
        .env("LATCHKEY_SERVER_LISTEN", "127.0.0.1:0")
        .env("LATCHKEY_PASSWORDS_MEMORY", "256KiB")
        .env("LATCHKEY_LOG_LEVEL", level)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr);
    command
}

impl Served {
    fn start(level: &str, stderr: impl Into<Stdio>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = command(directory.path(), level, stderr).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let address = ready.split("http://").nth(1).and_then(|rest| rest.split(',').next());
        let address: SocketAddr =
            address.unwrap_or_else(|| panic!("it does not serve: {ready}")).parse().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { child, wire: BufReader::new(stream), _directory: directory }
    }

    /// One request on the one connection, and the status of its answer.
    fn send(&mut self, request: &str) -> u16 {
        self.wire.get_mut().write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.wire.read_line(&mut head).unwrap(), 0, "closed: {head}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        self.wire.read_exact(&mut body).unwrap();
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn is_not_found(&mut self) {
        assert_eq!(self.send("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    }

    fn registers(&mut self) {
        let body = json!({
            "email": ANN, "password": PASSWORD, "password_confirm": PASSWORD,
        });
        let body = body.to_string();
        let length = body.len();
        let head = format!(
            "POST /api/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        assert_eq!(self.send(&(head + &body)), 201);
    }

    /// Stops it as an operator does.
    fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that is left in the pipe once its writers are gone.
fn rest(reader: PipeReader) -> Vec<String> {
    BufReader::new(reader).lines().map(Result::unwrap).collect()
}

/// The log's reader died, and the first line after that ended the server.
#[test]
fn a_server_outlives_the_reader_of_its_log() {
    let (reader, writer) = pipe().unwrap();
    let mut server = Served::start("info", writer);
    drop(reader);
    for _ in 0..3 {
        server.is_not_found();
    }
    server.registers();
    assert!(server.stop().success());
}

/// The server died at its first line.
#[cfg(target_os = "linux")]
#[test]
fn a_server_starts_where_its_log_cannot_be_written() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut server = Served::start("debug", full);
    server.is_not_found();
    assert!(server.stop().success());
}

/// Every request waited for the log's reader once the pipe to it was full.
#[test]
fn a_reader_that_stalls_keeps_no_request_waiting_and_misses_nothing() {
    let (reader, writer) = pipe().unwrap();
    let mut server = Served::start("info", writer);
    // Twice what the pipe takes, and a fraction of what may wait.
    let requests = 1_000;
    for _ in 0..requests {
        server.is_not_found();
    }
    let reading = std::thread::spawn(move || rest(reader));
    assert!(server.stop().success());
    let lines = reading.join().unwrap();
    let told = lines.iter().filter(|line| line.contains("path=\"/nowhere\"")).count();
    assert_eq!(told, requests);
    assert!(lines.last().unwrap().ends_with(" INFO stopped"), "{:?}", lines.last());
}

#[test]
fn a_reader_that_stalls_does_not_keep_the_server_from_stopping() {
    let (_reader, writer) = pipe().unwrap();
    let mut server = Served::start("info", writer);
    for _ in 0..1_000 {
        server.is_not_found();
    }
    assert!(server.stop().success());
}

#[test]
fn what_was_logged_before_a_start_failed_comes_before_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("data"), "a file").unwrap();
    let (reader, writer) = pipe().unwrap();
    let mut command = command(directory.path(), "info", writer);
    // A variable that is not known is warned about.
    let mut child = command.env("LATCHKEY_SERVER_LISTN", "x").spawn().unwrap();
    drop(command);
    let lines = rest(reader);
    assert!(!child.wait().unwrap().success());
    assert!(lines.iter().any(|line| line.contains("LATCHKEY_SERVER_LISTN")), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("latchkey: "), "{lines:?}");
}

/// The mail was counted as sent, and nobody ever saw it.
#[test]
fn a_mail_that_goes_to_the_log_is_there_whatever_the_level() {
    for level in ["warn", "error"] {
        let (reader, writer) = pipe().unwrap();
        let mut server = Served::start(level, writer);
        server.registers();
        let (found, is_found) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map_while(Result::ok);
            let mut mails = lines.filter(|line| line.contains("/api/verify-email/confirm/?token="));
            found.send(mails.next()).unwrap();
            mails.count()
        });
        assert!(is_found.recv_timeout(PATIENCE).unwrap().is_some(), "{level}");
        assert!(server.stop().success());
    }
}
