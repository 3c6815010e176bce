//! `/api/profile/`

use hyper::{Method, StatusCode};
use serde::Serialize;

use super::bearer;
use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use super::request::{Context, Request};
use super::respond::{self, Answer};
use crate::domain::User;
use crate::flows::account::{self, ChangeRefused, ProfileChange};
use crate::jwt::TokenError;

/// `USER` of the contract.
#[derive(Serialize)]
pub(super) struct UserBody<'u> {
    id: u64,
    email: &'u str,
    username: &'u str,
    is_email_verified: bool,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_email: Option<&'u str>,
}

impl<'u> From<&'u User> for UserBody<'u> {
    fn from(user: &'u User) -> Self {
        Self {
            id: user.id.0,
            email: user.email.as_str(),
            username: user.username.as_ref().map_or("", |name| name.as_str()),
            is_email_verified: user.is_email_verified,
            created_at: user.created_at.to_string(),
            pending_email: user.pending_email.as_ref().map(|pending| pending.email.as_str()),
        }
    }
}

/// `GET`
pub(super) fn show(context: &Context, request: &Request) -> Result<Answer, ApiError> {
    let (user, _) = bearer::authenticate(&context.app, request)?;
    Ok(respond::private(StatusCode::OK, &UserBody::from(&*user)))
}

/// `PATCH` changes what it names; `PUT` requires the address, and removes a name it does not give.
pub(super) async fn change(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let (user, session) = bearer::authenticate(&context.app, &request)?;
    let is_whole = request.head.method == Method::PUT;
    let change = request.form(|form| {
        let mut change = ProfileChange::default();
        if is_whole || form.has("email") {
            change.email = form.email("email");
        }
        if is_whole || form.has("username") {
            change.username = form.optional_username("username");
        }
        if change.email.as_ref().is_some_and(|email| account::is_new_address(&user, email)) {
            change.current_password = form.password("current_password");
        }
        Some(change)
    })?;
    let user = account::change_profile(&context.app, &user, &session, change, request.client)
        .await
        .map_err(|refused| refusal(refused, "current_password", FieldProblem::IncorrectCurrent))?;
    Ok(respond::private(StatusCode::OK, &UserBody::from(&user)))
}

/// `DELETE`
pub(super) async fn delete(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let (user, session) = bearer::authenticate(&context.app, &request)?;
    let password = request.form(|form| form.password("password"))?;
    account::delete(&context.app, &user, &session, password, request.client)
        .await
        .map_err(|refused| refusal(refused, "password", FieldProblem::IncorrectPassword))?;
    Ok(respond::no_store(respond::no_content()))
}

/// A refusal, where the current password is called `field`.
fn refusal(refused: ChangeRefused, field: &'static str, wrong: FieldProblem) -> ApiError {
    match refused {
        ChangeRefused::PasswordRequired => FieldErrors::of(field, FieldProblem::Required).into(),
        ChangeRefused::Password(refused) => ApiError::current_password(refused, field, wrong),
        ChangeRefused::Taken(taken) => {
            let mut errors = FieldErrors::default();
            errors.add_taken(taken);
            errors.into()
        }
        ChangeRefused::Throttled(throttled) => throttled.into(),
        ChangeRefused::NotAuthorised => ApiError::AccessToken(TokenError::Invalid),
        ChangeRefused::Failed(failure) => failure.into(),
    }
}
