//! The Content Security Policy of the pages.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The origin at the start of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin<'a> {
    /// `https://app.example:8443`
    pub(super) text: &'a str,
    /// `app.example:8443`
    pub(super) host: &'a str,
}

impl<'a> Origin<'a> {
    /// Reads it; nothing if the URL does not begin with one that a policy can name.
    pub(super) fn of(url: &'a str) -> Option<Self> {
        let rest = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme))?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // Nothing that could end a directive or a policy, and no user information.
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_allowed) {
            return None;
        }
        let end = url.len() - rest.len() + host.len();
        Some(Self { text: url.get(..end)?, host })
    }
}

/// The Content Security Policy (level 3): the one style by its hash, our own forms and where they
/// redirect to, and nothing else.
pub(super) fn policy(style: &str, frontend: Option<Origin<'_>>) -> String {
    let style = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let frontend = frontend.map_or_else(String::new, |origin| format!(" {}", origin.text));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'{frontend}; \
         base-uri 'none'; frame-ancestors 'none'"
    )
}
