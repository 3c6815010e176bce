//! Email addresses: what is accepted, and what counts as the same one.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest address that is accepted, in characters (RFC 5321 with its erratum 1690).
pub const MAX_EMAIL: usize = 254;

/// The longest label of a domain, in bytes (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

/// An email address: as it was typed, and as it is compared.
///
/// The rule is that of HTML's `<input type=email>`, with the dots of a local part where RFC 5322
/// wants them (as Django has it), and with internationalised domains by way of their ASCII form.
/// As with both of these, a local part may have more than the 64 bytes that every mail server takes
/// (RFC 5321, section 4.5.3.1.1): whether one takes it is its own affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    typed: String,
    key: String,
}

/// Why a text is no email address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailProblem {
    /// It has not the form of one.
    Invalid,
    /// It has more than [`MAX_EMAIL`] characters.
    TooLong,
}

impl Email {
    /// Reads an address that has been trimmed.
    ///
    /// # Errors
    /// [`EmailProblem`] says why the text is none.
    pub fn parse(text: &str) -> Result<Self, EmailProblem> {
        if text.chars().nth(MAX_EMAIL).is_some() {
            return Err(EmailProblem::TooLong);
        }
        let (local_part, domain) = text.rsplit_once('@').ok_or(EmailProblem::Invalid)?;
        let domain = ascii_domain(domain).ok_or(EmailProblem::Invalid)?;
        if !is_dot_atom(local_part) || !is_host_name(&domain) {
            return Err(EmailProblem::Invalid);
        }
        let key = format!("{}@{domain}", local_part.to_ascii_lowercase());
        if key.len() > MAX_EMAIL {
            return Err(EmailProblem::TooLong);
        }
        Ok(Self { typed: text.to_owned(), key })
    }

    /// The address as it was typed.
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// What makes two addresses the same: lower case, the domain in its ASCII form.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The part before the `@`, as it was typed.
    pub fn local_part(&self) -> &str {
        self.typed.rsplit_once('@').map_or("", |(local_part, _)| local_part)
    }

    /// The address as mail servers take it: the local part as typed, the domain in ASCII.
    pub fn deliverable(&self) -> String {
        let domain = self.key.rsplit_once('@').map_or("", |(_, domain)| domain);
        format!("{}@{domain}", self.local_part())
    }
}

/// The domain in lower-case ASCII (UTS 46), or none if it has no such form.
fn ascii_domain(domain: &str) -> Option<String> {
    if domain.is_ascii() {
        let domain = domain.to_ascii_lowercase();
        if !domain.contains("xn--") {
            return Some(domain);
        }
    }
    idna::domain_to_ascii(domain).ok()
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
        f.write_str(&self.typed)
    }
}

impl Serialize for Email {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.typed)
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(|_| serde::de::Error::custom("not an email address"))
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
            "a@b.org\n",
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
    fn letter_case_and_the_form_of_the_domain_make_no_difference() {
        let keys = ["Foo@Bücher.Example", "foo@xn--bcher-kva.example", "FOO@BÜCHER.example"]
            .map(|text| Email::parse(text).unwrap().key().to_owned());
        assert_eq!(
            keys,
            ["foo@xn--bcher-kva.example", "foo@xn--bcher-kva.example", "foo@xn--bcher-kva.example"]
        );
        let email = Email::parse("Foo@Bücher.Example").unwrap();
        assert_eq!(email.as_str(), "Foo@Bücher.Example");
        assert_eq!(email.deliverable(), "Foo@xn--bcher-kva.example");
    }
}
