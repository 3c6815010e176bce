//! `/.well-known/…`: what services need that check access tokens by themselves.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};

use super::errors::ApiError;
use super::request::Context;
use super::respond::{self, Answer};
use crate::keys::Schedule;

/// The public keys of access tokens (RFC 7517), for everyone; not found where a secret signs.
///
/// Scripts of other origins may read it only where they are configured, as everything here. The
/// clock guard has no say: a clock that is behind only makes the set larger.
pub(super) fn jwks(context: &Context) -> Result<Answer, ApiError> {
    let app = &context.app;
    let set = app.tokens.jwk_set(app.clock.read().wall).ok_or(ApiError::NotFound)?;
    let mut answer = respond::json(StatusCode::OK, &set);
    let max_age =
        Schedule::of(&app.config.tokens, app.keys.current().signing()).max_age().as_secs();
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={max_age}")) {
        answer.headers_mut().insert(CACHE_CONTROL, value);
    }
    Ok(answer)
}
