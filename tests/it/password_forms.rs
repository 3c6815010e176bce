//! A password is the same from every keyboard: with composed and decomposed letters, and with a
//! no-break space for a space, wherever the current one is asked for. And when hashing parameters
//! change, the next login renews the hash, after its answer.

use latchkey::domain::{Client, Email, PasswordHash};
use serde_json::json;

use crate::support::messages::{SAME, WRONG_CURRENT};
use crate::support::{ANN, NEW_PASSWORD, TestApp, Tokens, WRONG, until};

const COMPOSED: &str = "Z\u{fc}rich Caf\u{e9} 7";
const DECOMPOSED: &str = "Zu\u{308}rich Cafe\u{301} 7";
const SPACED: &str = "Z\u{fc}rich\u{a0}Caf\u{e9} 7";
const OTHER: &str = "Zurich Cafe 7";

async fn with_password(password: &str) -> TestApp {
    let app = TestApp::start();
    assert_eq!(app.registering(ANN, "", password).await.status, 201);
    app
}

/// Macs and phones send what others do not, and five such attempts used to lock the owner out.
#[tokio::test]
async fn a_login_takes_each_form_and_no_other_password() {
    for set in [COMPOSED, DECOMPOSED] {
        let app = with_password(set).await;
        for typed in [COMPOSED, DECOMPOSED, SPACED, set] {
            assert_eq!(app.login(ANN, typed).await.status, 200, "{typed:?}");
        }
        for typed in [OTHER, "ｚ\u{fc}rich Caf\u{e9} 7"] {
            assert_eq!(app.login(ANN, typed).await.status, 401, "{typed:?}");
        }
    }
    // It is hashed as typed: a no-break space is not taken for granted.
    let app = with_password(SPACED).await;
    assert_eq!(app.login(ANN, SPACED).await.status, 200);
    assert_eq!(app.login(ANN, COMPOSED).await.status, 401);
}

#[tokio::test]
async fn all_forms_of_a_wrong_password_are_one_failure() {
    let app = with_password(COMPOSED).await;
    for attempt in 1..=6 {
        let reply = app.login(ANN, "falsche\u{a0}\u{fc}bung u\u{308}").await;
        assert_eq!(reply.status, if attempt <= 5 { 401 } else { 429 }, "{attempt}");
    }
}

#[tokio::test]
async fn a_right_form_gives_the_attempts_back() {
    let app = with_password(COMPOSED).await;
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(app.login(ANN, OTHER).await.status, 401);
        }
        assert_eq!(app.login(ANN, DECOMPOSED).await.status, 200);
    }
}

#[tokio::test]
async fn whoever_is_asked_again_may_type_each_form() {
    let app = with_password(COMPOSED).await;
    let ann = Tokens::of(&app.login(ANN, COMPOSED).await);
    let body = json!({"email": "new@example.com", "current_password": DECOMPOSED});
    let reply = app.patch(&ann, &body).await;
    assert_eq!(reply.status, 200, "{reply:?}");

    let change = |current: &str, new: &str| app.changing(&ann.access, current, new);
    // Another spelling of the current password is no new one.
    for (current, new) in [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (DECOMPOSED, SPACED)] {
        let told = change(current, new).await.told();
        assert_eq!(told, (400, json!({"new_password": [SAME]})));
    }
    let told = change(OTHER, NEW_PASSWORD).await.told();
    assert_eq!(told, (400, json!({"current_password": [WRONG_CURRENT]})));
    assert_eq!(change(DECOMPOSED, "Fl\u{fc}sse im Herbst").await.status, 200);

    let reply = app.deleting(&ann, "Flu\u{308}sse im Herbst").await;
    assert_eq!(reply.status, 204);
}

fn stored(app: &TestApp) -> PasswordHash {
    let block = Client::new([192, 0, 2, 1].into(), "").block();
    let login = app.app.store.find_login(&Email::parse(ANN).unwrap(), block).unwrap();
    login.unwrap().password
}

fn has(app: &TestApp, parameters: &str) -> bool {
    stored(app).as_str().starts_with(&format!("$argon2id$v=19${parameters}$"))
}

#[tokio::test]
async fn a_login_renews_a_hash_whose_parameters_are_outdated() {
    let (app, tokens) = TestApp::with_ann_in().await;
    assert!(has(&app, "m=256,t=1,p=1"));
    // As long as nothing changes the hash stays.
    let before = stored(&app);
    app.log_in(ANN).await;

    let app = app.restart_with(|config| config.passwords.iterations = 2).await;
    assert_eq!(stored(&app), before);
    // A wrong password must not be what the account has from then on.
    assert_eq!(app.login(ANN, WRONG).await.status, 401);
    assert_eq!(stored(&app), before);

    app.log_in(ANN).await;
    until(|| has(&app, "m=256,t=2,p=1")).await;
    app.log_in(ANN).await;
    assert_eq!(app.login(ANN, WRONG).await.status, 401);
    // It is the same password: nobody's session ends.
    app.refresh(&tokens.refresh).await;

    let app = app.restart_with(|config| config.passwords.memory_kib = 512).await;
    app.log_in(ANN).await;
    until(|| has(&app, "m=512,t=2,p=1")).await;
    app.log_in(ANN).await;
}

/// Made again from what was typed, the hash would refuse what matched it before.
#[tokio::test]
async fn the_hash_is_renewed_in_the_form_that_matched() {
    let (set, typed) = ("correct horse battery", "correct horse\u{a0}battery");
    let app = TestApp::start();
    assert_eq!(app.registering(ANN, "", set).await.status, 201);
    let app = app.restart_with(|config| config.passwords.iterations = 2).await;
    assert_eq!(app.login(ANN, typed).await.status, 200);
    until(|| has(&app, "m=256,t=2,p=1")).await;
    for password in [set, typed] {
        assert_eq!(app.login(ANN, password).await.status, 200, "{password:?}");
    }
}
