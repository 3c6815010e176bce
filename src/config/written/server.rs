//! The keys of `[server]`.

use std::net::SocketAddr;

use super::{HOUR, KIB, MIB, MILLION, SECOND};
use crate::config::origins::{is_plaintext, may_share_site, parse_origin};
use crate::config::reader::Reader;
use crate::config::urls::parse_network;
use crate::config::{PublicUrl, ServerConfig};

/// What a URL that links start with looks like.
const BASE_URL: &str = "an http or https URL without user name, query and fragment, such as \
                        \"https://accounts.example.com\"";

/// The address to listen on. It is read by itself, since other rules hang on it.
pub(super) fn listen(reader: &mut Reader) -> Option<SocketAddr> {
    let takes = "an IP address and a port, such as \"127.0.0.1:8000\"";
    reader.section("server").parsed("listen", "127.0.0.1:8000", takes, |text| text.parse().ok())
}

/// `exposed` is the address to listen on if others than this machine can reach it.
pub(super) fn server(
    reader: &mut Reader,
    listen: Option<SocketAddr>,
    exposed: Option<SocketAddr>,
) -> Option<ServerConfig> {
    let mut section = reader.section("server");
    let public_url = section.optional("public_url", BASE_URL, PublicUrl::parse);
    let frontend_url = section.optional("frontend_url", BASE_URL, |text| {
        // A content security policy cannot name a host with an underscore.
        PublicUrl::parse(text).filter(|url| !url.authority().contains('_'))
    });
    let takes = "networks and addresses, such as \"10.0.0.0/8\" or \"::1\"";
    let trusted_proxies = section.list("trusted_proxies", "127.0.0.0/8, ::1", takes, parse_network);
    let takes = "origins of scheme, host and port alone, such as \"https://app.example.com\" or \
                 \"capacitor://localhost\"; \"*\" and \"null\" are refused, since any page could \
                 then act for its visitors";
    let allowed_origins = section.list("allowed_origins", "", takes, parse_origin);
    let max_connections = section.count("max_connections", 4096, 8..=MILLION);
    let max_connections_per_address =
        section.count_or_zero("max_connections_per_address", 256, 1..=MILLION, "no limit");
    let max_body = section.size("max_body", "64KiB", KIB..=16 * MIB);
    let header_timeout = section.duration("header_timeout", "10s", SECOND..=HOUR);
    let request_timeout = section.duration("request_timeout", "30s", SECOND..=HOUR);
    let idle_timeout = section.duration("idle_timeout", "75s", SECOND..=HOUR);
    let shutdown_timeout = section.duration("shutdown_timeout", "10s", SECOND..=HOUR);

    if let (Some(address), Some(None)) = (exposed, &public_url) {
        section.problem(
            "public_url",
            format_args!("is required, since {address} is not loopback: {BASE_URL}"),
        );
    }
    if trusted_proxies.iter().flatten().any(|network| network.prefix_len() == 0) {
        reader.warn(
            "server.trusted_proxies contains every address: any client can claim any address",
        );
    }
    let origins = allowed_origins.as_deref().unwrap_or_default();
    if let Some(origins) = listed(origins, is_plaintext) {
        reader.warn(format!(
            "server.allowed_origins holds plain http: {origins}; anyone on the way can change such \
             a page, and then act for its visitors"
        ));
    }
    if let Some(Some(url)) = &public_url
        && url.is_plaintext()
    {
        reader.warn(
            "server.public_url is plain http: passwords, tokens and mailed links can be read on \
             the network; put a proxy with TLS in front, and give its https URL",
        );
    }
    Some(ServerConfig {
        listen: listen?,
        public_url: public_url?,
        frontend_url: frontend_url?,
        trusted_proxies: trusted_proxies?,
        allowed_origins: allowed_origins?,
        max_connections: max_connections?,
        max_connections_per_address: max_connections_per_address?,
        max_body: max_body?,
        header_timeout: header_timeout?,
        request_timeout: request_timeout?,
        idle_timeout: idle_timeout?,
        shutdown_timeout: shutdown_timeout?,
    })
}

/// Warns of what keeps browsers from storing or sending the refresh cookie.
pub(super) fn warn_of_cookies(reader: &mut Reader, server: &ServerConfig) {
    let of_listener = || PublicUrl::of_listener(server.listen);
    let public_url = server.public_url.clone().unwrap_or_else(of_listener);
    if public_url.is_plaintext() {
        reader.warn(
            "cookies.enabled is true, but server.public_url is plain http: browsers store the \
             refresh cookie only over https and on loopback",
        );
    }
    let is_elsewhere = |origin: &str| !may_share_site(origin, public_url.as_str());
    if let Some(origins) = listed(&server.allowed_origins, is_elsewhere) {
        reader.warn(format!(
            "cookies.enabled is true, but pages of {origins} can never use the refresh cookie, \
             since they are of another site than {public_url}: a site is a scheme and a domain, so \
             that http://localhost and http://127.0.0.1 are two"
        ));
    }
}

/// Those of `origins` that `is_meant` picks, as a list; `None` if there are none.
fn listed(origins: &[String], is_meant: impl Fn(&str) -> bool) -> Option<String> {
    let picked: Vec<&str> = origins.iter().map(String::as_str).filter(|it| is_meant(it)).collect();
    (!picked.is_empty()).then(|| picked.join(", "))
}
