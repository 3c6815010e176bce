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
    pub(crate) problems: ResetProblems,
}

/// What is wrong with a form that was sent, field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResetProblems {
    pub(crate) new_password: Vec<FieldProblem>,
    pub(crate) confirm_password: Vec<FieldProblem>,
}

impl ResetProblems {
    pub(super) fn is_empty(&self) -> bool {
        self.new_password.is_empty() && self.confirm_password.is_empty()
    }
}

impl From<&FieldErrors> for ResetProblems {
    /// The problems of this form among those that a program would be told. What is wrong with the
    /// ticket is for another page: [`Notice::BadResetLink`](super::Notice::BadResetLink).
    fn from(errors: &FieldErrors) -> Self {
        let of_both = errors.problems_of(NON_FIELD).iter().copied();
        let differ = of_both.filter(|problem| *problem == FieldProblem::PasswordsDiffer);
        let of_repetition = errors.problems_of("confirm_password").iter().copied();
        Self {
            new_password: errors.problems_of("new_password").to_vec(),
            confirm_password: of_repetition.chain(differ).collect(),
        }
    }
}

/// What a person is told of the problems of one field.
pub(super) fn advice(problems: &[FieldProblem]) -> Vec<String> {
    let advice = problems.iter().map(|problem| match problem {
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
    });
    advice.collect()
}
