//! Refuses heads that hyper accepts although HTTP requires a server to refuse them. A proxy and
//! this server must not read two different requests from the same bytes.

use hyper::Version;
use hyper::header::{HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::http::request;
use hyper::http::uri::Authority;

/// Whether a head meets the requirements of RFC 9112 that hyper does not check.
pub(super) fn is_sound(head: &request::Parts) -> bool {
    names_its_host(head) && is_chunked_at_most(&head.headers)
}

/// At most one host; from HTTP/1.1 on exactly one (RFC 9112, section 3.2).
fn names_its_host(head: &request::Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => head.version < Version::HTTP_11,
        (Some(host), None) => host.is_empty() || is_host(host.as_bytes()),
        (Some(_), Some(_)) => false,
    }
}

fn is_host(value: &[u8]) -> bool {
    Authority::try_from(value).is_ok() && !value.contains(&b'@')
}

/// At most one coding, and only the one that this server decodes (RFC 9112, section 6.1).
fn is_chunked_at_most(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}
