//! `/.well-known/…`: what services need that check access tokens by themselves.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};

use super::errors::ApiError;
use super::respond::{self, Answer};
use crate::app::App;

/// The longest that a key set may be kept, however long new keys are published before they sign:
/// a key that was withdrawn should not be believed for days.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// The public keys of access tokens (RFC 7517), for everyone; not found where a secret signs.
///
/// Scripts of other origins may read it only where they are configured, as everything here. The
/// clock guard has no say: a clock that is behind only makes the set larger.
pub(super) fn jwks(app: &App) -> Result<Answer, ApiError> {
    let set = app.tokens.jwk_set(app.clock.read().wall).ok_or(ApiError::NotFound)?;
    let mut answer = respond::json(StatusCode::OK, &set);
    let max_age = max_age(app.config.tokens.key_activation).as_secs();
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={max_age}")) {
        answer.headers_mut().insert(CACHE_CONTROL, value);
    }
    Ok(answer)
}

/// How long a key set may be kept, in whole seconds: at most half the time that a new key is
/// published before it signs, so that nobody meets a signature by a key that they cannot know.
pub fn max_age(key_activation: Duration) -> Duration {
    Duration::from_secs((key_activation / 2).min(MAX_AGE).as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_set_is_kept_for_half_the_activation_and_an_hour_at_most() {
        for (activation, expected) in
            [(0, 0), (1, 0), (2, 1), (3, 1), (3_600, 1_800), (7_200, 3_600), (2_592_000, 3_600)]
        {
            let max_age = max_age(Duration::from_secs(activation));
            assert_eq!(max_age, Duration::from_secs(expected), "{activation}");
        }
    }
}
