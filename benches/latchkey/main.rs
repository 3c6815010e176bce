//! The bench: how fast, small and flat the release server is, each figure beside the ceiling that
//! the machine sets, taken in the same run.
//!
//! ```text
//! cargo bench                        everything
//! cargo bench -- --quick             everything, small, in under two minutes
//! cargo bench -- profile refresh     some scenarios
//! cargo bench -- instructions        instructions a request, by valgrind; only when named
//! cargo bench -- --json FILE         where the figures go as JSON (target/bench.json)
//! cargo bench -- attack              attacks instead of measurements; see `attack`
//! ```
//!
//! It fails if an answer is wrong, never because something is slow. A ceiling is this executable
//! in a process of its own, on the runtime that the server has, so that both pay for the same
//! things. Server, ceiling and client share the machine.
//!
//! - `client`, `answer`, `scripts`: who asks, and what
//! - `server`, `seed`, `population`, `database`: the server, and what is in its database
//! - `ceiling_http`, `ceiling_commit`, `argon`: what it is held against
//! - `contest`: who takes turns with whom
//! - `latency`, `memory`, `machine`, `stopwatch`, `report`: figures
//! - `scenarios`: what is measured
//! - `attack`: what the server must withstand

mod answer;
mod argon;
mod attack;
mod ceiling_commit;
mod ceiling_http;
mod client;
mod contest;
mod database;
mod latency;
mod machine;
mod memory;
mod options;
mod population;
mod report;
mod scenarios;
mod scripts;
mod seed;
mod server;
mod stopwatch;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use machine::Machine;
use options::{Options, Role};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let outcome = match Options::read(std::env::args().skip(1)) {
        Ok(Role::Ceiling(arguments)) => ceiling(&arguments).map(|()| true),
        Ok(Role::Attack(arguments)) => attack(&arguments).map(|()| true),
        Ok(Role::Bench(options)) => bench(&options),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Says something while the bench runs.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {text}");
}

/// Measures what was asked for; says whether every answer was right.
fn bench(options: &Options) -> Result<bool> {
    raise_open_file_limit();
    let mut out = std::io::stdout();
    let mut rows = Vec::new();
    for scenario in scenarios::ALL {
        if options.wants(scenario) {
            note(scenario.name);
            let measured = (scenario.measure)(options)
                .map_err(|error| format!("{}: {error}", scenario.name))?;
            // The whole table comes at the end; this shows progress until then.
            write!(std::io::stderr(), "{}", report::table(&measured))?;
            rows.extend(measured);
        }
    }
    let machine = Machine::describe(Path::new(env!("CARGO_MANIFEST_DIR")));
    let form = if options.is_quick { "quick" } else { "full" };
    writeln!(
        out,
        "\n{machine}\n{}\n{form} form\n\n{}",
        server::description(),
        report::table(&rows)
    )?;
    report::write_json(&options.json, &machine, form, &rows)?;
    writeln!(out, "the same as JSON: {}", options.json.display())?;
    let errors = report::errors(&rows);
    for error in &errors {
        writeln!(out, "WRONG ANSWERS: {error}")?;
    }
    Ok(errors.is_empty())
}

/// Attacks the server.
fn attack(arguments: &[String]) -> Result<()> {
    raise_open_file_limit();
    attack::run(arguments)
}

/// Is the other end of a contest.
fn ceiling(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["ceiling-http", recording] => ceiling_http::run(Path::new(recording)),
        ["ceiling-commit", recording, database] => {
            ceiling_commit::run(Path::new(recording), Path::new(database))
        }
        ["ceiling-start"] => ceiling_http::run_empty(),
        _ => Err(format!("no such ceiling: {arguments:?}").into()),
    }
}

/// Ten thousand connections need as many open files.
fn raise_open_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
