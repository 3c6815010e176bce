//! A server as a process of its own: Latchkey itself, or a ceiling, which is this executable
//! called in another way. Each says on one line where it listens.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Result, stopwatch};

/// The base of links and the issuer of tokens, so that tokens can be made without asking.
pub(crate) const PUBLIC_URL: &str = "http://127.0.0.1";

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    executable: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    directory: PathBuf,
}

impl Program {
    /// The release server in `directory`, which becomes its working directory and has its data in
    /// `data`: everything as it is by default, but for limits on what one address may do, since
    /// all requests here come from one; a port that is free; and no limit on the time that a
    /// password may wait for its turn, as 256 at once on a slow machine would exceed it.
    ///
    /// `LATCHKEY_BIN` names another executable than the one that cargo has built.
    pub(crate) fn latchkey(directory: &Path) -> Self {
        Self::new(latchkey(), directory)
            .with("SERVER_LISTEN", "127.0.0.1:0")
            .with("SERVER_PUBLIC_URL", PUBLIC_URL)
            .with("SERVER_MAX_CONNECTIONS_PER_ADDRESS", "0")
            .with("REGISTRATION_PER_ADDRESS_PER_HOUR", "0")
            .with("LOGIN_PER_ADDRESS_PER_MINUTE", "0")
            .with("PASSWORDS_MAX_WAIT", "1m")
    }

    /// This executable, as what `arguments` say.
    pub(crate) fn ceiling(arguments: &[&str], directory: &Path) -> Result<Self> {
        let mut program = Self::new(std::env::current_exe()?, directory);
        program.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Ok(program)
    }

    fn new(executable: PathBuf, directory: &Path) -> Self {
        Self {
            executable,
            arguments: Vec::new(),
            variables: Vec::new(),
            directory: directory.to_owned(),
        }
    }

    /// With one more key of the configuration, as `SECTION_KEY`.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.variables.push((format!("LATCHKEY_{key}"), value.to_owned()));
        self
    }

    /// Run by another program, which is told what to run by its last arguments.
    pub(crate) fn under(mut self, wrapper: &str, options: &[String]) -> Self {
        let run = self.executable.display().to_string();
        let own = std::mem::take(&mut self.arguments);
        self.executable = PathBuf::from(wrapper);
        self.arguments = options.iter().cloned().chain([run]).chain(own).collect();
        self
    }

    /// In a session of its own, as a service manager starts it. Linux makes a scheduling group of
    /// every session (sched(7), "The autogroup feature"), and one that keeps all processors busy can
    /// keep the kernel's threads, and with them a flush, waiting for seconds; so it gets about half
    /// the usual weight.
    pub(crate) fn in_own_session(self) -> Self {
        let lower = "echo 3 >/proc/self/autogroup; exec \"$0\" \"$@\"";
        self.under("setsid", &["sh", "-c", lower].map(str::to_owned))
    }

    /// Starts it, and waits until it listens. Its log is written as always, but to `/dev/null`, so
    /// that it fills no disk that is being measured.
    pub(crate) fn start(&self) -> Result<Running> {
        let started = stopwatch::now();
        let mut child = Command::new(&self.executable)
            .args(&self.arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(key, value)| (key, value)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", self.executable.display()))?;
        let mut ready = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut ready)?;
        }
        let mut running = Running { child, address: ([0, 0, 0, 0], 0).into(), started };
        let address = ready.split("http://").nth(1).and_then(|rest| rest.split([',', '\n']).next());
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            drop(running);
            let program = self.executable.display();
            return Err(format!("{program} does not serve: it said {ready:?}").into());
        };
        running.address = address;
        Ok(running)
    }
}

/// The server that is measured.
pub(crate) fn latchkey() -> PathBuf {
    std::env::var_os("LATCHKEY_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_latchkey")), PathBuf::from)
}

/// What it is, in a line.
pub(crate) fn description() -> String {
    let file = latchkey();
    let size = fs::metadata(&file).map_or(0, |metadata| metadata.len());
    format!("server: {}, {:.2} MiB", file.display(), crate::memory::mebibytes(size))
}

/// A process that serves. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
    /// When it was asked to start.
    pub(crate) started: Instant,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Stops it as an operator does; it must end well, and within a minute.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let asked = stopwatch::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() { Ok(()) } else { Err(status.to_string().into()) };
            }
            if asked.elapsed() > Duration::from_secs(60) {
                return Err("a server did not stop within a minute".into());
            }
            stopwatch::let_pass(Duration::from_millis(10));
        }
    }

    /// Ends it at this instant, as a crash does.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// So that no server outlives the bench, however that ends.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
