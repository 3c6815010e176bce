//! Bodies: from JSON or a form to [`Fields`].
//!
//! Texts become secrets at once. Values that no field takes (numbers, lists, objects) are skipped
//! without being built: their nesting needs no limit, since serde_json skips without recursion,
//! and a number may be one that Rust cannot hold.

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use super::fields::{Field, Fields};
use crate::secret::Secret;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Reads the fields of a body. An empty body has none, whatever type it claims to be; of a
/// repeated field the last value counts. JSON is UTF-8 whatever `charset` says (RFC 8259,
/// section 8.1).
///
/// # Errors
/// A body of another type or of none, a compressed one, one that cannot be read, and JSON that is
/// no object. No error repeats anything of the body, which may hold a password.
pub fn read(headers: &HeaderMap, body: &Bytes) -> Result<Fields, ApiError> {
    if body.is_empty() {
        return Ok(Fields::default());
    }
    if let Some(coding) = content_coding(headers) {
        return Err(ApiError::UnsupportedContentCoding(coding));
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

/// The first content coding that has to be undone before a body can be read (RFC 9110, section
/// 8.4).
fn content_coding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
        .map(|coding| String::from_utf8_lossy(coding).into_owned())
}

fn read_json(body: &[u8]) -> Result<Fields, ApiError> {
    // Checked as a whole, because serde_json does not look closely at strings it reads over.
    let text = std::str::from_utf8(body).map_err(|error| {
        ApiError::BadJson(format!("invalid UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let unreadable = |error: serde_json::Error| ApiError::BadJson(error.to_string());
    if text.trim_ascii_start().starts_with('{') {
        return Ok(Fields(serde_json::from_str(text).map_err(unreadable)?));
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(unreadable)?;
    let problem = FieldProblem::NotADictionary(match raw.get().as_bytes() {
        [b'n', ..] => return Err(FieldErrors::non_field(FieldProblem::NoData).into()),
        [b'[', ..] => "list",
        [b'"', ..] => "str",
        [b't' | b'f', ..] => "bool",
        number if number.iter().any(|byte| b".eE".contains(byte)) => "float",
        _ => "int",
    });
    Err(FieldErrors::non_field(problem).into())
}

fn read_form(body: &[u8]) -> Result<Fields, ApiError> {
    if !is_utf8_once_decoded(body) {
        return Err(ApiError::BadForm);
    }
    let fields = form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), Field::Text(Secret::new(value.into_owned()))));
    Ok(Fields(fields.collect()))
}

/// Whether percent-decoding a form gives valid UTF-8. The decoder would put U+FFFD in place of
/// anything else, and so change a password without a word. The form can be looked at as a whole,
/// since no character of several bytes reaches across its separators.
fn is_utf8_once_decoded(form: &[u8]) -> bool {
    let mut decoded = Zeroizing::new(Vec::with_capacity(form.len()));
    decoded.extend(percent_decode(form));
    std::str::from_utf8(&decoded).is_ok()
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        Ok(match raw.as_bytes() {
            [b'"', ..] => {
                // The one thing wrong with a string that is not noticed while it is skipped. The
                // error's place is added by the deserializer of the whole.
                let unpaired = |_| D::Error::custom("unpaired surrogate in a string");
                Self::Text(Secret::new(serde_json::from_str(raw).map_err(unpaired)?))
            }
            b"null" => Self::Null,
            b"true" => Self::Bool(true),
            b"false" => Self::Bool(false),
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn read_as(content_type: &str, body: impl AsRef<[u8]>) -> Result<Fields, ApiError> {
        let value = HeaderValue::from_bytes(content_type.as_bytes()).unwrap();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, value)]);
        read(&headers, &Bytes::copy_from_slice(body.as_ref()))
    }

    fn text(fields: &Fields, name: &str) -> String {
        match fields.get(name) {
            Some(Field::Text(text)) => text.expose().clone(),
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
    fn unreadable_json_is_refused_and_never_repeated() {
        for body in [
            &b" "[..],
            b"\n\t",
            b"{\"password\": \"hunter2",
            b"{\"password\": hunter2}",
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
    fn numbers_that_rust_cannot_hold_are_skipped() {
        let digits = "9".repeat(400);
        for number in ["1e999", "-1e999", "1E400", digits.as_str(), "1e-999", "-0"] {
            for value in [number.to_owned(), format!("[{number}]"), format!("{{\"x\": {number}}}")]
            {
                let fields = read_as(JSON, format!(r#"{{"a": {value}, "b": "b"}}"#)).unwrap();
                assert!(matches!(fields.get("a"), Some(Field::Other)), "{value}");
                assert_eq!(text(&fields, "b"), "b");
            }
            let body = read_as(JSON, number);
            assert!(matches!(body, Err(ApiError::Fields(_))), "{number}: {body:?}");
        }
        for number in ["1e", "01", "1.", "+1", ".5", "--1", "1e+"] {
            let body = read_as(JSON, format!(r#"{{"a": {number}}}"#));
            assert!(matches!(body, Err(ApiError::BadJson(_))), "{number}: {body:?}");
        }
    }

    #[test]
    fn an_error_tells_its_place_in_the_whole_body() {
        for (body, place) in [
            ("{\"a\": 1,\n \"b\": \"\\ud800\"}", " at line 2 column 15"),
            ("{\"a\": 1,\n \"b\": x}", " at line 2 column 7"),
        ] {
            match read_as(JSON, body) {
                Err(ApiError::BadJson(message)) => assert!(message.ends_with(place), "{message}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_compressed_body_is_refused_by_its_coding() {
        let read_coded = |codings: &[&'static str], body: &'static str| {
            let mut headers =
                HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(JSON))]);
            for coding in codings {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(coding));
            }
            read(&headers, &Bytes::from_static(body.as_bytes()))
        };
        for (codings, named) in [
            (&["gzip"][..], "gzip"),
            (&["BR"], "BR"),
            (&["identity, deflate"], "deflate"),
            (&["identity", "zstd , gzip"], "zstd"),
            (&["identityx"], "identityx"),
        ] {
            match read_coded(codings, "{}") {
                Err(ApiError::UnsupportedContentCoding(name)) => assert_eq!(name, named),
                other => panic!("{codings:?}: {other:?}"),
            }
            assert!(read_coded(codings, "").is_ok(), "there is nothing to undo: {codings:?}");
        }
        for codings in [&["identity"][..], &["Identity, identity"], &[""], &[" , "]] {
            assert!(read_coded(codings, "{}").is_ok(), "{codings:?}");
        }
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        let fields = read_as(JSON, deep).unwrap();
        assert!(matches!(fields.get("a"), Some(Field::Other)));
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
