//! Promise 8 to the letter: a client that may not learn whether there is an account gets the same
//! bytes either way. What time the answers take is measured by `cargo bench -- attack timing`.

use std::num::NonZeroU32;

use hyper::HeaderMap;
use hyper::body::Bytes;
use serde_json::json;

use crate::support::{ANN, BOB, NOBODY, PASSWORD, Reply, TestApp, WRONG};

const DISABLED: &str = BOB;

/// One with Ann, and Bob whose account is disabled, as nothing in this version does by itself.
async fn with_ann_and_bob(per_day: Option<NonZeroU32>) -> TestApp {
    let app = TestApp::start_with(|config| {
        config.login.per_address_per_minute = None;
        config.mail.per_mailbox_per_day = per_day;
    });
    app.register(DISABLED).await;
    app.log_in(DISABLED).await;
    app.disk.replace(br#""is_disabled":false"#, br#""is_disabled":true "#);
    let app = app.restart().await;
    app.register(ANN).await;
    app.log_in(ANN).await;
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
    let app = with_ann_and_bob(NonZeroU32::new(2)).await;
    let guesses = [(ANN, WRONG), (NOBODY, WRONG), (DISABLED, WRONG), (DISABLED, PASSWORD)];
    // The fifth wrong password of a pair locks it out, whether or not there is an account. Each of
    // the last two is the fifth for Bob, from addresses of their own.
    for attempt in 1..=7 {
        let mut replies = Vec::new();
        for (number, (email, password)) in guesses.into_iter().enumerate() {
            let from = format!("198.51.100.{number}");
            // In whatever letter case.
            let email = if attempt % 2 == 0 { email.to_uppercase() } else { email.to_owned() };
            replies.push(app.login(&email, password).from(&from).await);
        }
        assert_alike(&replies, if attempt <= 5 { 401 } else { 429 });
    }
    // Ann is let in elsewhere, so there was something to find out.
    app.log_in(ANN).await;
}

#[tokio::test]
async fn a_request_for_mail_says_and_writes_the_same_for_every_address() {
    let forgot = "Password reset instructions have been sent to your email if an account exists \
                  with this email address.";
    let resend = "If the address needs verification, a mail is on its way.";
    // With mailboxes limited, and with that switched off.
    for (path, message, per_day) in [
        ("/api/forgot-password/", forgot, NonZeroU32::new(5)),
        ("/api/forgot-password/", forgot, None),
        ("/api/resend-verification/", resend, NonZeroU32::new(5)),
        ("/api/resend-verification/", resend, None),
    ] {
        let app = with_ann_and_bob(per_day).await;
        let confirmed = "carol@example.com";
        let token = app.invited(confirmed).await;
        app.confirm(&token).await;
        let before = app.mails.sent().len();
        // More often than a mailbox is sent mail.
        for attempt in 1..=6 {
            let mut replies = Vec::new();
            for email in ["ANN@Example.com", NOBODY, DISABLED, confirmed] {
                let from = format!("198.51.100.{attempt}");
                app.advance(if attempt < 3 { 60 } else { 1 });
                let call = app.post(path, &json!({"email": email})).from(&from);
                let mark = app.app.store.last_commit();
                replies.push(call.await);
                // One durable write, or the time it takes would tell.
                let is_written = app.app.store.last_commit() > mark;
                assert!(is_written || attempt >= 3, "{path} {email}, attempt {attempt}");
            }
            assert_alike(&replies, 200);
            assert_eq!(replies[0].json(), json!({"message": message}));
        }
        app.deliver().await;
        let mails = app.mails.sent();
        let sent_to = |email| mails[before..].iter().filter(|mail| mail.to == email).count();
        assert!(sent_to(ANN) > 1, "{path}: nothing was to be found out");
        assert_eq!((sent_to(NOBODY), sent_to(DISABLED)), (0, 0), "{path}");
        assert_eq!(sent_to(confirmed) > 0, message == forgot, "{path}");
    }
}
