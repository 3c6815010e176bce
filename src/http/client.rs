//! Who is calling: the peer, or the client that trusted proxies name in `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::header::{FORWARDED, HeaderName, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{HeaderMap, header::HeaderValue};
use ipnet::IpNet;
use tracing::warn;

use crate::domain::Client;
use crate::domain::client::MAX_USER_AGENT;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The most entries that are looked at: longer chains of trusted proxies do not exist, and a
/// client may write as much in front of them as a header holds.
const MAX_ENTRIES: usize = 32;

/// The headers by which proxies name the client, besides the one that is read.
const OTHER_HEADERS: [HeaderName; 3] =
    [FORWARDED, HeaderName::from_static("x-forwarded-proto"), HeaderName::from_static("x-real-ip")];

/// What became of `X-Forwarded-For`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyNote {
    /// There was none, or an empty one: the client is the peer.
    Direct,
    /// A trusted proxy sent it, and the client was taken from it.
    Forwarded,
    /// A trusted proxy sent it, but it holds something that is no address where the client or
    /// another proxy should stand; the last address before that counts.
    Malformed,
    /// A peer sent it that is not trusted, so it was ignored.
    Untrusted,
}

/// Warns of proxies whose clients all count as one: once of each kind.
#[derive(Debug, Default)]
pub(super) struct ProxyWarnings {
    has_told_of_untrusted: AtomicBool,
    has_told_of_other_header: AtomicBool,
}

impl ProxyWarnings {
    /// Looks at the `headers` that `peer` sent, and at what became of `X-Forwarded-For`.
    pub(super) fn look(
        &self,
        note: ProxyNote,
        peer: IpAddr,
        headers: &HeaderMap,
        trusted: &[IpNet],
    ) {
        let is_first = |told: &AtomicBool| !told.swap(true, Ordering::Relaxed);
        if note == ProxyNote::Untrusted && is_first(&self.has_told_of_untrusted) {
            warn!(
                %peer,
                "X-Forwarded-For from a peer that is not trusted is ignored; if it is your \
                 proxy, add its address to server.trusted_proxies (see docs/operate.md); \
                 this is logged once"
            );
        }
        if matches!(note, ProxyNote::Direct | ProxyNote::Malformed)
            && is_trusted(peer, trusted)
            && let Some(header) = OTHER_HEADERS.iter().find(|it| headers.contains_key(*it))
            && is_first(&self.has_told_of_other_header)
        {
            warn!(
                %peer,
                %header,
                "a proxy in server.trusted_proxies names its client in another header than \
                 X-Forwarded-For, the only one that is read: all its clients count as one; \
                 have it send that (see docs/operate.md); this is logged once"
            );
        }
    }
}

/// Who sent the request that `head` opens, over a connection from `peer`.
///
/// The client is the rightmost address of `X-Forwarded-For` that is not itself a trusted proxy's,
/// as each proxy appends the one it heard from; everything to the left of it is hearsay.
pub fn client(head: &Parts, peer: SocketAddr, trusted: &[IpNet]) -> (Client, ProxyNote) {
    let (address, note) = address(&head.headers, peer.ip(), trusted);
    (Client::new(address, &user_agent(&head.headers)), note)
}

/// Whether `address` is that of a trusted proxy.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

fn address(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> (IpAddr, ProxyNote) {
    if !headers.contains_key(X_FORWARDED_FOR) {
        return (peer, ProxyNote::Direct);
    }
    if !is_trusted(peer, trusted) {
        return (peer, ProxyNote::Untrusted);
    }
    // Several headers are one list (RFC 9110, section 5.3), whose empty entries mean nothing
    // (section 5.6.1).
    let entries = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','))
        .take(MAX_ENTRIES)
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty());
    let (mut last, mut note) = (peer, ProxyNote::Direct);
    for entry in entries {
        let Some(address) = parse_entry(entry) else {
            return (last, ProxyNote::Malformed);
        };
        (last, note) = (address, ProxyNote::Forwarded);
        if !is_trusted(address, trusted) {
            break;
        }
    }
    (last, note)
}

/// `192.0.2.1`, `192.0.2.1:5678`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:443`, the IPv6
/// ones with a zone (`fe80::1%eth0`) or without. A zone means something only on the proxy's machine
/// (RFC 4007, section 6), so it is left out.
fn parse_entry(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?;
    let Some((address, zone)) = entry.split_once('%') else { return parse_address(entry) };
    let port = zone.find(']').and_then(|end| zone.get(end..)).unwrap_or_default();
    parse_address(&format!("{address}{port}")).filter(IpAddr::is_ipv6)
}

fn parse_address(text: &str) -> Option<IpAddr> {
    let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = unbracketed {
        return address.parse().ok().map(IpAddr::V6);
    }
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port)
}

/// The user agent without control characters, so that it can be logged and shown.
fn user_agent(headers: &HeaderMap) -> String {
    let bytes = headers.get(USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    // No more is decoded than can be kept, even if all of it were the longest characters.
    let bytes = bytes.get(..4 * MAX_USER_AGENT).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    const PROXY: &str = "10.0.0.1:4711";

    fn client_of(peer: &str, headers: &[(&str, &[u8])]) -> (Client, ProxyNote) {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let trusted =
            ["10.0.0.0/8", "127.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        client(&head, peer.parse().unwrap(), &trusted)
    }

    fn forwarded(peer: &str, values: &[&str]) -> (String, ProxyNote) {
        let headers: Vec<_> =
            values.iter().map(|value| ("x-forwarded-for", value.as_bytes())).collect();
        let (client, note) = client_of(peer, &headers);
        (client.address.to_string(), note)
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_is_the_client() {
        for (values, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.9, 192.0.2.1, 10.0.0.7"], "192.0.2.1"),
            (&["203.0.113.9", "192.0.2.1", "10.0.0.7 ,127.0.0.1"], "192.0.2.1"),
            (&["garbage, 192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1:5678"], "192.0.2.1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:443"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, ::ffff:10.0.0.7, fd00::5"], "192.0.2.1"),
            (&["\t192.0.2.1 ,, "], "192.0.2.1"),
            (&["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
            (&["fe80::1%eth0"], "fe80::1"),
            (&["[fe80::1%eth0]"], "fe80::1"),
            (&["[fe80::1%25wlan0]:443, fd00::5%lo"], "fe80::1"),
            (&["192.0.2.7, fd00::5%2"], "192.0.2.7"),
        ] {
            let expected = (expected.to_owned(), ProxyNote::Forwarded);
            assert_eq!(forwarded(PROXY, values), expected, "{values:?}");
        }
        // What is no address ends the walk.
        for (values, expected) in [
            (&["unknown"][..], "10.0.0.1"),
            (&["192.0.2.1, garbage"], "10.0.0.1"),
            (&["192.0.2.1, garbage, 10.0.0.7"], "10.0.0.7"),
            (&["192.0.2.256"], "10.0.0.1"),
            (&["192.0.2.1:99999"], "10.0.0.1"),
            (&["[192.0.2.1]"], "10.0.0.1"),
            (&["2001:db8::1]"], "10.0.0.1"),
            (&["192.0.2.1%eth0"], "10.0.0.1"),
            (&["192.0.2.1%eth0:80"], "10.0.0.1"),
            (&["%eth0"], "10.0.0.1"),
            (&["[fe80::1%eth0:80"], "10.0.0.1"),
            (&["fe80::1%eth0]:80"], "10.0.0.1"),
            (&["\u{fc}"], "10.0.0.1"),
        ] {
            let expected = (expected.to_owned(), ProxyNote::Malformed);
            assert_eq!(forwarded(PROXY, values), expected, "{values:?}");
        }
    }

    #[test]
    fn the_header_is_believed_from_trusted_peers_only() {
        let untrusted = ("198.51.100.4".to_owned(), ProxyNote::Untrusted);
        assert_eq!(forwarded("198.51.100.4:1", &["192.0.2.1"]), untrusted);
        assert_eq!(forwarded("[::ffff:10.0.0.1]:1", &["192.0.2.1"]).0, "192.0.2.1");
        assert_eq!(forwarded("198.51.100.4:1", &[]).1, ProxyNote::Direct);
        for nothing in [&[][..], &[""], &[",,,"], &["", " , "]] {
            assert_eq!(forwarded(PROXY, nothing), ("10.0.0.1".to_owned(), ProxyNote::Direct));
        }
    }

    #[test]
    fn only_so_many_entries_are_looked_at() {
        let proxies = |count| "10.0.0.7, ".repeat(count);
        let within = format!("192.0.2.1, {}10.0.0.7", proxies(MAX_ENTRIES - 2));
        assert_eq!(forwarded(PROXY, &[&within]).0, "192.0.2.1");
        let beyond = format!("192.0.2.1, {}10.0.0.7", proxies(MAX_ENTRIES - 1));
        assert_eq!(forwarded(PROXY, &[&beyond]).0, "10.0.0.7");
    }

    #[test]
    fn the_user_agent_is_cut_and_cleaned() {
        let agent_of = |value: &[u8]| client_of(PROXY, &[("user-agent", value)]).0.user_agent;
        assert_eq!(agent_of(b"curl/8.5"), "curl/8.5");
        assert_eq!(agent_of(b"a\tb\xc2\x85c\xffd"), "abc\u{fffd}d");
        assert_eq!(agent_of(&b"x".repeat(5_000)).len(), MAX_USER_AGENT);
        assert_eq!(client_of(PROXY, &[]).0.user_agent, "");
    }
}
