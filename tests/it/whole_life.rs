//! One account from its first day to its last, and the first of the next.

use serde_json::json;

use crate::support::{NEW_PASSWORD, PASSWORD, TestApp, Tokens, claims, ticket_of};

const FIRST: &str = "ann@example.com";
const SECOND: &str = "ann.lee@example.org";
const DEVICES: [(&str, &str, &str); 3] = [
    (
        "192.0.2.10",
        "Mozilla/5.0 (Windows NT 10.0; rv:133.0) Gecko/20100101 Firefox/133.0",
        "Firefox on Windows",
    ),
    (
        "2001:db8::20",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
         Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
        "Safari on iPhone",
    ),
    ("192.0.2.30", "curl/8.11.0", "curl"),
];

/// The devices that the list of sessions shows, newest first, and the ids of their sessions.
async fn sessions(app: &TestApp, tokens: &Tokens) -> Vec<(String, String)> {
    let reply = app.get("/api/sessions/").bearer(&tokens.access).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let list = reply.json().as_array().unwrap().clone();
    list.iter().map(|session| (text(&session["device"]), text(&session["id"]))).collect()
}

async fn log_in(app: &TestApp, email: &str, password: &str, device: usize) -> Tokens {
    let (address, agent, _) = DEVICES[device];
    app.advance(60);
    Tokens::of(&app.login(email, password).from(address).header("user-agent", agent).await)
}

#[tokio::test]
async fn an_account_lives_its_whole_life() {
    let app = TestApp::start();

    // Register and confirm.
    let token = app.invited(FIRST).await;
    app.confirm(&token).await;

    // Log in on three devices.
    let mut devices = Vec::new();
    for device in 0..3 {
        devices.push(log_in(&app, FIRST, PASSWORD, device).await);
    }
    let names: Vec<String> =
        sessions(&app, &devices[0]).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [DEVICES[2].2, DEVICES[1].2, DEVICES[0].2]);

    // Rename, on one; the others see it.
    let reply = app.patch(&devices[0], &json!({"username": "Ann"})).await;
    assert_eq!(reply.status, 200);
    assert_eq!(app.profile(&devices[2].access).await.field("username"), "Ann");

    // Change the address.
    let change = app.change_address(&devices[1], SECOND).await;
    assert_eq!(app.profile(&devices[0].access).await.field("pending_email"), SECOND);
    app.confirm(&change.confirm).await;
    let user = json!({
        "id": 1, "email": SECOND, "username": "Ann", "is_email_verified": true,
        "created_at": "2024-12-06T10:00:00.123456Z",
    });
    for device in &mut devices {
        assert_eq!(app.profile(&device.access).await.json(), user);
        *device = app.refresh(&device.refresh).await;
    }
    assert_eq!(app.login(FIRST, PASSWORD).await.status, 401);

    // Lose the password, try to remember it, and reset it.
    for _ in 0..5 {
        assert_eq!(app.login(SECOND, "what-Was 8 it").await.status, 401);
    }
    assert_eq!(app.login(SECOND, PASSWORD).await.status, 429);
    let reset = app.reset_token(SECOND).await;
    assert_eq!(app.resetting(&reset, NEW_PASSWORD).await.status, 200);
    app.letter(SECOND, "was reset").await;

    // All devices are thrown out.
    for device in &devices {
        assert!(!app.is_live(device).await);
    }
    assert_eq!(app.login(SECOND, PASSWORD).await.status, 401);

    // A restart later nothing of this is forgotten.
    let app = app.restart().await;
    for device in &devices {
        assert!(!app.is_live(device).await);
    }

    // Log in, list, and end one.
    let here = log_in(&app, SECOND, NEW_PASSWORD, 0).await;
    let there = log_in(&app, SECOND, NEW_PASSWORD, 1).await;
    let listed = sessions(&app, &here).await;
    let [(phone, id), (laptop, _)] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((phone.as_str(), laptop.as_str()), (DEVICES[1].2, DEVICES[0].2));
    let reply = app.call("DELETE", &format!("/api/sessions/{id}/")).bearer(&here.access).await;
    assert_eq!(reply.status, 204);
    assert!(!app.is_live(&there).await);
    assert_eq!(sessions(&app, &here).await.len(), 1);

    // Delete.
    assert_eq!(app.deleting(&here, NEW_PASSWORD).await.status, 204);
    app.letter(SECOND, "was deleted").await;
    assert_eq!(app.profile(&here.access).await.json()["code"], "user_not_found");
    assert_eq!(app.login(SECOND, NEW_PASSWORD).await.status, 401);
    assert_eq!((app.app.store.count_users(), app.app.store.count_sessions()), (Ok(0), Ok(0)));

    // Register again: it is another account.
    let body = json!({
        "email": SECOND, "username": "Ann", "password": PASSWORD, "password_confirm": PASSWORD,
    });
    assert_eq!(app.post("/api/register/", &body).await.status, 201);
    let again = log_in(&app, SECOND, PASSWORD, 0).await;
    assert_eq!(claims(&again.access)["user_id"], 2);
    assert!(!app.is_verified(&again.access).await);
    let letter = app.letter(SECOND, "Confirm your email address").await;
    app.confirm(&ticket_of(&letter)).await;
    assert!(app.is_verified(&again.access).await);
}
