//! Whether a password is too similar to what others know of its owner.
//!
//! The rule is that of Django's `UserAttributeSimilarityValidator`: the `quick_ratio` of Python's
//! `difflib.SequenceMatcher`, an upper bound of how much two texts have in common in one order. It
//! compares which characters they have and how often, so a reversed name is as similar as the name
//! itself, and a long phrase that contains a name is not.

use std::collections::HashMap;

use crate::secret::Secret;

/// Whether a password in lower case is similar to `text` or to one of its words. No word of fewer
/// than five characters is similar to a password of eight.
///
/// The time grows with the length of both.
pub(super) fn is_similar(lower_password: &Secret<String>, text: &str) -> bool {
    let password = Counts::of(lower_password.expose());
    let text = text.to_lowercase();
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.chain([text.as_str()]).any(|part| are_similar(&password, &Counts::of(part)))
}

/// How often a text has each character.
struct Counts {
    of: HashMap<char, usize>,
    total: usize,
}

impl Counts {
    fn of(text: &str) -> Self {
        let mut counts = Self { of: HashMap::new(), total: 0 };
        for c in text.chars() {
            *counts.of.entry(c).or_default() += 1;
            counts.total += 1;
        }
        counts
    }
}

/// Whether seven tenths of the characters of both texts together have a counterpart in the other.
fn are_similar(one: &Counts, other: &Counts) -> bool {
    let in_both = |(c, count): (&char, &usize)| one.of.get(c).map_or(0, |most| *count.min(most));
    let common: usize = other.of.iter().map(in_both).sum();
    20 * common >= 7 * (one.total + other.total)
}
