//! Passwords: which new ones are accepted, and what storage keeps of them.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{Email, Username};
use crate::secret::Secret;

pub mod forms;
mod similarity;
pub mod words;

use similarity::is_similar;
use words::ServiceWords;

/// The longest password, in bytes of UTF-8. Bounds what a request makes the server hash.
pub const MAX_PASSWORD: usize = 1024;

/// The most common passwords of eight characters and more, in lower case.
static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// The operator's rules for new passwords.
#[derive(Clone, Debug)]
pub struct PasswordPolicy {
    /// The smallest number of characters, counted as Unicode scalar values.
    pub min_length: usize,
    /// Words that are refused as passwords, decorated or not.
    pub words: ServiceWords,
}

/// Why a new password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordProblem {
    /// Fewer characters than [`PasswordPolicy::min_length`].
    TooShort,
    /// More than [`MAX_PASSWORD`] bytes.
    TooLong,
    /// Among the ten thousand most common passwords.
    TooCommon,
    /// Digits alone.
    EntirelyNumeric,
    /// Similar to the email address, its local part or another part of it.
    SimilarToEmail,
    /// Similar to the user name or a part of it.
    SimilarToUsername,
    /// One or two of [`PasswordPolicy::words`] and nothing else but digits and symbols.
    SimilarToService,
}

/// A password that passed every rule and may be hashed and stored.
#[derive(Clone, Debug)]
pub struct NewPassword(Secret<String>);

impl NewPassword {
    /// Checks `password`, untrimmed, for a user with this address and name, where they are known.
    ///
    /// # Errors
    /// A wrong length alone, or else every other rule that it breaks.
    pub fn check(
        password: &Secret<String>,
        policy: &PasswordPolicy,
        email: Option<&Email>,
        username: Option<&Username>,
    ) -> Result<Self, Vec<PasswordProblem>> {
        let text = password.expose();
        if text.len() > MAX_PASSWORD {
            return Err(vec![PasswordProblem::TooLong]);
        }
        if text.chars().count() < policy.min_length {
            return Err(vec![PasswordProblem::TooShort]);
        }
        let lower = Secret::new(text.to_lowercase());
        let similar_to_email = email.is_some_and(|email| {
            // A local part with a dot is not among the words of the address.
            [email.as_str(), email.local_part()].iter().any(|text| is_similar(&lower, text))
        });
        let similar_to_username =
            username.is_some_and(|username| is_similar(&lower, username.as_str()));
        let is_numeric = text.chars().all(char::is_numeric);
        let rules = [
            (COMMON.contains(lower.expose().as_str()), PasswordProblem::TooCommon),
            (is_numeric, PasswordProblem::EntirelyNumeric),
            (similar_to_email, PasswordProblem::SimilarToEmail),
            (similar_to_username, PasswordProblem::SimilarToUsername),
            (policy.words.make_up(lower.expose()), PasswordProblem::SimilarToService),
        ];
        let problems: Vec<_> =
            rules.into_iter().filter_map(|(broken, problem)| broken.then_some(problem)).collect();
        if problems.is_empty() { Ok(Self(password.clone())) } else { Err(problems) }
    }

    /// The password itself, for comparison.
    pub fn as_secret(&self) -> &Secret<String> {
        &self.0
    }

    /// The password itself, for hashing.
    pub fn into_secret(self) -> Secret<String> {
        self.0
    }
}

/// An Argon2id hash in PHC string format: the form in which a password is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a PHC string (`$argon2id$v=19$m=…`).
    pub fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[password hash]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PasswordProblem::{
        EntirelyNumeric, SimilarToEmail, SimilarToService, SimilarToUsername, TooCommon, TooLong,
        TooShort,
    };

    fn problems(password: &str, email: &str, username: &str) -> Vec<PasswordProblem> {
        let email = Email::parse(email).unwrap();
        let username = Username::parse(username).ok();
        let mut policy = PasswordPolicy { min_length: 8, words: ServiceWords::new() };
        policy.words.add("latchkey");
        let password = Secret::new(password.to_owned());
        NewPassword::check(&password, &policy, Some(&email), username.as_ref())
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn each_rule_refuses_what_it_is_for() {
        let email = "margaret@example.com";
        for (password, expected) in [
            ("correct horse battery", vec![]),
            ("  spaces count  ", vec![]),
            ("ñandú-añ", vec![]),
            ("ñandú-a", vec![TooShort]),
            ("", vec![TooShort]),
            ("Password1", vec![TooCommon]),
            ("12345678", vec![TooCommon, EntirelyNumeric]),
            ("92837465019283", vec![EntirelyNumeric]),
            ("MARGARET", vec![SimilarToEmail]),
            ("margaret@example.com", vec![SimilarToEmail]),
            ("xx-Margaret-xx", vec![SimilarToEmail]),
            ("teragram", vec![SimilarToEmail]),
            ("t@example.co", vec![SimilarToEmail]),
            ("margaret goes to the market", vec![]),
            ("peggypeg", vec![SimilarToUsername]),
            ("peggy-loves-me", vec![]),
            ("L4tchkey-2026", vec![SimilarToService]),
            ("peggy's latchkey", vec![]),
            ("L4tchkey in my pocket", vec![]),
        ] {
            assert_eq!(problems(password, email, "Peggy"), expected, "{password}");
        }
        assert_eq!(problems(&"é".repeat(513), email, ""), [TooLong]);
        assert_eq!(problems(&"é".repeat(512), email, ""), []);
    }

    #[test]
    fn the_list_holds_ten_thousand_lower_case_lines() {
        assert_eq!(COMMON.len(), 10_000);
        let is_allowed =
            |line: &&'static str| line.chars().count() >= 8 && **line == line.to_lowercase();
        assert!(COMMON.iter().all(is_allowed));
    }
}
