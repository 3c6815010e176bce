//! When a password is too similar to an address or a name: as Django has it.
//! `password_similarity.tsv` has cases of all kinds; `.ci/interop/test_password_similarity.py` asks
//! Django about every one of them.

use std::collections::BTreeSet;

use latchkey::domain::password::words::ServiceWords;
use latchkey::domain::{Email, NewPassword, PasswordPolicy, PasswordProblem, Username};
use latchkey::secret::Secret;

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
