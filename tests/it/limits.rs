//! What too many attempts lead to.

use std::num::{NonZeroU32, NonZeroUsize};

use latchkey::domain::EventKind::{LockedOut, LoginFailed};
use serde_json::json;

use crate::support::messages::wrong_credentials;
use crate::support::{
    ANN, BOB, Call, ELSEWHERE, NEW_PASSWORD, NOBODY, PASSWORD, Reply, TestApp, Tokens, WRONG,
    assert_throttled, at_once,
};

fn assert_locked_out(reply: &Reply) {
    assert_refused(reply, "account_locked");
}

fn assert_refused(reply: &Reply, code: &str) {
    let detail = "Too many failed attempts. Please try again later.";
    assert_eq!(reply.told(), (429, json!({"detail": detail, "code": code})));
    assert!(reply.retry_after().is_some());
}

/// Fails to log in so many times, each time with a 401.
async fn fail(app: &TestApp, times: usize) {
    for _ in 0..times {
        assert_eq!(app.login(ANN, WRONG).await.told(), wrong_credentials());
    }
}

fn some(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

#[tokio::test]
async fn the_fifth_failure_is_a_401_and_then_nothing_passes_until_the_lockout_ends() {
    let app = TestApp::with_ann().await;
    fail(&app, 5).await;
    for password in [WRONG, PASSWORD] {
        let reply = app.unchanged(async || app.login(ANN, password).await).await;
        assert_locked_out(&reply);
        assert_eq!(reply.retry_after(), Some(15 * 60));
    }
    // The pair is locked out: not the account from elsewhere, and not the address as such.
    assert_eq!(app.login(ANN, PASSWORD).from(ELSEWHERE).await.status, 200);
    app.newcomer(BOB).await;
    app.advance(15 * 60 - 1);
    assert_locked_out(&app.login(ANN, PASSWORD).await);
    app.advance(1);
    app.log_in(ANN).await;
}

#[tokio::test]
async fn parallel_guesses_cannot_slip_through() {
    let app = TestApp::with_ann().await;
    let guesses = (0..40).map(|n| app.login(ANN, &format!("guess number {n}")));
    let replies = at_once(guesses).await;
    let tried = replies.iter().filter(|reply| reply.status == 401).count();
    assert!((1..=5).contains(&tried), "{tried} guesses were looked at");
    for reply in replies.iter().filter(|reply| reply.status != 401) {
        assert_locked_out(reply);
    }
    // Whatever is left of the five, no more than five are ever looked at, and one lockout begins.
    fail(&app, 5 - tried).await;
    app.until_failures(&[(LoginFailed, 5), (LockedOut, 1)]).await;
    assert_locked_out(&app.login(ANN, PASSWORD).await);
}

/// Wherever the current password is asked for, a wrong one counts with those of the login.
#[tokio::test]
async fn wrong_passwords_count_together_wherever_they_are_given() {
    type Asking = fn(&TestApp, &Tokens, &str) -> Call;
    let table: [(Asking, u16); 3] = [
        (|app, ann, password| app.deleting(ann, password), 204),
        (
            |app, ann, password| {
                app.patch(ann, &json!({"email": "new@example.com", "current_password": password}))
            },
            200,
        ),
        (|app, ann, password| app.changing(&ann.access, password, NEW_PASSWORD), 200),
    ];
    for (asking, done) in table {
        let (app, ann) = TestApp::with_ann_in().await;
        for _ in 0..2 {
            for _ in 0..4 {
                assert_eq!(asking(&app, &ann, WRONG).await.status, 400);
            }
            app.log_in(ANN).await;
        }
        for _ in 0..3 {
            assert_eq!(asking(&app, &ann, WRONG).await.status, 400);
        }
        fail(&app, 2).await;
        app.until_failures(&[(LoginFailed, 13), (LockedOut, 1)]).await;
        for call in
            [asking(&app, &ann, WRONG), asking(&app, &ann, PASSWORD), app.login(ANN, PASSWORD)]
        {
            let reply = app.unchanged(async || call.await).await;
            assert_locked_out(&reply);
            assert_eq!(reply.retry_after(), Some(15 * 60));
        }
        // What asks for no password is still done, and everything from elsewhere or later.
        assert_eq!(app.patch(&ann, &json!({"username": "Ann"})).await.status, 200);
        if done == 204 {
            app.advance(15 * 60);
            assert_eq!(asking(&app, &ann, PASSWORD).await.status, done);
        } else {
            assert_eq!(asking(&app, &ann, PASSWORD).from(ELSEWHERE).await.status, done);
        }
    }
}

#[tokio::test]
async fn a_guesser_from_everywhere_slows_strangers_down_but_locks_nobody_out() {
    let app = TestApp::start_with(|config| config.login.max_failures_per_email = some(10));
    app.register(ANN).await;
    for known in ["203.0.113.1", "203.0.113.2"] {
        assert_eq!(app.login(ANN, PASSWORD).from(known).await.status, 200);
    }
    let mut failures = Vec::new();
    for host in 1..=10 {
        let reply = app.login(ANN, WRONG).from(&format!("198.51.100.{host}")).await;
        assert_eq!(reply.told(), wrong_credentials());
        failures.push((LoginFailed, 1));
        failures.extend((host == 10).then_some((LockedOut, 1)));
        app.until_failures(&failures).await;
    }
    let began_by = app.events().pop().unwrap().by;
    assert_eq!(began_by.client().unwrap().address.to_string(), "198.51.100.10");
    // Two attempts from one address and twelve from all are admitted in an hour.
    for host in 21..=26 {
        let wrong = || app.login(ANN, WRONG).from(&format!("198.51.100.{host}"));
        for _ in 0..2 {
            assert_eq!(wrong().await.told(), wrong_credentials(), "{host}");
        }
        assert_refused(&wrong().await, "account_slowed");
        failures.push((LoginFailed, 2));
        app.until_failures(&failures).await;
    }
    // Addresses that may continue fail on their own account, until they are locked out.
    for _ in 0..5 {
        assert_eq!(app.login(ANN, WRONG).from("203.0.113.2").await.status, 401);
    }
    failures.extend([(LoginFailed, 5), (LockedOut, 1)]);
    app.until_failures(&failures).await;
    assert_locked_out(&app.login(ANN, PASSWORD).from("203.0.113.2").await);
    let stranger = || app.login(ANN, PASSWORD).from("198.51.100.200");
    let refused = app.unchanged(async || stranger().await).await;
    assert_refused(&refused, "account_slowed");
    let wait = refused.retry_after().unwrap();
    assert!(wait <= 66 * 60, "{wait} s");
    // Where the owner has logged in before, they may: with five attempts of their own.
    assert_eq!(app.login(ANN, WRONG).from("203.0.113.1").await.told(), wrong_credentials());
    assert_eq!(app.login(ANN, PASSWORD).from("203.0.113.1").await.status, 200);
    // Somebody on a new network gets in once the hour is over.
    app.advance(wait);
    assert_eq!(app.login(ANN, PASSWORD).from("198.51.100.200").await.status, 200);
    // The addresses are known after a restart, when all counts begin again.
    let app = app.restart().await;
    for host in 1..=10 {
        app.login(ANN, WRONG).from(&format!("198.51.100.{host}")).await;
    }
    for host in (31..=37).flat_map(|host| [host; 2]) {
        app.login(ANN, WRONG).from(&format!("198.51.100.{host}")).await;
    }
    assert_refused(&app.login(ANN, PASSWORD).from("198.51.100.201").await, "account_slowed");
    assert_eq!(app.login(ANN, PASSWORD).from("203.0.113.1").await.status, 200);
    assert_eq!(app.login(ANN, PASSWORD).from("198.51.100.200").await.status, 200);
}

#[tokio::test]
async fn who_floods_the_table_gains_no_guess() {
    let app = TestApp::start_with(|config| {
        config.login.limiter_entries = NonZeroUsize::new(16).unwrap();
    });
    app.register(ANN).await;
    fail(&app, 3).await;
    let flood = (0..200).map(|n| app.login(&format!("user{n}@example.com"), WRONG));
    for call in flood {
        call.await;
    }
    let mut tried = 3;
    while app.login(ANN, WRONG).await.status == 401 {
        tried += 1;
        assert!(tried <= 5, "{tried} guesses were looked at");
    }
}

#[tokio::test]
async fn an_address_has_so_many_attempts_to_log_in_a_minute() {
    let app = TestApp::start_with(|config| config.login.per_address_per_minute = some(5));
    app.register(ANN).await;
    app.log_in(ANN).await;
    assert_eq!(app.login(NOBODY, WRONG).await.told(), wrong_credentials());
    // Requests for mail count with them, and so does the other login.
    assert_eq!(app.forgetting(NOBODY).await.status, 200);
    assert_eq!(app.resending(NOBODY).await.status, 200);
    let obtaining = |email| app.post("/api/token/", &json!({"email": email, "password": PASSWORD}));
    assert_eq!(obtaining(ANN).await.status, 200);
    let mut wait = 0;
    for call in [
        app.login(ANN, PASSWORD),
        app.login(NOBODY, PASSWORD),
        app.forgetting(ANN),
        app.resending(NOBODY),
        obtaining(ANN),
    ] {
        wait = assert_throttled(&app.unchanged(async || call.await).await);
        assert!((1..=66).contains(&wait), "{wait}");
    }
    assert_eq!(app.forgetting(ANN).from(ELSEWHERE).await.status, 200);
    assert_eq!(app.login(ANN, PASSWORD).from(ELSEWHERE).await.status, 200);
    app.advance(wait);
    app.log_in(ANN).await;
}

#[tokio::test]
async fn an_address_has_so_many_registrations_an_hour() {
    let app = TestApp::start_with(|config| config.registration.per_address_per_hour = some(3));
    app.register(ANN).await;
    app.register(BOB).await;
    // Whether an address is taken is what this limit guards, so asking counts, with a password
    // that will not do as well. What tells nothing of that does not count.
    let with_password = |email, password| {
        app.post(
            "/api/register/",
            &json!({"email": email, "password": password, "password_confirm": password}),
        )
    };
    assert_eq!(with_password("no address", PASSWORD).await.status, 400);
    assert_eq!(with_password(ANN, "1").await.status, 400);
    for email in ["carol@example.com", ANN] {
        let reply = app.unchanged(async || app.registration(email).await).await;
        let wait = assert_throttled(&reply);
        assert!((1..=66 * 60).contains(&wait), "{wait}");
    }
    assert_eq!(app.registration("carol@example.com").from(ELSEWHERE).await.status, 201);
    let reply = app.registration("dave@example.com").await;
    app.advance(assert_throttled(&reply));
    app.register("dave@example.com").await;
}

#[tokio::test]
async fn the_limits_of_the_shipped_configuration_hold() {
    let app = TestApp::start_with(|config| {
        let shipped = latchkey::config::Config::load(None, &[]).unwrap().config;
        config.login = shipped.login;
        config.registration = shipped.registration;
    });
    for n in 0..60 {
        app.register(&format!("user{n}@example.com")).await;
        app.log_in(&format!("user{n}@example.com")).await;
    }
    assert_throttled(&app.registration(ANN).await);
    assert_throttled(&app.login("user1@example.com", PASSWORD).await);
}

/// Changes a password to and fro so many times; an even number of times leaves it as it was.
async fn change_password(app: &TestApp, tokens: &Tokens, times: usize) {
    for time in 0..times {
        let (current, new) = [(PASSWORD, NEW_PASSWORD), (NEW_PASSWORD, PASSWORD)][time % 2];
        let reply = app.changing(&tokens.access, current, new).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

/// Someone who opens an account with another person's address cannot fill that person's mailbox.
#[tokio::test]
async fn an_account_on_a_strangers_address_fills_no_mailbox() {
    let (app, tokens) = TestApp::with_ann_in().await;
    let mailed = async |subject: &str| app.letters(ANN, subject).await.len();
    for told in 1..=2 {
        let reply = app.moving(&tokens, &format!("new{told}@example.com")).await;
        assert_eq!((reply.status, mailed("is about to change").await), (200, told));
    }
    let third = async || app.moving(&tokens, "new3@example.com").await;
    assert_eq!(assert_throttled(&app.unchanged(third).await), 60);

    change_password(&app, &tokens, 6).await;
    assert_eq!(mailed("was changed").await, 2);
    assert_eq!(app.deleting(&tokens, PASSWORD).await.status, 204);
    for farewells in [2, 2] {
        let again = app.newcomer(ANN).await;
        assert_eq!(app.deleting(&again, PASSWORD).await.status, 204);
        assert_eq!(mailed("was deleted").await, farewells);
    }
}

#[tokio::test]
async fn the_owner_of_a_confirmed_address_is_told_each_time() {
    let (app, token) = TestApp::with_ann_invited().await;
    app.confirm(&token).await;
    let tokens = app.log_in(ANN).await;
    change_password(&app, &tokens, 4).await;
    assert_eq!(app.letters(ANN, "was changed").await.len(), 4);
    assert_eq!(app.deleting(&tokens, PASSWORD).await.status, 204);
    assert_eq!(app.letters(ANN, "was deleted").await.len(), 1);
}
