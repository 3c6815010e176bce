//! `POST /api/token/refresh/`

use hyper::StatusCode;
use serde::Serialize;

use super::cookies;
use super::errors::ApiError;
use super::request::{Context, Request};
use super::respond::{self, Answer};
use crate::domain::Client;
use crate::flows::refresh::{self, RefreshRefused};
use crate::jwt::TokenError;
use crate::secret::Secret;

/// The answer; clients see its keys in this order.
#[derive(Serialize)]
struct RefreshedBody<'a> {
    access: &'a str,
    /// `None` where it goes into a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<&'a str>,
}

pub(super) async fn refresh(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let fields = request.fields()?;
    let headers = &request.head.headers;
    if fields.is_blank("refresh") {
        if let Some(token) = context.cookies.refresh_token(headers)? {
            return refresh_by_cookie(context, &token, request.client).await;
        }
        // Its script cannot see whether there is a cookie. Clients take a 401 for "logged out",
        // and a 400 for a mistake of their own.
        if context.cookies.may_use(headers) {
            return Err(ApiError::RefreshToken(TokenError::Invalid));
        }
    }
    let token = fields.form(|form| form.token("refresh"))?;
    let tokens = refresh::refresh(&context.app, token.expose(), request.client).await?;
    let refresh = Some(tokens.refresh.expose().as_str());
    let body = RefreshedBody { access: tokens.access.expose(), refresh };
    Ok(respond::private(StatusCode::OK, &body))
}

/// Takes the token from the cookie and puts its successor there. A token that will never be valid
/// again is deleted from the browser; one that could not be checked stays.
async fn refresh_by_cookie(
    context: &Context,
    token: &Secret<String>,
    client: Client,
) -> Result<Answer, ApiError> {
    match refresh::refresh(&context.app, token.expose(), client).await {
        Ok(tokens) => {
            let body = RefreshedBody { access: tokens.access.expose(), refresh: None };
            let answer = respond::private(StatusCode::OK, &body);
            Ok(cookies::keep(answer, &tokens.refresh, tokens.refresh_for))
        }
        Err(RefreshRefused::Failed(failure)) => Err(failure.into()),
        Err(dead) => {
            let release = context.app.config.compatibility.simplejwt;
            Ok(cookies::clear(ApiError::from(dead).answer_as(release)))
        }
    }
}
