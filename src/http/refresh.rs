//! `POST /api/token/refresh/`

use std::sync::Arc;

use hyper::StatusCode;

use super::cookies::{self, Cookies};
use super::errors::ApiError;
use super::field_errors::FieldErrors;
use super::fields::Trim;
use super::respond::{self, Answer};
use super::router::Request;
use crate::app::App;
use crate::domain::Client;
use crate::flows::refresh::{self, RefreshRefused};
use crate::jwt::TokenError;
use crate::secret::Secret;

/// The answer with the tokens, without the refresh token where that goes into a cookie. Tokens are
/// base64url and dots, so nothing has to be escaped in JSON.
fn refreshed(access: &str, refresh: Option<&str>) -> Answer {
    let length = access.len() + refresh.map_or(0, str::len);
    let mut body = String::with_capacity(length + r#"{"access":"","refresh":""}"#.len());
    body.push_str(r#"{"access":""#);
    body.push_str(access);
    if let Some(token) = refresh {
        body.push_str(r#"","refresh":""#);
        body.push_str(token);
    }
    body.push_str(r#""}"#);
    respond::no_store(respond::json_bytes(StatusCode::OK, body.into()))
}

pub(super) async fn refresh(
    app: &Arc<App>,
    cookies: &Cookies,
    request: Request,
) -> Result<Answer, ApiError> {
    let fields = request.fields()?;
    let headers = &request.head.headers;
    if fields.is_blank("refresh") {
        if let Some(token) = cookies.refresh_token(headers)? {
            return refresh_by_cookie(app, &token, request.client).await;
        }
        // Its script cannot see whether there is a cookie. Clients take a 401 for "logged out",
        // and a 400 for a mistake of their own.
        if cookies.may_use(headers) {
            return Err(ApiError::InvalidRefreshToken);
        }
    }
    let mut errors = FieldErrors::default();
    let token = fields.required_text("refresh", Trim::Yes, &mut errors);
    errors.into_result()?;
    let Some(token) = token else { return Err(ApiError::Internal) };

    let tokens = refresh::refresh(app, token.expose(), request.client).await?;
    Ok(refreshed(tokens.access.expose(), Some(tokens.refresh.expose())))
}

/// Takes the token from the cookie and puts its successor there. A token that will never be valid
/// again is deleted from the browser; one that could not be checked stays.
async fn refresh_by_cookie(
    app: &Arc<App>,
    token: &Secret<String>,
    client: Client,
) -> Result<Answer, ApiError> {
    match refresh::refresh(app, token.expose(), client).await {
        Ok(tokens) => {
            let answer = refreshed(tokens.access.expose(), None);
            Ok(cookies::keep(answer, &tokens.refresh, tokens.refresh_for))
        }
        Err(RefreshRefused::Failed(failure)) => Err(failure.into()),
        Err(dead) => Ok(cookies::clear(ApiError::from(dead).into_answer())),
    }
}

impl From<RefreshRefused> for ApiError {
    fn from(refused: RefreshRefused) -> Self {
        match refused {
            RefreshRefused::Token(TokenError::WrongType) => Self::RefreshTokenWrongType,
            RefreshRefused::Token(TokenError::Invalid) | RefreshRefused::Session => {
                Self::InvalidRefreshToken
            }
            RefreshRefused::Failed(failure) => failure.into(),
        }
    }
}
