//! The tables, and how one transaction opens them: each once, and only when it is needed.
//!
//! A name carries its table's version. Keys sort as they are to be walked; records are JSON whose
//! later fields are defaulted, so that a file of an older version opens. The engine is compiled
//! anew for every pair of types of key and record, so a table takes a pair that another has where
//! one fits.

use std::collections::HashSet;
use std::sync::OnceLock;

use redb::{Key, ReadOnlyTable, ReadTransaction, Table, TableDefinition, Value, WriteTransaction};

use super::Fault;
use super::decoded::Edition;
use crate::clock::{Moment, Timestamp};

/// A JSON record.
pub(super) type Record = &'static [u8];
/// A session's or ticket's identifier.
pub(super) type Id = &'static [u8; 16];

/// How many tables there are.
pub(super) const TABLES: usize = 21;

/// The version of the tables as a whole, kept under [`meta::SCHEMA`].
pub(super) const SCHEMA: u64 = 4;
/// The oldest that opens: all that it lacks is tables, which are made.
pub(super) const OLDEST_SCHEMA: u64 = 3;

/// Keys of [`META`].
pub(super) mod meta {
    /// The version of the tables as a whole.
    pub(crate) const SCHEMA: &str = "schema";
    /// The latest committed time, in microseconds.
    pub(crate) const MARK: &str = "clock_mark";
    /// The mark while the clock's trial was noted: the trial is void once that has moved.
    pub(crate) const TRIAL_MARK: &str = "clock_trial_mark";
    /// What the clock said when its trial was noted, in microseconds.
    pub(crate) const TRIAL_WALL: &str = "clock_trial_wall";
    /// For how long the clock had stood its trial by then, in microseconds.
    pub(crate) const TRIAL_STOOD_FOR: &str = "clock_trial_stood_for";
    /// The number of the user who registers next.
    pub(crate) const NEXT_USER: &str = "next_user";
    /// The number of the mail that is queued next.
    pub(crate) const NEXT_MAIL: &str = "next_mail";
    /// The number of the mail that is given up next.
    pub(crate) const NEXT_FAILED_MAIL: &str = "next_failed_mail";
    /// Until when the list of revoked sessions lacks some, in microseconds.
    pub(crate) const REVOKED_INCOMPLETE_UNTIL: &str = "revoked_incomplete_until";
    /// The number of the next audit event.
    pub(crate) const NEXT_EVENT: &str = "next_event";
}

/// Numbers about the file itself.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta_1");
/// Users by number.
pub(super) const USERS: TableDefinition<'_, u64, Record> = TableDefinition::new("users_1");
/// Users by the key of their address.
pub(super) const USERS_BY_EMAIL: TableDefinition<'_, &str, u64> =
    TableDefinition::new("users_by_email_1");
/// Users by the key of their name.
pub(super) const USERS_BY_USERNAME: TableDefinition<'_, &str, u64> =
    TableDefinition::new("users_by_username_1");
/// The address blocks a user has logged in from, and when last, in microseconds.
pub(super) const KNOWN_ADDRESSES: TableDefinition<'_, (u64, &str), u64> =
    TableDefinition::new("known_addresses_1");
/// Sessions by identifier, and so by the time they were opened.
pub(super) const SESSIONS: TableDefinition<'_, Id, Record> = TableDefinition::new("sessions_1");
/// Sessions that were rotated of late, as they are since: what [`SESSIONS`] has of them is older.
pub(super) const ROTATED_SESSIONS: TableDefinition<'_, Id, Record> =
    TableDefinition::new("rotated_sessions_1");
/// Sessions by user.
pub(super) const SESSIONS_BY_USER: TableDefinition<'_, (u64, Id), ()> =
    TableDefinition::new("sessions_by_user_1");
/// Sessions by the expiry they were last filed under, in microseconds.
pub(super) const SESSIONS_BY_EXPIRY: TableDefinition<'_, (u64, Id), ()> =
    TableDefinition::new("sessions_by_expiry_1");
/// Tickets by identifier.
pub(super) const TICKETS: TableDefinition<'_, Id, Record> = TableDefinition::new("tickets_1");
/// Tickets by user.
pub(super) const TICKETS_BY_USER: TableDefinition<'_, (u64, Id), ()> =
    TableDefinition::new("tickets_by_user_1");
/// Tickets by expiry, in microseconds.
pub(super) const TICKETS_BY_EXPIRY: TableDefinition<'_, (u64, Id), ()> =
    TableDefinition::new("tickets_by_expiry_1");
/// Mail that waits, by number.
pub(super) const OUTBOX: TableDefinition<'_, u64, Record> = TableDefinition::new("outbox_1");
/// Mail that waits, by when it is due, in microseconds.
pub(super) const OUTBOX_BY_DUE: TableDefinition<'_, (u64, u64), ()> =
    TableDefinition::new("outbox_by_due_1");
/// Mail that waits, by user.
pub(super) const OUTBOX_BY_USER: TableDefinition<'_, (u64, u64), ()> =
    TableDefinition::new("outbox_by_user_1");
/// Mail that was given up, numbered in the order in which it was.
pub(super) const FAILED_MAIL: TableDefinition<'_, u64, Record> =
    TableDefinition::new("failed_mail_1");
/// What mailboxes were sent, by a digest of their address and the purpose.
pub(super) const MAILBOXES: TableDefinition<'_, Id, Record> = TableDefinition::new("mailboxes_1");
/// The same by when it may be forgotten, in microseconds.
pub(super) const MAILBOXES_BY_EXPIRY: TableDefinition<'_, (u64, Id), ()> =
    TableDefinition::new("mailboxes_by_expiry_1");
/// Sessions that ended before their access tokens died: by when those do, in microseconds, and
/// the session's digest.
pub(super) const REVOKED_SESSIONS: TableDefinition<'_, (u64, Id), ()> =
    TableDefinition::new("revoked_sessions_1");
/// Audit events by number.
pub(super) const EVENTS: TableDefinition<'_, u64, Record> = TableDefinition::new("events_1");
/// The latest audit event of a user, and of a kind and address block in one text, to merge
/// repeated ones into.
pub(super) const LATEST_EVENTS: TableDefinition<'_, (u64, &str), u64> =
    TableDefinition::new("latest_events_2");

/// One table within a write transaction, opened when first asked for.
pub(super) struct Slot<'t, K: Key + 'static, V: Value + 'static> {
    transaction: &'t WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: Option<Table<'t, K, V>>,
}

impl<'t, K: Key + 'static, V: Value + 'static> Slot<'t, K, V> {
    fn new(transaction: &'t WriteTransaction, definition: TableDefinition<'static, K, V>) -> Self {
        Self { transaction, definition, table: None }
    }

    /// The table.
    pub(super) fn open(&mut self) -> Result<&mut Table<'t, K, V>, Fault> {
        let table = match self.table.take() {
            Some(table) => table,
            None => self.transaction.open_table(self.definition)?,
        };
        Ok(self.table.insert(table))
    }
}

/// Removes records that cannot be read, and so do not say under what their indexes have them:
/// those are walked from end to end.
pub(super) fn discard(
    records: &mut Slot<'_, Id, Record>,
    indexes: [&mut Slot<'_, (u64, Id), ()>; 2],
    unreadable: &HashSet<[u8; 16]>,
) -> Result<(), Fault> {
    if unreadable.is_empty() {
        return Ok(());
    }
    for id in unreadable {
        records.open()?.remove(id)?;
    }
    for index in indexes {
        index.open()?.retain(|(_, id), ()| !unreadable.contains(id))?;
    }
    Ok(())
}

/// A write transaction as the sentences see it.
pub(super) struct Write<'t> {
    pub(super) meta: Slot<'t, &'static str, u64>,
    pub(super) users: Slot<'t, u64, Record>,
    pub(super) users_by_email: Slot<'t, &'static str, u64>,
    pub(super) users_by_username: Slot<'t, &'static str, u64>,
    pub(super) known_addresses: Slot<'t, (u64, &'static str), u64>,
    pub(super) sessions: Slot<'t, Id, Record>,
    pub(super) rotated_sessions: Slot<'t, Id, Record>,
    pub(super) sessions_by_user: Slot<'t, (u64, Id), ()>,
    pub(super) sessions_by_expiry: Slot<'t, (u64, Id), ()>,
    pub(super) tickets: Slot<'t, Id, Record>,
    pub(super) tickets_by_user: Slot<'t, (u64, Id), ()>,
    pub(super) tickets_by_expiry: Slot<'t, (u64, Id), ()>,
    pub(super) outbox: Slot<'t, u64, Record>,
    pub(super) outbox_by_due: Slot<'t, (u64, u64), ()>,
    pub(super) outbox_by_user: Slot<'t, (u64, u64), ()>,
    pub(super) failed_mail: Slot<'t, u64, Record>,
    pub(super) mailboxes: Slot<'t, Id, Record>,
    pub(super) mailboxes_by_expiry: Slot<'t, (u64, Id), ()>,
    pub(super) revoked_sessions: Slot<'t, (u64, Id), ()>,
    pub(super) events: Slot<'t, u64, Record>,
    pub(super) latest_events: Slot<'t, (u64, &'static str), u64>,
    /// Whether anything was written that has to be committed.
    pub(super) has_changes: bool,
    /// Whether mail was queued, so that the outbox task should look.
    pub(super) has_mail: bool,
    /// The latest confirmed time of what was written; the mark follows it.
    pub(super) latest: Timestamp,
}

impl<'t> Write<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Self {
        Self {
            meta: Slot::new(transaction, META),
            users: Slot::new(transaction, USERS),
            users_by_email: Slot::new(transaction, USERS_BY_EMAIL),
            users_by_username: Slot::new(transaction, USERS_BY_USERNAME),
            known_addresses: Slot::new(transaction, KNOWN_ADDRESSES),
            sessions: Slot::new(transaction, SESSIONS),
            rotated_sessions: Slot::new(transaction, ROTATED_SESSIONS),
            sessions_by_user: Slot::new(transaction, SESSIONS_BY_USER),
            sessions_by_expiry: Slot::new(transaction, SESSIONS_BY_EXPIRY),
            tickets: Slot::new(transaction, TICKETS),
            tickets_by_user: Slot::new(transaction, TICKETS_BY_USER),
            tickets_by_expiry: Slot::new(transaction, TICKETS_BY_EXPIRY),
            outbox: Slot::new(transaction, OUTBOX),
            outbox_by_due: Slot::new(transaction, OUTBOX_BY_DUE),
            outbox_by_user: Slot::new(transaction, OUTBOX_BY_USER),
            failed_mail: Slot::new(transaction, FAILED_MAIL),
            mailboxes: Slot::new(transaction, MAILBOXES),
            mailboxes_by_expiry: Slot::new(transaction, MAILBOXES_BY_EXPIRY),
            revoked_sessions: Slot::new(transaction, REVOKED_SESSIONS),
            events: Slot::new(transaction, EVENTS),
            latest_events: Slot::new(transaction, LATEST_EVENTS),
            has_changes: false,
            has_mail: false,
            latest: Timestamp::EPOCH,
        }
    }

    /// Opens every table, so that each exists from the start and no read finds one missing.
    pub(super) fn create_all(&mut self) -> Result<(), Fault> {
        self.meta.open()?;
        self.users.open()?;
        self.users_by_email.open()?;
        self.users_by_username.open()?;
        self.known_addresses.open()?;
        self.sessions.open()?;
        self.rotated_sessions.open()?;
        self.sessions_by_user.open()?;
        self.sessions_by_expiry.open()?;
        self.tickets.open()?;
        self.tickets_by_user.open()?;
        self.tickets_by_expiry.open()?;
        self.outbox.open()?;
        self.outbox_by_due.open()?;
        self.outbox_by_user.open()?;
        self.failed_mail.open()?;
        self.mailboxes.open()?;
        self.mailboxes_by_expiry.open()?;
        self.revoked_sessions.open()?;
        self.events.open()?;
        self.latest_events.open()?;
        self.has_changes = true;
        Ok(())
    }

    /// Says that something was written at `at`. Every sentence that writes says so before its
    /// first write, and a sentence that refuses never does; but one that must not show whether there
    /// is an account says so either way, so that as much is committed.
    pub(super) fn change(&mut self, at: Moment) {
        self.has_changes = true;
        if at.confirmed {
            self.latest = self.latest.max(at.now);
        }
    }

    /// Takes the next number of a counter that starts at 1 and never goes back.
    pub(super) fn next_number(&mut self, counter: &'static str) -> Result<u64, Fault> {
        let meta = self.meta.open()?;
        let number = redb::ReadableTable::get(meta, counter)?.map_or(1, |value| value.value());
        meta.insert(counter, number.saturating_add(1))?;
        Ok(number)
    }
}

/// A read transaction as the sentences see it.
pub(super) struct Read {
    transaction: ReadTransaction,
    /// What it sees.
    pub(super) edition: Edition,
    users: OnceLock<ReadOnlyTable<u64, Record>>,
    sessions: OnceLock<ReadOnlyTable<Id, Record>>,
    rotated_sessions: OnceLock<ReadOnlyTable<Id, Record>>,
}

impl Read {
    pub(super) fn new(transaction: ReadTransaction, edition: Edition) -> Self {
        let [sessions, rotated_sessions] = [OnceLock::new(), OnceLock::new()];
        Self { transaction, edition, users: OnceLock::new(), sessions, rotated_sessions }
    }

    /// The users, whom every authenticated request looks up.
    pub(super) fn users(&self) -> Result<&ReadOnlyTable<u64, Record>, Fault> {
        self.kept(&self.users, USERS)
    }

    /// The sessions, likewise; one that was rotated of late as it was before, so whoever wants it as
    /// it is asks for [`Read::session`].
    pub(super) fn sessions(&self) -> Result<&ReadOnlyTable<Id, Record>, Fault> {
        self.kept(&self.sessions, SESSIONS)
    }

    /// Those that were rotated of late, likewise.
    pub(super) fn rotated_sessions(&self) -> Result<&ReadOnlyTable<Id, Record>, Fault> {
        self.kept(&self.rotated_sessions, ROTATED_SESSIONS)
    }

    fn kept<'a, K: Key + 'static, V: Value + 'static>(
        &self,
        place: &'a OnceLock<ReadOnlyTable<K, V>>,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<&'a ReadOnlyTable<K, V>, Fault> {
        if let Some(table) = place.get() {
            return Ok(table);
        }
        let table = self.open(definition)?;
        Ok(place.get_or_init(|| table))
    }

    /// Any other table.
    pub(super) fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, Fault> {
        Ok(self.transaction.open_table(definition)?)
    }
}
