//! Tickets, found by identifier, by user and by expiry.

use std::collections::HashSet;

use super::records::TicketRecord;
use super::{Tx, View};
use crate::domain::{Purpose, Ticket, TicketId, TicketUse, User, UserId};
use crate::store::engine::{Fault, Index, Records, discard, readable};

impl View<'_> {
    pub(crate) fn ticket(self, id: TicketId) -> Result<Option<Ticket>, Fault> {
        let record: Option<TicketRecord> = self.tables.tickets()?.load(id.as_bytes())?;
        Ok(record.map(|record| record.ticket(id)))
    }
}

impl Tx<'_, '_> {
    /// A ticket of `purpose`, if it has not expired.
    pub(crate) fn ticket(
        &mut self,
        id: TicketId,
        purpose: Purpose,
    ) -> Result<Option<Ticket>, Fault> {
        let record: Option<TicketRecord> = self.tables.tickets.open()?.load(id.as_bytes())?;
        let ticket = record.map(|record| record.ticket(id));
        Ok(ticket.filter(|it| it.purpose == purpose && self.at.now < it.expires_at))
    }

    /// Writes a ticket, with its index entries.
    pub(crate) fn save_ticket(&mut self, ticket: &Ticket) -> Result<(), Fault> {
        let (id, tables) = (ticket.id.as_bytes(), self.write());
        tables.tickets.save(id, &TicketRecord::new(ticket))?;
        tables.tickets_by_user.open()?.insert((ticket.user.0, id), ())?;
        tables.tickets_by_expiry.open()?.insert((ticket.expires_at.as_micros(), id), ())?;
        Ok(())
    }

    /// Marks a ticket as used by `user`, as they are since.
    pub(crate) fn use_ticket(&mut self, ticket: &Ticket, user: &User) -> Result<(), Fault> {
        let used = TicketUse { at: self.now(), credential_version: user.credential_version };
        self.save_ticket(&Ticket { used: Some(used), ..ticket.clone() })
    }

    /// The user's ticket of the purpose and address of `wanted` that can still be used; where there
    /// is none, `wanted`, which is written.
    pub(crate) fn find_or_add_ticket(&mut self, wanted: Ticket) -> Result<Ticket, Fault> {
        let now = self.now();
        let is_it = |ticket: &Ticket| {
            ticket.purpose == wanted.purpose && ticket.is_live(now) && ticket.email == wanted.email
        };
        if let Some(live) = self.tickets_of(wanted.user)?.0.into_iter().find(is_it) {
            return Ok(live);
        }
        self.save_ticket(&wanted)?;
        Ok(wanted)
    }

    /// Removes those tickets of `user` that `is_void` selects, and those that cannot be read.
    pub(crate) fn void_tickets(
        &mut self,
        user: UserId,
        is_void: impl Fn(&Ticket) -> bool,
    ) -> Result<(), Fault> {
        let (tickets, unreadable) = self.tickets_of(user)?;
        for ticket in tickets.iter().filter(|ticket| is_void(ticket)) {
            self.remove_ticket(ticket)?;
        }
        self.discard_tickets(&unreadable)
    }

    /// Removes up to `batch` tickets that have expired; says how many.
    pub(crate) fn sweep_tickets(&mut self, batch: usize) -> Result<usize, Fault> {
        let due = self.tables.tickets_by_expiry.open()?.until(self.at.now.as_micros(), batch)?;
        let mut unreadable = HashSet::new();
        for (expires_at, id) in &due {
            let record = self.tables.tickets.open()?.load::<TicketRecord>(id);
            // Nobody can use one that cannot be read, and it must not keep the others from being
            // swept.
            match readable(record.map(Some))? {
                Some(Some(record)) => {
                    self.remove_ticket(&record.ticket(TicketId::from_bytes(*id)))?;
                }
                Some(None) => {}
                None => drop(unreadable.insert(*id)),
            }
            self.write().tickets_by_expiry.open()?.remove((*expires_at, id))?;
        }
        self.discard_tickets(&unreadable)?;
        Ok(due.len())
    }

    /// The tickets of `user`, those that cannot be used any more among them, and which cannot be
    /// read.
    fn tickets_of(&mut self, user: UserId) -> Result<(Vec<Ticket>, HashSet<[u8; 16]>), Fault> {
        let ids = self.tables.tickets_by_user.open()?.under(user.0)?;
        let tickets = self.tables.tickets.open()?;
        let (mut found, mut unreadable) = (Vec::new(), HashSet::new());
        for id in ids {
            match readable(tickets.require::<TicketRecord>(&id).map(Some))? {
                Some(record) => found.push(record.ticket(TicketId::from_bytes(id))),
                None => drop(unreadable.insert(id)),
            }
        }
        Ok((found, unreadable))
    }

    fn remove_ticket(&mut self, ticket: &Ticket) -> Result<(), Fault> {
        let (id, tables) = (ticket.id.as_bytes(), self.write());
        tables.tickets.open()?.remove(id)?;
        tables.tickets_by_user.open()?.remove((ticket.user.0, id))?;
        tables.tickets_by_expiry.open()?.remove((ticket.expires_at.as_micros(), id))?;
        Ok(())
    }

    fn discard_tickets(&mut self, unreadable: &HashSet<[u8; 16]>) -> Result<(), Fault> {
        if unreadable.is_empty() {
            return Ok(());
        }
        let tables = self.write();
        let indexes = [&mut tables.tickets_by_user, &mut tables.tickets_by_expiry];
        discard(&mut tables.tickets, indexes, unreadable)
    }
}
