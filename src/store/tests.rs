//! Tests of the store: what its operations promise, and what a failing disk does to them. This
//! module has what they share.

mod account;
mod clocks;
mod corrupt;
mod directory;
mod failures;
mod passwords;
mod queue;
mod rotated;
mod sessions;
mod tickets;
mod upkeep;
mod users;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableHandle};

use super::engine::list;
use super::*;
use crate::clock::Moment;
use crate::domain::session::SessionLifetimes;
use crate::domain::{
    Actor, Authentication, Authorised, Client, Email, Event, EventKind, MessageId, PasswordHash,
    Session, SessionId, TicketId, TicketState, TicketUse, User, UserId, Username,
};

const START: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const LIFETIMES: SessionLifetimes = SessionLifetimes {
    refresh: DAY,
    session: Some(Duration::from_secs(30 * 86_400)),
    reuse_grace: Duration::from_secs(30),
    keep_first: true,
};
const FAREWELL: MessageId = MessageId::from_bytes([0; 16]);
const SETTINGS: EngineSettings = EngineSettings {
    cache: 1 << 20,
    min_free: 1_000,
    write_queue: NonZeroUsize::new(64).unwrap(),
    max_rotated: 1,
};
const POLICY: Policy = Policy {
    sessions: LIFETIMES,
    access_lifetime: HOUR,
    sessions_per_user: NonZeroUsize::new(2).unwrap(),
    mails_per_mailbox: None,
    keep_failed_mail: DAY,
    keep_events: DAY,
    max_events: 3,
};
/// The same with a limit on mail to one mailbox.
const LIMITED: Policy = Policy { mails_per_mailbox: NonZeroU32::new(5), ..POLICY };

fn at(now: Timestamp) -> Moment {
    Moment { now, confirmed: true }
}

fn after(wait: Duration) -> Moment {
    at(START.saturating_add(wait))
}

fn open(medium: impl Medium) -> Store {
    Store::open(medium, SETTINGS, POLICY).unwrap().0
}

/// Changes what is on a medium past the store, which has to be closed.
fn tamper(memory: &Memory, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = memory.open(1 << 20, Opening::First).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

/// How many rows the tables of these names have, once the store is closed.
fn lengths(memory: &Memory, tables: &[&str]) -> Vec<u64> {
    let database = memory.open(1 << 20, Opening::First).unwrap();
    let read = database.begin_read().unwrap();
    let length = |name: &&str| {
        let mut all = read.list_tables().unwrap();
        let table = all.find(|table| table.name() == *name).unwrap();
        read.open_untyped_table(table).unwrap().len().unwrap()
    };
    tables.iter().map(length).collect()
}

/// All mail that is due at `now`, the longest due first.
fn due_mail(store: &Store, now: Timestamp) -> Vec<MailToSend> {
    let mut due: Vec<MailToSend> = Vec::new();
    loop {
        let is_out = |id| due.iter().any(|item| item.mail.id == id);
        let found = store.find_due_mail(now, DAY, is_out).unwrap();
        assert!(found.unreadable.is_empty());
        let Some(item) = found.mail else { return due };
        due.push(item);
    }
}

fn new_user(email: &str, username: Option<&str>, number: u8) -> NewUser {
    NewUser {
        email: Email::parse(email).unwrap(),
        username: username.map(|name| Username::parse(name).unwrap()),
        password: PasswordHash::new("$argon2id$fake".to_owned()),
        ticket: NewTicket {
            id: TicketId::from_bytes([number; 16]),
            expires_at: START.saturating_add(DAY),
        },
        message_id: MessageId::from_bytes([number; 16]),
        client: client(1),
    }
}

async fn registered(store: &Store, email: &str, number: u8) -> User {
    match store.register_user(new_user(email, None, number), at(START)).await.unwrap() {
        RegisterOutcome::Registered(user) => user,
        RegisterOutcome::Taken(taken) => panic!("{taken:?}"),
    }
}

fn client(last: u8) -> Client {
    Client::new([192, 0, 2, last].into(), "tests")
}

fn opening(user: &User, number: u8, now: Timestamp) -> NewSession {
    let id = SessionId::new(now, [number; 10]);
    NewSession {
        session: Session::open(id, user.id, client(1), now, LIFETIMES),
        authentication: Authentication::by_password(user),
        former: Vec::new(),
    }
}

async fn opened(store: &Store, user: &User, number: u8) -> Session {
    let opening = opening(user, number, START);
    assert!(store.open_session(opening.clone(), at(START)).await.unwrap());
    opening.session
}

fn presented(session: &Session, generation: u64) -> Presented {
    Presented {
        session: session.id,
        user: session.user,
        generation,
        expires_at: session.token_expires_at,
        client: client(1),
    }
}

fn events_of(store: &Store, kind: EventKind) -> Vec<Event> {
    let mut events = store.events(0, 10).unwrap();
    events.retain(|event| event.kind == kind);
    events
}

fn is_live(store: &Store, session: &Session, now: Timestamp) -> bool {
    matches!(
        store.find_session_of_user(session.id, session.user, now).unwrap(),
        SessionOfUser::Live(..)
    )
}

/// Who acts by a session.
fn acting(session: &Session) -> Actor {
    Actor::logged_in(session, client(1))
}

fn authorised(session: &Session) -> Authorised {
    Authorised { user: session.user, session: session.id, client: client(1) }
}

fn ticket(number: u8) -> NewTicket {
    NewTicket { id: TicketId::from_bytes([number; 16]), expires_at: START.saturating_add(HOUR) }
}

fn email_change(email: &str, version: u64, number: u8) -> AccountChange {
    let change = EmailChange {
        email: Email::parse(email).unwrap(),
        credential_version: version,
        tickets: [ticket(number), ticket(number + 1)],
        message_ids: [MessageId::from_bytes([number; 16]); 2],
    };
    AccountChange { email: Some(change), ..AccountChange::default() }
}

async fn changed(store: &Store, session: &Session, change: AccountChange) -> User {
    match store.change_account(acting(session), session.user, change, at(START)).await.unwrap() {
        Changed::Done(user) => user,
        other => panic!("{other:?}"),
    }
}
