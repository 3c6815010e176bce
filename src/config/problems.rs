//! The problems of a configuration, reported so that all can be fixed at once.

use std::fmt;

use thiserror::Error;

/// The longest piece of an operator's text that a message repeats, in characters.
const LONGEST_QUOTE: usize = 64;

/// How similar two names must be, from 0 to 1, for one to be suggested for the other.
const ALIKE: f64 = 0.6;

/// All problems of a configuration, displayed one per line, in the order of the file and then of
/// the variables. They never contain the value of a secret.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ConfigProblems(String);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    place: Place,
    message: String,
}

/// The place of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the file of this name. The line counts from 1 and is `None` for the file as a whole.
    File { name: String, line: Option<usize> },
    /// In this environment variable, or the file that it names.
    Variable(String),
    /// Nowhere: a default, or something that is missing.
    Nowhere,
}

impl ConfigProblems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        Self(problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
    }
}

impl Problem {
    pub(super) fn new(place: Place, message: String) -> Self {
        Self { place, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { name, line: Some(line) } => write!(f, "{}:{line}: ", printable(name))?,
            Place::File { name, line: None } => write!(f, "{}: ", printable(name))?,
            Place::Variable(name) => write!(f, "{}: ", printable(name))?,
            Place::Nowhere => {}
        }
        f.write_str(&printable(&self.message))
    }
}

/// `text` on one line, so that an operator's text cannot start a new line.
pub(super) fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().collect() } else { c.into() };
    text.chars().map(escape).collect::<Vec<String>>().concat()
}

/// The beginning of `text`, if it is too long to be repeated.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The one of `known` that is most similar to `name`, if it is similar enough.
pub(super) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let name = clipped(name);
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(&name, known);
    known
        .into_iter()
        .map(|known| (likeness(known), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

/// `"a", "b" or "c"`
pub(super) fn alternatives<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_whatever_was_written() {
        let place = Place::File { name: "a\nb.toml".to_owned(), line: Some(7) };
        let problem = Problem::new(place, "found \"x\u{1b}[31m\r\n\"".to_owned());
        assert_eq!(problem.to_string(), r#"a\nb.toml:7: found "x\u{1b}[31m\r\n""#);
    }

    #[test]
    fn only_a_name_much_like_it_is_offered() {
        let known = ["listen", "public_url", "max_body"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("publicurl", known), Some("public_url"));
        assert_eq!(nearest("cheese", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"listen".repeat(100_000), known), None);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(clipped(&"é".repeat(64)), "é".repeat(64));
        assert_eq!(clipped(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
    }
}
