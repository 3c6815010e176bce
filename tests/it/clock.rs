//! Wrong clocks: behind what was committed, and far ahead.

use std::time::Duration;

use latchkey::clock::Timestamp;
use latchkey::flows::upkeep::Upkeep;
use serde_json::{Value, json};

use crate::support::{CONFIRM, PASSWORD, START, TestApp};

const EMAIL: &str = "ann@example.com";
const DAY: u64 = 24 * 60 * 60;

fn before_start(seconds: u64) -> Timestamp {
    START.saturating_sub(Duration::from_secs(seconds))
}

fn unavailable() -> (u16, Value) {
    (503, json!({"detail": "Service temporarily unavailable."}))
}

/// What a behind clock refuses, at every endpoint where time matters.
async fn assert_refuses(app: &TestApp, access: &str, refresh: &str, token: &str) {
    let refused = async || {
        for call in [
            app.registration("bob@example.com"),
            app.login(EMAIL, PASSWORD),
            app.login(EMAIL, "wrong-Lamp 7 orchard"),
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
    let app = TestApp::start();
    let token = app.invited(EMAIL).await;
    let tokens = app.log_in(EMAIL).await;

    app.clock.set_wall(before_start(60));
    assert_eq!(app.get("/readyz").await.status, 200);
    app.log_in(EMAIL).await;

    app.clock.set_wall(before_start(61));
    assert_refuses(&app, &tokens.access, &tokens.refresh, &token).await;
    // The mark is on the disk: a restart changes nothing.
    let app = app.restart().await;
    assert_refuses(&app, &tokens.access, &tokens.refresh, &token).await;
    app.clock.set_wall(before_start(365 * DAY));
    assert_refuses(&app, &tokens.access, &tokens.refresh, &token).await;

    app.clock.set_wall(before_start(61));
    app.advance(1);
    assert_eq!(app.get("/readyz").await.status, 200);
    assert_eq!(app.profile(&tokens.access).await.status, 200);
    app.refresh(&tokens.refresh).await;
    app.confirm(&token).await;
}

#[tokio::test]
async fn the_operators_word_that_the_clock_is_right_ends_all_sessions() {
    let app = TestApp::start();
    let tokens = app.newcomer(EMAIL).await;
    app.clock.set_wall(before_start(DAY));
    assert_eq!(app.login(EMAIL, PASSWORD).await.status, 503);
    assert_eq!(app.app.store.accept_clock(before_start(DAY)).await, Ok(()));
    let app = app.restart().await;
    assert_eq!(app.get("/readyz").await.status, 200);
    assert_eq!(app.refreshing(&tokens.refresh).await.status, 401);
    assert_eq!(app.app.store.count_sessions(), Ok(0));
    app.log_in(EMAIL).await;
}

#[tokio::test]
async fn a_jump_far_ahead_moves_neither_the_mark_nor_the_sweeper() {
    let app = TestApp::start();
    let tokens = app.newcomer(EMAIL).await;
    let mark = app.app.store.mark();
    app.clock.set_wall(START.saturating_add(Duration::from_secs(400 * DAY)));
    // Served on, by the time that the clock says.
    assert_eq!(app.refreshing(&tokens.refresh).await.status, 401);
    app.register("bob@example.com").await;
    app.log_in("bob@example.com").await;
    Upkeep::default().round(&app.app).await;
    assert_eq!(app.app.store.mark(), mark);
    assert_eq!(app.app.store.count_sessions(), Ok(2), "nothing was swept");
    // Set right, it locks nobody out.
    app.clock.set_wall(START.saturating_add(Duration::from_secs(60)));
    assert_eq!(app.get("/readyz").await.status, 200);
    app.refresh(&tokens.refresh).await;
}

#[tokio::test]
async fn a_jump_that_has_stood_for_a_day_is_believed() {
    let app = TestApp::start();
    app.newcomer(EMAIL).await;
    let ahead = START.saturating_add(Duration::from_secs(400 * DAY));
    app.clock.set_wall(ahead);
    app.log_in(EMAIL).await;
    app.advance(DAY);
    app.log_in(EMAIL).await;
    assert_eq!(app.app.store.mark(), ahead.saturating_add(Duration::from_secs(DAY)));
    assert_eq!(app.app.store.count_sessions(), Ok(3));
    // The first session is long over; the second one's token is over just now.
    Upkeep::default().round(&app.app).await;
    assert_eq!(app.app.store.count_sessions(), Ok(1));
    app.clock.set_wall(ahead);
    assert_eq!(app.get("/readyz").await.status, 503);
}

#[tokio::test]
async fn an_ordinary_day_moves_the_mark_and_sweeps_what_is_over() {
    let app = TestApp::start();
    app.newcomer(EMAIL).await;
    app.advance(DAY);
    app.log_in(EMAIL).await;
    assert_eq!(app.app.store.mark(), app.clock.read().wall);
    Upkeep::default().round(&app.app).await;
    assert_eq!(app.app.store.count_sessions(), Ok(1));
}

#[tokio::test]
async fn a_day_in_pieces_confirms_a_clock_that_runs_on() {
    const HOUR: u64 = 60 * 60;
    let mut app = TestApp::start();
    app.newcomer(EMAIL).await;
    let mark = app.app.store.mark();
    // Off from Friday to Monday, and every night from then on.
    app.clock.set_wall(START.saturating_add(Duration::from_secs(62 * HOUR)));
    for _ in 0..3 {
        app = app.restart().await;
        let mut upkeep = Upkeep::default();
        for _ in 0..7 {
            app.advance(HOUR);
            upkeep.round(&app.app).await;
        }
        app.log_in(EMAIL).await;
        assert_eq!(app.app.store.mark(), mark);
        app.clock.set_wall(app.clock.read().wall.saturating_add(Duration::from_secs(14 * HOUR)));
    }
    let app = app.restart().await;
    app.advance(3 * HOUR);
    app.log_in(EMAIL).await;
    assert_eq!(app.app.store.mark(), app.clock.read().wall);
    assert_eq!(app.app.store.clock_trial(), None);
}

#[tokio::test]
async fn a_restart_with_the_clock_far_ahead_confirms_nothing() {
    let app = TestApp::start();
    let tokens = app.newcomer(EMAIL).await;
    let mark = app.app.store.mark();
    app.clock.set_wall(START.saturating_add(Duration::from_secs(40 * DAY)));
    let mut app = app.restart().await;
    for _ in 0..2 {
        app.log_in(EMAIL).await;
        Upkeep::default().round(&app.app).await;
        app = app.restart().await;
    }
    assert_eq!(app.app.store.mark(), mark);
    assert_eq!(app.app.store.count_sessions(), Ok(3), "nothing was swept");
    // Set right, it locks nobody out.
    app.clock.set_wall(START.saturating_add(Duration::from_secs(60)));
    assert_eq!(app.get("/readyz").await.status, 200);
    app.refresh(&tokens.refresh).await;
    assert_eq!(app.app.store.mark(), START.saturating_add(Duration::from_secs(60)));
}
