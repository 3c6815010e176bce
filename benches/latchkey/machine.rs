//! The machine the figures hold for.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// What it is, as far as it says.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory: String,
    kernel: String,
    file_system: String,
    compiler: String,
}

impl Machine {
    /// The machine as seen from here, with the file system that `directory` lies on.
    pub(crate) fn describe(directory: &Path) -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map_or_else(unknown, |value| value.trim_start_matches([' ', '\t', ':']).to_owned())
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| unknown());
        let directory = directory.display().to_string();
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: field("/proc/meminfo", "MemTotal"),
            kernel: kernel.trim().to_owned(),
            file_system: said("df", &["--output=fstype", &directory]),
            compiler: said("rustc", &["--version"]),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "processor": self.processor,
            "cores": self.cores,
            "memory": self.memory,
            "kernel": self.kernel,
            "file_system": self.file_system,
            "compiler": self.compiler,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory, kernel, file_system, compiler } = self;
        write!(f, "{processor}, {cores} cores, {memory}; Linux {kernel}, {file_system}; {compiler}")
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The last line of what a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let last = text.and_then(|text| text.lines().last().map(|line| line.trim().to_owned()));
    last.unwrap_or_else(unknown)
}
