//! `/api/sessions/` and `/api/logout/`

use latchkey::config::Config;
use latchkey::domain::EventKind;
use serde_json::{Value, json};

use crate::support::messages::{
    BAD_TOKEN, WRONG_TYPE, bad_access, bad_authorization, bad_refresh, no_credentials, not_found,
};
use crate::support::{ANN, BOB, Call, DAY, HOUR, PASSWORD, TestApp, Tokens, at_once, statuses};

const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; rv:133.0) Gecko/20100101 Firefox/133.0";

/// A token that was signed by nobody.
const FORGED: &str = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoxfQ.AAAA";

fn ending(app: &TestApp, tokens: &Tokens, id: &str) -> Call {
    app.call("DELETE", &format!("/api/sessions/{id}/")).bearer(&tokens.access)
}

/// The kinds of all events there are, oldest first.
fn events(app: &TestApp) -> Vec<EventKind> {
    app.events().iter().map(|event| event.kind).collect()
}

async fn listed(app: &TestApp, tokens: &Tokens) -> Vec<Value> {
    let reply = app.get("/api/sessions/").bearer(&tokens.access).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json().as_array().unwrap().clone()
}

#[tokio::test]
async fn the_list_shows_each_device_newest_first() {
    let app = TestApp::with_ann().await;
    app.register(BOB).await;
    app.log_in(BOB).await;
    let login = app.login(ANN, PASSWORD).from("2001:db8::7").header("user-agent", FIREFOX);
    let first = Tokens::of(&login.await);
    app.advance(60);
    let second = app.log_in(ANN).await;
    app.advance(15 * 60 * 60);
    let second = app.refresh(&second.refresh).await;

    let reply = app.get("/api/sessions").bearer(&second.access).await;
    assert_eq!(
        reply.told(),
        (
            200,
            json!([
                {
                    "id": second.sid(), "opened_at": "2024-12-06T10:01:00.123456Z",
                    "last_used": "2024-12-07", "address": "192.0.2.1", "user_agent": "",
                    "device": "Unknown device", "current": true,
                },
                {
                    "id": first.sid(), "opened_at": "2024-12-06T10:00:00.123456Z",
                    "last_used": "2024-12-06", "address": "2001:db8::7", "user_agent": FIREFOX,
                    "device": "Firefox on Windows", "current": false,
                },
            ])
        )
    );
    app.advance(9 * 60 * 60);
    let second = app.refresh(&second.refresh).await;
    assert_eq!(listed(&app, &second).await.len(), 1, "one that is over is no session");
}

#[tokio::test]
async fn one_session_ends_at_once_and_for_good() {
    let (app, here) = TestApp::with_ann_in().await;
    let there = app.log_in(ANN).await;
    let reply = ending(&app, &here, &there.sid()).await;
    assert_eq!((reply.status, reply.text()), (204, ""));
    assert!(!app.is_live(&there).await);
    assert!(app.profile(&here.access).await.status == 200);
    assert_eq!(listed(&app, &here).await.len(), 1);
    assert_eq!(events(&app).last(), Some(&EventKind::SessionEnded));
    app.refuses(ending(&app, &here, &there.sid()), not_found()).await;

    let app = app.restart().await;
    assert!(!app.is_live(&there).await, "what was answered outlives a restart");
    assert_eq!(ending(&app, &here, &here.sid()).await.status, 204, "the current one too");
    assert!(!app.is_live(&here).await);
}

#[tokio::test]
async fn what_is_not_ones_own_is_not_there() {
    let (app, ann) = TestApp::with_ann_in().await;
    let bob = app.newcomer(BOB).await;
    let upper = ann.sid().to_uppercase();
    for id in [&*bob.sid(), &"0".repeat(32), &upper, "%00", "..", &"a".repeat(5_000)] {
        app.refuses(ending(&app, &ann, id), not_found()).await;
    }
    assert!(app.is_live(&bob).await);
}

#[tokio::test]
async fn a_logout_takes_any_authentic_token_and_can_be_repeated() {
    let app = TestApp::with_ann().await;

    let by_bearer = |tokens: &Tokens| app.call("POST", "/api/logout/").bearer(&tokens.access);
    let by_refresh = |tokens: &Tokens| app.logging_out(&tokens.refresh);
    let by_form =
        |tokens: &Tokens| app.call("POST", "/api/logout").form(&[("refresh", &tokens.refresh)]);
    let ways: [&dyn Fn(&Tokens) -> Call; 3] = [&by_bearer, &by_refresh, &by_form];
    for log_out in ways {
        let tokens = app.log_in(ANN).await;
        for _ in 0..2 {
            let reply = log_out(&tokens).await;
            assert_eq!((reply.status, reply.text()), (204, ""));
            assert!(!app.is_live(&tokens).await);
        }
    }

    let superseded = app.log_in(ANN).await;
    let successor = app.refresh(&app.refresh(&superseded.refresh).await.refresh).await;
    assert_eq!(app.logging_out(&superseded.refresh).await.status, 204);
    assert!(!app.is_live(&successor).await);
    assert!(!events(&app).contains(&EventKind::RefreshTokenReused), "a logout is no reuse");

    let expired = app.log_in(ANN).await;
    app.advance(23 * HOUR);
    let successor = app.refresh(&expired.refresh).await;
    app.advance(2 * HOUR);
    assert_eq!(app.logging_out(&expired.refresh).await.status, 204);
    assert_eq!(app.refreshing(&successor.refresh).await.status, 401);
}

#[tokio::test]
async fn a_logout_takes_an_expired_bearer_as_it_takes_an_expired_refresh_token() {
    let (app, tokens) = TestApp::with_ann_in().await;
    let by_bearer = |token: &str| app.call("POST", "/api/logout/").bearer(token);
    app.advance(30 * 60);
    assert_eq!(app.profile(&tokens.access).await.status, 401, "it has expired");
    for _ in 0..2 {
        let reply = by_bearer(&tokens.access).await;
        assert_eq!((reply.status, reply.text()), (204, ""));
        assert_eq!(app.refreshing(&tokens.refresh).await.status, 401, "its session has ended");
    }
    // It ends its own session and no other, and only if it is ours.
    let other = app.log_in(ANN).await;
    app.advance(31 * 60);
    assert_eq!(by_bearer(&tokens.access).await.status, 204);
    let foreign = TestApp::start_as_stranger().newcomer(ANN).await;
    let (signed, _) = other.access.rsplit_once('.').unwrap();
    for forged in [FORGED, foreign.access.as_str(), signed, &format!("{signed}.AAAA")] {
        app.refuses(by_bearer(forged), bad_access(BAD_TOKEN)).await;
    }
    app.refresh(&other.refresh).await;
    // Long after its session is over, it is still what is ended.
    app.advance(40 * DAY);
    let reply = app.unchanged(async || by_bearer(&other.access).await).await;
    assert_eq!(reply.status, 204);
    // Where the other kind is due it stays refused, expired or not.
    let reply = by_bearer(&other.refresh).await;
    assert_eq!(reply.told(), bad_access(WRONG_TYPE));
}

#[tokio::test]
async fn a_logout_by_nothing_or_garbage_is_refused() {
    let (app, tokens) = TestApp::with_ann_in().await;
    app.advance(31 * 60);
    let access = app.refresh(&tokens.refresh).await.access;
    let invalid = || bad_refresh(BAD_TOKEN);
    let post = |body: Value| app.post("/api/logout/", &body);
    for (call, expected) in [
        (app.call("POST", "/api/logout/"), no_credentials()),
        (post(json!({})), no_credentials()),
        (post(json!({"refresh": FORGED})), invalid()),
        (post(json!({"refresh": "garbage"})), invalid()),
        (post(json!({"refresh": access})), bad_refresh(WRONG_TYPE)),
        (post(json!({"refresh": FORGED})).bearer(&access), invalid()),
        (post(json!({})).bearer(FORGED), bad_access(BAD_TOKEN)),
        (post(json!({})).bearer(&tokens.refresh), bad_access(WRONG_TYPE)),
        (post(json!({})).header("authorization", "Bearer"), bad_authorization()),
        (post(json!({"refresh": ""})), no_credentials()),
        (post(json!({"refresh": null})), no_credentials()),
        (post(json!({"refresh": 1})), (400, json!({"refresh": ["Not a valid string."]}))),
    ] {
        app.refuses(call, expected).await;
    }
}

/// A client that has lost its refresh token sends what its storage returns, and the session stayed
/// alive.
#[tokio::test]
async fn a_logout_whose_refresh_token_is_null_or_blank_ends_the_session_of_the_bearer() {
    let app = TestApp::with_ann().await;
    for refresh in [json!(null), json!(""), json!("  ")] {
        let tokens = app.log_in(ANN).await;
        let call = app.post("/api/logout/", &json!({"refresh": refresh})).bearer(&tokens.access);
        assert_eq!(call.await.status, 204, "{refresh}");
        assert!(!app.is_live(&tokens).await, "{refresh}");
    }
}

#[tokio::test]
async fn the_token_in_the_body_counts_before_a_stale_header() {
    let (app, here) = TestApp::with_ann_in().await;
    let there = app.log_in(ANN).await;
    for bearer in [FORGED, here.access.as_str()] {
        let reply = app.logging_out(&there.refresh).bearer(bearer).await;
        assert_eq!(reply.status, 204);
    }
    assert!(!app.is_live(&there).await);
    assert!(app.is_live(&here).await);
}

#[tokio::test]
async fn of_two_that_end_a_session_at_once_one_ends_it() {
    let ways = ["/api/sessions/", "/api/logout/", "/api/token/blacklist/"];
    for (way, expected) in ways.into_iter().zip([[204, 404], [204, 204], [200, 401]]) {
        let (app, here) = TestApp::with_ann_in().await;
        let there = app.log_in(ANN).await;
        let calls = match way {
            "/api/sessions/" => [(); 2].map(|()| ending(&app, &here, &there.sid())),
            "/api/logout/" => {
                let by_bearer = app.call("POST", way).bearer(&there.access);
                [app.logging_out(&there.refresh), by_bearer]
            }
            _ => [(); 2].map(|()| app.blacklisting(&there.refresh)),
        };
        assert_eq!(statuses(&at_once(calls).await), expected, "{way}");
        let ended = events(&app).iter().filter(|kind| **kind == EventKind::SessionEnded).count();
        assert_eq!(ended, 1, "{way}");
    }
}

#[tokio::test]
async fn a_refresh_and_a_logout_at_once_leave_nothing_alive() {
    let (app, tokens) = TestApp::with_ann_in().await;
    let replies =
        at_once([app.refreshing(&tokens.refresh), app.logging_out(&tokens.refresh)]).await;
    assert_eq!(replies[1].status, 204);
    if replies[0].status == 200 {
        assert!(!app.is_live(&Tokens::of(&replies[0])).await);
    }
    assert!(!app.is_live(&tokens).await);
}

#[tokio::test]
async fn logging_out_everywhere_ends_all_of_ones_own() {
    let app = TestApp::start();
    let bob = app.newcomer(BOB).await;
    let here = app.newcomer(ANN).await;
    let there = app.log_in(ANN).await;
    let everywhere = || app.logging_out_everywhere(&here);
    let reply = everywhere().await;
    assert_eq!((reply.status, reply.text()), (204, ""));
    assert!(!app.is_live(&here).await);
    assert!(!app.is_live(&there).await);
    assert!(app.is_live(&bob).await);
    assert_eq!(events(&app).last(), Some(&EventKind::AllSessionsEnded));
    app.refuses(everywhere(), bad_access(BAD_TOKEN)).await;
    app.log_in(ANN).await;
}

#[tokio::test]
async fn without_cookies_a_cookie_logs_nobody_out() {
    let app = TestApp::start_with(|config: &mut Config| config.cookies.is_enabled = false);
    let tokens = app.newcomer(ANN).await;
    let call = app.call("POST", "/api/logout/");
    let call = call.cookie(&tokens.refresh, "https://accounts.example.com");
    app.refuses(call, no_credentials()).await;
}
