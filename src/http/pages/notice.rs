//! Pages that only tell something, and what they tell.

use std::time::Duration;

use hyper::StatusCode;

use crate::domain::Purpose;
use crate::flows::Failure;
use crate::flows::link::LinkOutcome;
use crate::http::errors::ApiError;

/// A page that only tells something; [`content`](Self::content) has what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Verified,
    AlreadyVerified,
    /// The link is incomplete, forged, expired or of an account that is gone.
    BadLink,
    /// The account is removed.
    Removed,
    /// The account was not removed, because its address has been confirmed meanwhile.
    NotRemoved,
    /// The account was not removed, as its owner chose.
    Kept,
    PasswordReset,
    /// The link has reset the password before.
    AlreadyReset,
    /// The link to a new password is incomplete, forged, used, expired or of an account that is
    /// gone.
    BadResetLink,
    /// The account has its new address.
    Changed,
    /// The new address became another account's before it was confirmed.
    Taken,
    /// The change of address is called off.
    Cancelled,
    /// The change of address was not called off, as its owner chose.
    ChangeKept,
    BadChangeLink,
    BadCancelLink,
    /// The form was not one of ours.
    BadRequest,
    /// Overloaded, storage away, or the clock behind: when it is worth trying again.
    Unavailable(Duration),
    Internal,
}

const LOST: &str = "It may have expired, or part of it may have been lost on the way from the mail to the browser.";
const CLOSE: &str = "You may close this page.";

impl From<LinkOutcome> for Notice {
    fn from(outcome: LinkOutcome) -> Self {
        match outcome {
            LinkOutcome::Verified => Self::Verified,
            LinkOutcome::Changed => Self::Changed,
            LinkOutcome::AlreadyVerified => Self::AlreadyVerified,
            LinkOutcome::Taken => Self::Taken,
            LinkOutcome::Cancelled => Self::Cancelled,
            LinkOutcome::Removed => Self::Removed,
            LinkOutcome::NotRemoved => Self::NotRemoved,
            LinkOutcome::PasswordReset => Self::PasswordReset,
            LinkOutcome::AlreadyReset(_) => Self::AlreadyReset,
            LinkOutcome::Invalid(None | Some(Purpose::VerifyEmail)) => Self::BadLink,
            LinkOutcome::Invalid(Some(Purpose::ResetPassword)) => Self::BadResetLink,
            LinkOutcome::Invalid(Some(Purpose::ChangeEmail)) => Self::BadChangeLink,
            LinkOutcome::Invalid(Some(Purpose::CancelEmailChange)) => Self::BadCancelLink,
            LinkOutcome::Failed(failure) => failure.into(),
        }
    }
}

impl From<Failure> for Notice {
    fn from(failure: Failure) -> Self {
        match failure.into() {
            ApiError::Unavailable(retry_after) => Self::Unavailable(retry_after),
            _ => Self::Internal,
        }
    }
}

impl Notice {
    /// Its status; its title and heading; what is the case; and what to do now.
    pub(super) const fn content(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            Self::Verified => (
                StatusCode::OK,
                "Your address is confirmed",
                "Thank you. You can log in now.",
                CLOSE,
            ),
            Self::AlreadyVerified => (
                StatusCode::OK,
                "Your address is already confirmed",
                "There is nothing left to do. You can log in.",
                CLOSE,
            ),
            Self::BadLink => (
                StatusCode::BAD_REQUEST,
                "This link does not work",
                LOST,
                "Open it from the mail again, or request a new one where you created the account.",
            ),
            Self::Removed => (
                StatusCode::OK,
                "The account is removed",
                "Nobody can log in to it any more, and your address can be used again.",
                CLOSE,
            ),
            Self::NotRemoved => (
                StatusCode::CONFLICT,
                "The account was not removed",
                "Its address has been confirmed, and an account with a confirmed address is not removed from here.",
                "If that was not you, someone else may be reading your mail. Change the password of your mailbox first, and then ask for a new password for the account.",
            ),
            Self::Kept => (
                StatusCode::OK,
                "Nothing was changed",
                "The account stays as it is, and its address stays unconfirmed.",
                "You can open the link in the mail again until it expires.",
            ),
            Self::PasswordReset => (
                StatusCode::OK,
                "Your new password is set",
                "You are logged out everywhere. Log in with the new password.",
                CLOSE,
            ),
            Self::AlreadyReset => (
                StatusCode::OK,
                "Your password has been changed already",
                "This link works once, and has set a new password. Log in with that.",
                "If you did not set it or do not remember it, request a new link: where you log in, use “forgot password”.",
            ),
            Self::BadResetLink => (
                StatusCode::BAD_REQUEST,
                "This link does not work",
                LOST,
                "Open it from the mail again, or request a new one: where you log in, use “forgot password”.",
            ),
            Self::Changed => (
                StatusCode::OK,
                "Your new address is confirmed",
                "It is now the address of your account: log in with it.",
                CLOSE,
            ),
            Self::Taken => (
                StatusCode::CONFLICT,
                "This address is taken",
                "Another account has registered it in the meantime, so yours keeps its present address.",
                "If the other account is not yours, change to an address that nobody else uses.",
            ),
            Self::Cancelled => (
                StatusCode::OK,
                "The change is cancelled",
                "The account keeps its present address, and the links in the mails about the change no longer work.",
                "If this is your account and you did not request the change, change your password next: the person who asked knew it.",
            ),
            Self::ChangeKept => (
                StatusCode::OK,
                "The change continues",
                "Your account gets the new address as soon as it is confirmed.",
                "Until then you can open the link in the mail again and cancel the change.",
            ),
            Self::BadChangeLink => (
                StatusCode::BAD_REQUEST,
                "This link does not work",
                "The change may already have been made, cancelled, or replaced by another. Or the link has expired, or part of it was lost on the way from the mail to the browser.",
                "Check which address your account has, and request the change again if you still want it.",
            ),
            Self::BadCancelLink => (
                StatusCode::BAD_REQUEST,
                "There is nothing to cancel",
                "The change has already been cancelled, has expired, or has been made. Or part of the link was lost on the way from the mail to the browser.",
                "If your account has an address that you did not choose, log in with that address and your password, change the password, then the address.",
            ),
            Self::BadRequest => (
                StatusCode::BAD_REQUEST,
                "That did not work",
                "The server did not understand what your browser sent.",
                "Open the link from the mail again, and use the buttons on the page.",
            ),
            Self::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Please try again in a moment",
                "The service is not available at the moment. Your last step may or may not have been carried out; it is safe to repeat it.",
                "Go back and try again, or open the link from the mail again.",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong",
                "The fault is on our side and has been logged.",
                "Please try again later.",
            ),
        }
    }
}
