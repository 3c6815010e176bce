//! The delivery task when something goes wrong: slow mail servers, stops, wrong clocks, a sick
//! disk, bad records and panics.

use std::sync::Arc;
use std::time::Duration;

use latchkey::domain::MailId;
use latchkey::flows::delivery;
use latchkey::mail::{Delivery, SentMail};
use latchkey::store::Health;
use redb::{Builder, TableDefinition};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::level_filters::LevelFilter;

use crate::support::{ANN, BOB, DAY, Disk, Lines, PATIENCE, START, TestApp, until};

const CAROL: &str = "carol@example.com";

fn deferred() -> Delivery {
    Delivery::Deferred { reason: "451 not now".to_owned() }
}

/// Waits for what is to happen, and fails if it does not.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap()
}

/// The task, as the server runs it.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(app: &TestApp) -> Self {
        Self::start_with_grace(app, PATIENCE)
    }

    fn start_with_grace(app: &TestApp, grace: Duration) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (app, mailer) = (Arc::clone(&app.app), Arc::clone(&app.mailer));
        let task = tokio::spawn(async move {
            delivery::run(&app, &mailer, async { drop(stopped.await) }, grace).await;
        });
        Self { stop, task }
    }

    async fn stop(self) {
        drop(self.stop);
        soon(self.task).await.unwrap();
    }
}

fn recipients(mails: &[SentMail]) -> Vec<&str> {
    mails.iter().map(|mail| mail.to.as_str()).collect()
}

/// Lets every other task go on until it waits for something.
async fn let_others_run() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

/// An application with mail that has failed so often and waits for its next attempt.
async fn with_backlog(count: usize, failures: usize) -> TestApp {
    let app = TestApp::start();
    for number in 0..count {
        app.register(&format!("waiting{number}@example.com")).await;
    }
    app.mails.fail_next(count * failures, deferred());
    for _ in 0..failures {
        app.deliver().await;
    }
    app.restart().await
}

#[tokio::test]
async fn one_slow_recipient_delays_nobody() {
    let app = TestApp::start();
    app.mails.hold_next(1);
    let running = Running::start(&app);
    app.register(ANN).await;
    soon(app.mails.wait_for_attempts(1)).await;
    app.register(BOB).await;
    assert_eq!(recipients(&soon(app.mails.wait_for(1)).await), [BOB]);
    app.mails.release();
    assert_eq!(recipients(&soon(app.mails.wait_for(2)).await), [BOB, ANN]);
    running.stop().await;
    assert_eq!((app.waiting_mails(), app.mails.attempts()), (0, 2));
}

#[tokio::test]
async fn a_backlog_that_a_mail_server_keeps_waiting_leaves_room_for_new_mail() {
    for is_due in [false, true] {
        let app = with_backlog(20, 1).await;
        if is_due {
            app.advance(600);
        }
        app.mails.hold_next(6);
        let running = Running::start(&app);
        soon(app.mails.wait_for_attempts(6)).await;
        let_others_run().await;
        assert_eq!(app.mails.attempts(), 6, "the rest of the slots is for new mail");
        for (number, email) in [ANN, BOB, CAROL].into_iter().enumerate() {
            app.register(email).await;
            assert_eq!(soon(app.mails.wait_for(number + 1)).await[number].to, email);
        }
        app.mails.release();
        soon(app.mails.wait_for(23)).await;
        running.stop().await;
        assert_eq!((app.waiting_mails(), app.mails.attempts()), (0, 23));
    }
}

#[tokio::test]
async fn what_comes_due_again_does_not_wait_for_a_backlog_to_be_through() {
    // None of it is due before more than ten seconds.
    let app = with_backlog(100, 5).await;
    app.mails.hold_next(6);
    let running = Running::start(&app);
    soon(app.mails.wait_for_attempts(6)).await;
    // New, refused once, and due again while everything that is left has yet to be tried.
    app.mails.fail_next(1, deferred());
    app.mails.hold_next(6);
    app.register(ANN).await;
    soon(app.mails.wait_for_attempts(7)).await;
    app.clock.advance(Duration::from_millis(1_300));
    app.mails.release();
    soon(app.mails.wait_for_attempts(13)).await;
    app.mails.hold_next(6);
    app.mails.release();
    let sent = soon(app.mails.wait_for(12)).await;
    assert!(recipients(&sent).contains(&ANN));
    soon(app.mails.wait_for_attempts(19)).await;
    app.mails.release();
    soon(app.mails.wait_for(101)).await;
    running.stop().await;
    assert_eq!(app.waiting_mails(), 0);
}

#[tokio::test]
async fn what_is_left_from_before_a_restart_is_tried_at_once_but_only_once() {
    for is_due in [false, true] {
        let app = with_backlog(20, 1).await;
        if is_due {
            app.advance(600);
        }
        app.mails.fail_next(20, deferred());
        let running = Running::start(&app);
        soon(app.mails.wait_for_attempts(20)).await;
        app.register(ANN).await;
        assert_eq!(recipients(&soon(app.mails.wait_for(1)).await), [ANN]);
        running.stop().await;
        assert_eq!((app.waiting_mails(), app.mails.attempts()), (20, 21));
    }
}

/// Regression: a stop dropped what was under way, and a mail that was sent was sent again.
#[tokio::test]
async fn a_stop_lets_mail_under_way_end_and_begins_nothing_more() {
    let app = TestApp::start();
    app.mails.hold_next(1);
    let running = Running::start(&app);
    app.register(ANN).await;
    soon(app.mails.wait_for_attempts(1)).await;
    drop(running.stop);
    let_others_run().await;
    assert!(!running.task.is_finished());
    app.register(BOB).await;
    app.mails.release();
    soon(running.task).await.unwrap();
    assert_eq!(recipients(&app.mails.sent()), [ANN]);
    let app = app.restart().await;
    app.deliver().await;
    assert_eq!(recipients(&app.mails.sent()), [BOB]);
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_it_may() {
    let app = TestApp::start();
    app.mails.hold_next(1);
    let running = Running::start_with_grace(&app, Duration::ZERO);
    app.register(ANN).await;
    soon(app.mails.wait_for_attempts(1)).await;
    running.stop().await;
    assert_eq!((app.waiting_mails(), app.mails.sent().len()), (1, 0));
    let app = app.restart().await;
    app.deliver().await;
    assert_eq!(recipients(&app.mails.sent()), [ANN]);
}

/// Regression: a clock that jumped ahead, falsely, gave up every mail that waited.
#[tokio::test]
async fn a_false_jump_of_the_clock_gives_nothing_up() {
    let app = TestApp::with_ann().await;
    app.mails.fail_next(1, deferred());
    app.deliver().await;
    app.clock.set_wall(START.saturating_add(Duration::from_secs(400 * DAY)));
    for _ in 0..20 {
        assert_eq!(app.attempts_now().await, 0, "its link may be dead");
        app.advance(60);
    }
    // Mail that is queued meanwhile goes out, and may have to be tried again.
    app.register(BOB).await;
    app.mails.fail_next(1, deferred());
    assert_eq!((app.attempts_now().await, app.waiting_mails()), (1, 2));
    // Set right: nothing waits for the time that was false.
    app.clock.set_wall(START.saturating_add(Duration::from_secs(60 * 60)));
    assert_eq!((app.attempts_now().await, app.waiting_mails()), (2, 0));
    assert_eq!(app.mails.sent().len(), 2);
}

#[tokio::test]
async fn a_jump_that_is_confirmed_gives_up_what_is_too_late() {
    let app = TestApp::with_ann().await;
    app.clock.set_wall(START.saturating_add(Duration::from_secs(400 * DAY)));
    assert_eq!((app.attempts_now().await, app.waiting_mails()), (0, 1));
    app.advance(DAY);
    assert_eq!((app.attempts_now().await, app.waiting_mails()), (0, 0));
}

#[tokio::test]
async fn nothing_is_sent_that_could_not_be_recorded() {
    let app = TestApp::with_ann().await;
    app.disk.set_full(true);
    assert_eq!(app.registration(BOB).await.status, 503);
    assert_eq!(app.app.store.health(), Health::LowSpace);
    assert_eq!(app.attempts_now().await, 0);
    soon(app.deliver()).await;
    assert_eq!(app.mails.attempts(), 0);
    app.disk.set_full(false);
    app.register(CAROL).await;
    assert_eq!((app.attempts_now().await, app.waiting_mails()), (2, 0));
}

/// Regression: one record that could not be read stopped all mail.
#[tokio::test]
async fn mail_that_cannot_be_read_stops_no_other_and_is_told_once() {
    let app = TestApp::start();
    for email in [ANN, BOB, CAROL] {
        app.register(email).await;
    }
    let disk = Disk::holding(&app.disk.image());
    {
        let database = Builder::new().create_with_backend(disk.clone()).unwrap();
        let tickets: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("tickets_1");
        let outbox: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("outbox_1");
        // Ann's mail itself, and the ticket of Bob's.
        let second = app.app.store.find_mail_after(Some(MailId(1))).unwrap().mail.unwrap();
        let ticket = second.ticket.unwrap().id;
        let transaction = database.begin_write().unwrap();
        transaction.open_table(outbox).unwrap().insert(1, b"{".as_slice()).unwrap();
        transaction
            .open_table(tickets)
            .unwrap()
            .insert(ticket.as_bytes(), b"{".as_slice())
            .unwrap();
        transaction.commit().unwrap();
    }
    let app = app.restart_on(&disk.image()).await;
    let lines = Lines::default();
    let _guard = tracing::dispatcher::set_default(&lines.log(LevelFilter::INFO));
    let running = Running::start(&app);
    assert_eq!(recipients(&soon(app.mails.wait_for(1)).await), [CAROL]);
    for number in 2..5 {
        app.register(&format!("new{number}@example.com")).await;
        soon(app.mails.wait_for(number)).await;
    }
    running.stop().await;
    assert_eq!(app.waiting_mails(), 2);
    let told = lines.with("a stored record is corrupt");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("outbox_1") && told[0].contains("key=\"1\""), "{told:?}");
    assert!(told[1].contains("tickets_1"), "{told:?}");
}

/// Regression: a mail whose attempt panicked stayed due, and was tried in a tight loop.
#[tokio::test]
async fn a_mail_whose_attempt_panics_is_left_alone_for_a_while() {
    let app = TestApp::start();
    app.mails.panic_next();
    let running = Running::start(&app);
    app.register(ANN).await;
    soon(app.mails.wait_for_attempts(1)).await;
    for (number, email) in [BOB, CAROL].into_iter().enumerate() {
        app.register(email).await;
        assert_eq!(soon(app.mails.wait_for(number + 1)).await[number].to, email);
        let_others_run().await;
    }
    assert_eq!(app.mails.attempts(), 3);
    app.advance(600);
    app.register("dora@example.com").await;
    let sent = soon(app.mails.wait_for(4)).await;
    assert!(recipients(&sent).contains(&ANN));
    running.stop().await;
    assert_eq!((app.waiting_mails(), app.mails.attempts()), (0, 5));
}

/// Regression: a mail that was sent while its record could not be read was sent again and again.
#[tokio::test]
async fn a_mail_that_was_sent_but_cannot_be_recorded_is_not_sent_again() {
    let (sound, bad) = (b"\"attempts\":0".as_slice(), b"\"attempts\":x".as_slice());
    let app = TestApp::start_with(|config| config.storage.cache = 0);
    app.mails.hold_next(1);
    let running = Running::start(&app);
    app.register(ANN).await;
    soon(app.mails.wait_for_attempts(1)).await;
    app.disk.replace(sound, bad);
    app.mails.release();
    soon(app.mails.wait_for(1)).await;
    app.register(BOB).await;
    soon(app.mails.wait_for(2)).await;
    until(|| app.waiting_mails() <= 1).await;
    let_others_run().await;
    assert_eq!(app.waiting_mails(), 1);
    app.disk.replace(bad, sound);
    app.register(CAROL).await;
    soon(app.mails.wait_for(3)).await;
    let_others_run().await;
    app.advance(600);
    app.register("dora@example.com").await;
    soon(app.mails.wait_for(4)).await;
    running.stop().await;
    assert_eq!((app.waiting_mails(), app.mails.attempts()), (0, 4));
}
