//! The name of a request: in its log lines, and in its answer's `X-Request-Id`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::client::is_trusted;
use super::respond::Answer;
use crate::domain::hex;

/// The header that carries it, both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that is taken over from a proxy, in bytes.
const MAX_LENGTH: usize = 64;

/// A request's name: 1 to 64 of `A-Z a-z 0-9 . _ -`, so that it is harmless wherever it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The name that a trusted proxy gave the request, or else `random` bytes as 32 hexadecimal
    /// digits, which are drawn only where they are needed.
    pub fn of(
        headers: &HeaderMap,
        peer: IpAddr,
        trusted: &[IpNet],
        random: impl FnOnce() -> [u8; 16],
    ) -> Self {
        let given = is_trusted(peer, trusted).then(|| headers.get(X_REQUEST_ID)).flatten();
        given
            .and_then(|value| value.to_str().ok())
            .filter(|name| is_acceptable(name))
            .map_or_else(|| Self(hex::text(&random())), |name| Self(name.into()))
    }

    /// Names the request in its answer.
    pub fn mark(&self, answer: &mut Answer) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            answer.headers_mut().insert(X_REQUEST_ID, value);
        }
    }

    /// The name, to be kept with whatever belongs to the request.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_acceptable(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_LENGTH).contains(&name.len()) && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::respond;
    use crate::http::respond::tests::header;

    const FRESH: &str = "000102030405060708090a0b0c0d0e0f";

    fn id_of(peer: &str, name: Option<&str>) -> RequestId {
        let value = name.map(|name| HeaderValue::from_bytes(name.as_bytes()).unwrap());
        let headers = value.map(|value| (X_REQUEST_ID, value)).into_iter().collect();
        let random = || std::array::from_fn(|index| u8::try_from(index).unwrap());
        let trusted = ["127.0.0.0/8".parse().unwrap()];
        RequestId::of(&headers, peer.parse().unwrap(), &trusted, random)
    }

    #[test]
    fn a_request_that_has_a_name_takes_no_randomness() {
        let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_static("7"))]);
        let (peer, trusted) = ("127.0.0.1".parse().unwrap(), ["127.0.0.0/8".parse().unwrap()]);
        let id = RequestId::of(&headers, peer, &trusted, || panic!("bytes are drawn"));
        assert_eq!(id.as_str(), "7");
    }

    #[test]
    fn a_harmless_name_from_a_trusted_proxy_is_kept() {
        let longest = "x".repeat(64);
        for name in ["7", "Req_1.2-3", &longest] {
            assert_eq!(id_of("127.0.0.1", Some(name)).as_str(), name);
        }
    }

    #[test]
    fn any_other_request_gets_a_fresh_one() {
        let too_long = "x".repeat(65);
        for name in ["", "a b", "a\tb", "a/b", "<b>", "é", &too_long] {
            assert_eq!(id_of("127.0.0.1", Some(name)).as_str(), FRESH, "{name:?}");
        }
        assert_eq!(id_of("127.0.0.1", None).as_str(), FRESH);
        assert_eq!(id_of("192.0.2.1", Some("abc")).as_str(), FRESH);
    }

    #[test]
    fn the_answer_carries_it() {
        let mut answer = respond::no_content();
        id_of("127.0.0.1", Some("abc")).mark(&mut answer);
        assert_eq!(header(&answer, "x-request-id"), "abc");
    }
}
