//! `POST /api/change-password/`

use serde_json::{Value, json};

use crate::support::messages::{NEW_DIFFER, SAME, WRONG_CURRENT};
use crate::support::{ANN, BOB, NEW_PASSWORD, PASSWORD, Reply, TestApp, WRONG, statuses, with};

fn done() -> (u16, Value) {
    (200, json!({"message": "Password successfully changed"}))
}

#[tokio::test]
async fn what_is_refused_is_told_field_by_field_and_changes_nothing() {
    let app = TestApp::start();
    let (here, there) = (app.newcomer(ANN).await, app.log_in(ANN).await);
    let good = json!({
        "current_password": PASSWORD, "new_password": NEW_PASSWORD,
        "confirm_password": NEW_PASSWORD,
    });
    for (changes, errors) in [
        (json!({"current_password": WRONG}), json!({"current_password": [WRONG_CURRENT]})),
        (
            json!({"current_password": format!("{PASSWORD} ")}),
            json!({"current_password": [WRONG_CURRENT]}),
        ),
        (
            json!({"confirm_password": format!(" {NEW_PASSWORD}")}),
            json!({"confirm_password": [NEW_DIFFER]}),
        ),
        (
            json!({"new_password": PASSWORD, "confirm_password": PASSWORD}),
            json!({"new_password": [SAME]}),
        ),
        // Whether the current password is right is only looked at once the new one would do.
        (
            json!({"current_password": WRONG, "confirm_password": "other"}),
            json!({"confirm_password": [NEW_DIFFER]}),
        ),
        (
            json!({"current_password": WRONG, "new_password": WRONG, "confirm_password": WRONG}),
            json!({"current_password": [WRONG_CURRENT]}),
        ),
    ] {
        let call = app.post("/api/change-password/", &with(good.clone(), &changes));
        app.refuses(call.bearer(&here.access), (400, errors)).await;
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
        let here = app.newcomer(ANN).await;
        let others = [app.log_in(ANN).await, app.log_in(ANN).await];
        app.change_address(&here, "new@example.com").await;
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
        assert_eq!(app.login(ANN, PASSWORD).await.status, 401);
        assert_eq!(app.login(ANN, NEW_PASSWORD).await.status, 200);
        assert_eq!(app.letters(ANN, "was changed").await.len(), 1);
        assert!(app.is_live(&bob).await);

        let replayed = app.changing_password(&here, NEW_PASSWORD);
        app.refuses(replayed, (400, json!({"current_password": [WRONG_CURRENT]}))).await;
    }
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_made() {
    let (app, ann) = TestApp::with_ann_in().await;
    let new = ["brick-Sail 9 meadow", "cloud-Sail 9 meadow"];
    let [first, second] = new.map(|new| app.changing_password(&ann, new).into_future());
    let replies: [Reply; 2] = app.neck_and_neck(first, second).await.into();
    for (reply, new) in replies.iter().zip(new) {
        let status = app.login(ANN, new).await.status;
        assert_eq!(status, if reply.status == 200 { 200 } else { 401 });
    }
    assert_eq!(statuses(&replies), [200, 401]);
    assert_eq!(app.letters(ANN, "was changed").await.len(), 1);
    assert_eq!(app.profile(&ann.access).await.status, 200);
}
