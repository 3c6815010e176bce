//! `/api/token/verify/` and `/api/token/blacklist/`: SimpleJWT's other endpoints, so that its
//! clients find them.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;

use super::errors::ApiError;
use super::field_errors::FieldErrors;
use super::fields::Trim;
use super::respond::{self, Answer};
use super::router::Request;
use crate::app::App;
use crate::flows::sessions;
use crate::secret::Secret;

/// `{}`
#[derive(Serialize)]
struct Done {}

/// `POST /api/token/verify/`: whether a token of either kind is good now. It changes nothing.
pub(super) fn verify(app: &Arc<App>, request: &Request) -> Result<Answer, ApiError> {
    let token = token_of(request, "token")?;
    if sessions::is_good(app, token.expose())? {
        Ok(done())
    } else {
        Err(ApiError::InvalidRefreshToken)
    }
}

/// `POST /api/token/blacklist/`: ends the session of a refresh token.
pub(super) async fn blacklist(app: &Arc<App>, request: Request) -> Result<Answer, ApiError> {
    let token = token_of(&request, "refresh")?;
    sessions::revoke(app, token.expose(), request.client).await?;
    Ok(done())
}

fn done() -> Answer {
    respond::no_store(respond::json(StatusCode::OK, &Done {}))
}

fn token_of(request: &Request, field: &'static str) -> Result<Secret<String>, ApiError> {
    let mut errors = FieldErrors::default();
    let token = request.fields()?.required_text(field, Trim::Yes, &mut errors);
    errors.into_result()?;
    token.ok_or(ApiError::Internal)
}
