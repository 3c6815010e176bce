//! `/api/profile/`: what it shows, and what `PATCH` and `PUT` change at once. A really new address is
//! in `email_change`.

use latchkey::domain::EventKind;
use serde_json::{Value, json};

use crate::support::messages::{
    EMAIL, EMAIL_TAKEN, NOT_A_STRING, NUL, REQUIRED, USERNAME, USERNAME_LENGTH, USERNAME_TAKEN,
    WRONG_CURRENT,
};
use crate::support::{ANN, BOB, Call, PASSWORD, TestApp, Tokens, WRONG, at_once};

const NEW: &str = "new@example.com";

/// Someone called Ann, and someone else called Bob.
async fn ann_beside_bob() -> (TestApp, Tokens) {
    let app = TestApp::start();
    app.named("Bob@example.com", "Bob").await;
    let ann = app.named(ANN, "Ann").await;
    (app, ann)
}

fn changing(app: &TestApp, method: &str, tokens: &Tokens, body: &Value) -> Call {
    app.call(method, "/api/profile/").bearer(&tokens.access).json(body)
}

fn user(email: &str, username: &str) -> Value {
    json!({
        "id": 2, "email": email, "username": username, "is_email_verified": false,
        "created_at": "2024-12-06T10:00:00.123456Z",
    })
}

#[tokio::test]
async fn the_profile_is_that_of_the_bearer() {
    let app = TestApp::start();
    app.newcomer(BOB).await;
    app.advance(1);
    let tokens = app.named("Ann@Example.com", "Ann").await;
    for path in ["/api/profile", "/api/profile/", "/api/profile/?format=api"] {
        let reply = app.get(path).bearer(&tokens.access).header("accept", "text/html").await;
        let shown = "{\"id\":2,\"email\":\"Ann@example.com\",\"username\":\"Ann\",\
                     \"is_email_verified\":false,\"created_at\":\"2024-12-06T10:00:01.123456Z\"}";
        assert_eq!((reply.status, reply.text()), (200, shown), "{path}");
    }
    let token = app.mailed_token().await;
    app.confirm(&token).await;
    assert!(app.is_verified(&tokens.access).await, "the profile is as it is now");
}

#[tokio::test]
async fn what_is_refused_is_told_field_by_field_and_changes_nothing() {
    let (app, ann) = ann_beside_bob().await;
    let table = [
        // The name.
        (json!({"username": 5}), json!({"username": [NOT_A_STRING]})),
        (json!({"username": "an\u{0}n"}), json!({"username": [NUL]})),
        (json!({"username": "ann lee"}), json!({"username": [USERNAME]})),
        (json!({"username": "a".repeat(151)}), json!({"username": [USERNAME_LENGTH]})),
        (json!({"username": "Bob"}), json!({"username": [USERNAME_TAKEN]})),
        (json!({"username": " bOB "}), json!({"username": [USERNAME_TAKEN]})),
        // The address.
        // A really new one asks for the current password.
        (json!({"email": NEW}), json!({"current_password": [REQUIRED]})),
        (
            json!({"email": NEW, "current_password": WRONG}),
            json!({"current_password": [WRONG_CURRENT]}),
        ),
        (
            json!({"email": NEW, "current_password": format!(" {PASSWORD}")}),
            json!({"current_password": [WRONG_CURRENT]}),
        ),
        // What others have is told to anyone who knows the password.
        (json!({"email": BOB}), json!({"current_password": [REQUIRED]})),
        (
            json!({"email": "bob@EXAMPLE.com", "current_password": PASSWORD}),
            json!({"email": [EMAIL_TAKEN]}),
        ),
        (
            json!({"email": BOB, "username": "BOB", "current_password": PASSWORD}),
            json!({"email": [EMAIL_TAKEN], "username": [USERNAME_TAKEN]}),
        ),
        // All fields in one answer, and all or nothing.
        (
            json!({"email": NEW, "username": "a b"}),
            json!({"username": [USERNAME], "current_password": [REQUIRED]}),
        ),
        (json!({"username": "Fine", "email": "x"}), json!({"email": [EMAIL]})),
        (
            json!({"username": "Fine", "email": NEW, "current_password": WRONG}),
            json!({"current_password": [WRONG_CURRENT]}),
        ),
        (
            json!({"username": "bob", "email": "Ann@example.com"}),
            json!({"username": [USERNAME_TAKEN]}),
        ),
        (
            json!({"username": "Bob", "email": NEW, "current_password": PASSWORD}),
            json!({"username": [USERNAME_TAKEN]}),
        ),
    ];
    for (body, errors) in table {
        // PUT says the same of a body that has both.
        let has_email = body.as_object().unwrap().contains_key("email");
        for method in if has_email { &["PATCH", "PUT"][..] } else { &["PATCH"] } {
            app.refuses(changing(&app, method, &ann, &body), (400, errors.clone())).await;
        }
        // So that wrong passwords do not add up.
        app.log_in(ANN).await;
    }
    for (body, errors) in [
        (json!({"username": "Fine"}), json!({"email": [REQUIRED]})),
        (json!({"username": "a b"}), json!({"email": [REQUIRED], "username": [USERNAME]})),
    ] {
        app.refuses(changing(&app, "PUT", &ann, &body), (400, errors)).await;
    }
    assert_eq!(app.profile(&ann.access).await.json(), user(ANN, "Ann"));
}

#[tokio::test]
async fn what_is_accepted_shows_at_once_and_sends_no_mail() {
    let longest = "ß".repeat(150);
    let table = [
        ("PATCH", json!({}), ANN, "Ann"),
        ("PATCH", json!({"username": " Ann.Lee "}), ANN, "Ann.Lee"),
        ("PATCH", json!({"username": "aNN"}), ANN, "aNN"),
        ("PATCH", json!({"username": longest}), ANN, longest.as_str()),
        ("PATCH", json!({"username": ""}), ANN, ""),
        ("PATCH", json!({"username": "  "}), ANN, ""),
        ("PATCH", json!({"username": null}), ANN, ""),
        ("PATCH", json!({"email": ANN}), ANN, "Ann"),
        ("PATCH", json!({"email": " ANN@Example.com\n"}), "ANN@example.com", "Ann"),
        ("PATCH", json!({"email": "Ann@Example.com", "username": "A"}), "Ann@example.com", "A"),
        // Where no password is due, none is looked at.
        ("PATCH", json!({"username": "A", "current_password": "wrong"}), ANN, "A"),
        (
            "PATCH",
            json!({"email": "ANN@example.com", "current_password": 1}),
            "ANN@example.com",
            "Ann",
        ),
        // What nobody may choose is ignored.
        (
            "PATCH",
            json!({
                "id": 1, "is_email_verified": true, "created_at": "2000-01-01T00:00:00Z",
                "pending_email": NEW, "password": "brick-Sail 9 meadow",
            }),
            ANN,
            "Ann",
        ),
        ("PUT", json!({"email": ANN}), ANN, ""),
        ("PUT", json!({"email": ANN, "username": null}), ANN, ""),
        ("PUT", json!({"email": ANN, "username": ""}), ANN, ""),
        ("PUT", json!({"email": "aNN@example.com", "username": "A"}), "aNN@example.com", "A"),
    ];
    for (method, body, email, username) in table {
        // A form says the same, where it can.
        let fields: Option<Vec<(&str, &str)>> = (body.as_object().unwrap().iter())
            .map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .collect();
        for is_form in [false, true] {
            let (app, ann) = ann_beside_bob().await;
            let mails = app.app.store.count_mail();
            let call = app.call(method, "/api/profile").bearer(&ann.access);
            let reply = match (&fields, is_form) {
                (Some(fields), true) => call.form(fields).await,
                (None, true) => continue,
                (_, false) => call.json(&body).await,
            };
            assert_eq!(reply.told(), (200, user(email, username)), "{method} {body}");
            assert_eq!(app.profile(&ann.access).await.json(), reply.json());
            assert_eq!(app.app.store.count_mail(), mails, "{method} {body}");
            // Neither password nor session is any other.
            app.refresh(&ann.refresh).await;
            assert_eq!(app.login(email, PASSWORD).await.json()["user"], reply.json());
        }
    }
}

#[tokio::test]
async fn another_spelling_keeps_an_address_confirmed_and_its_links_good() {
    let (app, token) = TestApp::with_ann_invited().await;
    let ann = app.log_in(ANN).await;
    let reset = app.reset_token(ANN).await;
    let spell = async |spelling| {
        let reply = app.patch(&ann, &json!({"email": spelling})).await;
        assert_eq!((reply.status, reply.field("email").as_str()), (200, spelling));
    };
    spell("ANN@example.com").await;
    app.confirm(&token).await;
    spell("Ann@example.com").await;
    assert!(app.is_verified(&ann.access).await);
    // Mail now goes to the address as the owner writes it now.
    app.advance(61);
    app.reset_token(ANN).await;
    assert_eq!(app.mails.sent().last().unwrap().to, "Ann@example.com");
    assert_eq!(app.resetting(&reset, "brick-Sail 9 meadow").await.status, 200);
}

#[tokio::test]
async fn a_name_that_was_given_up_is_free_and_repeating_a_change_is_none() {
    let (app, ann) = ann_beside_bob().await;
    let bob = app.log_in(BOB).await;
    let rename = |tokens, name: &str| app.patch(tokens, &json!({"username": name}));
    for _ in 0..2 {
        assert_eq!(rename(&ann, "Ann.Lee").await.status, 200);
    }
    let events = app.events();
    let renamed: Vec<u64> = (events.iter())
        .filter(|event| event.kind == EventKind::UsernameChanged)
        .map(|event| event.count)
        .collect();
    assert_eq!(renamed, [1], "the second time nothing has changed");
    assert_eq!(rename(&bob, "ann").await.field("username"), "ann");
    let taken = (400, json!({"username": [USERNAME_TAKEN]}));
    assert_eq!(rename(&ann, "Ann").await.told(), taken);
    assert_eq!(rename(&ann, "bob").await.field("username"), "bob");
}

#[tokio::test]
async fn of_two_that_take_one_name_at_once_one_gets_it() {
    let app = TestApp::start();
    let mut people = Vec::new();
    for number in 0..8 {
        people.push(app.newcomer(&format!("user{number}@example.com")).await);
    }
    let calls = people.iter().zip(["Ann", "ANN"].into_iter().cycle());
    let calls = calls.map(|(person, name)| app.patch(person, &json!({"username": name})));
    let replies = at_once(calls).await;
    let taken = (400, json!({"username": [USERNAME_TAKEN]}));
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert_eq!(replies.iter().filter(|reply| reply.told() == taken).count(), 7);
}

#[tokio::test]
async fn two_changes_at_once_by_one_person_are_both_made() {
    let (app, ann) = ann_beside_bob().await;
    let calls = [json!({"username": "Lee"}), json!({"email": "ANN@example.com"})];
    let replies = at_once(calls.iter().map(|body| app.patch(&ann, body))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(app.profile(&ann.access).await.json(), user("ANN@example.com", "Lee"));
}
