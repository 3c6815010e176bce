//! What is done to accounts, sessions and mail: each operation is one transaction, in the words of
//! the domain. An operation fails with a [`StoreError`](super::StoreError), which says whether
//! anything can have changed.

mod account;
mod clock;
mod email_change;
mod mail;
mod passwords;
mod pending_ends;
mod registration;
mod rotation;
mod sessions;
mod upkeep;
mod verification;

use super::engine::Fault;
use super::rows::{Account, Tx};
use crate::clock::Timestamp;
use crate::domain::{Actor, Authorised, Email, Purpose, SessionId, Ticket, TicketId, User, UserId};

pub(super) use pending_ends::PendingEnds;

pub use super::rows::{FoundMail, MailToSend, UnreadableMail};
pub use account::{AccountChange, Changed};
pub use email_change::{CancelOutcome, ConfirmChangeOutcome, EmailChange};
pub use passwords::{NewPasswordHash, PasswordChange, Requested, ResetOutcome, ResetRequest};
pub use registration::{LoginRecord, NewUser, RegisterOutcome, Taken};
pub use rotation::{Presented, Refused};
pub use sessions::{NewSession, SessionOfUser};
pub use upkeep::Swept;
pub use verification::{DisownOutcome, RedeemOutcome};

/// A ticket to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewTicket {
    /// Its identifier.
    pub id: TicketId,
    /// When it stops counting.
    pub expires_at: Timestamp,
}

impl NewTicket {
    /// The ticket, for `user` at the address that they have or ask for.
    fn ticket(self, purpose: Purpose, user: UserId, email: &Email, now: Timestamp) -> Ticket {
        Ticket::new(self.id, purpose, (user, email.clone()), (now, self.expires_at))
    }
}

impl Tx<'_, '_> {
    /// A ticket of `purpose` that has not expired, and the account it concerns.
    fn ticket_and_account(
        &mut self,
        id: TicketId,
        purpose: Purpose,
    ) -> Result<Option<(Ticket, Account)>, Fault> {
        let Some(ticket) = self.ticket(id, purpose)? else { return Ok(None) };
        let account = self.account(ticket.user)?;
        Ok(account.map(|account| (ticket, account)))
    }

    /// The account `user`, if `by` may act for it: its own user while the session lives and the
    /// account is not disabled, the operator and the program always.
    fn authorise(&mut self, by: &Actor, user: UserId) -> Result<Option<Account>, Fault> {
        match by {
            Actor::User(by) if by.user == user => {
                if !self.is_live(by)? {
                    return Ok(None);
                }
                Ok(self.account(user)?.filter(|account| !account.user.is_disabled))
            }
            Actor::Operator | Actor::Program => self.account(user),
            Actor::User(_) | Actor::Visitor(_) => Ok(None),
        }
    }

    /// Whether the session of who acts lives.
    fn is_live(&mut self, by: &Authorised) -> Result<bool, Fault> {
        let now = self.now();
        let session = self.session(by.session)?;
        Ok(session.is_some_and(|session| session.user == by.user && session.is_live(now)))
    }

    /// Ends every session of `user` but `kept`.
    fn end_sessions(&mut self, user: UserId, kept: Option<SessionId>) -> Result<(), Fault> {
        for id in self.session_ids_of(user)? {
            if Some(id) != kept {
                self.end_session(id)?;
            }
        }
        Ok(())
    }

    /// Removes a user with everything that is theirs: sessions, tickets, queued mail. Audit events
    /// stay until their time is over.
    fn remove_account(&mut self, user: &User) -> Result<(), Fault> {
        self.end_sessions(user.id, None)?;
        self.void_tickets(user.id, |_| true)?;
        self.remove_mail_of(user.id)?;
        self.remove_user(user)
    }
}
