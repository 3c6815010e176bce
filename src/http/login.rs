//! `POST /api/login/`

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;

use super::errors::ApiError;
use super::field_errors::FieldErrors;
use super::respond::{self, Answer};
use super::router::Request;
use super::user::UserBody;
use crate::app::App;
use crate::flows::login::{self, LoginRefused};

/// The answer; clients see its keys in this order.
#[derive(Serialize)]
struct LoggedInBody<'a> {
    refresh: &'a str,
    access: &'a str,
    user: UserBody,
}

pub(super) async fn log_in(app: &Arc<App>, request: Request) -> Result<Answer, ApiError> {
    let fields = request.fields()?;
    let mut errors = FieldErrors::default();
    let email = fields.email("email", &mut errors);
    let password = fields.password("password", &mut errors);
    errors.into_result()?;
    let (Some(email), Some(password)) = (email, password) else { return Err(ApiError::Internal) };

    let logged_in = login::log_in(app, email, password, request.client).await?;
    let body = LoggedInBody {
        refresh: logged_in.tokens.refresh.expose(),
        access: logged_in.tokens.access.expose(),
        user: logged_in.user.into(),
    };
    Ok(respond::no_store(respond::json(StatusCode::OK, &body)))
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
