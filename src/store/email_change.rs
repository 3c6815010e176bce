//! Sentences about changing an account's address: asked for, confirmed from the new address, or
//! called off from either.

use std::sync::Arc;
use std::time::Duration;

use redb::ReadableTable;

use super::events::{self, NewEvent};
use super::mailboxes::{self, MailLimit};
use super::outbox::{self, NewMail};
use super::records::{TicketRecord, UserRecord, encode, load};
use super::sessions::Authorised;
use super::tables::{TICKETS, Write};
use super::users::NewTicket;
use super::{Fault, Shared, Store, StoreError, tickets};
use crate::clock::Moment;
use crate::domain::{
    Client, Email, EventKind, MailKind, MessageId, PendingEmail, Purpose, Ticket, TicketId,
    TicketUse, User,
};

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
    /// How much mail a mailbox is sent.
    pub mail_limit: MailLimit,
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
    /// A ticket of a change of address and the user whose address it changes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_change_ticket(&self, id: TicketId) -> Result<Option<(Ticket, User)>, StoreError> {
        self.read(|read| {
            let record = load::<_, TicketRecord>(&read.open(TICKETS)?, id.as_bytes())?;
            let Some(ticket) = record.map(|record| record.ticket(id)) else { return Ok(None) };
            let user = load::<u64, UserRecord>(read.users()?, ticket.user.0)?;
            Ok(user.map(|user| {
                let owner = ticket.user;
                (ticket, user.user(owner))
            }))
        })
    }

    /// Gives an account the address that a ticket was sent to, verified; voids all its other
    /// tickets and tells the old address.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn confirm_email_change(
        &self,
        id: TicketId,
        message_id: MessageId,
        client: Client,
        at: Moment,
    ) -> Result<ConfirmChangeOutcome, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            let Some((mut ticket, mut user)) = find(write, id, Purpose::ChangeEmail, at)? else {
                return Ok(ConfirmChangeOutcome::Invalid);
            };
            if ticket.used.is_some() {
                let is_its = user.email.key() == ticket.email.key();
                return Ok(if is_its {
                    ConfirmChangeOutcome::AlreadyChanged
                } else {
                    ConfirmChangeOutcome::Invalid
                });
            }
            if user.pending_email.as_ref().is_none_or(|pending| pending.ticket != id) {
                return Ok(ConfirmChangeOutcome::Invalid);
            }
            write.change(at);
            let event =
                |kind| NewEvent { kind, user: ticket.user, session: None, client: client.clone() };
            let owner = write.users_by_email.open()?.get(ticket.email.key())?.map(|id| id.value());
            user.pending_email = None;
            if owner.is_some_and(|owner| owner != ticket.user.0) {
                void(write, &ticket)?;
                write.users.open()?.insert(ticket.user.0, encode(&user)?.as_slice())?;
                let event = event(EventKind::EmailChangeCancelled);
                events::append(write, event, at.now, shared.max_events)?;
                return Ok(ConfirmChangeOutcome::Taken);
            }
            let changed = event(EventKind::EmailChanged);
            let old = std::mem::replace(&mut user.email, ticket.email.clone());
            write.users_by_email.open()?.remove(old.key())?;
            write.users_by_email.open()?.insert(user.email.key(), ticket.user.0)?;
            user.is_email_verified = true;
            user.credential_version = user.credential_version.saturating_add(1);
            write.users.open()?.insert(ticket.user.0, encode(&user)?.as_slice())?;
            tickets::remove_where(write, ticket.user, |_, other| other != id)?;
            ticket.used =
                Some(TicketUse { at: at.now, credential_version: user.credential_version });
            let record = encode(&TicketRecord::new(&ticket))?;
            write.tickets.open()?.insert(id.as_bytes(), record.as_slice())?;
            let mail = NewMail {
                kind: MailKind::EmailChanged { new_email: ticket.email },
                user: ticket.user,
                to: old,
                message_id,
                give_up_at: outbox::notice_expiry(at.now),
            };
            outbox::queue(write, mail, at.now)?;
            events::append(write, changed, at.now, shared.max_events)?;
            Ok(ConfirmChangeOutcome::Changed(user.user(ticket.user)))
        })
        .await
    }

    /// Calls off the change that a ticket belongs to, from the new address or the old, and
    /// touches nothing else.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cancel_email_change(
        &self,
        id: TicketId,
        purpose: Purpose,
        client: Client,
        at: Moment,
    ) -> Result<CancelOutcome, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            let Some((ticket, mut user)) = find(write, id, purpose, at)? else {
                return Ok(CancelOutcome::Invalid);
            };
            let is_open = ticket.used.is_none() && user.pending_email.is_some();
            if !is_open {
                return Ok(CancelOutcome::Invalid);
            }
            write.change(at);
            user.pending_email = None;
            write.users.open()?.insert(ticket.user.0, encode(&user)?.as_slice())?;
            void(write, &ticket)?;
            let event = NewEvent {
                kind: EventKind::EmailChangeCancelled,
                user: ticket.user,
                session: None,
                client: client.clone(),
            };
            events::append(write, event, at.now, shared.max_events)?;
            Ok(CancelOutcome::Cancelled)
        })
        .await
    }
}

/// Notes a change of address in `user`, makes its tickets and queues both mails; or says how long
/// to wait until the new address may be sent more mail.
pub(super) fn request(
    write: &mut Write<'_>,
    user: &mut UserRecord,
    by: &Authorised,
    change: &EmailChange,
    at: Moment,
    shared: &Shared,
) -> Result<Result<(), Duration>, Fault> {
    let limit = change.mail_limit;
    let is_same = user
        .pending_email
        .as_ref()
        .is_some_and(|pending| pending.email == change.email && at.now < pending.expires_at);
    // The owner is told of every new change, and a stranger whose address this is not for ever.
    let told_as = Purpose::CancelEmailChange;
    if !is_same && let Some(wait) = mailboxes::wait(write, &user.email, told_as, limit, at)? {
        return Ok(Err(wait));
    }
    if let Err(wait) = mailboxes::count(write, &change.email, Purpose::ChangeEmail, limit, at)? {
        return Ok(Err(wait));
    }
    write.change(at);
    if !is_same {
        // An earlier change is off; one that is asked for again keeps its links.
        tickets::remove_where(write, by.user, |purpose, _| is_of_change(purpose))?;
    }
    let [new_ticket, cancel_ticket] = change.tickets;
    let [new_message, old_message] = change.message_ids;
    let ticket = |new: NewTicket, purpose, email: &Email| {
        Ticket::new(new.id, purpose, (by.user, email.clone()), (at.now, new.expires_at))
    };
    let confirm =
        find_or_insert(write, ticket(new_ticket, Purpose::ChangeEmail, &change.email), at)?;
    let cancel =
        find_or_insert(write, ticket(cancel_ticket, Purpose::CancelEmailChange, &user.email), at)?;
    user.pending_email = Some(Box::new(PendingEmail {
        email: change.email.clone(),
        ticket: confirm.id,
        asked_at: confirm.created_at,
        expires_at: confirm.expires_at,
    }));
    let to_new = NewMail {
        kind: MailKind::ChangeEmail { ticket: confirm.id },
        user: by.user,
        to: change.email.clone(),
        message_id: new_message,
        give_up_at: confirm.expires_at,
    };
    outbox::queue(write, to_new, at.now)?;
    if mailboxes::count(write, &user.email, told_as, limit, at)?.is_ok() {
        let to_old = NewMail {
            kind: MailKind::EmailChangeRequested {
                ticket: cancel.id,
                new_email: change.email.clone(),
            },
            user: by.user,
            to: user.email.clone(),
            message_id: old_message,
            give_up_at: cancel.expires_at,
        };
        outbox::queue(write, to_old, at.now)?;
    }
    let event = by.event(EventKind::EmailChangeRequested);
    events::append(write, event, at.now, shared.max_events)?;
    Ok(Ok(()))
}

fn find_or_insert(write: &mut Write<'_>, ticket: Ticket, at: Moment) -> Result<Ticket, Fault> {
    let live = tickets::find_live(write, ticket.user, ticket.purpose, &ticket.email, at)?;
    match live {
        Some(live) => Ok(live),
        None => {
            tickets::insert(write, &ticket)?;
            Ok(ticket)
        }
    }
}

/// A ticket of a change that has not expired, with its user.
fn find(
    write: &mut Write<'_>,
    id: TicketId,
    purpose: Purpose,
    at: Moment,
) -> Result<Option<(Ticket, UserRecord)>, Fault> {
    let record = load::<_, TicketRecord>(write.tickets.open()?, id.as_bytes())?;
    let ticket = record
        .map(|record| record.ticket(id))
        .filter(|ticket| ticket.purpose == purpose && at.now < ticket.expires_at);
    let Some(ticket) = ticket else { return Ok(None) };
    let user = load::<u64, UserRecord>(write.users.open()?, ticket.user.0)?;
    Ok(user.map(|user| (ticket, user)))
}

/// Removes both tickets of the change that `ticket` belongs to.
fn void(write: &mut Write<'_>, ticket: &Ticket) -> Result<(), Fault> {
    tickets::remove_where(write, ticket.user, |purpose, _| is_of_change(purpose))
}

fn is_of_change(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::ChangeEmail | Purpose::CancelEmailChange)
}
