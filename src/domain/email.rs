//! Email addresses: what is accepted, and what counts as the same one.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::invisible::{self, is_invisible};

/// The longest address that is accepted, in characters (RFC 5321 with its erratum 1690).
pub const MAX_EMAIL: usize = 254;

/// The longest label of a domain, in bytes (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

/// An email address: as it is given out, and as it is compared.
///
/// The rule is that of HTML's `<input type=email>`, with the dots of a local part where RFC 5322
/// wants them (as in Django), and with internationalised domains by way of their ASCII form. As with
/// both of these, a local part may have more than the 64 bytes that every mail server accepts
/// (RFC 5321, section 4.5.3.1.1): some servers do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    text: String,
    key: String,
}

/// Why a text is not an email address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailProblem {
    /// It does not have the form of one.
    Invalid,
    /// It has more than [`MAX_EMAIL`] characters.
    TooLong,
}

impl Email {
    /// Reads an address. White space and invisible characters at its ends are cut off; elsewhere
    /// they are refused.
    pub fn parse(text: &str) -> Result<Self, EmailProblem> {
        let text = invisible::trim(text);
        if text.chars().nth(MAX_EMAIL).is_some() {
            return Err(EmailProblem::TooLong);
        }
        if text.contains(is_invisible) {
            return Err(EmailProblem::Invalid);
        }
        Self::read(text)
    }

    /// Reads an address that may have been stored before invisible characters were refused: the
    /// mapping of the domain drops them.
    fn read(text: &str) -> Result<Self, EmailProblem> {
        let (local_part, domain) = text.rsplit_once('@').ok_or(EmailProblem::Invalid)?;
        let ascii = idna::domain_to_ascii(domain).map_err(|_| EmailProblem::Invalid)?;
        if !is_dot_atom(local_part) || !is_host_name(&ascii) {
            return Err(EmailProblem::Invalid);
        }
        let key = format!("{}@{ascii}", local_part.to_ascii_lowercase());
        if key.len() > MAX_EMAIL {
            return Err(EmailProblem::TooLong);
        }
        let mapped = if domain.is_ascii() { ascii } else { mapped_domain(ascii) };
        Ok(Self { text: format!("{local_part}@{mapped}"), key })
    }

    /// The address as it is given out: the local part as typed, the domain as UTS 46 maps it, which
    /// is in lower case (`Foo@Bücher.Example` is `Foo@bücher.example`).
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form that equal addresses share: lower case, the domain in ASCII.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The part before the `@`, as typed.
    pub fn local_part(&self) -> &str {
        self.text.rsplit_once('@').map_or("", |(local_part, _)| local_part)
    }

    /// The address that every mail server accepts: the local part as typed, the domain in ASCII.
    pub fn deliverable(&self) -> String {
        let domain = self.key.rsplit_once('@').map_or("", |(_, domain)| domain);
        format!("{}@{domain}", self.local_part())
    }
}

/// The mapped form of a domain in ASCII; the ASCII form itself where a letter of the other would
/// not be seen, or where the other does not lead back to it (a label that decodes to one that begins
/// with `xn--` does not).
fn mapped_domain(ascii: String) -> String {
    let (mapped, _) = idna::domain_to_unicode(&ascii);
    let leads_back = idna::domain_to_ascii(&mapped).is_ok_and(|again| again == ascii);
    if leads_back && !mapped.contains(is_invisible) { mapped } else { ascii }
}

fn is_dot_atom(local_part: &str) -> bool {
    let is_atom_byte = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?')
            || matches!(byte, b'^'..=b'`' | b'{'..=b'~')
    };
    local_part.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom_byte))
}

fn is_host_name(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.split('.').all(is_label)
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Email {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Self::read(&text).map_err(|_| serde::de::Error::custom("not an email address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_and_odd_addresses_are_accepted() {
        let long_label = format!("a@{}.org", "b".repeat(63));
        // The original has accounts with such addresses.
        let long_local_part = format!("{}@example.org", "a".repeat(65));
        for text in [
            "a@example.com",
            "a+b@example.com",
            "a.b-c_d@sub.example.co.uk",
            "a@localhost",
            "a@1.2.3.44",
            "!#$%&'*+/=?^_`{|}~-@example.com",
            "user@münchen.example",
            "user@xn--mnchen-3ya.example",
            &long_label,
            &long_local_part,
        ] {
            let accepted = Email::parse(text).is_ok();
            assert_eq!(accepted, text.contains('@'), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long_label = format!("a@{}.org", "b".repeat(64));
        for text in [
            "",
            "@",
            "a",
            "a@",
            "@b",
            "a b@c.org",
            "a@b c.org",
            "a@@b.org",
            "a@b@c.org",
            ".a@b.org",
            "a.@b.org",
            "a..b@c.org",
            "a@-b.org",
            "a@b-.org",
            "a@b..org",
            "a@.b.org",
            "a@b.org.",
            "\"a b\"@c.org",
            "ä@b.org",
            "a@[127.0.0.1]",
            "a@b_c.org",
            "a\0@b.org",
            "a@exam\u{ad}ple.org",
            "a@b\u{200b}.org",
            "a\u{200b}@b.org",
            "a@\u{2800}b.org",
            "a@b\u{16fe4}.org",
            "a@b\u{1d159}.org",
            "a@b \u{202c}.org",
            "a@xn--a.org",
            "<a@b.org>",
            &long_label,
        ] {
            assert_eq!(Email::parse(text), Err(EmailProblem::Invalid), "{text:?}");
        }
    }

    #[test]
    fn the_length_is_counted_in_characters_and_held_in_ascii_too() {
        let domain = ["a".repeat(63), "b".repeat(63), "c".repeat(58)].join(".");
        let longest = format!("{}@{domain}.x", "l".repeat(64));
        assert_eq!(longest.chars().count(), 253);
        assert!(Email::parse(&longest).is_ok());
        assert!(Email::parse(&format!("{longest}x")).is_ok());
        assert_eq!(Email::parse(&format!("{longest}xx")), Err(EmailProblem::TooLong));
        let local_part = "l".repeat(MAX_EMAIL - "@x.org".len());
        assert!(Email::parse(&format!("{local_part}@x.org")).is_ok());
        assert_eq!(Email::parse(&format!("{local_part}l@x.org")), Err(EmailProblem::TooLong));
    }

    #[test]
    fn what_surrounds_an_address_is_cut_off() {
        for text in [" a@b.org\n", "\u{202a}a@b.org\u{202c}", "\u{feff}a@b.org\u{200b}\u{3164}"] {
            assert_eq!(Email::parse(text), Email::parse("a@b.org"), "{text:?}");
        }
        for text in ["\u{202a}", " \u{200b} "] {
            assert_eq!(Email::parse(text), Err(EmailProblem::Invalid), "{text:?}");
        }
    }

    #[test]
    fn domains_are_given_out_in_their_mapped_form() {
        for (text, given_out) in [
            ("Ann.Lee@EXAMPLE.org", "Ann.Lee@example.org"),
            ("A@Bücher.Example", "A@bücher.example"),
            ("a@XN--Bcher-KVA.example", "a@xn--bcher-kva.example"),
            ("c@\u{ff45}\u{ff58}ample\u{3002}test", "c@example.test"),
            ("a@bu\u{308}cher.example", "a@bücher.example"),
            // What this decodes to begins with `xn--` and is no domain.
            ("a@XN--XN--brap-llla8\u{1ca}orrp-lll", "a@xn--xn--brap-llla8njorrp-lll"),
        ] {
            let email = Email::parse(text).unwrap();
            assert_eq!(email.as_str(), given_out, "{text:?}");
            assert_eq!(Email::parse(given_out), Ok(email), "{text:?}");
        }
    }

    /// Such addresses were accepted once, and stand in databases.
    #[test]
    fn stored_addresses_are_read_and_given_out_mapped_under_the_same_key() {
        for (stored, given_out, key) in [
            ("E@Example.test\u{200b}", "E@example.test", "e@example.test"),
            ("a@exam\u{ad}ple.test", "a@example.test", "a@example.test"),
            ("c@\u{ff45}xample.test", "c@example.test", "c@example.test"),
            ("a@ü\u{2800}.test", "a@xn--tda090r.test", "a@xn--tda090r.test"),
        ] {
            let email: Email = serde_json::from_value(stored.into()).unwrap();
            assert_eq!((email.as_str(), email.key()), (given_out, key), "{stored:?}");
        }
    }

    #[test]
    fn letter_case_and_the_form_of_the_domain_make_no_difference() {
        let keys = ["Foo@Bücher.Example", "foo@xn--bcher-kva.example", "FOO@BÜCHER.example"]
            .map(|text| Email::parse(text).unwrap().key().to_owned());
        assert_eq!(
            keys,
            ["foo@xn--bcher-kva.example", "foo@xn--bcher-kva.example", "foo@xn--bcher-kva.example"]
        );
        let email = Email::parse("Foo@Bücher.Example").unwrap();
        assert_eq!(email.as_str(), "Foo@bücher.example");
        assert_eq!(email.deliverable(), "Foo@xn--bcher-kva.example");
    }
}
