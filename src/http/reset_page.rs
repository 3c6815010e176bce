//! `/reset-password/`: the page behind a mailed reset link, where there is no frontend.

use std::sync::Arc;

use super::errors::ApiError;
use super::fields::{Field, Fields};
use super::pages::{Notice, Pages, ResetPage, ResetProblems};
use super::passwords;
use super::respond::Answer;
use super::router::Request;
use super::verification::sorry;
use crate::app::App;
use crate::flows::{Failure, password};
use crate::paths::RESET_PASSWORD;
use crate::secret::Secret;

/// `GET /reset-password/{token}`
pub(super) fn open(app: &Arc<App>, pages: &Pages, request: &Request) -> Answer {
    let rest = request.head.uri.path().strip_prefix(RESET_PASSWORD).unwrap_or_default();
    let token = Secret::new(rest.trim_matches('/').to_owned());
    page(app, pages, token).unwrap_or_else(|failure| sorry(pages, failure))
}

/// The form for a new password, if the token is that of a link that still works.
pub(super) fn page(app: &App, pages: &Pages, token: Secret<String>) -> Result<Answer, Failure> {
    form(app, pages, token, ResetProblems::default())
}

fn form(
    app: &App,
    pages: &Pages,
    token: Secret<String>,
    problems: ResetProblems,
) -> Result<Answer, Failure> {
    let user = password::look_at_reset(app, token.expose())?;
    Ok(match user {
        Some(user) => pages.reset(&ResetPage {
            email: user.email,
            token,
            min_length: app.config.passwords.policy.min_length,
            problems,
        }),
        None => pages.notice(Notice::BadResetLink),
    })
}

/// `POST /reset-password/`, from the form.
pub(super) async fn answer(
    app: &Arc<App>,
    pages: &Pages,
    request: Request,
) -> Result<Answer, ApiError> {
    let fields = request.fields()?;
    let token = token(&fields);
    let answered = match passwords::set_by_link(app, &fields, request.client).await {
        Ok(()) => Ok(pages.notice(Notice::PasswordReset)),
        Err(ApiError::Fields(errors)) => {
            let is_about_the_link =
                !errors.problems_of("token").is_empty() || is_bad_link(app, &token);
            let problems = ResetProblems::from(&errors);
            if is_about_the_link || problems.is_empty() {
                Ok(pages.notice(Notice::BadResetLink))
            } else {
                form(app, pages, token, problems)
            }
        }
        Err(ApiError::Unavailable { retry_after }) => {
            Ok(pages.notice(Notice::Unavailable { retry_after }))
        }
        Err(other) => return Err(other),
    };
    Ok(answered.unwrap_or_else(|failure| sorry(pages, failure)))
}

fn is_bad_link(app: &App, token: &Secret<String>) -> bool {
    matches!(password::look_at_reset(app, token.expose()), Ok(None))
}

fn token(fields: &Fields) -> Secret<String> {
    match fields.text("token") {
        Field::Text(text) => Secret::new(text.expose().trim().to_owned()),
        Field::Absent | Field::Null | Field::WrongType => Secret::new(String::new()),
    }
}
