//! What counts as an email address, beside HTML's `<input type=email>`: the same, but for three
//! differences that are named here. `email_rule.tsv` has an address for each turn of both rules;
//! `.ci/interop/test_email_rule.py` asks a browser about every one of them.

use std::collections::BTreeSet;

use latchkey::domain::Email;

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
