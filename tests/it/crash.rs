//! `kill -9` straight after the answer, for the requests that the histories of `power` do not make:
//! what was answered is there at the next start. The real executable is killed by `.ci/interop/`.

use serde_json::json;

use crate::support::{ANN, BOB, Call, NEW_PASSWORD, PASSWORD, TestApp, Tokens, claims};

/// Someone, a second device of theirs, and the server that knows them.
async fn ann() -> (TestApp, Tokens, Tokens) {
    let app = TestApp::start_with(|config| config.cookies.is_enabled = true);
    let here = app.newcomer(ANN).await;
    let there = app.log_in(ANN).await;
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

/// A POST of nothing but the cookie.
fn carrying(app: &TestApp, path: &str, token: &str) -> Call {
    let call = app.call("POST", path).header("origin", "https://accounts.example.com");
    call.header("cookie", format!("__Host-latchkey_refresh={token}"))
}

#[tokio::test]
async fn after_a_change_of_name_and_spelling() {
    let (app, here, _) = ann().await;
    let call = app.patch(&here, &json!({"username": "Ann", "email": "ANN@example.com"}));
    let app = killed_after(app, call).await;
    let profile = app.profile(&here.access).await;
    let kept = (profile.field("username"), profile.field("email"));
    assert_eq!(kept, ("Ann".into(), "ANN@example.com".into()));
    let taken = json!({"email": BOB, "username": "ann", "password": PASSWORD,
        "password_confirm": PASSWORD});
    assert_eq!(app.post("/api/register/", &taken).await.status, 400);
}

#[tokio::test]
async fn after_a_reset_by_the_page_and_after_a_link_became_one_that_resets() {
    let (app, here, _) = ann().await;
    let token = app.reset_token(ANN).await;
    let fields = [
        ("token", token.as_str()),
        ("new_password", NEW_PASSWORD),
        ("confirm_password", NEW_PASSWORD),
    ];
    let call = app.call("POST", "/reset-password/").form(&fields);
    let app = killed_after(app, call).await;
    assert!(!app.is_live(&here).await);
    assert_eq!(app.login(ANN, NEW_PASSWORD).await.status, 200);

    let app = TestApp::start();
    let verification = app.invited(ANN).await;
    let page = app.press("reset", &verification).await;
    let left_behind = app.disk.image();
    let (_, rest) = page.text().split_once("name=\"token\" value=\"").unwrap();
    let token = rest.split_once('"').unwrap().0.to_owned();
    let app = app.restart_on(&left_behind).await;
    assert_eq!(app.resetting(&token, NEW_PASSWORD).await.status, 200);
    assert_eq!(app.login(ANN, NEW_PASSWORD).await.status, 200);
}

#[tokio::test]
async fn after_a_logout_by_any_other_way() {
    for way in ["bearer", "expired bearer", "blacklist", "cookie"] {
        let (app, here, mut there) = ann().await;
        if way == "expired bearer" {
            app.advance(30 * 60);
            there = app.refresh(&there.refresh).await;
        }
        let call = match way {
            "blacklist" => app.blacklisting(&here.refresh),
            "cookie" => carrying(&app, "/api/logout/", &here.refresh),
            _ => app.call("POST", "/api/logout/").bearer(&here.access),
        };
        let app = killed_after(app, call).await;
        assert_ne!(app.profile(&here.access).await.status, 200, "{way}");
        assert_eq!(app.refreshing(&here.refresh).await.status, 401, "{way}");
        assert!(app.is_live(&there).await, "{way}");
    }
}

#[tokio::test]
async fn after_a_refresh_by_a_cookie() {
    let (app, here, _) = ann().await;
    let call = carrying(&app, "/api/token/refresh/", &here.refresh);
    let app = killed_after(app, call).await;
    // Its answer is lost, so the cookie is shown once more: it has the one successor.
    let reply = carrying(&app, "/api/token/refresh/", &here.refresh).await;
    let cookie = reply.header("set-cookie").unwrap();
    let successor = cookie.split_once('=').unwrap().1.split_once(';').unwrap().0;
    assert_eq!(claims(successor)["gen"], 1);
}

#[tokio::test]
async fn after_this_was_not_me() {
    let app = TestApp::start();
    let token = app.invited(ANN).await;
    let call = app.press("disown_confirmed", &token);
    let app = killed_after(app, call).await;
    assert_eq!(app.app.store.count_users(), Ok(0));
    app.register(ANN).await;
}
