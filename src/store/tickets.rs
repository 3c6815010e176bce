//! Sentences about tickets: what the click on a mailed link does.

use std::collections::HashSet;
use std::sync::Arc;

use redb::ReadableTable;

use super::events::{self, NewEvent};
use super::records::{TicketRecord, UserRecord, encode, load, readable, require};
use super::tables::{TICKETS, Write, discard};
use super::{Fault, Store, StoreError, users};
use crate::clock::Moment;
use crate::domain::{Client, Email, EventKind, Purpose, Ticket, TicketId, TicketUse, User, UserId};

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
    /// A ticket and the user it concerns, as long as its address is that user's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_ticket(&self, id: TicketId) -> Result<Option<(Ticket, User)>, StoreError> {
        self.read(|read| {
            let Some(record) = load::<_, TicketRecord>(&read.open(TICKETS)?, id.as_bytes())? else {
                return Ok(None);
            };
            let user = load::<u64, UserRecord>(read.users()?, record.user.0)?;
            let owner = record.user;
            Ok(user
                .filter(|user| user.email.key() == record.email.key())
                .map(|user| (record.ticket(id), user.user(owner))))
        })
    }

    /// Redeems a verification ticket: the address is verified, the ticket stays, marked, until
    /// it expires, and the user's other verification tickets are void.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn redeem_verification(
        &self,
        id: TicketId,
        client: Client,
        at: Moment,
    ) -> Result<RedeemOutcome, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            let Some((mut ticket, mut user)) = owned(write, id, Purpose::VerifyEmail, at)? else {
                return Ok(RedeemOutcome::Invalid);
            };
            if ticket.used.is_some() || user.is_email_verified {
                return Ok(RedeemOutcome::AlreadyVerified);
            }
            write.change(at);
            remove_where(write, ticket.user, |purpose, other| {
                purpose == Purpose::VerifyEmail && other != id
            })?;
            ticket.used =
                Some(TicketUse { at: at.now, credential_version: user.credential_version });
            let record = encode(&TicketRecord::new(&ticket))?;
            write.tickets.open()?.insert(id.as_bytes(), record.as_slice())?;
            user.is_email_verified = true;
            write.users.open()?.insert(ticket.user.0, encode(&user)?.as_slice())?;
            let event = NewEvent {
                kind: EventKind::EmailVerified,
                user: ticket.user,
                session: None,
                client: client.clone(),
            };
            events::append(write, event, at.now, shared.max_events)?;
            Ok(RedeemOutcome::Verified(user.user(ticket.user)))
        })
        .await
    }

    /// Removes the account behind a verification ticket, if its address is still unverified. The
    /// ticket stays, used, until it expires, so that a second click is told the same.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn disown_user(
        &self,
        id: TicketId,
        client: Client,
        at: Moment,
    ) -> Result<DisownOutcome, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            let Some((mut ticket, user)) = owned(write, id, Purpose::VerifyEmail, at)? else {
                let was_removed = has_disowned(write, id, at)?;
                let outcome =
                    if was_removed { DisownOutcome::Removed } else { DisownOutcome::Invalid };
                return Ok(outcome);
            };
            if ticket.used.is_some() || user.is_email_verified {
                return Ok(DisownOutcome::AlreadyVerified);
            }
            write.change(at);
            users::remove(write, ticket.user, &user, at, shared.access_lifetime)?;
            ticket.used =
                Some(TicketUse { at: at.now, credential_version: user.credential_version });
            insert(write, &ticket)?;
            let event = NewEvent {
                kind: EventKind::AccountDisowned,
                user: ticket.user,
                session: None,
                client: client.clone(),
            };
            events::append(write, event, at.now, shared.max_events)?;
            Ok(DisownOutcome::Removed)
        })
        .await
    }
}

/// A ticket of `purpose` that has not expired, with its user, whose address it was sent to.
pub(super) fn owned(
    write: &mut Write<'_>,
    id: TicketId,
    purpose: Purpose,
    at: Moment,
) -> Result<Option<(Ticket, UserRecord)>, Fault> {
    let record = load::<_, TicketRecord>(write.tickets.open()?, id.as_bytes())?;
    let Some(ticket) = record.map(|record| record.ticket(id)) else { return Ok(None) };
    if ticket.purpose != purpose || at.now >= ticket.expires_at {
        return Ok(None);
    }
    let user = load::<u64, UserRecord>(write.users.open()?, ticket.user.0)?;
    Ok(user.filter(|user| user.email.key() == ticket.email.key()).map(|user| (ticket, user)))
}

/// Whether this ticket has removed its account. Whatever else removes an account removes its
/// tickets too.
fn has_disowned(write: &mut Write<'_>, id: TicketId, at: Moment) -> Result<bool, Fault> {
    let record = load::<_, TicketRecord>(write.tickets.open()?, id.as_bytes())?;
    let Some(ticket) = record.map(|record| record.ticket(id)) else { return Ok(false) };
    let is_used = ticket.purpose == Purpose::VerifyEmail && ticket.used.is_some();
    let user = write.users.open()?.get(ticket.user.0)?;
    Ok(is_used && at.now < ticket.expires_at && user.is_none())
}

pub(super) fn insert(write: &mut Write<'_>, ticket: &Ticket) -> Result<(), Fault> {
    let id = ticket.id.as_bytes();
    let record = encode(&TicketRecord::new(ticket))?;
    write.tickets.open()?.insert(id, record.as_slice())?;
    write.tickets_by_user.open()?.insert((ticket.user.0, id), ())?;
    write.tickets_by_expiry.open()?.insert((ticket.expires_at.as_micros(), id), ())?;
    Ok(())
}

/// Removes every ticket of `user`.
pub(super) fn remove_all(write: &mut Write<'_>, user: UserId) -> Result<(), Fault> {
    remove_where(write, user, |_, _| true)
}

/// Removes those tickets of `user` of which `is_void` says so, and those that cannot be read.
pub(super) fn remove_where(
    write: &mut Write<'_>,
    user: UserId,
    is_void: impl Fn(Purpose, TicketId) -> bool,
) -> Result<(), Fault> {
    let (tickets, unreadable) = of_user(write, user)?;
    for ticket in tickets {
        if is_void(ticket.purpose, ticket.id) {
            remove(write, ticket.id)?;
        }
    }
    remove_unreadable(write, &unreadable)
}

/// The tickets of `user`, those that count no more among them, and which cannot be read. Such a one
/// can be redeemed by nobody, and keeps no other from being found or voided.
fn of_user(write: &mut Write<'_>, user: UserId) -> Result<(Vec<Ticket>, HashSet<[u8; 16]>), Fault> {
    let (first, last) = ((user.0, &[0; 16]), (user.0, &[u8::MAX; 16]));
    let ids: Vec<TicketId> = write
        .tickets_by_user
        .open()?
        .range(first..=last)?
        .map(|entry| Ok(TicketId::from_bytes(*entry?.0.value().1)))
        .collect::<Result<_, Fault>>()?;
    let tickets = write.tickets.open()?;
    let (mut found, mut unreadable) = (Vec::new(), HashSet::new());
    for id in ids {
        let record = require::<_, TicketRecord>(tickets, id.as_bytes());
        match readable(record.map(Some))? {
            Some(record) => found.push(record.ticket(id)),
            None => drop(unreadable.insert(*id.as_bytes())),
        }
    }
    Ok((found, unreadable))
}

fn remove_unreadable(write: &mut Write<'_>, unreadable: &HashSet<[u8; 16]>) -> Result<(), Fault> {
    let indexes = [&mut write.tickets_by_user, &mut write.tickets_by_expiry];
    discard(&mut write.tickets, indexes, unreadable)
}

fn remove(write: &mut Write<'_>, id: TicketId) -> Result<(), Fault> {
    let id = id.as_bytes();
    let Some(record) = load::<_, TicketRecord>(write.tickets.open()?, id)? else { return Ok(()) };
    write.tickets.open()?.remove(id)?;
    write.tickets_by_user.open()?.remove((record.user.0, id))?;
    write.tickets_by_expiry.open()?.remove((record.expires_at.as_micros(), id))?;
    Ok(())
}

/// The user's ticket of `purpose` that can still be redeemed, if there is one for this address as
/// it is written now.
pub(super) fn find_live(
    write: &mut Write<'_>,
    user: UserId,
    purpose: Purpose,
    email: &Email,
    at: Moment,
) -> Result<Option<Ticket>, Fault> {
    let is_it = |ticket: &Ticket| {
        ticket.purpose == purpose && ticket.is_live(at.now) && ticket.email == *email
    };
    Ok(of_user(write, user)?.0.into_iter().find(is_it))
}

/// Removes up to `batch` tickets that have expired by `at`; says how many.
pub(super) fn sweep(write: &mut Write<'_>, at: Moment, batch: usize) -> Result<usize, Fault> {
    let last = (at.now.as_micros(), &[u8::MAX; 16]);
    let due: Vec<(u64, TicketId)> = write
        .tickets_by_expiry
        .open()?
        .range((0, &[0; 16])..=last)?
        .take(batch)
        .map(|entry| {
            let (key, _) = entry?;
            Ok((key.value().0, TicketId::from_bytes(*key.value().1)))
        })
        .collect::<Result<_, Fault>>()?;
    let mut unreadable = HashSet::new();
    for (expires_at, id) in &due {
        write.change(at);
        // Nobody can use one that cannot be read, and it must not keep the others from being swept.
        if readable(remove(write, *id).map(Some))?.is_none() {
            unreadable.insert(*id.as_bytes());
        }
        write.tickets_by_expiry.open()?.remove((*expires_at, id.as_bytes()))?;
    }
    remove_unreadable(write, &unreadable)?;
    Ok(due.len())
}
