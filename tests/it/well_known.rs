//! `GET /.well-known/revoked-sessions` and `GET /.well-known/jwks.json`. That others verify by both,
//! across rotations, is shown by `.ci/interop/`.

use std::num::NonZeroUsize;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey::config::SigningAlgorithm;
use latchkey::domain::{Authentication, Client, Session, SessionId, UserId};
use latchkey::store::NewSession;
use serde_json::{Value, json};

use crate::support::messages::not_found;
use crate::support::{ANN, BOB, Call, Reply, START, TestApp, Tokens, at_once, claims};

fn reading(app: &TestApp) -> Call {
    app.get("/.well-known/revoked-sessions")
}

/// The claims of the list.
pub(crate) async fn list(app: &TestApp) -> Value {
    let reply = reading(app).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/jwt"));
    assert_eq!(reply.header("cache-control"), Some("public, max-age=10"));
    claims(reply.text())
}

/// What stands for a session in the list: by its `sid`, as a service computes it.
pub(crate) fn mark(tokens: &Tokens) -> Value {
    let sid = tokens.sid();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, sid.as_bytes());
    json!(URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]))
}

async fn log_out(app: &TestApp, tokens: &Tokens) {
    assert_eq!(app.logging_out(&tokens.refresh).await.status, 204);
}

fn tag(reply: &Reply) -> String {
    let tag = reply.header("etag").unwrap();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() == 24, "{tag}");
    tag.to_owned()
}

#[tokio::test]
async fn a_logout_is_in_the_list_at_once_and_until_its_access_token_has_died() {
    let (app, tokens) = TestApp::with_ann_in().await;
    let other = app.log_in(ANN).await;
    let now = START.unix_seconds();
    let iss = "https://accounts.example.com";
    assert_eq!(
        list(&app).await,
        json!({"iss": iss, "iat": now, "exp": now + 300, "sessions": [], "complete": true})
    );
    log_out(&app, &tokens).await;
    assert_eq!(list(&app).await["sessions"], json!([mark(&tokens)]));
    app.advance(60);
    log_out(&app, &other).await;
    assert_eq!(list(&app).await["sessions"], json!([mark(&tokens), mark(&other)]));
    app.advance(29 * 60);
    assert_eq!(list(&app).await["sessions"], json!([mark(&other)]));
    // What has died goes when the list is signed the next time.
    app.advance(2 * 60);
    assert_eq!(list(&app).await["sessions"], json!([]));
}

/// Every other way to end a session is in `audit`, which looks at the list as well.
#[tokio::test]
async fn a_stolen_session_is_in_the_list() {
    let (app, tokens) = TestApp::with_ann_in().await;
    let successor = app.refresh(&app.refresh(&tokens.refresh).await.refresh).await;
    assert_eq!(app.refreshing(&tokens.refresh).await.status, 401);
    assert_eq!(mark(&successor), mark(&tokens));
    assert_eq!(list(&app).await["sessions"], json!([mark(&tokens)]));
}

#[tokio::test]
async fn its_tag_stays_until_it_changes_or_is_signed_anew() {
    let (app, tokens) = TestApp::with_ann_in().await;
    let first = reading(&app).await;
    app.advance(119);
    let same = reading(&app).await;
    assert_eq!((tag(&same), same.text()), (tag(&first), first.text()));
    let reply = reading(&app).header("if-none-match", format!("\"x\", {}", tag(&first))).await;
    assert_eq!((reply.status, reply.text(), tag(&reply)), (304, "", tag(&first)));
    assert_eq!(reply.header("cache-control"), Some("public, max-age=10"));
    app.advance(1);
    let renewed = reading(&app).header("if-none-match", tag(&first)).await;
    assert_eq!(renewed.status, 200, "it would expire in the reader's hands");
    assert_eq!(claims(renewed.text())["exp"], START.unix_seconds() + 120 + 300);
    log_out(&app, &tokens).await;
    let changed = reading(&app).header("if-none-match", tag(&renewed)).await;
    assert_eq!(changed.status, 200);
    assert_ne!(tag(&changed), tag(&renewed));
}

#[tokio::test]
async fn many_who_read_at_once_get_the_same() {
    let (app, tokens) = TestApp::with_ann_in().await;
    log_out(&app, &tokens).await;
    let replies = at_once((0..32).map(|_| reading(&app))).await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
}

#[tokio::test]
async fn a_long_list_is_signed_once_a_second_however_fast_it_grows() {
    let app = TestApp::start_with(|config| config.tokens.sessions_per_user = NonZeroUsize::MAX);
    let tokens = app.newcomer(ANN).await;
    let (store, at) = (&app.app.store, app.app.moment().unwrap());
    let user = store.find_user(UserId(1)).unwrap().unwrap();
    let client = Client::new("192.0.2.1".parse().unwrap(), "");
    let mut marks = Vec::new();
    for _ in 0..1_100 {
        let id = SessionId::new(at.now, app.app.random.bytes());
        marks.push(json!(URL_SAFE_NO_PAD.encode(id.digest())));
        let lifetimes = app.app.config.tokens.sessions;
        let opening = NewSession {
            session: Session::open(id, user.id, client.clone(), at.now, lifetimes),
            authentication: Authentication::by_password(&user),
            former: Vec::new(),
        };
        assert!(store.open_session(opening, at).await.unwrap());
    }
    let other = app.newcomer(BOB).await;
    app.logging_out_everywhere(&tokens).await;
    let long = list(&app).await["sessions"].clone();
    let long = long.as_array().unwrap();
    assert_eq!(long.len(), 1_101);
    assert!(marks.iter().all(|mark| long.contains(mark)));

    log_out(&app, &other).await;
    assert_eq!(list(&app).await["sessions"].as_array().unwrap().len(), 1_101);
    app.advance(1);
    assert!(list(&app).await["sessions"].as_array().unwrap().contains(&mark(&other)));
}

#[tokio::test]
async fn while_the_clock_is_behind_no_list_is_signed() {
    let (app, _) = TestApp::with_ann_in().await;
    reading(&app).await;
    app.clock.set_wall(START.saturating_sub(std::time::Duration::from_secs(3_600)));
    assert_eq!(reading(&app).await.status, 503);
}

#[tokio::test]
async fn the_key_that_signs_is_there_for_everyone_and_nothing_secret_is() {
    for (algorithm, expected, sizes) in [
        (
            SigningAlgorithm::EdDsa,
            json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig"}),
            &[("x", 32)][..],
        ),
        (
            SigningAlgorithm::Es256,
            json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig"}),
            &[("x", 32), ("y", 32)],
        ),
    ] {
        let app = TestApp::start_with(|config| config.tokens.algorithm = Some(algorithm));
        let tokens = app.newcomer(ANN).await;
        let header = tokens.access.split('.').next().unwrap();
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        let reply = app.get("/.well-known/jwks.json").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("cache-control"), Some("public, max-age=1800"));
        let keys = reply.json()["keys"].as_array().unwrap().clone();
        let [key] = &keys[..] else { panic!("{keys:?}") };
        let mut key = key.as_object().unwrap().clone();
        assert_eq!(key.remove("kid").as_ref(), Some(&header["kid"]));
        for (coordinate, size) in sizes {
            let text = key.remove(*coordinate).unwrap();
            assert_eq!(URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap().len(), *size);
        }
        assert_eq!(Value::Object(key), expected, "and no other half");
    }
}

#[tokio::test]
async fn under_a_shared_secret_neither_keys_nor_ended_sessions_are_published() {
    let app = TestApp::start_with(|config| config.tokens.algorithm = Some(SigningAlgorithm::Hs256));
    app.newcomer(ANN).await;
    for path in ["/.well-known/jwks.json", "/.well-known/revoked-sessions"] {
        assert_eq!(app.get(path).await.told(), not_found());
    }
}
