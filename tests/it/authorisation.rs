//! Who may do what, for all endpoints that ask for an access token: nothing without a good one,
//! and nothing to anybody else.

use serde_json::{Value, json};

use crate::support::messages::{
    BAD_TOKEN, WRONG_TYPE, bad_access, bad_authorization, no_credentials, not_found, user_not_found,
};
use crate::support::{ANN, BOB, Call, NEW_PASSWORD, PASSWORD, TestApp, Tokens};

/// A token that was signed by nobody.
const FORGED: &str = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoxfQ.AAAA";

/// Every endpoint that asks for an access token, with what it would act on.
fn endpoints(tokens: &Tokens) -> [(&'static str, String, Value); 9] {
    let session = tokens.sid();
    let profile = "/api/profile/".to_owned();
    let email = json!({"email": "new@example.com", "current_password": PASSWORD});
    let password = json!({
        "current_password": PASSWORD, "new_password": NEW_PASSWORD,
        "confirm_password": NEW_PASSWORD,
    });
    [
        ("GET", profile.clone(), json!({})),
        ("PATCH", profile.clone(), json!({"username": "Ann"})),
        ("PATCH", profile.clone(), email.clone()),
        ("PUT", profile.clone(), email),
        ("DELETE", profile, json!({"password": PASSWORD})),
        ("POST", "/api/change-password/".to_owned(), password),
        ("GET", "/api/sessions/".to_owned(), json!({})),
        ("DELETE", format!("/api/sessions/{session}/"), json!({})),
        ("POST", "/api/logout/all/".to_owned(), json!({})),
    ]
}

fn calling(app: &TestApp, (method, path, body): &(&str, String, Value)) -> Call {
    app.call(method, path).json(body)
}

#[tokio::test]
async fn without_a_good_access_token_nobody_reads_or_changes_anything() {
    let app = TestApp::start();
    let gone = app.newcomer(BOB).await;
    assert_eq!(app.deleting(&gone, PASSWORD).await.status, 204);
    let expired = app.newcomer(ANN).await;
    app.advance(30 * 60);
    let tokens = app.refresh(&expired.refresh).await;
    let ended = app.log_in(ANN).await;
    assert_eq!(app.call("POST", "/api/logout/").bearer(&ended.access).await.status, 204);
    let foreign = TestApp::start_as_stranger().newcomer(ANN).await;

    let (none, bad_header, invalid, wrong_type) =
        (no_credentials(), bad_authorization(), bad_access(BAD_TOKEN), bad_access(WRONG_TYPE));
    let table = [
        (String::new(), &none),
        ("Basic YTpi".to_owned(), &none),
        ("Token abc".to_owned(), &none),
        (tokens.access.clone(), &none),
        ("Bearer".to_owned(), &bad_header),
        ("bearer ".to_owned(), &bad_header),
        (format!("Bearer {0} {0}", tokens.access), &bad_header),
        ("Bearer garbage".to_owned(), &invalid),
        (format!("Bearer {}", "x".repeat(10_000)), &invalid),
        (format!("Bearer {FORGED}"), &invalid),
        (format!("Bearer {}", foreign.access), &invalid),
        (format!("Bearer {}", expired.access), &invalid),
        (format!("Bearer {}", ended.access), &invalid),
        (format!("Bearer {}", gone.access), &invalid),
        (format!("Bearer {}", tokens.refresh), &wrong_type),
    ];
    for endpoint in endpoints(&tokens) {
        for (authorization, refusal) in &table {
            let mut call = calling(&app, &endpoint);
            if !authorization.is_empty() {
                call = call.header("authorization", authorization);
            }
            let reply = app.refuses(call, (*refusal).clone()).await;
            assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"api\""));
        }
    }
    let not_text = app.get("/api/profile/").header("authorization", b"Bearer \xff\xfe");
    assert_eq!(not_text.await.told(), invalid);
    // The account of a good token may be gone meanwhile.
    assert_eq!(app.deleting(&tokens, PASSWORD).await.status, 204);
    for endpoint in endpoints(&tokens) {
        let call = calling(&app, &endpoint).bearer(&tokens.access);
        app.refuses(call, user_not_found()).await;
    }
}

#[tokio::test]
async fn every_one_of_them_takes_a_good_one() {
    // Or the refusals above might be for another reason.
    let schemes = ["Bearer", "bearer", "BEARER", " bEaReR  "];
    for (place, scheme) in (0..9).zip(schemes.into_iter().cycle()) {
        let (app, tokens) = TestApp::with_ann_in().await;
        let endpoint = &endpoints(&tokens)[place];
        let authorization = format!("{scheme} {}", tokens.access);
        let reply = calling(&app, endpoint).header("authorization", authorization).await;
        assert!([200, 204].contains(&reply.status), "{endpoint:?}: {reply:?}");
    }
}

#[tokio::test]
async fn what_one_person_does_touches_nobody_else() {
    let app = TestApp::start();
    let (ann, other) = (app.named(ANN, "Ann").await, app.log_in(ANN).await);
    let change = app.change_address(&ann, "ann@example.org").await;
    let reset = app.reset_token(ANN).await;
    let listed = async || {
        let sessions = app.get("/api/sessions/").bearer(&ann.access).await;
        (sessions.told(), app.profile(&ann.access).await.told())
    };
    let before = listed().await;
    let her_mails = || app.mails.sent().iter().filter(|mail| mail.to.starts_with("ann@")).count();
    let mails = her_mails();

    let bob = app.newcomer(BOB).await;
    // Her session is not there for him, and her name and address are not to be had.
    let (_, session, _) = &endpoints(&ann)[7];
    let reply = app.call("DELETE", session).bearer(&bob.access).await;
    assert_eq!(reply.told(), not_found());
    for body in [json!({"username": "ANN"}), json!({"email": ANN, "current_password": PASSWORD})] {
        assert_eq!(app.patch(&bob, &body).await.status, 400);
    }
    // All that he may do with what is his.
    assert_eq!(app.patch(&bob, &json!({"username": "Bob"})).await.status, 200);
    let his = app.change_address(&bob, "bobby@example.com").await;
    app.confirm(&his.confirm).await;
    assert_eq!(app.changing_password(&bob, NEW_PASSWORD).await.status, 200);
    let token = app.reset_token("bobby@example.com").await;
    assert_eq!(app.resetting(&token, "third-Sail 9 meadow").await.status, 200);
    let login = || app.login("bobby@example.com", "third-Sail 9 meadow");
    let bob = Tokens::of(&login().await);
    assert_eq!(app.logging_out_everywhere(&bob).await.status, 204);
    let bob = Tokens::of(&login().await);
    assert_eq!(app.deleting(&bob, "third-Sail 9 meadow").await.status, 204);

    app.deliver().await;
    assert_eq!(her_mails(), mails);
    assert_eq!(listed().await, before);
    assert!(app.is_live(&other).await);
    app.log_in(ANN).await;
    // Her links are as good as they were.
    app.confirm(&change.confirm).await;
    assert_eq!(app.resetting(&reset, NEW_PASSWORD).await.status, 400, "void by the change");
    assert_eq!(app.profile(&ann.access).await.field("email"), "ann@example.org");
}
