//! The head of a request: who asks, under what name, and what the body claims to be.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;
use latchkey::http::client::{ProxyNote, client};
use latchkey::http::errors::ApiError;
use latchkey::http::input;
use latchkey::http::request_id;

use super::wire::{self, Message};

/// The most bytes that are kept of a user agent.
const MAX_USER_AGENT: usize = 256;

/// The most entries of `X-Forwarded-For` that count.
const MAX_ENTRIES: usize = 32;

/// Whatever a head says, the client is the one that an independent reading of `X-Forwarded-For`
/// names, what is kept of the user agent can be shown, and the request's name is harmless.
pub fn check(data: &[u8]) {
    let Some(Message { head, body }) = Message::parse(data) else { return };
    let trusted = ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
    for peer in wire::peers() {
        let (found, note) = client(&head, peer, &trusted);
        let expected = expected_client(&head.headers, peer, &trusted);
        assert_eq!((found.address, note), expected, "{peer} {:?}", head.headers);
        assert!(found.user_agent.len() <= MAX_USER_AGENT);
        assert!(!found.user_agent.chars().any(char::is_control), "{:?}", found.user_agent);
        let block = found.block().to_string();
        assert!(block.parse::<IpNet>().is_ok() || block.parse::<IpAddr>().is_ok(), "{block}");

        let id = request_id::name(&head.headers, peer.ip(), &trusted, || [7; 16]);
        let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        assert!(id.bytes().all(is_harmless), "{id}");
        assert!((1..=64).contains(&id.len()), "{id}");
        assert!(peer.ip().is_loopback() || *id == *"07".repeat(16), "{id}");
    }
    check_media_type(&head.headers, &body);
}

fn expected_client(
    headers: &HeaderMap,
    peer: SocketAddr,
    trusted: &[IpNet],
) -> (IpAddr, ProxyNote) {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for value in headers.get_all("x-forwarded-for") {
        lines.push(value.as_bytes().to_vec());
    }
    if lines.is_empty() {
        return (peer.ip(), ProxyNote::Direct);
    }
    if !is_trusted(peer.ip()) {
        return (peer.ip(), ProxyNote::Untrusted);
    }
    let joined = lines.join(&b","[..]);
    let mut entries: Vec<&[u8]> = joined.split(|byte| *byte == b',').collect();
    entries.drain(..entries.len().saturating_sub(MAX_ENTRIES));
    let (mut nearest, mut note) = (peer.ip(), ProxyNote::Direct);
    while let Some(entry) = entries.pop() {
        // What is not UTF-8 is neither an address nor a zone.
        let Ok(text) = std::str::from_utf8(entry) else {
            return (nearest.to_canonical(), ProxyNote::Malformed);
        };
        let text = text.trim_matches(|c| matches!(c, ' ' | '\t' | '\r' | '\n' | '\x0c'));
        if text.is_empty() {
            continue;
        }
        let zone = text.find('%').map_or(text.len()..text.len(), |start| {
            start..text[start..].find(']').map_or(text.len(), |end| start + end)
        });
        let has_zone = !zone.is_empty();
        let mut text = text.to_owned();
        text.replace_range(zone, "");
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let bare = bare.and_then(|text| text.parse::<Ipv6Addr>().ok()).map(IpAddr::V6);
        let socket = text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
        let found = text.parse::<IpAddr>().ok().or(bare).or(socket);
        let Some(address) = found else {
            return (nearest.to_canonical(), ProxyNote::Malformed);
        };
        if has_zone && address.is_ipv4() {
            return (nearest.to_canonical(), ProxyNote::Malformed);
        }
        (nearest, note) = (address.to_canonical(), ProxyNote::Forwarded);
        if !is_trusted(nearest) {
            break;
        }
    }
    (nearest, note)
}

/// Of a body that is not empty, exactly two types are read, and another is refused by its name.
fn check_media_type(headers: &HeaderMap, body: &hyper::body::Bytes) {
    let value = headers.get("content-type").map_or(&b""[..], |value| value.as_bytes());
    let essence = value.split(|byte| *byte == b';').next().unwrap().trim_ascii();
    let essence = String::from_utf8_lossy(essence).into_owned();
    let lower = essence.to_ascii_lowercase();
    let is_read = lower == "application/json" || lower == "application/x-www-form-urlencoded";
    match input::read(headers, body) {
        Err(ApiError::UnsupportedContentCoding(_)) => {
            assert!(headers.contains_key("content-encoding") && !body.is_empty());
        }
        Err(ApiError::UnsupportedMediaType(name)) => {
            assert!(!is_read && !body.is_empty(), "{essence}");
            assert_eq!(name, essence);
        }
        Ok(_) => assert!(is_read || body.is_empty(), "{essence}"),
        Err(ApiError::Fields(_) | ApiError::BadJson(_)) => assert_eq!(lower, "application/json"),
        Err(ApiError::BadForm) => assert!(lower.starts_with("application/x-www-form")),
        Err(other) => panic!("{other:?}"),
    }
}
