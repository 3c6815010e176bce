//! URLs and host names, in the one form in which they are compared and put into links.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

/// Reads a host name or an IP address, without a port.
pub(super) fn parse_host(text: &str) -> Option<String> {
    if text.parse::<IpAddr>().is_ok() {
        return Some(text.to_owned());
    }
    match Host::parse(text).ok()? {
        Host::Domain(name) => Some(name).filter(|name| is_host(name)),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

/// Reads a network (`10.0.0.0/8`) or a single address (`::1`).
pub(super) fn parse_network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok();
    network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(|network| network.trunc())
}

/// Whether `text` looks like a URL that carries a user name or a password.
pub(super) fn has_credentials(text: &str) -> bool {
    let authority = text.split_once("//").map(|(_, rest)| rest);
    authority.is_some_and(|rest| rest.contains('@'))
}

/// Whether `host` is this machine.
fn is_local_host(host: Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.to_canonical().is_loopback(),
    }
}

/// Whether requests to this URL, or the load of its page, leave the machine without TLS.
pub(super) fn is_plaintext(url: &Url) -> bool {
    url.scheme() == "http" && !url.host().is_some_and(is_local_host)
}

/// Parses an `http` or `https` URL without user name, password, query or fragment. What the URL
/// standard would repair (`https:host`, blanks, tabs, backslashes) is refused.
pub(super) fn parse_http(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let is_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let needs_repair = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    if !is_http || rest.starts_with('/') || text.contains(needs_repair) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    (is_plain && url.host_str().is_some_and(is_host)).then_some(url)
}

/// Whether `host`, as the URL standard reads it, can be one: that standard also takes quotes,
/// semicolons and asterisks, which no host's name has and which mean something where a URL is
/// written.
pub(super) fn is_host(host: &str) -> bool {
    let is_ipv6 = host.starts_with('[');
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    is_ipv6 || host.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_http_url_is_refused() {
        for text in ["", "h", "//h", "ftp://h", "https:h", "https:///h", "https:\\\\h"] {
            assert_eq!(parse_http(text), None, "{text}");
        }
        for rest in [
            "", ":80", "a b", "a\tb", "u@h", ":p@h", "h?a=b", "h/?", "h/#", "h:70000", "h\"x",
            "h;x", "h,x", "h'x", "*.h",
        ] {
            assert_eq!(parse_http(&format!("https://{rest}")), None, "{rest}");
        }
        assert!(has_credentials("https://user:password@example.com"));
        assert!(!has_credentials("https://example.com"));
    }

    #[test]
    fn hosts_have_no_port_and_no_scheme() {
        assert_eq!(parse_host("Mail.Example.com").as_deref(), Some("mail.example.com"));
        assert_eq!(parse_host("127.0.0.1").as_deref(), Some("127.0.0.1"));
        assert_eq!(parse_host("::1").as_deref(), Some("::1"));
        for text in ["", "m.a:25", "smtp://m.a", "a b", "[::1]", "a@b", "m\"x", "m;x"] {
            assert_eq!(parse_host(text), None, "{text}");
        }
    }

    #[test]
    fn networks_may_be_single_addresses() {
        assert_eq!(parse_network("10.1.2.3"), "10.1.2.3/32".parse().ok());
        assert_eq!(parse_network("10.1.2.3/8"), "10.0.0.0/8".parse().ok());
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8"] {
            assert_eq!(parse_network(text), None, "{text}");
        }
    }
}
