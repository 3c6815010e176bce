//! What the executable can be told to do, one file a command.
//!
//! A command that works on the data reads only the sections of the configuration that it uses, and
//! acts as the owner of the data directory when root runs it (`owner`). `serve` and `check-config`
//! need the whole configuration, and run as the user who starts them.

mod accept_clock;
mod check_config;
mod configuration;
mod list_keys;
mod owner;
mod replace_keys;
mod rotate_keys;
mod serve;
mod text;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::cli::{self, Command, CommandLine};
use crate::clock::{Clock, Timestamp};
use crate::config::DataConfig;
use crate::random::{NoRandomness, Random};
use crate::serve::NewDatabase;

pub use accept_clock::{AcceptError, accept_clock};
pub use configuration::find_config;
pub use list_keys::list_keys;
pub use owner::{OwnerError, become_owner};
pub use replace_keys::replace_keys;
pub use rotate_keys::rotate_keys;
pub use serve::VERSION;

/// Does what the command line says. What a command tells goes to the standard output.
///
/// # Errors
/// Why it was not done, in one line, or one for each problem of the configuration.
pub fn run(line: CommandLine) -> Result<(), Box<dyn Error>> {
    let config = find_config(line.config);
    let text = match line.command {
        Command::Help => cli::HELP.to_owned(),
        Command::Version => format!("latchkey {VERSION}\n"),
        Command::Serve { new_database: true } => {
            return serve::serve(config.as_deref(), NewDatabase::Allowed);
        }
        Command::Serve { new_database: false } => {
            return serve::serve(config.as_deref(), NewDatabase::Refused);
        }
        Command::CheckConfig => check_config::check_config(config.as_deref())?,
        Command::AcceptClock => accept_clock(&data_config(config)?, now())?,
        Command::ListKeys => list_keys(&data_config(config)?, now())?,
        Command::RotateKeys => rotate_keys(&data_config(config)?, now(), &random()?)?,
        Command::ReplaceKeys => replace_keys(&data_config(config)?, now(), &random()?)?,
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// The configuration of a command that works on the data, and the rights of the data's owner.
fn data_config(file: Option<PathBuf>) -> Result<DataConfig, Box<dyn Error>> {
    let config = DataConfig::load(file.as_deref(), &configuration::environment())?;
    become_owner(&config.storage.directory)?;
    Ok(config)
}

fn now() -> Timestamp {
    Clock::system().read().wall
}

fn random() -> Result<Random, NoRandomness> {
    let random = Random::system();
    random.check()?;
    Ok(random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    pub(super) const START: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);

    /// A configuration whose data is in `root`, and its keys.
    pub(super) fn install(root: &tempfile::TempDir, algorithm: &str) -> DataConfig {
        let file = root.path().join("config.toml");
        let toml = format!(
            "storage.directory = '{}'\ntokens.algorithm = '{algorithm}'\n",
            root.path().join("data").display()
        );
        std::fs::write(&file, toml).unwrap();
        let config = DataConfig::load(Some(&file), &[]).unwrap();
        let algorithm = config.tokens.algorithm.unwrap();
        Keys::load_or_create(&config.storage.keys, algorithm, START, &Random::seeded(1)).unwrap();
        config
    }

    /// The text with the random part of each key's name left out.
    pub(super) fn without_tags(text: &str) -> String {
        let mut shown = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("-17334") {
            let (head, tail) = rest.split_at(at + "-1733479200".len());
            shown.push_str(head);
            rest = &tail["-0a1b2c3d".len()..];
        }
        shown + rest
    }
}
