//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use thiserror::Error;

/// What `--help` prints.
pub const HELP: &str = "\
Latchkey: accounts for your apps, in one executable.

Usage:
  latchkey [serve] [--config FILE]       run the server (the default)
  latchkey check-config [--config FILE]  report every problem of the configuration, then exit
  latchkey keys list [--config FILE]     list all keys and what each one does
  latchkey keys rotate [--config FILE]   create a new key for access tokens; it is published at once
                                         and signs tokens.key_activation later
  latchkey keys rotate --compromised [--config FILE]
                                         replace all keys, because others know them or they are
                                         lost; ends all sessions and voids all mailed links
  latchkey clock accept [--config FILE]  accept the present time although it is before the last
                                         commit, and end all sessions; the server must be stopped

Options:
  --config FILE   the configuration; by default ./config.toml, or else /etc/latchkey/config.toml
  --new-database  with serve: create an empty database although tokens.shared_secret is set
  --help          print this text
  --version       print the version

If root runs them, the keys and clock commands act as the owner of the data directory.

Environment variables override the configuration: LATCHKEY_SERVER_LISTEN=0.0.0.0:8000, or
LATCHKEY_MAIL_SMTP_PASSWORD_FILE=/run/secrets/smtp to read a value from a file. config.toml, which
comes with Latchkey, describes every key.
";

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Serve {
        /// Whether to create a database although only the operator can tell that none was lost.
        new_database: bool,
    },
    /// Check the configuration.
    CheckConfig,
    /// Accept the present time.
    AcceptClock,
    /// Show the keys.
    ListKeys,
    /// Create a new key for access tokens.
    RotateKeys,
    /// Replace all keys.
    ReplaceKeys,
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The command.
    pub command: Command,
    /// The configuration file, if given.
    pub config: Option<PathBuf>,
}

/// An invalid command line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}; see `latchkey --help`")]
pub struct UsageError(String);

/// Reads the arguments after the program's name.
///
/// # Errors
/// [`UsageError`] names the problem.
pub fn parse(
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<CommandLine, UsageError> {
    let mut parser = Parser::from_args(arguments);
    let mut words = Vec::new();
    let mut config = None;
    let mut is_compromised = false;
    let mut new_database = false;
    let usage = |error: lexopt::Error| UsageError(error.to_string());
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Arg::Long("config") => config = Some(PathBuf::from(parser.value().map_err(usage)?)),
            Arg::Long("compromised") => is_compromised = true,
            Arg::Long("new-database") => new_database = true,
            Arg::Short('h') | Arg::Long("help") => {
                return Ok(CommandLine { command: Command::Help, config: None });
            }
            Arg::Short('V') | Arg::Long("version") => {
                return Ok(CommandLine { command: Command::Version, config: None });
            }
            Arg::Value(word) => words.push(word.to_string_lossy().into_owned()),
            other => return Err(usage(other.unexpected())),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = match words.as_slice() {
        [] | ["serve"] => Command::Serve { new_database },
        ["check-config"] => Command::CheckConfig,
        ["clock", "accept"] => Command::AcceptClock,
        ["keys", "list"] => Command::ListKeys,
        ["keys", "rotate"] if is_compromised => Command::ReplaceKeys,
        ["keys", "rotate"] => Command::RotateKeys,
        other => return Err(UsageError(format!("unknown command \"{}\"", other.join(" ")))),
    };
    if is_compromised && command != Command::ReplaceKeys {
        return Err(UsageError("--compromised can only be used with `keys rotate`".to_owned()));
    }
    if new_database && !matches!(command, Command::Serve { .. }) {
        return Err(UsageError("--new-database can only be used with `serve`".to_owned()));
    }
    Ok(CommandLine { command, config })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVE: Command = Command::Serve { new_database: false };

    fn command(line: &str) -> Result<(Command, Option<String>), String> {
        parse(line.split_whitespace())
            .map(|line| (line.command, line.config.map(|path| path.display().to_string())))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_command_is_understood() {
        let no_config = |command| Ok((command, None));
        assert_eq!(command(""), no_config(SERVE));
        assert_eq!(command("serve"), no_config(SERVE));
        let beginning = no_config(Command::Serve { new_database: true });
        assert_eq!(command("serve --new-database"), beginning);
        assert_eq!(command("--new-database"), beginning);
        assert_eq!(command("check-config"), no_config(Command::CheckConfig));
        assert_eq!(command("clock accept"), no_config(Command::AcceptClock));
        assert_eq!(command("keys list"), no_config(Command::ListKeys));
        assert_eq!(command("keys rotate"), no_config(Command::RotateKeys));
        assert_eq!(command("keys rotate --compromised"), no_config(Command::ReplaceKeys));
        assert_eq!(command("--compromised keys rotate"), no_config(Command::ReplaceKeys));
        assert_eq!(command("serve --help"), no_config(Command::Help));
        assert_eq!(command("-V"), no_config(Command::Version));
        let with_config = Ok((SERVE, Some("a.toml".to_owned())));
        assert_eq!(command("--config a.toml"), with_config);
        assert_eq!(command("serve --config=a.toml"), with_config);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let hint = "; see `latchkey --help`";
        for (line, message) in [
            ("serv", "unknown command \"serv\""),
            ("clock", "unknown command \"clock\""),
            ("serve now", "unknown command \"serve now\""),
            ("keys", "unknown command \"keys\""),
            ("keys rotate now", "unknown command \"keys rotate now\""),
            ("keys list --compromised", "--compromised can only be used with `keys rotate`"),
            ("--compromised", "--compromised can only be used with `keys rotate`"),
            (
                "keys rotate --compromised=yes",
                "unexpected argument for option '--compromised': \"yes\"",
            ),
            ("keys list --new-database", "--new-database can only be used with `serve`"),
            ("--port 80", "invalid option '--port'"),
            ("--config", "missing argument for option '--config'"),
        ] {
            assert_eq!(command(line), Err(format!("{message}{hint}")), "{line}");
        }
    }

    #[test]
    fn the_help_fits_a_terminal() {
        assert!(HELP.lines().all(|line| line.chars().count() <= 100));
    }
}
