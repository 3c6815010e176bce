//! `POST /api/register/`

use hyper::StatusCode;
use serde::Serialize;

use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use super::request::{Context, Request};
use super::respond::{self, Answer};
use crate::flows::registration::{self, Draft, RegistrationRefused};

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
