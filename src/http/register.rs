//! `POST /api/register/`

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;

use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use super::respond::{self, Answer};
use super::router::Request;
use crate::app::App;
use crate::domain::NewPassword;
use crate::flows::registration::{self, Registration, RegistrationRefused};

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

pub(super) async fn register(app: &Arc<App>, request: Request) -> Result<Answer, ApiError> {
    if !registration::is_open(app) {
        return Err(ApiError::RegistrationClosed);
    }
    let fields = request.fields()?;
    let mut errors = FieldErrors::default();
    let email = fields.email("email", &mut errors);
    let username = fields.optional_username("username", &mut errors);
    let password = fields.password("password", &mut errors);
    let repeated = fields.password("password_confirm", &mut errors);

    let name = username.as_ref().and_then(Option::as_ref);
    // The answer will tell whether they are taken, and whoever tries many of them must not get
    // around the limit by a bad password beside. So this counts before anything else is judged,
    // and a client over the limit is told that alone.
    if email.is_some() || name.is_some() {
        registration::count_attempt(app, &request.client)
            .map_err(|throttled| ApiError::Throttled { retry_after: throttled.retry_after })?;
        errors.add_taken(registration::look_for_taken(app, email.as_ref(), name)?);
    }
    let policy = &app.config.passwords.policy;
    let new_password = password.as_ref().and_then(|password| {
        NewPassword::check(password, policy, email.as_ref(), name)
            .map_err(|problems| errors.add_password("password", &problems, policy))
            .ok()
    });
    errors.into_result()?;
    let (Some(email), Some(username), Some(new_password)) = (email, username, new_password) else {
        return Err(ApiError::Internal);
    };
    let is_repeated = match (password, repeated) {
        (Some(password), Some(repeated)) => password.expose() == repeated.expose(),
        _ => false,
    };
    if !is_repeated {
        return Err(FieldErrors::non_field(FieldProblem::PasswordsDiffer).into());
    }

    let registration = Registration { email, username, password: new_password };
    match registration::register(app, registration, &request.client).await {
        Ok(_) => Ok(respond::no_store(respond::json(StatusCode::CREATED, &REGISTERED))),
        Err(RegistrationRefused::Taken(taken)) => Err(FieldErrors::taken(taken).into()),
        Err(RegistrationRefused::Failed(failure)) => Err(failure.into()),
    }
}
