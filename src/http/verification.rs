//! `/api/verify-email/confirm/`: what a mailed link opens, and what its page sends back.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde::Serialize;

use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use super::fields::{Field, Fields, Trim};
use super::input;
use super::pages::{
    CancelChangePage, ChangePage, ConfirmPage, DisownPage, Notice, PageAction, Pages,
};
use super::reset_page;
use super::respond::{self, Answer};
use super::router::Request;
use crate::app::App;
use crate::config::ConfirmBy;
use crate::domain::{Client, Purpose};
use crate::flows::confirmation::{self, Confirmed, LinkState};
use crate::flows::password;
use crate::secret::Secret;
use crate::store::{CancelOutcome, DisownOutcome};

/// The answer to a confirmation as JSON.
#[derive(Serialize)]
struct Verified {
    message: &'static str,
}

const VERIFIED: Verified = Verified { message: "Email verified successfully" };

/// `GET`: the page that asks for the click; or, as the original had it, the confirmation itself.
/// `HEAD` never confirms.
pub(super) async fn open(
    app: &Arc<App>,
    pages: &Pages,
    request: &Request,
) -> Result<Answer, ApiError> {
    let token = token_of_query(request.head.uri.query().unwrap_or_default());
    // Only the address of a new account: what changes or calls off takes a click in any case.
    let confirms = app.config.registration.confirm == ConfirmBy::Link
        && request.head.method != Method::HEAD
        && confirmation::purpose(app, token.expose()) == Some(Purpose::VerifyEmail);
    if confirms {
        let outcome = confirmation::confirm(app, token.expose(), request.client.clone()).await;
        return Ok(outcome.map_or_else(
            |failure| sorry(pages, failure),
            |outcome| result(app, pages, &token, &outcome),
        ));
    }
    Ok(match confirmation::look(app, token.expose()) {
        Ok(LinkState::Open { email, created_at }) => {
            pages.confirm(&ConfirmPage { email, created_at, token, can_reset: true })
        }
        Ok(LinkState::OpenChange { email, asked_at }) => {
            pages.change(&ChangePage { new_email: email, requested_at: asked_at, token })
        }
        Ok(LinkState::OpenCancellation { new_email, asked_at }) => {
            pages.cancel_change(&CancelChangePage { new_email, requested_at: asked_at, token })
        }
        Ok(LinkState::AlreadyVerified) => result(app, pages, &token, &Confirmed::AlreadyVerified),
        Ok(LinkState::Invalid) => result(app, pages, &token, &Confirmed::Invalid),
        Err(failure) => sorry(pages, failure),
    })
}

/// `POST`: a form from the page, answered for people, or JSON, answered for programs.
pub(super) async fn answer(
    app: &Arc<App>,
    pages: &Pages,
    request: Request,
) -> Result<Answer, ApiError> {
    let fields = request.fields()?;
    if input::is_form(&request.head.headers) {
        Ok(answer_form(app, pages, request, &fields).await)
    } else {
        confirm_as_json(app, &fields, request.client).await
    }
}

async fn confirm_as_json(
    app: &Arc<App>,
    fields: &Fields,
    client: Client,
) -> Result<Answer, ApiError> {
    let mut errors = FieldErrors::default();
    let token = fields.required_text("token", Trim::Yes, &mut errors);
    errors.into_result()?;
    let Some(token) = token else { return Err(ApiError::Internal) };
    match confirmation::confirm(app, token.expose(), client).await? {
        // Whoever repeats a request whose answer was lost gets the answer that was lost.
        Confirmed::Verified | Confirmed::Changed | Confirmed::AlreadyVerified => {
            Ok(respond::no_store(respond::json(StatusCode::OK, &VERIFIED)))
        }
        Confirmed::Taken => Err(FieldErrors::non_field(FieldProblem::EmailTaken).into()),
        Confirmed::Invalid => {
            Err(FieldErrors::non_field(FieldProblem::InvalidVerificationToken).into())
        }
    }
}

async fn answer_form(app: &Arc<App>, pages: &Pages, request: Request, fields: &Fields) -> Answer {
    let token = text(fields, "token");
    let action = match fields.text("action") {
        Field::Absent => Some(PageAction::Confirm),
        _ => PageAction::parse(text(fields, "action").expose()),
    };
    let client = request.client;
    let answered = match action {
        Some(PageAction::Confirm) => confirmation::confirm(app, token.expose(), client)
            .await
            .map(|outcome| result(app, pages, &token, &outcome)),
        Some(PageAction::Reset) => password::exchange_for_reset(app, token.expose())
            .await
            .and_then(|reset| reset_page::page(app, pages, reset.unwrap_or(token))),
        Some(PageAction::Disown) => {
            confirmation::look(app, token.expose()).map(|state| match state {
                LinkState::Open { email, created_at } => {
                    pages.disown(&DisownPage { email, created_at, token })
                }
                LinkState::AlreadyVerified => pages.notice(Notice::NotRemoved),
                _ => pages.notice(bad_link(app, &token)),
            })
        }
        Some(PageAction::DisownConfirmed) => {
            confirmation::disown(app, token.expose(), client).await.map(|outcome| {
                pages.notice(match outcome {
                    DisownOutcome::Removed => Notice::Removed,
                    DisownOutcome::AlreadyVerified => Notice::NotRemoved,
                    DisownOutcome::Invalid => bad_link(app, &token),
                })
            })
        }
        Some(PageAction::Cancel) => {
            confirmation::cancel_change(app, token.expose(), client).await.map(|outcome| {
                pages.notice(match outcome {
                    CancelOutcome::Cancelled => Notice::EmailChangeCancelled,
                    CancelOutcome::Invalid => bad_link(app, &token),
                })
            })
        }
        Some(PageAction::Keep) => Ok(pages.notice(Notice::Kept)),
        Some(PageAction::KeepChange) => Ok(pages.notice(Notice::EmailChangeKept)),
        None => Ok(pages.notice(Notice::BadRequest)),
    };
    answered.unwrap_or_else(|failure| sorry(pages, failure))
}

/// Where a confirmation leads: to the frontend where there is one, else to a page of ours.
fn result(app: &App, pages: &Pages, token: &Secret<String>, outcome: &Confirmed) -> Answer {
    let (place, notice) = match outcome {
        Confirmed::Verified => ("success", Notice::Confirmed),
        Confirmed::Changed => ("success", Notice::EmailChanged),
        Confirmed::AlreadyVerified => ("already-verified", Notice::AlreadyVerified),
        Confirmed::Taken => ("error", Notice::EmailTaken),
        Confirmed::Invalid => ("error", bad_link(app, token)),
    };
    match &app.config.server.frontend_url {
        Some(frontend) => respond::see_other(&format!("{frontend}/verification/{place}")),
        None => pages.notice(notice),
    }
}

/// What is said of a link that does not work, by what it was for.
fn bad_link(app: &App, token: &Secret<String>) -> Notice {
    match confirmation::purpose(app, token.expose()) {
        Some(Purpose::ChangeEmail) => Notice::BadChangeLink,
        Some(Purpose::CancelEmailChange) => Notice::BadCancelLink,
        Some(Purpose::VerifyEmail | Purpose::ResetPassword) | None => Notice::BadLink,
    }
}

/// The page for a failure that is not the visitor's.
pub(super) fn sorry(pages: &Pages, failure: crate::flows::Failure) -> Answer {
    match ApiError::from(failure) {
        ApiError::Unavailable { retry_after } => pages.notice(Notice::Unavailable { retry_after }),
        _ => pages.notice(Notice::Internal),
    }
}

/// The token of a link; empty where there is none, which no link is.
fn token_of_query(query: &str) -> Secret<String> {
    let token = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "token")
        .last()
        .map(|(_, value)| value.trim().to_owned());
    Secret::new(token.unwrap_or_default())
}

fn text(fields: &Fields, name: &str) -> Secret<String> {
    match fields.text(name) {
        Field::Text(text) => Secret::new(text.expose().trim().to_owned()),
        Field::Absent | Field::Null | Field::WrongType => Secret::new(String::new()),
    }
}
