//! `/api/verify-email/confirm/`: what a mailed link opens, and what its page sends back.

use hyper::Method;

use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use super::fields::Fields;
use super::input;
use super::pages::{Notice, PageAction, Question};
use super::request::{Context, Request};
use super::reset_page;
use super::respond::{self, Answer};
use crate::config::ConfirmBy;
use crate::domain::{Client, Purpose};
use crate::flows::link::{Link, LinkOutcome};
use crate::flows::{confirmation, password};
use crate::secret::Secret;

const VERIFIED: &str = "Email verified successfully";

/// The purposes of links that lead here.
const PURPOSES: [Purpose; 3] =
    [Purpose::VerifyEmail, Purpose::ChangeEmail, Purpose::CancelEmailChange];

/// `GET`: the page that asks for the click; or the confirmation itself, where that is configured.
/// `HEAD` never confirms.
pub(super) async fn open(context: &Context, request: Request) -> Answer {
    let app = &context.app;
    let token = token_of_query(request.head.uri.query().unwrap_or_default());
    let link = match Link::open(app, &token, &PURPOSES) {
        Ok(link) => link,
        Err(outcome) => return result(context, outcome),
    };
    let question = match link.purpose {
        // Only this one: what changes or calls off takes a click in any case.
        Purpose::VerifyEmail
            if app.config.registration.confirm == ConfirmBy::Link
                && request.head.method != Method::HEAD =>
        {
            let outcome = confirmation::confirm(app, &link, request.client).await;
            return result(context, outcome.unwrap_or_else(LinkOutcome::Failed));
        }
        Purpose::ChangeEmail => Question::Change,
        Purpose::CancelEmailChange => Question::CancelChange,
        Purpose::VerifyEmail | Purpose::ResetPassword => Question::Confirm,
    };
    context.pages.ask(question, &link.email, link.since, &token)
}

/// `POST`: a form from the page, answered for people, or JSON, answered for programs.
pub(super) async fn answer(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let fields = request.fields()?;
    if input::is_form(&request.head.headers) {
        Ok(answer_form(context, &fields, request.client).await)
    } else {
        confirm_as_json(context, &fields, request.client).await
    }
}

async fn confirm_as_json(
    context: &Context,
    fields: &Fields,
    client: Client,
) -> Result<Answer, ApiError> {
    let token = fields.form(|form| form.token("token"))?;
    let outcome = match Link::open(&context.app, &token, &PURPOSES) {
        Ok(link) => confirmation::confirm(&context.app, &link, client).await?,
        Err(outcome) => outcome,
    };
    match outcome {
        // A repeated request whose answer was lost gets the answer that was lost.
        LinkOutcome::Verified | LinkOutcome::Changed | LinkOutcome::AlreadyVerified => {
            Ok(respond::message(VERIFIED))
        }
        LinkOutcome::Taken => Err(FieldErrors::non_field(FieldProblem::EmailTaken).into()),
        LinkOutcome::Failed(failure) => Err(failure.into()),
        _ => Err(FieldErrors::non_field(FieldProblem::InvalidVerificationToken).into()),
    }
}

async fn answer_form(context: &Context, fields: &Fields, client: Client) -> Answer {
    let Context { app, pages, .. } = context;
    let token = fields.trimmed("token");
    let action = match fields.get("action") {
        None => Some(PageAction::Confirm),
        Some(_) => PageAction::parse(fields.trimmed("action").expose()),
    };
    let Some(action) = action else { return pages.notice(Notice::BadRequest) };
    let outcome = match (action, Link::open(app, &token, &PURPOSES)) {
        (PageAction::Confirm, Ok(link)) => {
            let outcome = confirmation::confirm(app, &link, client).await;
            return result(context, outcome.unwrap_or_else(LinkOutcome::Failed));
        }
        (PageAction::Confirm, Err(outcome)) => return result(context, outcome),
        (PageAction::Reset, Ok(link)) => match password::exchange_for_reset(app, &link).await {
            Ok(token) => {
                return reset_page::form(context, &link.email, &token, FieldErrors::default());
            }
            Err(outcome) => Ok(outcome),
        },
        (PageAction::Disown, Ok(link)) if link.purpose == Purpose::VerifyEmail => {
            return pages.ask(Question::Disown, &link.email, link.since, &token);
        }
        (PageAction::Keep, Ok(link)) if link.purpose == Purpose::VerifyEmail => {
            return pages.notice(Notice::Kept);
        }
        (PageAction::KeepChange, Ok(link)) if link.purpose != Purpose::VerifyEmail => {
            return pages.notice(Notice::ChangeKept);
        }
        (PageAction::DisownConfirmed, Ok(link)) => confirmation::disown(app, &link, client).await,
        (PageAction::Cancel, Ok(link)) => confirmation::cancel_change(app, &link, client).await,
        (_, Ok(link)) => Ok(LinkOutcome::Invalid(Some(link.purpose))),
        (_, Err(outcome)) => Ok(match (action, outcome) {
            (PageAction::Reset, LinkOutcome::AlreadyVerified | LinkOutcome::Invalid(_)) => {
                LinkOutcome::Invalid(Some(Purpose::ResetPassword))
            }
            (PageAction::Keep | PageAction::KeepChange, outcome) => outcome,
            (PageAction::Cancel, LinkOutcome::AlreadyVerified) => {
                LinkOutcome::Invalid(Some(Purpose::ChangeEmail))
            }
            (_, LinkOutcome::AlreadyVerified) => LinkOutcome::NotRemoved,
            (_, outcome) => outcome,
        }),
    };
    pages.notice(outcome.unwrap_or_else(LinkOutcome::Failed).into())
}

/// Where a confirmation leads: to the frontend where there is one, else to a page of ours.
fn result(context: &Context, outcome: LinkOutcome) -> Answer {
    let place = match outcome {
        LinkOutcome::Verified | LinkOutcome::Changed => "success",
        LinkOutcome::AlreadyVerified => "already-verified",
        _ => "error",
    };
    match &context.app.config.server.frontend_url {
        Some(frontend) if !matches!(outcome, LinkOutcome::Failed(_)) => {
            respond::see_other(&format!("{frontend}/verification/{place}"))
        }
        _ => context.pages.notice(outcome.into()),
    }
}

/// The token of a link; empty where there is none, which no link's is.
fn token_of_query(query: &str) -> Secret<String> {
    let token = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "token")
        .last()
        .map(|(_, value)| value.trim().to_owned());
    Secret::new(token.unwrap_or_default())
}
