//! Refresh tokens in a cookie, for browser apps of the same site: out of reach of their scripts.
//!
//! The `__Host-` prefix makes browsers accept the cookie only from this host, over HTTPS and for
//! all paths (RFC 6265bis, section 4.1.3.2). A browser sends it without being asked, so a request
//! that relies on it must prove by its `Origin` that an app of ours made it. CORS does not: it
//! keeps a script from reading an answer, not from sending a form. `SameSite=Strict` does not
//! either: it would let every other host of the same site in.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderName, HeaderValue, ORIGIN, SET_COOKIE};

use super::cors;
use super::errors::ApiError;
use super::respond::{self, Answer};
use crate::config::{Config, PublicUrl};
use crate::jwt::TokenError;
use crate::secret::Secret;

/// How the page that sends a request is related to this server (Fetch Metadata). Scripts cannot
/// set it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The cookie's name.
const NAME: &str = "__Host-latchkey_refresh";

/// The cookie's attributes. Without `Domain` browsers send it to no other host.
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// Which requests may use the cookie: none where cookies are disabled.
#[derive(Clone, Debug)]
pub(super) struct Cookies {
    /// Whether a login may ask for its token in a cookie.
    pub(super) is_enabled: bool,
    /// The origins whose requests may use it, as browsers send them: that of the public URL, and
    /// the allowed ones of http and https. The origin of a native web view is shared by all apps
    /// of its framework, and never of this site. `Host` is no evidence: the client chooses it.
    origins: Vec<String>,
}

impl Cookies {
    pub(super) fn new(config: &Config, public_url: &PublicUrl) -> Self {
        let is_web =
            |origin: &&String| ["http://", "https://"].iter().any(|it| origin.starts_with(it));
        let allowed = config.server.allowed_origins.iter().filter(is_web).cloned();
        Self {
            is_enabled: config.cookies.is_enabled,
            origins: std::iter::once(public_url.origin()).chain(allowed).collect(),
        }
    }

    /// Whether a request comes from an app that may use the cookie.
    pub(super) fn may_use(&self, headers: &HeaderMap) -> bool {
        let is_known =
            |origin: &HeaderValue| self.origins.iter().any(|known| origin == known.as_str());
        self.is_enabled && cors::origin(headers).is_some_and(is_known)
    }

    /// Whether the client of a request may be given the cookie: an app that may use it, or a
    /// program that is no browser, which sends neither `Origin` nor `Sec-Fetch-Site`. From a page
    /// of another site a browser would discard the cookie (RFC 6265bis, section 5.7), and nobody
    /// would hold the session's token.
    pub(super) fn may_be_given(&self, headers: &HeaderMap) -> bool {
        let is_cross_site = headers.get_all(SEC_FETCH_SITE).iter().any(|site| site == "cross-site");
        !is_cross_site && (!headers.contains_key(ORIGIN) || self.may_use(headers))
    }

    /// The refresh token that a request carries in its cookie, where cookies are enabled.
    ///
    /// # Errors
    /// [`ApiError::CrossSite`] if the cookie is there, but not sent by an app that may use it;
    /// [`ApiError::RefreshToken`] if there are several.
    pub(super) fn refresh_token(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<Secret<String>>, ApiError> {
        if !self.is_carried(headers) {
            return Ok(None);
        }
        if !self.may_use(headers) {
            return Err(ApiError::CrossSite);
        }
        let mut values = values(headers);
        match (values.next(), values.next()) {
            // What is not UTF-8 is not a token either.
            (Some(value), None) => {
                Ok(Some(Secret::new(std::str::from_utf8(value).unwrap_or("?").to_owned())))
            }
            // No browser sends several of the name: none of them counts.
            _ => Err(ApiError::RefreshToken(TokenError::Invalid)),
        }
    }

    /// Whether a request carries the cookie, valid or not.
    pub(super) fn is_carried(&self, headers: &HeaderMap) -> bool {
        let mut values = values(headers);
        // Some clients empty a cookie instead of deleting it.
        let is_there = !matches!((values.next(), values.next()), (None | Some(b""), None));
        self.is_enabled && is_there
    }
}

/// The answer with the cookie that holds `token` until it expires.
#[must_use]
pub(super) fn keep(mut answer: Answer, token: &Secret<String>, lifetime: Duration) -> Answer {
    let seconds = lifetime.as_secs();
    let cookie = Secret::new(format!("{NAME}={}; Max-Age={seconds}; {ATTRIBUTES}", token.expose()));
    let Ok(mut value) = HeaderValue::from_str(cookie.expose()) else {
        tracing::error!("cannot put a token into a cookie");
        return respond::internal_error();
    };
    value.set_sensitive(true);
    answer.headers_mut().append(SET_COOKIE, value);
    answer
}

/// The answer with the cookie that deletes the token.
#[must_use]
pub(super) fn clear(mut answer: Answer) -> Answer {
    // `from_static` takes no `format!`; a test compares it with `NAME` and `ATTRIBUTES`.
    let value = "__Host-latchkey_refresh=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict";
    answer.headers_mut().append(SET_COOKIE, HeaderValue::from_static(value));
    answer
}

/// The values of our cookie (RFC 6265, section 4.2.1). The limit on a request's head bounds their
/// length; they are checked as any token is.
fn values(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| pair.trim_ascii().strip_prefix(NAME.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::respond::tests::header;
    use hyper::header::HeaderName;

    const OWN: &str = "https://accounts.example.com";
    const APP: &str = "https://app.example.com";

    fn cookies(is_enabled: bool, public_url: &str) -> Cookies {
        let mut config = Config::load(None, &[]).unwrap().config;
        config.cookies.is_enabled = is_enabled;
        config.server.allowed_origins = vec![APP.to_owned()];
        Cookies::new(&config, &PublicUrl::parse(public_url).unwrap())
    }

    fn request(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    /// The token of a request, or the status of its refusal.
    fn read(cookies: &Cookies, headers: &[(&'static str, &'static str)]) -> Result<String, u16> {
        match cookies.refresh_token(&request(headers)) {
            Ok(token) => Ok(token.map_or_else(String::new, |token| token.expose().clone())),
            Err(error) => Err(error.into_answer().status().as_u16()),
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let cookies = cookies(true, OWN);
        for (value, token) in [
            ("__Host-latchkey_refresh=a.b-c._d", "a.b-c._d"),
            ("x=1; __Host-latchkey_refresh=a.b.c; y=2", "a.b.c"),
            ("x=1;__Host-latchkey_refresh=a.b.c;", "a.b.c"),
            ("x=__Host-latchkey_refresh=b", ""),
            ("__Host-latchkey_refresh2=b", ""),
            ("__host-latchkey_refresh=b", ""),
            ("latchkey_refresh=b", ""),
            ("__Host-latchkey_refresh =b", ""),
            ("__Host-latchkey_refresh", ""),
            ("__Host-latchkey_refresh=", ""),
            ("__Host-latchkey_refresh=\"a.b.c\"", "\"a.b.c\""),
            ("__Host-latchkey_refresh=a=b", "a=b"),
            ("", ""),
            (";;; ;=", ""),
        ] {
            let read = read(&cookies, &[("origin", OWN), ("cookie", value)]);
            assert_eq!(read.as_deref(), Ok(token), "{value}");
        }
    }

    #[test]
    fn only_our_own_origin_and_the_allowed_ones_may_rely_on_it() {
        let cookie = ("cookie", "__Host-latchkey_refresh=a.b.c");
        let accounts = cookies(true, "https://accounts.example.com/auth");
        for origin in [OWN, APP] {
            assert_eq!(read(&accounts, &[("origin", origin), cookie]).as_deref(), Ok("a.b.c"));
        }
        for origin in [
            "https://accounts.example.com/",
            "https://accounts.example.com/auth",
            "HTTPS://ACCOUNTS.EXAMPLE.COM",
        ] {
            assert_eq!(read(&accounts, &[("origin", origin), cookie]), Err(403), "{origin}");
            assert_eq!(read(&accounts, &[("origin", origin)]).as_deref(), Ok(""), "{origin}");
        }
        let local = ("origin", "http://127.0.0.1:8000");
        assert_eq!(read(&cookies(true, local.1), &[local, cookie]).as_deref(), Ok("a.b.c"));
    }

    #[test]
    fn switched_off_there_is_none() {
        let cookie = ("cookie", "__Host-latchkey_refresh=a.b.c");
        let off = cookies(false, OWN);
        assert_eq!(read(&off, &[cookie]).as_deref(), Ok(""));
        assert!(!off.is_carried(&request(&[cookie])));
        assert!(cookies(true, OWN).is_carried(&request(&[cookie])));
        assert!(!cookies(true, OWN).is_carried(&request(&[("cookie", "x=1")])));
    }

    #[test]
    fn it_is_set_as_browsers_hold_it_safe_and_never_shown() {
        let token = Secret::new("a.b.c".to_owned());
        let answer = keep(respond::no_content(), &token, Duration::from_millis(86_399_999));
        let attributes = "Path=/; Secure; HttpOnly; SameSite=Strict";
        assert_eq!(
            header(&answer, "set-cookie"),
            format!("__Host-latchkey_refresh=a.b.c; Max-Age=86399; {attributes}")
        );
        assert!(!format!("{answer:?}").contains("a.b.c"));
        assert_eq!(
            header(&clear(respond::no_content()), "set-cookie"),
            format!("{NAME}=; Max-Age=0; {ATTRIBUTES}")
        );
        let unfit = Secret::new("a\r\nx: y".to_owned());
        assert_eq!(keep(respond::no_content(), &unfit, Duration::MAX).status(), 500);
    }
}
