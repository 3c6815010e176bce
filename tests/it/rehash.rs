//! Hashing parameters that change: the next login renews the hash, after its answer.

use latchkey::domain::{Client, Email, PasswordHash};

use crate::support::{ANN, TestApp, WRONG, until};

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
