//! `GET /api/profile/`, and what every endpoint asks of an access token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey::config::SigningAlgorithm;
use serde_json::{Value, json};

use crate::support::messages::{BAD_TOKEN, WRONG_TYPE, bad_access};
use crate::support::{ANN, BOB, START, TestApp};

#[tokio::test]
async fn the_profile_is_that_of_the_bearer() {
    let app = TestApp::start();
    let body = json!({
        "email": "Ann@Example.com", "username": "Ann", "password": "tide-Lamp 7 orchard",
        "password_confirm": "tide-Lamp 7 orchard",
    });
    app.newcomer(BOB).await;
    app.advance(1);
    assert_eq!(app.post("/api/register/", &body).await.status, 201);
    let tokens = app.log_in(ANN).await;
    let reply = app.profile(&tokens.access).await;
    assert_eq!(
        (reply.status, reply.text()),
        (
            200,
            "{\"id\":2,\"email\":\"Ann@example.com\",\"username\":\"Ann\",\
             \"is_email_verified\":false,\"created_at\":\"2024-12-06T10:00:01.123456Z\"}"
        )
    );
    let token = app.mailed_token().await;
    app.confirm(&token).await;
    assert!(app.is_verified(&tokens.access).await, "the profile is as it is now");
}

#[tokio::test]
async fn the_scheme_is_read_in_any_letter_case() {
    let app = TestApp::start();
    let tokens = app.newcomer(ANN).await;
    for scheme in ["Bearer", "bearer", "BEARER", " bEaReR  "] {
        let authorization = format!("{scheme} {}", tokens.access);
        let reply = app.get("/api/profile/").header("authorization", authorization).await;
        assert_eq!(reply.status, 200, "{scheme}");
    }
}

#[tokio::test]
async fn an_access_token_lives_half_an_hour() {
    let app = TestApp::start();
    let tokens = app.newcomer(ANN).await;
    app.advance(30 * 60 - 2);
    assert_eq!(app.profile(&tokens.access).await.status, 200);
    app.advance(2);
    let expired = bad_access(BAD_TOKEN);
    assert_eq!(app.profile(&tokens.access).await.told(), expired);
}

#[tokio::test]
async fn an_access_token_from_more_than_a_minute_ahead_is_not_valid_yet() {
    let app = TestApp::start();
    let first = app.newcomer(ANN).await;
    app.refresh(&first.refresh).await;
    app.advance(25);
    // Within the grace nothing is written, so the mark stays where the clock can go back to.
    let ahead = app.refresh(&first.refresh).await;
    let back_by = |seconds| START.saturating_sub(std::time::Duration::from_secs(seconds));
    app.clock.set_wall(back_by(30));
    assert_eq!(app.profile(&ahead.access).await.status, 200);
    app.clock.set_wall(back_by(50));
    let invalid = bad_access(BAD_TOKEN);
    assert_eq!(app.profile(&ahead.access).await.told(), invalid);
    app.clock.set_wall(START);
    assert_eq!(app.profile(&ahead.access).await.status, 200);
}

#[tokio::test]
async fn a_removed_user_is_not_found_and_an_ended_session_is_not_valid() {
    let app = TestApp::start();
    let token = app.invited(ANN).await;
    let tokens = app.log_in(ANN).await;
    app.disown(&token).await;
    let reply = app.profile(&tokens.access).await;
    let not_found = json!({"detail": "User not found", "code": "user_not_found"});
    assert_eq!(reply.told(), (401, not_found));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"api\""));

    let first = app.newcomer(BOB).await;
    let second = app.refresh(&first.refresh).await;
    app.refresh(&second.refresh).await;
    assert_eq!(app.refreshing(&first.refresh).await.status, 401);
    for access in [first.access, second.access] {
        let reply = app.profile(&access).await;
        assert_eq!(reply.told(), bad_access(BAD_TOKEN));
    }
}

#[tokio::test]
async fn each_algorithm_signs_and_checks_its_own_tokens() {
    for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256, SigningAlgorithm::Hs256] {
        let app = TestApp::start_with(|config| config.tokens.algorithm = Some(algorithm));
        let tokens = app.newcomer(ANN).await;
        let header = tokens.access.split('.').next().unwrap();
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        let name = match algorithm {
            SigningAlgorithm::EdDsa => "EdDSA",
            SigningAlgorithm::Es256 => "ES256",
            SigningAlgorithm::Hs256 => "HS256",
        };
        assert_eq!((&header["alg"], &header["typ"]), (&json!(name), &json!("JWT")));
        assert!(header["kid"].is_string());
        assert_eq!(app.profile(&tokens.access).await.status, 200, "{name}");
        // Under a shared secret the two kinds still cannot pass for each other.
        let reply = app.profile(&tokens.refresh).await;
        assert_eq!(reply.told(), bad_access(WRONG_TYPE), "{name}");
        let wrong_type = json!({"detail": WRONG_TYPE, "code": "token_not_valid"});
        assert_eq!(app.refreshing(&tokens.access).await.told(), (401, wrong_type), "{name}");
    }
}
