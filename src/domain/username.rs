//! User names: optional, shown to others, unique without regard to letter case and to the forms
//! in which Unicode has the same letter more than once.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::UnicodeNormalization as _;

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
        Ok(Self { typed: text.to_owned(), key: key(text) })
    }

    /// The name as it was typed.
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// What makes two names the same: lower case, in Unicode's compatibility form (NFKC), so that
    /// nobody passes for `admin` as `ａｄｍｉｎ`. Letters of different scripts that only look alike
    /// stay apart.
    pub fn key(&self) -> &str {
        &self.key
    }
}

fn key(text: &str) -> String {
    // A sigma is lower-cased to another letter at the end of a word than elsewhere.
    let one_sigma = |letter| if letter == 'ς' { 'σ' } else { letter };
    // Once before, since some forms have no lower case, and once after, since some lower-case
    // letters come apart.
    text.nfkc().flat_map(char::to_lowercase).map(one_sigma).nfkc().collect()
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
    use proptest::prelude::*;

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

    fn key_of(text: &str) -> String {
        Username::parse(text).unwrap().key().to_owned()
    }

    /// Fullwidth letters used to make another name of the same word.
    #[test]
    fn neither_letter_case_nor_form_makes_a_difference() {
        for (one, other) in [
            ("ÄNN", "änn"),
            ("admin", "ａｄｍｉｎ"),
            ("admin", "ＡＤＭＩＮ"),
            ("admin", "𝐚𝐝𝐦𝐢𝐧"),
            ("admin", "ⓐⓓⓜⓘⓝ"),
            ("file1", "ﬁle①"),
            ("k", "\u{212a}"),
            ("ΟΔΟΣ", "οδος"),
            ("ΟΔΟΣ", "οδοσ"),
            ("カナ", "ｶﾅ"),
        ] {
            assert_eq!(key_of(one), key_of(other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_typed_is_kept_and_other_letters_stay_others() {
        assert_eq!(Username::parse("ＡＤＭＩＮ").unwrap().as_str(), "ＡＤＭＩＮ");
        for (one, other) in [("a", "ä"), ("admin", "аdmin"), ("strasse", "straße"), ("a.b", "ab")]
        {
            assert_ne!(key_of(one), key_of(other), "{one} {other}");
        }
    }

    proptest! {
        /// A key is no more different from itself, and no longer than a database's key may be.
        #[test]
        fn a_key_is_its_own_key(text in "\\w{1,150}") {
            let once = key(&text);
            prop_assert_eq!(key(&once), once.clone());
            prop_assert!(once.chars().count() <= 18 * text.chars().count());
        }
    }
}
