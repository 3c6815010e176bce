//! `POST /api/login/`

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;

use super::cookies::{self, Cookies};
use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use super::fields::{Field, Fields};
use super::respond::{self, Answer};
use super::router::Request;
use super::user::UserBody;
use crate::app::App;
use crate::flows::login::{self, LoginRefused};
use crate::secret::Secret;

/// The answer; clients see its keys in this order.
#[derive(Serialize)]
struct LoggedInBody<'a> {
    /// None where it goes into a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<&'a str>,
    access: &'a str,
    user: UserBody<'a>,
}

pub(super) async fn log_in(
    app: &Arc<App>,
    cookies: &Cookies,
    request: Request,
) -> Result<Answer, ApiError> {
    let fields = request.fields()?;
    let mut errors = FieldErrors::default();
    let email = fields.email("email", &mut errors);
    let password = fields.password("password", &mut errors);
    let wants_cookie = fields.flag("cookie", &mut errors);
    if wants_cookie == Some(true) && !cookies.are_enabled() {
        errors.add("cookie", FieldProblem::CookiesDisabled);
    }
    errors.into_result()?;
    if wants_cookie == Some(true) && !cookies.may_be_given(&request.head.headers) {
        return Err(ApiError::CrossSite);
    }
    let (Some(email), Some(password), Some(wants_cookie)) = (email, password, wants_cookie) else {
        return Err(ApiError::Internal);
    };

    let former = former(&fields, wants_cookie, cookies, &request);
    let logged_in = login::log_in(app, email, password, former, request.client).await?;
    let tokens = logged_in.tokens;
    let body = LoggedInBody {
        refresh: (!wants_cookie).then_some(tokens.refresh.expose()),
        access: tokens.access.expose(),
        user: (&logged_in.user).into(),
    };
    let answer = respond::no_store(respond::json(StatusCode::OK, &body));
    Ok(if wants_cookie {
        cookies::keep(answer, &tokens.refresh, tokens.refresh_for)
    } else {
        answer
    })
}

/// The refresh tokens that the new one replaces: the one in the body, and the one in the cookie,
/// if this login sets it. They need not be valid.
fn former(
    fields: &Fields,
    wants_cookie: bool,
    cookies: &Cookies,
    request: &Request,
) -> Vec<Secret<String>> {
    let shown = match fields.text("refresh") {
        Field::Text(token) => Some(token.clone()),
        _ => None,
    };
    let kept = wants_cookie.then(|| cookies.refresh_token(&request.head.headers).ok().flatten());
    shown.into_iter().chain(kept.flatten()).collect()
}

impl From<LoginRefused> for ApiError {
    fn from(refused: LoginRefused) -> Self {
        match refused {
            LoginRefused::InvalidCredentials => Self::InvalidCredentials,
            LoginRefused::EmailNotVerified => Self::EmailNotVerified,
            LoginRefused::Throttled(throttled) => {
                Self::Throttled { retry_after: throttled.retry_after }
            }
            LoginRefused::LockedOut(throttled) => {
                Self::LockedOut { retry_after: throttled.retry_after }
            }
            LoginRefused::Failed(failure) => failure.into(),
        }
    }
}
