//! Bodies: JSON and forms, against other readers of the same.

use std::collections::BTreeMap;

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use latchkey::domain::Email;
use latchkey::http::errors::ApiError;
use latchkey::http::fields::{Field, Fields, Form};
use latchkey::http::input;
use serde_json::Value;

/// The most bytes of a password.
const MAX_PASSWORD: usize = 1024;

/// What an error must never repeat. The seeds are full of it.
const SECRET: &str = "hunter2";

/// The fields that are read by every reader there is.
const NAMES: [&str; 6] = ["email", "password", "username", "token", "cookie", "refresh"];

/// Whatever the bytes, JSON and forms are read as others read them, an error repeats nothing of
/// them, and each typed reader either returns a value or names exactly one problem.
pub fn check(data: &[u8]) {
    check_json(data);
    check_form(data);
}

fn read(media_type: &'static str, body: &[u8]) -> Result<Fields, ApiError> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
    input::read(&headers, &Bytes::copy_from_slice(body))
}

fn check_json(body: &[u8]) {
    let expected = serde_json::from_slice::<Value>(body);
    match (read("application/json", body), expected) {
        (Ok(fields), Ok(Value::Object(object))) => {
            for (name, value) in &object {
                check_field(fields.get(name).unwrap(), value);
            }
            check_readers(&fields);
        }
        (Ok(_), Err(_)) if body.is_empty() => {}
        // What no field takes is read over: it has to be JSON by its grammar alone.
        (Ok(fields), Err(error)) => {
            let message = error.to_string();
            let is_grammatical =
                ["recursion limit", "number out of range", "surrogate", "hex escape"]
                    .iter()
                    .any(|reason| message.contains(reason));
            assert!(is_grammatical, "{message}");
            check_readers(&fields);
        }
        (Err(ApiError::Fields(errors)), Ok(value)) => {
            assert_eq!(serde_json::to_value(errors).unwrap(), not_an_object(&value, body));
        }
        (Err(ApiError::Fields(errors)), Err(_)) => {
            let list = serde_json::to_string(&errors).unwrap();
            let kinds = ["list", "str", "float", "int"];
            let is_told = |kind| list.contains(&format!("but got {kind}."));
            assert!(kinds.into_iter().any(is_told), "{list}");
        }
        (Err(ApiError::BadJson(message)), Err(_)) => {
            assert!(message.is_ascii() && message.len() < 120, "{message}");
            assert!(!message.contains(SECRET), "{message}");
        }
        (ours, theirs) => panic!("{ours:?} {theirs:?}"),
    }
}

fn check_field(field: &Field, value: &Value) {
    match (field, value) {
        (Field::Text(ours), Value::String(theirs)) => assert_eq!(ours.expose(), theirs),
        (Field::Null, Value::Null) => {}
        (Field::Bool(ours), Value::Bool(theirs)) => assert_eq!(ours, theirs),
        (Field::Other, Value::Number(_) | Value::Array(_) | Value::Object(_)) => {}
        (field, value) => panic!("{field:?} {value}"),
    }
}

fn not_an_object(value: &Value, body: &[u8]) -> Value {
    let is_float = body.iter().any(|byte| b".eE".contains(byte));
    let kind = match value {
        Value::Null => return serde_json::json!({"non_field_errors": ["No data provided"]}),
        Value::Array(_) => "list",
        Value::String(_) => "str",
        Value::Bool(_) => "bool",
        Value::Number(_) if is_float => "float",
        Value::Number(_) => "int",
        Value::Object(_) => panic!("an object was refused"),
    };
    let message = format!("Invalid data. Expected a dictionary, but got {kind}.");
    serde_json::json!({"non_field_errors": [message]})
}

fn check_form(body: &[u8]) {
    match (read("application/x-www-form-urlencoded", body), decoded_form(body)) {
        (Ok(fields), Some(expected)) => {
            for (name, value) in &expected {
                match fields.get(name) {
                    Some(Field::Text(text)) => assert_eq!(text.expose(), value, "{name:?}"),
                    other => panic!("{name:?}: {other:?}"),
                }
            }
            check_readers(&fields);
            let flag = fields.form(|form| form.flag("cookie"));
            assert!(!matches!(flag, Ok(true)), "a form has set a flag");
        }
        (Err(ApiError::BadForm), None) => {}
        (ours, theirs) => panic!("{ours:?} {theirs:?}"),
    }
}

/// A form as the URL standard has it (section 5.1), without its leniency about UTF-8: the last value
/// of each name.
fn decoded_form(body: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        fields.insert(percent_decoded(name)?, percent_decoded(value)?);
    }
    Some(fields)
}

fn percent_decoded(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let digits = text.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        let is_hex = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (byte, digits.filter(is_hex)) {
            (b'%', Some(digits)) => {
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                at += 2;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
        at += 1;
    }
    String::from_utf8(bytes).ok()
}

fn check_readers(fields: &Fields) {
    for name in NAMES {
        let sent = match fields.get(name) {
            Some(Field::Text(text)) => Some(text.expose().as_str()),
            _ => None,
        };
        let password = one_of(fields, name, |form| form.password(name));
        if let Some(password) = password {
            let password = password.expose();
            assert_eq!(Some(password.as_str()), sent, "a password was changed");
            assert!(password.len() <= MAX_PASSWORD && !password.contains('\0'));
            assert!(!password.trim().is_empty());
        }
        let token = one_of(fields, name, |form| form.token(name));
        assert!(token.is_none_or(|token| Some(token.expose().as_str()) == sent.map(str::trim)));
        let email = one_of(fields, name, |form| form.email(name));
        assert!(
            email.is_none_or(|email| sent.is_some_and(|sent| is_address_in(email.as_str(), sent)))
        );
        let username = one_of(fields, name, |form| form.optional_username(name));
        let named = username.flatten();
        assert!(named.is_none_or(|name| sent.is_some_and(|sent| is_all_of(name.as_str(), sent))));
        one_of(fields, name, |form| form.flag(name));
    }
}

/// Whether `text` is all that anybody sees of `sent`: at its ends no more is cut off than white space
/// and what is neither ASCII nor a letter or digit that shows.
fn is_all_of(text: &str, sent: &str) -> bool {
    let is_filler = |c| matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
    let is_cut =
        |c: char| c.is_whitespace() || !c.is_ascii() && (!c.is_alphanumeric() || is_filler(c));
    sent.split_once(text)
        .is_some_and(|(before, after)| before.chars().all(is_cut) && after.chars().all(is_cut))
}

/// Whether `email` is the address that was sent: its local part as it is, its domain perhaps mapped.
fn is_address_in(email: &str, sent: &str) -> bool {
    let local_part =
        |text: &str| text.rsplit_once('@').map(|(local_part, _)| local_part.to_owned());
    let (Some(ours), Some(theirs)) = (local_part(email), local_part(sent)) else { return false };
    let is_stable = Email::parse(email).is_ok_and(|again| again.as_str() == email);
    is_stable && is_all_of(&ours, &theirs)
}

/// What a reader returned; a problem in its place must be one alone, and of this field.
fn one_of<T>(
    fields: &Fields,
    name: &str,
    read: impl FnOnce(&mut Form<'_>) -> Option<T>,
) -> Option<T> {
    match fields.form(read) {
        Ok(value) => Some(value),
        Err(ApiError::Fields(errors)) => {
            assert_eq!(errors.problems_of(name).len(), 1, "{name}");
            None
        }
        Err(other) => panic!("{name}: {other:?}"),
    }
}
