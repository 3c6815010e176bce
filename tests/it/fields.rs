//! What every endpoint says of fields that are missing, of another type or too long, and of new
//! passwords that will not do.

use serde_json::{Map, Value, json};

use crate::support::messages::{
    BLANK, COMMON, EMAIL, EMAIL_LENGTH, LIKE_EMAIL, LIKE_SERVICE, LIKE_USERNAME, LONG,
    NOT_A_STRING, NUL, NULL, NUMERIC, REQUIRED, SHORT,
};
use crate::support::{ANN, BOB, CONFIRM, Call, NEW_PASSWORD, PASSWORD, TestApp, with};

/// Every endpoint with a body that it takes, all of whose fields it requires.
fn endpoints() -> [(&'static str, &'static str, Value); 13] {
    let (email, password) = (json!({"email": ANN}), json!({"password": PASSWORD}));
    let login = with(email.clone(), &password);
    let change = json!({"email": BOB, "current_password": PASSWORD});
    let new = json!({"new_password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD});
    let (token, refresh) = (json!({"token": "x"}), json!({"refresh": "x"}));
    let confirmed = json!({"email": BOB, "password_confirm": PASSWORD});
    [
        ("POST", "/api/register/", with(password.clone(), &confirmed)),
        ("POST", "/api/resend-verification/", email.clone()),
        ("POST", CONFIRM, token.clone()),
        ("POST", "/api/login/", login.clone()),
        ("POST", "/api/token/", login),
        ("POST", "/api/token/refresh/", refresh.clone()),
        ("POST", "/api/token/verify/", token.clone()),
        ("POST", "/api/token/blacklist/", refresh),
        ("POST", "/api/forgot-password/", email),
        ("POST", "/api/reset-password/", with(token, &new)),
        ("POST", "/api/change-password/", with(new, &json!({"current_password": PASSWORD}))),
        ("PUT", "/api/profile/", change),
        ("DELETE", "/api/profile/", password),
    ]
}

#[tokio::test]
async fn a_field_is_held_to_the_same_rules_everywhere() {
    let (app, ann) = TestApp::with_ann_in().await;
    let rules = [
        (json!(null), NULL),
        (json!(""), BLANK),
        (json!(" \t\n "), BLANK),
        (json!(true), NOT_A_STRING),
        (json!(81_649_203_751_u64), NOT_A_STRING),
        (json!(2.5), NOT_A_STRING),
        (json!(["a@example.com"]), NOT_A_STRING),
        (json!({"a": "b"}), NOT_A_STRING),
        (json!("a\u{0}@example.com"), NUL),
    ];
    let of_addresses = [
        (json!("ann"), EMAIL),
        (json!("x".repeat(300)), EMAIL_LENGTH),
        (json!(format!("{}@example.com", "a".repeat(300))), EMAIL_LENGTH),
    ];
    let of_passwords = [(json!("a".repeat(1025)), LONG)];
    for (method, path, good) in endpoints() {
        let call = |body: &Value| app.call(method, path).bearer(&ann.access).json(body);
        let fields = good.as_object().unwrap();
        let all: Map<_, _> = fields.keys().map(|name| (name.clone(), json!([REQUIRED]))).collect();
        // A new address alone asks for the password.
        if method != "PUT" {
            app.refuses(call(&json!({})), (400, json!(all))).await;
            app.refuses(app.call(method, path).bearer(&ann.access), (400, json!(all))).await;
        }
        for name in fields.keys() {
            let mut without = good.clone();
            without.as_object_mut().unwrap().remove(name);
            app.refuses(call(&without), (400, json!({name: [REQUIRED]}))).await;
            let more = match name.as_str() {
                "email" => &of_addresses[..],
                "password" | "current_password" => &of_passwords,
                _ => &[],
            };
            for (value, message) in rules.iter().chain(more) {
                let body = with(good.clone(), &json!({name: value}));
                app.refuses(call(&body), (400, json!({name: [message]}))).await;
            }
        }
    }
    // And nothing has counted as a wrong password.
    app.log_in(ANN).await;
}

#[tokio::test]
async fn every_field_that_is_wrong_is_told_in_one_answer() {
    let app = TestApp::start();
    let ann = app.named(ANN, "Ann").await;
    for (method, path, body, errors) in [
        (
            "POST",
            "/api/register/",
            json!({"email": ANN, "username": "a b", "password": "short", "password_confirm": 1}),
            json!({
                "email": ["user with this email already exists."],
                "username": [crate::support::messages::USERNAME], "password": [SHORT],
                "password_confirm": [NOT_A_STRING],
            }),
        ),
        (
            "POST",
            "/api/login/",
            json!({"email": null, "password": 1}),
            json!({"email": [NULL], "password": [NOT_A_STRING]}),
        ),
        (
            "POST",
            "/api/reset-password/",
            json!({"token": null, "new_password": "short", "confirm_password": 1}),
            json!({"token": [NULL], "new_password": [SHORT], "confirm_password": [NOT_A_STRING]}),
        ),
        (
            "POST",
            "/api/change-password/",
            json!({"current_password": 1, "new_password": "short", "confirm_password": "other"}),
            json!({
                "current_password": [NOT_A_STRING], "new_password": [SHORT],
                "confirm_password": ["New passwords don't match."],
            }),
        ),
        (
            "PATCH",
            "/api/profile/",
            json!({"email": "ann", "username": 1, "current_password": 1}),
            json!({"email": [EMAIL], "username": [NOT_A_STRING]}),
        ),
    ] {
        let call = app.call(method, path).bearer(&ann.access).json(&body);
        app.refuses(call, (400, errors)).await;
    }
}

#[tokio::test]
async fn new_passwords_are_held_to_the_same_rules_everywhere() {
    let fresh = TestApp::start();
    let app = TestApp::start();
    let ann = app.named(ANN, "Margaret").await;
    let token = app.reset_token(ANN).await;
    type Setting<'a> = Box<dyn Fn(&str) -> Call + 'a>;
    let registering: Setting<'_> = Box::new(|new| fresh.registering(ANN, "Margaret", new));
    let changing: Setting<'_> = Box::new(|new| app.changing_password(&ann, new));
    let resetting: Setting<'_> = Box::new(|new| app.resetting(&token, new));
    for (app, set, name, again) in [
        (&fresh, registering, "password", "password_confirm"),
        (&app, changing, "new_password", "confirm_password"),
        (&app, resetting, "new_password", "confirm_password"),
    ] {
        for (password, problems) in [
            ("tide7Lp", &[SHORT][..]),
            ("ééééééé", &[SHORT]),
            ("password1", &[COMMON]),
            ("PASSWORD1", &[COMMON]),
            ("8164920375182", &[NUMERIC]),
            ("1234567890", &[COMMON, NUMERIC]),
            ("L4tchkey2026!", &[LIKE_SERVICE]),
            ("latchkey/latchkey", &[LIKE_SERVICE]),
            ("ann@example.com!", &[LIKE_EMAIL]),
            ("my ANN@Example.com", &[LIKE_EMAIL]),
            ("example.", &[LIKE_EMAIL]),
            ("margaret's den", &[LIKE_USERNAME]),
            ("MARGARETT", &[LIKE_USERNAME]),
        ] {
            app.refuses(set(password), (400, json!({name: problems}))).await;
        }
        let too_long = json!({name: [LONG], again: [LONG]});
        app.refuses(set(&"é".repeat(513)), (400, too_long)).await;
    }
    assert!(app.is_live(&ann).await);
    assert_eq!(app.resetting(&token, NEW_PASSWORD).await.status, 200, "the link is still good");
}
