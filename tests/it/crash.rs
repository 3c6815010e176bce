//! `kill -9` straight after the answer, for every endpoint that changes an account: what was
//! answered is there at the next start. The real executable is killed by `.ci/interop/`.

use serde_json::json;

use crate::support::{Call, NEW_PASSWORD, PASSWORD, TestApp, Tokens, claims, ticket_of};

const EMAIL: &str = "ann@example.com";
const NEW: &str = "new@example.com";

/// Someone, a second device of theirs, and the server that knows them.
async fn ann() -> (TestApp, Tokens, Tokens) {
    let app = TestApp::start();
    let here = app.newcomer(EMAIL).await;
    let there = app.log_in(EMAIL).await;
    app.deliver().await;
    (app, here, there)
}

/// The server as it comes back after it was killed when it had answered.
async fn killed_after(app: TestApp, call: Call) -> TestApp {
    let reply = call.await;
    let left_behind = app.disk.image();
    assert!([200, 204].contains(&reply.status), "{reply:?}");
    app.restart_on(&left_behind).await
}

#[tokio::test]
async fn after_a_change_of_name_and_spelling() {
    let (app, here, _) = ann().await;
    let call = app.patch(&here, &json!({"username": "Ann", "email": "ANN@example.com"}));
    let app = killed_after(app, call).await;
    let profile = app.profile(&here.access).await;
    assert_eq!(
        (profile.field("username"), profile.field("email")),
        ("Ann".into(), "ANN@example.com".into())
    );
    let taken = json!({"email": "bob@example.com", "username": "ann", "password": PASSWORD,
        "password_confirm": PASSWORD});
    assert_eq!(app.post("/api/register/", &taken).await.status, 400);
}

#[tokio::test]
async fn after_a_change_of_address_is_asked_for_confirmed_or_called_off() {
    let (app, here, _) = ann().await;
    let call = app.moving(&here, NEW);
    let app = killed_after(app, call).await;
    assert_eq!(app.profile(&here.access).await.field("pending_email"), NEW);
    let confirm = ticket_of(&app.letter(NEW, "Confirm your new email address").await);
    app.letter(EMAIL, "is about to change").await;
    let call = app.confirming(&confirm);
    let app = killed_after(app, call).await;
    assert_eq!(app.profile(&here.access).await.field("email"), NEW);
    app.letter(EMAIL, "was changed").await;
    app.log_in(NEW).await;

    let (app, here, _) = ann().await;
    let change = app.change_address(&here, NEW).await;
    let call = app.press("cancel", &change.cancel);
    let app = killed_after(app, call).await;
    assert_eq!(app.confirming(&change.confirm).await.status, 400);
    assert_eq!(app.profile(&here.access).await.json().get("pending_email"), None);
}

#[tokio::test]
async fn after_a_reset_is_asked_for_and_made() {
    let (app, here, there) = ann().await;
    let call = app.forgetting(EMAIL);
    let app = killed_after(app, call).await;
    let token = ticket_of(&app.letter(EMAIL, "Choose a new password").await);
    let call = app.resetting(&token, NEW_PASSWORD);
    let app = killed_after(app, call).await;
    for device in [&here, &there] {
        assert!(!app.is_live(device).await);
    }
    assert_eq!(app.login(EMAIL, PASSWORD).await.status, 401);
    assert_eq!(app.resetting(&token, "third-Sail 9 meadow").await.status, 400);
    let reply = app.login(EMAIL, NEW_PASSWORD).await;
    assert_eq!(reply.json()["user"]["is_email_verified"], true);
    app.letter(EMAIL, "was reset").await;
}

#[tokio::test]
async fn after_a_reset_by_the_page() {
    let (app, here, _) = ann().await;
    let token = app.reset_token(EMAIL).await;
    let fields = [
        ("token", token.as_str()),
        ("new_password", NEW_PASSWORD),
        ("confirm_password", NEW_PASSWORD),
    ];
    let call = app.call("POST", "/reset-password/").form(&fields);
    let app = killed_after(app, call).await;
    assert!(!app.is_live(&here).await);
    assert_eq!(app.login(EMAIL, NEW_PASSWORD).await.status, 200);
}

#[tokio::test]
async fn after_a_change_of_password() {
    let (app, here, there) = ann().await;
    let reset = app.reset_token(EMAIL).await;
    let call = app.changing_password(&here, NEW_PASSWORD);
    let app = killed_after(app, call).await;
    assert!(app.is_live(&here).await);
    assert!(!app.is_live(&there).await);
    assert_eq!(app.login(EMAIL, PASSWORD).await.status, 401);
    assert_eq!(app.login(EMAIL, NEW_PASSWORD).await.status, 200);
    assert_eq!(app.resetting(&reset, NEW_PASSWORD).await.status, 400);
    app.letter(EMAIL, "was changed").await;
}

#[tokio::test]
async fn after_the_verification_mail_is_asked_for_again() {
    let (app, here, _) = ann().await;
    let call = app.resending(EMAIL);
    let app = killed_after(app, call).await;
    let token = ticket_of(&app.letter(EMAIL, "Confirm your email address").await);
    app.confirm(&token).await;
    assert!(app.is_verified(&here.access).await);
}

#[tokio::test]
async fn after_a_logout_by_any_way() {
    for way in 0..5 {
        let (app, here, there) = ann().await;
        let one = format!("/api/sessions/{}/", claims(&here.access)["sid"].as_str().unwrap());
        let refresh = json!({"refresh": here.refresh});
        let call = match way {
            0 => app.call("POST", "/api/logout/").bearer(&here.access),
            1 => app.post("/api/logout/", &refresh),
            2 => app.post("/api/token/blacklist/", &refresh),
            3 => app.call("DELETE", &one).bearer(&there.access),
            _ => app.call("POST", "/api/logout/all/").bearer(&there.access),
        };
        let app = killed_after(app, call).await;
        assert!(!app.is_live(&here).await, "{way}");
        assert_eq!(app.is_live(&there).await, way < 4, "{way}");
    }
}

#[tokio::test]
async fn after_a_logout_by_an_expired_bearer_and_by_a_cookie() {
    let (app, here, _) = ann().await;
    app.advance(30 * 60);
    let call = app.call("POST", "/api/logout/").bearer(&here.access);
    let app = killed_after(app, call).await;
    assert_eq!(app.refreshing(&here.refresh).await.status, 401);

    let app = TestApp::start_with(|config| config.cookies.is_enabled = true);
    let here = app.newcomer(EMAIL).await;
    let carrying = |app: &TestApp, path: &str, token: &str| {
        let cookie = format!("__Host-latchkey_refresh={token}");
        let call = app.call("POST", path).header("origin", "https://accounts.example.com");
        call.header("cookie", cookie)
    };
    let call = carrying(&app, "/api/token/refresh/", &here.refresh);
    let app = killed_after(app, call).await;
    // Its answer is lost, so the cookie is shown once more: it has the one successor.
    let reply = carrying(&app, "/api/token/refresh/", &here.refresh).await;
    let cookie = reply.header("set-cookie").unwrap().to_owned();
    let successor = cookie.split_once('=').unwrap().1.split_once(';').unwrap().0;
    assert_eq!(claims(successor)["gen"], 1);
    let call = carrying(&app, "/api/logout/", successor);
    let app = killed_after(app, call).await;
    assert_eq!(app.profile(&here.access).await.status, 401);
    assert_eq!(carrying(&app, "/api/token/refresh/", successor).await.status, 401);
}

#[tokio::test]
async fn after_a_deletion_and_after_this_was_not_me() {
    let (app, here, there) = ann().await;
    let call = app.deleting(&here, PASSWORD);
    let app = killed_after(app, call).await;
    for device in [&here, &there] {
        assert!(!app.is_live(device).await);
    }
    assert_eq!((app.app.store.count_users(), app.app.store.count_sessions()), (Ok(0), Ok(0)));
    app.letter(EMAIL, "was deleted").await;
    let again = app.newcomer(EMAIL).await;
    assert_eq!(claims(&again.access)["user_id"], 2);

    let app = TestApp::start();
    let token = app.invited(EMAIL).await;
    let call = app.press("disown_confirmed", &token);
    let app = killed_after(app, call).await;
    assert_eq!(app.app.store.count_users(), Ok(0));
    app.register(EMAIL).await;
}

#[tokio::test]
async fn after_the_link_was_turned_into_one_that_resets() {
    let app = TestApp::start();
    let verification = app.invited(EMAIL).await;
    let call = app.press("reset", &verification);
    let page = call.await;
    let left_behind = app.disk.image();
    let (_, rest) = page.text().split_once("name=\"token\" value=\"").unwrap();
    let token = rest.split_once('"').unwrap().0.to_owned();
    let app = app.restart_on(&left_behind).await;
    assert_eq!(app.resetting(&token, NEW_PASSWORD).await.status, 200);
    assert_eq!(app.login(EMAIL, NEW_PASSWORD).await.status, 200);
}
