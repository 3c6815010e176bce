//! User names: optional, shown to others, unique without regard to letter case and to the forms
//! in which Unicode has the same letter more than once.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::UnicodeNormalization as _;

use super::invisible::{self, is_invisible};

/// The longest user name, in characters.
pub const MAX_USERNAME: usize = 150;

/// A user name: letters and digits of any script, and `@ . + - _`, without invisible characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    text: String,
    key: String,
}

/// Why a text is not a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsernameProblem {
    /// It is empty or has characters that are not allowed.
    Invalid,
    /// It has more than [`MAX_USERNAME`] characters.
    TooLong,
}

impl Username {
    /// Reads a user name. White space and invisible characters at its ends are cut off. A name with
    /// decomposed letters is composed (NFC), since marks alone are not allowed.
    pub fn parse(text: &str) -> Result<Self, UsernameProblem> {
        let is_allowed = |c: char| (c.is_alphanumeric() || "@.+-_".contains(c)) && !is_invisible(c);
        let text = invisible::trim(text);
        let is_composed = text.chars().all(is_allowed);
        let text = if is_composed { text.to_owned() } else { text.nfc().collect() };
        if text.chars().nth(MAX_USERNAME).is_some() {
            return Err(UsernameProblem::TooLong);
        }
        if text.is_empty() || !text.chars().all(is_allowed) {
            return Err(UsernameProblem::Invalid);
        }
        Ok(Self { key: key(&text), text })
    }

    /// The name as typed, but for [what is cut off and composed](Self::parse).
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form that equal names share: lower case, in Unicode's compatibility form (NFKC), so that
    /// nobody passes for `admin` as `ａｄｍｉｎ`. Similar letters of different scripts stay apart.
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
        f.write_str(&self.text)
    }
}

impl Serialize for Username {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Username {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // A stored name may be older than the rules by which new ones are read.
        Ok(Self { key: key(&text), text })
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
        for text in ["", "a b", "a/b", "a\0", "<a>", "a\u{200b}b", "😀", "\u{301}", "x\u{301}"] {
            assert_eq!(Username::parse(text), Err(UsernameProblem::Invalid), "{text:?}");
        }
        assert_eq!(Username::parse(&"ä".repeat(151)), Err(UsernameProblem::TooLong));
    }

    /// U+3164 and its like are letters to Unicode, and `admin` with one looked like `admin`.
    #[test]
    fn invisible_letters_are_cut_off_at_the_ends_and_refused_elsewhere() {
        for c in
            ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{13441}', '\u{13442}', '\u{202a}']
        {
            for text in [format!("admin{c}"), format!("{c}{c}admin "), format!(" {c} admin{c}{c}")]
            {
                assert_eq!(Username::parse(&text).unwrap().as_str(), "admin", "{text:?}");
            }
            for text in [format!("ad{c}min"), c.to_string()] {
                assert_eq!(Username::parse(&text), Err(UsernameProblem::Invalid), "{text:?}");
            }
        }
    }

    #[test]
    fn decomposed_letters_are_composed() {
        let name = Username::parse("Zoe\u{308}").unwrap();
        assert_eq!((name.as_str(), name.key()), ("Zo\u{eb}", "zo\u{eb}"));
        assert!(Username::parse(&"e\u{301}".repeat(MAX_USERNAME)).is_ok());
        // NFC takes this letter apart into one that is allowed and a mark that is not.
        assert_eq!(Username::parse("\u{958}").unwrap().as_str(), "\u{958}");
    }

    #[test]
    fn stored_names_are_read_as_they_are() {
        for stored in ["admin\u{3164}", "\u{3164}", "Zo\u{eb}"] {
            let name: Username = serde_json::from_value(stored.into()).unwrap();
            assert_eq!((name.as_str(), name.key()), (stored, key(stored).as_str()));
        }
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
        /// What is given out is accepted again, as the same.
        #[test]
        fn a_name_is_read_the_same_again(text in "[\\w\\p{M}\u{3164}\u{200b} ]{1,20}") {
            if let Ok(name) = Username::parse(&text) {
                prop_assert_eq!(Username::parse(name.as_str()), Ok(name));
            }
        }

        /// A key is no more different from itself, and no longer than a database's key may be.
        #[test]
        fn a_key_is_its_own_key(text in "\\w{1,150}") {
            let once = key(&text);
            prop_assert_eq!(key(&once), once.clone());
            prop_assert!(once.chars().count() <= 18 * text.chars().count());
        }
    }
}
