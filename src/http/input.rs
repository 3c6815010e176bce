//! Bodies: from JSON or a form to [`Fields`].
//!
//! Neither form is kept: texts go straight into custody as secrets, and whatever no field takes
//! (numbers, lists, objects) is read over without being built. Nested values therefore need no
//! depth limit: serde_json reads over them without recursion.

use std::fmt;

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use percent_encoding::percent_decode;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem, JsonKind};
use super::fields::{Fields, Value};
use crate::secret::Secret;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Reads the fields of a body. An empty body has none, whatever type it claims to be; of a
/// repeated field the last value counts. JSON is UTF-8 whatever `charset` says (RFC 8259,
/// section 8.1).
///
/// # Errors
/// A body of another type or of none, one that cannot be read, and JSON that is no object. No
/// error repeats anything of the body, which may hold a password.
pub fn read(headers: &HeaderMap, body: &Bytes) -> Result<Fields, ApiError> {
    if body.is_empty() {
        return Ok(Fields::default());
    }
    let media_type = media_type(headers);
    if media_type.eq_ignore_ascii_case(JSON) {
        read_json(body)
    } else if media_type.eq_ignore_ascii_case(FORM) {
        read_form(body)
    } else {
        Err(ApiError::UnsupportedMediaType(media_type))
    }
}

/// Whether a body claims to be a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    media_type(headers).eq_ignore_ascii_case(FORM)
}

/// The `Content-Type` as the client typed it, without its parameters.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
    String::from_utf8_lossy(essence.trim_ascii()).into_owned()
}

fn read_json(body: &[u8]) -> Result<Fields, ApiError> {
    // Checked as a whole, because serde_json does not look closely at strings it reads over.
    let text = std::str::from_utf8(body).map_err(|error| {
        ApiError::BadJson(format!("invalid UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let body = serde_json::from_str(text).map_err(|error| ApiError::BadJson(error.to_string()))?;
    let problem = match body {
        JsonBody::Object(fields) => return Ok(fields),
        JsonBody::Null => FieldProblem::NoData,
        JsonBody::Other(kind) => FieldProblem::NotADictionary(kind),
        // The text tells better than the value, which is a float too if an integer is too large.
        JsonBody::Number if text.contains(['.', 'e', 'E']) => {
            FieldProblem::NotADictionary(JsonKind::Float)
        }
        JsonBody::Number => FieldProblem::NotADictionary(JsonKind::Integer),
    };
    Err(FieldErrors::non_field(problem).into())
}

fn read_form(body: &[u8]) -> Result<Fields, ApiError> {
    if !is_utf8_once_decoded(body) {
        return Err(ApiError::BadForm);
    }
    let mut fields = Fields::default();
    for (name, value) in form_urlencoded::parse(body) {
        fields.set(name.into_owned(), Value::Text(Secret::new(value.into_owned())));
    }
    Ok(fields)
}

/// Whether percent-decoding a form gives valid UTF-8. The decoder would put U+FFFD in place of
/// anything else, and so change a password without a word. The form can be looked at as a whole,
/// since no character of several bytes reaches across its separators.
fn is_utf8_once_decoded(form: &[u8]) -> bool {
    let mut decoded = Zeroizing::new(Vec::with_capacity(form.len()));
    decoded.extend(percent_decode(form));
    std::str::from_utf8(&decoded).is_ok()
}

/// A whole body of JSON.
enum JsonBody {
    Object(Fields),
    Null,
    Number,
    Other(JsonKind),
}

impl<'de> Deserialize<'de> for JsonBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BodyVisitor)
    }
}

/// Takes any JSON, so that no type is ever "invalid": such an error would quote the value.
struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = JsonBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonBody, A::Error> {
        let mut fields = Fields::default();
        while let Some((name, value)) = map.next_entry()? {
            fields.set(name, value);
        }
        Ok(JsonBody::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonBody, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(JsonBody::Other(JsonKind::List))
    }

    fn visit_str<E>(self, _: &str) -> Result<JsonBody, E> {
        Ok(JsonBody::Other(JsonKind::Text))
    }

    fn visit_bool<E>(self, _: bool) -> Result<JsonBody, E> {
        Ok(JsonBody::Other(JsonKind::Bool))
    }

    fn visit_u64<E>(self, _: u64) -> Result<JsonBody, E> {
        Ok(JsonBody::Number)
    }

    fn visit_i64<E>(self, _: i64) -> Result<JsonBody, E> {
        Ok(JsonBody::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<JsonBody, E> {
        Ok(JsonBody::Number)
    }

    fn visit_unit<E>(self) -> Result<JsonBody, E> {
        Ok(JsonBody::Null)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// Takes any JSON, for the same reason.
struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Secret::new(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Field;
    use hyper::header::HeaderValue;

    fn read_as(content_type: &str, body: impl AsRef<[u8]>) -> Result<Fields, ApiError> {
        let value = HeaderValue::from_bytes(content_type.as_bytes()).unwrap();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, value)]);
        read(&headers, &Bytes::copy_from_slice(body.as_ref()))
    }

    fn text(fields: &Fields, name: &str) -> String {
        match fields.text(name) {
            Field::Text(text) => text.expose().clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn json_and_forms_are_read_whatever_their_parameters_and_case() {
        for content_type in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=latin-1;x=\"y\"",
            " application/json ; x",
        ] {
            let fields = read_as(content_type, r#"{"a": "1", "b": "é\u00e9\ud83d\ude00"}"#);
            let fields = fields.unwrap_or_else(|error| panic!("{content_type}: {error:?}"));
            assert_eq!(text(&fields, "a"), "1");
            assert_eq!(text(&fields, "b"), "éé😀");
        }
        for content_type in [FORM, "application/x-WWW-form-urlencoded; charset=UTF-8"] {
            let fields = read_as(content_type, "a=1&b=%C3%A9+%2B%25&c&=d&%zz=%").unwrap();
            assert_eq!(text(&fields, "a"), "1");
            assert_eq!(text(&fields, "b"), "é +%");
            assert_eq!(text(&fields, "c"), "");
            assert_eq!(text(&fields, "%zz"), "%");
        }
    }

    #[test]
    fn other_types_are_refused_by_name() {
        for (content_type, named) in [
            ("text/plain", "text/plain"),
            ("Text/Plain; charset=utf-8", "Text/Plain"),
            ("multipart/form-data; boundary=x", "multipart/form-data"),
            ("application/json-patch+json", "application/json-patch+json"),
            ("application/jsonx", "application/jsonx"),
            ("", ""),
            (";", ""),
            ("caf\u{e9}", "caf\u{e9}"),
        ] {
            match read_as(content_type, "x") {
                Err(ApiError::UnsupportedMediaType(name)) => assert_eq!(name, named),
                other => panic!("{content_type}: {other:?}"),
            }
        }
        let untyped = read(&HeaderMap::new(), &Bytes::from_static(b"{}"));
        assert!(matches!(untyped, Err(ApiError::UnsupportedMediaType(name)) if name.is_empty()));
    }

    #[test]
    fn a_form_is_one_whatever_its_parameters_and_case() {
        for (content_type, expected) in [
            (FORM, true),
            (" application/x-WWW-form-urlencoded ; charset=UTF-8", true),
            ("application/x-www-form-urlencoded2", false),
            (JSON, false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(content_type);
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value)]);
            assert_eq!(is_form(&headers), expected, "{content_type}");
        }
        assert!(!is_form(&HeaderMap::new()));
    }

    #[test]
    fn an_empty_body_has_no_fields_whatever_it_is() {
        for content_type in [JSON, FORM, "text/plain"] {
            let fields = read_as(content_type, "").unwrap();
            assert!(matches!(fields.text("a"), Field::Absent));
        }
        assert!(read(&HeaderMap::new(), &Bytes::new()).is_ok());
    }

    #[test]
    fn unreadable_json_is_refused_and_never_repeated() {
        for body in [
            &b"hunter2"[..],
            b" ",
            b"\n\t",
            b"{",
            b"{\"password\": \"hunter2",
            b"{\"password\": \"hunter2\",}",
            b"{\"password\": \"hunter2\"} hunter2",
            b"{\"password\": hunter2}",
            b"{'password': 'hunter2'}",
            b"{\"a\": NaN}",
            b"{\"a\": -Infinity}",
            b"[1,]",
            b"{\"hunter2\": \"\\ud800\"}",
            b"{\"\\udc00\": \"hunter2\"}",
            b"{\"hunter2\": \"\\x\"}",
            b"{\"hunter2\": \"a\nb\"}",
            b"{\"hunter2\": 01}",
            b"{hunter2: 1}",
            b"{\"hunter2\": \"\xff\"}",
            b"{\"a\": [\"\xff\"]}",
            b"\xef\xbb\xbf{}",
            b"{}\0",
        ] {
            match read_as(JSON, body) {
                Err(ApiError::BadJson(message)) => {
                    assert!(!message.contains("hunter2"), "{message}");
                    assert!(message.contains(" at "), "{message}");
                }
                other => panic!("{}: {other:?}", String::from_utf8_lossy(body)),
            }
        }
    }

    #[test]
    fn json_that_is_no_object_is_refused_by_kind() {
        for (body, message) in [
            ("[]", "Invalid data. Expected a dictionary, but got list."),
            ("[{\"email\": \"a\"}]", "Invalid data. Expected a dictionary, but got list."),
            ("\"a\"", "Invalid data. Expected a dictionary, but got str."),
            ("0", "Invalid data. Expected a dictionary, but got int."),
            ("-5", "Invalid data. Expected a dictionary, but got int."),
            ("123456789012345678901234567890", "Invalid data. Expected a dictionary, but got int."),
            ("1.0", "Invalid data. Expected a dictionary, but got float."),
            ("1e3", "Invalid data. Expected a dictionary, but got float."),
            (" true ", "Invalid data. Expected a dictionary, but got bool."),
            ("null", "No data provided"),
        ] {
            match read_as(JSON, body) {
                Err(ApiError::Fields(errors)) => assert_eq!(
                    serde_json::to_string(&errors).unwrap(),
                    format!(r#"{{"non_field_errors":["{message}"]}}"#)
                ),
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn of_a_repeated_field_the_last_counts() {
        let fields = read_as(JSON, r#"{"a": "1", "b": "2", "a": null, "b": "3"}"#).unwrap();
        assert!(matches!(fields.text("a"), Field::Null));
        assert_eq!(text(&fields, "b"), "3");
        assert_eq!(text(&read_as(FORM, "a=1&a=2").unwrap(), "a"), "2");
    }

    #[test]
    fn values_that_no_field_takes_are_read_over() {
        let body = r#"{"a": {"x": [1, {"y": null}]}, "b": [], "c": 1.5, "d": false, "e": "e"}"#;
        let fields = read_as(JSON, body).unwrap();
        for name in ["a", "b", "c", "d"] {
            assert!(matches!(fields.text(name), Field::WrongType), "{name}");
        }
        assert_eq!(text(&fields, "e"), "e");
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        let fields = read_as(JSON, deep).unwrap();
        assert!(matches!(fields.text("a"), Field::WrongType));
        assert!(matches!(read_as(JSON, "[".repeat(60_000)), Err(ApiError::BadJson(_))));
    }

    #[test]
    fn a_form_that_is_not_utf8_is_refused_rather_than_changed() {
        for body in ["password=%FF", "password=%C3", "%E2%82=x", "a=%c3&b=%a9"] {
            assert!(matches!(read_as(FORM, body), Err(ApiError::BadForm)), "{body}");
        }
        assert!(matches!(read_as(FORM, b"password=\xff"), Err(ApiError::BadForm)));
        let replacement = read_as(FORM, "password=%EF%BF%BD").unwrap();
        assert_eq!(text(&replacement, "password"), "\u{fffd}");
    }
}
