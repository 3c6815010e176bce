//! `/.well-known/…`: what services need that check access tokens by themselves.

use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{HeaderMap, StatusCode};

use super::errors::ApiError;
use super::request::{Context, Request};
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

/// How long anyone may pass the list on without asking: what a reader through a cache may be late.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=10");

/// The list of revoked sessions, by which services honour a logout: see
/// [`revocation`](crate::flows::revocation). It is a JWT, or `304` to clients that have it.
pub(super) async fn revoked_sessions(
    context: &Context,
    request: &Request,
) -> Result<Answer, ApiError> {
    let signed = context.revocations.read(&context.app).await?.ok_or(ApiError::NotFound)?;
    let tag = format!("\"{}\"", signed.tag);
    let mut answer = if has(&request.head.headers, &tag) {
        respond::with_body(StatusCode::NOT_MODIFIED, Bytes::new())
    } else {
        let jwt = Bytes::from_owner(Arc::clone(&signed.jwt));
        let mut answer = respond::with_body(StatusCode::OK, jwt);
        let media_type = HeaderValue::from_static("application/jwt");
        answer.headers_mut().insert(CONTENT_TYPE, media_type);
        answer
    };
    answer.headers_mut().insert(CACHE_CONTROL, CACHED);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        answer.headers_mut().insert(ETAG, tag);
    }
    Ok(answer)
}

/// Whether `If-None-Match` (RFC 9110, section 13.1.2) names `tag`, weakly compared. Ours hold no
/// comma, so a list can be taken apart at any.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|known| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_it_is_known_by_any_spelling_of_its_tag() {
        for (values, expected) in [
            (&["\"abc\""][..], true),
            (&["W/\"abc\""], true),
            (&["*"], true),
            (&["\"x\" , \"abc\""], true),
            (&["\"x\"", "\"abc\""], true),
            (&[], false),
            (&[""], false),
            (&["abc"], false),
            (&["\"ABC\""], false),
            (&["w/\"abc\""], false),
            (&["\"abcd\""], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_NONE_MATCH, HeaderValue::from_static(value));
            }
            assert_eq!(has(&headers, "\"abc\""), expected, "{values:?}");
        }
    }
}
