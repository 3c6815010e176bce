//! `/api/token/verify/` and `/api/token/blacklist/`

use latchkey::domain::EventKind;
use serde_json::{Value, json};

use crate::support::messages::{BAD_TOKEN, WRONG_TYPE, bad_refresh};
use crate::support::{ANN, TestApp};

fn good() -> (u16, Value) {
    (200, json!({}))
}

fn invalid() -> (u16, Value) {
    bad_refresh(BAD_TOKEN)
}

async fn verified(app: &TestApp, token: &str) -> (u16, Value) {
    app.unchanged(async || app.verifying(token).await).await.told()
}

#[tokio::test]
async fn both_kinds_verify_while_they_are_good() {
    let (app, tokens) = TestApp::with_ann_in().await;
    assert_eq!(verified(&app, &tokens.access).await, good());
    assert_eq!(verified(&app, &tokens.refresh).await, good());
    let form = app.call("POST", "/api/token/verify").form(&[("token", &tokens.access)]);
    assert_eq!(form.await.told(), good());

    app.advance(30 * 60);
    assert_eq!(verified(&app, &tokens.access).await, invalid(), "expired");
    assert_eq!(verified(&app, &tokens.refresh).await, good());
    app.advance(24 * 60 * 60);
    assert_eq!(verified(&app, &tokens.refresh).await, invalid(), "expired");
}

#[tokio::test]
async fn a_superseded_refresh_token_is_refused_and_is_no_reuse() {
    let (app, first) = TestApp::with_ann_in().await;
    let second = app.refresh(&first.refresh).await;
    assert_eq!(verified(&app, &first.refresh).await, good(), "as a refresh within the grace");
    assert_eq!(verified(&app, &first.access).await, good(), "its session lives");
    app.advance(60);
    assert_eq!(verified(&app, &first.refresh).await, good(), "a first one is kept");
    let third = app.refresh(&second.refresh).await;
    assert_eq!(verified(&app, &first.refresh).await, invalid());
    app.advance(60);
    assert_eq!(verified(&app, &second.refresh).await, invalid());
    assert_eq!(verified(&app, &third.refresh).await, good());
    app.refresh(&third.refresh).await;
}

#[tokio::test]
async fn tokens_of_an_ended_session_and_strangers_do_not_verify() {
    let (app, tokens) = TestApp::with_ann_in().await;
    let others = TestApp::start_as_stranger().newcomer(ANN).await;
    for token in [others.access.as_str(), &others.refresh, "garbage", "a.b.c"] {
        let reply = app.refuses(app.verifying(token), invalid()).await;
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"api\""));
    }
    assert_eq!(app.blacklisting(&tokens.refresh).await.told(), good());
    assert_eq!(verified(&app, &tokens.access).await, invalid());
    assert_eq!(verified(&app, &tokens.refresh).await, invalid());
}

#[tokio::test]
async fn a_blacklisted_token_ends_its_session_once() {
    let (app, tokens) = TestApp::with_ann_in().await;
    let other = app.log_in(ANN).await;
    assert_eq!(app.blacklisting(&tokens.refresh).await.told(), good());
    assert_eq!(app.profile(&tokens.access).await.status, 401);
    assert_eq!(app.refreshing(&tokens.refresh).await.told(), invalid());
    assert_eq!(app.profile(&other.access).await.status, 200);
    let events = app.events();
    assert_eq!(events.last().unwrap().kind, EventKind::SessionEnded);
    app.refuses(app.blacklisting(&tokens.refresh), invalid()).await;

    let superseded = app.log_in(ANN).await;
    let successor = app.refresh(&superseded.refresh).await;
    assert_eq!(app.blacklisting(&superseded.refresh).await.told(), good());
    assert_eq!(app.refreshing(&successor.refresh).await.told(), invalid());
}

#[tokio::test]
async fn what_cannot_be_blacklisted_is_told_in_the_words_of_the_contract() {
    let (app, tokens) = TestApp::with_ann_in().await;
    let others = TestApp::start_as_stranger().newcomer(ANN).await;
    for (token, expected) in [
        (&tokens.access, bad_refresh(WRONG_TYPE)),
        (&others.refresh, invalid()),
        (&"x".to_owned(), invalid()),
    ] {
        app.refuses(app.blacklisting(token), expected).await;
    }
    app.advance(24 * 60 * 60);
    app.refuses(app.blacklisting(&tokens.refresh), invalid()).await;
}
