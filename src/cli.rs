//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

/// What `--help` prints.
pub const HELP: &str = "\
Latchkey: accounts for your apps, in one executable.

Usage:
  latchkey [serve] [--config FILE]      serve until told to stop (the default)
  latchkey check-config [--config FILE] say what is wrong with the configuration, and stop
  latchkey clock accept [--config FILE] with the server stopped: take the clock as right although
                                        it lies behind the data, and end all sessions
  latchkey keys list [--config FILE]    show all keys and what each does
  latchkey keys rotate [--compromised] [--config FILE]
                                        make a new key for access tokens; it is published at
                                        once and signs tokens.key_activation later

Options:
  --config FILE  the configuration; else ./config.toml, then /etc/latchkey/config.toml, then the
                 defaults
  --new-database with serve: begin with an empty database although tokens.shared_secret is set
  --compromised  others know the keys, or they are lost: replace all of them at once, which ends
                 all sessions and voids all mailed links
  --help         this text
  --version      the version

Run by root, the clock and keys commands act as the owner of the data directory.

Every key of the configuration can be set by an environment variable as well:
LATCHKEY_SERVER_LISTEN=0.0.0.0:8000, or LATCHKEY_MAIL_SMTP_PASSWORD_FILE=/run/secrets/smtp to read
the value from a file. config.toml, which comes with Latchkey, describes them all.
";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Serve {
        /// Whether a new database may be begun where only the operator can tell that none was lost.
        new_database: bool,
    },
    /// Check the configuration.
    CheckConfig,
    /// Take the clock as right.
    AcceptClock,
    /// Show the keys.
    ListKeys,
    /// Make a new key for access tokens.
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
    /// What is to be done.
    pub command: Command,
    /// Where the configuration is, if that was said.
    pub config: Option<PathBuf>,
}

/// A command line that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; `latchkey --help` shows what there is", self.0)
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments after the program's name.
///
/// # Errors
/// [`UsageError`] names what cannot be understood.
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
        return Err(UsageError("--compromised goes with `keys rotate` only".to_owned()));
    }
    if new_database && !matches!(command, Command::Serve { .. }) {
        return Err(UsageError("--new-database goes with `serve` only".to_owned()));
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
        let hint = "; `latchkey --help` shows what there is";
        for (line, message) in [
            ("serv", "unknown command \"serv\""),
            ("clock", "unknown command \"clock\""),
            ("serve now", "unknown command \"serve now\""),
            ("keys", "unknown command \"keys\""),
            ("keys rotate now", "unknown command \"keys rotate now\""),
            ("keys list --compromised", "--compromised goes with `keys rotate` only"),
            ("--compromised", "--compromised goes with `keys rotate` only"),
            (
                "keys rotate --compromised=yes",
                "unexpected argument for option '--compromised': \"yes\"",
            ),
            ("keys list --new-database", "--new-database goes with `serve` only"),
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
