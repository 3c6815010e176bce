//! Wrong clocks: behind what was committed, and far ahead.

use std::time::Duration;

use latchkey::clock::Timestamp;
use latchkey::flows::upkeep::Upkeep;
use serde_json::json;

use crate::support::messages::unavailable;
use crate::support::{ANN, BOB, CONFIRM, DAY, HOUR, PASSWORD, START, TestApp, WRONG};

fn before_start(seconds: u64) -> Timestamp {
    START.saturating_sub(Duration::from_secs(seconds))
}

/// What a behind clock refuses, at every endpoint where time matters.
async fn assert_refuses(app: &TestApp, access: &str, refresh: &str, token: &str) {
    let refused = async || {
        for call in [
            app.registration("eve@example.com"),
            app.login(ANN, PASSWORD),
            app.login(ANN, WRONG),
            app.refreshing(refresh),
            app.get("/api/profile/").bearer(access),
            app.post(CONFIRM, &json!({"token": token})),
        ] {
            let reply = call.await;
            assert_eq!(reply.told(), unavailable());
            assert!((1..=60).contains(&reply.retry_after().unwrap()), "{reply:?}");
        }
        for call in [app.get(&format!("{CONFIRM}?token={token}")), app.press("confirm", token)] {
            let reply = call.await;
            assert_eq!(reply.status, 503);
            assert!(reply.retry_after().is_some());
            assert!(reply.text().contains("<h1>Please try again in a moment</h1>"));
        }
    };
    app.unchanged(refused).await;
    let reply = app.get("/readyz").await;
    let detail = reply.field("detail");
    assert_eq!(reply.status, 503);
    assert!(detail.contains("lies behind") && detail.contains("latchkey clock accept"), "{detail}");
    assert_eq!(app.get("/healthz").await.status, 200);
    assert_eq!(app.get("/nowhere").await.status, 404);
}

#[tokio::test]
async fn more_than_a_minute_behind_nothing_is_decided_until_the_clock_has_caught_up() {
    let (app, token) = TestApp::with_ann_invited().await;
    let tokens = app.log_in(ANN).await;
    let first = app.newcomer(BOB).await;
    let second = app.refresh(&first.refresh).await;
    app.clock.set_wall(before_start(60));
    let app = app.restart().await;
    assert_eq!(app.get("/readyz").await.status, 200);
    assert_eq!(app.profile(&first.access).await.status, 200);
    // The grace, too, counts from a time that lies ahead by now.
    assert_eq!(app.refresh(&first.refresh).await.refresh, second.refresh);
    app.newcomer("dan@example.com").await;
    app.deliver().await;
    assert!(app.mails.sent().iter().any(|mail| mail.to == "dan@example.com"));
    assert_eq!(app.app.store.last_commit(), START, "the mark never goes back");

    // Its mail waits while the clock is behind.
    app.register("cid@example.com").await;
    app.clock.set_wall(before_start(61));
    assert_refuses(&app, &tokens.access, &tokens.refresh, &token).await;
    // The mark is on the disk: a restart changes nothing.
    let mut app = app.restart().await;
    for wall in [before_start(61), before_start(365 * DAY), Timestamp::EPOCH, before_start(HOUR)] {
        app.clock.set_wall(wall);
        app = app.restart().await;
        assert_refuses(&app, &tokens.access, &tokens.refresh, &token).await;
        // Neither is anything mailed, swept or noted meanwhile.
        let quietly = async || {
            app.deliver().await;
            assert_eq!(app.attempts_now().await, 0);
            Upkeep::default().round(&app.app).await
        };
        assert!(!app.unchanged(quietly).await);
    }
    app.advance(59 * 60 - 1);
    assert_refuses(&app, &tokens.access, &tokens.refresh, &token).await;
    app.advance(1);
    // As if nothing had been: no day of doubt either.
    assert_eq!(app.get("/readyz").await.status, 200);
    assert!(app.app.moment().unwrap().confirmed);
    assert_eq!(app.profile(&tokens.access).await.status, 200);
    app.refresh(&tokens.refresh).await;
    app.confirm(&token).await;
    app.deliver().await;
    assert_eq!(app.mails.sent().last().unwrap().to, "cid@example.com");
    app.clock.set_wall(START.saturating_add(Duration::from_secs(30)));
    app.log_in(ANN).await;
    assert_eq!(app.app.store.last_commit(), app.clock.read().wall);
}

#[tokio::test]
async fn a_day_in_pieces_confirms_a_clock_that_runs_on() {
    let mut app = TestApp::start();
    app.newcomer(ANN).await;
    let mark = app.app.store.last_commit();
    // Off from Friday to Monday, and every night from then on.
    app.clock.set_wall(START.saturating_add(Duration::from_secs(62 * HOUR)));
    for _ in 0..3 {
        app = app.restart().await;
        let mut upkeep = Upkeep::default();
        for _ in 0..7 {
            app.advance(HOUR);
            upkeep.round(&app.app).await;
        }
        app.log_in(ANN).await;
        assert_eq!(app.app.store.last_commit(), mark);
        app.clock.set_wall(app.clock.read().wall.saturating_add(Duration::from_secs(14 * HOUR)));
    }
    let app = app.restart().await;
    app.advance(3 * HOUR);
    app.log_in(ANN).await;
    assert_eq!(app.app.store.last_commit(), app.clock.read().wall);
    assert_eq!(app.app.store.clock_trial(), None);
}

#[tokio::test]
async fn a_year_ahead_and_back_while_running_costs_nobody_anything() {
    let app = TestApp::start_with(|config| {
        config.login.max_failures = 2.try_into().unwrap();
        config.registration.per_address_per_hour = Some(4.try_into().unwrap());
    });
    let token = app.invited(ANN).await;
    let ann = app.log_in(ANN).await;
    app.register(BOB).await;
    app.advance(60);
    let (right, mark) = (app.clock.read().wall, app.app.store.last_commit());
    let sessions = app.app.store.count_sessions();

    app.clock.set_wall(right.saturating_add(Duration::from_secs(365 * DAY)));
    let mut upkeep = Upkeep::default();
    for _ in 0..12 {
        // Upkeep comes round, the outbox is worked on, and people try what they can.
        upkeep.round(&app.app).await;
        app.deliver().await;
        assert_eq!(app.profile(&ann.access).await.status, 401);
        assert_eq!(app.refreshing(&ann.refresh).await.status, 401);
        app.advance(60 * 60);
    }
    app.newcomer("cid@example.com").await;
    // Dan is locked out there, and has asked for as much mail as his mailbox takes.
    app.register("dan@example.com").await;
    for _ in 0..3 {
        app.login("dan@example.com", WRONG).await;
        app.forgetting("dan@example.com").await;
    }
    assert_eq!(app.login("dan@example.com", PASSWORD).await.status, 429);
    assert_eq!(app.app.store.last_commit(), mark, "held back");
    assert_eq!(app.mails.sent().len(), 1, "no mail is sent or given up by a time like that");

    app.clock.set_wall(right);
    assert_eq!(app.get("/readyz").await.status, 200);
    upkeep.round(&app.app).await;
    assert_eq!(app.app.store.count_sessions().unwrap(), sessions.unwrap() + 1);
    assert_eq!(app.profile(&ann.access).await.status, 200);
    app.refresh(&ann.refresh).await;
    app.confirm(&token).await;
    // A user who registered then can log in like anybody else, and gets the mail that is due.
    app.log_in("cid@example.com").await;
    app.deliver().await;
    let mut to: Vec<String> = app.mails.sent().into_iter().skip(1).map(|mail| mail.to).collect();
    to.sort();
    to.dedup();
    assert_eq!(to, [BOB, "cid@example.com", "dan@example.com"]);
    app.register("eve@example.com").await;
    // A lockout from then lasts no longer than any other.
    let locked_out = app.login("dan@example.com", PASSWORD).await.retry_after().unwrap();
    assert!(locked_out <= 15 * 60, "{locked_out}");
    app.advance(locked_out);
    app.log_in("dan@example.com").await;
    assert_eq!(app.forgetting("dan@example.com").await.status, 200);
    let known = app.mails.sent().len();
    app.deliver().await;
    assert_eq!(app.mails.sent().len(), known + 2, "eve's confirmation and dan's new link");
    // And so it stays over a restart.
    let app = app.restart().await;
    assert_eq!(app.get("/readyz").await.status, 200);
    app.log_in(ANN).await;
}

#[tokio::test]
async fn a_first_start_in_1970_is_set_right() {
    let app = TestApp::start();
    app.clock.set_wall(Timestamp::EPOCH);
    let app = app.restart().await;
    let token = app.invited(ANN).await;
    let early = app.log_in(ANN).await;
    assert_eq!(app.profile(&early.access).await.status, 200);
    let early = app.refresh(&early.refresh).await;
    app.register(BOB).await;

    app.clock.set_wall(START);
    assert_eq!(app.get("/readyz").await.status, 200);
    // What was made by a clock like that is over; the accounts are not.
    assert_eq!(app.profile(&early.access).await.status, 401);
    assert_eq!(app.refreshing(&early.refresh).await.status, 401);
    assert_eq!(app.post(CONFIRM, &json!({"token": token})).await.status, 400);
    let tokens = app.log_in(ANN).await;
    app.newcomer("cid@example.com").await;
    Upkeep::default().round(&app.app).await;
    assert_eq!(app.app.store.count_sessions(), Ok(3), "nothing is swept before a day is over");
    let app = app.restart().await;
    assert_eq!(app.get("/readyz").await.status, 200);
    app.refresh(&tokens.refresh).await;

    app.advance(DAY);
    let again = app.log_in(ANN).await;
    let mut upkeep = Upkeep::default();
    while upkeep.round(&app.app).await {}
    assert_eq!(app.app.store.last_commit(), app.clock.read().wall);
    assert_eq!(app.app.store.count_sessions(), Ok(1));
    app.refresh(&again.refresh).await;
}

#[tokio::test]
async fn a_wrong_clock_that_was_believed_is_undone_by_the_operators_word() {
    let (app, ann) = TestApp::with_ann_in().await;
    let token = app.mailed_token().await;
    let right = app.clock.read().wall;
    let ahead = START.saturating_add(Duration::from_secs(365 * DAY));
    app.clock.set_wall(ahead);
    app.log_in(ANN).await;
    app.advance(DAY);
    let late = app.newcomer("cid@example.com").await;
    assert!(app.app.store.last_commit() > ahead, "a day confirms it");
    let right = right.saturating_add(Duration::from_secs(DAY));
    app.clock.set_wall(right);
    assert_refuses(&app, &ann.access, &ann.refresh, &token).await;
    let app = app.restart().await;
    assert_refuses(&app, &late.access, &late.refresh, &token).await;

    // What `latchkey clock accept` does while the server is stopped.
    assert_eq!(app.app.store.accept_clock(right).await, Ok(()));
    let app = app.restart().await;
    assert_eq!(app.get("/readyz").await.status, 200);
    assert_eq!((app.app.store.last_commit(), app.app.store.count_sessions()), (right, Ok(0)));
    for tokens in [&ann, &late] {
        assert_eq!(app.refreshing(&tokens.refresh).await.status, 401);
        assert_eq!(app.profile(&tokens.access).await.status, 401);
    }
    // All of them get back in, mail leaves, and time goes on from here.
    for email in [ANN, "cid@example.com"] {
        let tokens = app.log_in(email).await;
        app.refresh(&tokens.refresh).await;
    }
    app.deliver().await;
    assert_eq!(app.mails.sent().last().unwrap().to, "cid@example.com");
    app.advance(DAY);
    app.log_in(ANN).await;
    assert_eq!(app.app.store.last_commit(), right.saturating_add(Duration::from_secs(DAY)));
    Upkeep::default().round(&app.app).await;
    assert_eq!(app.app.store.count_sessions(), Ok(1));
}
