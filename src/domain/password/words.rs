//! The words of a service, which a guesser tries first.

use std::collections::BTreeSet;

/// The fewest characters of a word.
const SHORTEST: usize = 3;

/// Words that no password may consist of, however decorated.
#[derive(Clone, Debug, Default)]
pub struct ServiceWords(BTreeSet<String>);

impl ServiceWords {
    /// No words.
    pub const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// Adds the words of `phrase`: its runs of letters and digits, and all of it, with and without
    /// what separates them. Texts with fewer than three characters or without a letter are skipped.
    pub fn add(&mut self, phrase: &str) {
        let phrase = phrase.trim().to_lowercase();
        let parts: Vec<&str> = phrase.split(|c: char| !c.is_alphanumeric()).collect();
        let joined = parts.concat();
        let all = parts.into_iter().chain([joined.as_str(), phrase.as_str()]);
        self.0.extend(all.filter(|word| is_word(word)).map(str::to_owned));
    }

    /// Whether `password`, in lower case, is one of the words or two of them, with nothing but
    /// digits and symbols before, between and after them. A digit or symbol also counts as a letter
    /// that it often stands for.
    pub(super) fn make_up(&self, password: &str) -> bool {
        let once = self.ends(password, &BTreeSet::from([0]));
        let twice = self.ends(password, &once);
        let is_end = |end: &usize| password.get(*end..).is_some_and(is_decoration);
        once.iter().chain(&twice).any(is_end)
    }

    /// The places in `password` where a word can end that begins at one of `starts`, or after
    /// decoration there.
    fn ends(&self, password: &str, starts: &BTreeSet<usize>) -> BTreeSet<usize> {
        let starts: BTreeSet<usize> =
            starts.iter().flat_map(|start| after_decoration(password, *start)).collect();
        let rests = starts.iter().filter_map(|start| password.get(*start..));
        let after = rests.flat_map(|rest| self.0.iter().filter_map(|word| after_word(rest, word)));
        after.map(|rest| password.len() - rest.len()).collect()
    }
}

/// Whether `text` can be a word: it has three characters, and a letter among them.
pub fn is_word(text: &str) -> bool {
    text.chars().count() >= SHORTEST && text.contains(char::is_alphabetic)
}

fn is_decoration(text: &str) -> bool {
    !text.contains(char::is_alphabetic)
}

/// `start`, and every place up to the first letter after it.
fn after_decoration(text: &str, start: usize) -> impl Iterator<Item = usize> {
    let rest = text.get(start..).unwrap_or_default();
    let symbols = rest.chars().take_while(|c| !c.is_alphabetic());
    let ends = symbols.scan(start, |end, symbol| {
        *end += symbol.len_utf8();
        Some(*end)
    });
    std::iter::once(start).chain(ends)
}

/// What follows `word` at the start of `text`.
fn after_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let mut rest = text.chars();
    let is_read = word.chars().all(|letter| rest.next().is_some_and(|c| stands_for(c, letter)));
    is_read.then_some(rest.as_str())
}

fn stands_for(written: char, letter: char) -> bool {
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
        assert_eq!(Vec::from_iter(words.0), ["a b", "x-1"]);
    }

    #[test]
    fn a_long_password_of_symbols_is_judged_in_time_that_grows_with_its_length() {
        let words = words(&["lll", "lil", "ill", "iii"]);
        let symbols = "1".repeat(1024);
        assert!(words.make_up(&symbols));
        assert!(!words.make_up(&format!("{symbols}xyz")));
    }
}
