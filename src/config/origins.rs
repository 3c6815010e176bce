//! Origins: whose pages may call from a browser, and which of them can be of the same site as this
//! server.

use std::net::Ipv6Addr;

use url::{Host, Url};

use super::urls::{is_host, parse_http};

/// Schemes whose pages have no origin of their own, for which browsers send `null`, and those that
/// the URL standard knows but no page has.
const WITHOUT_PAGES: [&str; 8] =
    ["about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"];

/// Reads an origin: scheme, host and port alone. The result is what a browser sends in `Origin`
/// (RFC 6454, section 6.2): lower case, IDN in ASCII, no default port.
pub(super) fn parse_origin(text: &str) -> Option<String> {
    match parse_http(text) {
        Some(url) => (url.path() == "/").then(|| url.origin().ascii_serialization()),
        None => parse_native(&text.to_ascii_lowercase()),
    }
}

/// Reads the origin of a native web view or an extension, such as `capacitor://localhost`. The URL
/// standard serializes it as `null`, which any sandboxed page sends as well; browsers send this.
fn parse_native(text: &str) -> Option<String> {
    let (scheme, authority) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let has_pages = !["http", "https"].contains(&scheme) && !WITHOUT_PAGES.contains(&scheme);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = |port: &str| port.parse().is_ok_and(|number: u16| number.to_string() == port);
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.starts_with('[') && is_host(host),
    };
    let is_sound = is_scheme && has_pages && is_host && port.is_none_or(is_port);
    is_sound.then(|| format!("{scheme}://{authority}"))
}

/// Whether a browser may take a page of `origin` for the same site as `url`: the scheme is the
/// same, and the host or its registrable domain (RFC 6265bis, section 5.2). Since that domain is
/// not known without a list of public suffixes, `true` is no promise for two names with the same
/// last two labels; `false` is certain.
pub(super) fn may_share_site(origin: &str, url: &str) -> bool {
    let (Ok(page), Ok(server)) = (Url::parse(origin), Url::parse(url)) else { return false };
    let is_near = match (page.host(), server.host()) {
        (Some(Host::Domain(page)), Some(Host::Domain(server))) => {
            page == server || domain(page).is_some_and(|found| domain(server) == Some(found))
        }
        (page, server) => page == server,
    };
    page.scheme() == server.scheme() && is_near
}

/// The last two labels of a name that has as many: no registrable domain is shorter.
fn domain(name: &str) -> Option<(&str, &str)> {
    let mut labels = name.rsplit('.');
    Some((labels.next()?, labels.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_browsers_send() {
        for (text, origin) in [
            ("http://localhost:5173", "http://localhost:5173"),
            ("https://App.Example:443/", "https://app.example"),
            ("http://bücher.example:80", "http://xn--bcher-kva.example"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("ionic://localhost", "ionic://localhost"),
            ("tauri://localhost/", "tauri://localhost"),
            ("Capacitor://LocalHost:8080", "capacitor://localhost:8080"),
            ("app://obsidian.md", "app://obsidian.md"),
            ("app://1", "app://1"),
            ("x-a+b.c1://[::1]:80", "x-a+b.c1://[::1]:80"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
            ("moz-extension://0E4D5B8F-8e2c-4e0f", "moz-extension://0e4d5b8f-8e2c-4e0f"),
        ] {
            assert_eq!(parse_origin(text).as_deref(), Some(origin), "{text}");
        }
    }

    #[test]
    fn what_no_page_sends_or_every_page_may_is_refused() {
        let is_refused = |text: &str| assert_eq!(parse_origin(text), None, "{text}");
        for text in ["", "*", "null", "a.example", "://x", "1app://x", "a_b://x"] {
            is_refused(text);
        }
        for scheme in ["about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"] {
            for rest in [":x", "://", ":///", "://x", ":https://app.example"] {
                is_refused(&format!("{scheme}{rest}"));
                is_refused(&format!("{}{rest}", scheme.to_uppercase()));
            }
        }
        is_refused("http:///app.example");
        for scheme in ["https", "capacitor"] {
            is_refused(&format!("{scheme}:app.example"));
            for rest in [
                "", "/", "*", "*.a", "h/path", "h//", "h?a", "h#a", "u@h", "a b", "h:x", "h:65536",
                "h:80:80", "[::1", "[x]",
            ] {
                is_refused(&format!("{scheme}://{rest}"));
            }
        }
        // Here the URL standard would only bring it into its own form.
        for rest in ["h:", "h:080", "bücher"] {
            is_refused(&format!("capacitor://{rest}"));
        }
    }

    #[test]
    fn only_what_is_certain_to_be_another_site_is_told_apart() {
        for (origin, url, expected) in [
            ("https://app.example.com", "https://accounts.example.com/auth", true),
            ("https://example.com:8443", "https://accounts.example.com", true),
            ("https://a.co.uk", "https://b.co.uk", true),
            ("http://localhost:5173", "http://localhost:8000", true),
            ("http://127.0.0.1:5173", "http://127.0.0.1:8000", true),
            ("http://[::1]:5173", "http://[::1]:8000", true),
            ("http://a.app.localhost", "http://app.localhost", true),
            ("http://localhost:5173", "http://127.0.0.1:8000", false),
            ("http://127.0.0.1:5173", "http://127.0.0.2:8000", false),
            ("http://127.0.0.1:5173", "http://[::1]:8000", false),
            ("http://app.localhost", "http://localhost", false),
            ("http://app.example.com", "https://accounts.example.com", false),
            ("https://app.example.com", "https://accounts.example.org", false),
            ("https://app.example.com", "https://accounts.other.com", false),
            ("https://com", "https://example.com", false),
            ("https://10.0.0.1", "https://10.0.1", true),
            ("capacitor://localhost", "http://localhost", false),
        ] {
            assert_eq!(may_share_site(origin, url), expected, "{origin} {url}");
        }
    }
}
