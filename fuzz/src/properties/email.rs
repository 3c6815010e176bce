//! Email addresses, against the rule of HTML's `<input type=email>`.

use std::sync::LazyLock;

use latchkey::domain::{Email, invisible};
use regex::Regex;

/// The most characters of an address. (The limits in these properties are written out, and not
/// taken from what they check.)
const MAX_EMAIL: usize = 254;

/// A valid email address as the HTML Living Standard has it, section 4.10.5.1.5.
static HTML: LazyLock<Regex> = LazyLock::new(|| {
    let atoms = "[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+";
    let label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
    Regex::new(&format!("^{atoms}@{label}(?:\\.{label})*$")).unwrap()
});

/// Where the rule of this program differs from HTML's, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A local part that begins or ends with a dot, or has two in a row, is refused: RFC 5322 does
    /// not allow it, and mail servers do not take it.
    LooseDots,
    /// An address of more than 254 characters is refused: RFC 5321 does not allow it.
    TooLong,
    /// A domain that is not in ASCII, or says that it stands for one that is not (`xn--`), counts
    /// as its ASCII form and is refused if it has none. Browsers put the ASCII form in its place
    /// before HTML's rule is asked, and ask `xn--` nothing.
    ForeignDomain,
}

/// Whether HTML's rule accepts `text` as it stands.
pub fn html_accepts(text: &str) -> bool {
    HTML.is_match(text)
}

/// Which difference, if any, decides about `text` where HTML's rule alone does not.
pub fn difference(text: &str) -> Option<Difference> {
    let (local_part, domain) = text.rsplit_once('@').unwrap_or((text, ""));
    let is_foreign = !domain.is_ascii() || domain.to_ascii_lowercase().contains("xn--");
    if text.chars().count() > MAX_EMAIL {
        Some(Difference::TooLong)
    } else if is_foreign {
        Some(Difference::ForeignDomain)
    } else if local_part.split('.').any(str::is_empty) {
        Some(Difference::LooseDots)
    } else {
        None
    }
}

/// Whatever the bytes, an address is accepted if and only if HTML's rule accepts it, but for the
/// [`Difference`]s; and what is accepted is one address however it is written.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = Email::parse(text);
    let text = invisible::trim(text);
    assert_eq!(Email::parse(text), parsed, "{text:?}");
    match difference(text) {
        None => assert_eq!(parsed.is_ok(), html_accepts(text), "{text:?}"),
        Some(Difference::LooseDots | Difference::TooLong) => assert!(parsed.is_err(), "{text:?}"),
        Some(Difference::ForeignDomain) => {}
    }
    let Ok(email) = parsed else { return };

    let given_out = email.as_str();
    assert!(!given_out.contains(|c: char| c.is_control() || c.is_whitespace()), "{text:?}");
    assert!(!given_out.contains(invisible::is_invisible), "{text:?}");
    assert!(given_out.chars().count() <= MAX_EMAIL, "{text:?}");
    assert_eq!(Email::parse(given_out).as_ref(), Ok(&email), "{text:?}");
    assert!(email.key().len() <= MAX_EMAIL, "{text:?}");
    assert_eq!(email.key(), email.key().to_ascii_lowercase(), "{text:?}");
    assert_eq!(email.key(), email.deliverable().to_ascii_lowercase(), "{text:?}");
    assert!(html_accepts(email.key()), "{:?} of {text:?}", email.key());
    let (local_part, _) = text.rsplit_once('@').unwrap();
    assert_eq!(email.local_part(), local_part);

    let other_case = text.to_ascii_uppercase();
    for same in [email.key(), &email.deliverable(), &other_case] {
        let again = Email::parse(same).unwrap_or_else(|error| panic!("{error:?} {same:?}"));
        assert_eq!(again.key(), email.key(), "{same:?} of {text:?}");
    }
    let stored = serde_json::to_string(&email).unwrap();
    assert_eq!(serde_json::from_str::<Email>(&stored).unwrap(), email);
}
