//! What is really in a database file, read past the program: every table as it lies there, and
//! whether they agree with each other. It shares no code with `store`, so that a mistake there
//! does not excuse itself.

use std::collections::{BTreeMap, BTreeSet};

use latchkey::clock::Timestamp;
use latchkey::store::{Medium, Opening};
use redb::{Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::Value;

use crate::support::{Disk, MAX_ROTATED};

type Id = [u8; 16];

/// What a database holds, as far as somebody could notice at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) users: BTreeMap<u64, Account>,
    /// User and generation of each session that lives.
    pub(super) sessions: Vec<(u64, u64)>,
    /// User, purpose and whether it was redeemed of each ticket that has not expired.
    pub(super) tickets: Vec<(u64, String, bool)>,
    /// Kind, recipient and user of each mail that waits, by number.
    pub(super) outbox: BTreeMap<u64, (String, String, u64)>,
    pub(super) next_user: u64,
    pub(super) next_mail: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) email: String,
    pub(super) username: Option<String>,
    pub(super) is_verified: bool,
    pub(super) version: u64,
    /// The address that was asked for, in time or not.
    pub(super) pending: Option<String>,
}

/// Everything that matters in a database.
#[derive(Debug)]
pub(super) struct Census {
    pub(super) view: View,
    /// The generation and the user of each session that lives, by identifier in hexadecimal
    /// digits.
    pub(super) sessions: BTreeMap<String, (u64, u64)>,
    /// How many sessions and tickets there are that are over.
    pub(super) over: usize,
}

type Rows<K> = BTreeMap<K, Value>;

impl Census {
    /// Opens what is on `disk`, as after a crash, holds its tables against each other, and takes
    /// stock at `now`.
    pub(super) fn take(disk: &Disk, now: Timestamp) -> Result<Self, String> {
        let mut database = disk.open(1 << 20, Opening::Again).map_err(|error| error.to_string())?;
        match database.check_integrity() {
            Ok(true) => {}
            Ok(false) => return Err("the file was damaged, and redb mended it".to_owned()),
            Err(error) => return Err(format!("the file is damaged: {error}")),
        }
        let transaction = database.begin_read().map_err(|error| error.to_string())?;
        Self::of(&transaction, now.as_micros())
    }

    fn of(read: &ReadTransaction, now: u64) -> Result<Self, String> {
        let meta = numbers(read, "meta_1");
        let counter = |name: &str| meta.get(name).copied().unwrap_or(1);
        let mut view = View {
            next_user: counter("next_user"),
            next_mail: counter("next_mail"),
            ..View::default()
        };
        let mut flaws = Flaws::default();
        let users = records::<u64, _>(read, "users_1", |id| id);
        flaws.note(users.keys().any(|id| *id >= view.next_user), "a user's number will come again");
        check_names(read, &users, &mut flaws);
        for (id, user) in &users {
            let account = Account {
                email: text(user, "email"),
                username: user["username"].as_str().map(str::to_owned),
                is_verified: user["is_email_verified"] == true,
                version: number(user, "credential_version"),
                pending: user["pending_email"]["email"].as_str().map(str::to_owned),
            };
            view.users.insert(*id, account);
        }
        let (sessions, over) = sessions(read, &users, now, &mut flaws);
        view.sessions = sessions.values().map(|(generation, user)| (*user, *generation)).collect();
        view.sessions.sort_unstable();
        let (tickets, expired) = tickets(read, &users, now, &mut flaws);
        view.tickets = tickets;
        view.outbox = outbox(read, &mut flaws);
        let comes_again = view.outbox.keys().any(|number| *number >= view.next_mail);
        flaws.note(comes_again, "a mail's number will come again");
        flaws.into_result()?;
        Ok(Self { view, sessions, over: over + expired })
    }
}

#[derive(Default)]
struct Flaws(Vec<String>);

impl Flaws {
    fn note(&mut self, is_wrong: bool, what: &str) {
        if is_wrong {
            self.0.push(what.to_owned());
        }
    }

    /// Notes what is in one index and not in what it should index, and the other way round.
    fn compare<K: Ord + std::fmt::Debug>(
        &mut self,
        index: &str,
        is: &BTreeSet<K>,
        should_be: &BTreeSet<K>,
    ) {
        for key in is.symmetric_difference(should_be) {
            let problem = if is.contains(key) { "leads nowhere" } else { "is missing" };
            self.0.push(format!("an entry of {index} {problem}: {key:?}"));
        }
    }

    fn into_result(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("half-made: {}", self.0.join("; "))) }
    }
}

fn check_names(read: &ReadTransaction, users: &Rows<u64>, flaws: &mut Flaws) {
    let by_email = numbers(read, "users_by_email_1").into_iter().collect();
    let should_be = users.iter().map(|(id, user)| (text(user, "email"), *id)).collect();
    flaws.compare("users_by_email", &by_email, &should_be);
    let by_username = numbers(read, "users_by_username_1").into_iter().collect();
    let named = users.iter().filter(|(_, user)| user["username"].is_string());
    let should_be = named.map(|(id, user)| (text(user, "username"), *id)).collect();
    flaws.compare("users_by_username", &by_username, &should_be);
    let known = keys::<(u64, &str), u64, _>(read, "known_addresses_1", |(id, _)| id);
    flaws.note(known.iter().any(|id| !users.contains_key(id)), "an address of nobody is known");
}

/// Notes where an index by a number in each record does not agree with the records.
fn check_index(
    read: &ReadTransaction,
    name: &str,
    records: &Rows<Id>,
    field: &str,
    flaws: &mut Flaws,
) {
    let index = keys::<(u64, &Id), (), _>(read, name, |(key, id)| (key, *id));
    let should_be = records.iter().map(|(id, record)| (number(record, field), *id)).collect();
    flaws.compare(name, &index, &should_be);
}

/// The sessions that live, and how many are over.
fn sessions(
    read: &ReadTransaction,
    users: &Rows<u64>,
    now: u64,
    flaws: &mut Flaws,
) -> (BTreeMap<String, (u64, u64)>, usize) {
    let mut sessions = records::<&Id, _>(read, "sessions_1", |id| *id);
    let apart = records::<&Id, _>(read, "rotated_sessions_1", |id| *id);
    flaws.note(apart.len() as u64 > MAX_ROTATED, "more are kept apart than may be");
    for (id, rotated) in apart {
        match sessions.insert(id, rotated.clone()) {
            None => flaws.note(true, "a session was rotated that there is not"),
            Some(before) => {
                let is_newer = number(&before, "generation") < number(&rotated, "generation");
                flaws.note(!is_newer, "a session is kept apart that was not rotated");
            }
        }
    }
    check_index(read, "sessions_by_user_1", &sessions, "user", flaws);
    check_index(read, "sessions_by_expiry_1", &sessions, "filed_at", flaws);
    let mut live = BTreeMap::new();
    for (id, session) in &sessions {
        let user = number(session, "user");
        flaws.note(!users.contains_key(&user), "a session is nobody's");
        if now < number(session, "token_expires_at") {
            live.insert(hex(id), (number(session, "generation"), user));
        }
    }
    let over = sessions.len() - live.len();
    (live, over)
}

/// The tickets that have not expired, and how many have.
fn tickets(
    read: &ReadTransaction,
    users: &Rows<u64>,
    now: u64,
    flaws: &mut Flaws,
) -> (Vec<(u64, String, bool)>, usize) {
    let tickets = records::<&Id, _>(read, "tickets_1", |id| *id);
    check_index(read, "tickets_by_user_1", &tickets, "user", flaws);
    check_index(read, "tickets_by_expiry_1", &tickets, "expires_at", flaws);
    for user in users.values() {
        let pending = &user["pending_email"];
        if pending["expires_at"].as_u64().is_some_and(|end| now < end) {
            let is_there = tickets.keys().any(|id| pending["ticket"] == hex(id));
            flaws.note(!is_there, "nothing confirms a pending address");
        }
    }
    let mut live = Vec::new();
    for ticket in tickets.values() {
        let user = number(ticket, "user");
        flaws.note(!users.contains_key(&user), "a ticket is nobody's");
        if now < number(ticket, "expires_at") {
            live.push((user, text(ticket, "purpose"), !ticket["redeemed_at"].is_null()));
        }
    }
    live.sort_unstable();
    let over = tickets.len() - live.len();
    (live, over)
}

fn outbox(read: &ReadTransaction, flaws: &mut Flaws) -> BTreeMap<u64, (String, String, u64)> {
    let mails = records::<u64, _>(read, "outbox_1", |id| id);
    let by_due = keys::<(u64, u64), (), _>(read, "outbox_by_due_1", |key| key);
    let due = mails.iter().map(|(id, mail)| (number(mail, "due_at"), *id)).collect();
    flaws.compare("outbox_by_due", &by_due, &due);
    let by_user = keys::<(u64, u64), (), _>(read, "outbox_by_user_1", |key| key);
    let owned = mails.iter().map(|(id, mail)| (number(mail, "user"), *id)).collect();
    flaws.compare("outbox_by_user", &by_user, &owned);
    let waits = |(id, mail): (&u64, &Value)| {
        (*id, (text(&mail["mail"], "kind"), text(mail, "to"), number(mail, "user")))
    };
    mails.iter().map(waits).collect()
}

/// The records of a table, which are JSON.
fn records<K: Key + 'static, Owned: Ord>(
    read: &ReadTransaction,
    name: &str,
    own: impl for<'k> Fn(K::SelfType<'k>) -> Owned,
) -> BTreeMap<Owned, Value> {
    let table = read.open_table(TableDefinition::<K, &[u8]>::new(name)).unwrap();
    let rows = table.iter().unwrap().map(|row| {
        let (key, record) = row.unwrap();
        (own(key.value()), serde_json::from_slice(record.value()).unwrap())
    });
    rows.collect()
}

fn keys<K: Key + 'static, V: redb::Value + 'static, Owned: Ord>(
    read: &ReadTransaction,
    name: &str,
    own: impl for<'k> Fn(K::SelfType<'k>) -> Owned,
) -> BTreeSet<Owned> {
    let table = read.open_table(TableDefinition::<K, V>::new(name)).unwrap();
    table.iter().unwrap().map(|row| own(row.unwrap().0.value())).collect()
}

/// A table from texts to numbers.
fn numbers(read: &ReadTransaction, name: &str) -> BTreeMap<String, u64> {
    let table = read.open_table(TableDefinition::<&str, u64>::new(name)).unwrap();
    let rows = table.iter().unwrap().map(|row| {
        let (key, number) = row.unwrap();
        (key.value().to_owned(), number.value())
    });
    rows.collect()
}

fn text(record: &Value, field: &str) -> String {
    record[field].as_str().unwrap().to_owned()
}

fn number(record: &Value, field: &str) -> u64 {
    record[field].as_u64().unwrap()
}

fn hex(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
