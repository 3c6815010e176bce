//! The page where a new password is chosen, and what it says of one that will not do.

use crate::domain::Email;
use crate::domain::password::MAX_PASSWORD;
use crate::http::field_errors::{FieldErrors, FieldProblem, NON_FIELD};
use crate::secret::Secret;

/// The page where a new password is chosen.
///
/// Its form has the fields `token`, `new_password`, `confirm_password`, and `username`, which is
/// there for password managers alone and not to be believed.
#[derive(Debug)]
pub(crate) struct ResetPage<'a> {
    pub(crate) email: &'a Email,
    /// The reset ticket; the form sends it on.
    pub(crate) token: &'a Secret<String>,
    /// In characters.
    pub(crate) min_length: usize,
    /// What is wrong with what was sent; nothing at first.
    pub(crate) problems: FieldErrors,
}

impl ResetPage<'_> {
    /// What a person is told of the new password and of its repetition. What is wrong with the
    /// ticket is for another page: [`Notice::BadResetLink`](super::Notice::BadResetLink).
    pub(super) fn advice(&self) -> [Vec<String>; 2] {
        let of = |field| self.problems.problems_of(field).iter();
        let differ = of(NON_FIELD).filter(|problem| **problem == FieldProblem::PasswordsDiffer);
        [
            of("new_password").map(advice_on).collect(),
            of("confirm_password").chain(differ).map(advice_on).collect(),
        ]
    }
}

fn advice_on(problem: &FieldProblem) -> String {
    match problem {
        FieldProblem::Required | FieldProblem::Null | FieldProblem::Blank => {
            "Please fill this in.".to_owned()
        }
        FieldProblem::TooShort { min_characters } => {
            format!("This is too short: use at least {min_characters} characters.")
        }
        FieldProblem::PasswordTooLong => {
            format!("This is too long: use at most {MAX_PASSWORD} bytes.")
        }
        FieldProblem::TooCommon => "This is one of the most common passwords.".to_owned(),
        FieldProblem::EntirelyNumeric => "This contains only digits.".to_owned(),
        FieldProblem::SimilarToEmail => "This is too similar to your address.".to_owned(),
        FieldProblem::SimilarToUsername => "This is too similar to your user name.".to_owned(),
        FieldProblem::PasswordsDiffer | FieldProblem::NewPasswordsDiffer => {
            "The two passwords are not the same.".to_owned()
        }
        other => other.to_string(),
    }
}
