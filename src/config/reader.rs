//! Turns written values into types, key by key, and collects every problem.
//!
//! Reading a key also declares it: its name, default and allowed values are stated once, where it
//! is read. Unknown keys and variables are those that were never read, so every key is read,
//! whatever the others contain.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use super::problems::{ConfigProblems, Place, Problem, printable};
use super::source::{Environment, PREFIX, Value, WrittenFile};

mod unknown;
mod values;

/// Everything that is written, and the problems found so far.
pub(super) struct Reader {
    file: Option<WrittenFile>,
    environment: Environment,
    keys: Vec<Key>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

/// A section while it is read. Each method that reads a key returns `None` if there was a problem,
/// which is then collected.
pub(super) struct Section<'r> {
    reader: &'r mut Reader,
    name: &'static str,
}

/// A key that was read.
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
}

/// One place where a key has a value.
struct Written {
    place: Place,
    value: Value,
    is_secret: bool,
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
    /// Opens the file, if there is one, and picks our variables out of `environment`.
    ///
    /// # Errors
    /// That the file cannot be read, or where it is not TOML.
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

    /// The section of this name.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'_> {
        Section { reader: self, name }
    }

    /// Adds a warning, which does not stop the start.
    pub(super) fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(message.into());
    }

    /// The keys that were read.
    #[cfg(test)]
    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// What was made of it all, with the warnings, now that every key has been asked for.
    ///
    /// # Errors
    /// Every problem that was found.
    pub(super) fn finish<T>(mut self, made: Option<T>) -> Result<(T, Vec<String>), ConfigProblems> {
        self.find_unknown_sections();
        self.find_unknown_variables();
        let warnings = std::mem::take(&mut self.warnings);
        Ok((self.finish_sections(made)?, warnings))
    }

    /// What was made of the sections that were asked for; others are not looked at.
    ///
    /// # Errors
    /// Every problem that was found.
    pub(super) fn finish_sections<T>(mut self, made: Option<T>) -> Result<T, ConfigProblems> {
        self.find_unknown_keys();
        match made {
            Some(made) if self.problems.is_empty() => Ok(made),
            _ => Err(ConfigProblems::new(self.problems)),
        }
    }

    /// Everywhere that `key` has a value, the one that counts last: its default, the file, its
    /// variable. The default is there only if the others are not.
    fn written(&mut self, key: &Key) -> Vec<Written> {
        let mut all = Vec::new();
        if let Some(file) = &self.file
            && let Some((line, value)) = file.value(key.section, key.name)
        {
            let (place, value) = (file.place(*line), value.clone());
            self.warnings.extend(in_view(key, &value, &file.name, file.mode));
            all.push(Written { place, value, is_secret: key.is_secret });
        }
        match self.environment.value(&key.variable()) {
            Ok(None) => {}
            Ok(Some((place, value, file))) => {
                if let Some((name, mode)) = &file {
                    self.warnings.extend(in_view(key, &value, name, *mode));
                }
                all.push(Written { place, value, is_secret: key.is_secret || file.is_some() });
            }
            Err(problem) => self.problems.push(problem),
        }
        if all.is_empty() {
            let value = Value::Bare(key.default.clone());
            all.push(Written { place: Place::Nowhere, value, is_secret: key.is_secret });
        }
        all
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
    /// Collects a problem with the key `name`, at the place where it is written.
    pub(super) fn problem(&mut self, name: &str, message: impl fmt::Display) {
        let place = self.place(name);
        let message = format!("{}.{name}: {message}", self.name);
        self.reader.problems.push(Problem::new(place, message));
    }

    /// Whether the key `name` is written anywhere.
    pub(super) fn is_written(&self, name: &str) -> bool {
        self.place(name) != Place::Nowhere
    }

    fn place(&self, name: &str) -> Place {
        let keys = &self.reader.keys;
        let key = keys.iter().find(|key| key.section == self.name && key.name == name);
        key.map_or(Place::Nowhere, |key| key.place.clone())
    }

    fn key(&self, name: &'static str, default: impl fmt::Display, takes: String) -> Key {
        let (section, default) = (self.name, default.to_string());
        Key { section, name, default, takes, is_secret: false, place: Place::Nowhere }
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        default: impl fmt::Display,
        takes: String,
        parse: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let key = self.key(name, default, takes);
        self.read_with(key, |value| parse(value).ok_or_else(|| value.to_string()))
    }

    /// Reads `key` everywhere it is written, since a bad value is a problem even where a better
    /// one overrides it. `parse` returns what it could not read.
    fn read_with<T>(
        &mut self,
        mut key: Key,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let reader = &mut *self.reader;
        let problems_before = reader.problems.len();
        let mut result = None;
        for Written { place, value, is_secret } in reader.written(&key) {
            key.place = place.clone();
            match parse(&value) {
                Ok(parsed) => result = Some(parsed),
                Err(found) => {
                    let found = if is_secret { "a value that is not shown" } else { &found };
                    let message = format!("{key}: found {found}, but it takes {}", key.takes);
                    reader.problems.push(Problem::new(place, message));
                }
            }
        }
        reader.keys.push(key);
        result.filter(|_| reader.problems.len() == problems_before)
    }
}
