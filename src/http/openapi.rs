//! `GET /api/schema/`: the description of every endpoint, in OpenAPI 3.1.
//!
//! `openapi.json` is written by hand. The tests here compare its operations with the list of routes
//! and its answers with every refusal; the interop tests compare it with a running server, and
//! generate clients from it.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

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

/// The description of this server.
#[derive(Debug)]
pub(super) struct Description {
    text: Bytes,
}

impl Description {
    /// The description with the configuration of `app`.
    pub(super) fn new(app: &App) -> Self {
        Self::of(app.public_url.as_str(), app.config.passwords.policy.min_length)
    }

    fn of(public_url: &str, min_password: usize) -> Self {
        let server = format!(r#""url": {}"#, serde_json::Value::from(public_url));
        let text = TEXT.replacen(SERVER, &server, 1).replacen(
            MIN_PASSWORD,
            &format!(r#""minLength": {min_password}"#),
            1,
        );
        Self { text: text.into() }
    }

    /// The answer to a request for it.
    pub(super) fn show(&self) -> Answer {
        let mut answer = respond::with_body(StatusCode::OK, self.text.clone());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, CACHED);
        answer
    }
}

#[cfg(test)]
mod tests;
