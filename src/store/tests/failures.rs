//! What a failing disk and a corrupt record do, and what they do not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::{Builder, Database, StorageBackend};

use super::*;

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

/// A session of Ann's whose first two tokens are superseded.
async fn rotated_twice(store: &Store) -> Session {
    let user = registered(store, "ann@example.com", 1).await;
    let session = opened(store, &user, 1).await;
    for generation in [0, 1] {
        let token = presented(&session, generation);
        store.rotate_session(token, at(START), Session::clone).await.unwrap().unwrap();
    }
    session
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
    let (store, writer) = Store::open(disk.clone(), SETTINGS, POLICY).unwrap();
    registered(&store, "ann@example.com", 1).await;
    drop(store);
    writer.join();
    // Without a cache every read goes to the disk.
    let store =
        Store::open(disk.clone(), EngineSettings { cache: 0, ..SETTINGS }, POLICY).unwrap().0;
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
    let session = rotated_twice(&store).await;
    disk.state.free.store(0, Ordering::SeqCst);
    let rotate = |generation| {
        store.rotate_session(presented(&session, generation), at(START), Session::clone)
    };
    assert_eq!(rotate(0).await, Err(StoreError::Unavailable));
    disk.state.free.store(u64::MAX, Ordering::SeqCst);
    assert!(!is_live(&store, &session, START));
    assert_eq!(rotate(2).await, Err(StoreError::Unavailable), "the current token neither");
    store.write_pending_ends(at(START)).await.unwrap();
    assert_eq!(rotate(2).await, Ok(Err(Refused::NoSession)));
    assert_eq!(store.count_sessions().unwrap(), 0);
}

#[tokio::test]
async fn a_corrupt_record_fails_alone() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let user = registered(&store, "ann@example.com", 1).await;
    drop(store);
    writer.join();
    tamper(&memory, |write| {
        write.open_table(list::USERS).unwrap().insert(1, &b"{\"email\":"[..]).unwrap();
    });
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

#[tokio::test]
async fn a_token_reused_while_storage_was_away_ends_its_session_when_it_is_back() {
    let disk = SickDisk::default();
    let store = open(disk.clone());
    let session = rotated_twice(&store).await;
    disk.fail(true);
    let token = presented(&session, 0);
    assert!(store.rotate_session(token, at(START), Session::clone).await.is_err());
    disk.fail(false);
    eventually(async || store.find_user(session.user)).await;
    assert!(!is_live(&store, &session, START));
    eventually(async || store.write_pending_ends(at(START)).await).await;
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
    let refused = store.rotate_session(presented(&session, 0), at(START), Session::clone).await;
    assert!(refused.is_err());
    disk.fail(false);
    let rotated = eventually(async || {
        store.rotate_session(presented(&session, 0), at(START), Session::clone).await
    })
    .await;
    assert!(rotated.is_ok(), "{rotated:?}");
}

#[tokio::test]
async fn a_panic_while_writing_takes_one_caller_with_it() {
    let store = open(Memory::default());
    let panicked = store.write(at(START), |_| -> Result<(), Fault> { panic!("planted") }).await;
    assert_eq!(panicked, Err(StoreError::Corrupt));
    registered(&store, "ann@example.com", 1).await;
}

#[tokio::test]
async fn space_that_came_back_is_noticed_without_a_write() {
    let disk = SickDisk::default();
    let store = open(disk.clone());
    disk.state.free.store(0, Ordering::SeqCst);
    assert!(store.write_pending_ends(at(START)).await.is_ok());
    let new = new_user("ann@example.com", None, 1);
    assert_eq!(store.register_user(new, at(START)).await, Err(StoreError::Unavailable));
    assert_eq!(store.health(), Health::LowSpace);
    disk.state.free.store(u64::MAX, Ordering::SeqCst);
    store.look_at_space();
    while store.health() != Health::Fine {
        tokio::task::yield_now().await;
    }
}
