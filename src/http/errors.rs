//! Refusals: everything the API answers outside 2xx, and the one place that gives each its status,
//! body and headers.

use std::time::Duration;

use hyper::header::{ACCEPT_ENCODING, ALLOW, CONNECTION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use serde::Serialize;

use super::field_errors::{FieldErrors, FieldProblem};
use super::respond::{self, Answer, Detail};
use crate::clock::ClockBehind;
use crate::config::SimpleJwt;
use crate::flows::credentials::PasswordRefused;
use crate::flows::mail_request::RequestRefused;
use crate::flows::profile::NotAuthenticated;
use crate::flows::refresh::RefreshRefused;
use crate::flows::{Failure, Throttled};
use crate::jwt::TokenError;
use crate::server::BodyProblem;
use crate::store::StoreError;

/// When it is worth trying again after storage was away.
pub(super) const STORAGE_RETRY: Duration = Duration::from_secs(2);
/// The longest wait that is given while the clock is behind: it may be set at any moment.
const CLOCK_RETRY: Duration = Duration::from_secs(60);
/// How soon there may be room for a body again: slow clients hold theirs for seconds.
const BODY_RETRY: Duration = Duration::from_secs(5);

/// What the API refuses, and why as far as the client is told. The log is told elsewhere.
#[derive(Clone, Debug)]
pub enum ApiError {
    /// Fields are missing or bad, or the body is JSON but no object.
    Fields(FieldErrors),
    /// The body is not JSON: why, without anything of the body.
    BadJson(String),
    /// The body is a form, but not in UTF-8.
    BadForm,
    /// The body broke off, or its length was announced in two ways. The connection closes.
    BadBody,
    /// The body is of a type that is not read: its name, without parameters.
    UnsupportedMediaType(String),
    /// The body is compressed: the coding's name.
    UnsupportedContentCoding(String),
    /// There is no such path.
    NotFound,
    /// The path has other methods.
    MethodNotAllowed {
        /// The one that was asked for.
        method: Method,
        /// Those it has, from [`respond::allow`].
        allow: HeaderValue,
    },
    /// The body is over the limit. The connection closes, since the rest of it is not read.
    BodyTooLarge,
    /// The request took too long. The connection closes.
    TimedOut,
    /// Overloaded, storage away, or the clock behind.
    Unavailable {
        /// When it is worth coming back.
        retry_after: Duration,
    },
    /// Not ready to serve: why, for `/readyz`.
    NotReady(String),
    /// A rate limit.
    Throttled {
        /// When there is room again.
        retry_after: Duration,
    },
    /// Too many failed logins.
    LockedOut {
        /// When the lockout ends.
        retry_after: Duration,
    },
    /// At login: unknown email, wrong password, or disabled account.
    InvalidCredentials,
    /// The same at SimpleJWT's own login.
    NoActiveAccount,
    /// At login: the right password of an unverified account, where that is asked for.
    EmailNotVerified,
    /// Registration is switched off.
    RegistrationClosed,
    /// A cookie came along with a request that another site's page may have made.
    CrossSite,
    /// No `Authorization`, or another scheme.
    NotAuthenticated,
    /// `Bearer` with no or several values.
    BadAuthorizationHeader,
    /// The access token is forged, malformed, of an ended session, or not yet valid.
    InvalidAccessToken,
    /// The access token has expired.
    ExpiredAccessToken,
    /// A refresh token where an access token is due.
    AccessTokenWrongType,
    /// The access token's user is gone.
    UserNotFound,
    /// The refresh token is forged, malformed, reused or revoked.
    InvalidRefreshToken,
    /// The refresh token has expired.
    ExpiredRefreshToken,
    /// At a refresh: the account is disabled.
    DisabledAccount,
    /// An access token where a refresh token is due.
    RefreshTokenWrongType,
    /// Something broke that is none of the client's business.
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
            BodyProblem::NoRoom => Self::Unavailable { retry_after: BODY_RETRY },
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::ClockBehind(behind) => behind.into(),
            Failure::Busy { retry_after } => Self::Unavailable { retry_after },
            Failure::Store(StoreError::Unavailable) => {
                Self::Unavailable { retry_after: STORAGE_RETRY }
            }
            Failure::Store(StoreError::Corrupt) => Self::Internal,
        }
    }
}

impl From<ClockBehind> for ApiError {
    fn from(behind: ClockBehind) -> Self {
        Self::Unavailable { retry_after: behind.catches_up_in().min(CLOCK_RETRY) }
    }
}

impl From<Throttled> for ApiError {
    fn from(throttled: Throttled) -> Self {
        Self::Throttled { retry_after: throttled.retry_after }
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
            NotAuthenticated::Token(TokenError::WrongType) => Self::AccessTokenWrongType,
            NotAuthenticated::Token(TokenError::Expired) => Self::ExpiredAccessToken,
            NotAuthenticated::Token(TokenError::Invalid) | NotAuthenticated::NoSession => {
                Self::InvalidAccessToken
            }
            NotAuthenticated::NoUser => Self::UserNotFound,
            NotAuthenticated::Failed(failure) => failure.into(),
        }
    }
}

impl From<RefreshRefused> for ApiError {
    fn from(refused: RefreshRefused) -> Self {
        match refused {
            RefreshRefused::Token(TokenError::WrongType) => Self::RefreshTokenWrongType,
            RefreshRefused::Token(TokenError::Expired) => Self::ExpiredRefreshToken,
            RefreshRefused::Disabled => Self::DisabledAccount,
            RefreshRefused::Token(TokenError::Invalid) | RefreshRefused::Session => {
                Self::InvalidRefreshToken
            }
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
            PasswordRefused::LockedOut(Throttled { retry_after }) => {
                Self::LockedOut { retry_after }
            }
            PasswordRefused::NotAuthorised => Self::InvalidAccessToken,
            PasswordRefused::Failed(failure) => failure.into(),
        }
    }

    /// The answer as a release of SimpleJWT words it.
    pub fn answer_as(self, release: SimpleJwt) -> Answer {
        match (release, &self) {
            (SimpleJwt::V5_5, Self::InvalidAccessToken) => bad_access_token("Token is invalid"),
            (SimpleJwt::V5_5, Self::ExpiredAccessToken) => bad_access_token("Token is expired"),
            (SimpleJwt::V5_5, Self::InvalidRefreshToken) => bad_refresh_token("Token is invalid"),
            (SimpleJwt::V5_5, Self::ExpiredRefreshToken) => bad_refresh_token("Token is expired"),
            (SimpleJwt::V5_5, Self::DisabledAccount) => challenge(detail(
                StatusCode::UNAUTHORIZED,
                "No active account found for the given token.",
            )),
            _ => self.into_answer(),
        }
    }

    /// The answer, worded as SimpleJWT 5.3 does.
    pub fn into_answer(self) -> Answer {
        match self {
            Self::Fields(errors) => respond::json(StatusCode::BAD_REQUEST, &errors),
            Self::BadJson(reason) => {
                detail(StatusCode::BAD_REQUEST, &format!("JSON parse error - {reason}"))
            }
            Self::BadForm => detail(StatusCode::BAD_REQUEST, "Form parse error - invalid UTF-8"),
            Self::BadBody => {
                closing(detail(StatusCode::BAD_REQUEST, "Request body could not be read."))
            }
            Self::UnsupportedMediaType(name) => detail(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                &format!("Unsupported media type \"{}\" in request.", respond::shortened(&name)),
            ),
            // RFC 9110, section 15.5.16, has the answer name what would be read.
            Self::UnsupportedContentCoding(name) => {
                let name = respond::shortened(&name);
                let text = format!("Unsupported content encoding \"{name}\" in request.");
                let mut answer = detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text);
                let accepted = HeaderValue::from_static("identity");
                answer.headers_mut().insert(ACCEPT_ENCODING, accepted);
                answer
            }
            Self::NotFound => detail(StatusCode::NOT_FOUND, "Not found."),
            Self::MethodNotAllowed { method, allow } => {
                let text =
                    format!("Method \"{}\" not allowed.", respond::shortened(method.as_str()));
                let mut answer = detail(StatusCode::METHOD_NOT_ALLOWED, &text);
                answer.headers_mut().insert(ALLOW, allow);
                answer
            }
            Self::BodyTooLarge => {
                closing(detail(StatusCode::PAYLOAD_TOO_LARGE, "Request body is too large."))
            }
            Self::TimedOut => closing(detail(StatusCode::REQUEST_TIMEOUT, "Request timed out.")),
            Self::Unavailable { retry_after } => respond::retry_after(
                detail(StatusCode::SERVICE_UNAVAILABLE, "Service temporarily unavailable."),
                retry_after,
            ),
            Self::NotReady(reason) => detail(StatusCode::SERVICE_UNAVAILABLE, &reason),
            Self::Throttled { retry_after } => throttled(retry_after),
            Self::LockedOut { retry_after } => respond::retry_after(
                detail(
                    StatusCode::TOO_MANY_REQUESTS,
                    "Too many failed attempts. Please try again later.",
                ),
                retry_after,
            ),
            // No token was due here, and a challenge would send browsers and clients off to find
            // one. RFC 9110, section 15.5.2, wants it all the same; clients want the original's.
            Self::InvalidCredentials => {
                detail(StatusCode::UNAUTHORIZED, "Invalid email or password")
            }
            Self::NoActiveAccount => challenge(detail(
                StatusCode::UNAUTHORIZED,
                "No active account found with the given credentials",
            )),
            Self::EmailNotVerified => {
                coded(StatusCode::FORBIDDEN, "Email address is not verified.", "email_not_verified")
            }
            Self::RegistrationClosed => detail(StatusCode::FORBIDDEN, "Registration is closed."),
            Self::CrossSite => detail(StatusCode::FORBIDDEN, "Cross-site request refused."),
            Self::NotAuthenticated => challenge(detail(
                StatusCode::UNAUTHORIZED,
                "Authentication credentials were not provided.",
            )),
            Self::BadAuthorizationHeader => challenge(coded(
                StatusCode::UNAUTHORIZED,
                "Authorization header must contain two space-delimited values",
                "bad_authorization_header",
            )),
            Self::InvalidAccessToken | Self::ExpiredAccessToken => {
                bad_access_token("Token is invalid or expired")
            }
            Self::AccessTokenWrongType => bad_access_token("Token has wrong type"),
            Self::UserNotFound => {
                challenge(coded(StatusCode::UNAUTHORIZED, "User not found", "user_not_found"))
            }
            Self::InvalidRefreshToken | Self::ExpiredRefreshToken | Self::DisabledAccount => {
                bad_refresh_token("Token is invalid or expired")
            }
            Self::RefreshTokenWrongType => bad_refresh_token("Token has wrong type"),
            Self::Internal => respond::internal_error(),
        }
    }
}

fn detail(status: StatusCode, detail: &str) -> Answer {
    respond::json(status, &Detail { detail, code: None })
}

fn coded(status: StatusCode, detail: &str, code: &'static str) -> Answer {
    respond::json(status, &Detail { detail, code: Some(code) })
}

fn throttled(retry_after: Duration) -> Answer {
    let seconds = respond::whole_seconds(retry_after);
    let unit = if seconds == 1 { "second" } else { "seconds" };
    let text = format!("Request was throttled. Expected available in {seconds} {unit}.");
    respond::retry_after(detail(StatusCode::TOO_MANY_REQUESTS, &text), retry_after)
}

fn bad_access_token(message: &'static str) -> Answer {
    #[derive(Serialize)]
    struct Body {
        detail: &'static str,
        code: &'static str,
        messages: [Message; 1],
    }
    #[derive(Serialize)]
    struct Message {
        token_class: &'static str,
        token_type: &'static str,
        message: &'static str,
    }
    let body = Body {
        detail: "Given token not valid for any token type",
        code: "token_not_valid",
        messages: [Message { token_class: "AccessToken", token_type: "access", message }],
    };
    challenge(respond::json(StatusCode::UNAUTHORIZED, &body))
}

fn bad_refresh_token(text: &'static str) -> Answer {
    challenge(coded(StatusCode::UNAUTHORIZED, text, "token_not_valid"))
}

/// Asks for a token (RFC 6750, section 3).
fn challenge(mut answer: Answer) -> Answer {
    let value = HeaderValue::from_static(r#"Bearer realm="api""#);
    answer.headers_mut().insert(WWW_AUTHENTICATE, value);
    answer
}

/// Says that the connection closes (RFC 9112, section 9.6).
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::field_errors::FieldProblem;
    use crate::http::respond::tests::{body, header};

    const CHALLENGE: (&str, &str) = ("www-authenticate", r#"Bearer realm="api""#);
    const CLOSE: (&str, &str) = ("connection", "close");

    /// Every header that some refusals carry and others do not.
    const TELLING: [&str; 5] =
        ["www-authenticate", "retry-after", "allow", "connection", "accept-encoding"];

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn every_refusal_is_that_of_the_contract() {
        let access_token = |message: &str| {
            format!(
                r#"{{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{{"token_class":"AccessToken","token_type":"access","message":"{message}"}}]}}"#
            )
        };
        let forged_access = access_token("Token is invalid or expired");
        let wrong_access = access_token("Token has wrong type");
        let bad_refresh = r#"{"detail":"Token is invalid or expired","code":"token_not_valid"}"#;
        type Row<'a> = (ApiError, u16, &'a str, &'a [(&'a str, &'a str)]);
        let table: [Row<'_>; 32] = [
            (
                FieldErrors::of("email", FieldProblem::Required).into(),
                400,
                r#"{"email":["This field is required."]}"#,
                &[],
            ),
            (
                ApiError::BadJson("expected value at line 1 column 1".to_owned()),
                400,
                r#"{"detail":"JSON parse error - expected value at line 1 column 1"}"#,
                &[],
            ),
            (ApiError::BadForm, 400, r#"{"detail":"Form parse error - invalid UTF-8"}"#, &[]),
            (ApiError::BadBody, 400, r#"{"detail":"Request body could not be read."}"#, &[CLOSE]),
            (
                ApiError::UnsupportedMediaType("text/plain".to_owned()),
                415,
                r#"{"detail":"Unsupported media type \"text/plain\" in request."}"#,
                &[],
            ),
            (
                ApiError::UnsupportedMediaType(String::new()),
                415,
                r#"{"detail":"Unsupported media type \"\" in request."}"#,
                &[],
            ),
            (
                ApiError::UnsupportedContentCoding("gzip".to_owned()),
                415,
                r#"{"detail":"Unsupported content encoding \"gzip\" in request."}"#,
                &[("accept-encoding", "identity")],
            ),
            (ApiError::NotFound, 404, r#"{"detail":"Not found."}"#, &[]),
            (
                ApiError::MethodNotAllowed {
                    method: Method::GET,
                    allow: respond::allow(&[Method::POST]),
                },
                405,
                r#"{"detail":"Method \"GET\" not allowed."}"#,
                &[("allow", "POST, OPTIONS")],
            ),
            (ApiError::BodyTooLarge, 413, r#"{"detail":"Request body is too large."}"#, &[CLOSE]),
            (ApiError::TimedOut, 408, r#"{"detail":"Request timed out."}"#, &[CLOSE]),
            (
                ApiError::Unavailable { retry_after: Duration::from_millis(1_200) },
                503,
                r#"{"detail":"Service temporarily unavailable."}"#,
                &[("retry-after", "2")],
            ),
            (
                ApiError::NotReady("Clock is behind.".to_owned()),
                503,
                r#"{"detail":"Clock is behind."}"#,
                &[],
            ),
            (
                ApiError::Throttled { retry_after: Duration::from_millis(11_001) },
                429,
                r#"{"detail":"Request was throttled. Expected available in 12 seconds."}"#,
                &[("retry-after", "12")],
            ),
            (
                ApiError::Throttled { retry_after: Duration::ZERO },
                429,
                r#"{"detail":"Request was throttled. Expected available in 1 second."}"#,
                &[("retry-after", "1")],
            ),
            (
                ApiError::LockedOut { retry_after: seconds(900) },
                429,
                r#"{"detail":"Too many failed attempts. Please try again later."}"#,
                &[("retry-after", "900")],
            ),
            (ApiError::InvalidCredentials, 401, r#"{"detail":"Invalid email or password"}"#, &[]),
            (
                ApiError::EmailNotVerified,
                403,
                r#"{"detail":"Email address is not verified.","code":"email_not_verified"}"#,
                &[],
            ),
            (ApiError::RegistrationClosed, 403, r#"{"detail":"Registration is closed."}"#, &[]),
            (ApiError::CrossSite, 403, r#"{"detail":"Cross-site request refused."}"#, &[]),
            (
                ApiError::NotAuthenticated,
                401,
                r#"{"detail":"Authentication credentials were not provided."}"#,
                &[CHALLENGE],
            ),
            (
                ApiError::BadAuthorizationHeader,
                401,
                r#"{"detail":"Authorization header must contain two space-delimited values","code":"bad_authorization_header"}"#,
                &[CHALLENGE],
            ),
            (
                ApiError::NoActiveAccount,
                401,
                r#"{"detail":"No active account found with the given credentials"}"#,
                &[CHALLENGE],
            ),
            (ApiError::ExpiredRefreshToken, 401, bad_refresh, &[CHALLENGE]),
            (ApiError::DisabledAccount, 401, bad_refresh, &[CHALLENGE]),
            (ApiError::ExpiredAccessToken, 401, &forged_access, &[CHALLENGE]),
            (ApiError::InvalidAccessToken, 401, &forged_access, &[CHALLENGE]),
            (ApiError::AccessTokenWrongType, 401, &wrong_access, &[CHALLENGE]),
            (
                ApiError::UserNotFound,
                401,
                r#"{"detail":"User not found","code":"user_not_found"}"#,
                &[CHALLENGE],
            ),
            (
                ApiError::InvalidRefreshToken,
                401,
                r#"{"detail":"Token is invalid or expired","code":"token_not_valid"}"#,
                &[CHALLENGE],
            ),
            (
                ApiError::RefreshTokenWrongType,
                401,
                r#"{"detail":"Token has wrong type","code":"token_not_valid"}"#,
                &[CHALLENGE],
            ),
            (ApiError::Internal, 500, r#"{"detail":"Internal server error."}"#, &[]),
        ];
        for (error, status, expected, telling) in table {
            let shown = format!("{error:?}");
            let answer = error.into_answer();
            assert_eq!(answer.status(), status, "{shown}");
            assert_eq!(body(&answer), expected, "{shown}");
            assert_eq!(header(&answer, "content-type"), "application/json", "{shown}");
            for name in TELLING {
                let due = telling.iter().find(|(due, _)| *due == name);
                assert_eq!(header(&answer, name), due.map_or("", |(_, value)| value), "{shown}");
            }
        }
    }

    /// Each as the release answered a request of that kind.
    #[test]
    fn a_later_simplejwt_tells_tokens_and_accounts_apart() {
        let refresh =
            |text: &str| format!(r#"{{"detail":"Token is {text}","code":"token_not_valid"}}"#);
        for (error, expected) in [
            (ApiError::InvalidRefreshToken, refresh("invalid")),
            (ApiError::ExpiredRefreshToken, refresh("expired")),
            (
                ApiError::DisabledAccount,
                r#"{"detail":"No active account found for the given token."}"#.to_owned(),
            ),
        ] {
            let answer = error.answer_as(SimpleJwt::V5_5);
            assert_eq!((answer.status().as_u16(), body(&answer)), (401, expected));
            assert_eq!(header(&answer, CHALLENGE.0), CHALLENGE.1);
        }
        for (error, message) in [
            (ApiError::InvalidAccessToken, "Token is invalid"),
            (ApiError::ExpiredAccessToken, "Token is expired"),
            (ApiError::AccessTokenWrongType, "Token has wrong type"),
        ] {
            let body = body(&error.clone().answer_as(SimpleJwt::V5_5));
            assert!(body.contains(&format!(r#""message":"{message}""#)), "{body}");
        }
        for error in [ApiError::ExpiredAccessToken, ApiError::DisabledAccount] {
            let before = body(&error.clone().into_answer());
            assert_eq!(body(&error.answer_as(SimpleJwt::V5_3)), before);
        }
    }

    #[test]
    fn names_from_the_client_are_not_repeated_at_length() {
        let long = "X".repeat(12_000);
        for error in [
            ApiError::UnsupportedMediaType(long.clone()),
            ApiError::MethodNotAllowed {
                method: Method::from_bytes(long.as_bytes()).unwrap(),
                allow: respond::allow(&[Method::POST]),
            },
        ] {
            let body = body(&error.into_answer());
            assert!(body.len() < 150 && body.contains("X…"), "{body}");
        }
    }

    #[test]
    fn names_from_the_client_cannot_break_out_of_the_json() {
        let error = ApiError::UnsupportedMediaType(r#"a"}{"b"#.to_owned());
        let body: serde_json::Value = serde_json::from_str(&body(&error.into_answer())).unwrap();
        assert_eq!(body["detail"], r#"Unsupported media type "a"}{"b" in request."#);
    }
}
