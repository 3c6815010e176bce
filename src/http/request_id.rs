//! The name of a request: in its log lines, and in its answer's `X-Request-Id`.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::client::is_trusted;
use super::respond::Answer;
use crate::domain::hex;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that is taken over from a proxy, in bytes.
const MAX_LENGTH: usize = 64;

/// The name of a request: that which a trusted proxy gave it, or else `random` bytes as 32
/// hexadecimal digits, which are drawn only where they are needed. It is 1 to 64 of
/// `A-Z a-z 0-9 . _ -`, so that it is harmless wherever it is shown.
pub fn name(
    headers: &HeaderMap,
    peer: IpAddr,
    trusted: &[IpNet],
    random: impl FnOnce() -> [u8; 16],
) -> Arc<str> {
    let given = is_trusted(peer, trusted).then(|| headers.get(X_REQUEST_ID)).flatten();
    given
        .and_then(|value| value.to_str().ok())
        .filter(|name| is_acceptable(name))
        .map_or_else(|| hex::text(&random()), Arc::from)
}

/// Names the request in its answer.
pub(super) fn mark(answer: &mut Answer, name: &str) {
    if let Ok(value) = HeaderValue::from_str(name) {
        answer.headers_mut().insert(X_REQUEST_ID, value);
    }
}

fn is_acceptable(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_LENGTH).contains(&name.len()) && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_has_a_name_takes_no_randomness() {
        let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_static("7"))]);
        let (peer, trusted) = ("127.0.0.1".parse().unwrap(), ["127.0.0.0/8".parse().unwrap()]);
        let id = name(&headers, peer, &trusted, || panic!("bytes are drawn"));
        assert_eq!(&*id, "7");
    }
}
