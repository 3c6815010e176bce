//! The promises, a test for each that no other module holds as a whole. What a promise means in every
//! corner is in the other modules.

use std::num::NonZeroUsize;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use latchkey::clock::Clock;
use latchkey::domain::UserId;
use serde_json::json;

use crate::support::{
    ANN, BOB, NOBODY, PASSWORD, TestApp, Tokens, WRONG, at_once, claims, contains,
};

#[tokio::test]
async fn promise_1_what_was_acknowledged_is_durable() {
    let (app, token) = TestApp::with_ann_invited().await;
    let first = app.log_in(ANN).await;
    // Each copy is the disk as a power cut right after the answer would leave it.
    let registered = app.registration(BOB).await;
    let after_registration = app.disk.image();
    let second = app.refresh(&first.refresh).await;
    let after_rotation = app.disk.image();
    app.confirm(&token).await;
    let after_confirmation = app.disk.image();

    assert_eq!(registered.status, 201);
    let app = app.restart_on(&after_registration).await;
    app.log_in(BOB).await;
    app.deliver().await;
    assert!(app.mails.sent().iter().any(|mail| mail.to == BOB));
    let app = app.restart_on(&after_rotation).await;
    assert_eq!(claims(&app.refresh(&second.refresh).await.refresh)["gen"], 2);
    let app = app.restart_on(&after_confirmation).await;
    let tokens = app.log_in(ANN).await;
    assert!(app.is_verified(&tokens.access).await);
}

#[tokio::test]
async fn promise_2_a_refresh_token_rotates_exactly_once() {
    let (app, first) = TestApp::with_ann_in().await;
    let replies = at_once((0..64).map(|_| app.refreshing(&first.refresh))).await;
    let tokens: Vec<Tokens> = replies.iter().map(Tokens::of).collect();
    assert!(tokens.iter().all(|pair| pair.refresh == tokens[0].refresh), "one successor");
    assert_eq!(claims(&tokens[0].refresh)["gen"], 1);
    for pair in &tokens {
        assert_eq!(app.profile(&pair.access).await.status, 200);
    }
    assert_eq!(app.token_events(), []);
    app.refresh(&tokens[0].refresh).await;
}

#[tokio::test]
async fn promise_4_nothing_is_half_made_and_no_id_is_used_twice() {
    let app = TestApp::start();
    let name = |n: usize| format!("user{}@example.com", n % 8);
    let replies = at_once((0..32).map(|n| app.registration(&name(n)))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 8);
    let crashed = app.disk.image();
    let app = app.restart_on(&crashed).await;
    assert_eq!(app.app.store.count_users(), Ok(8));
    assert_eq!(app.app.store.count_mail(), Ok(8));
    for n in 0..8 {
        app.log_in(&name(n)).await;
        assert_eq!(app.registration(&name(n)).await.status, 400);
    }
    // The one with the highest id is removed, and everything of theirs.
    let token = app.invited(ANN).await;
    let tokens = app.log_in(ANN).await;
    assert_eq!(claims(&tokens.access)["user_id"], 9);
    app.disown(&token).await;
    assert_eq!(app.app.store.find_user(UserId(9)), Ok(None));
    let app = app.restart().await;
    let again = app.newcomer(ANN).await;
    assert_eq!(claims(&again.access)["user_id"], 10);
    assert_eq!(app.profile(&tokens.access).await.json()["code"], "user_not_found");
}

#[tokio::test]
async fn promise_5_the_database_alone_lets_nobody_in() {
    let (app, token) = TestApp::with_ann_invited().await;
    let first = app.log_in(ANN).await;
    let second = app.refresh(&first.refresh).await;
    let waiting = BOB;
    app.register(waiting).await;
    let database = app.disk.image();

    // What is meant to be there is found, so that the search can fail.
    assert!(contains(&database, ANN.as_bytes()) && contains(&database, b"$argon2id$"));
    let mac = URL_SAFE_NO_PAD.decode(&token).unwrap().split_off(16);
    for secret in [PASSWORD, &token, &first.access, &first.refresh, &second.access, &second.refresh]
    {
        let signature = secret.rsplit('.').next().unwrap();
        assert!(!contains(&database, secret.as_bytes()), "{secret}");
        assert!(!contains(&database, signature.as_bytes()), "the signature of {secret}");
        assert!(!contains(&database, STANDARD.encode(secret).as_bytes()), "{secret} in base64");
    }
    assert!(!contains(&database, &mac), "the secret half of a mailed link");
    assert!(!contains(&database, b"PRIVATE KEY"));
    // Anyone who has the database but not the keys cannot make what would let them in.
    let thief = TestApp::start_as_stranger().restart_on(&database).await;
    let forged = thief.mailed_token().await;
    assert_eq!(thief.mails.sent().last().unwrap().to, waiting);
    let reply = app.post("/api/verify-email/confirm/", &json!({"token": forged})).await;
    assert_eq!(reply.status, 400);
}

// Promise 6, that nothing leaks, is in `secrets`; promise 3, that theft shows, in `process`; and
// promise 10, about wrong clocks, in `clock`.

#[tokio::test]
async fn promise_7_nothing_grows_without_bound() {
    let app = TestApp::start_with(|config| {
        config.tokens.sessions_per_user = NonZeroUsize::new(5).unwrap();
        config.audit.max_events = 7;
    });
    app.register(ANN).await;
    for n in 0..30_u64 {
        app.advance(2 * 60 * 60);
        let agent = "x".repeat(10_000);
        let login = app.login(ANN, PASSWORD).header("user-agent", &agent);
        let first = Tokens::of(&login.await);
        let second = app.refresh(&first.refresh).await;
        app.refresh(&second.refresh).await;
        let thief = format!("198.51.100.{n}");
        let theft = app.refreshing(&first.refresh).from(&thief).header("user-agent", &agent);
        assert_eq!(theft.await.status, 401);
        app.log_in(ANN).await;
    }
    assert_eq!(app.app.store.count_sessions(), Ok(5));
    let events = app.events();
    assert_eq!(events.len(), 7);
    let agents = events.iter().map(|event| event.by.client().unwrap().user_agent.len());
    assert_eq!(agents.max(), Some(256));
    // The last ones are kept.
    let thefts = app.token_events();
    assert_eq!(thefts.last().unwrap().by.client().unwrap().address.to_string(), "198.51.100.29");
}

#[tokio::test]
async fn promise_8_a_wrong_password_looks_and_takes_the_same_with_an_account_and_without() {
    let app = TestApp::start_with(|config| {
        config.passwords.memory_kib = 512;
        config.login.max_failures = 1_000.try_into().unwrap();
    });
    app.register(ANN).await;
    let clock = Clock::system();
    // The shortest of several times is the one that other work on the machine disturbed least. An
    // answer without a hash takes a small part of one with.
    let mut shortest = [Duration::MAX; 2];
    for round in 1.. {
        let mut answers = Vec::new();
        for (place, email) in [ANN, NOBODY].into_iter().enumerate() {
            let begun = clock.read().monotonic;
            let reply = app.login(email, WRONG).await;
            let took = clock.read().monotonic - begun;
            shortest[place] = shortest[place].min(took);
            let mut headers = reply.headers.clone();
            headers.remove("x-request-id");
            answers.push((reply.told(), headers));
        }
        assert_eq!(answers[0], answers[1]);
        let [known, unknown] = shortest;
        if round >= 5 && unknown * 3 > known * 2 && known * 3 > unknown * 2 {
            break;
        }
        assert!(round < 100, "a known email takes {known:?}, an unknown one {unknown:?}");
    }
}

#[tokio::test]
async fn promise_9_a_flood_of_logins_leaves_the_rest_alive() {
    // One thread has seconds to hash, however little this one gets to run meanwhile.
    let app = TestApp::start_with(|config| {
        config.passwords.threads = NonZeroUsize::new(1);
        config.passwords.memory_kib = 19 * 1024;
        config.passwords.iterations = 4;
        config.passwords.max_wait = Duration::from_secs(60);
    });
    let tokens = app.newcomer(ANN).await;
    let flood: Vec<_> = (0..64)
        .map(|n| app.login(&format!("user{n}@example.com"), WRONG))
        .map(|call| tokio::spawn(call.into_future()))
        .collect();
    // This test has one thread for everything but hashing: were that to happen here, the flood
    // would be over before anyone else got an answer.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(app.profile(&tokens.access).await.status, 200);
    app.refresh(&tokens.refresh).await;
    let unfinished = flood.iter().filter(|login| !login.is_finished()).count();
    assert!(unfinished > 0, "the flood was over before anyone else got an answer");
    for login in flood {
        assert_eq!(login.await.unwrap().status, 401);
    }
}
