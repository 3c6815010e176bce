//! `/api/profile/`

use std::sync::Arc;

use hyper::StatusCode;

use super::bearer;
use super::errors::ApiError;
use super::respond::{self, Answer};
use super::router::Request;
use super::user::UserBody;
use crate::app::App;

pub(super) fn show(app: &Arc<App>, request: &Request) -> Result<Answer, ApiError> {
    let (user, _) = bearer::authenticate(app, &request.head.headers)?;
    Ok(respond::no_store(respond::json(StatusCode::OK, &UserBody::from(user))))
}
