//! `POST /api/resend-verification/`

use super::errors::ApiError;
use super::request::{Context, Request};
use super::respond::{self, Answer};
use crate::flows::verification;

/// The same for every address, whether or not it has an account.
const REQUESTED: &str = "If the address needs verification, a mail is on its way.";

pub(super) async fn resend(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let email = request.form(|form| form.email("email"))?;
    verification::request(&context.app, email, request.client).await?;
    Ok(respond::message(REQUESTED))
}
