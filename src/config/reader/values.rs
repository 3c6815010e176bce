//! The types that a key can have: what each accepts, and how it is read.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{Key, Section};
use crate::config::problems::alternatives;
use crate::config::source::Value;
use crate::config::units::{duration_text, parse_duration, parse_size, size_text};
use crate::secret::Secret;

/// The longest text that a key takes, in bytes.
const LONGEST_TEXT: usize = 1024;

/// What a key for any text accepts.
const ANY_TEXT: &str = "a text of at most 1024 bytes without control characters";

impl Section<'_> {
    pub(in crate::config) fn integer<T: FromStr>(
        &mut self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> T {
        let takes = format!("an integer from {} to {}", range.start(), range.end());
        self.read(name, default, takes, |value| integer_in(value.as_integer()?, &range))
    }

    /// A whole number, or zero, which is none and means `off`.
    pub(in crate::config) fn integer_or_zero<T: FromStr>(
        &mut self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
        off: &str,
    ) -> Option<T> {
        let takes = format!("an integer from {} to {}, or 0 for {off}", range.start(), range.end());
        self.read(name, default, takes, |value| match value.as_integer()? {
            0 => Some(None),
            number => integer_in(number, &range).map(Some),
        })
    }

    /// A number of events, or zero for no limit.
    pub(in crate::config) fn limit<T: FromStr>(
        &mut self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        self.integer_or_zero(name, default, range, "no limit")
    }

    pub(in crate::config) fn duration(
        &mut self,
        name: &'static str,
        default: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let takes = duration_range(&range, default);
        self.read(name, default, takes, |value| duration(value).filter(|it| range.contains(it)))
    }

    /// A duration above zero, or zero, which is none and means `off`.
    pub(in crate::config) fn duration_or_zero(
        &mut self,
        name: &'static str,
        default: &'static str,
        range: RangeInclusive<Duration>,
        off: &str,
    ) -> Option<Duration> {
        let takes = format!("{}, or 0 for {off}", duration_range(&range, default));
        self.read(name, default, takes, |value| match duration(value)? {
            Duration::ZERO => Some(None),
            duration => range.contains(&duration).then_some(Some(duration)),
        })
    }

    /// A size in bytes.
    pub(in crate::config) fn size<T: TryFrom<u64>>(
        &mut self,
        name: &'static str,
        default: &'static str,
        range: RangeInclusive<u64>,
    ) -> T {
        let (from, to) = (size_text(*range.start()), size_text(*range.end()));
        let takes = format!("a size from {from} to {to}, such as {default:?}");
        self.read(name, default, takes, |value| {
            parse_size(value.as_text()?).filter(|size| range.contains(size))?.try_into().ok()
        })
    }

    pub(in crate::config) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        self.read(name, default, "true or false".to_owned(), Value::as_boolean)
    }

    /// One of a few words.
    pub(in crate::config) fn choice<T: Clone>(
        &mut self,
        name: &'static str,
        default: &'static str,
        choices: &[(&str, T)],
    ) -> T {
        let takes = alternatives(choices.iter().map(|(word, _)| *word));
        self.read(name, default, takes, |value| {
            let word = value.as_text()?;
            choices.iter().find(|(known, _)| *known == word).map(|(_, choice)| choice.clone())
        })
    }

    /// A text that `parse` accepts.
    pub(in crate::config) fn parsed<T>(
        &mut self,
        name: &'static str,
        default: &'static str,
        takes: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        self.read(name, default, takes.to_owned(), |value| parse(text(value)?))
    }

    /// A text that `parse` makes something of, or nothing.
    pub(in crate::config) fn optional<T>(
        &mut self,
        name: &'static str,
        takes: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let takes = format!("{takes}, or \"\" for none");
        self.read(name, "", takes, |value| match text(value)? {
            "" => Some(None),
            text => parse(text).map(Some),
        })
    }

    pub(in crate::config) fn optional_text(&mut self, name: &'static str) -> Option<String> {
        self.optional(name, ANY_TEXT, |text| Some(text.to_owned()))
    }

    pub(in crate::config) fn path(&mut self, name: &'static str, default: &'static str) -> PathBuf {
        let parse = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        self.parsed(name, default, "a path", parse)
    }

    pub(in crate::config) fn optional_path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.optional(name, "a path", |text| Some(PathBuf::from(text)))
    }

    /// A list of texts that `parse` accepts; `default` is separated by commas.
    pub(in crate::config) fn list<T>(
        &mut self,
        name: &'static str,
        default: &'static str,
        takes: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let key = self.new_key(name, default, format!("a list of {takes}"));
        self.read_with(key, |value| {
            let items = value.as_list().ok_or_else(|| value.to_string())?;
            let parse_item = |item: &Value| {
                text(item).and_then(&parse).ok_or_else(|| format!("{item} in the list"))
            };
            items.iter().map(parse_item).collect()
        })
    }

    /// A text that is never shown, or none.
    pub(in crate::config) fn secret(&mut self, name: &'static str) -> Option<Secret<String>> {
        let takes = format!("{ANY_TEXT}, or \"\" for none");
        let key = Key { is_secret: true, ..self.new_key(name, "", takes) };
        self.read_with(key, |value| {
            let text = text(value).ok_or_else(|| value.to_string())?;
            Ok((!text.is_empty()).then(|| Secret::new(text.to_owned())))
        })
    }
}

fn text(value: &Value) -> Option<&str> {
    let is_sound = |text: &&str| text.len() <= LONGEST_TEXT && !text.contains(char::is_control);
    value.as_text().filter(is_sound)
}

/// `number` in its type, if it is in range. By way of its text, as only that makes any integer.
fn integer_in<T: FromStr>(number: u64, range: &RangeInclusive<u64>) -> Option<T> {
    range.contains(&number).then(|| number.to_string().parse().ok())?
}

fn duration(value: &Value) -> Option<Duration> {
    match value.as_integer() {
        Some(0) => Some(Duration::ZERO),
        _ => parse_duration(value.as_text()?),
    }
}

fn duration_range(range: &RangeInclusive<Duration>, example: &str) -> String {
    let (from, to) = (duration_text(*range.start()), duration_text(*range.end()));
    format!("a duration from {from} to {to}, such as {example:?}")
}
