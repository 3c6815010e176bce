//! `GET /api/schema/`: the description of every endpoint, in OpenAPI 3.1.
//!
//! `openapi.json` is written by hand. The tests here compare its operations with the list of routes
//! and its answers with every refusal; the interop tests compare it with a running server, and
//! generate clients from it.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue};

use super::respond::{self, Answer};
use crate::app::App;

/// The description with the default configuration.
const TEXT: &str = include_str!("openapi.json");

/// The server's URL in [`TEXT`].
const SERVER: &str = r#""url": "http://127.0.0.1:8000""#;

/// The minimum length of a new password in [`TEXT`]. Nothing else has this minimum.
const MIN_PASSWORD: &str = r#""minLength": 8"#;

/// The description changes only with the release or the configuration.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The description with the configuration of `app`.
pub(super) fn description(app: &App) -> Bytes {
    described(app.public_url.as_str(), app.config.passwords.policy.min_length)
}

fn described(public_url: &str, min_password: usize) -> Bytes {
    let server = format!(r#""url": {}"#, serde_json::Value::from(public_url));
    let minimum = format!(r#""minLength": {min_password}"#);
    TEXT.replacen(SERVER, &server, 1).replacen(MIN_PASSWORD, &minimum, 1).into()
}

/// `GET /api/schema/`
pub(super) fn show(description: &Bytes) -> Answer {
    let mut answer = respond::json_bytes(StatusCode::OK, description.clone());
    answer.headers_mut().insert(CACHE_CONTROL, CACHED);
    answer
}

#[cfg(test)]
mod tests;
