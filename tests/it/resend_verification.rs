//! `POST /api/resend-verification/`. What is no address is in `reset_password`, since both ask for
//! one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{ANN, DAY, TestApp, at_once, ticket_of};

const SUBJECT: &str = "Confirm your email address";

fn told() -> (u16, Value) {
    (200, json!({"message": "If the address needs verification, a mail is on its way."}))
}

#[tokio::test]
async fn it_is_the_same_link_while_that_lives_and_another_afterwards() {
    let app = TestApp::start();
    let first = app.invited(ANN).await;
    app.advance(DAY - 1);
    assert_eq!(
        app.call("POST", "/api/resend-verification").form(&[("email", ANN)]).await.told(),
        told()
    );
    assert_eq!(ticket_of(&app.letter(ANN, SUBJECT).await), first);
    app.advance(61);
    assert_eq!(app.confirming(&first).await.status, 400, "it has expired");
    assert_eq!(app.resending(ANN).await.told(), told());
    let second = ticket_of(&app.letter(ANN, SUBJECT).await);
    assert_ne!(second, first);
    app.confirm(&second).await;
    assert_eq!(
        app.login(ANN, crate::support::PASSWORD).await.json()["user"]["is_email_verified"],
        true
    );
}

#[tokio::test]
async fn a_mailbox_gets_two_in_a_row_then_one_a_minute_and_five_a_day_across_restarts() {
    let mut app = TestApp::start();
    // Someone without an account has been asked about just as often.
    let stranger = "carol@example.com";
    app.register(ANN).await;
    assert_eq!(app.resending(stranger).await.told(), told());
    app.deliver().await;
    // The registration's was the first.
    for (seconds, mails) in
        [(1, 1), (0, 0), (58, 0), (1, 1), (0, 0), (60, 1), (60, 1), (60, 0), (3_600, 0)]
    {
        app.advance(seconds);
        app = app.restart().await;
        for email in [ANN, stranger] {
            app.clock.advance(Duration::from_millis(1));
            let before = app.app.store.last_commit();
            assert_eq!(app.resending(email).await.told(), told());
            // What is refused is refused alike, without a write.
            let is_written = app.app.store.last_commit() > before;
            assert_eq!(is_written, mails == 1, "{email} after {seconds} s");
        }
        app.deliver().await;
        let sent = app.mails.sent();
        assert_eq!(sent.len(), mails, "after {seconds} s");
        assert!(sent.iter().all(|mail| mail.to == ANN));
    }
    app.advance(DAY);
    assert_eq!(app.resending(ANN).await.told(), told());
    app.letter(ANN, SUBJECT).await;
}

#[tokio::test]
async fn several_at_once_mail_one_link_within_the_limit() {
    let app = TestApp::start();
    let first = app.invited(ANN).await;
    let replies = at_once((0..8).map(|_| app.resending(ANN))).await;
    assert!(replies.iter().all(|reply| reply.told() == told()));
    let letters = app.letters(ANN, SUBJECT).await;
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|letter| ticket_of(letter) == first));
}
