//! The sources of values: the file with its line numbers, and the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, fstatvfs};
use toml::de::{DeInteger, DeTable, DeValue};

use super::problems::{Place, Problem, clipped};
use super::urls::has_credentials;

/// The prefix of our environment variables.
pub(super) const PREFIX: &str = "LATCHKEY_";

/// The most bytes of a configuration file, and of a file that a variable names.
const LARGEST_FILE: u64 = 1 << 20;

/// A value as it was written. It has no `Debug`, since it may be a secret.
#[derive(Clone)]
pub(super) enum Value {
    /// Text without a type, from a variable or a default: `8` may be meant as a number.
    Bare(String),
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Value>),
    /// A value of a type that no key takes, by the name of its type.
    Other(&'static str),
}

pub(super) struct WrittenFile {
    /// Its path as it was given.
    pub(super) name: String,
    /// Its permission bits.
    pub(super) mode: u32,
    /// Everything at its top level, by name.
    pub(super) sections: BTreeMap<String, WrittenSection>,
}

/// Something at the top level of the file.
pub(super) struct WrittenSection {
    /// Where its name stands first.
    pub(super) line: usize,
    /// Its keys, with their lines and values; `None` if it is no table but a value.
    pub(super) keys: Option<BTreeMap<String, (usize, Value)>>,
}

/// One place where a key has a value.
pub(super) struct Written {
    pub(super) place: Place,
    pub(super) value: Value,
    /// The file it is in, which a variable may name, and that file's permission bits.
    pub(super) file: Option<(String, u32)>,
    /// Whether it is all that a file holds, which is not to be shown.
    pub(super) is_hidden: bool,
}

/// The environment variables that start with [`PREFIX`].
pub(super) struct Environment(pub(super) BTreeMap<String, OsString>);

impl Value {
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Bare(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_integer(&self) -> Option<u64> {
        match self {
            Self::Bare(text) => text.trim().parse().ok(),
            Self::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(super) fn as_boolean(&self) -> Option<bool> {
        match self {
            Self::Bare(text) => text.trim().parse().ok(),
            Self::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The value as a list: bare text is split at commas, unless it is a TOML array.
    pub(super) fn as_list(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items.clone()),
            Self::Bare(text) if text.trim_start().starts_with('[') => {
                match Self::from(DeValue::parse(text.trim()).ok()?.get_ref()) {
                    Self::List(items) => Some(items),
                    _ => None,
                }
            }
            Self::Bare(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(items.map(|item| Self::Bare(item.to_owned())).collect())
            }
            _ => None,
        }
    }
}

impl From<&DeValue<'_>> for Value {
    fn from(value: &DeValue<'_>) -> Self {
        let integer = |number: &DeInteger<'_>| {
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Other("an integer of more than 64 bits"), Self::Integer)
        };
        match value {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Integer(number) => integer(number),
            DeValue::Boolean(truth) => Self::Boolean(*truth),
            DeValue::Array(items) => {
                Self::List(items.iter().map(|item| Self::from(item.get_ref())).collect())
            }
            DeValue::Float(_) => Self::Other("a floating-point number"),
            DeValue::Datetime(_) => Self::Other("a date or time"),
            DeValue::Table(_) => Self::Other("a table"),
        }
    }
}

/// The value as messages show it: cut if it is long, and hidden if it is a URL with a password.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(text) | Self::Text(text) if has_credentials(text) => {
                f.write_str("a URL with a user name or password")
            }
            Self::Bare(text) | Self::Text(text) => write!(f, "{:?}", clipped(text)),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(truth) => write!(f, "{truth}"),
            Self::List(_) => f.write_str("an array"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

impl WrittenFile {
    /// Reads and parses the file at `path`, or says where it is not TOML.
    pub(super) fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let name = path.display().to_string();
        let (text, mode) = read_with_mode(path).map_err(|reason| {
            let place = Place::File { name: name.clone(), line: None };
            vec![Problem::new(place, format!("cannot be read: {reason}"))]
        })?;
        let newlines: Vec<usize> = text.match_indices('\n').map(|(offset, _)| offset).collect();
        let line = |offset: usize| 1 + newlines.partition_point(|newline| *newline < offset);

        let (table, errors) = DeTable::parse_recoverable(&text);
        // One mistake can produce several errors on the same line.
        let mut problems = BTreeMap::new();
        for error in errors {
            let line = error.span().map(|span| line(span.start));
            // An error's own display would show the line, which may hold a password; and where a
            // value should have ended, the parser expects "nothing".
            let message = error.message().trim_end_matches(", expected nothing");
            let place = Place::File { name: name.clone(), line };
            let problem = || Problem::new(place, format!("is not TOML: {message}"));
            problems.entry(line).or_insert_with(problem);
        }
        if !problems.is_empty() {
            return Err(problems.into_values().collect());
        }

        let keys = |table: &DeTable<'_>| {
            let entries = table.iter().map(|(key, value)| {
                let written = (line(key.span().start), Value::from(value.get_ref()));
                (key.get_ref().to_string(), written)
            });
            entries.collect()
        };
        let sections = table.get_ref().iter().map(|(name, value)| {
            let line = line(name.span().start);
            let keys = value.get_ref().as_table().map(keys);
            (name.get_ref().to_string(), WrittenSection { line, keys })
        });
        Ok(Self { sections: sections.collect(), mode, name })
    }

    pub(super) fn value(&self, section: &str, key: &str) -> Option<Written> {
        let (line, value) = self.sections.get(section)?.keys.as_ref()?.get(key)?;
        let (place, value) = (self.place(*line), value.clone());
        let file = Some((self.name.clone(), self.mode));
        Some(Written { place, value, file, is_hidden: false })
    }

    pub(super) fn place(&self, line: usize) -> Place {
        Place::File { name: self.name.clone(), line: Some(line) }
    }
}

impl Environment {
    /// Those of `variables` that have our prefix.
    pub(super) fn new(variables: &[(OsString, OsString)]) -> Self {
        let ours = variables.iter().filter_map(|(name, value)| {
            let name = name.to_string_lossy();
            name.starts_with(PREFIX).then(|| (name.into_owned(), value.clone()))
        });
        Self(ours.collect())
    }

    /// What is written for the key whose variable is `variable`: in that variable, or in the file
    /// that `variable` followed by `_FILE` names.
    pub(super) fn value(&self, variable: &str) -> Result<Option<Written>, Problem> {
        let file_variable = format!("{variable}_FILE");
        let place = Place::Variable(variable.to_owned());
        let (text, path) = (self.0.get(variable), self.0.get(&file_variable));
        if text.is_some() && path.is_some() {
            let message = format!("{file_variable} is also set; set only one of the two");
            return Err(Problem::new(place, message));
        }
        if let Some(path) = path.map(Path::new) {
            let (place, name) = (Place::Variable(file_variable), path.display().to_string());
            let (text, mode) = read_with_mode(path).map_err(|reason| {
                let message = format!("{:?} cannot be read: {reason}", clipped(&name));
                Problem::new(place.clone(), message)
            })?;
            // Editors put a newline at the end of a file.
            let text = text.strip_suffix("\r\n").or(text.strip_suffix('\n')).unwrap_or(&text);
            let value = Value::Bare(text.to_owned());
            return Ok(Some(Written { place, value, file: Some((name, mode)), is_hidden: true }));
        }
        let Some(text) = text else { return Ok(None) };
        let Some(text) = text.to_str() else {
            return Err(Problem::new(place, "is not UTF-8".to_owned()));
        };
        let value = Value::Bare(text.to_owned());
        Ok(Some(Written { place, value, file: None, is_hidden: false }))
    }
}

/// The text of a file, and its permission bits; `None` if its file system is mounted read-only, as
/// those of a container's secrets are, and nobody here could change them. Or why it cannot be had.
fn read_with_mode(path: &Path) -> Result<(String, u32), String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    let is_fixed =
        fstatvfs(&file).is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY));
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err("it has more than 1MiB".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let mode = if is_fixed { 0 } else { metadata.mode() & 0o7777 };
    Ok((text, mode))
}
