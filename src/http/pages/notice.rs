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
    /// The password is reset.
    PasswordReset,
    /// The link to a new password is incomplete, forged, used, expired or of an account that is
    /// gone.
    BadResetLink,
    /// The account has its new address.
    EmailChanged,
    /// The new address became another account's before it was confirmed.
    EmailTaken,
    /// The change of address is called off.
    EmailChangeCancelled,
    /// The change of address was not called off, because that was the wish.
    EmailChangeKept,
    /// The link that confirms a new address is incomplete, forged or expired, or the change was
    /// made or called off before.
    BadChangeLink,
    /// The link that calls a change off is incomplete, forged or expired, or the change was made
    /// or called off before.
    BadCancelLink,
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
    pub(super) const ALL: [Self; 17] = [
        Self::Confirmed,
        Self::AlreadyVerified,
        Self::BadLink,
        Self::Removed,
        Self::NotRemoved,
        Self::Kept,
        Self::PasswordReset,
        Self::BadResetLink,
        Self::EmailChanged,
        Self::EmailTaken,
        Self::EmailChangeCancelled,
        Self::EmailChangeKept,
        Self::BadChangeLink,
        Self::BadCancelLink,
        Self::BadRequest,
        Self::Unavailable { retry_after: Duration::ZERO },
        Self::Internal,
    ];

    /// Its status.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Confirmed
            | Self::AlreadyVerified
            | Self::Removed
            | Self::Kept
            | Self::PasswordReset
            | Self::EmailChanged
            | Self::EmailChangeCancelled
            | Self::EmailChangeKept => StatusCode::OK,
            Self::BadLink
            | Self::BadResetLink
            | Self::BadChangeLink
            | Self::BadCancelLink
            | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotRemoved | Self::EmailTaken => StatusCode::CONFLICT,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Its title and heading.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Confirmed => "Your address is confirmed",
            Self::AlreadyVerified => "Your address is already confirmed",
            Self::BadLink | Self::BadResetLink | Self::BadChangeLink => "This link does not work",
            Self::Removed => "The account is removed",
            Self::NotRemoved => "The account was not removed",
            Self::Kept => "Nothing was changed",
            Self::PasswordReset => "Your password is changed",
            Self::EmailChanged => "Your new address is confirmed",
            Self::EmailTaken => "This address is taken",
            Self::EmailChangeCancelled => "The change is called off",
            Self::EmailChangeKept => "The change goes on",
            Self::BadCancelLink => "There is nothing to call off",
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
            Self::PasswordReset => [
                "You are logged out everywhere. Log in with the new password.",
                "You may close this page.",
            ],
            Self::BadResetLink => [
                "It may have expired or been used, or part of it may have been lost on the way from the mail to the browser.",
                "Open it from the mail once more, or ask for a new one: where you log in, say that you forgot your password.",
            ],
            Self::EmailChanged => [
                "It is now the address of your account: log in with it.",
                "You may close this page.",
            ],
            Self::EmailTaken => [
                "Another account has got it meanwhile, so yours keeps the address it had.",
                "If the other account is not yours as well, ask for a change to an address that nobody else uses.",
            ],
            Self::EmailChangeCancelled => [
                "The account keeps the address it has, and the links in the mails about the change no longer work.",
                "If this is your account and you did not ask for the change, change its password next: whoever asked knew it.",
            ],
            Self::EmailChangeKept => [
                "Your account gets the new address as soon as that is confirmed.",
                "Until then you can open the link in the mail again, and call the change off.",
            ],
            Self::BadChangeLink => [
                "The change may have been made already, called off, or replaced by another. Or the link has expired, or lost a part on the way from the mail to the browser.",
                "See in your account which address it has, and ask for the change again if you still want it.",
            ],
            Self::BadCancelLink => [
                "The change has been called off already, has expired, or has been made. Or the link lost a part on the way from the mail to the browser.",
                "If your account has an address that you did not choose, log in with that address and your password, change the password, then the address.",
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
