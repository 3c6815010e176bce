//! `DELETE /api/profile/`

use latchkey::domain::{Email, UserId, Username};
use serde_json::json;

use crate::support::messages::{BAD_TOKEN, REQUIRED, WRONG_PASSWORD, bad_refresh, user_not_found};
use crate::support::{
    ANN, BOB, NEW_PASSWORD, PASSWORD, Reply, TestApp, WRONG, at_once, claims, statuses,
};

const NAME: &str = "Margaret";

#[tokio::test]
async fn without_the_password_nothing_is_deleted() {
    let app = TestApp::start();
    let ann = app.named(ANN, NAME).await;
    for password in [WRONG, &format!(" {PASSWORD}")] {
        let wrong = (400, json!({"password": [WRONG_PASSWORD]}));
        app.refuses(app.deleting(&ann, password), wrong).await;
    }
    let other = json!({"current_password": PASSWORD});
    let call = app.call("DELETE", "/api/profile/").bearer(&ann.access).json(&other);
    app.refuses(call, (400, json!({"password": [REQUIRED]}))).await;
    assert!(app.is_live(&ann).await);
}

#[tokio::test]
async fn everything_of_the_account_goes_and_a_mail_says_so() {
    for is_form in [false, true] {
        let app = TestApp::start();
        let bob = app.newcomer(BOB).await;
        let ann = app.named(ANN, NAME).await;
        let verification = app.mailed_token().await;
        let other = app.log_in(ANN).await;
        app.change_address(&ann, "new@example.com").await;
        let reset = app.reset_token(ANN).await;
        // Mail that waits when the account goes.
        app.advance(60);
        assert_eq!(app.resending(ANN).await.status, 200);
        assert_eq!(app.forgetting(ANN).await.status, 200);
        assert_eq!(app.moving(&ann, "new@example.com").await.status, 200);
        let (store, delivered) = (&app.app.store, app.mails.sent().len());
        assert_eq!(store.count_mail(), Ok(4));

        let reply = if is_form {
            let call = app.call("DELETE", "/api/profile").bearer(&ann.access);
            call.form(&[("password", PASSWORD)]).await
        } else {
            app.deleting(&ann, PASSWORD).await
        };
        assert_eq!((reply.status, reply.text()), (204, ""));
        assert_eq!((store.count_users(), store.count_sessions()), (Ok(1), Ok(1)));
        assert_eq!(store.find_user(UserId(2)), Ok(None));
        let (email, name) = (Email::parse(ANN).unwrap(), Username::parse(NAME).unwrap());
        assert!(!store.find_taken(Some(&email), Some(&name)).unwrap().any());
        assert_eq!(store.count_mail(), Ok(1), "of all its mail the farewell alone is left");
        app.letter(ANN, "was deleted").await;
        assert_eq!(app.mails.sent().len(), delivered + 1);

        let gone = async || {
            for device in [&ann, &other] {
                assert_eq!(app.profile(&device.access).await.told(), user_not_found());
                assert_eq!(app.refreshing(&device.refresh).await.told(), bad_refresh(BAD_TOKEN));
                let verify = json!({"token": device.access});
                assert_eq!(app.post("/api/token/verify/", &verify).await.status, 401);
            }
            let reply = app.deleting(&ann, PASSWORD).await;
            assert_eq!(reply.told(), user_not_found(), "a replay");
            assert_eq!(app.login(ANN, PASSWORD).await.status, 401);
        };
        app.unchanged(gone).await;
        assert!(app.is_live(&bob).await);

        // Address and name are free, and what comes after has nothing to do with what was.
        let again = app.named(ANN, NAME).await;
        assert_eq!(claims(&again.access)["user_id"], 3);
        assert_eq!(app.profile(&ann.access).await.status, 401);
        assert_eq!(app.resetting(&reset, NEW_PASSWORD).await.status, 400);
        assert_eq!(app.confirming(&verification).await.status, 400);
    }
}

#[tokio::test]
async fn of_two_deletions_at_once_one_finds_the_account() {
    let app = TestApp::start();
    let ann = app.named(ANN, NAME).await;
    let other = app.log_in(ANN).await;
    let [first, second] = [&ann, &other].map(|it| app.deleting(it, PASSWORD).into_future());
    let replies: [Reply; 2] = app.neck_and_neck(first, second).await.into();
    assert_eq!(statuses(&replies), [204, 401]);
    assert_eq!(app.letters(ANN, "was deleted").await.len(), 1);
}

#[tokio::test]
async fn a_deletion_and_a_registration_at_once_leave_one_account() {
    let app = TestApp::start();
    let ann = app.named(ANN, NAME).await;
    let replies = at_once([app.deleting(&ann, PASSWORD), app.registration(ANN)]).await;
    assert_eq!(replies[0].status, 204);
    assert!([201, 400].contains(&replies[1].status));
    let users = u64::from(replies[1].status == 201);
    assert_eq!(app.app.store.count_users(), Ok(users));
}
