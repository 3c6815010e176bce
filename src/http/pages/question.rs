//! Pages that ask something, and what their buttons answer.

/// What a page asks about an account and an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Behind a verification link: is the address of the account yours? It also offers a new
    /// password, to someone who did not choose the present one.
    Confirm,
    /// Is the account to be removed?
    Disown,
    /// Behind the link that was mailed to a new address: is it to be the account's?
    ///
    /// The page does not name the address that the account has: a mistyped new address would show
    /// it to a stranger.
    Change,
    /// Behind the link that was mailed to the old address: is the change to be called off?
    CancelChange,
}

impl Question {
    /// Every question, for the rehearsal.
    pub(super) const ALL: [Self; 4] =
        [Self::Confirm, Self::Disown, Self::Change, Self::CancelChange];

    /// The template of its page, and its title.
    pub(super) const fn page(self) -> (&'static str, &'static str) {
        match self {
            Self::Confirm => ("confirm.html", "Confirm your address"),
            Self::Disown => ("disown.html", "Remove this account?"),
            Self::Change => ("change.html", "Confirm your new address"),
            Self::CancelChange => ("cancel_change.html", "Cancel the change of address?"),
        }
    }
}

/// What a button asks for: the form's field `action`, beside its field `token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageAction {
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
    /// Reads the field as the templates write it; `None` for a value that no button sends.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "confirm" => Self::Confirm,
            "reset" => Self::Reset,
            "disown" => Self::Disown,
            "disown_confirmed" => Self::DisownConfirmed,
            "keep" => Self::Keep,
            "cancel" => Self::Cancel,
            "keep_change" => Self::KeepChange,
            _ => return None,
        })
    }
}
