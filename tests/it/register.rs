//! `POST /api/register/`

use latchkey::config::Config;
use serde_json::{Value, json};

use crate::support::messages::{
    BLANK, COMMON, EMAIL, EMAIL_LENGTH, EMAIL_TAKEN, LIKE_EMAIL, LIKE_SERVICE, LIKE_USERNAME, LONG,
    NOT_A_STRING, NUL, NULL, NUMERIC, REQUIRED, SHORT, USERNAME, USERNAME_LENGTH, USERNAME_TAKEN,
};
use crate::support::{ANN, BOB, PASSWORD, TestApp, at_once};

/// A good registration with some of its fields changed.
fn with(changes: &Value) -> Value {
    let mut body = json!({"email": BOB, "password": PASSWORD, "password_confirm": PASSWORD});
    for (field, value) in changes.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

/// A good registration without one of its fields.
fn without(field: &str) -> Value {
    let mut body = with(&json!({}));
    body.as_object_mut().unwrap().remove(field);
    body
}

/// A good registration but for its password.
fn password(password: &str) -> Value {
    with(&json!({"password": password, "password_confirm": password}))
}

/// An address of so many characters.
fn long_email(length: usize) -> String {
    let label = "a".repeat(60);
    let last = "b".repeat(length - "a@".len() - 4 * (label.len() + 1));
    format!("a@{label}.{label}.{label}.{label}.{last}")
}

#[tokio::test]
async fn what_is_refused_is_told_field_by_field_and_leaves_nothing() {
    let app = TestApp::start();
    let taken = json!({"email": "Ann@example.com", "username": "Ann.Lee"});
    let reply = app.post("/api/register/", &with(&taken)).await;
    assert_eq!(reply.status, 201, "{reply:?}");

    let table: Vec<(Value, Value)> = vec![
        // Every field by itself.
        (without("email"), json!({"email": [REQUIRED]})),
        (with(&json!({"email": null})), json!({"email": [NULL]})),
        (with(&json!({"email": ""})), json!({"email": [BLANK]})),
        (with(&json!({"email": " \t\n "})), json!({"email": [BLANK]})),
        (with(&json!({"email": true})), json!({"email": [NOT_A_STRING]})),
        (with(&json!({"email": 5})), json!({"email": [NOT_A_STRING]})),
        (with(&json!({"email": ["a@example.com"]})), json!({"email": [NOT_A_STRING]})),
        (with(&json!({"email": {"a": "b"}})), json!({"email": [NOT_A_STRING]})),
        (with(&json!({"email": "a\u{0}@example.com"})), json!({"email": [NUL]})),
        (with(&json!({"email": "bob"})), json!({"email": [EMAIL]})),
        (with(&json!({"email": "bob@"})), json!({"email": [EMAIL]})),
        (with(&json!({"email": "@example.com"})), json!({"email": [EMAIL]})),
        (with(&json!({"email": "bob smith@example.com"})), json!({"email": [EMAIL]})),
        (with(&json!({"email": "\"bob\"@example.com"})), json!({"email": [EMAIL]})),
        (with(&json!({"email": "böb@example.com"})), json!({"email": [EMAIL]})),
        (with(&json!({"email": "bob@example..com"})), json!({"email": [EMAIL]})),
        (with(&json!({"email": "bob@exam\u{ad}ple.com"})), json!({"email": [EMAIL]})),
        (with(&json!({"email": long_email(255)})), json!({"email": [EMAIL_LENGTH]})),
        (with(&json!({"email": "x".repeat(300)})), json!({"email": [EMAIL_LENGTH]})),
        (with(&json!({"username": 5})), json!({"username": [NOT_A_STRING]})),
        (with(&json!({"username": ["bob"]})), json!({"username": [NOT_A_STRING]})),
        (with(&json!({"username": "bo\u{0}b"})), json!({"username": [NUL]})),
        (with(&json!({"username": "bob smith"})), json!({"username": [USERNAME]})),
        (with(&json!({"username": "bo\u{3164}b"})), json!({"username": [USERNAME]})),
        (with(&json!({"username": "bob!"})), json!({"username": [USERNAME]})),
        (with(&json!({"username": "b".repeat(151)})), json!({"username": [USERNAME_LENGTH]})),
        (without("password"), json!({"password": [REQUIRED]})),
        (with(&json!({"password": null})), json!({"password": [NULL]})),
        (with(&json!({"password": ""})), json!({"password": [BLANK]})),
        (with(&json!({"password": " ".repeat(12)})), json!({"password": [BLANK]})),
        (with(&json!({"password": 81_649_203_751_u64})), json!({"password": [NOT_A_STRING]})),
        (with(&json!({"password": "tide\u{0}lamp orchard"})), json!({"password": [NUL]})),
        (without("password_confirm"), json!({"password_confirm": [REQUIRED]})),
        (with(&json!({"password_confirm": null})), json!({"password_confirm": [NULL]})),
        (with(&json!({"password_confirm": ""})), json!({"password_confirm": [BLANK]})),
        (with(&json!({"password_confirm": false})), json!({"password_confirm": [NOT_A_STRING]})),
        // The rules for passwords.
        (password("tide7Lp"), json!({"password": [SHORT]})),
        (password("ééééééé"), json!({"password": [SHORT]})),
        (password(&"é".repeat(513)), json!({"password": [LONG], "password_confirm": [LONG]})),
        (password("password1"), json!({"password": [COMMON]})),
        (password("PASSWORD1"), json!({"password": [COMMON]})),
        (password("8164920375182"), json!({"password": [NUMERIC]})),
        (password("1234567890"), json!({"password": [COMMON, NUMERIC]})),
        (password("L4tchkey2026!"), json!({"password": [LIKE_SERVICE]})),
        (password(BOB), json!({"password": [LIKE_EMAIL]})),
        (password("my BOB@Example.com!"), json!({"password": [LIKE_EMAIL]})),
        (password("example."), json!({"password": [LIKE_EMAIL]})),
        (
            with(&json!({"email": "annabella@example.com", "password": "AnnaBella 99"})),
            json!({"password": [LIKE_EMAIL]}),
        ),
        (
            with(&json!({"username": "robert", "password": "robert's"})),
            json!({"password": [LIKE_USERNAME]}),
        ),
        (
            with(&json!({"username": "the-lamplighter", "password": "LAMPLIGHT"})),
            json!({"password": [LIKE_USERNAME]}),
        ),
        (
            with(&json!({
                "email": "lamplight@example.com", "username": "lamplight",
                "password": "lamplight",
            })),
            json!({"password": [LIKE_EMAIL, LIKE_USERNAME]}),
        ),
        // What others have, in any letter case.
        (with(&json!({"email": ANN})), json!({"email": [EMAIL_TAKEN]})),
        (with(&json!({"email": " ANN@EXAMPLE.COM "})), json!({"email": [EMAIL_TAKEN]})),
        (with(&json!({"username": "ANN.LEE"})), json!({"username": [USERNAME_TAKEN]})),
        (with(&json!({"email": "\u{202a}ann@example.com"})), json!({"email": [EMAIL_TAKEN]})),
        (with(&json!({"username": "ann.lee\u{3164}"})), json!({"username": [USERNAME_TAKEN]})),
        (
            with(&json!({"email": ANN, "username": "ann.lee"})),
            json!({"email": [EMAIL_TAKEN], "username": [USERNAME_TAKEN]}),
        ),
        // All fields in one answer; what concerns several only once each is good.
        (
            json!({}),
            json!({"email": [REQUIRED], "password": [REQUIRED], "password_confirm": [REQUIRED]}),
        ),
        (
            json!({"email": ANN, "username": "a b", "password": "short",
                "password_confirm": 1}),
            json!({"email": [EMAIL_TAKEN], "username": [USERNAME], "password": [SHORT],
                "password_confirm": [NOT_A_STRING]}),
        ),
        (
            with(&json!({"password_confirm": "tide-Lamp 7 orchards"})),
            json!({"non_field_errors": ["Passwords don't match"]}),
        ),
        (
            with(&json!({"password_confirm": format!(" {PASSWORD}")})),
            json!({"non_field_errors": ["Passwords don't match"]}),
        ),
        (
            with(&json!({"email": "bob", "password_confirm": "tide-Lamp 7 orchards"})),
            json!({"email": [EMAIL]}),
        ),
    ];
    for (body, errors) in table {
        let reply = app.unchanged(async || app.post("/api/register/", &body).await).await;
        assert_eq!(reply.told(), (400, errors), "{body}");
    }
}

#[tokio::test]
async fn what_is_accepted_becomes_an_account_as_it_was_typed() {
    let longest_name = "ß".repeat(150);
    let longest_email = long_email(254);
    let longest_password = "é".repeat(512);
    let table = [
        (json!({"email": "a+b@example.com"}), "a+b@example.com", ""),
        (json!({"email": "a@localhost"}), "a@localhost", ""),
        (json!({"email": "Bob@Example.COM"}), "Bob@example.com", ""),
        (json!({"email": "bob@münchen.example"}), "bob@münchen.example", ""),
        (json!({"email": "  bob@example.com\n"}), BOB, ""),
        // What Windows puts round an address that is copied, and other letters for a domain.
        (json!({"email": "\u{202a}bob@example.com\u{202c}"}), BOB, ""),
        (json!({"email": "bob@example.com\u{200b}"}), BOB, ""),
        (json!({"email": "bob@\u{ff45}\u{ff58}ample\u{3002}com"}), BOB, ""),
        (json!({"email": "Bob@MÜNCHEN.example"}), "Bob@münchen.example", ""),
        (json!({"email": longest_email}), longest_email.as_str(), ""),
        (json!({"username": ""}), BOB, ""),
        (json!({"username": null}), BOB, ""),
        (json!({"username": "   "}), BOB, ""),
        (json!({"username": " Bob@.+-_9 "}), BOB, "Bob@.+-_9"),
        (json!({"username": "Łukasz٣"}), BOB, "Łukasz٣"),
        (json!({"username": "\u{3164} Bob\u{115f}"}), BOB, "Bob"),
        (json!({"username": "\u{3164}"}), BOB, ""),
        (json!({"username": "Zoe\u{308}"}), BOB, "Zo\u{eb}"),
        (json!({"username": longest_name}), BOB, longest_name.as_str()),
        // A phrase may contain a name.
        (json!({"username": "tide"}), BOB, "tide"),
        (
            json!({"email": "test@example.com", "password": "the greatest show on earth"}),
            "test@example.com",
            "",
        ),
        (json!({"newsletter": true, "is_staff": "yes"}), BOB, ""),
        (json!({"password": "éééé éé é"}), BOB, ""),
        (json!({"password": "  spaces count  "}), BOB, ""),
        (json!({"password": longest_password}), BOB, ""),
    ];
    for (changes, email, username) in table {
        let app = TestApp::start();
        let mut body = with(&changes);
        let password = body["password"].as_str().unwrap().to_owned();
        body["password_confirm"] = json!(password);
        let reply = app.post("/api/register/", &body).await;
        assert_eq!(reply.status, 201, "{changes}: {reply:?}");
        assert_eq!(
            reply.text(),
            "{\"message\":\"Registration successful. Please check your email to verify your \
             account.\",\"email_status\":\"sent\"}"
        );
        let user = json!({
            "id": 1, "email": email, "username": username, "is_email_verified": false,
            "created_at": "2024-12-06T10:00:00.123456Z",
        });
        let reply = app.login(&email.to_uppercase(), &password).await;
        assert_eq!(reply.json()["user"], user, "{changes}: {reply:?}");
        let trimmed = password.trim();
        if trimmed != password {
            assert_eq!(app.login(email, trimmed).await.status, 401, "{changes}");
        }
        app.deliver().await;
        let [mail] = app.mails.sent().try_into().unwrap_or_else(|_| panic!("{changes}"));
        assert!(mail.to.eq_ignore_ascii_case(&email.replace("münchen", "xn--mnchen-3ya")));
    }
}

#[tokio::test]
async fn ids_count_from_one_and_a_form_does_as_well_as_json() {
    let app = TestApp::start();
    app.register(ANN).await;
    let form = [
        ("email", BOB),
        ("password", "tide & Lamp=7 é"),
        ("password_confirm", "tide & Lamp=7 é"),
        ("username", "bob+1"),
    ];
    let reply = app.call("POST", "/api/register/").form(&form).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let user = &app.login(BOB, "tide & Lamp=7 é").await.json()["user"];
    assert_eq!((&user["id"], &user["username"]), (&json!(2), &json!("bob+1")));
}

#[tokio::test]
async fn simultaneous_registrations_of_one_address_make_one_user() {
    let app = TestApp::start();
    let emails = [ANN, "Ann@Example.com"];
    let replies = at_once((0..16).map(|n| app.registration(emails[n % 2]))).await;
    let refusal = (400, json!({"email": [EMAIL_TAKEN]}));
    let (made, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 201);
    assert_eq!(made.len(), 1);
    assert!(refused.iter().all(|reply| reply.told() == refusal), "{refused:?}");
    assert_eq!(app.app.store.count_users(), Ok(1));
    assert_eq!(app.app.store.count_mail(), Ok(1));
}

#[tokio::test]
async fn simultaneous_registrations_of_one_name_make_one_user() {
    let app = TestApp::start();
    let calls = (0..16).map(|n| {
        let email = format!("user{n}@example.com");
        app.post("/api/register/", &with(&json!({"email": email, "username": "ann"})))
    });
    let replies = at_once(calls).await;
    let refusal = (400, json!({"username": [USERNAME_TAKEN]}));
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    assert_eq!(replies.iter().filter(|reply| reply.told() == refusal).count(), 15);
    assert_eq!(app.app.store.count_mail(), Ok(1));
}

#[tokio::test]
async fn registration_can_be_switched_off() {
    let app = TestApp::start_with(|config: &mut Config| config.registration.is_enabled = false);
    for call in [app.registration(ANN), app.post("/api/register/", &json!({}))] {
        let reply = app.unchanged(async || call.await).await;
        assert_eq!(reply.told(), (403, json!({"detail": "Registration is closed."})));
    }
}

#[tokio::test]
async fn the_shortest_password_is_the_operators_to_choose() {
    let app = TestApp::start_with(|config| config.passwords.policy.min_length = 12);
    let body = password("tide-Lamp 7");
    let reply = app.unchanged(async || app.post("/api/register/", &body).await).await;
    let errors = json!({"password": ["Ensure this field has at least 12 characters."]});
    assert_eq!(reply.told(), (400, errors));
    app.register(ANN).await;
}
