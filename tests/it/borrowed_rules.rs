//! Rules that are others' too, held to tables that `.ci/interop/` asks those others about.
//!
//! What counts as an email address, beside HTML's `<input type=email>`: the same, but for three
//! differences that are named here. `email_rule.tsv` has an address for each turn of both rules.
//! When a password is too similar to an address or a name: as Django has it.
//! `password_similarity.tsv` has cases of all kinds.

use std::collections::BTreeSet;

use latchkey::domain::password::words::ServiceWords;
use latchkey::domain::{Email, NewPassword, PasswordPolicy, PasswordProblem, Username};
use latchkey::secret::Secret;

use crate::properties::email::{Difference, check, difference, html_accepts};

struct Row {
    text: &'static str,
    html: &'static str,
    ours: &'static str,
    why: &'static str,
}

fn rows() -> Vec<Row> {
    let table = include_str!("email_rule.tsv");
    let lines = table.lines().filter(|line| !line.starts_with("# "));
    lines
        .map(|line| {
            let cells: Vec<_> = line.split('\t').collect();
            let [text, html, ours, why] = cells[..] else { panic!("{line}") };
            Row { text, html, ours, why }
        })
        .collect()
}

#[test]
fn the_rule_is_that_of_html_but_for_three_differences() {
    for Row { text, html, ours, why } in rows() {
        assert_eq!(html_accepts(text), html == "yes", "HTML: {text}");
        assert_eq!(Email::parse(text).is_ok(), ours == "yes", "{text}");
        let named = match difference(text) {
            None => "same",
            Some(Difference::LooseDots) if html == "no" => "same",
            Some(Difference::LooseDots) => "loose dots",
            Some(Difference::TooLong) => "too long",
            Some(Difference::ForeignDomain) => "foreign domain",
        };
        assert_eq!(named, why, "{text}");
        assert!(html == ours || why != "same", "{text}");
        check(text.as_bytes());
    }
}

/// A table that has lost its rows would agree with anything.
#[test]
fn the_table_has_both_answers_and_every_difference() {
    let kinds: BTreeSet<_> = rows().iter().map(|row| (row.why, row.html, row.ours)).collect();
    assert_eq!(
        kinds,
        BTreeSet::from([
            ("same", "yes", "yes"),
            ("same", "no", "no"),
            ("loose dots", "yes", "no"),
            ("too long", "yes", "no"),
            ("foreign domain", "as ASCII", "yes"),
            ("foreign domain", "yes", "yes"),
            ("foreign domain", "yes", "no"),
        ])
    );
}

/// What the rule finds `password` similar to, in the words of the table.
fn similar_to(email: &str, username: &str, password: &str) -> String {
    let email = Email::parse(email).unwrap();
    let username = (!username.is_empty()).then(|| Username::parse(username).unwrap());
    let policy = PasswordPolicy { min_length: 8, words: ServiceWords::new() };
    let password = Secret::new(password.to_owned());
    let checked = NewPassword::check(&password, &policy, Some(&email), username.as_ref());
    let found: Vec<_> = (checked.err().unwrap_or_default().into_iter())
        .filter_map(|problem| match problem {
            PasswordProblem::SimilarToEmail => Some("email"),
            PasswordProblem::SimilarToUsername => Some("username"),
            _ => None,
        })
        .collect();
    if found.is_empty() { "nothing".to_owned() } else { found.join(" ") }
}

#[test]
fn passwords_are_similar_as_django_has_it() {
    let table = include_str!("password_similarity.tsv");
    let mut verdicts = BTreeSet::new();
    for line in table.lines().filter(|line| !line.starts_with("# ")) {
        let cells: Vec<_> = line.split('\t').collect();
        let [email, username, password, verdict] = cells[..] else { panic!("{line}") };
        assert_eq!(similar_to(email, username, password), verdict, "{line}");
        verdicts.insert(verdict);
    }
    // A table that has lost its rows would agree with anything.
    assert_eq!(verdicts, BTreeSet::from(["email", "nothing", "username"]));
}
