//! The fields of a request's body, and typed readers that collect what is wrong with them.
//!
//! A reader returns a value of the domain, or `None` after adding exactly one problem of that field
//! to the form's errors. So all errors of all fields come in one answer.

use std::collections::BTreeMap;

use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use crate::domain::password::MAX_PASSWORD;
use crate::domain::{Email, Username, invisible};
use crate::secret::Secret;

/// The fields of a body. Any of them may be a password, so every text is held as a secret.
#[derive(Debug, Default)]
pub struct Fields(pub(super) BTreeMap<String, Field>);

/// The value of a field.
#[derive(Debug)]
pub enum Field {
    /// JSON's `null`.
    Null,
    /// A string.
    Text(Secret<String>),
    /// `true` or `false`.
    Bool(bool),
    /// Any other JSON: no reader accepts it, so its value is not kept.
    Other,
}

impl Fields {
    /// The field as it was sent, if it was.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0.get(name)
    }

    /// Whether the field holds nothing: it is absent, `null`, or a text of blanks alone.
    pub(super) fn is_blank(&self, name: &str) -> bool {
        match self.get(name) {
            None | Some(Field::Null) => true,
            Some(Field::Text(text)) => invisible::trim(text.expose()).is_empty(),
            Some(Field::Bool(_) | Field::Other) => false,
        }
    }

    /// A text without surrounding white space; empty where there is none.
    pub(super) fn trimmed(&self, name: &str) -> Secret<String> {
        Secret::new(match self.get(name) {
            Some(Field::Text(text)) => text.expose().trim().to_owned(),
            _ => String::new(),
        })
    }

    /// The form that `read` makes of these fields. It is to call every reader before it gives up,
    /// so that the answer names the problems of all fields.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn form<T>(&self, read: impl FnOnce(&mut Form<'_>) -> Option<T>) -> Result<T, ApiError> {
        match self.partial_form(read) {
            (Some(value), errors) if errors.is_empty() => Ok(value),
            (None, errors) if errors.is_empty() => Err(ApiError::Internal),
            (_, errors) => Err(errors.into()),
        }
    }

    /// What `read` makes of these fields whether or not all of them are good, and the problems that
    /// were found.
    pub(super) fn partial_form<T>(
        &self,
        read: impl FnOnce(&mut Form<'_>) -> T,
    ) -> (T, FieldErrors) {
        let mut form = Form { fields: self, errors: FieldErrors::default() };
        (read(&mut form), form.errors)
    }
}

/// Reads typed values out of [`Fields`].
#[derive(Debug)]
pub struct Form<'a> {
    fields: &'a Fields,
    /// The problems that were found so far; a handler adds those of several fields together.
    pub(super) errors: FieldErrors,
}

impl<'a> Form<'a> {
    /// Whether the field is there, `null` included: a PATCH changes only what it names.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.get(name).is_some()
    }

    /// A token, without surrounding white space.
    pub fn token(&mut self, name: &'static str) -> Option<Secret<String>> {
        let text = self.required(name)?;
        Some(Secret::new(text.expose().trim().to_owned()))
    }

    /// A password, old or new: never trimmed, and no longer than anything that is hashed may be.
    /// Whether a new one is good enough is decided by
    /// [`NewPassword::check`](crate::domain::NewPassword::check).
    pub fn password(&mut self, name: &'static str) -> Option<Secret<String>> {
        let text = self.required(name)?;
        if text.expose().len() > MAX_PASSWORD {
            self.errors.add(name, FieldProblem::PasswordTooLong);
            return None;
        }
        Some(text.clone())
    }

    /// An email address.
    pub fn email(&mut self, name: &'static str) -> Option<Email> {
        let email = Email::parse(self.required(name)?.expose());
        email.map_err(|problem| self.errors.add(name, problem.into())).ok()
    }

    /// A user name, or `Some(None)` where the field is absent, `null` or blank. `None` if there is
    /// something wrong with it.
    pub fn optional_username(&mut self, name: &'static str) -> Option<Option<Username>> {
        if self.fields.is_blank(name) {
            return Some(None);
        }
        let username = Username::parse(self.required(name)?.expose());
        username.map(Some).map_err(|problem| self.errors.add(name, problem.into())).ok()
    }

    /// `true` or `false` in JSON; `false` where it is absent. A form field is never one: a form
    /// may come from any page of the web.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        let problem = match self.fields.get(name) {
            None => return Some(false),
            Some(Field::Bool(flag)) => return Some(*flag),
            Some(Field::Null) => FieldProblem::Null,
            Some(Field::Text(_) | Field::Other) => FieldProblem::NotABool,
        };
        self.errors.add(name, problem);
        None
    }

    /// The rules that hold for every required text.
    fn required(&mut self, name: &'static str) -> Option<&'a Secret<String>> {
        let problem = match self.fields.get(name) {
            None => FieldProblem::Required,
            Some(Field::Null) => FieldProblem::Null,
            Some(Field::Bool(_) | Field::Other) => FieldProblem::NotAString,
            Some(Field::Text(text)) if text.expose().trim().is_empty() => FieldProblem::Blank,
            Some(Field::Text(text)) if text.expose().contains('\0') => FieldProblem::NullCharacters,
            Some(Field::Text(text)) => return Some(text),
        };
        self.errors.add(name, problem);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::input;
    use hyper::HeaderMap;
    use hyper::body::Bytes;
    use hyper::header::{CONTENT_TYPE, HeaderValue};

    /// The body `{"f": VALUE}`, or `{}` for an empty value.
    fn with(value: &str) -> Fields {
        let field = if value.is_empty() { String::new() } else { format!(r#""f": {value}"#) };
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let body = Bytes::from(format!("{{{field}}}"));
        input::read(&HeaderMap::from_iter(headers), &body).unwrap()
    }

    /// The one message about the field, or nothing.
    fn error_of<T>(value: &str, read: impl Fn(&mut Form<'_>, &'static str) -> Option<T>) -> String {
        match with(value).form(|form| read(form, "f")) {
            Ok(_) => String::new(),
            Err(ApiError::Fields(errors)) => {
                assert_eq!(errors.problems_of("f").len(), 1, "one message for {value}");
                errors.problems_of("f")[0].to_string()
            }
            Err(other) => panic!("{value}: {other:?}"),
        }
    }

    const NULL: &str = "This field may not be null.";

    #[test]
    fn every_required_text_is_held_to_the_same_rules() {
        for (value, message) in [
            ("", "This field is required."),
            ("null", NULL),
            (r#""""#, "This field may not be blank."),
            (r#"" \t\u3000 ""#, "This field may not be blank."),
            ("true", "Not a valid string."),
            ("12345678901234567890", "Not a valid string."),
            (r#"["a@example.com"]"#, "Not a valid string."),
            (r#""a\u0000b""#, "Null characters are not allowed."),
        ] {
            assert_eq!(error_of(value, |form, name| form.email(name)), message, "email {value}");
            assert_eq!(
                error_of(value, |form, name| form.password(name)),
                message,
                "password {value}"
            );
            assert_eq!(error_of(value, |form, name| form.token(name)), message, "token {value}");
        }
    }

    #[test]
    fn flags_are_bools_and_off_where_absent() {
        for value in ["null", r#""true""#, r#""""#, "1", "0", "[]", "[true]", "{}"] {
            let message = if value == "null" { NULL } else { "Must be a valid boolean." };
            assert_eq!(error_of(value, |form, name| form.flag(name)), message, "{value}");
        }
        let read = |value: &str| with(value).form(|form| form.flag("f")).ok();
        assert_eq!([read(""), read("false"), read("true")], [false, false, true].map(Some));
    }

    #[test]
    fn passwords_are_never_trimmed_and_end_at_1024_bytes() {
        let read = |value: &str| with(value).form(|form| form.password("f")).unwrap();
        assert_eq!(read(r#""  two words ""#).expose(), "  two words ");
        let of_length = |bytes: usize| format!(r#""{}""#, "é".repeat(bytes / 2));
        assert_eq!(error_of(&of_length(1024), |form, name| form.password(name)), "");
        let too_long = "Ensure this field has no more than 1024 bytes.";
        assert_eq!(error_of(&of_length(1026), |form, name| form.password(name)), too_long);
    }

    #[test]
    fn other_texts_are_trimmed_and_a_username_may_be_blank() {
        let token = with(r#"" t o k ""#).form(|form| form.token("f")).unwrap();
        assert_eq!(token.expose(), "t o k");
        let email = with(r#"" A@Example.com\n""#).form(|form| form.email("f"));
        assert_eq!(email.unwrap().as_str(), "A@example.com");
        for (value, expected) in
            [(r#"" ann ""#, "ann"), ("", ""), ("null", ""), (r#""""#, ""), (r#""  ""#, "")]
        {
            let username = with(value).form(|form| form.optional_username("f")).unwrap();
            assert_eq!(username.as_ref().map_or("", Username::as_str), expected, "{value}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let shown = format!("{:?}", with(r#""hunter2 hunter2""#));
        assert!(shown.contains("Text") && !shown.contains("hunter2"), "{shown}");
    }
}
