//! Who mail speaks for: the public URL and what it gives a mail server to know us by.

use std::net::{Ipv4Addr, Ipv6Addr};

use lettre::transport::smtp::extension::ClientId;

/// The public URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// The URL, without a slash at its end.
    pub(super) public_url: String,
    /// Its host, and its port where one is written: what people read.
    pub(super) authority: String,
    host: Host,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Domain(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    /// Nothing a mail server would take.
    Unknown,
}

impl Site {
    pub(super) fn new(public_url: &str) -> Self {
        let public_url = public_url.trim_end_matches('/');
        let after_scheme = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
        let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
        Self {
            public_url: public_url.to_owned(),
            authority: authority.to_owned(),
            host: Host::of(authority),
        }
    }

    /// Its domain in ASCII; none where the host is an address.
    pub(super) fn domain(&self) -> Option<&str> {
        match &self.host {
            Host::Domain(domain) => Some(domain),
            Host::V4(_) | Host::V6(_) | Host::Unknown => None,
        }
    }

    /// What a mail server is greeted with (RFC 5321, section 4.1.4).
    pub(super) fn hello_name(&self) -> ClientId {
        match &self.host {
            Host::Domain(domain) => ClientId::Domain(domain.clone()),
            Host::V4(address) => ClientId::Ipv4(*address),
            Host::V6(address) => ClientId::Ipv6(*address),
            Host::Unknown => ClientId::Ipv4(Ipv4Addr::LOCALHOST),
        }
    }
}

impl Host {
    fn of(authority: &str) -> Self {
        if let Some((address, _)) =
            authority.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        {
            return address.parse().map_or(Self::Unknown, Self::V6);
        }
        let name = authority.split_once(':').map_or(authority, |(name, _)| name);
        if let Ok(address) = name.parse() {
            return Self::V4(address);
        }
        let is_domain_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        match idna::domain_to_ascii(name) {
            Ok(domain) if !domain.is_empty() && domain.bytes().all(is_domain_byte) => {
                Self::Domain(domain)
            }
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_greets_with_itself_in_ascii() {
        for (url, authority, domain) in [
            ("https://accounts.example.com", "accounts.example.com", "accounts.example.com"),
            ("https://Bücher.example/auth/", "Bücher.example", "xn--bcher-kva.example"),
            ("http://localhost:8000", "localhost:8000", "localhost"),
        ] {
            let site = Site::new(url);
            assert_eq!(site.authority, authority);
            assert_eq!(site.domain(), Some(domain));
            assert_eq!(site.hello_name(), ClientId::Domain(domain.to_owned()));
        }
        assert_eq!(Site::new("https://a.example/auth/").public_url, "https://a.example/auth");
    }

    #[test]
    fn an_address_greets_as_a_literal() {
        for (url, hello) in [
            ("http://127.0.0.1:8000", "[127.0.0.1]"),
            ("http://[::1]:8000", "[IPv6:::1]"),
            ("http://a b\r\nQUIT", "[127.0.0.1]"),
            ("", "[127.0.0.1]"),
        ] {
            let site = Site::new(url);
            assert_eq!(site.domain(), None, "{url}");
            assert_eq!(site.hello_name().to_string(), hello, "{url}");
        }
    }
}
