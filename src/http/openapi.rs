//! `GET /api/schema/`: the description of every endpoint, in OpenAPI 3.1.
//!
//! It is written by hand in `openapi.json`. The tests here hold its operations to the list of
//! routes and its answers to every refusal there is; the interop tests hold it to a running server.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::respond::{self, Answer};
use crate::app::App;

/// The description of a server that was not configured.
const TEXT: &str = include_str!("openapi.json");

/// Where the server is, as [`TEXT`] has it.
const SERVER: &str = r#""url": "http://127.0.0.1:8000""#;

/// The fewest characters of a new password, as [`TEXT`] has it: nothing else has this minimum.
const MIN_PASSWORD: &str = r#""minLength": 8"#;

/// How long anyone may keep the description. It changes only with the release or the configuration.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The description of this server.
#[derive(Debug)]
pub(super) struct Description {
    text: Bytes,
}

impl Description {
    /// The description, with what `app` was configured to be.
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

    /// The answer that hands it out.
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
