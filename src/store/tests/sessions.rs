//! Sessions: opened, rotated, reused and ended, and what is noted of it.

use proptest::prelude::*;

use super::*;
use crate::domain::Theft;

#[tokio::test]
async fn what_was_answered_is_there_when_the_database_is_opened_again() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let rotated = store.rotate_session(presented(&session, 0), at(START), Session::clone).await;
    assert!(matches!(rotated, Ok(Ok(_))));
    drop(store);
    writer.join();
    let store = open(memory);
    assert_eq!(store.last_commit(), START);
    assert_eq!(store.find_user(user.id).unwrap(), Some(user));
    let again =
        store.rotate_session(presented(&session, 0), at(START), Session::clone).await.unwrap();
    assert!(matches!(again, Ok(session) if session.generation == 1));
}

#[tokio::test]
async fn many_refreshes_of_one_token_have_one_successor() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (store, token) = (store.clone(), presented(&session, 0));
        under_way.spawn(async move {
            store.rotate_session(token, at(START), Session::clone).await.unwrap()
        });
    }
    let mut successors = under_way.join_all().await;
    successors.dedup();
    assert!(matches!(&successors[..], [Ok(session)] if session.generation == 1));
}

#[tokio::test]
async fn what_is_foreseen_of_a_rotation_changes_nothing_and_comes_true() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let foresee = |generation| store.foresee_rotation(&presented(&session, generation), START);
    let foreseen = foresee(0).unwrap();
    assert_eq!(foresee(0).as_ref(), Some(&foreseen));
    let rotated = store.rotate_session(presented(&session, 0), at(START), Session::clone).await;
    assert_eq!(rotated.unwrap(), Ok(foreseen));
    assert_eq!([0, 7].map(foresee), [None, None], "a repeated token and one that is ahead");
    assert_eq!(foresee(1).map(|session| session.generation), Some(2));
}

#[tokio::test]
async fn a_reused_token_ends_its_session_and_no_other() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let (stolen, other) = (opened(&store, &user, 1).await, opened(&store, &user, 2).await);
    for generation in [0, 1] {
        let token = presented(&stolen, generation);
        store.rotate_session(token, at(START), Session::clone).await.unwrap().unwrap();
    }
    let reused =
        store.rotate_session(presented(&stolen, 0), at(START), Session::clone).await.unwrap();
    assert_eq!(reused, Err(Refused::Reused(Theft::SuccessorUsed)));
    assert!(!is_live(&store, &stolen, START));
    assert!(is_live(&store, &other, START));
    let current =
        store.rotate_session(presented(&stolen, 2), at(START), Session::clone).await.unwrap();
    assert_eq!(current, Err(Refused::NoSession));
    let events = events_of(&store, EventKind::RefreshTokenReused);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].session, Some(stolen.id));
}

#[tokio::test]
async fn the_grace_used_from_elsewhere_is_an_event_and_changes_nothing_else() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    store.rotate_session(presented(&session, 0), at(START), Session::clone).await.unwrap().unwrap();
    store.rotate_session(presented(&session, 0), at(START), Session::clone).await.unwrap().unwrap();
    assert_eq!(events_of(&store, EventKind::GraceUsedElsewhere), []);
    for _ in 0..3 {
        let token = Presented { client: client(9), ..presented(&session, 0) };
        let rotated = store.rotate_session(token, at(START), Session::clone).await.unwrap();
        assert!(matches!(rotated, Ok(session) if session.generation == 1));
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
        let rotated = store.rotate_session(token, at(START), Session::clone).await.unwrap();
        assert_eq!(rotated, Err(Refused::Ahead));
    }
    let addresses: Vec<_> = store
        .events(0, 10)
        .unwrap()
        .iter()
        .map(|event| event.by.client().unwrap().address)
        .collect();
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
async fn one_session_too_many_ends_a_forgotten_one_or_the_one_rotated_longest_ago() {
    let store = Store::open(
        Memory::default(),
        SETTINGS,
        Policy { sessions_per_user: NonZeroUsize::new(3).unwrap(), ..POLICY },
    );
    let store = store.unwrap().0;
    let user = registered(&store, "ann@example.com", 1).await;
    let oldest = opened(&store, &user, 1).await;
    let forgotten = opened(&store, &user, 2).await;
    let rotate = async |session, generation, now| {
        let token = presented(session, generation);
        store.rotate_session(token, now, Session::clone).await.unwrap().unwrap();
    };
    rotate(&oldest, 0, after(HOUR / 2)).await;
    let log_in = async |number, now: Moment| {
        let opening = opening(&user, number, now.now);
        assert!(store.open_session(opening.clone(), now).await.unwrap());
        opening.session
    };
    let young = log_in(3, after(HOUR)).await;
    // Opened after the oldest, and never rotated since its access token expired.
    let next = log_in(4, after(HOUR)).await;
    let live = |all: [&Session; 3]| all.map(|session| is_live(&store, session, after(HOUR).now));
    assert_eq!(live([&oldest, &forgotten, &young]), [true, false, true]);
    // None of those three is forgotten, and the oldest was rotated before the others were opened.
    let last = log_in(5, after(HOUR)).await;
    assert_eq!(live([&oldest, &young, &next]), [false, true, true]);
    rotate(&young, 0, after(HOUR + HOUR / 2)).await;
    log_in(6, after(HOUR + HOUR / 2)).await;
    assert_eq!(live([&young, &next, &last]), [true, false, true], "rotated longest ago");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Two holders present whatever tokens of a session there are, one after the other or at once.
    /// Every token leads to one successor only, and none is good after the first one expired once
    /// that has been shown after the grace.
    #[test]
    fn no_order_of_presents_gives_a_token_two_successors(
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..20_000), 1..20),
        keep_first in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let policy = Policy { sessions: SessionLifetimes { keep_first, ..LIFETIMES }, ..POLICY };
            let store = Store::open(Memory::default(), SETTINGS, policy).unwrap().0;
            let user = registered(&store, "ann@example.com", 1).await;
            let mut line = vec![opened(&store, &user, 1).await];
            let first_end = line[0].token_expires_at;
            let (mut now, mut bound, mut ended) = (START, false, false);
            for (which, seconds) in steps {
                now = now.saturating_add(Duration::from_secs(seconds));
                let generation = which.index(line.len());
                let expires_at = line[generation].token_expires_at;
                if now >= expires_at {
                    continue;
                }
                let token = Presented {
                    expires_at,
                    ..presented(&line[generation], generation as u64)
                };
                let both = [token.clone(), token].map(|token| {
                    let store = store.clone();
                    tokio::spawn(async move {
                        store.rotate_session(token, at(now), Session::clone).await.unwrap()
                    })
                });
                let newest = line.len() - 1;
                let is_late = now.saturating_since(line[newest].rotated_at) > LIFETIMES.reuse_grace;
                for presented in both {
                    match presented.await.unwrap() {
                        Ok(session) => {
                            assert!(!ended && session.generation == generation as u64 + 1);
                            assert!(generation + 1 >= newest);
                            bound |= generation + 1 == newest && is_late;
                            assert!(!bound || session.expires_at() <= first_end);
                            assert!(generation == newest || !is_late || (keep_first && generation == 0));
                            line.truncate(generation + 1);
                            line.push(session);
                        }
                        Err(Refused::Reused(_)) => {
                            assert!(generation < newest && !ended);
                            ended = true;
                        }
                        Err(Refused::NoSession) => assert!(ended || bound),
                        Err(refused) => panic!("{refused:?}"),
                    }
                }
            }
        });
    }
}

#[tokio::test]
async fn a_session_ends_with_the_opening_of_the_one_that_replaces_it() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let (here, there) = (opened(&store, &user, 1).await, opened(&store, &user, 2).await);
    let replacing = |session, number| NewSession {
        former: vec![authorised(session)],
        ..opening(&user, number, START)
    };
    let mut stale = replacing(&here, 3);
    stale.authentication.credential_version = 7;
    assert!(!store.open_session(stale, at(START)).await.unwrap());
    assert!(is_live(&store, &here, START), "an opening that is refused ends nothing");
    let opening = replacing(&here, 4);
    assert!(store.open_session(opening.clone(), at(START)).await.unwrap());
    let live = [&here, &there, &opening.session].map(|session| is_live(&store, session, START));
    assert_eq!(live, [false, true, true], "there was room already");
    assert_eq!(store.find_revocations(START).unwrap().digests, [here.id.digest()]);
    let ended = events_of(&store, EventKind::SessionEnded);
    assert_eq!(ended.iter().map(|event| event.session).collect::<Vec<_>>(), [Some(here.id)]);
    let again = replacing(&here, 5);
    assert!(store.open_session(again, at(START)).await.unwrap(), "ended already");
}

#[tokio::test]
async fn a_session_is_refused_when_the_credentials_have_moved() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let mut stale = opening(&user, 1, START);
    stale.authentication.credential_version = 7;
    assert!(!store.open_session(stale, at(START)).await.unwrap());
    assert_eq!(store.count_sessions().unwrap(), 0);
    let login = store.find_login(&user.email, client(1).block()).unwrap().unwrap();
    assert!(!login.knows_address);
}

#[tokio::test]
async fn an_ended_session_writes_no_more() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    assert!(store.log_out(authorised(&session), at(START)).await.unwrap());
    assert!(!store.log_out(authorised(&session), at(START)).await.unwrap());
    let by = || acting(&session);
    let change = email_change("new@example.com", 0, 5);
    assert_eq!(
        store.change_account(by(), user.id, change, at(START)).await,
        Ok(Changed::NotAuthorised)
    );
    assert_eq!(store.end_session(by(), user.id, session.id, at(START)).await, Ok(None));
    assert_eq!(store.end_all_sessions(by(), user.id, at(START)).await, Ok(false));
    assert_eq!(store.delete_user(by(), user.id, 0, FAREWELL, at(START)).await, Ok(false));
    assert_eq!(store.find_user(user.id).unwrap(), Some(user));
}

#[tokio::test]
async fn a_user_ends_own_sessions_and_no_others() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let (here, there) = (opened(&store, &user, 1).await, opened(&store, &user, 2).await);
    let other = registered(&store, "bob@example.com", 2).await;
    let others = opened(&store, &other, 3).await;
    let end = |id| store.end_session(acting(&here), here.user, id, at(START));
    assert_eq!(end(others.id).await, Ok(Some(false)));
    assert_eq!(end(there.id).await, Ok(Some(true)));
    let listed: Vec<_> =
        store.find_sessions(user.id, START).unwrap().iter().map(|session| session.id).collect();
    assert_eq!(listed, [here.id]);
    assert!(is_live(&store, &others, START));
    assert_eq!(store.end_all_sessions(acting(&here), here.user, at(START)).await, Ok(true));
    assert_eq!(store.find_sessions(user.id, START).unwrap(), []);
    assert!(is_live(&store, &others, START));
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
    store.sweep(10, after(HOUR)).await.unwrap();
    assert_eq!(marks(at(START)).digests, [[0; 16]; 0]);
}

#[tokio::test]
async fn above_its_number_the_list_of_ended_sessions_says_that_it_is_not_complete() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    drop(store);
    writer.join();
    // Marks that are about to go and nearly fill the list.
    let soon = START.saturating_add(HOUR / 2).as_micros();
    let database = memory.open(1 << 20, Opening::First).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(list::REVOKED_SESSIONS).unwrap();
    for number in 0..99_999_u128 {
        table.insert((soon, &number.to_be_bytes()), ()).unwrap();
    }
    drop(table);
    transaction.commit().unwrap();
    drop(database);

    let store = open(memory);
    let other = opened(&store, &user, 2).await;
    let list = |now: Moment| {
        let revocations = store.find_revocations(now.now).unwrap();
        (revocations.digests.len(), revocations.is_complete)
    };
    store.log_out(authorised(&session), at(START)).await.unwrap();
    assert_eq!(list(at(START)), (100_000, true));
    store.log_out(authorised(&other), at(START)).await.unwrap();
    assert_eq!(list(at(START)), (100_000, false), "the one that would have gone first is left out");
    let digests = store.find_revocations(START).unwrap().digests;
    assert!(digests.contains(&session.id.digest()) && digests.contains(&other.id.digest()));
    // Once that one would have gone, nothing is missing.
    assert_eq!(list(after(HOUR / 2 - Duration::from_secs(1))), (100_000, false));
    assert_eq!(list(after(HOUR / 2)), (2, true));
}
