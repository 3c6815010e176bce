//! `POST /api/login/`

use serde_json::{Value, json};

use crate::support::messages::wrong_credentials;
use crate::support::{ANN, NOBODY, PASSWORD, START, TestApp, Tokens, WRONG, claims};

#[tokio::test]
async fn a_login_gives_both_tokens_and_the_user_in_the_order_clients_see() {
    let app = TestApp::with_ann().await;
    let reply = app.login(ANN, PASSWORD).await;
    assert_eq!(reply.status, 200);
    let (refresh, access) = (reply.field("refresh"), reply.field("access"));
    let expected = format!(
        "{{\"refresh\":\"{refresh}\",\"access\":\"{access}\",\"user\":{{\"id\":1,\"email\":\
         \"ann@example.com\",\"username\":\"\",\"is_email_verified\":false,\"created_at\":\
         \"2024-12-06T10:00:00.123456Z\"}}}}"
    );
    assert_eq!(reply.text(), expected);
}

#[tokio::test]
async fn the_tokens_carry_the_claims_that_services_read() {
    let (_, tokens) = TestApp::with_ann_in().await;
    let now = START.unix_seconds();
    let is_hex = |value: &Value| {
        let text = value.as_str().unwrap();
        text.len() == 32 && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
    };
    let access = claims(&tokens.access);
    let refresh = claims(&tokens.refresh);
    assert!(is_hex(&access["jti"]) && is_hex(&refresh["jti"]) && is_hex(&access["sid"]));
    assert_ne!(access["jti"], refresh["jti"]);
    assert_eq!(
        access,
        json!({
            "token_type": "access", "exp": now + 30 * 60, "iat": now, "jti": access["jti"],
            "user_id": 1, "iss": "https://accounts.example.com", "sub": "1",
            "sid": refresh["sid"],
        })
    );
    assert_eq!(
        refresh,
        json!({
            "token_type": "refresh", "exp": now + 24 * 60 * 60, "iat": now,
            "jti": refresh["jti"], "user_id": 1, "sid": access["sid"], "gen": 0,
        })
    );
}

#[tokio::test]
async fn wrong_credentials_all_look_the_same() {
    let app = TestApp::with_ann().await;
    let table = [
        (NOBODY, PASSWORD),
        (ANN, "tide-Lamp 7 orchards"),
        (ANN, " tide-Lamp 7 orchard"),
        (ANN, "TIDE-LAMP 7 ORCHARD"),
    ];
    for (email, password) in table {
        let reply = app.refuses(app.login(email, password), wrong_credentials()).await;
        // No token was due, so none is asked for.
        assert_eq!(reply.header("www-authenticate"), None);
    }
}

#[tokio::test]
async fn an_unverified_account_can_be_kept_out() {
    let app = TestApp::start_with(|config| config.login.require_verified_email = true);
    let token = app.invited(ANN).await;
    let refusal = json!({"detail": "Email address is not verified.", "code": "email_not_verified"});
    for _ in 0..10 {
        // The password is right each time, so nobody is locked out.
        app.refuses(app.login(ANN, PASSWORD), (403, refusal.clone())).await;
    }
    app.refuses(app.login(ANN, WRONG), wrong_credentials()).await;
    app.confirm(&token).await;
    app.log_in(ANN).await;
}

#[tokio::test]
async fn a_login_ends_the_session_whose_refresh_token_comes_with_it() {
    let (app, former) = TestApp::with_ann_in().await;
    let other = app.log_in(ANN).await;
    let again = |password: &str, refresh: &Value| {
        app.post("/api/login/", &json!({"email": ANN, "password": password, "refresh": refresh}))
    };
    assert_eq!(again(WRONG, &json!(former.refresh)).await.status, 401);
    assert!(app.is_live(&former).await, "a login that fails ends nothing");
    for none_of_ours in [json!(null), json!(7), json!(["x"]), json!(""), json!("a.b.c")] {
        assert_eq!(again(PASSWORD, &none_of_ours).await.status, 200, "{none_of_ours}");
    }
    assert_eq!(again(PASSWORD, &json!(former.access)).await.status, 200, "of the other type");
    assert!(app.is_live(&former).await);

    // One that is superseded, or whose time is over, names its session as well.
    let superseded = former.refresh.clone();
    let former = app.refresh(&superseded).await;
    let reply = again(PASSWORD, &json!(format!(" {superseded} "))).await;
    assert_eq!(reply.status, 200);
    assert!(app.is_live(&Tokens::of(&reply)).await);
    assert!(!app.is_live(&former).await);
    assert!(app.is_live(&other).await);
    assert_eq!(again(PASSWORD, &json!(superseded)).await.status, 200, "it has ended before");

    let first = app.log_in(ANN).await;
    app.advance(20 * 3_600);
    let second = app.refresh(&first.refresh).await;
    app.advance(5 * 3_600);
    assert_eq!(again(PASSWORD, &json!(first.refresh)).await.status, 200);
    assert_eq!(app.refreshing(&second.refresh).await.status, 401, "it was still good");
}
