//! `POST /api/token/refresh/`

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;

use super::errors::ApiError;
use super::field_errors::FieldErrors;
use super::fields::Trim;
use super::respond::{self, Answer};
use super::router::Request;
use crate::app::App;
use crate::flows::refresh::{self, RefreshRefused};
use crate::jwt::TokenError;

/// The answer; clients see its keys in this order.
#[derive(Serialize)]
struct RefreshedBody<'a> {
    access: &'a str,
    refresh: &'a str,
}

pub(super) async fn refresh(app: &Arc<App>, request: Request) -> Result<Answer, ApiError> {
    let fields = request.fields()?;
    let mut errors = FieldErrors::default();
    let token = fields.required_text("refresh", Trim::Yes, &mut errors);
    errors.into_result()?;
    let Some(token) = token else { return Err(ApiError::Internal) };

    let tokens = refresh::refresh(app, token.expose(), request.client).await?;
    let body = RefreshedBody { access: tokens.access.expose(), refresh: tokens.refresh.expose() };
    Ok(respond::no_store(respond::json(StatusCode::OK, &body)))
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
