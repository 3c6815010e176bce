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

/// The answer with the tokens; none of refresh where that goes into a cookie. Tokens are base64url
/// and dots, in which a string of JSON has nothing to escape.
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
    if !fields.has("refresh")
        && let Some(token) = cookies.refresh_token(&request.head.headers)?
    {
        return refresh_by_cookie(app, &token, request.client).await;
    }
    let mut errors = FieldErrors::default();
    let token = fields.required_text("refresh", Trim::Yes, &mut errors);
    errors.into_result()?;
    let Some(token) = token else { return Err(ApiError::Internal) };

    let tokens = refresh::refresh(app, token.expose(), request.client).await?;
    Ok(refreshed(tokens.access.expose(), Some(tokens.refresh.expose())))
}

/// The same from cookie to cookie. A token that will never be good again is taken away, so that
/// the app need not come back with it; one that could not be looked at stays.
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
