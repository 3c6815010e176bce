//! What can be wrong with a field, in the words that clients know.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::domain::password::MAX_PASSWORD;
use crate::domain::{EmailProblem, PasswordPolicy, PasswordProblem, UsernameProblem};
use crate::domain::{email::MAX_EMAIL, username::MAX_USERNAME};
use crate::store::Taken;

/// The field that stands for a problem of no single field.
pub const NON_FIELD: &str = "non_field_errors";

/// One problem; its `Display` is the message that the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldProblem {
    /// The field is absent.
    Required,
    /// It is `null`.
    Null,
    /// It is empty, or nothing but blanks.
    Blank,
    /// It is of another JSON type.
    NotAString,
    /// It is not `true` or `false`.
    NotABool,
    /// It contains U+0000.
    NullCharacters,
    /// It is no email address.
    InvalidEmail,
    /// It is no user name.
    InvalidUsername,
    /// It has too few characters, counted as Unicode scalar values.
    TooShort {
        /// The least that is accepted.
        min_characters: usize,
    },
    /// It has too many characters, counted as Unicode scalar values.
    TooLong {
        /// The most that is accepted.
        max_characters: usize,
    },
    /// It has more than [`MAX_PASSWORD`] bytes.
    PasswordTooLong,
    /// It is among the commonest passwords.
    TooCommon,
    /// It is a password of digits alone.
    EntirelyNumeric,
    /// It is a password too much like the email address.
    SimilarToEmail,
    /// It is a password too much like the user name.
    SimilarToUsername,
    /// It is a password made of the words of this service.
    SimilarToService,
    /// Another user has this address.
    EmailTaken,
    /// Another user has this name.
    UsernameTaken,
    /// At register and reset: the password and its repetition differ.
    PasswordsDiffer,
    /// At change-password: the new password and its repetition differ.
    NewPasswordsDiffer,
    /// At change-password: the new password is the current one.
    SameAsCurrent,
    /// The current password is another.
    IncorrectCurrent,
    /// The reset ticket is unknown, used, superseded or expired.
    InvalidResetToken,
    /// At deletion: the password is wrong.
    IncorrectPassword,
    /// The verification ticket is unknown, void or expired.
    InvalidVerificationToken,
    /// At login: a cookie is asked for, but cookies are switched off.
    CookiesDisabled,
    /// The whole body is `null`.
    NoData,
    /// The whole body is JSON, but no object.
    NotADictionary(JsonKind),
}

/// What a JSON value is where an object is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonKind {
    /// An array.
    List,
    /// A string.
    Text,
    /// A number without fraction and exponent.
    Integer,
    /// Any other number.
    Float,
    /// `true` or `false`.
    Bool,
}

impl JsonKind {
    /// The name by which clients of the original know it: Python's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Text => "str",
            Self::Integer => "int",
            Self::Float => "float",
            Self::Bool => "bool",
        }
    }
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort { min_characters } => {
                return write!(f, "Ensure this field has at least {min_characters} characters.");
            }
            Self::TooLong { max_characters } => {
                return write!(
                    f,
                    "Ensure this field has no more than {max_characters} characters."
                );
            }
            Self::PasswordTooLong => {
                return write!(f, "Ensure this field has no more than {MAX_PASSWORD} bytes.");
            }
            Self::NotADictionary(kind) => {
                let name = kind.name();
                return write!(f, "Invalid data. Expected a dictionary, but got {name}.");
            }
            Self::Required => "This field is required.",
            Self::Null => "This field may not be null.",
            Self::Blank => "This field may not be blank.",
            Self::NotAString => "Not a valid string.",
            Self::NotABool => "Must be a valid boolean.",
            Self::NullCharacters => "Null characters are not allowed.",
            Self::InvalidEmail => "Enter a valid email address.",
            Self::InvalidUsername => {
                "Enter a valid username. This value may contain only letters, numbers, and \
                 @/./+/-/_ characters."
            }
            Self::TooCommon => "This password is too common.",
            Self::EntirelyNumeric => "This password is entirely numeric.",
            Self::SimilarToEmail => "The password is too similar to the email.",
            Self::SimilarToUsername => "The password is too similar to the username.",
            Self::SimilarToService => "The password is too similar to a word of this service.",
            Self::EmailTaken => "user with this email already exists.",
            Self::UsernameTaken => "A user with that username already exists.",
            Self::PasswordsDiffer => "Passwords don't match",
            Self::NewPasswordsDiffer => "New passwords don't match.",
            Self::SameAsCurrent => "New password must be different from current password.",
            Self::IncorrectCurrent => "Incorrect current password",
            Self::InvalidResetToken => "Invalid or expired reset token",
            Self::IncorrectPassword => "Incorrect password",
            Self::InvalidVerificationToken => "Invalid or expired verification token",
            Self::CookiesDisabled => "Cookies are not enabled.",
            Self::NoData => "No data provided",
        })
    }
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

impl FieldProblem {
    /// What `problem` is called under `policy`.
    pub const fn of_password(problem: PasswordProblem, policy: &PasswordPolicy) -> Self {
        match problem {
            PasswordProblem::TooShort => Self::TooShort { min_characters: policy.min_length },
            PasswordProblem::TooLong => Self::PasswordTooLong,
            PasswordProblem::TooCommon => Self::TooCommon,
            PasswordProblem::EntirelyNumeric => Self::EntirelyNumeric,
            PasswordProblem::SimilarToEmail => Self::SimilarToEmail,
            PasswordProblem::SimilarToUsername => Self::SimilarToUsername,
            PasswordProblem::SimilarToService => Self::SimilarToService,
        }
    }
}

/// The problems of all fields, in the order they were found: `{"field": ["message", …]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors {
    fields: Vec<(&'static str, Vec<FieldProblem>)>,
}

impl FieldErrors {
    /// A single problem of one field.
    pub fn of(field: &'static str, problem: FieldProblem) -> Self {
        Self { fields: vec![(field, vec![problem])] }
    }

    /// A single problem of no one field, for when every field is good by itself.
    pub fn non_field(problem: FieldProblem) -> Self {
        Self::of(NON_FIELD, problem)
    }

    /// Adds a problem of `field`, after those it has.
    pub fn add(&mut self, field: &'static str, problem: FieldProblem) {
        match self.fields.iter_mut().find(|(name, _)| *name == field) {
            Some((_, problems)) => problems.push(problem),
            None => self.fields.push((field, vec![problem])),
        }
    }

    /// Adds everything that is wrong with a new password.
    pub fn add_password(
        &mut self,
        field: &'static str,
        problems: &[PasswordProblem],
        policy: &PasswordPolicy,
    ) {
        for problem in problems {
            self.add(field, FieldProblem::of_password(*problem, policy));
        }
    }

    /// What someone else has already.
    pub fn taken(taken: Taken) -> Self {
        let mut errors = Self::default();
        errors.add_taken(taken);
        errors
    }

    /// Adds what someone else has already.
    pub fn add_taken(&mut self, taken: Taken) {
        if taken.email {
            self.add("email", FieldProblem::EmailTaken);
        }
        if taken.username {
            self.add("username", FieldProblem::UsernameTaken);
        }
    }

    /// The problems of `field`, in the order they were found.
    pub fn problems_of(&self, field: &str) -> &[FieldProblem] {
        let found = self.fields.iter().find(|(name, _)| *name == field);
        found.map_or(&[], |(_, problems)| problems)
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Nothing, if nothing is wrong.
    ///
    /// # Errors
    /// The problems themselves, if there are any.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl Serialize for FieldErrors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (field, problems) in &self.fields {
            map.serialize_entry(field, problems)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::password::words::ServiceWords;

    const POLICY: PasswordPolicy = PasswordPolicy { min_length: 8, words: ServiceWords::new() };

    #[test]
    fn every_problem_has_the_words_of_the_contract() {
        for (problem, message) in [
            (FieldProblem::Required, "This field is required."),
            (FieldProblem::Null, "This field may not be null."),
            (FieldProblem::Blank, "This field may not be blank."),
            (FieldProblem::NotAString, "Not a valid string."),
            (FieldProblem::NotABool, "Must be a valid boolean."),
            (FieldProblem::NullCharacters, "Null characters are not allowed."),
            (EmailProblem::Invalid.into(), "Enter a valid email address."),
            (EmailProblem::TooLong.into(), "Ensure this field has no more than 254 characters."),
            (
                UsernameProblem::Invalid.into(),
                "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.",
            ),
            (UsernameProblem::TooLong.into(), "Ensure this field has no more than 150 characters."),
            (FieldProblem::EmailTaken, "user with this email already exists."),
            (FieldProblem::UsernameTaken, "A user with that username already exists."),
            (FieldProblem::PasswordsDiffer, "Passwords don't match"),
            (FieldProblem::NewPasswordsDiffer, "New passwords don't match."),
            (FieldProblem::SameAsCurrent, "New password must be different from current password."),
            (FieldProblem::IncorrectCurrent, "Incorrect current password"),
            (FieldProblem::InvalidResetToken, "Invalid or expired reset token"),
            (FieldProblem::IncorrectPassword, "Incorrect password"),
            (FieldProblem::InvalidVerificationToken, "Invalid or expired verification token"),
            (FieldProblem::CookiesDisabled, "Cookies are not enabled."),
            (FieldProblem::NoData, "No data provided"),
        ] {
            assert_eq!(problem.to_string(), message);
        }
        for (kind, name) in [
            (JsonKind::List, "list"),
            (JsonKind::Text, "str"),
            (JsonKind::Integer, "int"),
            (JsonKind::Float, "float"),
            (JsonKind::Bool, "bool"),
        ] {
            assert_eq!(
                FieldProblem::NotADictionary(kind).to_string(),
                format!("Invalid data. Expected a dictionary, but got {name}.")
            );
        }
    }

    #[test]
    fn every_password_problem_has_the_words_of_the_contract() {
        for (problem, message) in [
            (PasswordProblem::TooShort, "Ensure this field has at least 8 characters."),
            (PasswordProblem::TooLong, "Ensure this field has no more than 1024 bytes."),
            (PasswordProblem::TooCommon, "This password is too common."),
            (PasswordProblem::EntirelyNumeric, "This password is entirely numeric."),
            (PasswordProblem::SimilarToEmail, "The password is too similar to the email."),
            (PasswordProblem::SimilarToUsername, "The password is too similar to the username."),
            (
                PasswordProblem::SimilarToService,
                "The password is too similar to a word of this service.",
            ),
        ] {
            assert_eq!(FieldProblem::of_password(problem, &POLICY).to_string(), message);
        }
        let longer = PasswordPolicy { min_length: 12, ..POLICY };
        let problem = FieldProblem::of_password(PasswordProblem::TooShort, &longer);
        assert_eq!(problem.to_string(), "Ensure this field has at least 12 characters.");
    }

    #[test]
    fn fields_keep_the_order_they_were_read_in_and_gather_their_messages() {
        let mut errors = FieldErrors::default();
        assert_eq!(errors.clone().into_result(), Ok(()));
        errors.add("password", FieldProblem::TooCommon);
        errors.add("email", FieldProblem::Required);
        errors.add_password("password", &[PasswordProblem::EntirelyNumeric], &POLICY);
        assert_eq!(
            serde_json::to_string(&errors).unwrap(),
            r#"{"password":["This password is too common.","This password is entirely numeric."],"email":["This field is required."]}"#
        );
        assert_eq!(errors.clone().into_result(), Err(errors));
    }
}
