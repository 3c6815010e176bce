//! The forms in which a typed password is compared with the stored one.
//!
//! Keyboards differ in the code points that they send for one letter: `ü` comes as one code point
//! (NFC) or as two (NFD, common on macOS), and Option+Space types a no-break space. A password is
//! hashed as typed when it is set, so each later attempt is tried in these forms as well (compare
//! RFC 8265, section 4.2).

use unicode_normalization::UnicodeNormalization as _;

use super::MAX_PASSWORD;
use crate::secret::Secret;

/// The most forms that a password has.
pub const MAX_FORMS: usize = 3;

/// `password` as typed, then in NFC and in NFD with each no-break space as a space, without
/// repetitions and without forms above [`MAX_PASSWORD`] bytes. The first is always as typed.
///
/// How many there are depends on `password` alone, so it tells nothing about the account.
pub fn forms(password: &Secret<String>) -> Vec<Secret<String>> {
    let mut forms = vec![password.clone()];
    if password.expose().is_ascii() {
        return forms;
    }
    for form in [composed(password), decomposed(password)] {
        let is_known = forms.iter().any(|known| known.expose() == form.expose());
        if !is_known && form.expose().len() <= MAX_PASSWORD {
            forms.push(form);
        }
    }
    forms
}

/// Whether both are the same password to the person typing: they have the same NFC form.
pub fn is_same(one: &Secret<String>, other: &Secret<String>) -> bool {
    composed(one).expose() == composed(other).expose()
}

fn composed(password: &Secret<String>) -> Secret<String> {
    collect(password, spaced(password).nfc())
}

fn decomposed(password: &Secret<String>) -> Secret<String> {
    collect(password, spaced(password).nfd())
}

fn spaced(password: &Secret<String>) -> impl Iterator<Item = char> {
    password.expose().chars().map(|c| if c == '\u{a0}' { ' ' } else { c })
}

fn collect(password: &Secret<String>, form: impl Iterator<Item = char>) -> Secret<String> {
    // Neither form has more than three times the bytes (UAX 15, section 12), so the text is never
    // moved, which would leave a copy that is not wiped.
    let mut text = String::with_capacity(3 * password.expose().len());
    text.extend(form);
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn exposed(text: &str) -> Vec<String> {
        forms(&secret(text)).iter().map(|form| form.expose().clone()).collect()
    }

    #[test]
    fn each_form_that_differs_is_tried_once() {
        for (typed, others) in [
            ("correct horse", &[][..]),
            ("日本語のパスワ", &["日本語のハ\u{309a}スワ"]),
            ("caf\u{e9}", &["cafe\u{301}"]),
            ("cafe\u{301}", &["caf\u{e9}"]),
            ("caf\u{e9} u\u{308}", &["caf\u{e9} \u{fc}", "cafe\u{301} u\u{308}"]),
            ("a\u{a0}b", &["a b"]),
            ("caf\u{e9}\u{a0}x", &["caf\u{e9} x", "cafe\u{301} x"]),
            // Not the compatibility forms: they would make one password of many.
            ("ｆｉｖｅ ﬁ", &[]),
        ] {
            let mut expected = vec![typed];
            expected.extend(others);
            assert_eq!(exposed(typed), expected, "{typed:?}");
        }
    }

    #[test]
    fn a_form_above_the_longest_password_is_left_out() {
        let typed = "\u{e9}".repeat(MAX_PASSWORD / 3);
        assert_eq!(exposed(&typed).len(), 2);
        let typed = "\u{e9}".repeat(MAX_PASSWORD / 3 + 1);
        assert_eq!(exposed(&typed), [typed]);
    }

    #[test]
    fn a_password_is_the_same_in_each_of_its_forms() {
        for other in ["Z\u{fc}rich Caf\u{e9}", "Zu\u{308}rich\u{a0}Cafe\u{301}"] {
            assert!(is_same(&secret("Z\u{fc}rich Cafe\u{301}"), &secret(other)), "{other:?}");
        }
        assert!(!is_same(&secret("Zurich Cafe"), &secret("Z\u{fc}rich Caf\u{e9}")));
        assert!(!is_same(&secret("five"), &secret("ｆｉｖｅ")));
    }

    proptest! {
        /// A password set in either normal form is among the forms of the other, and no text has
        /// more than three forms.
        #[test]
        fn either_normal_form_is_tried_for_the_other(text in "\\PC{0,40}") {
            let [nfc, nfd] = [composed, decomposed].map(|form| form(&secret(&text)));
            prop_assert!(exposed(nfd.expose()).contains(nfc.expose()));
            prop_assert!(exposed(nfc.expose()).contains(nfd.expose()));
            for typed in [&text, nfc.expose(), nfd.expose()] {
                let forms = exposed(typed);
                prop_assert!((1..=MAX_FORMS).contains(&forms.len()));
                prop_assert_eq!(&forms[0], typed);
            }
        }
    }
}
