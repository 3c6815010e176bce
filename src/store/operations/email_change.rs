//! Changing an account's address: asked for, confirmed from the new address, or called off from
//! either.

use std::time::Duration;

use crate::clock::Moment;
use crate::domain::{
    Actor, Client, Email, EventKind, MailKind, MessageId, PendingEmail, Purpose, TicketId,
    TicketState, User, UserId,
};
use crate::store::engine::Fault;
use crate::store::rows::{NewMail, Tx};
use crate::store::{NewTicket, Store, StoreError};

/// A change of address that is asked for.
#[derive(Clone, Debug)]
pub struct EmailChange {
    /// The new address.
    pub email: Email,
    /// The credentials that the password was checked against.
    pub credential_version: u64,
    /// The ticket for the new address, and the one that calls the change off.
    pub tickets: [NewTicket; 2],
    /// The random parts of both mails' `Message-ID`.
    pub message_ids: [MessageId; 2],
}

/// What became of a click that confirms a new address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfirmChangeOutcome {
    /// The account has the new address.
    Changed(User),
    /// It had it already.
    AlreadyChanged,
    /// Someone else has registered the address meanwhile; the change is off.
    Taken,
    /// The ticket is unknown, expired, void, or of a change that is off.
    Invalid,
}

/// What became of a click that calls a change off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The address stays as it is.
    Cancelled,
    /// There is no such change any more.
    Invalid,
}

impl Store {
    /// Gives an account the address that a ticket was sent to, verified; voids all its other
    /// tickets and tells the old address.
    pub async fn confirm_email_change(
        &self,
        id: TicketId,
        message_id: MessageId,
        client: Client,
        at: Moment,
    ) -> Result<ConfirmChangeOutcome, StoreError> {
        self.write(at, move |tx| {
            let Some((ticket, mut account)) = tx.ticket_and_account(id, Purpose::ChangeEmail)?
            else {
                return Ok(ConfirmChangeOutcome::Invalid);
            };
            match ticket.state(&account.user, at.now) {
                TicketState::Open => {}
                TicketState::Used(_) => return Ok(ConfirmChangeOutcome::AlreadyChanged),
                TicketState::Cancelled | TicketState::Void => {
                    return Ok(ConfirmChangeOutcome::Invalid);
                }
            }
            let by = Actor::Visitor(client.clone());
            let owner = tx.user_with_email(&ticket.email)?;
            account.user.pending_email = None;
            if owner.is_some_and(|owner| owner != ticket.user) {
                let user = tx.save_user(account)?;
                void_change(tx, user.id)?;
                tx.note(EventKind::EmailChangeCancelled, user.id, None, &by)?;
                return Ok(ConfirmChangeOutcome::Taken);
            }
            let old = std::mem::replace(&mut account.user.email, ticket.email.clone());
            account.user.is_email_verified = true;
            account.user.credential_version = account.user.credential_version.saturating_add(1);
            let user = tx.save_user(account)?;
            tx.void_tickets(user.id, |other| other.id != id)?;
            tx.use_ticket(&ticket, &user)?;
            let kind = MailKind::EmailChanged { new_email: ticket.email };
            tx.queue_notice(NewMail { kind, user: user.id, to: old, message_id })?;
            tx.note(EventKind::EmailChanged, user.id, None, &by)?;
            Ok(ConfirmChangeOutcome::Changed(user))
        })
        .await
    }

    /// Calls off the change that a ticket belongs to, from the new address or the old, and
    /// touches nothing else. The ticket stays, used, until it expires, so that a second click is
    /// told the same.
    pub async fn cancel_email_change(
        &self,
        id: TicketId,
        purpose: Purpose,
        client: Client,
        at: Moment,
    ) -> Result<CancelOutcome, StoreError> {
        self.write(at, move |tx| {
            let Some((ticket, mut account)) = tx.ticket_and_account(id, purpose)? else {
                return Ok(CancelOutcome::Invalid);
            };
            match ticket.state(&account.user, at.now) {
                TicketState::Open => {}
                TicketState::Cancelled => return Ok(CancelOutcome::Cancelled),
                TicketState::Used(_) | TicketState::Void => return Ok(CancelOutcome::Invalid),
            }
            account.user.pending_email = None;
            let user = tx.save_user(account)?;
            void_change(tx, user.id)?;
            tx.use_ticket(&ticket, &user)?;
            let by = Actor::Visitor(client.clone());
            tx.note(EventKind::EmailChangeCancelled, user.id, None, &by)?;
            Ok(CancelOutcome::Cancelled)
        })
        .await
    }
}

/// Notes a change of address in `user`, makes its tickets and queues both mails; or says how long
/// to wait until the new address may be sent more mail.
pub(super) fn request(
    tx: &mut Tx<'_, '_>,
    user: &mut User,
    by: &Actor,
    change: &EmailChange,
) -> Result<Result<(), Duration>, Fault> {
    let (now, new) = (tx.now(), &change.email);
    let is_same = user.pending_email_at(now).is_some_and(|pending| pending.email == *new);
    // The owner is told of every new change, and a stranger whose address this is not for ever.
    let told_as = Purpose::CancelEmailChange;
    if !is_same && let Some(wait) = tx.mail_wait(&user.email, told_as)? {
        return Ok(Err(wait));
    }
    if let Err(wait) = tx.count_mail(new, Purpose::ChangeEmail)? {
        return Ok(Err(wait));
    }
    if !is_same {
        // An earlier change is off; one that is asked for again keeps its links.
        void_change(tx, user.id)?;
    }
    let [confirm, cancel] = change.tickets;
    let [new_message, old_message] = change.message_ids;
    let confirm = confirm.ticket(Purpose::ChangeEmail, user.id, new, now);
    let confirm = tx.find_or_add_ticket(confirm)?;
    let cancel = cancel.ticket(Purpose::CancelEmailChange, user.id, &user.email, now);
    let cancel = tx.find_or_add_ticket(cancel)?;
    user.pending_email = Some(Box::new(PendingEmail {
        email: new.clone(),
        ticket: confirm.id,
        asked_at: confirm.created_at,
        expires_at: confirm.expires_at,
    }));
    tx.queue_link(MailKind::ChangeEmail { ticket: confirm.id }, &confirm, new_message)?;
    if tx.count_mail(&user.email, told_as)?.is_ok() {
        let kind = MailKind::EmailChangeRequested { ticket: cancel.id, new_email: new.clone() };
        tx.queue_link(kind, &cancel, old_message)?;
    }
    tx.note(EventKind::EmailChangeRequested, user.id, by.session(), by)?;
    Ok(Ok(()))
}

/// Removes the tickets of a user's change of address.
fn void_change(tx: &mut Tx<'_, '_>, user: UserId) -> Result<(), Fault> {
    tx.void_tickets(user, |ticket| {
        matches!(ticket.purpose, Purpose::ChangeEmail | Purpose::CancelEmailChange)
    })
}
