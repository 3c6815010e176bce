//! Answers: their bodies and the headers that all of them carry.

use std::borrow::Cow;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

/// A complete answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// How many header fields an answer has, with those that hyper adds: room for them is made once.
const USUAL_FIELDS: usize = 12;

const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");

/// The header fields that every answer carries.
const COMMON_FIELDS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin")),
    (VARY, HeaderValue::from_static("Accept, Origin")),
];

/// The most bytes of a name that a client made up, a method's or a media type's, that are repeated
/// to it or in the log. No name that means anything is longer.
const MAX_ECHO: usize = 80;

/// An answer in JSON. A value that cannot be written as JSON becomes a 500.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => json_bytes(status, Bytes::from(body)),
        Err(error) => {
            tracing::error!(%error, "cannot write an answer as json");
            internal_error()
        }
    }
}

/// An answer in JSON that holds a token or a person's data, and so is never stored.
pub(super) fn private(status: StatusCode, value: &impl Serialize) -> Answer {
    no_store(json(status, value))
}

/// `200` with `{"message": …}`, never stored.
pub(super) fn message(message: &str) -> Answer {
    private(StatusCode::OK, &serde_json::json!({"message": message}))
}

/// `500`, which says only that it is one: what broke is for the log.
pub(super) fn internal_error() -> Answer {
    let body = Bytes::from_static(br#"{"detail":"Internal server error."}"#);
    json_bytes(StatusCode::INTERNAL_SERVER_ERROR, body)
}

/// `204` with nothing in it.
pub(super) fn no_content() -> Answer {
    with_body(StatusCode::NO_CONTENT, Bytes::new())
}

/// The answer to `OPTIONS` outside CORS: `204` with `Allow`.
pub(super) fn options(methods: &[Method]) -> Answer {
    let mut answer = no_content();
    answer.headers_mut().insert(ALLOW, allow(methods));
    answer
}

/// `303`: go on with a GET of `location` (RFC 9110, section 15.4.4). It is not kept, and the page
/// it leads to does not learn the address it came from, which may hold a ticket.
pub(super) fn see_other(location: &str) -> Answer {
    let Ok(location) = HeaderValue::from_str(location) else {
        tracing::error!("cannot redirect to an address that no header can carry");
        return internal_error();
    };
    let mut answer = no_store(with_body(StatusCode::SEE_OTHER, Bytes::new()));
    answer.headers_mut().insert(LOCATION, location);
    answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// The answer with `Cache-Control: no-store`, as one needs that holds a token or a person's data.
#[must_use]
pub(super) fn no_store(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// What `HEAD` gets where `GET` gets `answer`: the same without the body, whose length stays named
/// (RFC 9110, section 9.3.2).
#[must_use]
pub(super) fn for_head(answer: Answer) -> Answer {
    let length = answer.body().size_hint().exact();
    let (mut head, _) = answer.into_parts();
    if head.status != StatusCode::NO_CONTENT
        && let Some(length) = length
    {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Full::default())
}

/// A path's methods as `Allow` and CORS name them: `HEAD` comes with `GET`, and `OPTIONS` always.
pub(super) fn allow(methods: &[Method]) -> HeaderValue {
    let head = methods.contains(&Method::GET).then_some(Method::HEAD);
    let all = methods.iter().cloned().chain(head).chain([Method::OPTIONS]);
    let mut names: Vec<String> = Vec::new();
    for method in all {
        if !names.iter().any(|name| name == method.as_str()) {
            names.push(method.to_string());
        }
    }
    // A method's name is a token (RFC 9110, section 9.1), and any token is a header's value.
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// A name that a client made up, as far as it is repeated.
pub(super) fn shortened(name: &str) -> Cow<'_, str> {
    if name.len() <= MAX_ECHO {
        return Cow::Borrowed(name);
    }
    let beginning = name.get(..name.floor_char_boundary(MAX_ECHO)).unwrap_or_default();
    Cow::Owned(format!("{beginning}…"))
}

/// Whether an answer is a page, for people.
pub(super) fn is_page(answer: &Answer) -> bool {
    let media_type = answer.headers().get(CONTENT_TYPE);
    media_type.is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

/// `wait` in whole seconds, rounded up so that nobody comes back too early; at least 1.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    let has_fraction = wait.subsec_nanos() > 0;
    wait.as_secs().saturating_add(u64::from(has_fraction)).max(1)
}

/// An answer whose body is JSON already.
pub(super) fn json_bytes(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = with_body(status, body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// An answer with the headers that every answer carries.
pub(super) fn with_body(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.reserve(USUAL_FIELDS);
    for (name, value) in COMMON_FIELDS {
        headers.insert(name, value);
    }
    answer
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::future::Future as _;
    use std::task::{Context, Poll, Waker};

    /// The body of an answer, as text.
    pub(crate) fn body(answer: &Answer) -> String {
        let collected = answer.body().clone().collect();
        let mut collected = std::pin::pin!(collected);
        let mut context = Context::from_waker(Waker::noop());
        match collected.as_mut().poll(&mut context) {
            Poll::Ready(Ok(body)) => String::from_utf8(body.to_bytes().to_vec()).unwrap(),
            _ => panic!("a full body is there at once"),
        }
    }

    /// A header of an answer, or nothing.
    pub(crate) fn header(answer: &Answer, name: &str) -> String {
        let values: Vec<_> = answer.headers().get_all(name).iter().collect();
        assert!(values.len() <= 1, "{name}: {values:?}");
        values.first().map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn json_answers_carry_the_headers_of_the_contract() {
        let answer = json(StatusCode::CREATED, &["a"]);
        assert_eq!(answer.status(), 201);
        assert_eq!(body(&answer), r#"["a"]"#);
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("vary", "Accept, Origin"),
            ("cache-control", ""),
        ] {
            assert_eq!(header(&answer, name), value, "{name}");
        }
        assert_eq!(header(&no_store(answer), "cache-control"), "no-store");
    }

    #[test]
    fn what_cannot_be_written_is_a_500() {
        let keys_that_are_no_strings = std::collections::BTreeMap::from([([1], 2)]);
        let answer = json(StatusCode::OK, &keys_that_are_no_strings);
        assert_eq!(answer.status(), 500);
        assert_eq!(body(&answer), r#"{"detail":"Internal server error."}"#);
    }

    #[test]
    fn a_redirect_is_not_kept_and_tells_nothing() {
        let answer = see_other("https://app.example/verification/success");
        assert_eq!(answer.status(), 303);
        assert_eq!(header(&answer, "location"), "https://app.example/verification/success");
        assert_eq!(header(&answer, "cache-control"), "no-store");
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
        assert_eq!(see_other("https://app.example/\r\nx: y").status(), 500);
    }

    #[test]
    fn head_keeps_everything_but_the_body() {
        let answer = for_head(json(StatusCode::OK, &["four"]));
        assert_eq!(body(&answer), "");
        assert_eq!(header(&answer, "content-length"), "8");
        assert_eq!(header(&answer, "content-type"), "application/json");
        assert_eq!(header(&for_head(no_content()), "content-length"), "");
    }

    #[test]
    fn allow_names_head_with_get_and_options_always() {
        for (methods, expected) in [
            (&[Method::GET][..], "GET, HEAD, OPTIONS"),
            (&[Method::POST], "POST, OPTIONS"),
            (&[Method::GET, Method::PUT, Method::PATCH], "GET, PUT, PATCH, HEAD, OPTIONS"),
            (&[Method::GET, Method::HEAD, Method::OPTIONS], "GET, HEAD, OPTIONS"),
        ] {
            assert_eq!(allow(methods), expected);
        }
        let answer = options(&[Method::POST]);
        assert_eq!(answer.status(), 204);
        assert_eq!(header(&answer, "allow"), "POST, OPTIONS");
        assert_eq!(header(&answer, "content-type"), "");
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_between_characters() {
        let longest = "x".repeat(80);
        for (name, repeated) in [
            ("PROPFIND", "PROPFIND".to_owned()),
            (&longest, longest.clone()),
            (&"x".repeat(12_000), format!("{longest}…")),
            (&format!("x{}", "é".repeat(40)), format!("x{}…", "é".repeat(39))),
        ] {
            assert_eq!(shortened(name), repeated);
        }
    }

    #[test]
    fn waits_are_rounded_up() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (11_500, 12)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
