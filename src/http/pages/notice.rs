//! Pages that only say something, and what they say.

use std::time::Duration;

use hyper::StatusCode;

/// A page that only says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The address is confirmed now.
    Confirmed,
    /// The address was confirmed before.
    AlreadyVerified,
    /// The link is incomplete, forged, expired or of an account that is gone.
    BadLink,
    /// The account is removed.
    Removed,
    /// The account was not removed, because its address has been confirmed meanwhile.
    NotRemoved,
    /// The account was not removed, because that was the wish.
    Kept,
    /// The form was not one of ours.
    BadRequest,
    /// Overloaded, storage away, or the clock behind.
    Unavailable {
        /// When it is worth coming back.
        retry_after: Duration,
    },
    /// Something broke that is none of the visitor's business.
    Internal,
}

impl Notice {
    /// Every notice once, for the rehearsal.
    pub(super) const ALL: [Self; 9] = [
        Self::Confirmed,
        Self::AlreadyVerified,
        Self::BadLink,
        Self::Removed,
        Self::NotRemoved,
        Self::Kept,
        Self::BadRequest,
        Self::Unavailable { retry_after: Duration::ZERO },
        Self::Internal,
    ];

    /// Its status.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Confirmed | Self::AlreadyVerified | Self::Removed | Self::Kept => StatusCode::OK,
            Self::BadLink | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotRemoved => StatusCode::CONFLICT,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Its title and heading.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Confirmed => "Your address is confirmed",
            Self::AlreadyVerified => "Your address is already confirmed",
            Self::BadLink => "This link does not work",
            Self::Removed => "The account is removed",
            Self::NotRemoved => "The account was not removed",
            Self::Kept => "Nothing was changed",
            Self::BadRequest => "That did not work",
            Self::Unavailable { .. } => "Please try again in a moment",
            Self::Internal => "Something went wrong",
        }
    }

    /// What it says: what is the case, and what to do now.
    pub(super) const fn paragraphs(self) -> [&'static str; 2] {
        match self {
            Self::Confirmed => ["Thank you. You can log in now.", "You may close this page."],
            Self::AlreadyVerified => {
                ["There is nothing left to do: you can log in.", "You may close this page."]
            }
            Self::BadLink => [
                "It may have expired, or part of it may have been lost on the way from the mail to the browser.",
                "Open it from the mail once more, or ask for a new one where you made the account.",
            ],
            Self::Removed => [
                "Nobody can log in to it any more, and your address is free again.",
                "You may close this page.",
            ],
            Self::NotRemoved => [
                "Its address has been confirmed, and an account with a confirmed address is not removed from here.",
                "If that was not you, someone else may be reading your mail. Change the password of your mailbox first, and then ask for a new password for the account.",
            ],
            Self::Kept => [
                "The account stays as it is, and its address stays unconfirmed.",
                "You can open the link in the mail again until it expires.",
            ],
            Self::BadRequest => [
                "The server did not understand what your browser sent.",
                "Open the link from the mail once more, and use the buttons on the page.",
            ],
            Self::Unavailable { .. } => [
                "The service is not available just now. It is not certain whether your last step was carried out; it is safe to repeat it.",
                "Go back and try again, or open the link from the mail once more.",
            ],
            Self::Internal => {
                ["The fault is on our side, and has been noted.", "Please try again later."]
            }
        }
    }
}
