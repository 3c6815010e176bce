//! Attacks on the release server in its own process: `cargo bench -- attack [NAMES] [--quick]`.
//!
//! What is counted, said or bounded must hold, or the run fails. Times are told beside what is
//! aimed at, and fail nothing: the machine may be busy with something else.
//!
//! - `connections`: thousands of them that are idle, slow, or closed at once
//! - `flood`: ten times more logins than hashing can do
//! - `guessing`: passwords guessed beside a million others
//! - `timing`: whether the time of an answer tells what its words do not

use std::io::Write;
use std::time::Duration;

use crate::Result;

mod asker;
mod connections;
mod flood;
mod guessing;
mod paced;
mod people;
mod statistics;
mod timing;

/// How long things go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    is_quick: bool,
}

impl Scale {
    /// The one duration, or the other where it must be quick.
    fn lasting(self, seconds: u64, quick: u64) -> Duration {
        Duration::from_secs(if self.is_quick { quick } else { seconds })
    }

    /// The one number, or the other where it must be quick.
    fn times(self, many: usize, quick: usize) -> usize {
        if self.is_quick { quick } else { many }
    }
}

/// What an attack found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    broken: Vec<String>,
}

impl Findings {
    /// Tells something.
    fn tell(&self, line: &str) -> Result<()> {
        Ok(writeln!(std::io::stdout(), "  {line}")?)
    }

    /// Notes what must hold.
    fn holds(&mut self, is_so: bool, what: impl Into<String>) -> Result<()> {
        if is_so {
            return Ok(());
        }
        let what = what.into();
        self.tell(&format!("BROKEN: {what}"))?;
        self.broken.push(what);
        Ok(())
    }
}

type Attack = fn(Scale, &mut Findings) -> Result<()>;

const ATTACKS: [(&str, Attack); 4] = [
    ("connections", connections::attack),
    ("flood", flood::attack),
    ("guessing", guessing::attack),
    ("timing", timing::attack),
];

/// Carries out the attacks that are named in `arguments`, or all.
///
/// # Errors
/// If a name is none, an attack could not be carried out, or something did not hold.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let names: Vec<&String> = arguments.iter().filter(|name| !name.starts_with('-')).collect();
    if let Some(unknown) =
        names.iter().find(|name| !ATTACKS.iter().any(|(known, _)| known == **name))
    {
        return Err(format!("there is no attack {unknown}").into());
    }
    let mut findings = Findings::default();
    for (name, attack) in ATTACKS {
        if names.is_empty() || names.iter().any(|wanted| *wanted == name) {
            writeln!(std::io::stdout(), "{name}")?;
            attack(Scale { is_quick }, &mut findings)?;
        }
    }
    if findings.broken.is_empty() { Ok(()) } else { Err(findings.broken.join("; ").into()) }
}

/// A duration in milliseconds, as people read it.
fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
