//! The words of a service, which a guesser tries first.

use std::collections::{BTreeMap, BTreeSet};

/// The fewest characters of a word.
const SHORTEST: usize = 3;

/// Words that no password may consist of, however decorated, by their first letters.
#[derive(Clone, Debug, Default)]
pub struct ServiceWords(BTreeMap<char, BTreeSet<String>>);

impl ServiceWords {
    /// No words.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds the words of `phrase`: its runs of letters and digits, and all of it, with and without
    /// what separates them. Texts with fewer than three characters or without a letter are skipped.
    pub fn add(&mut self, phrase: &str) {
        let phrase = phrase.trim().to_lowercase();
        let parts: Vec<&str> = phrase.split(|c: char| !c.is_alphanumeric()).collect();
        let joined = parts.concat();
        let all = parts.into_iter().chain([joined.as_str(), phrase.as_str()]);
        for word in all.filter(|word| is_word(word)) {
            let first = word.chars().next().unwrap_or_default();
            self.0.entry(first).or_default().insert(word.to_owned());
        }
    }

    /// Whether `password`, in lower case, is one of the words or two of them, with nothing but
    /// digits and symbols before, between and after them. A digit or symbol also counts as a letter
    /// that it often stands for.
    ///
    /// The time grows with the length of the password, and with the number of words that begin as
    /// parts of it do.
    pub(super) fn make_up(&self, password: &str) -> bool {
        self.make_up_by(password, can_be)
    }

    fn make_up_by(&self, password: &str, can_be: impl CanBe) -> bool {
        let once = self.ends(password, &BTreeSet::from([0]), can_be);
        let twice = self.ends(password, &once, can_be);
        let decoration = password.trim_end_matches(|c| can_be(c, None)).len();
        once.last().max(twice.last()).is_some_and(|end| *end >= decoration)
    }

    /// The places in `password` where a word can end that begins at one of `starts`, or after
    /// decoration there.
    fn ends(
        &self,
        password: &str,
        starts: &BTreeSet<usize>,
        can_be: impl CanBe,
    ) -> BTreeSet<usize> {
        let mut ends = BTreeSet::new();
        let mut is_start = false;
        for (place, c) in password.char_indices() {
            is_start |= starts.contains(&place);
            if is_start {
                let rest = password.get(place..).unwrap_or_default();
                let words = self.0.iter().filter(|(first, _)| can_be(c, Some(**first)));
                let words = words.flat_map(|(_, words)| words);
                let after = words.filter_map(|word| after_word(rest, word, can_be));
                ends.extend(after.map(|rest| password.len() - rest.len()));
                is_start = can_be(c, None);
            }
        }
        ends
    }
}

/// [`can_be`], or a test that counts.
trait CanBe: Fn(char, Option<char>) -> bool + Copy {}
impl<F: Fn(char, Option<char>) -> bool + Copy> CanBe for F {}

/// Whether `text` can be a word: it has three characters, and a letter among them.
pub fn is_word(text: &str) -> bool {
    text.chars().count() >= SHORTEST && text.contains(char::is_alphabetic)
}

/// What follows `word` at the start of `text`.
fn after_word<'t>(text: &'t str, word: &str, can_be: impl CanBe) -> Option<&'t str> {
    let mut rest = text.chars();
    let is_read = word.chars().all(|letter| rest.next().is_some_and(|c| can_be(c, Some(letter))));
    is_read.then_some(rest.as_str())
}

/// Whether a character of a password can be this letter of a word, or decoration for `None`.
fn can_be(written: char, letter: Option<char>) -> bool {
    let Some(letter) = letter else { return !written.is_alphabetic() };
    let substitutes = match letter {
        'a' => "4@",
        'b' => "8",
        'e' => "3",
        'g' => "69",
        'i' | 'l' => "1!|",
        'o' => "0",
        's' => "5$",
        't' => "7+",
        'z' => "2",
        _ => "",
    };
    written == letter || substitutes.contains(written)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn words(phrases: &[&str]) -> ServiceWords {
        let mut words = ServiceWords::new();
        phrases.iter().for_each(|phrase| words.add(phrase));
        words
    }

    #[test]
    fn a_decorated_word_or_two_of_them_are_refused_and_nothing_that_holds_more() {
        let words = words(&["Latchkey", "my-app", "ibm", "Größe"]);
        for password in [
            "latchkey",
            "latchkey2026!",
            "!!latchkey",
            "l4tchk3y",
            "1@7chk3y1",
            "11@tchkey",
            "123ibm123",
            "my-app-2026",
            "myapp2026",
            "latchkeylatchkey",
            "latchkey-myapp!",
            "ibm_l4tchk3y",
            "größe123",
        ] {
            assert!(words.make_up(password), "{password}");
        }
        for password in [
            "",
            "12345678",
            "latchke1",
            "latchkeys",
            "the latchkey",
            "latchkey latchkey latchkey",
            "ibm under the bridge",
            "correct horse battery",
            "lütchkey",
        ] {
            assert!(!words.make_up(password), "{password}");
        }
        assert!(!ServiceWords::new().make_up("latchkey"));
    }

    #[test]
    fn what_is_too_short_or_has_no_letter_is_no_word() {
        let words = words(&["a b", "co", "2026", "x-1"]);
        assert_eq!(words.0.into_values().flatten().collect::<Vec<_>>(), ["a b", "x-1"]);
    }

    /// The time was quadratic in the length of a password of symbols, and took no token to spend.
    #[test]
    fn the_steps_grow_with_the_length_of_the_password_and_no_faster() {
        let words = words(&["lll", "lil", "ill", "iii", "latchkey"]);
        let per_place = "li lll lil ill iii latchkey -".len();
        for part in ["1", "l", "1l", "lll-", "1a", "-", "latchkey", "é1"] {
            let password = part.repeat(1024 / part.len());
            for password in [format!("{password}xyz"), password] {
                let steps = Cell::new(0);
                words.make_up_by(&password, |written, letter| {
                    steps.set(steps.get() + 1);
                    can_be(written, letter)
                });
                assert!(steps.get() <= 2 * per_place * password.len(), "{part}: {steps:?}");
            }
        }
        assert!(words.make_up(&"1".repeat(1024)));
        assert!(!words.make_up(&format!("{}xyz", "1".repeat(1024))));
    }
}
