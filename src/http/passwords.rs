//! Forgotten passwords, and changed ones.

use super::bearer;
use super::errors::ApiError;
use super::field_errors::{FieldErrors, FieldProblem};
use super::fields::{Fields, Form};
use super::request::{Context, Request};
use super::respond::{self, Answer};
use crate::app::App;
use crate::domain::{NewPassword, Purpose, User};
use crate::flows::link::{Link, LinkOutcome};
use crate::flows::password::{self, PasswordChangeRefused};
use crate::secret::Secret;

/// The same for every address, whether or not it has an account.
const RESET_REQUESTED: &str = "Password reset instructions have been sent to your email if an \
                               account exists with this email address.";
const RESET: &str = "Password has been reset successfully.";
const CHANGED: &str = "Password successfully changed";

/// `POST /api/forgot-password/`
pub(super) async fn forgot(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let email = request.form(|form| form.email("email"))?;
    password::request_reset(&context.app, email, request.client).await?;
    Ok(respond::message(RESET_REQUESTED))
}

/// `POST /api/reset-password/`
pub(super) async fn reset(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let app = &context.app;
    let fields = request.fields()?;
    let link = Link::open(app, &fields.trimmed("token"), &[Purpose::ResetPassword]);
    if let Err(LinkOutcome::Failed(failure)) = link {
        return Err(failure.into());
    }
    let new = new_password(app, &fields, link.as_ref().ok().map(|link| &link.user))?;
    let outcome = match link {
        Ok(link) => password::reset(app, &link, new.clone(), request.client.clone()).await?,
        Err(outcome) => outcome,
    };
    let is_reset = match outcome {
        LinkOutcome::PasswordReset => true,
        LinkOutcome::AlreadyReset(past) => {
            password::repeats(app, &past, new, &request.client).await?
        }
        LinkOutcome::Failed(failure) => return Err(failure.into()),
        _ => false,
    };
    if is_reset {
        Ok(respond::message(RESET))
    } else {
        Err(FieldErrors::non_field(FieldProblem::InvalidResetToken).into())
    }
}

/// The new password in the fields of a reset, of `user` where the link is good.
pub(super) fn new_password(
    app: &App,
    fields: &Fields,
    user: Option<&User>,
) -> Result<NewPassword, ApiError> {
    let (new, repeated) = fields.form(|form| {
        let token = form.token("token");
        let new = form.password("new_password");
        let repeated = form.password("confirm_password");
        let new = new.and_then(|new| accepted(app, form, &new, user));
        token?;
        Some((new?, repeated?))
    })?;
    if new.as_secret().expose() == repeated.expose() {
        Ok(new)
    } else {
        Err(FieldErrors::non_field(FieldProblem::PasswordsDiffer).into())
    }
}

/// `POST /api/change-password/`
pub(super) async fn change(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let app = &context.app;
    let (user, session) = bearer::authenticate(app, &request)?;
    let (current, new) = request.form(|form| {
        let current = form.password("current_password");
        let new = form.password("new_password");
        let repeated = form.password("confirm_password");
        let accepted = new.as_ref().and_then(|new| accepted(app, form, new, Some(&user)));
        if let (Some(new), Some(repeated)) = (&new, &repeated)
            && new.expose() != repeated.expose()
        {
            form.errors.add("confirm_password", FieldProblem::NewPasswordsDiffer);
        }
        Some((current?, accepted?))
    })?;
    match password::change(app, &user, &session, current, new, request.client).await {
        Ok(()) => Ok(respond::message(CHANGED)),
        Err(PasswordChangeRefused::SameAsCurrent) => {
            Err(FieldErrors::of("new_password", FieldProblem::SameAsCurrent).into())
        }
        Err(PasswordChangeRefused::Current(refused)) => Err(ApiError::current_password(
            refused,
            "current_password",
            FieldProblem::IncorrectCurrent,
        )),
    }
}

/// The new password, if it keeps the rules.
fn accepted(
    app: &App,
    form: &mut Form<'_>,
    new: &Secret<String>,
    user: Option<&User>,
) -> Option<NewPassword> {
    let policy = &app.config.passwords.policy;
    password::check_new(app, new, user)
        .map_err(|problems| form.errors.add_password("new_password", &problems, policy))
        .ok()
}
