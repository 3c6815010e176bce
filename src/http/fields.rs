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
pub struct Fields {
    values: BTreeMap<String, Value>,
}

/// The value of a field.
#[derive(Debug)]
pub(super) enum Value {
    /// JSON's `null`.
    Null,
    /// A string.
    Text(Secret<String>),
    /// `true` or `false`.
    Bool(bool),
    /// Any other JSON: no reader accepts it, so its value is not kept.
    Other,
}

/// A field as it was sent.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    /// It is not there.
    Absent,
    /// It is `null`.
    Null,
    /// It is a bool, a number, a list or an object.
    WrongType,
    /// It is a string.
    Text(&'a Secret<String>),
}

impl Fields {
    /// The fields of these names.
    pub(super) const fn new(values: BTreeMap<String, Value>) -> Self {
        Self { values }
    }

    /// Sets a field; of a repeated one the last value counts.
    pub(super) fn set(&mut self, name: String, value: Value) {
        self.values.insert(name, value);
    }

    /// Whether the field is there, `null` included: a PATCH changes only what it names.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Whether the field holds nothing: it is absent, `null`, or a text of blanks alone.
    pub fn is_blank(&self, name: &str) -> bool {
        match self.text(name) {
            Field::Absent | Field::Null => true,
            Field::Text(text) => invisible::trim(text.expose()).is_empty(),
            Field::WrongType => false,
        }
    }

    /// The field as it was sent.
    pub fn text(&self, name: &str) -> Field<'_> {
        match self.values.get(name) {
            None => Field::Absent,
            Some(Value::Null) => Field::Null,
            Some(Value::Bool(_) | Value::Other) => Field::WrongType,
            Some(Value::Text(text)) => Field::Text(text),
        }
    }

    /// A text without surrounding white space; empty where there is none.
    pub(super) fn trimmed(&self, name: &str) -> Secret<String> {
        match self.text(name) {
            Field::Text(text) => Secret::new(text.expose().trim().to_owned()),
            Field::Absent | Field::Null | Field::WrongType => Secret::new(String::new()),
        }
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
    pub errors: FieldErrors,
}

impl Form<'_> {
    /// See [`Fields::has`].
    pub fn has(&self, name: &str) -> bool {
        self.fields.has(name)
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
        let text = self.required(name)?;
        let email = Email::parse(text.expose());
        email.map_err(|problem| self.errors.add(name, problem.into())).ok()
    }

    /// A user name, or `Some(None)` where the field is absent, `null` or blank. `None` if there is
    /// something wrong with it.
    pub fn optional_username(&mut self, name: &'static str) -> Option<Option<Username>> {
        if self.fields.is_blank(name) {
            return Some(None);
        }
        let text = self.required(name)?;
        let username = Username::parse(text.expose());
        username.map(Some).map_err(|problem| self.errors.add(name, problem.into())).ok()
    }

    /// `true` or `false` in JSON; `false` where it is absent. A form field is never one: a form
    /// may come from any page of the web.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        let problem = match self.fields.values.get(name) {
            None => return Some(false),
            Some(Value::Bool(flag)) => return Some(*flag),
            Some(Value::Null) => FieldProblem::Null,
            Some(Value::Text(_) | Value::Other) => FieldProblem::NotABool,
        };
        self.errors.add(name, problem);
        None
    }
}

impl<'a> Form<'a> {
    /// The rules that hold for every required text.
    fn required(&mut self, name: &'static str) -> Option<&'a Secret<String>> {
        let problem = match self.fields.text(name) {
            Field::Absent => FieldProblem::Required,
            Field::Null => FieldProblem::Null,
            Field::WrongType => FieldProblem::NotAString,
            Field::Text(text) if text.expose().trim().is_empty() => FieldProblem::Blank,
            Field::Text(text) if text.expose().contains('\0') => FieldProblem::NullCharacters,
            Field::Text(text) => return Some(text),
        };
        self.errors.add(name, problem);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::field_errors::NON_FIELD;
    use crate::http::input;
    use hyper::HeaderMap;
    use hyper::body::Bytes;
    use hyper::header::{CONTENT_TYPE, HeaderValue};

    fn fields(json: &str) -> Fields {
        let json_type = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json_type)]);
        input::read(&headers, &Bytes::copy_from_slice(json.as_bytes())).unwrap()
    }

    /// The body `{"f": VALUE}`, or `{}` for an empty value.
    fn with(value: &str) -> Fields {
        fields(&if value.is_empty() { "{}".to_owned() } else { format!(r#"{{"f": {value}}}"#) })
    }

    fn error_of<T>(value: &str, read: impl Fn(&mut Form<'_>, &'static str) -> Option<T>) -> String {
        let errors = match with(value).form(|form| read(form, "f")) {
            Ok(_) => FieldErrors::default(),
            Err(ApiError::Fields(errors)) => errors,
            Err(other) => panic!("{value}: {other:?}"),
        };
        serde_json::to_value(&errors).unwrap()["f"]
            .as_array()
            .map(|messages| {
                assert_eq!(messages.len(), 1, "one message for {value}");
                messages[0].as_str().unwrap().to_owned()
            })
            .unwrap_or_default()
    }

    const REQUIRED: &str = "This field is required.";
    const NULL: &str = "This field may not be null.";
    const BLANK: &str = "This field may not be blank.";
    const NOT_A_STRING: &str = "Not a valid string.";
    const NUL: &str = "Null characters are not allowed.";
    const INVALID_EMAIL: &str = "Enter a valid email address.";
    const NAME: &str = "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.";

    #[test]
    fn every_required_text_is_held_to_the_same_rules() {
        for (value, message) in [
            ("", REQUIRED),
            ("null", NULL),
            (r#""""#, BLANK),
            (r#"" \t\u3000 ""#, BLANK),
            ("true", NOT_A_STRING),
            ("12345678901234567890", NOT_A_STRING),
            ("1.5", NOT_A_STRING),
            ("[]", NOT_A_STRING),
            (r#"["a@example.com"]"#, NOT_A_STRING),
            ("{}", NOT_A_STRING),
            (r#""a\u0000b""#, NUL),
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
    fn emails() {
        let long = format!(r#""{}""#, "a".repeat(300));
        for (value, message) in [
            (r#""a@example.com""#, ""),
            (r#""a""#, INVALID_EMAIL),
            (r#""a@b@c""#, INVALID_EMAIL),
            (long.as_str(), "Ensure this field has no more than 254 characters."),
        ] {
            assert_eq!(error_of(value, |form, name| form.email(name)), message, "{value}");
        }
        let email = with(r#"" A@Example.com\n""#).form(|form| form.email("f"));
        assert_eq!(email.unwrap().as_str(), "A@example.com");
    }

    #[test]
    fn usernames_are_optional() {
        let long = format!(r#""{}""#, "ä".repeat(151));
        for (value, message) in [
            (r#""Žofie.x""#, ""),
            ("", ""),
            ("null", ""),
            (r#""""#, ""),
            (r#""  ""#, ""),
            ("5", NOT_A_STRING),
            ("[]", NOT_A_STRING),
            (r#""a\u0000""#, NUL),
            (r#""a b""#, NAME),
            (long.as_str(), "Ensure this field has no more than 150 characters."),
        ] {
            assert_eq!(
                error_of(value, |form, name| form.optional_username(name)),
                message,
                "{value}"
            );
        }
        let read = |value: &str| {
            let username = with(value).form(|form| form.optional_username("f")).unwrap();
            username.map(|username| username.as_str().to_owned())
        };
        assert_eq!(read(r#"" ann ""#).as_deref(), Some("ann"));
        for value in ["", "null", r#""""#, r#""  ""#] {
            assert_eq!(read(value), None, "{value}");
        }
    }

    #[test]
    fn flags_are_bools_and_off_where_absent() {
        const NOT_A_BOOL: &str = "Must be a valid boolean.";
        for (value, message) in [
            ("", ""),
            ("true", ""),
            ("false", ""),
            ("null", NULL),
            (r#""true""#, NOT_A_BOOL),
            (r#""""#, NOT_A_BOOL),
            ("1", NOT_A_BOOL),
            ("0", NOT_A_BOOL),
            ("[]", NOT_A_BOOL),
            ("[true]", NOT_A_BOOL),
            ("{}", NOT_A_BOOL),
        ] {
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
        assert_eq!(
            error_of(&of_length(1026), |form, name| form.password(name)),
            "Ensure this field has no more than 1024 bytes."
        );
    }

    #[test]
    fn tokens_are_trimmed() {
        let token = with(r#"" t o k ""#).form(|form| form.token("f")).unwrap();
        assert_eq!(token.expose(), "t o k");
    }

    #[test]
    fn all_errors_of_all_fields_come_together() {
        let fields = fields(r#"{"email": null, "password": 1, "username": "a b"}"#);
        let refused = fields.form(|form| {
            let email = form.email("email");
            let password = form.password("password");
            let repeated = form.password("password_confirm");
            let username = form.optional_username("username");
            Some((email?, password?, repeated?, username?))
        });
        let Err(ApiError::Fields(errors)) = refused else { panic!("{refused:?}") };
        assert_eq!(
            serde_json::to_string(&errors).unwrap(),
            format!(
                r#"{{"email":["{NULL}"],"password":["{NOT_A_STRING}"],"password_confirm":["{REQUIRED}"],"username":["{NAME}"]}}"#
            )
        );
        assert!(!fields.has(NON_FIELD) && fields.has("email") && !fields.has("password_confirm"));
    }

    #[test]
    fn debug_shows_no_value() {
        let fields = fields(r#"{"password": "hunter2 hunter2"}"#);
        let shown = format!("{fields:?} {:?}", fields.text("password"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
