//! `POST /api/register/`

use latchkey::config::Config;
use serde_json::{Value, json};

use crate::support::messages::{
    DIFFER, EMAIL, EMAIL_LENGTH, EMAIL_TAKEN, LIKE_EMAIL, LIKE_USERNAME, NOT_A_STRING, NUL,
    USERNAME, USERNAME_LENGTH, USERNAME_TAKEN,
};
use crate::support::{ANN, BOB, NEW_PASSWORD, PASSWORD, TestApp, at_once};

/// A good registration with some of its fields changed.
fn with(changes: &Value) -> Value {
    let good = json!({"email": BOB, "password": PASSWORD, "password_confirm": PASSWORD});
    crate::support::with(good, changes)
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
    app.named("Ann@example.com", "Ann.Lee").await;
    for (changes, errors) in [
        (json!({"email": "böb@example.com"}), json!({"email": [EMAIL]})),
        (json!({"email": "bob@exam\u{ad}ple.com"}), json!({"email": [EMAIL]})),
        (json!({"email": long_email(255)}), json!({"email": [EMAIL_LENGTH]})),
        (json!({"username": 5}), json!({"username": [NOT_A_STRING]})),
        (json!({"username": ["bob"]}), json!({"username": [NOT_A_STRING]})),
        (json!({"username": "bo\u{0}b"}), json!({"username": [NUL]})),
        (json!({"username": "bob smith"}), json!({"username": [USERNAME]})),
        (json!({"username": "b".repeat(151)}), json!({"username": [USERNAME_LENGTH]})),
        (
            json!({"username": "the-lamplighter", "password": "LAMPLIGHT"}),
            json!({"password": [LIKE_USERNAME]}),
        ),
        (
            json!({
                "email": "lamplight@example.com", "username": "lamplight", "password": "lamplight",
            }),
            json!({"password": [LIKE_EMAIL, LIKE_USERNAME]}),
        ),
        // What others have, in any letter case.
        (json!({"email": ANN}), json!({"email": [EMAIL_TAKEN]})),
        (json!({"email": " ANN@EXAMPLE.COM "}), json!({"email": [EMAIL_TAKEN]})),
        (json!({"username": "ANN.LEE"}), json!({"username": [USERNAME_TAKEN]})),
        (json!({"email": "\u{202a}ann@example.com"}), json!({"email": [EMAIL_TAKEN]})),
        (json!({"username": "ann.lee\u{3164}"}), json!({"username": [USERNAME_TAKEN]})),
        (
            json!({"email": ANN, "username": "ann.lee"}),
            json!({"email": [EMAIL_TAKEN], "username": [USERNAME_TAKEN]}),
        ),
        // What concerns several fields is told once each is good.
        (json!({"password_confirm": NEW_PASSWORD}), json!({"non_field_errors": [DIFFER]})),
        (
            json!({"password_confirm": format!(" {PASSWORD}")}),
            json!({"non_field_errors": [DIFFER]}),
        ),
        (json!({"email": "bob", "password_confirm": NEW_PASSWORD}), json!({"email": [EMAIL]})),
    ] {
        app.refuses(app.post("/api/register/", &with(&changes)), (400, errors)).await;
    }
}

#[tokio::test]
async fn what_is_accepted_becomes_an_account_as_it_was_typed() {
    let longest_name = "ß".repeat(150);
    let longest_email = long_email(254);
    let longest_password = "é".repeat(512);
    let table = [
        (json!({"email": "a+b@example.com"}), "a+b@example.com", ""),
        (json!({"email": "Bob@Example.COM"}), "Bob@example.com", ""),
        (json!({"email": "bob@münchen.example"}), "bob@münchen.example", ""),
        (json!({"email": "  bob@example.com\n"}), BOB, ""),
        // What Windows puts round an address that is copied, and other letters for a domain.
        (json!({"email": "\u{202a}bob@example.com\u{202c}"}), BOB, ""),
        (json!({"email": "Bob@MÜNCHEN.example"}), "Bob@münchen.example", ""),
        (json!({"email": longest_email}), longest_email.as_str(), ""),
        (json!({"username": ""}), BOB, ""),
        (json!({"username": null}), BOB, ""),
        (json!({"username": "   "}), BOB, ""),
        (json!({"username": " Bob@.+-_9 "}), BOB, "Bob@.+-_9"),
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
    let app = TestApp::with_ann().await;
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
async fn simultaneous_registrations_of_one_address_or_name_make_one_user() {
    let emails: fn(usize) -> String = |n| [ANN, "Ann@Example.com"][n % 2].to_owned();
    let others: fn(usize) -> String = |n| format!("user{n}@example.com");
    for (email, username, errors) in [
        (emails, "", json!({"email": [EMAIL_TAKEN]})),
        (others, "ann", json!({"username": [USERNAME_TAKEN]})),
    ] {
        let app = TestApp::start();
        let calls = (0..16).map(|n| app.registering(&email(n), username, PASSWORD));
        let replies = at_once(calls).await;
        let refused = replies.iter().filter(|reply| reply.told() == (400, errors.clone())).count();
        let made = replies.iter().filter(|reply| reply.status == 201).count();
        assert_eq!((made, refused), (1, 15), "{replies:?}");
        assert_eq!((app.app.store.count_users(), app.app.store.count_mail()), (Ok(1), Ok(1)));
    }
}

#[tokio::test]
async fn registration_can_be_switched_off() {
    let app = TestApp::start_with(|config: &mut Config| config.registration.is_enabled = false);
    for call in [app.registration(ANN), app.post("/api/register/", &json!({}))] {
        app.refuses(call, (403, json!({"detail": "Registration is closed."}))).await;
    }
}

#[tokio::test]
async fn the_shortest_password_is_the_operators_to_choose() {
    let app = TestApp::start_with(|config| config.passwords.policy.min_length = 12);
    let errors = json!({"password": ["Ensure this field has at least 12 characters."]});
    app.refuses(app.registering(BOB, "", "tide-Lamp 7"), (400, errors)).await;
    app.register(ANN).await;
}
