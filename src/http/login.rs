//! `POST /api/login/`

use hyper::StatusCode;
use serde::Serialize;

use super::cookies;
use super::errors::ApiError;
use super::field_errors::FieldProblem;
use super::fields::{Field, Fields};
use super::profile::UserBody;
use super::request::{Context, Request};
use super::respond::{self, Answer};
use crate::flows::login::{self, LoginRefused};
use crate::secret::Secret;

/// The answer; clients see its keys in this order.
#[derive(Serialize)]
struct LoggedInBody<'a> {
    /// `None` where it goes into a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<&'a str>,
    access: &'a str,
    user: UserBody<'a>,
}

pub(super) async fn log_in(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let fields = request.fields()?;
    let (email, password, wants_cookie) = fields.form(|form| {
        let email = form.email("email");
        let password = form.password("password");
        let wants_cookie = form.flag("cookie");
        if wants_cookie == Some(true) && !context.cookies.is_enabled {
            form.errors.add("cookie", FieldProblem::CookiesDisabled);
        }
        Some((email?, password?, wants_cookie?))
    })?;
    if wants_cookie && !context.cookies.may_be_given(&request.head.headers) {
        return Err(ApiError::CrossSite);
    }
    let former = former(context, &request, &fields, wants_cookie);
    let logged_in = login::log_in(&context.app, email, password, former, request.client).await?;
    let tokens = logged_in.tokens;
    let body = LoggedInBody {
        refresh: (!wants_cookie).then_some(tokens.refresh.expose()),
        access: tokens.access.expose(),
        user: (&logged_in.user).into(),
    };
    let answer = respond::private(StatusCode::OK, &body);
    Ok(if wants_cookie {
        cookies::keep(answer, &tokens.refresh, tokens.refresh_for)
    } else {
        answer
    })
}

/// The refresh tokens that the new one replaces: the one in the body, and the one in the cookie,
/// if this login sets it. They need not be valid.
fn former(
    context: &Context,
    request: &Request,
    fields: &Fields,
    wants_cookie: bool,
) -> Vec<Secret<String>> {
    let in_body = match fields.get("refresh") {
        Some(Field::Text(token)) => Some(token.clone()),
        _ => None,
    };
    let in_cookie =
        wants_cookie.then(|| context.cookies.refresh_token(&request.head.headers).ok().flatten());
    in_body.into_iter().chain(in_cookie.flatten()).collect()
}

impl From<LoginRefused> for ApiError {
    fn from(refused: LoginRefused) -> Self {
        match refused {
            LoginRefused::InvalidCredentials => Self::InvalidCredentials,
            LoginRefused::EmailNotVerified => Self::EmailNotVerified,
            LoginRefused::Throttled(throttled) => throttled.into(),
            LoginRefused::LockedOut(lockout) => Self::LockedOut(lockout),
            LoginRefused::Failed(failure) => failure.into(),
        }
    }
}
