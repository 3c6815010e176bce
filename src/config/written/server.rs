//! The keys of `[server]`.

use std::net::SocketAddr;

use super::{HOUR, KIB, MIB, MILLION, SECOND};
use crate::config::reader::Reader;
use crate::config::urls::{parse_network, parse_origin};
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
    let takes = "origins of scheme, host and port alone, such as \"https://app.example.com\"; \
                 \"*\" is none, since any page could then act for whoever visits it";
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
            format_args!("must be given, since {address} is not loopback: {BASE_URL}"),
        );
    }
    if trusted_proxies.iter().flatten().any(|network| network.prefix_len() == 0) {
        reader.warn("server.trusted_proxies holds every address: anyone may claim any other's");
    }
    if let Some(Some(url)) = &public_url
        && url.is_plaintext()
    {
        reader.warn(
            "server.public_url is plain http: passwords, tokens and mailed links can be read on \
             their way; put a proxy with TLS in front, and name its https URL",
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
