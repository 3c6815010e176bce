//! `/reset-password/`: the page behind a mailed reset link, where there is no frontend.

use percent_encoding::percent_decode_str;

use super::errors::ApiError;
use super::field_errors::FieldErrors;
use super::pages::{Notice, ResetPage};
use super::passwords;
use super::request::{Context, Request};
use super::respond::Answer;
use crate::domain::{Email, Purpose};
use crate::flows::link::{Link, LinkOutcome};
use crate::flows::password;
use crate::paths::RESET_PASSWORD;
use crate::secret::Secret;

/// `GET /reset-password/{token}`
pub(super) fn open(context: &Context, request: &Request) -> Answer {
    let rest = request.head.uri.path().strip_prefix(RESET_PASSWORD).unwrap_or_default();
    // Some mail programs encode `-` and `_`, which are in a token.
    let token = percent_decode_str(rest.trim_matches('/')).decode_utf8_lossy().into_owned();
    let token = Secret::new(token);
    match Link::open(&context.app, &token, &[Purpose::ResetPassword]) {
        Ok(link) => form(context, &link.email, &token, FieldErrors::default()),
        Err(outcome) => notice(context, outcome),
    }
}

/// `POST /reset-password/`, from the form.
pub(super) async fn answer(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let app = &context.app;
    let fields = request.fields()?;
    let token = fields.trimmed("token");
    let link = match Link::open(app, &token, &[Purpose::ResetPassword]) {
        Ok(link) => link,
        Err(outcome) => return Ok(notice(context, outcome)),
    };
    let new = match passwords::new_password(app, &fields, Some(&link.user)) {
        Ok(new) => new,
        Err(ApiError::Fields(errors)) => {
            return Ok(form(context, &link.email, &token, errors));
        }
        Err(other) => return Err(other),
    };
    let outcome = password::reset(app, &link, new, request.client).await;
    Ok(notice(context, outcome.unwrap_or_else(LinkOutcome::Failed)))
}

/// The form for a new password.
pub(super) fn form(
    context: &Context,
    email: &Email,
    token: &Secret<String>,
    problems: FieldErrors,
) -> Answer {
    let min_length = context.app.config.passwords.policy.min_length;
    context.pages.reset(&ResetPage { email, token, min_length, problems })
}

fn notice(context: &Context, outcome: LinkOutcome) -> Answer {
    context.pages.notice(match outcome {
        LinkOutcome::Invalid(_) => Notice::BadResetLink,
        outcome => outcome.into(),
    })
}
