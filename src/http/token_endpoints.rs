//! `/api/token/verify/` and `/api/token/blacklist/`: SimpleJWT's other endpoints, for its clients.

use hyper::StatusCode;
use serde::Serialize;

use super::errors::ApiError;
use super::request::{Context, Request};
use super::respond::{self, Answer};
use crate::flows::sessions;

/// `{}`
#[derive(Serialize)]
struct Done {}

/// `POST /api/token/verify/`: whether a token of either kind is good now. It changes nothing.
pub(super) fn verify(context: &Context, request: &Request) -> Result<Answer, ApiError> {
    let token = request.form(|form| form.token("token"))?;
    if sessions::is_good(&context.app, token.expose())? {
        Ok(respond::private(StatusCode::OK, &Done {}))
    } else {
        Err(ApiError::InvalidRefreshToken)
    }
}

/// `POST /api/token/blacklist/`: ends the session of a refresh token.
pub(super) async fn blacklist(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let token = request.form(|form| form.token("refresh"))?;
    sessions::revoke(&context.app, token.expose(), request.client).await?;
    Ok(respond::private(StatusCode::OK, &Done {}))
}
