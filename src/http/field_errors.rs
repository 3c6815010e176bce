//! What can be wrong with a field, in the words that clients know.

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::domain::password::MAX_PASSWORD;
use crate::domain::{EmailProblem, PasswordPolicy, PasswordProblem, UsernameProblem};
use crate::domain::{email::MAX_EMAIL, username::MAX_USERNAME};
use crate::store::Taken;

/// The field that stands for a problem of no single field.
pub(super) const NON_FIELD: &str = "non_field_errors";

/// One problem; its `Display` is the message that the client gets. Characters are Unicode scalar
/// values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FieldProblem {
    #[error("This field is required.")]
    Required,
    #[error("This field may not be null.")]
    Null,
    #[error("This field may not be blank.")]
    Blank,
    #[error("Not a valid string.")]
    NotAString,
    #[error("Must be a valid boolean.")]
    NotABool,
    #[error("Null characters are not allowed.")]
    NullCharacters,
    #[error("Enter a valid email address.")]
    InvalidEmail,
    #[error(
        "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ \
         characters."
    )]
    InvalidUsername,
    #[error("Ensure this field has at least {min_characters} characters.")]
    TooShort { min_characters: usize },
    #[error("Ensure this field has no more than {max_characters} characters.")]
    TooLong { max_characters: usize },
    #[error("Ensure this field has no more than {MAX_PASSWORD} bytes.")]
    PasswordTooLong,
    #[error("This password is too common.")]
    TooCommon,
    #[error("This password is entirely numeric.")]
    EntirelyNumeric,
    #[error("The password is too similar to the email.")]
    SimilarToEmail,
    #[error("The password is too similar to the username.")]
    SimilarToUsername,
    #[error("The password is too similar to a word of this service.")]
    SimilarToService,
    #[error("user with this email already exists.")]
    EmailTaken,
    #[error("A user with that username already exists.")]
    UsernameTaken,
    /// At register and reset.
    #[error("Passwords don't match")]
    PasswordsDiffer,
    /// At change-password.
    #[error("New passwords don't match.")]
    NewPasswordsDiffer,
    #[error("New password must be different from current password.")]
    SameAsCurrent,
    #[error("Incorrect current password")]
    IncorrectCurrent,
    /// The reset ticket is unknown, used, superseded or expired.
    #[error("Invalid or expired reset token")]
    InvalidResetToken,
    /// At deletion.
    #[error("Incorrect password")]
    IncorrectPassword,
    /// The verification ticket is unknown, void or expired.
    #[error("Invalid or expired verification token")]
    InvalidVerificationToken,
    /// At login.
    #[error("Cookies are not enabled.")]
    CookiesDisabled,
    /// The whole body is `null`.
    #[error("No data provided")]
    NoData,
    /// The whole body is JSON, but no object: the name of what it is, as clients of the original
    /// know it, which is Python's.
    #[error("Invalid data. Expected a dictionary, but got {0}.")]
    NotADictionary(&'static str),
}

impl Serialize for FieldProblem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<EmailProblem> for FieldProblem {
    fn from(problem: EmailProblem) -> Self {
        match problem {
            EmailProblem::Invalid => Self::InvalidEmail,
            EmailProblem::TooLong => Self::TooLong { max_characters: MAX_EMAIL },
        }
    }
}

impl From<UsernameProblem> for FieldProblem {
    fn from(problem: UsernameProblem) -> Self {
        match problem {
            UsernameProblem::Invalid => Self::InvalidUsername,
            UsernameProblem::TooLong => Self::TooLong { max_characters: MAX_USERNAME },
        }
    }
}

/// The problems of all fields, in the order they were found: `{"field": ["message", …]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(Vec<(&'static str, Vec<FieldProblem>)>);

impl FieldErrors {
    /// A single problem of one field.
    pub(super) fn of(field: &'static str, problem: FieldProblem) -> Self {
        Self(vec![(field, vec![problem])])
    }

    /// A single problem of no one field, for when every field is good by itself.
    pub(super) fn non_field(problem: FieldProblem) -> Self {
        Self::of(NON_FIELD, problem)
    }

    /// Adds a problem of `field`, after those it has.
    pub(super) fn add(&mut self, field: &'static str, problem: FieldProblem) {
        match self.0.iter_mut().find(|(name, _)| *name == field) {
            Some((_, problems)) => problems.push(problem),
            None => self.0.push((field, vec![problem])),
        }
    }

    /// Adds everything that is wrong with a new password.
    pub(super) fn add_password(
        &mut self,
        field: &'static str,
        problems: &[PasswordProblem],
        policy: &PasswordPolicy,
    ) {
        for problem in problems {
            self.add(
                field,
                match problem {
                    PasswordProblem::TooShort => {
                        FieldProblem::TooShort { min_characters: policy.min_length }
                    }
                    PasswordProblem::TooLong => FieldProblem::PasswordTooLong,
                    PasswordProblem::TooCommon => FieldProblem::TooCommon,
                    PasswordProblem::EntirelyNumeric => FieldProblem::EntirelyNumeric,
                    PasswordProblem::SimilarToEmail => FieldProblem::SimilarToEmail,
                    PasswordProblem::SimilarToUsername => FieldProblem::SimilarToUsername,
                    PasswordProblem::SimilarToService => FieldProblem::SimilarToService,
                },
            );
        }
    }

    /// Adds what someone else has already.
    pub(super) fn add_taken(&mut self, taken: Taken) {
        if taken.email {
            self.add("email", FieldProblem::EmailTaken);
        }
        if taken.username {
            self.add("username", FieldProblem::UsernameTaken);
        }
    }

    /// The problems of `field`, in the order they were found.
    pub fn problems_of(&self, field: &str) -> &[FieldProblem] {
        let found = self.0.iter().find(|(name, _)| *name == field);
        found.map_or(&[], |(_, problems)| problems)
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for FieldErrors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(field, problems)| (field, problems)))
    }
}
