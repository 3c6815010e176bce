//! The `latchkey` executable: arguments, configuration, signals, exit code.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use latchkey::cli::{self, Command};
use latchkey::clock::{Clock, Timestamp};
use latchkey::config::{Config, Loaded};
use latchkey::random::Random;
use latchkey::serve::{self, Server, StartError};
use latchkey::{clock_command, keys_command, logging};
use tokio::signal::unix::{SignalKind, signal};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let outcome = run();
    logging::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "latchkey: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let line = cli::parse(std::env::args_os().skip(1))?;
    let mut stdout = std::io::stdout();
    match line.command {
        Command::Help => write!(stdout, "{}", cli::HELP)?,
        Command::Version => writeln!(stdout, "latchkey {VERSION}")?,
        Command::CheckConfig => {
            let loaded = load(line.config)?;
            for warning in loaded.warnings {
                writeln!(std::io::stderr(), "latchkey: warning: {warning}")?;
            }
            serve::check(&loaded.config)?;
            writeln!(stdout, "the configuration is fine")?;
        }
        Command::AcceptClock => {
            let accepted = clock_command::accept(&load_and_log(line.config)?, now())?;
            writeln!(stdout, "the clock is taken as right: {accepted}; all sessions have ended")?;
        }
        Command::ListKeys => {
            write!(stdout, "{}", keys_command::list(&load(line.config)?.config, now())?)?;
        }
        Command::RotateKeys => {
            Random::system().check()?;
            write!(stdout, "{}", keys_command::rotate(&load(line.config)?.config, now())?)?;
        }
        Command::ReplaceKeys => {
            Random::system().check()?;
            let config = load(line.config)?.config;
            write!(stdout, "{}", keys_command::replace_compromised(&config, now())?)?;
        }
        Command::Serve => {
            let config = load_and_log(line.config)?;
            serve::make_way_for_kernel();
            serve::forgo_core_dumps();
            serve::block_on(serve_until_told(config)).map_err(StartError::Threads)??;
        }
    }
    Ok(())
}

fn now() -> Timestamp {
    Clock::system().read().wall
}

fn load(file: Option<PathBuf>) -> Result<Loaded, Box<dyn std::error::Error>> {
    let default = Path::new("config.toml");
    let file = file.or_else(|| default.exists().then(|| default.to_owned()));
    let environment: Vec<_> = std::env::vars_os().collect();
    Ok(Config::load(file.as_deref(), &environment)?)
}

/// Loads the configuration for a command that logs what happens, and starts the log.
fn load_and_log(file: Option<PathBuf>) -> Result<Config, Box<dyn std::error::Error>> {
    let loaded = load(file)?;
    logging::start(&loaded.config.log)?;
    for warning in loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.config)
}

async fn serve_until_told(config: Config) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let directory = config.storage.directory.clone();
    let server = Server::start(config).await?;
    let address = server.address();
    let ready = format!(
        "latchkey {VERSION} listening on http://{address}, data in {}",
        directory.display()
    );
    let _ = writeln!(std::io::stdout(), "{ready}");
    server
        .run(async move {
            next(&mut terminate, &mut interrupt).await;
            tracing::info!("stopping; a second signal stops at once");
            tokio::spawn(async move {
                next(&mut terminate, &mut interrupt).await;
                logging::flush();
                std::process::exit(1);
            });
        })
        .await;
    tracing::info!("stopped");
    Ok(())
}

async fn next(
    terminate: &mut tokio::signal::unix::Signal,
    interrupt: &mut tokio::signal::unix::Signal,
) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
