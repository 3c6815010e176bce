//! The Content Security Policy of the pages.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The Content Security Policy (level 3): the one style by its hash, our own forms and where they
/// redirect to, and nothing else.
pub(super) fn policy(style: &str, frontend: Option<String>) -> String {
    let style = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let frontend = frontend.map_or_else(String::new, |origin| format!(" {origin}"));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'{frontend}; \
         base-uri 'none'; frame-ancestors 'none'"
    )
}
