//! What clients and services of djangorestframework-simplejwt rely on: its own login, and the two
//! releases whose wire format can be chosen. The bodies are those that the releases give.

use latchkey::config::{Config, SimpleJwt};
use serde_json::{Value, json};

use crate::support::messages::{BAD_TOKEN, bad_refresh};
use crate::support::{ANN, BOB, Call, PASSWORD, TestApp, Tokens, claims};

fn obtaining(app: &TestApp, body: &Value) -> Call {
    app.post("/api/token/", body)
}

fn no_active_account() -> (u16, Value) {
    (401, json!({"detail": "No active account found with the given credentials"}))
}

fn v5_5(config: &mut Config) {
    config.compatibility.simplejwt = SimpleJwt::V5_5;
}

#[tokio::test]
async fn its_login_gives_tokens_alone_for_an_address_in_either_field() {
    let app = TestApp::with_ann().await;
    for body in [
        json!({"email": ANN, "password": PASSWORD}),
        json!({"username": "ANN@example.com", "password": PASSWORD}),
        json!({"email": ANN, "username": "bob", "password": PASSWORD}),
    ] {
        let reply = obtaining(&app, &body).await;
        let tokens = Tokens::of(&reply);
        let (refresh, access) = (&tokens.refresh, &tokens.access);
        assert_eq!(reply.text(), format!("{{\"refresh\":\"{refresh}\",\"access\":\"{access}\"}}"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(app.profile(access).await.status, 200);
        app.refresh(refresh).await;
    }
    let form = app.call("POST", "/api/token").form(&[("username", ANN), ("password", PASSWORD)]);
    assert_eq!(form.await.status, 200);
}

#[tokio::test]
async fn its_login_refuses_in_its_own_words_and_tells_fields_by_their_names() {
    let app = TestApp::with_ann().await;
    for (email, password) in [(ANN, "wrong"), (BOB, PASSWORD)] {
        let body = json!({"username": email, "password": password});
        let reply = app.refuses(obtaining(&app, &body), no_active_account()).await;
        assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer realm="api""#));
    }
    let errors = json!({"username": ["Enter a valid email address."]});
    let body = json!({"username": "ann", "password": PASSWORD});
    app.refuses(obtaining(&app, &body), (400, errors)).await;
}

#[tokio::test]
async fn its_login_counts_with_the_other_one() {
    let app = TestApp::start_with(|config| config.login.max_failures = 2.try_into().unwrap());
    app.register(ANN).await;
    let wrong = json!({"email": ANN, "password": "wrong"});
    assert_eq!(obtaining(&app, &wrong).await.told(), no_active_account());
    assert_eq!(app.login(ANN, "wrong").await.status, 401);
    let locked = obtaining(&app, &json!({"email": ANN, "password": PASSWORD})).await;
    assert_eq!(locked.status, 429);
    assert_eq!(locked.json()["detail"], "Too many failed attempts. Please try again later.");
}

#[tokio::test]
async fn from_5_5_on_user_id_is_a_string_and_tokens_of_before_are_good() {
    let (app, before) = TestApp::with_ann_in().await;
    assert_eq!(claims(&before.access)["user_id"], 1);
    let app = app.restart_with(v5_5).await;
    assert_eq!(app.profile(&before.access).await.status, 200);
    let after = app.refresh(&before.refresh).await;
    for token in [&after.access, &after.refresh] {
        assert_eq!(claims(token)["user_id"], "1");
    }
    assert_eq!(app.profile(&after.access).await.json()["id"], 1);
}

#[tokio::test]
async fn from_5_5_on_invalid_and_expired_are_two_messages() {
    for (change, invalid, expired) in [
        ((|_| {}) as fn(&mut Config), "Token is invalid or expired", "Token is invalid or expired"),
        (v5_5, "Token is invalid", "Token is expired"),
    ] {
        let app = TestApp::start_with(change);
        let tokens = app.newcomer(ANN).await;
        let verify = |token: &str| app.verifying(token);
        let message = async |access: &str| {
            let body = app.profile(access).await.json();
            body["messages"][0]["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(app.refreshing("x.y.z").await.told(), bad_refresh(invalid));
        assert_eq!(verify("x.y.z").await.told(), bad_refresh(invalid));
        assert_eq!(message("x.y.z").await, invalid);
        app.advance(25 * 60 * 60);
        assert_eq!(app.refreshing(&tokens.refresh).await.told(), bad_refresh(expired));
        assert_eq!(verify(&tokens.refresh).await.told(), bad_refresh(expired));
        assert_eq!(verify(&tokens.access).await.told(), bad_refresh(expired));
        assert_eq!(message(&tokens.access).await, expired);
    }
}

#[tokio::test]
async fn from_5_5_on_a_disabled_account_has_an_answer_of_its_own_at_a_refresh() {
    let (app, tokens) = TestApp::with_ann_in().await;
    app.disk.replace(br#""is_disabled":false"#, br#""is_disabled":true "#);
    let app = app.restart().await;
    assert_eq!(app.refreshing(&tokens.refresh).await.told(), bad_refresh(BAD_TOKEN));
    let app = app.restart_with(v5_5).await;
    let expected = json!({"detail": "No active account found for the given token."});
    app.refuses(app.refreshing(&tokens.refresh), (401, expected)).await;
}
