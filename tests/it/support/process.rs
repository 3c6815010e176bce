//! The real executable as a child process.

use std::io::{BufRead, BufReader, Read, pipe};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, Wire};

/// How the executable is called: in a directory of its own, with cheap passwords, a free port, no
/// limits for each address, and mail that goes into a directory.
pub(crate) struct Program {
    directory: PathBuf,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Program {
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let program =
            Self { directory: directory.to_owned(), variables: Vec::new(), arguments: Vec::new() };
        program
            .with("SERVER_LISTEN", "127.0.0.1:0")
            .with("PASSWORDS_MEMORY", "256KiB")
            .with("PASSWORDS_ITERATIONS", "1")
            .with("LOGIN_PER_ADDRESS_PER_MINUTE", "0")
            .with("REGISTRATION_PER_ADDRESS_PER_HOUR", "0")
            .with("MAIL_TRANSPORT", "file")
            .with("MAIL_DIRECTORY", "mails")
    }

    /// With one more key of the configuration.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.variables.push((format!("LATCHKEY_{key}"), value.to_owned()));
        self
    }

    /// With more arguments, a blank between them.
    pub(crate) fn args(mut self, arguments: &str) -> Self {
        self.arguments.extend(arguments.split(' ').map(str::to_owned));
        self
    }

    fn spawn(&self, stderr: impl Into<Stdio>) -> Child {
        Command::new(env!("CARGO_BIN_EXE_latchkey"))
            .args(&self.arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(key, value)| (key, value)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap()
    }

    /// Runs it to its end, which must come by itself.
    pub(crate) fn run(&self) -> Ended {
        let child = self.spawn(Stdio::piped());
        let output = watched(Pid::from_child(&child), || child.wait_with_output().unwrap());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Ended { status: output.status, stdout, stderr }
    }

    /// Runs it to a good end, and returns what it wrote.
    pub(crate) fn succeeds(&self) -> String {
        let Ended { status, stdout, stderr } = self.run();
        assert!(status.success(), "{stderr}");
        stdout
    }

    /// Runs it to a bad end, and returns what it complained of.
    pub(crate) fn fails(&self) -> String {
        let Ended { status, stdout, stderr } = self.run();
        assert_eq!((status.code(), stdout.as_str()), (Some(1), ""), "{stderr}");
        stderr
    }

    /// Starts serving, and waits until it does.
    pub(crate) fn serve(&self) -> Running {
        let (reader, writer) = pipe().unwrap();
        let (lines, log) = channel();
        let logging = std::thread::spawn(move || {
            let mut text = String::new();
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                text.push_str(&line);
                text.push('\n');
                let _ = lines.send(line);
            }
            text
        });
        match self.start(writer) {
            Some(running) => Running { log: Some((log, logging)), ..running },
            None => panic!("it does not serve: {}", logging.join().unwrap()),
        }
    }

    /// The same with a log that goes elsewhere.
    pub(crate) fn serve_logging_to(&self, stderr: impl Into<Stdio>) -> Running {
        self.start(stderr).unwrap()
    }

    fn start(&self, stderr: impl Into<Stdio>) -> Option<Running> {
        let mut child = Killed(self.spawn(stderr));
        let mut out = BufReader::new(child.0.stdout.take().unwrap());
        let mut ready = String::new();
        out.read_line(&mut ready).unwrap();
        let address = ready.split("http://").nth(1)?.split(',').next()?.parse().ok()?;
        Some(Running { address, ready, log: None, child, out })
    }
}

/// What a process left when it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it wrote after its first line, if it served.
    pub(crate) stdout: String,
    /// What it logged, if that did not go elsewhere.
    pub(crate) stderr: String,
}

/// A child that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that serves.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// The one line on its standard output.
    pub(crate) ready: String,
    log: Option<(Receiver<String>, JoinHandle<String>)>,
    child: Killed,
    out: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// Waits for a line of the log that contains `text`.
    pub(crate) fn wait_for_line(&self, text: &str) {
        let (lines, _) = self.log.as_ref().unwrap();
        while !lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {text:?}")).contains(text)
        {
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child.0), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let pid = Pid::from_child(&self.child.0);
        let status = watched(pid, || self.child.0.wait().unwrap());
        let mut stdout = String::new();
        self.out.read_to_string(&mut stdout).unwrap();
        let stderr = self.log.map_or(String::new(), |(_, logging)| logging.join().unwrap());
        Ended { status, stdout, stderr }
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.ended();
        assert!(ended.status.success(), "{ended:?}");
        ended
    }

    /// Ends it at this instant, as a crash does.
    pub(crate) fn kill(self) {
        self.signal(Signal::KILL);
        self.ended();
    }
}

/// Waits for the end of a child, and kills it if that does not come.
fn watched<T>(pid: Pid, wait: impl FnOnce() -> T) -> T {
    let (ended, has_ended) = channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hangs = has_ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if hangs {
            let _ = kill_process(pid, Signal::KILL);
        }
        hangs
    });
    let waited = wait();
    drop(ended);
    assert!(!watchdog.join().unwrap(), "the process did not end by itself");
    waited
}
