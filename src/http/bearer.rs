//! Who the bearer of the `Authorization` header is (RFC 6750, section 2.1).

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use super::errors::ApiError;
use super::request::Request;
use crate::app::App;
use crate::domain::{Session, User};
use crate::flows::profile;
use crate::jwt::TokenError;

/// The user and session behind the access token of a request.
pub(super) fn authenticate(
    app: &App,
    request: &Request,
) -> Result<(Arc<User>, Arc<Session>), ApiError> {
    Ok(profile::authenticate(app, token(&request.head.headers)?)?)
}

/// The one token after `Bearer`, a word that is read without regard to letter case (RFC 9110,
/// section 11.1).
pub(super) fn token(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(ApiError::NotAuthenticated)?;
    if values.next().is_some() {
        return Err(ApiError::BadAuthorizationHeader);
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = value.as_bytes().trim_ascii();
    let end_of_scheme = value.iter().position(is_blank).unwrap_or(value.len());
    let (scheme, token) = value.split_at(end_of_scheme);
    let token = token.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(ApiError::NotAuthenticated);
    }
    // All of it is looked at, so that many bytes are at once.
    let has_blank = token.iter().fold(false, |found, byte| found | is_blank(byte));
    if token.is_empty() || has_blank {
        return Err(ApiError::BadAuthorizationHeader);
    }
    std::str::from_utf8(token).map_err(|_| ApiError::AccessToken(TokenError::Invalid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn the_header_is_read_as_the_contract_says() {
        let headers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            headers
        };
        for value in ["Bearer abc", "bearer abc", "BEARER  abc", " Bearer\tabc "] {
            assert_eq!(token(&headers(&[value])).ok(), Some("abc"), "{value}");
        }
        for values in [&[][..], &[""], &["Basic abc"], &["abc"], &["Bearerabc"]] {
            let refused = token(&headers(values)).unwrap_err();
            assert!(matches!(refused, ApiError::NotAuthenticated), "{values:?}");
        }
        for values in [&["Bearer"][..], &["Bearer "], &["Bearer a b"], &["Bearer a", "Bearer b"]] {
            let refused = token(&headers(values)).unwrap_err();
            assert!(matches!(refused, ApiError::BadAuthorizationHeader), "{values:?}");
        }
    }
}
