//! What the bench was asked for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Result;
use crate::contest::Turns;
use crate::scenarios::{ALL, Scenario};

/// What this process is.
pub(crate) enum Role {
    /// The bench itself.
    Bench(Options),
    /// A ceiling, by its name and what it needs.
    Ceiling(Vec<String>),
    /// Attacks, by their names.
    Attack(Vec<String>),
}

/// How to bench.
pub(crate) struct Options {
    pub(crate) is_quick: bool,
    pub(crate) json: PathBuf,
    names: Vec<String>,
}

impl Options {
    /// Reads the arguments that cargo hands on.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Role> {
        let mut arguments = arguments.peekable();
        if arguments.peek().is_some_and(|first| first.starts_with("ceiling-")) {
            return Ok(Role::Ceiling(arguments.collect()));
        }
        if arguments.next_if(|first| first == "attack").is_some() {
            return Ok(Role::Attack(arguments.filter(|it| it != "--bench").collect()));
        }
        let json = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench.json");
        let mut options = Self { is_quick: false, json, names: Vec::new() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // cargo's own.
                "--bench" => {}
                "--quick" => options.is_quick = true,
                "--json" => options.json = arguments.next().ok_or("--json takes a file")?.into(),
                name if ALL.iter().any(|scenario| scenario.name == name) => {
                    options.names.push(argument);
                }
                other => {
                    let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
                    let known = names.join(", ");
                    return Err(format!("{other}: neither an option nor one of {known}").into());
                }
            }
        }
        Ok(Role::Bench(options))
    }

    /// Whether a scenario is to be measured.
    pub(crate) fn wants(&self, scenario: &Scenario) -> bool {
        let is_named = self.names.iter().any(|name| name == scenario.name);
        is_named || (self.names.is_empty() && !scenario.is_only_by_name)
    }

    /// One of two, by the form of the run.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.is_quick { quick } else { full }
    }

    /// Turns for requests that are answered in less than some milliseconds.
    pub(crate) fn turns(&self) -> Turns {
        let millis = Duration::from_millis;
        let quick = Turns { rounds: 2, slice: millis(400) };
        self.pick(quick, Turns { rounds: 9, slice: millis(1000) })
    }

    /// Turns for requests that hash.
    pub(crate) fn hashing_turns(&self) -> Turns {
        let millis = Duration::from_millis;
        let quick = Turns { rounds: 1, slice: millis(1000) };
        self.pick(quick, Turns { rounds: 7, slice: millis(3000) })
    }
}
