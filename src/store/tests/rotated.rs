//! Sessions that were rotated of late lie in a table of their own, and nobody can tell.

use super::*;
use crate::store::engine::SETTLED_AT_ONCE;

const TABLES: [&str; 2] = ["sessions_1", "rotated_sessions_1"];

/// Ann with `count` sessions.
async fn ann(store: &Store, count: u8) -> Vec<Session> {
    let user = registered(store, "ann@example.com", 1).await;
    let mut sessions = Vec::new();
    for number in 0..count {
        sessions.push(opened(store, &user, number).await);
    }
    sessions
}

async fn rotated(
    store: &Store,
    session: &Session,
    generation: u64,
    now: Timestamp,
) -> Result<Session, Refused> {
    store.rotate_session(presented(session, generation), at(now), Session::clone).await.unwrap()
}

fn closed(store: Store, writer: WriterThread) {
    drop(store);
    writer.join();
}

#[tokio::test]
async fn few_lie_apart_and_every_one_has_its_newest_generation() {
    let memory = Memory::default();
    let max_rotated = SETTLED_AT_ONCE as u64 + 10;
    let settings = EngineSettings { max_rotated, ..SETTINGS };
    let policy = Policy { sessions_per_user: NonZeroUsize::MAX, ..POLICY };
    let (store, writer) = Store::open(memory.clone(), settings, policy).unwrap();
    let sessions = ann(&store, 2 * u8::try_from(max_rotated).unwrap() - 20).await;
    for generation in 0..3 {
        for session in &sessions {
            let next = rotated(&store, session, generation, START).await.unwrap();
            assert_eq!(next.generation, generation + 1);
            let apart = store.engine.read(|read| Ok(read.rotated_sessions()?.len()?)).unwrap();
            assert!((1..=max_rotated).contains(&apart), "{apart}");
        }
    }
    closed(store, writer);
    assert_eq!(lengths(&memory, &TABLES)[0], sessions.len() as u64);
    let store = open(memory);
    for session in &sessions {
        let repeated = rotated(&store, session, 2, START).await;
        assert!(matches!(repeated, Ok(same) if same.generation == 3));
        let is_it = |listed: &Session| listed.id == session.id && listed.generation == 3;
        assert!(store.find_sessions(session.user, START).unwrap().iter().any(is_it));
    }
}

#[tokio::test]
async fn one_that_ends_is_gone_from_both_tables() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let sessions = ann(&store, 1).await;
    let session = &sessions[0];
    rotated(&store, session, 0, START).await.unwrap();
    assert!(is_live(&store, session, START));
    assert_eq!(store.log_out(authorised(session), at(START)).await, Ok(true));
    assert!(!is_live(&store, session, START));
    assert_eq!(rotated(&store, session, 1, START).await, Err(Refused::NoSession));
    closed(store, writer);
    assert_eq!(lengths(&memory, &TABLES), [0, 0]);
}

#[tokio::test]
async fn all_end_when_the_clock_is_accepted() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let sessions = ann(&store, 2).await;
    let later = START.saturating_add(DAY / 2);
    rotated(&store, &sessions[0], 0, later).await.unwrap();
    // By now only the one that was rotated lives.
    store.accept_clock(START.saturating_add(DAY)).await.unwrap();
    let revoked = store.find_revocations(START).unwrap().digests;
    assert_eq!(revoked, [sessions[0].id.digest()]);
    closed(store, writer);
    assert_eq!(lengths(&memory, &TABLES), [0, 0]);
}

#[tokio::test]
async fn one_that_was_extended_is_filed_anew_as_it_is_now() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let sessions = ann(&store, 2).await;
    rotated(&store, &sessions[0], 0, START.saturating_add(DAY / 2)).await.unwrap();
    let day_after = START.saturating_add(DAY);
    store.sweep(10, at(day_after)).await.unwrap();
    assert!(is_live(&store, &sessions[0], day_after) && !is_live(&store, &sessions[1], day_after));
    let next = rotated(&store, &sessions[0], 1, day_after).await;
    assert!(matches!(next, Ok(session) if session.generation == 2));
    assert_eq!(store.log_out(authorised(&sessions[0]), at(day_after)).await, Ok(true));
    closed(store, writer);
    let index = ["sessions_by_user_1", "sessions_by_expiry_1"];
    assert_eq!(lengths(&memory, &TABLES), [0, 0]);
    assert_eq!(lengths(&memory, &index), [0, 0]);
}

#[tokio::test]
async fn a_file_from_before_there_was_such_a_table_opens() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let sessions = ann(&store, 1).await;
    closed(store, writer);
    let with_schema = |schema| {
        tamper(&memory, |write| {
            write.delete_table(list::ROTATED_SESSIONS).unwrap();
            // How many tables there are says nothing about which.
            let foreign = redb::TableDefinition::<u64, u64>::new("somebody_elses");
            drop(write.open_table(foreign).unwrap());
            write.open_table(list::META).unwrap().insert(list::meta::SCHEMA, schema).unwrap();
        });
    };
    with_schema(list::OLDEST_SCHEMA);
    let database = memory.open(1 << 20, Opening::Again).unwrap();
    let put_in_its_place = engine::prepare(&database, Opening::Again);
    assert!(matches!(put_in_its_place, Err(OpenError::OtherSchema(list::OLDEST_SCHEMA))));
    drop(database);
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let next = rotated(&store, &sessions[0], 0, START).await;
    assert!(matches!(next, Ok(session) if session.generation == 1));
    closed(store, writer);
    tamper(&memory, |write| {
        let meta = write.open_table(list::META).unwrap();
        let schema = meta.get(list::meta::SCHEMA).unwrap().unwrap().value();
        assert_eq!(schema, list::SCHEMA, "so that an older program refuses it");
    });
    with_schema(list::OLDEST_SCHEMA - 1);
    assert!(matches!(Store::open(memory, SETTINGS, POLICY), Err(OpenError::OtherSchema(_))));
}
