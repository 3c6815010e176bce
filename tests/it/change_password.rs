//! `POST /api/change-password/`

use serde_json::{Value, json};

use crate::support::messages::{
    BLANK, COMMON, LIKE_EMAIL, LIKE_SERVICE, LIKE_USERNAME, LONG, NEW_DIFFER, NOT_A_STRING, NUL,
    NULL, NUMERIC, REQUIRED, SAME, SHORT, WRONG_CURRENT,
};
use crate::support::{ANN, BOB, NEW_PASSWORD, PASSWORD, TestApp, WRONG};

fn done() -> (u16, Value) {
    (200, json!({"message": "Password successfully changed"}))
}

/// A good change with some of its fields changed.
fn with(changes: Value) -> Value {
    let mut body = json!({
        "current_password": PASSWORD, "new_password": NEW_PASSWORD,
        "confirm_password": NEW_PASSWORD,
    });
    for (field, value) in changes.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

#[tokio::test]
async fn what_is_refused_is_told_field_by_field_and_changes_nothing() {
    let app = TestApp::start();
    let body = json!({
        "email": ANN, "username": "Margaret", "password": PASSWORD, "password_confirm": PASSWORD,
    });
    assert_eq!(app.post("/api/register/", &body).await.status, 201);
    let (here, there) = (app.log_in(ANN).await, app.log_in(ANN).await);
    let both =
        |password: &str| with(json!({"new_password": password, "confirm_password": password}));
    let table = [
        (
            json!({}),
            json!({
                "current_password": [REQUIRED], "new_password": [REQUIRED],
                "confirm_password": [REQUIRED],
            }),
        ),
        (with(json!({"current_password": null})), json!({"current_password": [NULL]})),
        (with(json!({"current_password": " "})), json!({"current_password": [BLANK]})),
        (with(json!({"current_password": 5})), json!({"current_password": [NOT_A_STRING]})),
        (with(json!({"current_password": "a\u{0}b"})), json!({"current_password": [NUL]})),
        (with(json!({"current_password": "a".repeat(1025)})), json!({"current_password": [LONG]})),
        (with(json!({"current_password": WRONG})), json!({"current_password": [WRONG_CURRENT]})),
        (
            with(json!({"current_password": format!("{PASSWORD} ")})),
            json!({"current_password": [WRONG_CURRENT]}),
        ),
        (with(json!({"new_password": null})), json!({"new_password": [NULL]})),
        (with(json!({"new_password": ["a"]})), json!({"new_password": [NOT_A_STRING]})),
        (with(json!({"confirm_password": ""})), json!({"confirm_password": [BLANK]})),
        (with(json!({"confirm_password": {}})), json!({"confirm_password": [NOT_A_STRING]})),
        (both("tide7Lp"), json!({"new_password": [SHORT]})),
        (both(&"é".repeat(513)), json!({"new_password": [LONG], "confirm_password": [LONG]})),
        (both("PASSWORD1"), json!({"new_password": [COMMON]})),
        (both("8164920375182"), json!({"new_password": [NUMERIC]})),
        (both("my Ann@example.com"), json!({"new_password": [LIKE_EMAIL]})),
        (both("Margaret's den"), json!({"new_password": [LIKE_USERNAME]})),
        (both("2026-LatchKey"), json!({"new_password": [LIKE_SERVICE]})),
        (
            with(json!({"confirm_password": format!(" {NEW_PASSWORD}")})),
            json!({"confirm_password": [NEW_DIFFER]}),
        ),
        (both(PASSWORD), json!({"new_password": [SAME]})),
        // All fields in one answer. Whether the current password is right is only looked at once
        // the new one would do.
        (
            json!({"current_password": 1, "new_password": "short", "confirm_password": "other"}),
            json!({
                "current_password": [NOT_A_STRING], "new_password": [SHORT],
                "confirm_password": [NEW_DIFFER],
            }),
        ),
        (
            with(json!({"current_password": WRONG, "confirm_password": "other"})),
            json!({"confirm_password": [NEW_DIFFER]}),
        ),
        (
            json!({"current_password": WRONG, "new_password": WRONG, "confirm_password": WRONG}),
            json!({"current_password": [WRONG_CURRENT]}),
        ),
    ];
    for (body, errors) in table {
        let call = app.post("/api/change-password/", &body).bearer(&here.access);
        let reply = app.unchanged(async || call.await).await;
        assert_eq!(reply.told(), (400, errors), "{body}");
    }
    assert!(app.is_live(&here).await && app.is_live(&there).await);
    assert_eq!(app.login(ANN, NEW_PASSWORD).await.status, 401);
    app.log_in(ANN).await;
}

#[tokio::test]
async fn a_change_ends_every_other_session_voids_what_was_open_and_tells_the_owner() {
    for is_form in [false, true] {
        let app = TestApp::start();
        let bob = app.newcomer(BOB).await;
        let verification = app.invited(ANN).await;
        let here = app.log_in(ANN).await;
        let others = [app.log_in(ANN).await, app.log_in(ANN).await];
        let change = app.change_address(&here, "new@example.com").await;
        let reset = app.reset_token(ANN).await;
        let reply = if is_form {
            let fields = [
                ("current_password", PASSWORD),
                ("new_password", NEW_PASSWORD),
                ("confirm_password", NEW_PASSWORD),
            ];
            app.call("POST", "/api/change-password").bearer(&here.access).form(&fields).await
        } else {
            app.changing_password(&here, NEW_PASSWORD).await
        };
        assert_eq!(reply.told(), done());

        assert!(app.is_live(&here).await, "the one that acts lives on");
        for other in &others {
            assert!(!app.is_live(other).await);
        }
        let profile = app.profile(&here.access).await.json();
        assert_eq!(profile.get("pending_email"), None);
        assert_eq!(profile["is_email_verified"], false, "nobody has read a mail");
        let void = async || {
            for ticket in [&verification, &change.confirm, &change.cancel] {
                assert_eq!(app.confirming(ticket).await.status, 400);
            }
            assert_eq!(app.press("cancel", &change.cancel).await.status, 400);
            assert_eq!(app.resetting(&reset, "third-Sail 9 meadow").await.status, 400);
        };
        app.unchanged(void).await;
        assert_eq!(app.login(ANN, PASSWORD).await.status, 401);
        assert_eq!(app.login(ANN, NEW_PASSWORD).await.status, 200);
        assert_eq!(app.letters(ANN, "was changed").await.len(), 1);
        assert!(app.is_live(&bob).await);

        let replayed = async || app.changing_password(&here, NEW_PASSWORD).await;
        let reply = app.unchanged(replayed).await;
        assert_eq!(reply.told(), (400, json!({"current_password": [WRONG_CURRENT]})));
    }
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_made() {
    let app = TestApp::start();
    let ann = app.newcomer(ANN).await;
    let new = ["brick-Sail 9 meadow", "cloud-Sail 9 meadow"];
    let replies = app.neck_and_neck(new.map(|new| app.changing_password(&ann, new))).await;
    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    for (reply, new) in replies.iter().zip(new) {
        let status = app.login(ANN, new).await.status;
        assert_eq!(status, if reply.status == 200 { 200 } else { 401 });
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    assert_eq!(app.letters(ANN, "was changed").await.len(), 1);
    assert_eq!(app.profile(&ann.access).await.status, 200);
}
