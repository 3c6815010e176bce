//! The mailed links of a new account: confirming its address, and "this was not me".

use crate::clock::Moment;
use crate::domain::{Actor, Client, EventKind, Purpose, Ticket, TicketId, User};
use crate::store::engine::Fault;
use crate::store::rows::{Account, Tx};
use crate::store::{NewTicket, Store, StoreError};

/// What became of a click that confirms an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedeemOutcome {
    /// The address is verified now.
    Verified(User),
    /// It was already.
    AlreadyVerified,
    /// The ticket is unknown, expired, void, or for an address that is no longer the user's.
    Invalid,
}

/// What became of a click that says "this was not me".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisownOutcome {
    /// The account is gone.
    Removed,
    /// Its address has been confirmed, so it stays.
    AlreadyVerified,
    /// The ticket is unknown, expired, void, or for an address that is no longer the user's.
    Invalid,
}

impl Store {
    /// A ticket and the user it concerns; [`Ticket::state`] says what can be done with it. There is
    /// no user if the ticket was used to remove the account.
    pub fn find_ticket(&self, id: TicketId) -> Result<Option<(Ticket, Option<User>)>, StoreError> {
        self.read(|view| {
            let Some(ticket) = view.ticket(id)? else { return Ok(None) };
            let user = view.account(ticket.user)?.map(|account| account.user);
            Ok(Some((ticket, user)))
        })
    }

    /// Redeems a verification ticket: the address is verified, the ticket stays, used, until it
    /// expires, and the user's other verification tickets are void.
    pub async fn redeem_verification(
        &self,
        id: TicketId,
        client: Client,
        at: Moment,
    ) -> Result<RedeemOutcome, StoreError> {
        self.write(at, move |tx| {
            let Some((ticket, mut account)) = of_new_account(tx, id)? else {
                return Ok(RedeemOutcome::Invalid);
            };
            if ticket.used.is_some() || account.user.is_email_verified {
                return Ok(RedeemOutcome::AlreadyVerified);
            }
            account.user.is_email_verified = true;
            let user = tx.save_user(account)?;
            tx.void_tickets(user.id, |other| {
                other.purpose == Purpose::VerifyEmail && other.id != id
            })?;
            tx.use_ticket(&ticket, &user)?;
            let by = Actor::Visitor(client.clone());
            tx.note(EventKind::EmailVerified, user.id, None, &by)?;
            Ok(RedeemOutcome::Verified(user))
        })
        .await
    }

    /// Makes a reset ticket for somebody who holds a verification ticket and so reads the
    /// address's mail, but did not choose the password.
    pub async fn exchange_for_reset(
        &self,
        verification: TicketId,
        new: NewTicket,
        at: Moment,
    ) -> Result<Option<TicketId>, StoreError> {
        self.write(at, move |tx| {
            let is_open = |(ticket, account): &(Ticket, Account)| {
                let Account { user, .. } = account;
                ticket.used.is_none() && !user.is_email_verified && !user.is_disabled
            };
            let found = of_new_account(tx, verification)?.filter(is_open);
            let Some((_, Account { user, .. })) = found else { return Ok(None) };
            tx.commit_anyway();
            let reset = new.ticket(Purpose::ResetPassword, user.id, &user.email, at.now);
            Ok(Some(tx.find_or_add_ticket(reset)?.id))
        })
        .await
    }

    /// Removes the account behind a verification ticket, if its address is still unverified. The
    /// ticket stays, used, until it expires, so that a second click is told the same.
    pub async fn disown_user(
        &self,
        id: TicketId,
        client: Client,
        at: Moment,
    ) -> Result<DisownOutcome, StoreError> {
        self.write(at, move |tx| {
            let Some((ticket, Account { user, .. })) = of_new_account(tx, id)? else {
                let was_removed = has_disowned(tx, id)?;
                return Ok(if was_removed {
                    DisownOutcome::Removed
                } else {
                    DisownOutcome::Invalid
                });
            };
            if ticket.used.is_some() || user.is_email_verified {
                return Ok(DisownOutcome::AlreadyVerified);
            }
            tx.remove_account(&user)?;
            tx.use_ticket(&ticket, &user)?;
            let by = Actor::Visitor(client.clone());
            tx.note(EventKind::AccountDisowned, user.id, None, &by)?;
            Ok(DisownOutcome::Removed)
        })
        .await
    }
}

/// A verification ticket that has not expired, with its account, which still has the address.
fn of_new_account(tx: &mut Tx<'_, '_>, id: TicketId) -> Result<Option<(Ticket, Account)>, Fault> {
    let found = tx.ticket_and_account(id, Purpose::VerifyEmail)?;
    Ok(found.filter(|(ticket, account)| account.user.email.key() == ticket.email.key()))
}

/// Whether this ticket has removed its account. Whatever else removes an account removes its
/// tickets too.
fn has_disowned(tx: &mut Tx<'_, '_>, id: TicketId) -> Result<bool, Fault> {
    let ticket = tx.ticket(id, Purpose::VerifyEmail)?.filter(|ticket| ticket.used.is_some());
    Ok(ticket.map(|ticket| tx.account(ticket.user)).transpose()?.is_some_and(|it| it.is_none()))
}
