//! Promise 8 to the letter: whoever may not know whether there is an account gets the same bytes
//! either way. What time the answers take is measured by `cargo bench -- attack timing`.

use std::num::NonZeroU32;

use hyper::HeaderMap;
use hyper::body::Bytes;
use serde_json::json;

use crate::support::{PASSWORD, Reply, TestApp};

const EMAIL: &str = "ann@example.com";
const DISABLED: &str = "bob@example.com";
const NOBODY: &str = "nobody@example.com";
const WRONG: &str = "wrong-Lamp 7 orchard";

/// One with Ann, and Bob whose account is disabled, as nothing in this version does by itself.
async fn with_ann_and_bob() -> TestApp {
    let app = TestApp::start_with(|config| {
        config.login.per_address_per_minute = None;
        config.mail.per_mailbox_per_day = NonZeroU32::new(2);
    });
    app.register(DISABLED).await;
    app.log_in(DISABLED).await;
    app.disk.replace(br#""is_disabled":false"#, br#""is_disabled":true "#);
    let app = app.restart().await;
    app.register(EMAIL).await;
    app.log_in(EMAIL).await;
    app.deliver().await;
    app
}

/// An answer without its name, which no two have in common.
fn words(reply: &Reply) -> (u16, HeaderMap, Bytes) {
    let mut headers = reply.headers.clone();
    headers.remove("x-request-id");
    (reply.status, headers, reply.body.clone())
}

fn assert_alike(replies: &[Reply], status: u16) {
    for reply in replies {
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(words(reply), words(&replies[0]));
    }
}

#[tokio::test]
async fn a_login_says_the_same_to_all_who_are_not_let_in() {
    let app = with_ann_and_bob().await;
    let guesses = [(EMAIL, WRONG), (NOBODY, WRONG), (DISABLED, WRONG), (DISABLED, PASSWORD)];
    // The fifth wrong password of a pair locks it out, whoever there is or is not. Each of the
    // last two is the fifth for Bob, from addresses of their own.
    for attempt in 1..=7 {
        let mut replies = Vec::new();
        for (number, (email, password)) in guesses.into_iter().enumerate() {
            let from = format!("198.51.100.{number}");
            replies.push(app.login(email, password).from(&from).await);
        }
        assert_alike(&replies, if attempt <= 5 { 401 } else { 429 });
    }
    // Ann is let in elsewhere, so there was something to find out.
    app.log_in(EMAIL).await;
}

#[tokio::test]
async fn a_request_for_mail_says_the_same_for_every_address() {
    for path in ["/api/forgot-password/", "/api/resend-verification/"] {
        let app = with_ann_and_bob().await;
        let confirmed = "carol@example.com";
        let token = app.invited(confirmed).await;
        app.confirm(&token).await;
        let before = app.mails.sent().len();
        // More often than a mailbox is sent mail.
        for attempt in 1..=4 {
            let mut replies = Vec::new();
            for email in [EMAIL, NOBODY, DISABLED, confirmed] {
                let from = format!("198.51.100.{attempt}");
                replies.push(app.post(path, &json!({"email": email})).from(&from).await);
            }
            assert_alike(&replies, 200);
        }
        app.deliver().await;
        let mails = app.mails.sent();
        let sent_to = |email| mails[before..].iter().filter(|mail| mail.to == email).count();
        assert!(sent_to(EMAIL) > 0, "{path}: nothing was to be found out");
        assert_eq!((sent_to(NOBODY), sent_to(DISABLED)), (0, 0), "{path}");
    }
}
