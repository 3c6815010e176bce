//! `POST /api/forgot-password/` and `POST /api/resend-verification/`: what is mailed, and how often.

use std::time::Duration;

use serde_json::json;

use crate::support::{ANN, DAY, HOUR, NOBODY, TestApp, at_once, ticket_of};

/// Each with what it answers, and a part of its mail's subject.
const KINDS: [(&str, &str, &str); 2] = [(FORGOT, SENT, RESET), (RESEND, ON_ITS_WAY, CONFIRM)];
const FORGOT: &str = "/api/forgot-password/";
const RESEND: &str = "/api/resend-verification/";
const SENT: &str = "Password reset instructions have been sent to your email if an account exists \
                    with this email address.";
const ON_ITS_WAY: &str = "If the address needs verification, a mail is on its way.";
const RESET: &str = "Choose a new password";
const CONFIRM: &str = "Confirm your email address";

#[tokio::test]
async fn a_form_does_as_well_and_a_stale_header_does_no_harm() {
    for (path, message, subject) in KINDS {
        let app = TestApp::with_ann().await;
        let form = app.call("POST", path.trim_end_matches('/')).form(&[("email", ANN)]);
        let reply = form.header("authorization", "Bearer stale").await;
        assert_eq!(reply.told(), (200, json!({"message": message})));
        app.letter(ANN, subject).await;
    }
}

#[tokio::test]
async fn it_is_the_same_link_while_that_lives_and_another_afterwards() {
    let (app, first) = TestApp::with_ann_invited().await;
    app.advance(DAY - 1);
    assert_eq!(app.resending(ANN).await.status, 200);
    assert_eq!(ticket_of(&app.letter(ANN, CONFIRM).await), first);
    app.advance(61);
    assert_eq!(app.confirming(&first).await.status, 400, "it has expired");
    assert_eq!(app.resending(ANN).await.status, 200);
    let second = ticket_of(&app.letter(ANN, CONFIRM).await);
    assert_ne!(second, first);
    app.confirm(&second).await;
    let tokens = app.log_in(ANN).await;
    assert!(app.is_verified(&tokens.access).await);
}

#[tokio::test]
async fn a_mailbox_gets_two_in_a_row_then_one_a_minute_and_five_a_day_across_restarts() {
    for (path, message, subject) in KINDS {
        let mut app = TestApp::with_ann().await;
        // Someone without an account has been asked about just as often. The registration's mail
        // was the first of its kind.
        for email in if path == RESEND { &[NOBODY][..] } else { &[ANN, NOBODY] } {
            assert_eq!(app.post(path, &json!({"email": email})).await.status, 200);
        }
        let first = ticket_of(&app.letter(ANN, subject).await);
        for (seconds, mails) in
            [(0, 1), (0, 0), (59, 0), (1, 1), (0, 0), (60, 1), (60, 1), (60, 0), (HOUR, 0)]
        {
            app.advance(seconds);
            app = app.restart().await;
            for email in ["ANN@example.com", NOBODY] {
                app.clock.advance(Duration::from_millis(1));
                let before = app.app.store.last_commit();
                let reply = app.post(path, &json!({"email": email})).await;
                assert_eq!(reply.told(), (200, json!({"message": message})));
                // What is refused is refused alike, without a write.
                let is_written = app.app.store.last_commit() > before;
                assert_eq!(is_written, mails == 1, "{path} {email} after {seconds} s");
            }
            app.deliver().await;
            let sent = app.mails.sent();
            assert_eq!(sent.len(), mails, "{path} after {seconds} s");
            for letter in &sent {
                assert_eq!(letter.to, ANN, "to the address as its owner has written it");
                assert_eq!(ticket_of(letter), first, "while a link lives it is the same");
            }
        }
        app.advance(DAY);
        assert_eq!(app.post(path, &json!({"email": "aNN@example.com"})).await.status, 200);
        let next = app.letter(ANN, subject).await;
        assert_ne!(ticket_of(&next), first, "one that has expired is not");
    }
}

#[tokio::test]
async fn several_requests_at_once_mail_one_link_within_the_limit() {
    for (path, message, subject) in KINDS {
        let app = TestApp::with_ann().await;
        let replies = at_once((0..8).map(|_| app.post(path, &json!({"email": ANN})))).await;
        let told = (200, json!({"message": message}));
        assert!(replies.iter().all(|reply| reply.told() == told));
        let letters = app.letters(ANN, subject).await;
        assert_eq!(letters.len(), 2);
        assert_eq!(ticket_of(&letters[0]), ticket_of(&letters[1]));
    }
}
