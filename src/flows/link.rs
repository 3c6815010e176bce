//! Mailed links: what one is for, whom it concerns, and what became of it.

use super::Failure;
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::{Email, Purpose, TicketId, TicketState, TicketUse, User};
use crate::secret::Secret;

/// A mailed link that can be used now: authentic, and looked up in the last commit. The transaction
/// that uses it looks again.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it is for.
    pub purpose: Purpose,
    /// Whose account it concerns.
    pub user: User,
    /// The address that it is about: for a change of address the new one.
    pub email: Email,
    /// When the account was made, or what the mail is about was asked for.
    pub since: Timestamp,
    /// The ticket that it carries.
    pub(super) ticket: TicketId,
}

/// What became of a mailed link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkOutcome {
    /// The address of a new account is confirmed.
    Verified,
    /// The account has its new address.
    Changed,
    /// The address was confirmed before.
    AlreadyVerified,
    /// Another account got the new address before it was confirmed.
    Taken,
    /// The change of address is called off.
    Cancelled,
    /// The account is removed.
    Removed,
    /// The account was not removed, because its address has been confirmed.
    NotRemoved,
    /// The password is the new one, and all sessions have ended.
    PasswordReset,
    /// The link has reset the password before.
    AlreadyReset(Box<PastReset>),
    /// The link is forged, mangled, expired, used or void: for what, if it was made here.
    Invalid(Option<Purpose>),
    /// It could not be carried out.
    Failed(Failure),
}

/// A reset of a password that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastReset {
    /// Whose password it was, as they are now.
    pub user: User,
    /// When it was, and which credential version it made.
    pub used: TicketUse,
}

impl<F: Into<Failure>> From<F> for LinkOutcome {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

impl Link {
    /// Opens the link that carries `token`, if it is for one of `purposes`; changes nothing.
    ///
    /// # Errors
    /// The [`LinkOutcome`] of a link that cannot be used.
    pub fn open(
        app: &App,
        token: &Secret<String>,
        purposes: &[Purpose],
    ) -> Result<Self, LinkOutcome> {
        let opened = app.keys.ticket().open(purposes, token.expose());
        let (purpose, id) = opened.ok_or(LinkOutcome::Invalid(None))?;
        Self::look_up(app, purpose, id)
    }

    /// The link of this ticket, as it is now.
    ///
    /// # Errors
    /// The [`LinkOutcome`] of a link that cannot be used.
    pub(super) fn look_up(app: &App, purpose: Purpose, id: TicketId) -> Result<Self, LinkOutcome> {
        let now = app.moment()?.now;
        let invalid = LinkOutcome::Invalid(Some(purpose));
        let (ticket, user) = match app.store.find_ticket(id)? {
            Some((ticket, Some(user))) if ticket.purpose == purpose => (ticket, user),
            Some((ticket, None)) if ticket.purpose == purpose && now < ticket.expires_at => {
                return Err(LinkOutcome::Removed);
            }
            _ => return Err(invalid),
        };
        match ticket.state(&user, now) {
            TicketState::Open => {}
            TicketState::Used(used) if purpose == Purpose::ResetPassword => {
                return Err(LinkOutcome::AlreadyReset(Box::new(PastReset { user, used })));
            }
            TicketState::Cancelled => return Err(LinkOutcome::Cancelled),
            TicketState::Used(_) => return Err(LinkOutcome::AlreadyVerified),
            TicketState::Void => return Err(invalid),
        }
        if purpose == Purpose::VerifyEmail && user.is_email_verified {
            return Err(LinkOutcome::AlreadyVerified);
        }
        let (email, since) = match (purpose, user.pending_email_at(now)) {
            (Purpose::VerifyEmail, _) => (&user.email, user.created_at),
            (Purpose::ResetPassword, _) => (&user.email, ticket.created_at),
            (Purpose::ChangeEmail | Purpose::CancelEmailChange, Some(pending)) => {
                (&pending.email, pending.asked_at)
            }
            (Purpose::ChangeEmail | Purpose::CancelEmailChange, None) => return Err(invalid),
        };
        Ok(Self { purpose, email: email.clone(), since, ticket: id, user })
    }

    /// The outcome where the transaction finds that it cannot be used any more.
    pub(super) const fn invalid(&self) -> LinkOutcome {
        LinkOutcome::Invalid(Some(self.purpose))
    }
}
