//! Turns written values into types, key by key, and collects every problem.
//!
//! Reading a key also declares it: its name, default and allowed values are stated once, where it
//! is read. Unknown keys and variables are those that were never read, so every key is read,
//! whatever the others contain.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use super::problems::{ConfigProblems, Place, Problem, printable};
use super::source::{Environment, PREFIX, Value, Written, WrittenFile};

mod unknown;
mod values;

/// Everything that is written, and the problems found so far.
pub(super) struct Reader {
    file: Option<WrittenFile>,
    environment: Environment,
    pub(super) keys: Vec<Key>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

/// A section while it is read. A method that reads a key collects the problems of its values, and
/// returns the default if there was one.
pub(super) struct Section<'r> {
    reader: &'r mut Reader,
    name: &'static str,
}

pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// The default, in the notation of a variable.
    pub(super) default: String,
    /// What is allowed, as it follows "takes".
    pub(super) takes: String,
    /// Whether its value must not be shown.
    is_secret: bool,
    /// The place of the value that counts.
    place: Place,
    /// Whether it has that value, and not the default for want of a good one.
    is_sound: bool,
}

impl Key {
    /// The variable that overrides it.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}_{}", self.section, self.name).to_ascii_uppercase()
    }
}

/// `section.name`
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.section, self.name)
    }
}

impl Reader {
    /// Reads the file, if there is one, and picks our variables out of `environment`.
    pub(super) fn new(
        file: Option<&Path>,
        environment: &[(OsString, OsString)],
    ) -> Result<Self, ConfigProblems> {
        Ok(Self {
            file: file.map(WrittenFile::read).transpose().map_err(ConfigProblems::new)?,
            environment: Environment::new(environment),
            keys: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        })
    }

    pub(super) fn section(&mut self, name: &'static str) -> Section<'_> {
        Section { reader: self, name }
    }

    /// The warnings, or every problem that was found, now that every key has been read. `is_whole`
    /// is whether all sections were read; if not, others are not looked at.
    pub(super) fn finish(mut self, is_whole: bool) -> Result<Vec<String>, ConfigProblems> {
        self.problems.extend(self.unknown_keys(is_whole));
        self.find_unknown_variables();
        match self.problems.is_empty() {
            true => Ok(self.warnings),
            false => Err(ConfigProblems::new(self.problems)),
        }
    }
}

/// The warning of a secret in a file that everybody may read. Its group may: a file of root's can
/// be there for the group that the server runs as.
fn in_view(key: &Key, value: &Value, file: &str, mode: u32) -> Option<String> {
    let is_secret = key.is_secret && value.as_text() != Some("");
    (is_secret && mode & 0o004 != 0).then(|| {
        let file = printable(file);
        format!(
            "{key} is written in {file}, which everybody on this machine may read (mode \
             {mode:04o}); run: chmod o-rwx {file}"
        )
    })
}

impl Section<'_> {
    /// Collects a problem with the key `name`, at the place where it is written. If its own value
    /// was a problem, nothing more is said of it.
    pub(super) fn problem(&mut self, name: &str, message: impl fmt::Display) {
        if let Some(key) = self.key(name).filter(|key| key.is_sound) {
            let problem = Problem::new(key.place.clone(), format!("{key}: {message}"));
            self.reader.problems.push(problem);
        }
    }

    /// Adds a warning, which does not stop the start.
    pub(super) fn warn(&mut self, message: impl Into<String>) {
        self.reader.warnings.push(message.into());
    }

    pub(super) fn is_written(&self, name: &str) -> bool {
        self.key(name).is_some_and(|key| key.place != Place::Nowhere)
    }

    /// Whether the key `name` has good values only.
    pub(super) fn is_sound(&self, name: &str) -> bool {
        self.key(name).is_some_and(|key| key.is_sound)
    }

    /// The key `name` of this section, which was read before.
    fn key(&self, name: &str) -> Option<&Key> {
        self.reader.keys.iter().find(|key| key.section == self.name && key.name == name)
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        default: impl fmt::Display,
        takes: String,
        parse: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let parse = |value: &Value| parse(value).ok_or_else(|| value.to_string());
        self.read_with(self.new_key(name, default, takes), parse)
    }

    fn new_key(&self, name: &'static str, default: impl fmt::Display, takes: String) -> Key {
        Key {
            section: self.name,
            name,
            default: default.to_string(),
            takes,
            is_secret: false,
            place: Place::Nowhere,
            is_sound: true,
        }
    }

    /// Reads `key` in the file and in its variable, which counts more; a bad value is a problem
    /// even where a better one overrides it. `parse` returns what it could not read.
    #[expect(clippy::expect_used, reason = "a default is one of its key's values; tests read all")]
    fn read_with<T>(&mut self, mut key: Key, parse: impl Fn(&Value) -> Result<T, String>) -> T {
        let reader = &mut *self.reader;
        let in_file = reader.file.as_ref().and_then(|file| file.value(key.section, key.name));
        let in_variable = reader.environment.value(&key.variable());
        let mut result = None;
        for written in [Ok(in_file), in_variable].into_iter().filter_map(Result::transpose) {
            let read = written.and_then(|Written { place, value, file, is_hidden }| {
                if let Some((name, mode)) = file {
                    reader.warnings.extend(in_view(&key, &value, &name, mode));
                }
                key.place = place.clone();
                parse(&value).map_err(|found| {
                    let is_shown = !key.is_secret && !is_hidden;
                    let found = if is_shown { &found } else { "a value that is not shown" };
                    Problem::new(place, format!("{key}: found {found}, but it takes {}", key.takes))
                })
            });
            match read {
                Ok(value) => result = Some(value),
                Err(problem) => {
                    key.is_sound = false;
                    reader.problems.push(problem);
                }
            }
        }
        let default = || parse(&Value::Bare(key.default.clone())).expect("a good default");
        let result = result.filter(|_| key.is_sound).unwrap_or_else(default);
        reader.keys.push(key);
        result
    }
}
