//! The `latchkey` executable: arguments in, exit code out.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use latchkey::{cli, commands, logging};

fn main() -> ExitCode {
    let outcome = run();
    logging::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "latchkey: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    commands::run(cli::parse(std::env::args_os().skip(1))?)
}
