//! Pages that ask something, and what their buttons answer.

use crate::clock::Timestamp;
use crate::domain::Email;
use crate::secret::Secret;

/// The page behind a verification link.
#[derive(Debug)]
pub struct ConfirmPage {
    /// Which address is being confirmed.
    pub email: Email,
    /// When the account was made.
    pub created_at: Timestamp,
    /// The ticket that the link carries; the form sends it on.
    pub token: Secret<String>,
    /// Whether to offer a new password to someone who did not choose the present one. The button
    /// leads to a [`ResetPage`](super::ResetPage) at once: who holds the ticket reads the mail.
    pub can_reset: bool,
}

/// The page behind "this was not me": are you sure?
#[derive(Debug)]
pub struct DisownPage {
    /// The account's address.
    pub email: Email,
    /// When the account was made.
    pub created_at: Timestamp,
    /// The ticket that the link carries; the form sends it on.
    pub token: Secret<String>,
}

/// The page behind the link that was mailed to a new address: is it to be the account's?
///
/// It does not name the address that the account has: whoever mistypes the new one would show it
/// to a stranger.
#[derive(Debug)]
pub struct ChangePage {
    /// The address that was asked for.
    pub new_email: Email,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// The ticket that the link carries; the form sends it on.
    pub token: Secret<String>,
}

/// The page behind the link that was mailed to the old address: is the change to be called off?
#[derive(Debug)]
pub struct CancelChangePage {
    /// The address that was asked for.
    pub new_email: Email,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// The ticket that the link carries; the form sends it on.
    pub token: Secret<String>,
}

/// What a button asks for: the form's field `action`, beside its field `token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageAction {
    /// The address is mine: confirm it, or the change to it.
    Confirm,
    /// The address is mine, but not the password: reset it.
    Reset,
    /// This was not me: ask whether to remove the account.
    Disown,
    /// Remove the account.
    DisownConfirmed,
    /// Leave the account as it is.
    Keep,
    /// Call the change of address off, from the new address or from the old one.
    Cancel,
    /// Let the change of address go on.
    KeepChange,
}

impl PageAction {
    pub(super) const ALL: [Self; 7] = [
        Self::Confirm,
        Self::Reset,
        Self::Disown,
        Self::DisownConfirmed,
        Self::Keep,
        Self::Cancel,
        Self::KeepChange,
    ];

    /// How the form spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Reset => "reset",
            Self::Disown => "disown",
            Self::DisownConfirmed => "disown_confirmed",
            Self::Keep => "keep",
            Self::Cancel => "cancel",
            Self::KeepChange => "keep_change",
        }
    }

    /// Reads the field; nothing for a value that no button sends.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}
