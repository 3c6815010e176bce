//! The keys of `[server]`.

use std::net::SocketAddr;

use url::Url;

use super::{HOUR, KIB, MIB, MILLION, SECOND};
use crate::config::origins::{may_share_site, parse_origin};
use crate::config::reader::Section;
use crate::config::urls::{is_plaintext, parse_network};
use crate::config::{PublicUrl, ServerConfig};

/// What a URL that links start with looks like.
const BASE_URL: &str = "an http or https URL without user name, query and fragment, such as \
                        \"https://accounts.example.com\"";

/// The address to listen on, if others than this machine can reach it.
pub(super) fn exposed(listen: SocketAddr) -> Option<SocketAddr> {
    Some(listen).filter(|address| !address.ip().to_canonical().is_loopback())
}

pub(super) fn server(mut section: Section<'_>) -> ServerConfig {
    let address = "an IP address and a port, such as \"127.0.0.1:8000\"";
    let networks = "networks and addresses, such as \"10.0.0.0/8\" or \"::1\"";
    let origins = "origins of scheme, host and port alone, such as \"https://app.example.com\" or \
                   \"capacitor://localhost\"; \"*\" and \"null\" are refused, since any page could \
                   then act for its visitors";
    let config = ServerConfig {
        listen: section.parsed("listen", "127.0.0.1:8000", address, |text| text.parse().ok()),
        public_url: section.optional("public_url", BASE_URL, PublicUrl::parse),
        frontend_url: section.optional("frontend_url", BASE_URL, |text| {
            // A content security policy cannot name a host with an underscore.
            PublicUrl::parse(text).filter(|url| !url.authority().contains('_'))
        }),
        trusted_proxies: section.list(
            "trusted_proxies",
            "127.0.0.0/8, ::1",
            networks,
            parse_network,
        ),
        allowed_origins: section.list("allowed_origins", "", origins, parse_origin),
        max_connections: section.integer("max_connections", 4096, 8..=MILLION),
        max_connections_per_address: section.limit("max_connections_per_address", 256, 1..=MILLION),
        max_body: section.size("max_body", "64KiB", KIB..=16 * MIB),
        header_timeout: section.duration("header_timeout", "10s", SECOND..=HOUR),
        request_timeout: section.duration("request_timeout", "30s", SECOND..=HOUR),
        idle_timeout: section.duration("idle_timeout", "75s", SECOND..=HOUR),
        shutdown_timeout: section.duration("shutdown_timeout", "10s", SECOND..=HOUR),
    };

    if let (Some(address), None) = (exposed(config.listen), &config.public_url) {
        section.problem(
            "public_url",
            format_args!("is required, since {address} is not loopback: {BASE_URL}"),
        );
    }
    if config.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
        section.warn(
            "server.trusted_proxies contains every address: any client can claim any address",
        );
    }
    if let Some(origins) = listed(&config.allowed_origins, |origin| {
        Url::parse(origin).is_ok_and(|page| is_plaintext(&page))
    }) {
        section.warn(format!(
            "server.allowed_origins holds plain http: {origins}; anyone on the way can change such \
             a page, and then act for its visitors"
        ));
    }
    if config.public_url.as_ref().is_some_and(PublicUrl::is_plaintext) {
        section.warn(
            "server.public_url is plain http: passwords, tokens and mailed links can be read on \
             the network; put a proxy with TLS in front, and give its https URL",
        );
    }
    config
}

/// Warns of what keeps browsers from storing or sending the refresh cookie.
pub(super) fn warn_of_cookies(section: &mut Section<'_>, server: &ServerConfig) {
    let of_listener = || PublicUrl::of_listener(server.listen);
    let public_url = server.public_url.clone().unwrap_or_else(of_listener);
    if public_url.is_plaintext() {
        section.warn(
            "cookies.enabled is true, but server.public_url is plain http: browsers store the \
             refresh cookie only over https and on loopback",
        );
    }
    let is_elsewhere = |origin: &str| !may_share_site(origin, public_url.as_str());
    if let Some(origins) = listed(&server.allowed_origins, is_elsewhere) {
        section.warn(format!(
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
