//! `/api/profile/`

use std::sync::Arc;

use hyper::{Method, StatusCode};

use super::bearer;
use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use super::respond::{self, Answer};
use super::router::Request;
use super::user::UserBody;
use crate::app::App;
use crate::flows::account::{self, ChangeRefused, ProfileChange};
use crate::flows::credentials::PasswordRefused;

/// `GET`
pub(super) fn show(app: &Arc<App>, request: &Request) -> Result<Answer, ApiError> {
    let (user, _) = bearer::authenticate(app, &request.head.headers)?;
    Ok(respond::no_store(respond::json(StatusCode::OK, &UserBody::from(&*user))))
}

/// `PATCH` changes what it names; `PUT` wants the address, and no name in it means none.
pub(super) async fn change(app: &Arc<App>, request: Request) -> Result<Answer, ApiError> {
    let (user, session) = bearer::authenticate(app, &request.head.headers)?;
    let fields = request.fields()?;
    let is_whole = request.head.method == Method::PUT;
    let mut errors = FieldErrors::default();
    let mut change = ProfileChange::default();
    if is_whole || fields.has("email") {
        change.email = fields.email("email", &mut errors);
    }
    if is_whole || fields.has("username") {
        change.username = fields.optional_username("username", &mut errors);
    }
    let is_new = change.email.as_ref().is_some_and(|email| account::is_new_address(&user, email));
    if is_new {
        change.current_password = fields.password("current_password", &mut errors);
    }
    errors.into_result()?;
    let user = account::change_profile(app, &user, &session, change, request.client)
        .await
        .map_err(|refused| refusal(refused, "current_password", FieldProblem::IncorrectCurrent))?;
    Ok(respond::no_store(respond::json(StatusCode::OK, &UserBody::from(&user))))
}

/// `DELETE`
pub(super) async fn delete(app: &Arc<App>, request: Request) -> Result<Answer, ApiError> {
    let (user, session) = bearer::authenticate(app, &request.head.headers)?;
    let fields = request.fields()?;
    let mut errors = FieldErrors::default();
    let password = fields.password("password", &mut errors);
    errors.into_result()?;
    let Some(password) = password else { return Err(ApiError::Internal) };
    account::delete(app, &user, &session, password, request.client)
        .await
        .map_err(|refused| refusal(refused, "password", FieldProblem::IncorrectPassword))?;
    Ok(respond::no_store(respond::no_content()))
}

/// A refusal, where the current password is called `field`.
fn refusal(refused: ChangeRefused, field: &'static str, wrong: FieldProblem) -> ApiError {
    match refused {
        ChangeRefused::PasswordRequired => FieldErrors::of(field, FieldProblem::Required).into(),
        ChangeRefused::Password(refused) => password_refusal(refused, field, wrong),
        ChangeRefused::Taken(taken) => FieldErrors::taken(taken).into(),
        ChangeRefused::Throttled(throttled) => {
            ApiError::Throttled { retry_after: throttled.retry_after }
        }
        ChangeRefused::NotAuthorised => ApiError::InvalidAccessToken,
        ChangeRefused::Failed(failure) => failure.into(),
    }
}

/// A current password that does not count, in the field called `field`.
pub(super) fn password_refusal(
    refused: PasswordRefused,
    field: &'static str,
    wrong: FieldProblem,
) -> ApiError {
    match refused {
        PasswordRefused::Wrong => FieldErrors::of(field, wrong).into(),
        PasswordRefused::LockedOut(throttled) => {
            ApiError::LockedOut { retry_after: throttled.retry_after }
        }
        PasswordRefused::NotAuthorised => ApiError::InvalidAccessToken,
        PasswordRefused::Failed(failure) => failure.into(),
    }
}
