//! A request as text: a line of method and target, lines of header fields, an empty line, and the
//! body. What stands for a token or a password in it is put in by anyone who knows them.
//!
//! The pieces are made by the types that hyper itself makes them with, so nothing gets by that
//! hyper would not let pass. There is no `Content-Length` to keep right, so that a change to the
//! body is just that.

use std::net::SocketAddr;

use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;

/// More header fields than a request may have.
const MAX_FIELDS: usize = 100;

/// A request without its connection.
pub struct Message {
    pub head: Parts,
    pub body: Bytes,
}

/// A client that connects directly, and a proxy that is trusted by default.
pub fn peers() -> [SocketAddr; 2] {
    [SocketAddr::from(([192, 0, 2, 1], 50_000)), SocketAddr::from(([127, 0, 0, 1], 50_000))]
}

impl Message {
    /// Reads a request; `None` if there is no method and target. Lines that are not header fields
    /// are left out.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (first, mut rest) = split_line(data);
        let space = first.iter().position(|byte| *byte == b' ')?;
        let (method, target) = (&first[..space], &first[space + 1..]);
        let mut request = Request::builder().method(method).uri(target).body(()).ok()?;
        loop {
            let (line, after) = split_line(rest);
            rest = after;
            if line.is_empty() {
                break;
            }
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value)
                && request.headers().len() < MAX_FIELDS
            {
                request.headers_mut().append(name, value);
            }
        }
        let (head, ()) = request.into_parts();
        Some(Self { head, body: Bytes::copy_from_slice(rest) })
    }
}

/// `data` with every `{name}` replaced by its value.
pub fn filled_in(data: &[u8], values: &[(&str, &str)]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((byte, after)) = rest.split_first() {
        let known = values.iter().find_map(|(name, value)| {
            let behind = rest.strip_prefix(b"{")?.strip_prefix(name.as_bytes())?;
            Some((value, behind.strip_prefix(b"}")?))
        });
        match known {
            Some((value, behind)) => {
                filled.extend_from_slice(value.as_bytes());
                rest = behind;
            }
            None => {
                filled.push(*byte);
                rest = after;
            }
        }
    }
    filled
}

fn split_line(data: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &b""[..]),
    };
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}
