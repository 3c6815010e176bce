//! `/api/register/` and `/api/resend-verification/`

use hyper::StatusCode;
use serde::Serialize;

use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use super::request::{Context, Request};
use super::respond::{self, Answer};
use crate::flows::registration::{self, Draft, RegistrationRefused};
use crate::flows::verification;

/// The answer. A known client goes on to its "check your email" page only on `"sent"`.
#[derive(Serialize)]
struct Registered {
    message: &'static str,
    email_status: &'static str,
}

const REGISTERED: Registered = Registered {
    message: "Registration successful. Please check your email to verify your account.",
    email_status: "sent",
};

/// `POST /api/register/`
pub(super) async fn register(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let app = &context.app;
    if !registration::is_open(app) {
        return Err(ApiError::RegistrationClosed);
    }
    // Fields with an error are absent from the draft: their errors come with the flow's.
    let (draft, mut errors) = request.fields()?.partial_form(|form| Draft {
        email: form.email("email"),
        username: form.optional_username("username"),
        password: form.password("password"),
        repeated: form.password("password_confirm"),
    });
    match registration::register(app, draft, &request.client).await {
        Ok(_) => Ok(respond::private(StatusCode::CREATED, &REGISTERED)),
        Err(RegistrationRefused::Fields { taken, password }) => {
            errors.add_taken(taken);
            errors.add_password("password", &password, &app.config.passwords.policy);
            Err(errors.into())
        }
        Err(RegistrationRefused::PasswordsDiffer) => {
            Err(FieldErrors::non_field(FieldProblem::PasswordsDiffer).into())
        }
        Err(RegistrationRefused::Throttled(throttled)) => Err(throttled.into()),
        Err(RegistrationRefused::Failed(failure)) => Err(failure.into()),
    }
}

/// The same for every address, whether or not it has an account.
const REQUESTED: &str = "If the address needs verification, a mail is on its way.";

/// `POST /api/resend-verification/`
pub(super) async fn resend_verification(
    context: &Context,
    request: Request,
) -> Result<Answer, ApiError> {
    let email = request.form(|form| form.email("email"))?;
    verification::request(&context.app, email, request.client).await?;
    Ok(respond::message(REQUESTED))
}
