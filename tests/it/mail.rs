//! The outbox: from a registration to a delivered mail, whatever the mail server does.

use std::time::Duration;

use latchkey::domain::Purpose;
use latchkey::mail::Delivery;

use crate::support::{ANN, DAY, PASSWORD, TestApp};

fn deferred() -> Delivery {
    Delivery::Deferred { reason: "451 not now".to_owned() }
}

fn failed() -> Delivery {
    Delivery::Failed { reason: "550 no such mailbox".to_owned() }
}

#[tokio::test]
async fn a_mail_is_tried_again_after_a_second_then_two_then_four() {
    let app = TestApp::with_ann().await;
    app.mails.fail_next(10, deferred());
    assert_eq!(app.attempts_now().await, 1);
    app.log_in(ANN).await;
    // Each wait is twice the last, give or take a fifth, and ten minutes at most.
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256_u64] {
        app.clock.advance(Duration::from_millis(seconds * 790));
        assert_eq!(app.attempts_now().await, 0, "too soon after {seconds} s");
        app.clock.advance(Duration::from_millis(seconds * 410));
        assert_eq!(app.attempts_now().await, 1, "late after {seconds} s");
    }
    app.advance(400);
    assert_eq!(app.attempts_now().await, 0);
    app.advance(320);
    assert_eq!(app.attempts_now().await, 1);
    assert_eq!((app.waiting_mails(), app.mails.sent().len()), (0, 1));
    app.advance(3600);
    assert_eq!(app.attempts_now().await, 0);
}

#[tokio::test]
async fn every_attempt_at_a_mail_is_the_same_mail() {
    let app = TestApp::with_ann().await;
    let app_again = TestApp::start();
    app_again.register(ANN).await;
    app.deliver().await;
    app_again.mails.fail_next(3, deferred());
    for _ in 0..4 {
        app_again.advance(10);
        app_again.attempts_now().await;
    }
    let (first, later) = (&app.mails.sent()[0], &app_again.mails.sent()[0]);
    assert_eq!(first.message_id, later.message_id);
    assert_eq!(first.raw, later.raw);
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_is_given_up_at_once() {
    let app = TestApp::with_ann().await;
    app.mails.fail_next(1, failed());
    assert_eq!(app.attempts_now().await, 1);
    assert_eq!(app.waiting_mails(), 0);
    app.advance(DAY / 2);
    assert_eq!(app.attempts_now().await, 0);
    let app = app.restart().await;
    app.deliver().await;
    assert_eq!(app.mails.attempts(), 0);
    // The account stays, and can be used.
    app.log_in(ANN).await;
}

#[tokio::test]
async fn a_mail_is_given_up_when_its_ticket_expires() {
    for wait in [DAY, DAY + 1] {
        let app = TestApp::with_ann().await;
        app.advance(wait);
        assert_eq!(app.attempts_now().await, 0);
        assert_eq!((app.waiting_mails(), app.mails.sent().len()), (0, 0));
    }
    // Where the next attempt would come too late, it is given up without waiting for that.
    let app = TestApp::with_ann().await;
    app.mails.fail_next(100, deferred());
    app.advance(DAY - 60);
    let mut seconds = 0;
    while app.waiting_mails() > 0 {
        app.attempts_now().await;
        app.advance(1);
        seconds += 1;
    }
    assert!((2..60).contains(&seconds), "given up after {seconds} s");
    assert!((2..10).contains(&app.mails.attempts()), "{} attempts", app.mails.attempts());
}

#[tokio::test]
async fn a_mail_that_has_become_pointless_is_dropped() {
    // The account was removed by someone who got the mail although its delivery failed.
    let app = TestApp::with_ann().await;
    let token = queued_token(&app);
    app.disown(&token).await;
    assert_eq!((app.attempts_now().await, app.waiting_mails()), (0, 0));
    // The address was confirmed likewise.
    let app = TestApp::with_ann().await;
    app.confirm(&queued_token(&app)).await;
    assert_eq!((app.attempts_now().await, app.waiting_mails()), (0, 0));
    assert_eq!(app.login(ANN, PASSWORD).await.json()["user"]["is_email_verified"], true);
}

/// What the mail that waits will hold.
fn queued_token(app: &TestApp) -> String {
    let queued = app.app.store.find_mail_after(None).unwrap().mail.unwrap();
    let ticket = queued.ticket.unwrap();
    app.app.keys.ticket().seal(Purpose::VerifyEmail, ticket.id).expose().clone()
}
