//! User names: which there are, and which of them are the same.

use latchkey::domain::{Username, invisible};

/// The most characters of a name.
const MAX_USERNAME: usize = 150;

/// Whatever the bytes, a user name is accepted if and only if it has the allowed characters and
/// length; and it stays the same name in other letter cases, and when it is read again.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = Username::parse(text);
    let text = invisible::trim(text);
    let is_allowed = |c: char| {
        (c.is_alphabetic() || c.is_numeric() || matches!(c, '@' | '.' | '+' | '-' | '_'))
            && !invisible::is_invisible(c)
    };
    let is_fit = |text: &str| {
        (1..=MAX_USERNAME).contains(&text.chars().count()) && text.chars().all(is_allowed)
    };
    // Marks are allowed where they make a letter with what is before them.
    if is_fit(text) || text.is_ascii() {
        assert_eq!(parsed.is_ok(), is_fit(text), "{text:?}");
    }
    let Ok(name) = parsed else { return };

    assert!(is_fit(name.as_str()), "{text:?}");
    assert!(name.as_str() == text || !is_fit(text), "{text:?}");
    // The longest key that a database of ours is known to take in its stride.
    assert!(name.key().len() <= 18 * 4 * MAX_USERNAME, "{text:?}");
    let stored = serde_json::to_string(&name).unwrap();
    assert_eq!(serde_json::from_str::<Username>(&stored).unwrap(), name);
    // Some forms come apart into characters that no name may have, or not at its ends (U+FE72 into
    // a space and a mark); those are no names to compare.
    for same in [name.key().to_owned(), text.to_lowercase(), text.to_ascii_uppercase()] {
        let is_cut = invisible::trim(&same) != same;
        if let (Ok(again), false) = (Username::parse(&same), is_cut) {
            assert_eq!(again.key(), name.key(), "{same:?} of {text:?}");
        }
    }
}
