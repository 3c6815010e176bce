//! `POST /api/resend-verification/`. What is no address is in `reset_password`, since both ask for
//! one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{TestApp, at_once, ticket_of};

const EMAIL: &str = "ann@example.com";
const SUBJECT: &str = "Confirm your email address";
const DAY: u64 = 24 * 60 * 60;

fn told() -> (u16, Value) {
    (200, json!({"message": "If the address needs verification, a mail is on its way."}))
}

#[tokio::test]
async fn it_is_the_same_link_while_that_lives_and_another_afterwards() {
    let app = TestApp::start();
    let first = app.invited(EMAIL).await;
    app.advance(DAY - 1);
    assert_eq!(
        app.call("POST", "/api/resend-verification").form(&[("email", EMAIL)]).await.told(),
        told()
    );
    assert_eq!(ticket_of(&app.letter(EMAIL, SUBJECT).await), first);
    app.advance(61);
    assert_eq!(app.confirming(&first).await.status, 400, "it has expired");
    assert_eq!(app.resending(EMAIL).await.told(), told());
    let second = ticket_of(&app.letter(EMAIL, SUBJECT).await);
    assert_ne!(second, first);
    app.confirm(&second).await;
    assert_eq!(
        app.login(EMAIL, crate::support::PASSWORD).await.json()["user"]["is_email_verified"],
        true
    );
}

#[tokio::test]
async fn a_mailbox_gets_two_in_a_row_then_one_a_minute_and_five_a_day_across_restarts() {
    let mut app = TestApp::start();
    // Someone without an account has been asked about just as often.
    let stranger = "carol@example.com";
    app.register(EMAIL).await;
    assert_eq!(app.resending(stranger).await.told(), told());
    app.deliver().await;
    // The registration's was the first.
    for (seconds, mails) in
        [(1, 1), (0, 0), (58, 0), (1, 1), (0, 0), (60, 1), (60, 1), (60, 0), (3_600, 0)]
    {
        app.advance(seconds);
        app = app.restart().await;
        for email in [EMAIL, stranger] {
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
        assert!(sent.iter().all(|mail| mail.to == EMAIL));
    }
    app.advance(DAY);
    assert_eq!(app.resending(EMAIL).await.told(), told());
    app.letter(EMAIL, SUBJECT).await;
}

#[tokio::test]
async fn several_at_once_mail_one_link_within_the_limit() {
    let app = TestApp::start();
    let first = app.invited(EMAIL).await;
    let replies = at_once((0..8).map(|_| app.resending(EMAIL))).await;
    assert!(replies.iter().all(|reply| reply.told() == told()));
    let letters = app.letters(EMAIL, SUBJECT).await;
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|letter| ticket_of(letter) == first));
}
