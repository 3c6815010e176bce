//! A disk that is slow for seconds, and one that is really full. Errors of every kind are in
//! `power`, where a model knows what may be left; a disk below `min_free` is in `audit`.

use std::io::ErrorKind;
use std::time::Duration;

use latchkey::store::Health;

use crate::support::{ANN, Access, BOB, TestApp, at_once, until};

fn is_unavailable(reply: &crate::support::Reply) -> bool {
    reply.status == 503 && reply.retry_after().is_some()
}

#[tokio::test]
async fn while_the_disk_hangs_nothing_is_acknowledged_and_reads_go_on() {
    let app = TestApp::start_with(|config| {
        config.storage.write_queue = 3.try_into().unwrap();
    });
    let tokens = app.newcomer(ANN).await;
    let gate = app.disk.gate();
    gate.hold_flushes(true);
    let mut waiting = vec![tokio::spawn(app.registration("user0@example.com").into_future())];
    gate.arrival().await;
    // The writer waits for the disk, three wait for the writer, and there is no room for more.
    for n in 1..=3 {
        waiting.push(tokio::spawn(app.forgetting(&format!("user{n}@example.com")).into_future()));
        tokio::task::yield_now().await;
    }
    for call in [app.forgetting(ANN), app.refreshing(&tokens.refresh)] {
        let reply = call.await;
        assert!(is_unavailable(&reply), "{reply:?}");
    }
    assert_eq!(app.profile(&tokens.access).await.status, 200);
    assert_eq!(app.get("/healthz").await.status, 200);
    assert!(waiting.iter().all(|call| !call.is_finished()), "answered before the flush");

    gate.hold_flushes(false);
    gate.open();
    let statuses = [201, 200, 200, 200];
    for (call, status) in waiting.into_iter().zip(statuses) {
        assert_eq!(call.await.unwrap().status, status);
    }
    // Whatever became of the one that found no room, to repeat it is safe.
    app.refresh(&tokens.refresh).await;
    app.log_in("user0@example.com").await;
    assert_eq!(app.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn whoever_does_not_wait_for_a_slow_disk_is_told_so_and_loses_nothing() {
    let app = TestApp::start_with(|config| {
        config.server.request_timeout = Duration::from_millis(100);
    });
    let gate = app.disk.gate();
    gate.hold_flushes(true);
    let reply = app.registration(ANN).await;
    assert!(is_unavailable(&reply), "{reply:?}");
    gate.hold_flushes(false);
    gate.open();
    until(|| app.app.store.count_users() == Ok(1)).await;
    // Its outcome was open, and it is whole.
    assert_eq!(app.app.store.count_mail(), Ok(1));
    let app = app.restart_with(|config| config.server.request_timeout = Duration::MAX).await;
    app.log_in(ANN).await;
    assert_eq!(app.registration(ANN).await.status, 400);
}

#[tokio::test]
async fn a_disk_without_room_refuses_what_does_not_fit_and_goes_on_when_there_is_some() {
    let (app, tokens) = TestApp::with_ann_in().await;
    // Whatever the file system says is free: a quota, perhaps, says otherwise.
    app.disk.fail(Access::Resize, 0, ErrorKind::StorageFull);
    let mut registered = 1;
    for batch in 0.. {
        // From many addresses: one alone may not have so many passwords hashed.
        let call = |n: usize| {
            let registration = app.registration(&format!("user{batch}-{n}@example.com"));
            registration.from(&format!("203.0.113.{n}"))
        };
        let replies = at_once((0..32).map(call)).await;
        registered += replies.iter().filter(|reply| reply.status == 201).count();
        let refused = replies.iter().filter(|reply| reply.status != 201);
        if refused.inspect(|reply| assert!(is_unavailable(reply), "{reply:?}")).count() > 0 {
            break;
        }
        assert!(batch < 1_000, "the file never had to grow");
    }
    assert!(app.disk.faults() > 0);
    // What is there can be read, as soon as the file is open again.
    until(|| app.app.store.health() == Health::Fine).await;
    let count = usize::try_from(app.app.store.count_users().unwrap()).unwrap();
    assert_eq!(count, registered, "acknowledged and there");
    assert_eq!(app.profile(&tokens.access).await.status, 200);
    app.disk.mend();
    app.newcomer(BOB).await;
    assert_eq!(app.get("/readyz").await.status, 200);
    let mails = app.app.store.count_mail().unwrap();
    assert_eq!(usize::try_from(mails).unwrap(), registered + 1);
}
