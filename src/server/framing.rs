//! What hyper lets through although HTTP has a server refuse it: two readers of one connection, a
//! proxy and this server, must not see two different requests.

use hyper::Version;
use hyper::header::{HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::http::request;
use hyper::http::uri::Authority;

/// Whether a head is what RFC 9112 asks for beyond what hyper has checked.
pub(super) fn is_sound(head: &request::Parts) -> bool {
    names_its_host(head) && is_chunked_at_most(&head.headers)
}

/// One host at most, and from HTTP/1.1 on one (RFC 9112, section 3.2).
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

/// One coding at most, which is the one that this server undoes (RFC 9112, section 6.1).
fn is_chunked_at_most(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}
