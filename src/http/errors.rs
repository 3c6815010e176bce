//! Refusals: everything the API answers outside 2xx, and the one place that gives each its status,
//! body and headers.

use std::time::Duration;

use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, StatusCode};
use serde::Serialize;
use thiserror::Error;

use super::field_errors::{FieldErrors, FieldProblem};
use super::respond::{self, Answer, whole_seconds};
use crate::config::SimpleJwt;
use crate::flows::credentials::PasswordRefused;
use crate::flows::mail_request::RequestRefused;
use crate::flows::profile::NotAuthenticated;
use crate::flows::refresh::RefreshRefused;
use crate::flows::{Failure, Throttled};
use crate::jwt::TokenError;
use crate::server::BodyProblem;
use crate::store::StoreError;
use crate::throttle::LockedOut;

/// When it is worth trying again after storage was away.
pub(super) const STORAGE_RETRY: Duration = Duration::from_secs(2);
/// The longest wait that is given while the clock is behind: it may be set at any moment.
const CLOCK_RETRY: Duration = Duration::from_secs(60);
/// How soon there may be room for a body again: slow clients hold theirs for seconds.
const BODY_RETRY: Duration = Duration::from_secs(5);

/// What the API refuses. Its `Display` is the `detail` that the client gets; the log is told
/// elsewhere. A duration is when to come back.
#[derive(Clone, Debug, Error)]
pub enum ApiError {
    /// Fields are missing or bad, or the body is JSON but no object.
    #[error("Invalid input.")]
    Fields(FieldErrors),
    /// The body is not JSON: why, without anything of the body.
    #[error("JSON parse error - {0}")]
    BadJson(String),
    /// The body is a form, but not in UTF-8.
    #[error("Form parse error - invalid UTF-8")]
    BadForm,
    /// The body broke off, or its length was announced in two ways. The connection closes.
    #[error("Request body could not be read.")]
    BadBody,
    /// The body is of a type that is not read: its name, without parameters.
    #[error("Unsupported media type \"{}\" in request.", respond::shortened(.0))]
    UnsupportedMediaType(String),
    /// The body is compressed: the coding's name.
    #[error("Unsupported content encoding \"{}\" in request.", respond::shortened(.0))]
    UnsupportedContentCoding(String),
    /// There is no such path.
    #[error("Not found.")]
    NotFound,
    /// The path has other methods.
    #[error("Method \"{}\" not allowed.", respond::shortened(.method.as_str()))]
    MethodNotAllowed {
        /// The one that was asked for.
        method: Method,
        /// Those it has, from `respond::allow`.
        allow: HeaderValue,
    },
    /// The body is over the limit. The connection closes, since the rest of it is not read.
    #[error("Request body is too large.")]
    BodyTooLarge,
    /// The request took too long. The connection closes.
    #[error("Request timed out.")]
    TimedOut,
    /// Overloaded, storage away, or the clock behind.
    #[error("Service temporarily unavailable.")]
    Unavailable(Duration),
    /// Not ready to serve: why, for `/readyz`.
    #[error("{0}")]
    NotReady(String),
    /// A rate limit.
    #[error("Request was throttled. Expected available in {}.", in_words(*.0))]
    Throttled(Duration),
    /// Too many failed logins.
    #[error("Too many failed attempts. Please try again later.")]
    LockedOut(LockedOut),
    /// At login: unknown email, wrong password, or disabled account.
    #[error("Invalid email or password")]
    InvalidCredentials,
    /// The same at SimpleJWT's own login.
    #[error("No active account found with the given credentials")]
    NoActiveAccount,
    /// At login: the right password of an unverified account, where that is asked for.
    #[error("Email address is not verified.")]
    EmailNotVerified,
    /// Registration is switched off.
    #[error("Registration is closed.")]
    RegistrationClosed,
    /// A cookie came along with a request that another site's page may have made.
    #[error("Cross-site request refused.")]
    CrossSite,
    /// No `Authorization`, or another scheme.
    #[error("Authentication credentials were not provided.")]
    NotAuthenticated,
    /// `Bearer` with no or several values.
    #[error("Authorization header must contain two space-delimited values")]
    BadAuthorizationHeader,
    /// The access token is no good, or its session has ended.
    #[error("Given token not valid for any token type")]
    AccessToken(TokenError),
    /// The access token's user is gone.
    #[error("User not found")]
    UserNotFound,
    /// The refresh token is no good, reused or revoked.
    #[error("{}", of_token(*.0, SimpleJwt::V5_3))]
    RefreshToken(TokenError),
    /// At a refresh: the account is disabled.
    #[error("No active account found for the given token.")]
    DisabledAccount,
    /// Something broke that is none of the client's business.
    #[error("Internal server error.")]
    Internal,
}

impl From<FieldErrors> for ApiError {
    fn from(errors: FieldErrors) -> Self {
        Self::Fields(errors)
    }
}

impl From<BodyProblem> for ApiError {
    fn from(problem: BodyProblem) -> Self {
        match problem {
            BodyProblem::TooLarge => Self::BodyTooLarge,
            BodyProblem::TooSlow => Self::TimedOut,
            BodyProblem::Broken => Self::BadBody,
            BodyProblem::NoRoom => Self::Unavailable(BODY_RETRY),
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::ClockBehind(behind) => {
                Self::Unavailable(behind.catches_up_in().min(CLOCK_RETRY))
            }
            Failure::Busy { retry_after } => Self::Unavailable(retry_after),
            Failure::Store(StoreError::Unavailable) => Self::Unavailable(STORAGE_RETRY),
            Failure::Store(StoreError::Corrupt) => Self::Internal,
        }
    }
}

impl From<Throttled> for ApiError {
    fn from(throttled: Throttled) -> Self {
        Self::Throttled(throttled.retry_after)
    }
}

impl From<RequestRefused> for ApiError {
    fn from(refused: RequestRefused) -> Self {
        match refused {
            RequestRefused::Throttled(throttled) => throttled.into(),
            RequestRefused::Failed(failure) => failure.into(),
        }
    }
}

impl From<NotAuthenticated> for ApiError {
    fn from(refused: NotAuthenticated) -> Self {
        match refused {
            NotAuthenticated::Token(error) => Self::AccessToken(error),
            NotAuthenticated::NoSession => Self::AccessToken(TokenError::Invalid),
            NotAuthenticated::NoUser => Self::UserNotFound,
            NotAuthenticated::Failed(failure) => failure.into(),
        }
    }
}

impl From<RefreshRefused> for ApiError {
    fn from(refused: RefreshRefused) -> Self {
        match refused {
            RefreshRefused::Token(error) => Self::RefreshToken(error),
            RefreshRefused::Session => Self::RefreshToken(TokenError::Invalid),
            RefreshRefused::Disabled => Self::DisabledAccount,
            RefreshRefused::Failed(failure) => failure.into(),
        }
    }
}

impl ApiError {
    /// The refusal of a current password, which is called `field`; `wrong` is the problem of a
    /// wrong one.
    pub(super) fn current_password(
        refused: PasswordRefused,
        field: &'static str,
        wrong: FieldProblem,
    ) -> Self {
        match refused {
            PasswordRefused::Wrong => FieldErrors::of(field, wrong).into(),
            PasswordRefused::LockedOut(lockout) => Self::LockedOut(lockout),
            PasswordRefused::NotAuthorised => Self::AccessToken(TokenError::Invalid),
            PasswordRefused::Failed(failure) => failure.into(),
        }
    }

    /// The answer, worded as SimpleJWT 5.3 does.
    pub(super) fn into_answer(self) -> Answer {
        self.answer_as(SimpleJwt::V5_3)
    }

    /// The answer as a release of SimpleJWT words it.
    pub(super) fn answer_as(self, release: SimpleJwt) -> Answer {
        let detail = match (&self, release) {
            (Self::DisabledAccount, SimpleJwt::V5_3) => {
                return Self::RefreshToken(TokenError::Invalid).into_answer();
            }
            (Self::RefreshToken(error), _) => of_token(*error, release).to_owned(),
            _ => self.to_string(),
        };
        let mut answer = match &self {
            Self::Fields(errors) => respond::json(self.status(), errors),
            _ => respond::json(self.status(), &self.body(&detail, release)),
        };
        if let Some((name, value)) = self.header() {
            answer.headers_mut().insert(name, value);
        }
        answer
    }

    fn body<'a>(&self, detail: &'a str, release: SimpleJwt) -> Body<'a> {
        let code = match self {
            Self::EmailNotVerified => Some("email_not_verified"),
            Self::LockedOut(LockedOut { is_slowed: true, .. }) => Some("account_slowed"),
            Self::LockedOut(LockedOut { is_slowed: false, .. }) => Some("account_locked"),
            Self::BadAuthorizationHeader => Some("bad_authorization_header"),
            Self::UserNotFound => Some("user_not_found"),
            Self::AccessToken(_) | Self::RefreshToken(_) => Some("token_not_valid"),
            _ => None,
        };
        let messages = match self {
            Self::AccessToken(error) => Some([Message {
                token_class: "AccessToken",
                token_type: "access",
                message: of_token(*error, release),
            }]),
            _ => None,
        };
        Body { detail, code, messages }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Fields(_) | Self::BadJson(_) | Self::BadForm | Self::BadBody => {
                StatusCode::BAD_REQUEST
            }
            Self::UnsupportedMediaType(_) | Self::UnsupportedContentCoding(_) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::Unavailable(_) | Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Throttled(_) | Self::LockedOut(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::EmailNotVerified | Self::RegistrationClosed | Self::CrossSite => {
                StatusCode::FORBIDDEN
            }
            Self::InvalidCredentials
            | Self::NoActiveAccount
            | Self::NotAuthenticated
            | Self::BadAuthorizationHeader
            | Self::AccessToken(_)
            | Self::UserNotFound
            | Self::RefreshToken(_)
            | Self::DisabledAccount => StatusCode::UNAUTHORIZED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The header field by which the client learns more.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        Some(match self {
            // What would be read (RFC 9110, section 15.5.16).
            Self::UnsupportedContentCoding(_) => {
                (ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            }
            Self::MethodNotAllowed { allow, .. } => (ALLOW, allow.clone()),
            // RFC 9112, section 9.6.
            Self::BadBody | Self::BodyTooLarge | Self::TimedOut => {
                (CONNECTION, HeaderValue::from_static("close"))
            }
            Self::Unavailable(wait)
            | Self::Throttled(wait)
            | Self::LockedOut(LockedOut { retry_after: wait, .. }) => {
                (RETRY_AFTER, whole_seconds(*wait).into())
            }
            // No token was due here, and a challenge would send browsers and clients off to find
            // one. RFC 9110, section 15.5.2, wants it all the same; clients want the original's.
            Self::InvalidCredentials => return None,
            // It asks for a token (RFC 6750, section 3).
            _ if self.status() == StatusCode::UNAUTHORIZED => {
                (WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="api""#))
            }
            _ => return None,
        })
    }
}

/// The body of a refusal that is not about fields.
#[derive(Serialize)]
struct Body<'a> {
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<[Message; 1]>,
}

#[derive(Serialize)]
struct Message {
    token_class: &'static str,
    token_type: &'static str,
    message: &'static str,
}

/// What `release` says of a token.
const fn of_token(error: TokenError, release: SimpleJwt) -> &'static str {
    match (error, release) {
        (TokenError::WrongType, _) => "Token has wrong type",
        (_, SimpleJwt::V5_3) => "Token is invalid or expired",
        (TokenError::Invalid, SimpleJwt::V5_5) => "Token is invalid",
        (TokenError::Expired, SimpleJwt::V5_5) => "Token is expired",
    }
}

fn in_words(wait: Duration) -> String {
    let seconds = whole_seconds(wait);
    format!("{seconds} {}", if seconds == 1 { "second" } else { "seconds" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::respond::tests::{body, header};

    /// The refusals as a whole are compared with `openapi.json` by its tests.
    #[test]
    fn some_refusals_carry_a_header() {
        const CHALLENGE: (&str, &str) = ("www-authenticate", r#"Bearer realm="api""#);
        const NONE: (&str, &str) = ("", "");
        let allow = respond::allow(&[Method::POST]);
        let lockout = LockedOut { retry_after: Duration::from_secs(900), is_slowed: false };
        for (error, (telling, value)) in [
            (ApiError::NotFound, NONE),
            (ApiError::BadBody, ("connection", "close")),
            (ApiError::BodyTooLarge, ("connection", "close")),
            (ApiError::TimedOut, ("connection", "close")),
            (ApiError::UnsupportedMediaType(String::new()), NONE),
            (ApiError::UnsupportedContentCoding("br".to_owned()), ("accept-encoding", "identity")),
            (ApiError::MethodNotAllowed { method: Method::GET, allow }, ("allow", "POST, OPTIONS")),
            (ApiError::Unavailable(Duration::from_millis(1_200)), ("retry-after", "2")),
            (ApiError::NotReady("Clock is behind.".to_owned()), NONE),
            (ApiError::Throttled(Duration::from_millis(11_001)), ("retry-after", "12")),
            (ApiError::LockedOut(lockout), ("retry-after", "900")),
            (ApiError::InvalidCredentials, NONE),
            (ApiError::NoActiveAccount, CHALLENGE),
            (ApiError::UserNotFound, CHALLENGE),
            (ApiError::DisabledAccount, CHALLENGE),
            (ApiError::CrossSite, NONE),
            (ApiError::Internal, NONE),
        ] {
            let shown = format!("{error:?}");
            let answer = error.into_answer();
            for name in
                ["www-authenticate", "retry-after", "allow", "connection", "accept-encoding"]
            {
                let expected = if name == telling { value } else { "" };
                assert_eq!(header(&answer, name), expected, "{shown}: {name}");
            }
        }
    }

    #[test]
    fn bodies_have_the_bytes_of_the_contract() {
        for (error, expected) in [
            (
                ApiError::AccessToken(TokenError::Expired),
                r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"token_class":"AccessToken","token_type":"access","message":"Token is invalid or expired"}]}"#,
            ),
            (
                ApiError::DisabledAccount,
                r#"{"detail":"Token is invalid or expired","code":"token_not_valid"}"#,
            ),
            (
                ApiError::Throttled(Duration::from_millis(11_001)),
                r#"{"detail":"Request was throttled. Expected available in 12 seconds."}"#,
            ),
            (
                ApiError::Throttled(Duration::ZERO),
                r#"{"detail":"Request was throttled. Expected available in 1 second."}"#,
            ),
            (ApiError::Internal, r#"{"detail":"Internal server error."}"#),
        ] {
            assert_eq!(body(&error.into_answer()), expected);
        }
    }

    /// Each as the release answered a request of that kind.
    #[test]
    fn a_later_simplejwt_tells_tokens_and_accounts_apart() {
        for (error, message) in [
            (ApiError::RefreshToken(TokenError::Invalid), r#"{"detail":"Token is invalid","#),
            (ApiError::RefreshToken(TokenError::Expired), r#"{"detail":"Token is expired","#),
            (
                ApiError::DisabledAccount,
                r#"{"detail":"No active account found for the given token."}"#,
            ),
            (ApiError::AccessToken(TokenError::Invalid), r#""message":"Token is invalid""#),
            (ApiError::AccessToken(TokenError::Expired), r#""message":"Token is expired""#),
            (ApiError::AccessToken(TokenError::WrongType), r#""message":"Token has wrong type""#),
        ] {
            let answer = error.answer_as(SimpleJwt::V5_5);
            assert_eq!(answer.status(), 401);
            assert!(body(&answer).contains(message), "{}", body(&answer));
        }
    }

    #[test]
    fn names_from_the_client_are_cut_and_cannot_break_out_of_the_json() {
        let long = "X".repeat(12_000);
        for error in [
            ApiError::UnsupportedMediaType(long.clone()),
            ApiError::UnsupportedContentCoding(long.clone()),
            ApiError::MethodNotAllowed {
                method: Method::from_bytes(long.as_bytes()).unwrap(),
                allow: respond::allow(&[Method::POST]),
            },
        ] {
            let body = body(&error.into_answer());
            assert!(body.len() < 150 && body.contains("X…"), "{body}");
        }
        let error = ApiError::UnsupportedMediaType(r#"a"}{"b"#.to_owned());
        let body: serde_json::Value = serde_json::from_str(&body(&error.into_answer())).unwrap();
        assert_eq!(body["detail"], r#"Unsupported media type "a"}{"b" in request."#);
    }
}
