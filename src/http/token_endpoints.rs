//! `/api/token/`, `/api/token/verify/` and `/api/token/blacklist/`: SimpleJWT's own endpoints, for
//! its clients.

use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::errors::ApiError;
use super::request::{Context, Request};
use super::respond::{self, Answer};
use crate::flows::login::{self, LoginRefused};
use crate::flows::sessions;

/// The tokens of a login, in SimpleJWT's order.
#[derive(Serialize)]
struct Obtained<'a> {
    refresh: &'a str,
    access: &'a str,
}

/// `POST /api/token/`: opens a session as `/api/login/` does, within the same limits. The address is
/// in `email`, or in `username` where there is no `email`.
pub(super) async fn obtain(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let fields = request.fields()?;
    let is_named = fields.get("email").is_none() && fields.get("username").is_some();
    let name = if is_named { "username" } else { "email" };
    let (email, password) = fields.form(|form| {
        let email = form.email(name);
        let password = form.password("password");
        Some((email?, password?))
    })?;
    let logged_in = login::log_in(&context.app, email, password, Vec::new(), request.client);
    let tokens = match logged_in.await {
        Ok(logged_in) => logged_in.tokens,
        Err(LoginRefused::InvalidCredentials) => return Err(ApiError::NoActiveAccount),
        Err(refused) => return Err(refused.into()),
    };
    let body = Obtained { refresh: tokens.refresh.expose(), access: tokens.access.expose() };
    Ok(respond::private(StatusCode::OK, &body))
}

/// `POST /api/token/verify/`: whether a token of either kind is good now. It changes nothing.
pub(super) fn verify(context: &Context, request: &Request) -> Result<Answer, ApiError> {
    let token = request.form(|form| form.token("token"))?;
    sessions::check(&context.app, token.expose())?;
    Ok(respond::private(StatusCode::OK, &json!({})))
}

/// `POST /api/token/blacklist/`: ends the session of a refresh token.
pub(super) async fn blacklist(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let token = request.form(|form| form.token("refresh"))?;
    sessions::revoke(&context.app, token.expose(), request.client).await?;
    Ok(respond::private(StatusCode::OK, &json!({})))
}
