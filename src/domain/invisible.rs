//! Characters that nobody sees, and texts without them at their ends.
//!
//! Programs put them round what people copy (Windows puts bidirectional marks round an address),
//! and with them one name can pass for another.

/// `Default_Ignorable_Code_Point` of the Unicode Character Database (`DerivedCoreProperties.txt`),
/// unchanged since Unicode 9; and blanks that are neither that nor `White_Space`: U+2800, U+13441,
/// U+13442, U+16FE4 and U+1D159.
const INVISIBLE: [(char, char); 21] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{13441}', '\u{13442}'),
    ('\u{16fe4}', '\u{16fe4}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d159}', '\u{1d159}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether `c` shows nothing by itself and is not white space.
pub fn is_invisible(c: char) -> bool {
    // The first of them is beyond ASCII.
    !c.is_ascii() && INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// `text` without the white space and the invisible characters at its ends.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_trimmed_and_nothing_else() {
        for (text, trimmed) in [
            ("a@b", "a@b"),
            (" \u{202a}a@b\u{202c}\t", "a@b"),
            ("\u{feff}a\u{200b}b\u{e007f}\u{fe0f}", "a\u{200b}b"),
            ("\u{3164} \u{2800}\u{16fe4}\u{1d159}", ""),
            ("", ""),
        ] {
            assert_eq!(trim(text), trimmed, "{text:?}");
        }
    }

    /// The tables behind `idna` know which characters a domain loses.
    #[test]
    fn what_domains_lose_is_invisible() {
        let is_lost =
            |c: &char| idna::domain_to_ascii(&format!("a{c}b")).is_ok_and(|domain| domain == "ab");
        let lost: Vec<char> = ('\u{80}'..=char::MAX).filter(is_lost).collect();
        assert!(lost.len() > 200, "{}", lost.len());
        assert!(lost.iter().all(|c| is_invisible(*c)), "{lost:?}");
    }

    #[test]
    fn letters_marks_and_white_space_are_not_invisible() {
        for c in "a0@.+-_éあ\u{301}\u{a0}\u{2028}\u{20dd}\u{ac00}\u{93c}".chars() {
            assert!(!is_invisible(c), "{c:?}");
        }
    }
}
