//! A URL that links start with, parsed once.

use std::fmt;
use std::net::SocketAddr;

use url::{Host, Url};

use super::urls::{is_plaintext, parse_http};

/// The base of links: `http` or `https`, a host, and optionally a port and a path. Displayed
/// without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// Parses `text`; `None` if it is not such a URL. A user name, a password, a query or a
    /// fragment is not allowed.
    pub fn parse(text: &str) -> Option<Self> {
        parse_http(text).map(Self)
    }

    /// The URL of a server that listens on `address`, without TLS.
    #[expect(clippy::expect_used, reason = "an IP address and a port make a URL")]
    pub fn of_listener(address: SocketAddr) -> Self {
        // Without the scope of an IPv6 address, which no URL has.
        let address = SocketAddr::new(address.ip(), address.port());
        Self(Url::parse(&format!("http://{address}")).expect("a URL"))
    }

    /// The URL without a slash at its end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// What a browser sends in `Origin` from this URL (RFC 6454, section 6.2), such as
    /// `https://app.example:8443`.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Host and port, such as `app.example:8443`; without the port where it is the default.
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// The path without a slash at its end; empty where there is none.
    pub fn path(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// The host: a name in ASCII, or an address.
    pub fn host(&self) -> Option<Host<&str>> {
        self.0.host()
    }

    /// The host as a domain name that mail servers accept; `None` for an address or a name with an
    /// underscore.
    pub fn mail_domain(&self) -> Option<&str> {
        match self.host()? {
            Host::Domain(name) => Some(name).filter(|name| !name.contains('_')),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    /// Whether requests to this URL leave the machine without TLS.
    pub fn is_plaintext(&self) -> bool {
        is_plaintext(&self.0)
    }

    /// The labels of the host that identify someone: all except the top-level domain and `www`. An
    /// address has none.
    pub(super) fn host_labels(&self) -> Vec<&str> {
        let Some(Host::Domain(name)) = self.host() else { return Vec::new() };
        let mut labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
        labels.pop();
        labels.retain(|label| *label != "www");
        labels
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PublicUrl {
        PublicUrl::parse(text).unwrap()
    }

    #[test]
    fn urls_are_normalized_and_taken_apart() {
        for (text, origin, authority, path) in [
            ("HTTPS://Id.A.example:443/auth//", "https://id.a.example", "id.a.example", "/auth"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "127.0.0.1:8000", ""),
            ("http://[::1]:8000/x/y", "http://[::1]:8000", "[::1]:8000", "/x/y"),
            ("https://bü.example", "https://xn--b-eha.example", "xn--b-eha.example", ""),
        ] {
            let url = url(text);
            assert_eq!(url.to_string(), format!("{origin}{path}"));
            assert_eq!(
                (url.origin().as_str(), url.authority(), url.path()),
                (origin, authority, path)
            );
        }
    }

    #[test]
    fn a_listener_has_a_url() {
        for (address, expected) in [
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("[::1]:8000", "http://[::1]:8000"),
            ("[fe80::1%7]:8000", "http://[fe80::1]:8000"),
        ] {
            let url = PublicUrl::of_listener(address.parse().unwrap());
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn plain_http_is_in_view_wherever_it_leaves_the_machine() {
        for (text, is_plaintext) in [
            ("https://accounts.example.com", false),
            ("http://localhost:8000", false),
            ("http://accounts.localhost", false),
            ("http://127.0.0.1:8000", false),
            ("http://[::1]", false),
            ("http://accounts.example.com", true),
            ("http://192.0.2.1", true),
            ("http://localhost.example", true),
            ("capacitor://localhost", false),
            ("app://obsidian.md", false),
        ] {
            assert_eq!(super::is_plaintext(&Url::parse(text).unwrap()), is_plaintext, "{text}");
        }
    }

    #[test]
    fn the_labels_that_name_somebody_are_those_below_the_top() {
        for (text, labels) in [
            ("https://accounts.example.com", &["accounts", "example"][..]),
            ("https://www.example.co.uk/auth", &["example", "co"]),
            ("https://example.com.:8443", &["example"]),
            ("http://localhost:8000", &[]),
            ("http://127.0.0.1:8000", &[]),
            ("http://[::1]", &[]),
        ] {
            assert_eq!(url(text).host_labels(), labels, "{text}");
        }
    }

    #[test]
    fn only_a_domain_name_is_one_for_mail() {
        for (text, domain) in [
            ("https://bücher.example/auth", Some("xn--bcher-kva.example")),
            ("http://localhost:8000", Some("localhost")),
            ("http://my_service:8000", None),
            ("http://127.0.0.1:8000", None),
            ("http://[::1]:8000", None),
        ] {
            assert_eq!(url(text).mail_domain(), domain, "{text}");
        }
    }
}
