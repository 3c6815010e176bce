//! Tests of the store: what its sentences promise, and what a failing disk does to them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use redb::{Builder, Database, StorageBackend};

use super::*;
use crate::clock::Moment;
use crate::domain::session::SessionLifetimes;
use crate::domain::{
    Client, Email, Event, EventKind, MailId, MessageId, PasswordHash, Session, SessionId, Theft,
    TicketId, User, UserId, Username,
};

const START: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const LIFETIMES: SessionLifetimes = SessionLifetimes {
    refresh: DAY,
    session: Some(Duration::from_secs(30 * 86_400)),
    reuse_grace: Duration::from_secs(30),
};
const SETTINGS: StoreSettings = StoreSettings {
    cache: 1 << 20,
    min_free: 1_000,
    write_queue: NonZeroUsize::new(64).unwrap(),
    max_events: 3,
    access_lifetime: HOUR,
};

fn at(now: Timestamp) -> Moment {
    Moment { now, confirmed: true }
}

fn after(wait: Duration) -> Moment {
    at(START.saturating_add(wait))
}

fn open(medium: impl Medium) -> Store {
    Store::open(medium, SETTINGS).unwrap().0
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
        mail_limit: MailLimit(None),
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
        credential_version: user.credential_version,
        sessions_per_user: NonZeroUsize::new(2).unwrap(),
    }
}

async fn opened(store: &Store, user: &User, number: u8) -> Session {
    let opening = opening(user, number, START);
    assert!(store.open_session(opening.clone(), at(START)).await.unwrap());
    opening.session
}

fn presented(session: &Session, generation: u64) -> Presented {
    Presented { session: session.id, user: session.user, generation, client: client(1) }
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

#[tokio::test]
async fn a_registration_writes_user_indexes_ticket_and_mail_together() {
    let store = open(Memory::default());
    let new = new_user("Ann@Example.com", Some("Ann"), 1);
    let email = new.email.clone();
    let outcome = store.register_user(new, at(START)).await.unwrap();
    let RegisterOutcome::Registered(user) = outcome else { panic!("{outcome:?}") };
    assert_eq!(user.id, UserId(1));
    let login = store.find_login(&email, client(1).block()).unwrap().unwrap();
    assert_eq!((login.user.clone(), login.knows_address), (user.clone(), false));
    let (ticket, owner) = store.find_ticket(TicketId::from_bytes([1; 16])).unwrap().unwrap();
    assert_eq!((ticket.email, owner), (email, user));
    let due = due_mail(&store, START);
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].ticket.as_ref().unwrap().id, TicketId::from_bytes([1; 16]));
}

#[tokio::test]
async fn simultaneous_registrations_of_one_address_make_one_user() {
    let store = open(Memory::default());
    let mut under_way = tokio::task::JoinSet::new();
    for number in 0..20 {
        let store = store.clone();
        let email = if number % 2 == 0 { "ann@example.com" } else { "ANN@example.COM" };
        let new = new_user(email, None, number);
        under_way.spawn(async move { store.register_user(new, at(START)).await.unwrap() });
    }
    let outcomes = under_way.join_all().await;
    let made =
        outcomes.iter().filter(|outcome| matches!(outcome, RegisterOutcome::Registered(_))).count();
    assert_eq!(made, 1);
    assert_eq!((store.count_users().unwrap(), store.count_mail().unwrap()), (1, 1));
}

#[tokio::test]
async fn a_refused_registration_changes_nothing() {
    let store = open(Memory::default());
    let first = new_user("ann@example.com", Some("Ann"), 1);
    store.register_user(first, at(START)).await.unwrap();
    let again = new_user("other@example.com", Some("ANN"), 2);
    let outcome = store.register_user(again, at(START)).await.unwrap();
    assert_eq!(outcome, RegisterOutcome::Taken(Taken { email: false, username: true }));
    assert_eq!((store.count_users().unwrap(), store.count_mail().unwrap()), (1, 1));
    assert!(store.find_ticket(TicketId::from_bytes([2; 16])).unwrap().is_none());
    let third = registered(&store, "other@example.com", 3).await;
    assert_eq!(third.id, UserId(2), "a refusal uses no number up");
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_database_is_opened_again() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS).unwrap();
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let rotated = store.rotate_session(presented(&session, 0), LIFETIMES, at(START)).await;
    assert!(matches!(rotated, Ok(Rotated::New(_))));
    drop(store);
    writer.join();
    let store = open(memory);
    assert_eq!(store.mark(), START);
    assert_eq!(store.find_user(user.id).unwrap(), Some(user));
    let again = store.rotate_session(presented(&session, 0), LIFETIMES, at(START)).await.unwrap();
    assert!(matches!(again, Rotated::Same(session) if session.generation == 1));
}

#[tokio::test]
async fn many_refreshes_of_one_token_have_one_successor() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (store, token) = (store.clone(), presented(&session, 0));
        under_way
            .spawn(async move { store.rotate_session(token, LIFETIMES, at(START)).await.unwrap() });
    }
    let mut new = 0;
    for rotated in under_way.join_all().await {
        match rotated {
            Rotated::New(session) => {
                new += 1;
                assert_eq!(session.generation, 1);
            }
            Rotated::Same(session) => assert_eq!(session.generation, 1),
            Rotated::Refused(refused) => panic!("{refused:?}"),
        }
    }
    assert_eq!(new, 1);
}

#[tokio::test]
async fn a_reused_token_ends_its_session_and_no_other() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let (stolen, other) = (opened(&store, &user, 1).await, opened(&store, &user, 2).await);
    for generation in [0, 1] {
        let token = presented(&stolen, generation);
        store.rotate_session(token, LIFETIMES, at(START)).await.unwrap();
    }
    let reused = store.rotate_session(presented(&stolen, 0), LIFETIMES, at(START)).await.unwrap();
    assert_eq!(reused, Rotated::Refused(Refused::Reused(Theft::SuccessorUsed)));
    assert!(!is_live(&store, &stolen, START));
    assert!(is_live(&store, &other, START));
    let current = store.rotate_session(presented(&stolen, 2), LIFETIMES, at(START)).await.unwrap();
    assert_eq!(current, Rotated::Refused(Refused::NoSession));
    let events = events_of(&store, EventKind::RefreshTokenReused);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].session, Some(stolen.id));
}

#[tokio::test]
async fn the_grace_used_from_elsewhere_is_an_event_and_changes_nothing_else() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    store.rotate_session(presented(&session, 0), LIFETIMES, at(START)).await.unwrap();
    store.rotate_session(presented(&session, 0), LIFETIMES, at(START)).await.unwrap();
    assert_eq!(events_of(&store, EventKind::GraceUsedElsewhere), []);
    for _ in 0..3 {
        let token = Presented { client: client(9), ..presented(&session, 0) };
        let rotated = store.rotate_session(token, LIFETIMES, at(START)).await.unwrap();
        assert!(matches!(rotated, Rotated::Same(session) if session.generation == 1));
    }
    let events = events_of(&store, EventKind::GraceUsedElsewhere);
    assert_eq!(events.len(), 1, "repeated events are merged");
    assert_eq!(events[0].count, 3);
}

#[tokio::test]
async fn events_stay_within_their_number() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    for last in 0..6 {
        let token = Presented { client: client(last), ..presented(&session, 7) };
        let rotated = store.rotate_session(token, LIFETIMES, at(START)).await.unwrap();
        assert_eq!(rotated, Rotated::Refused(Refused::Ahead));
    }
    let addresses: Vec<_> =
        store.events(0, 10).unwrap().iter().map(|event| event.client.address).collect();
    assert_eq!(addresses, [client(3), client(4), client(5)].map(|client| client.address));
    assert!(is_live(&store, &session, START));
}

#[tokio::test]
async fn one_session_too_many_ends_the_oldest() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let sessions = [
        opened(&store, &user, 1).await,
        opened(&store, &user, 2).await,
        opened(&store, &user, 3).await,
    ];
    assert_eq!(sessions.map(|session| is_live(&store, &session, START)), [false, true, true]);
    assert_eq!(store.count_sessions().unwrap(), 2);
}

#[tokio::test]
async fn a_session_is_refused_when_the_credentials_have_moved() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let stale = NewSession { credential_version: 7, ..opening(&user, 1, START) };
    assert!(!store.open_session(stale, at(START)).await.unwrap());
    assert_eq!(store.count_sessions().unwrap(), 0);
    let login = store.find_login(&user.email, client(1).block()).unwrap().unwrap();
    assert!(!login.knows_address);
}

#[tokio::test]
async fn a_login_makes_its_address_known() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    opened(&store, &user, 1).await;
    let knows =
        |last| store.find_login(&user.email, client(last).block()).unwrap().unwrap().knows_address;
    assert_eq!((knows(1), knows(2)), (true, false));
}

#[tokio::test]
async fn a_ticket_is_redeemed_once_and_remembered() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let ticket = TicketId::from_bytes([1; 16]);
    let redeem = |at| store.redeem_verification(ticket, client(1), at);
    let RedeemOutcome::Verified(verified) = redeem(at(START)).await.unwrap() else {
        panic!("not verified")
    };
    assert_eq!(verified, User { is_email_verified: true, ..user.clone() });
    assert_eq!(redeem(at(START)).await.unwrap(), RedeemOutcome::AlreadyVerified);
    let disowned = store.disown_user(ticket, client(1), at(START)).await.unwrap();
    assert_eq!(disowned, DisownOutcome::AlreadyVerified);
    assert_eq!(redeem(after(DAY)).await.unwrap(), RedeemOutcome::Invalid);
    let unknown =
        store.redeem_verification(TicketId::from_bytes([9; 16]), client(1), at(START)).await;
    assert_eq!(unknown, Ok(RedeemOutcome::Invalid));
}

#[tokio::test]
async fn a_disowned_account_leaves_nothing_and_its_number_is_not_used_again() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let ticket = TicketId::from_bytes([1; 16]);
    let disown = || store.disown_user(ticket, client(1), at(START));
    assert_eq!(disown().await.unwrap(), DisownOutcome::Removed);
    assert_eq!(disown().await.unwrap(), DisownOutcome::Invalid);
    let gone = store.find_session_of_user(session.id, user.id, START).unwrap();
    assert_eq!(gone, SessionOfUser::NoUser);
    assert_eq!((store.count_users().unwrap(), store.count_mail().unwrap()), (0, 0));
    assert_eq!(store.count_sessions().unwrap(), 0);
    assert!(store.find_ticket(ticket).unwrap().is_none());
    let again = registered(&store, "ann@example.com", 2).await;
    assert_eq!(again.id, UserId(2));
    let login = store.find_login(&again.email, client(1).block()).unwrap().unwrap();
    assert!(!login.knows_address);
}

#[tokio::test]
async fn mail_is_finished_deferred_or_given_up() {
    let store = open(Memory::default());
    for number in 1..=3 {
        registered(&store, &format!("user{number}@example.com"), number).await;
    }
    store.finish_mail(MailId(1), at(START)).await.unwrap();
    store.defer_mail(MailId(2), START.saturating_add(HOUR), at(START)).await.unwrap();
    store.fail_mail(MailId(3), "550".to_owned(), at(START)).await.unwrap();
    assert!(due_mail(&store, START).is_empty());
    assert_eq!(store.find_next_due(START), Ok(Some(START.saturating_add(HOUR))));
    let due = due_mail(&store, START.saturating_add(HOUR));
    assert_eq!(
        due.iter().map(|item| (item.mail.id, item.mail.attempts)).collect::<Vec<_>>(),
        [(MailId(2), 1)]
    );
    assert_eq!(store.find_next_due(START.saturating_add(HOUR)), Ok(None));
    let waiting = store.find_mail_after(None).unwrap();
    assert_eq!(waiting.last(), Some(MailId(2)), "a restart looks at mail that is not due yet");
    assert_eq!(store.find_mail_after(Some(MailId(2))).unwrap().last(), None);
    assert_eq!(store.find_last_mail(), Ok(Some(MailId(2))));
    let found = |latest| store.find_due_mail(START, latest, |_| false).unwrap().last();
    assert_eq!((found(HOUR), found(HOUR / 2)), (None, Some(MailId(2))), "no honest clock said so");
}

#[tokio::test]
async fn a_sweep_removes_what_is_over_and_files_anew_what_was_extended() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let (left, kept) = (opened(&store, &user, 1).await, opened(&store, &user, 2).await);
    let later = after(DAY - HOUR);
    store.rotate_session(presented(&kept, 0), LIFETIMES, later).await.unwrap();
    let limits = SweepLimits { batch: 1, keep_failed_mail: DAY, keep_events: DAY };
    let now = after(DAY + HOUR);
    let unconfirmed = Moment { confirmed: false, ..now };
    store.sweep(limits, unconfirmed).await.unwrap();
    assert_eq!(store.count_sessions().unwrap(), 2, "an unconfirmed time sweeps nothing");
    let mut rounds = 0;
    while store.sweep(limits, now).await.unwrap().is_unfinished {
        rounds += 1;
        assert!(rounds < 10, "a sweep comes to an end");
    }
    assert_eq!(store.count_sessions().unwrap(), 1);
    assert!(!is_live(&store, &left, START));
    assert!(is_live(&store, &kept, now.now));
    assert!(store.find_ticket(TicketId::from_bytes([1; 16])).unwrap().is_none());
    store.sweep(limits, after(3 * DAY)).await.unwrap();
    assert_eq!(store.count_sessions().unwrap(), 0);
}

#[tokio::test]
async fn accepting_the_clock_moves_the_mark_back_and_ends_all_sessions() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS).unwrap();
    let user = registered(&store, "ann@example.com", 1).await;
    opened(&store, &user, 1).await;
    let earlier = START.saturating_sub(DAY);
    store.accept_clock(earlier).await.unwrap();
    drop(store);
    writer.join();
    let store = open(memory);
    assert_eq!((store.mark(), store.count_sessions().unwrap()), (earlier, 0));
    assert_eq!(store.count_users().unwrap(), 1);
}

#[tokio::test]
async fn an_unconfirmed_time_does_not_move_the_mark() {
    let store = open(Memory::default());
    registered(&store, "ann@example.com", 1).await;
    let jumped = Moment { now: START.saturating_add(365 * DAY), confirmed: false };
    store.register_user(new_user("bob@example.com", None, 2), jumped).await.unwrap();
    assert_eq!(store.mark(), START);
}

/// A disk that can be told to fail, to be slow to come back, or to be full.
#[derive(Clone, Debug, Default)]
struct SickDisk {
    memory: Memory,
    state: Arc<SickState>,
}

#[derive(Debug)]
struct SickState {
    fails: AtomicBool,
    free: AtomicU64,
}

impl Default for SickState {
    fn default() -> Self {
        Self { fails: AtomicBool::new(false), free: AtomicU64::new(u64::MAX) }
    }
}

impl SickDisk {
    fn fail(&self, fails: bool) {
        self.state.fails.store(fails, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        if self.state.fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected"));
        }
        Ok(())
    }
}

impl Medium for SickDisk {
    fn open(&self, cache: usize, _: Opening) -> Result<Database, OpenError> {
        Builder::new()
            .set_cache_size(cache)
            .create_with_backend(self.clone())
            .map_err(|error| OpenError::Other(error.to_string()))
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(self.state.free.load(Ordering::SeqCst))
    }
}

impl StorageBackend for SickDisk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check()?;
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.memory.write(offset, data)
    }
}

/// Asks again until storage answers; the writer opens the database again by itself.
async fn eventually<T>(mut ask: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(StoreError::Unavailable) => tokio::task::yield_now().await,
            Err(StoreError::Corrupt) => panic!("corrupt"),
        }
    }
}

#[tokio::test]
async fn after_a_disk_failure_nothing_answered_is_lost_and_service_resumes() {
    let disk = SickDisk::default();
    let store = open(disk.clone());
    let user = registered(&store, "ann@example.com", 1).await;
    disk.fail(true);
    let refused = store.register_user(new_user("bob@example.com", None, 2), at(START)).await;
    assert_eq!(refused, Err(StoreError::Unavailable));
    assert_eq!(store.health(), Health::Away);
    assert!(store.find_user(user.id).is_err());
    disk.fail(false);
    let found = eventually(async || store.find_user(user.id)).await;
    assert_eq!(found, Some(user));
    assert_eq!(store.health(), Health::Fine);
    eventually(async || store.register_user(new_user("cid@example.com", None, 3), at(START)).await)
        .await;
}

#[tokio::test]
async fn a_failed_read_makes_the_database_be_opened_again() {
    let disk = SickDisk::default();
    let (store, writer) = Store::open(disk.clone(), SETTINGS).unwrap();
    registered(&store, "ann@example.com", 1).await;
    drop(store);
    writer.join();
    // Without a cache every read goes to the disk.
    let store = Store::open(disk.clone(), StoreSettings { cache: 0, ..SETTINGS }).unwrap().0;
    disk.fail(true);
    assert_eq!(store.find_user(UserId(1)), Err(StoreError::Unavailable));
    disk.fail(false);
    assert!(eventually(async || store.find_user(UserId(1))).await.is_some());
}

#[tokio::test]
async fn below_min_free_writes_are_refused_and_reads_go_on() {
    let disk = SickDisk::default();
    let store = open(disk.clone());
    let user = registered(&store, "ann@example.com", 1).await;
    disk.state.free.store(999, Ordering::SeqCst);
    let refused = store.register_user(new_user("bob@example.com", None, 2), at(START)).await;
    assert_eq!(refused, Err(StoreError::Unavailable));
    assert_eq!(store.health(), Health::LowSpace);
    assert_eq!(store.find_user(user.id).unwrap(), Some(user));
    disk.state.free.store(1_000, Ordering::SeqCst);
    registered(&store, "bob@example.com", 3).await;
    assert_eq!((store.count_users().unwrap(), store.health()), (2, Health::Fine));
}

#[tokio::test]
async fn a_session_whose_end_cannot_be_written_is_refused_until_it_can() {
    let disk = SickDisk::default();
    let store = open(disk.clone());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    for generation in [0, 1] {
        let token = presented(&session, generation);
        store.rotate_session(token, LIFETIMES, at(START)).await.unwrap();
    }
    disk.state.free.store(0, Ordering::SeqCst);
    let rotate =
        |generation| store.rotate_session(presented(&session, generation), LIFETIMES, at(START));
    assert_eq!(rotate(0).await, Err(StoreError::Unavailable));
    disk.state.free.store(u64::MAX, Ordering::SeqCst);
    assert!(!is_live(&store, &session, START));
    assert_eq!(rotate(2).await, Err(StoreError::Unavailable), "the current token neither");
    store.end_condemned_sessions(at(START)).await.unwrap();
    assert_eq!(rotate(2).await, Ok(Rotated::Refused(Refused::NoSession)));
    assert_eq!(store.count_sessions().unwrap(), 0);
}

#[tokio::test]
async fn a_corrupt_record_fails_alone() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS).unwrap();
    let user = registered(&store, "ann@example.com", 1).await;
    drop(store);
    writer.join();
    let database = memory.open(1 << 20, Opening::First).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(tables::USERS).unwrap().insert(1, &b"{\"email\":"[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);

    let store = open(memory);
    assert_eq!(store.find_user(user.id), Err(StoreError::Corrupt));
    let mut under_way = tokio::task::JoinSet::new();
    for number in 2..10 {
        let (store, user) = (store.clone(), user.clone());
        under_way.spawn(async move {
            if number % 2 == 0 {
                let opened = store.open_session(opening(&user, number, START), at(START)).await;
                assert_eq!(opened, Err(StoreError::Corrupt));
            } else {
                registered(&store, &format!("user{number}@example.com"), number).await;
            }
        });
    }
    under_way.join_all().await;
    assert_eq!(store.count_users().unwrap(), 5);
}

#[test]
fn a_newer_schema_is_refused() {
    let memory = Memory::default();
    let database = memory.open(1 << 20, Opening::First).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(tables::META).unwrap().insert(tables::meta::SCHEMA, 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(Store::open(memory, SETTINGS), Err(OpenError::NewerSchema(99))));
}

#[tokio::test]
async fn a_directory_holds_one_process_and_keeps_its_data() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let (store, writer) = Store::open(DataDirectory::open(&path).unwrap(), SETTINGS).unwrap();
    assert!(matches!(DataDirectory::open(&path), Err(DirectoryProblem::InUse(_))));
    let user = registered(&store, "ann@example.com", 1).await;
    drop(store);
    writer.join();
    let store = open(DataDirectory::open(&path).unwrap());
    assert_eq!(store.find_user(user.id).unwrap(), Some(user));
}

#[test]
fn a_directory_that_others_may_look_into_is_refused_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o750)).unwrap();
    let problem = DataDirectory::open(path).unwrap_err().to_string();
    assert!(problem.ends_with(&format!("chmod 700 {}", path.display())), "{problem}");
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
}

#[tokio::test]
async fn a_database_that_others_may_read_is_refused_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let (store, writer) = Store::open(DataDirectory::open(&path).unwrap(), SETTINGS).unwrap();
    registered(&store, "ann@example.com", 1).await;
    drop(store);
    writer.join();
    let database = path.join("latchkey.redb");
    for mode in [0o640, 0o604, 0o602, 0o610] {
        std::fs::set_permissions(&database, std::fs::Permissions::from_mode(mode)).unwrap();
        let problem = DataDirectory::open(&path).unwrap_err().to_string();
        assert!(problem.ends_with(&format!("chmod 600 {}", database.display())), "{problem}");
    }
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o600)).unwrap();
    let store = open(DataDirectory::open(&path).unwrap());
    assert_eq!(store.count_users(), Ok(1));
}

#[test]
fn a_half_made_database_is_made_anew() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    drop(DataDirectory::open(&path).unwrap());
    std::fs::write(path.join("latchkey.redb.new"), b"half").unwrap();
    let (_store, _writer) = Store::open(DataDirectory::open(&path).unwrap(), SETTINGS).unwrap();
    assert!(!path.join("latchkey.redb.new").exists());
}

fn authorised(session: &Session) -> Authorised {
    Authorised { user: session.user, session: session.id, client: client(1) }
}

fn ticket(number: u8) -> NewTicket {
    NewTicket { id: TicketId::from_bytes([number; 16]), expires_at: START.saturating_add(HOUR) }
}

fn reset_request(email: &str, number: u8, per_day: u32) -> ResetRequest {
    ResetRequest {
        email: Email::parse(email).unwrap(),
        ticket: ticket(number),
        message_id: MessageId::from_bytes([number; 16]),
        mail_limit: MailLimit(std::num::NonZeroU32::new(per_day)),
        client: client(1),
    }
}

fn new_hash(number: u8) -> NewPasswordHash {
    NewPasswordHash {
        password: PasswordHash::new(format!("$argon2id$new{number}")),
        message_id: MessageId::from_bytes([number; 16]),
    }
}

fn email_change(email: &str, version: u64, number: u8) -> AccountChange {
    let change = EmailChange {
        email: Email::parse(email).unwrap(),
        credential_version: version,
        tickets: [ticket(number), ticket(number + 1)],
        message_ids: [MessageId::from_bytes([number; 16]); 2],
        mail_limit: MailLimit(None),
    };
    AccountChange { email: Some(change), ..AccountChange::default() }
}

async fn changed(store: &Store, session: &Session, change: AccountChange) -> User {
    match store.change_account(authorised(session), change, at(START)).await.unwrap() {
        Changed::Done(user) => user,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_opened_on_an_old_password_is_refused_after_a_reset() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let checked = opening(&user, 1, START);
    store.request_password_reset(reset_request("ann@example.com", 9, 5), at(START)).await.unwrap();
    let reset = store
        .reset_password(TicketId::from_bytes([9; 16]), new_hash(9), client(1), at(START))
        .await
        .unwrap();
    assert!(matches!(reset, ResetOutcome::Done(user) if user.is_email_verified));
    assert!(!store.open_session(checked, at(START)).await.unwrap());
    assert_eq!(store.count_sessions().unwrap(), 0);
}

#[tokio::test]
async fn a_reset_ends_everything_that_was_open() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    changed(&store, &session, email_change("new@example.com", 0, 5)).await;
    store.request_password_reset(reset_request("ann@example.com", 9, 5), at(START)).await.unwrap();
    let reset = TicketId::from_bytes([9; 16]);
    store.reset_password(reset, new_hash(9), client(1), at(START)).await.unwrap();
    assert_eq!(store.count_sessions().unwrap(), 0);
    let revoked = store.find_revocations(START).unwrap();
    assert_eq!(revoked.digests, [session.id.digest()]);
    let change = TicketId::from_bytes([5; 16]);
    let confirmed = store
        .confirm_email_change(change, MessageId::from_bytes([0; 16]), client(1), at(START))
        .await;
    assert_eq!(confirmed, Ok(ConfirmChangeOutcome::Invalid));
    let again = store.reset_password(reset, new_hash(9), client(1), at(START)).await;
    assert_eq!(again, Ok(ResetOutcome::Invalid), "a link resets once");
    let found = store.find_user(user.id).unwrap().unwrap();
    assert_eq!((found.pending_email, found.credential_version), (None, 1));
}

#[tokio::test]
async fn asking_again_mails_the_same_link_within_the_limit_of_the_mailbox() {
    let store = open(Memory::default());
    registered(&store, "ann@example.com", 1).await;
    let ask = async |email: &str, number| {
        let before = store.count_mail().unwrap();
        let request = reset_request(email, number, 5);
        let answer = store.request_password_reset(request, at(START)).await.unwrap();
        (answer, store.count_mail().unwrap() - before)
    };
    assert_eq!(ask("ann@example.com", 7).await, (Requested::Queued, 1));
    assert_eq!(ask("ANN@example.com", 8).await, (Requested::Queued, 1));
    assert_eq!(ask("ann@example.com", 9).await, (Requested::Nothing, 0));
    assert_eq!(ask("nobody@example.com", 6).await, (Requested::Nothing, 0));
    assert!(store.find_ticket(TicketId::from_bytes([7; 16])).unwrap().is_some());
    assert!(store.find_ticket(TicketId::from_bytes([8; 16])).unwrap().is_none());
}

#[tokio::test]
async fn a_change_of_password_keeps_one_session() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let (kept, other) = (opened(&store, &user, 1).await, opened(&store, &user, 2).await);
    let change = |version| PasswordChange {
        by: authorised(&kept),
        credential_version: version,
        new: new_hash(3),
    };
    assert!(!store.change_password(change(7), at(START)).await.unwrap());
    assert!(is_live(&store, &other, START), "a refused change changes nothing");
    assert!(store.change_password(change(0), at(START)).await.unwrap());
    assert_eq!([&kept, &other].map(|session| is_live(&store, session, START)), [true, false]);
    assert!(!store.change_password(change(0), at(START)).await.unwrap(), "the version moved");
}

#[tokio::test]
async fn an_address_changes_when_its_link_is_confirmed_and_not_before() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let pending = changed(&store, &session, email_change("new@example.com", 0, 5)).await;
    assert_eq!(pending.email, user.email);
    assert_eq!(pending.pending_email.unwrap().email.as_str(), "new@example.com");
    let confirm = || {
        let id = TicketId::from_bytes([5; 16]);
        store.confirm_email_change(id, MessageId::from_bytes([0; 16]), client(1), at(START))
    };
    let ConfirmChangeOutcome::Changed(after) = confirm().await.unwrap() else { panic!("refused") };
    assert_eq!(after.email.as_str(), "new@example.com");
    assert_eq!((after.is_email_verified, after.credential_version), (true, 1));
    assert_eq!(confirm().await.unwrap(), ConfirmChangeOutcome::AlreadyChanged);
    assert!(is_live(&store, &session, START));
    assert!(store.find_login(&user.email, client(1).block()).unwrap().is_none());
    let verification = TicketId::from_bytes([1; 16]);
    assert!(store.find_ticket(verification).unwrap().is_none(), "all other tickets are void");
    assert_eq!(registered(&store, "ann@example.com", 9).await.id, UserId(2));
}

#[tokio::test]
async fn a_change_of_address_is_refused_when_someone_else_was_faster() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    changed(&store, &session, email_change("new@example.com", 0, 5)).await;
    registered(&store, "new@example.com", 9).await;
    let id = TicketId::from_bytes([5; 16]);
    let confirm =
        || store.confirm_email_change(id, MessageId::from_bytes([0; 16]), client(1), at(START));
    assert_eq!(confirm().await.unwrap(), ConfirmChangeOutcome::Taken);
    assert_eq!(confirm().await.unwrap(), ConfirmChangeOutcome::Invalid);
    let found = store.find_user(user.id).unwrap().unwrap();
    assert_eq!((found.email, found.pending_email), (user.email, None));
    let taken = store
        .change_account(authorised(&session), email_change("new@example.com", 0, 7), at(START))
        .await;
    assert_eq!(taken, Ok(Changed::Taken(Taken { email: true, username: false })));
}

#[tokio::test]
async fn a_change_of_address_is_called_off_from_either_address() {
    use crate::domain::Purpose::{CancelEmailChange, ChangeEmail};
    for (number, purpose) in [(5, ChangeEmail), (6, CancelEmailChange)] {
        let store = open(Memory::default());
        let user = registered(&store, "ann@example.com", 1).await;
        let session = opened(&store, &user, 1).await;
        changed(&store, &session, email_change("new@example.com", 0, 5)).await;
        let cancel = || {
            let id = TicketId::from_bytes([number; 16]);
            store.cancel_email_change(id, purpose, client(1), at(START))
        };
        assert_eq!(cancel().await.unwrap(), CancelOutcome::Cancelled);
        assert_eq!(cancel().await.unwrap(), CancelOutcome::Invalid);
        assert_eq!(store.find_user(user.id).unwrap(), Some(user));
        assert!(is_live(&store, &session, START));
    }
}

#[tokio::test]
async fn a_name_changes_at_once_and_frees_the_old_one() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let named = |name: Option<&str>| AccountChange {
        username: Some(name.map(|name| Username::parse(name).unwrap())),
        ..AccountChange::default()
    };
    changed(&store, &session, named(Some("Ann"))).await;
    let other = registered(&store, "bob@example.com", 2).await;
    let others = opened(&store, &other, 2).await;
    let taken = store.change_account(authorised(&others), named(Some("ANN")), at(START)).await;
    assert_eq!(taken, Ok(Changed::Taken(Taken { email: false, username: true })));
    changed(&store, &session, named(Some("ANN"))).await;
    changed(&store, &session, named(None)).await;
    let renamed = changed(&store, &others, named(Some("ann"))).await;
    assert_eq!(renamed.username.unwrap().as_str(), "ann");
}

#[tokio::test]
async fn an_ended_session_writes_no_more() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    assert!(store.log_out(authorised(&session), at(START)).await.unwrap());
    assert!(!store.log_out(authorised(&session), at(START)).await.unwrap());
    let by = || authorised(&session);
    let change = email_change("new@example.com", 0, 5);
    assert_eq!(store.change_account(by(), change, at(START)).await, Ok(Changed::NotAuthorised));
    assert_eq!(store.end_session(by(), session.id, at(START)).await, Ok(None));
    assert_eq!(store.end_all_sessions(by(), at(START)).await, Ok(false));
    let message = MessageId::from_bytes([0; 16]);
    assert_eq!(store.delete_user(by(), 0, message, at(START)).await, Ok(false));
    assert_eq!(store.find_user(user.id).unwrap(), Some(user));
}

#[tokio::test]
async fn a_user_ends_own_sessions_and_no_others() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let (here, there) = (opened(&store, &user, 1).await, opened(&store, &user, 2).await);
    let other = registered(&store, "bob@example.com", 2).await;
    let others = opened(&store, &other, 3).await;
    let end = |id| store.end_session(authorised(&here), id, at(START));
    assert_eq!(end(others.id).await, Ok(Some(false)));
    assert_eq!(end(there.id).await, Ok(Some(true)));
    let listed: Vec<_> =
        store.find_sessions(user.id, START).unwrap().iter().map(|session| session.id).collect();
    assert_eq!(listed, [here.id]);
    assert!(is_live(&store, &others, START));
    assert_eq!(store.end_all_sessions(authorised(&here), at(START)).await, Ok(true));
    assert_eq!(store.find_sessions(user.id, START).unwrap(), []);
    assert!(is_live(&store, &others, START));
}

#[tokio::test]
async fn a_deleted_account_leaves_a_mail_and_a_free_address() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let message = MessageId::from_bytes([0; 16]);
    let deleted = store.delete_user(authorised(&session), 0, message, at(START)).await;
    assert_eq!(deleted, Ok(true));
    let mails = due_mail(&store, START);
    assert_eq!(mails.len(), 1, "queued mail goes with the account");
    assert_eq!(mails[0].mail.kind, crate::domain::MailKind::AccountDeleted);
    assert_eq!(registered(&store, "ann@example.com", 2).await.id, UserId(2));
}

#[tokio::test]
async fn the_mark_of_an_ended_session_lives_as_long_as_its_access_tokens() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    store.log_out(authorised(&session), at(START)).await.unwrap();
    let marks = |now: Moment| store.find_revocations(now.now).unwrap();
    assert_eq!(marks(at(START)).digests, [session.id.digest()]);
    assert!(marks(at(START)).is_complete);
    assert_eq!(marks(after(HOUR)).digests, [[0; 16]; 0]);
    let limits = SweepLimits { batch: 10, keep_failed_mail: DAY, keep_events: DAY };
    store.sweep(limits, after(HOUR)).await.unwrap();
    assert_eq!(marks(at(START)).digests, [[0; 16]; 0]);
}

#[tokio::test]
async fn a_token_reused_while_storage_was_away_ends_its_session_when_it_is_back() {
    let disk = SickDisk::default();
    let store = open(disk.clone());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    for generation in [0, 1] {
        let token = presented(&session, generation);
        store.rotate_session(token, LIFETIMES, at(START)).await.unwrap();
    }
    disk.fail(true);
    let token = presented(&session, 0);
    assert!(store.rotate_session(token, LIFETIMES, at(START)).await.is_err());
    disk.fail(false);
    eventually(async || store.find_user(user.id)).await;
    assert!(!is_live(&store, &session, START));
    eventually(async || store.end_condemned_sessions(at(START)).await).await;
    assert_eq!(store.count_sessions().unwrap(), 0);
    assert_eq!(events_of(&store, EventKind::RefreshTokenReused).len(), 1);
}

#[tokio::test]
async fn a_refresh_that_failed_with_the_disk_is_not_held_against_its_owner() {
    let disk = SickDisk::default();
    let store = open(disk.clone());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    disk.fail(true);
    let refused = store.rotate_session(presented(&session, 0), LIFETIMES, at(START)).await;
    assert!(refused.is_err());
    disk.fail(false);
    let rotated = eventually(async || {
        store.rotate_session(presented(&session, 0), LIFETIMES, at(START)).await
    })
    .await;
    assert!(matches!(rotated, Rotated::New(_) | Rotated::Same(_)), "{rotated:?}");
}

#[tokio::test]
async fn a_database_that_is_gone_after_a_failure_is_not_made_anew() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let directory = DataDirectory::open(&path).unwrap();
    drop(directory.open(1 << 20, Opening::First).unwrap());
    std::fs::rename(path.join("latchkey.redb"), path.join("away")).unwrap();
    assert!(directory.open(1 << 20, Opening::Again).is_err());
    assert!(!path.join("latchkey.redb").exists());
    std::fs::write(path.join("latchkey.redb"), b"").unwrap();
    let opened = directory.open(1 << 20, Opening::Again);
    let prepared = opened.and_then(|database| writer::prepare(&database, Opening::Again));
    assert!(prepared.is_err());
}

#[tokio::test]
async fn a_panic_while_writing_takes_one_caller_with_it() {
    let store = open(Memory::default());
    let panicked = store.write(|_| -> Result<(), Fault> { panic!("planted") }).await;
    assert_eq!(panicked, Err(StoreError::Corrupt));
    registered(&store, "ann@example.com", 1).await;
}

#[tokio::test]
async fn space_that_came_back_is_noticed_without_a_write() {
    let disk = SickDisk::default();
    let store = open(disk.clone());
    disk.state.free.store(0, Ordering::SeqCst);
    assert!(store.end_condemned_sessions(at(START)).await.is_ok());
    let new = new_user("ann@example.com", None, 1);
    assert_eq!(store.register_user(new, at(START)).await, Err(StoreError::Unavailable));
    assert_eq!(store.health(), Health::LowSpace);
    disk.state.free.store(u64::MAX, Ordering::SeqCst);
    store.look_at_space();
    while store.health() != Health::Fine {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_corrupt_record_does_not_keep_others_from_being_swept() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS).unwrap();
    let user = registered(&store, "ann@example.com", 1).await;
    let (first, _second) = (opened(&store, &user, 1).await, opened(&store, &user, 2).await);
    drop(store);
    writer.join();
    let database = memory.open(1 << 20, Opening::First).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(tables::SESSIONS)
        .unwrap()
        .insert(first.id.as_bytes(), &b"{"[..])
        .unwrap();
    transaction.open_table(tables::TICKETS).unwrap().insert(&[1; 16], &b"{"[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let store = open(memory);
    let limits = SweepLimits { batch: 1, keep_failed_mail: DAY, keep_events: DAY };
    for _ in 0..3 {
        store.sweep(limits, after(3 * DAY)).await.unwrap();
    }
    assert_eq!(store.count_sessions().unwrap(), 1, "only the one that cannot be read is left");
}

/// A medium whose writer stands still before its first batch, until the other end of `gate` is
/// dropped.
struct Gated {
    memory: Memory,
    gate: std::sync::mpsc::Receiver<()>,
    reached: std::sync::mpsc::Sender<()>,
}

impl Medium for Gated {
    fn open(&self, cache: usize, opening: Opening) -> Result<Database, OpenError> {
        self.memory.open(cache, opening)
    }

    fn free_space(&self) -> io::Result<u64> {
        let _ = self.reached.send(());
        let _ = self.gate.recv();
        Ok(u64::MAX)
    }
}

#[tokio::test]
async fn a_write_that_finds_the_queue_full_is_refused_at_once() {
    let (closed, gate) = std::sync::mpsc::channel();
    let (reached, has_reached) = std::sync::mpsc::channel();
    let medium = Gated { memory: Memory::default(), gate, reached };
    let settings = StoreSettings { write_queue: NonZeroUsize::new(8).unwrap(), ..SETTINGS };
    let store = Store::open(medium, settings).unwrap().0;
    let write = |number: u8| {
        let user = new_user(&format!("user{number}@example.com"), None, number);
        Box::pin(store.register_user(user, at(START)))
    };
    let mut writes = vec![write(0)];
    assert!(begun(&mut writes[0]).await.is_pending());
    has_reached.recv().unwrap();
    // The writer has the first in its hands; the queue is empty, and takes eight.
    for number in 1..=8 {
        writes.push(write(number));
        assert!(begun(writes.last_mut().unwrap()).await.is_pending(), "{number}");
    }
    let refused = begun(&mut write(9)).await;
    assert!(matches!(refused, Poll::Ready(Err(StoreError::Unavailable))), "{refused:?}");
    drop(closed);
    for write in writes {
        assert!(matches!(write.await, Ok(RegisterOutcome::Registered(_))));
    }
    assert_eq!(store.count_users(), Ok(9));
}

/// Has a future begin, and says what it comes to if it does not have to wait.
async fn begun<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}
