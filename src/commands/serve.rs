//! `latchkey serve`: serves until a signal tells it to stop.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::configuration::environment;
use crate::config::Config;
use crate::logging;
use crate::serve::{self, NewDatabase, Server, StartError};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Serves with the configuration in `file`. The log says where that was read.
///
/// # Errors
/// Why the server does not start.
pub(super) fn serve(file: Option<&Path>, new_database: NewDatabase) -> Result<(), Box<dyn Error>> {
    let loaded = Config::load(file, &environment())?;
    logging::start(&loaded.config.log)?;
    match file {
        Some(file) => tracing::info!(file = %file.display(), "read the configuration"),
        None => tracing::info!("no configuration file; defaults and environment variables apply"),
    }
    for warning in loaded.warnings {
        tracing::warn!("{warning}");
    }
    serve::forgo_core_dumps();
    serve::block_on(serve_until_told(loaded.config, new_database))
        .map_err(StartError::Threads)??;
    Ok(())
}

async fn serve_until_told(config: Config, new_database: NewDatabase) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let directory = config.storage.directory.clone();
    let server = Server::start(config, new_database).await?;
    let address = server.address();
    let ready = format!(
        "latchkey {VERSION} listening on http://{address}, data in {}",
        directory.display()
    );
    let _ = writeln!(io::stdout(), "{ready}");
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

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
