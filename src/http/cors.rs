//! Cross-origin requests: which origins' scripts may call the API (the Fetch standard, "CORS
//! protocol"). Origins that are not allowed get no header at all, so their browser refuses.
//!
//! Allowed origins may always send credentials: clients with `credentials: "include"` would
//! otherwise fail, and it grants them nothing. Only the refresh cookie is ever read of what a
//! browser sends by itself, and `cookies` decides who may use that.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN,
    VARY,
};
use hyper::{HeaderMap, Method};

use super::respond::{self, Answer};

/// What every preflight allows. A method that a path does not have is a 405, which a script can
/// read; a preflight that does not allow it would be a network error.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

/// What scripts may read beyond the headers that any answer shows.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("retry-after, x-request-id");

/// How long a browser may keep the answer to a preflight, in seconds: a day.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// The most header names that one preflight is allowed.
const MAX_HEADER_NAMES: usize = 32;

/// The origins that browsers may call from.
#[derive(Debug)]
pub(super) struct Cors {
    /// As browsers send them: `https://app.example`, `capacitor://localhost`. They are compared
    /// byte for byte.
    pub(super) origins: Vec<String>,
}

impl Cors {
    /// The answer to a request that is a preflight from an allowed `origin`, for a path of
    /// `methods`, which are none if there is no such path. [`permit`](Self::permit) completes it.
    pub(super) fn preflight(
        &self,
        origin: Option<&HeaderValue>,
        request: &HeaderMap,
        methods: &[Method],
    ) -> Option<Answer> {
        self.allowed(origin)?;
        request.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let mut answer = respond::options(methods);
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        if let Some(names) = requested_headers(request) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        Some(answer)
    }

    /// Lets the script that asked read `answer`, errors too, if its origin is allowed. A page is
    /// for people: no script may read the ticket in it.
    pub(super) fn permit(&self, origin: Option<&HeaderValue>, answer: &mut Answer) {
        // Also where this origin is not allowed: another one's answer would differ.
        answer.headers_mut().entry(VARY).or_insert(HeaderValue::from_static("Origin"));
        if let Some(origin) = self.allowed(origin)
            && !respond::is_page(answer)
        {
            let headers = answer.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// The origin, if it is allowed.
    fn allowed<'a>(&self, origin: Option<&'a HeaderValue>) -> Option<&'a HeaderValue> {
        origin.filter(|origin| self.origins.iter().any(|allowed| *origin == allowed.as_str()))
    }
}

/// The one `Origin` of a request; `None` if there are several.
pub(super) fn origin(request: &HeaderMap) -> Option<&HeaderValue> {
    let mut origins = request.get_all(ORIGIN).iter();
    origins.next().filter(|_| origins.next().is_none())
}

/// The header names that a preflight asks for, as far as they are allowed; `None` if none is.
fn requested_headers(request: &HeaderMap) -> Option<HeaderValue> {
    let names: Vec<&str> = request
        .get_all(ACCESS_CONTROL_REQUEST_HEADERS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| may_be_sent(name))
        .take(MAX_HEADER_NAMES)
        .collect();
    HeaderValue::from_str(&names.join(", ")).ok().filter(|names| !names.is_empty())
}

/// Whether a script may send the header `name`: any but those by which proxies say who the client
/// is. Some proxies read `_` as `-`. In an answer, `*` would allow those too.
fn may_be_sent(name: &str) -> bool {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return false };
    let name = name.as_str().replace('_', "-");
    !(name == "*" || name == "forwarded" || name == "x-real-ip" || name.starts_with("x-forwarded-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::respond::tests::header;

    const APP: &str = "http://localhost:5173";
    const NATIVE: &str = "capacitor://localhost";

    fn cors() -> Cors {
        Cors { origins: ["https://app.example", APP, NATIVE].map(str::to_owned).into() }
    }

    fn request(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    fn preflight(headers: &[(&'static str, &'static str)], methods: &[Method]) -> Option<Answer> {
        let request = request(headers);
        let mut answer = cors().preflight(origin(&request), &request, methods)?;
        cors().permit(origin(&request), &mut answer);
        Some(answer)
    }

    #[test]
    fn the_headers_that_a_preflight_asks_for_are_allowed_as_asked() {
        for (asked, allowed) in [
            ("", ""),
            ("authorization", "authorization"),
            ("X-Requested-With,x-csrftoken", "X-Requested-With, x-csrftoken"),
            (" traceparent , sentry-trace,,baggage", "traceparent, sentry-trace, baggage"),
            ("*", ""),
            ("a b, x:y, \"z\", (c), d/e", ""),
            ("x-a, forwarded, X-Forwarded-For, x-forwarded-proto, X-Real-IP", "x-a"),
            ("x_forwarded_for, x_real_ip, x-forwarded, forwarded-by", "x-forwarded, forwarded-by"),
        ] {
            let asked = [
                ("origin", NATIVE),
                ("access-control-request-method", "GET"),
                ("access-control-request-headers", asked),
            ];
            let answer = preflight(&asked, &[]).unwrap();
            assert_eq!(header(&answer, "access-control-allow-origin"), NATIVE);
            assert_eq!(header(&answer, "access-control-allow-headers"), allowed, "{asked:?}");
        }
        let mut many = request(&[("origin", APP), ("access-control-request-method", "GET")]);
        for _ in 0..2 {
            let value = HeaderValue::from_static(
                "x-1,x-2,x-3,x-4,x-5,x-6,x-7,x-8,x-9,x-10,x-11,x-12,x-13,x-14,x-15,x-16,x-17",
            );
            many.append(ACCESS_CONTROL_REQUEST_HEADERS, value);
        }
        let answer = cors().preflight(origin(&many), &many, &[]).unwrap();
        let allowed = header(&answer, "access-control-allow-headers");
        assert_eq!(allowed.split(", ").count(), MAX_HEADER_NAMES);
        assert!(allowed.ends_with(", x-15"), "{allowed}");
    }

    #[test]
    fn options_that_is_no_preflight_and_other_origins_get_no_permission() {
        for headers in [
            &[][..],
            &[("origin", APP)],
            &[("access-control-request-method", "PATCH")],
            &[("origin", "https://evil.example"), ("access-control-request-method", "PATCH")],
            &[("origin", "null"), ("access-control-request-method", "PATCH")],
        ] {
            assert!(preflight(headers, &[Method::GET]).is_none(), "{headers:?}");
        }
    }

    #[test]
    fn no_other_origin_may() {
        for origins in [
            &[][..],
            &["null"],
            &["http://app.example"],
            &["https://app.example:8443"],
            &["https://app.example.evil.example"],
            &["https://app.example/"],
            &["HTTPS://APP.EXAMPLE"],
            &["https://evil.example"],
            &["capacitor://localhost:80"],
            &["https://app.example", "https://evil.example"],
        ] {
            let headers: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
            let mut answer = respond::no_content();
            cors().permit(origin(&request(&headers)), &mut answer);
            let mut names = answer.headers().keys().map(HeaderName::as_str);
            assert!(!names.any(|name| name.starts_with("access-control-")), "{origins:?}");
        }
    }
}
