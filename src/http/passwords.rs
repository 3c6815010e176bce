//! Forgotten passwords, changed ones, and asking for the verification mail again.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;

use super::bearer;
use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use super::fields::{Fields, Trim};
use super::profile::password_refusal;
use super::respond::{self, Answer};
use super::router::Request;
use crate::app::App;
use crate::domain::{Client, Email};
use crate::flows::password::{self, RequestRefused, SetRefused};

#[derive(Serialize)]
struct Message {
    message: &'static str,
}

/// The same for every address, whether or not it has an account.
const RESET_REQUESTED: Message = Message {
    message: "Password reset instructions have been sent to your email if an account exists with \
              this email address.",
};
const VERIFICATION_REQUESTED: Message =
    Message { message: "If the address needs verification, a mail is on its way." };
const RESET: Message = Message { message: "Password has been reset successfully." };
const CHANGED: Message = Message { message: "Password successfully changed" };

/// `POST /api/forgot-password/`
pub(super) async fn forgot(app: &Arc<App>, request: Request) -> Result<Answer, ApiError> {
    let email = email(&request.fields()?)?;
    password::request_reset(app, email, request.client).await?;
    Ok(respond::no_store(respond::json(StatusCode::OK, &RESET_REQUESTED)))
}

/// `POST /api/resend-verification/`
pub(super) async fn resend_verification(
    app: &Arc<App>,
    request: Request,
) -> Result<Answer, ApiError> {
    let email = email(&request.fields()?)?;
    password::request_verification(app, email, request.client).await?;
    Ok(respond::no_store(respond::json(StatusCode::OK, &VERIFICATION_REQUESTED)))
}

fn email(fields: &Fields) -> Result<Email, ApiError> {
    let mut errors = FieldErrors::default();
    let email = fields.email("email", &mut errors);
    errors.into_result()?;
    email.ok_or(ApiError::Internal)
}

/// `POST /api/reset-password/`
pub(super) async fn reset(app: &Arc<App>, request: Request) -> Result<Answer, ApiError> {
    let fields = request.fields()?;
    set_by_link(app, &fields, request.client).await?;
    Ok(respond::no_store(respond::json(StatusCode::OK, &RESET)))
}

/// Sets a password as the fields of a reset say, whoever asks, a program or the page.
pub(super) async fn set_by_link(
    app: &Arc<App>,
    fields: &Fields,
    client: Client,
) -> Result<(), ApiError> {
    let mut errors = FieldErrors::default();
    let token = fields.required_text("token", Trim::Yes, &mut errors);
    let new = fields.password("new_password", &mut errors);
    let repeated = fields.password("confirm_password", &mut errors);
    let user = match &token {
        Some(token) => password::look_at_reset(app, token.expose())?,
        None => None,
    };
    if let Some(new) = &new
        && let Err(problems) = password::check_new(app, new, user.as_ref())
    {
        errors.add_password("new_password", &problems, &app.config.passwords.policy);
    }
    errors.into_result()?;
    let (Some(token), Some(new), Some(repeated)) = (token, new, repeated) else {
        return Err(ApiError::Internal);
    };
    if new.expose() != repeated.expose() {
        return Err(FieldErrors::non_field(FieldProblem::PasswordsDiffer).into());
    }
    password::reset(app, token.expose(), &new, client)
        .await
        .map(drop)
        .map_err(|refused| refusal(app, refused))
}

/// `POST /api/change-password/`
pub(super) async fn change(app: &Arc<App>, request: Request) -> Result<Answer, ApiError> {
    let (user, session) = bearer::authenticate(app, &request.head.headers)?;
    let fields = request.fields()?;
    let mut errors = FieldErrors::default();
    let current = fields.password("current_password", &mut errors);
    let new = fields.password("new_password", &mut errors);
    let repeated = fields.password("confirm_password", &mut errors);
    let accepted = new.as_ref().and_then(|new| {
        password::check_new(app, new, Some(&user))
            .map_err(|problems| {
                errors.add_password("new_password", &problems, &app.config.passwords.policy);
            })
            .ok()
    });
    if let (Some(new), Some(repeated)) = (&new, &repeated)
        && new.expose() != repeated.expose()
    {
        errors.add("confirm_password", FieldProblem::NewPasswordsDiffer);
    }
    errors.into_result()?;
    let (Some(current), Some(accepted)) = (current, accepted) else {
        return Err(ApiError::Internal);
    };
    password::change(app, &user, &session, current, accepted, request.client)
        .await
        .map_err(|refused| refusal(app, refused))?;
    Ok(respond::no_store(respond::json(StatusCode::OK, &CHANGED)))
}

fn refusal(app: &App, refused: SetRefused) -> ApiError {
    match refused {
        SetRefused::Weak(problems) => {
            let mut errors = FieldErrors::default();
            errors.add_password("new_password", &problems, &app.config.passwords.policy);
            errors.into()
        }
        SetRefused::SameAsCurrent => {
            FieldErrors::of("new_password", FieldProblem::SameAsCurrent).into()
        }
        SetRefused::Current(refused) => {
            password_refusal(refused, "current_password", FieldProblem::IncorrectCurrent)
        }
        SetRefused::InvalidLink => FieldErrors::non_field(FieldProblem::InvalidResetToken).into(),
        SetRefused::NotAuthorised => ApiError::InvalidAccessToken,
        SetRefused::Failed(failure) => failure.into(),
    }
}

impl From<RequestRefused> for ApiError {
    fn from(refused: RequestRefused) -> Self {
        match refused {
            RequestRefused::Throttled(throttled) => {
                Self::Throttled { retry_after: throttled.retry_after }
            }
            RequestRefused::Failed(failure) => failure.into(),
        }
    }
}
