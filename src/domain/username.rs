//! User names: optional, shown to others, unique without regard to letter case.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest user name, in characters.
pub const MAX_USERNAME: usize = 150;

/// A user name: letters and digits of any script, and `@ . + - _`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    typed: String,
    key: String,
}

/// Why a text is no user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsernameProblem {
    /// It is empty or has characters that are not allowed.
    Invalid,
    /// It has more than [`MAX_USERNAME`] characters.
    TooLong,
}

impl Username {
    /// Reads a user name that has been trimmed.
    ///
    /// # Errors
    /// [`UsernameProblem`] says why the text is none.
    pub fn parse(text: &str) -> Result<Self, UsernameProblem> {
        let is_allowed = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
        if text.chars().nth(MAX_USERNAME).is_some() {
            return Err(UsernameProblem::TooLong);
        }
        if text.is_empty() || !text.chars().all(is_allowed) {
            return Err(UsernameProblem::Invalid);
        }
        Ok(Self { typed: text.to_owned(), key: text.to_lowercase() })
    }

    /// The name as it was typed.
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// What makes two names the same: lower case.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

impl Serialize for Username {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.typed)
    }
}

impl<'de> Deserialize<'de> for Username {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|_| serde::de::Error::custom("not a user name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_any_script_are_accepted() {
        for text in ["a", "Ann.Lee+x-y_z@home", "Žofie", "花子", "١٢٣", &"a".repeat(150)] {
            assert!(Username::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn other_characters_and_lengths_are_refused() {
        for text in ["", "a b", "a/b", "a\0", "<a>", "a\u{200b}", "😀"] {
            assert_eq!(Username::parse(text), Err(UsernameProblem::Invalid), "{text:?}");
        }
        assert_eq!(Username::parse(&"ä".repeat(151)), Err(UsernameProblem::TooLong));
    }

    #[test]
    fn letter_case_makes_no_difference() {
        let keys = ["ÄNN", "änn"].map(|text| Username::parse(text).unwrap().key().to_owned());
        assert_eq!(keys[0], keys[1]);
    }
}
