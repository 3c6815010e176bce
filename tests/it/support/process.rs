//! The real executable as a child process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Wire;

/// Longer than anything takes; only a process that hangs lets it run out.
const PATIENCE: Duration = Duration::from_secs(60);

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

    /// With one more argument.
    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    fn spawn(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_latchkey"))
            .args(&self.arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(key, value)| (key, value)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs it to its end, which must come by itself.
    pub(crate) fn run(&self) -> Ended {
        let mut child = self.spawn();
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        let status = wait(&mut child);
        let mut stdout = String::new();
        out.read_to_string(&mut stdout).unwrap();
        Ended { status, stdout, stderr: reader.join().unwrap() }
    }

    /// Starts serving, and waits until it does.
    pub(crate) fn serve(&self) -> Running {
        let mut child = self.spawn();
        let err = child.stderr.take().unwrap();
        let (lines, log) = channel();
        let logging = std::thread::spawn(move || {
            let mut text = String::new();
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                text.push_str(&line);
                text.push('\n');
                let _ = lines.send(line);
            }
            text
        });
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        out.read_line(&mut ready).unwrap();
        let address = ready
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .and_then(|address| address.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it does not serve: {}", logging.join().unwrap());
        };
        let process = Some(Process { child, out, logging });
        Running { address, ready, log, process }
    }
}

/// What a process left when it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it wrote after its first line, if it served.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

struct Process {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    logging: JoinHandle<String>,
}

/// A process that serves. It is killed when this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// The one line on its standard output.
    pub(crate) ready: String,
    log: Receiver<String>,
    process: Option<Process>,
}

impl Running {
    /// A new connection to it.
    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// Waits for a line of the log that contains `text`.
    pub(crate) fn wait_for_line(&self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            kill_process(Pid::from_child(&process.child), signal).unwrap();
        }
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let Process { mut child, mut out, logging } = self.process.take().unwrap();
        let status = wait(&mut child);
        let mut stdout = String::new();
        out.read_to_string(&mut stdout).unwrap();
        Ended { status, stdout, stderr: logging.join().unwrap() }
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.ended();
        assert!(ended.status.success(), "{ended:?}");
        ended
    }

    /// Ends it at this instant, as a crash does.
    pub(crate) fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.ended()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// Waits for the end of a child, and kills it if that does not come.
fn wait(child: &mut Child) -> ExitStatus {
    let pid = Pid::from_child(child);
    let (ended, has_ended) = channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hangs = has_ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if hangs {
            let _ = kill_process(pid, Signal::KILL);
        }
        hangs
    });
    let status = child.wait().unwrap();
    drop(ended);
    assert!(!watchdog.join().unwrap(), "the process did not end by itself");
    status
}
