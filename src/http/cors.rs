//! Cross-origin requests: which origins' scripts may call the API (the Fetch standard, "CORS
//! protocol"). Origins that are not configured get no header at all, so their browser refuses.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Method};

use super::respond::{self, Answer};

/// What scripts may send beyond what any form can.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type");

/// What scripts may read beyond what any answer shows.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("retry-after, x-request-id");

/// How long a browser may keep the answer to a preflight, in seconds: a day.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// The origins that browsers may call from.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// Compared byte for byte with what the browser sends.
    origins: Vec<String>,
    /// Whether their requests may carry cookies.
    with_credentials: bool,
}

impl Cors {
    /// Takes the origins as browsers write them: `https://app.example`, `http://localhost:5173`;
    /// and whether scripts there may have cookies sent along and kept.
    pub fn new(origins: Vec<String>, with_credentials: bool) -> Self {
        Self { origins, with_credentials }
    }

    /// The answer to `OPTIONS` for a path that has `methods`: to a preflight the permission, if
    /// its origin has it, and `204` with `Allow` to anything else.
    pub fn options(&self, request: &HeaderMap, methods: &[Method]) -> Answer {
        let mut answer = respond::options(methods);
        let is_preflight = request.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if is_preflight && self.known(origin(request)).is_some() {
            let headers = answer.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, respond::allow(methods));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        answer
    }

    /// Lets the script that asked read `answer`, errors too, if the request's `Origin` may. Every
    /// answer passes through here, that of [`options`](Self::options) as well.
    pub fn permit(&self, origin: Option<&HeaderValue>, answer: &mut Answer) {
        // Whether or not this origin is known, another one would be answered differently.
        let headers = answer.headers_mut();
        headers.entry(VARY).or_insert(HeaderValue::from_static("Origin"));
        if let Some(origin) = self.known(origin) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
            if self.with_credentials {
                let granted = HeaderValue::from_static("true");
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, granted);
            }
        }
    }

    /// The origin, if it is configured.
    fn known<'a>(&self, origin: Option<&'a HeaderValue>) -> Option<&'a HeaderValue> {
        origin.filter(|origin| self.origins.iter().any(|known| *origin == known.as_str()))
    }
}

/// The one `Origin` of a request; none if there are several.
pub(super) fn origin(request: &HeaderMap) -> Option<&HeaderValue> {
    let mut origins = request.get_all(ORIGIN).iter();
    origins.next().filter(|_| origins.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::errors::ApiError;
    use crate::http::respond::tests::header;
    use hyper::header::HeaderName;

    const APP: &str = "http://localhost:5173";

    fn cors() -> Cors {
        Cors::new(vec!["https://app.example".to_owned(), APP.to_owned()], false)
    }

    fn request(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    /// What `OPTIONS` to a path of GET and PATCH is answered in the end.
    fn options(headers: &[(&'static str, &'static str)]) -> Answer {
        let request = request(headers);
        let mut answer = cors().options(&request, &[Method::GET, Method::PATCH]);
        cors().permit(origin(&request), &mut answer);
        assert_eq!(answer.status(), 204);
        assert_eq!(header(&answer, "allow"), "GET, PATCH, HEAD, OPTIONS");
        answer
    }

    const PERMISSION: [&str; 3] =
        ["access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"];

    #[test]
    fn a_preflight_from_a_configured_origin_is_granted() {
        let answer = options(&[
            ("origin", APP),
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "authorization"),
        ]);
        for (name, value) in [
            ("access-control-allow-origin", APP),
            ("access-control-allow-methods", "GET, PATCH, HEAD, OPTIONS"),
            ("access-control-allow-headers", "authorization, content-type"),
            ("access-control-max-age", "86400"),
            ("access-control-allow-credentials", ""),
            ("vary", "Accept, Origin"),
        ] {
            assert_eq!(header(&answer, name), value, "{name}");
        }
    }

    #[test]
    fn options_that_is_no_preflight_and_other_origins_get_no_permission() {
        for headers in [
            &[][..],
            &[("origin", APP)],
            &[("access-control-request-method", "PATCH")],
            &[("origin", "https://evil.example"), ("access-control-request-method", "PATCH")],
        ] {
            let answer = options(headers);
            for name in PERMISSION {
                assert_eq!(header(&answer, name), "", "{headers:?}");
            }
        }
    }

    #[test]
    fn a_configured_origin_may_read_answers_and_errors() {
        for mut answer in [respond::no_content(), ApiError::NotAuthenticated.into_answer()] {
            cors().permit(origin(&request(&[("origin", "https://app.example")])), &mut answer);
            assert_eq!(header(&answer, "access-control-allow-origin"), "https://app.example");
            assert_eq!(
                header(&answer, "access-control-expose-headers"),
                "retry-after, x-request-id"
            );
            assert_eq!(header(&answer, "vary"), "Accept, Origin");
        }
    }

    #[test]
    fn cookies_may_come_along_from_configured_origins_where_they_are_switched_on() {
        let with_cookies = Cors { with_credentials: true, ..cors() };
        for (cors, origin, granted) in [
            (&with_cookies, APP, "true"),
            (&with_cookies, "https://evil.example", ""),
            (&cors(), APP, ""),
        ] {
            let preflight = [("origin", origin), ("access-control-request-method", "GET")];
            let preflight = request(&preflight);
            for mut answer in [
                cors.options(&preflight, &[Method::GET]),
                respond::no_content(),
                ApiError::NotAuthenticated.into_answer(),
            ] {
                cors.permit(super::origin(&preflight), &mut answer);
                assert_eq!(
                    header(&answer, "access-control-allow-credentials"),
                    granted,
                    "{origin}"
                );
            }
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
            &["https://app.example", "https://evil.example"],
        ] {
            let headers: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
            let mut answer = respond::no_content();
            cors().permit(origin(&request(&headers)), &mut answer);
            for name in ["access-control-allow-origin", "access-control-expose-headers"] {
                assert_eq!(header(&answer, name), "", "{origins:?}");
            }
        }
    }

    #[test]
    fn with_no_origins_configured_none_is_known() {
        let mut answer = respond::no_content();
        Cors::default().permit(origin(&request(&[("origin", APP)])), &mut answer);
        assert_eq!(header(&answer, "access-control-allow-origin"), "");
    }
}
