//! What time does: mail that waits, sweeping, and the last commit time.

use super::*;
use crate::domain::MailId;

#[tokio::test]
async fn mail_is_finished_deferred_or_given_up() {
    let store = open(Memory::default());
    for number in 1..=3 {
        registered(&store, &format!("user{number}@example.com"), number).await;
    }
    store.finish_mail(MailId(1), at(START)).await.unwrap();
    store.defer_mail(MailId(2), START.saturating_add(HOUR), at(START)).await.unwrap();
    store.fail_mail(MailId(3), "550".to_owned(), at(START)).await.unwrap();
    assert!(due_mail(&store, START).is_empty());
    assert_eq!(store.find_next_due(START), Ok(Some(START.saturating_add(HOUR))));
    let due = due_mail(&store, START.saturating_add(HOUR));
    assert_eq!(
        due.iter().map(|item| (item.mail.id, item.mail.attempts)).collect::<Vec<_>>(),
        [(MailId(2), 1)]
    );
    assert_eq!(store.find_next_due(START.saturating_add(HOUR)), Ok(None));
    let waiting = store.find_mail_after(None).unwrap();
    assert_eq!(waiting.last(), Some(MailId(2)), "a restart looks at mail that is not due yet");
    assert_eq!(store.find_mail_after(Some(MailId(2))).unwrap().last(), None);
    assert_eq!(store.find_last_mail(), Ok(Some(MailId(2))));
    let found = |latest| store.find_due_mail(START, latest, |_| false).unwrap().last();
    assert_eq!((found(HOUR), found(HOUR / 2)), (None, Some(MailId(2))), "no honest clock said so");
}

#[tokio::test]
async fn a_sweep_removes_what_is_over_and_files_anew_what_was_extended() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let (left, kept) = (opened(&store, &user, 1).await, opened(&store, &user, 2).await);
    let later = after(DAY - HOUR);
    store.rotate_session(presented(&kept, 0), later, Session::clone).await.unwrap().unwrap();
    let now = after(DAY + HOUR);
    let unconfirmed = Moment { confirmed: false, ..now };
    store.sweep(1, unconfirmed).await.unwrap();
    assert_eq!(store.count_sessions().unwrap(), 2, "an unconfirmed time sweeps nothing");
    let mut rounds = 0;
    while store.sweep(1, now).await.unwrap().is_unfinished {
        rounds += 1;
        assert!(rounds < 10, "a sweep comes to an end");
    }
    assert_eq!(store.count_sessions().unwrap(), 1);
    assert!(!is_live(&store, &left, START));
    assert!(is_live(&store, &kept, now.now));
    assert!(store.find_ticket(TicketId::from_bytes([1; 16])).unwrap().is_none());
    store.sweep(1, after(3 * DAY)).await.unwrap();
    assert_eq!(store.count_sessions().unwrap(), 0);
}

/// A mail that was given up while the clock ran ahead once kept all later ones for years.
#[tokio::test]
async fn a_mail_that_failed_in_a_time_ahead_keeps_no_other() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    for number in 1..=2 {
        registered(&store, &format!("user{number}@example.com"), number).await;
    }
    let ahead = Moment { now: START.saturating_add(3_650 * DAY), confirmed: false };
    store.fail_mail(MailId(1), "550".to_owned(), ahead).await.unwrap();
    store.fail_mail(MailId(2), "550".to_owned(), at(START)).await.unwrap();
    store.sweep(10, after(DAY + HOUR)).await.unwrap();
    drop(store);
    writer.join();
    assert_eq!(lengths(&memory, &["failed_mail_1"]), [0]);
}

#[tokio::test]
async fn accepting_the_clock_moves_the_mark_back_and_ends_all_sessions() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let user = registered(&store, "ann@example.com", 1).await;
    opened(&store, &user, 1).await;
    let earlier = START.saturating_sub(DAY);
    store.accept_clock(earlier).await.unwrap();
    drop(store);
    writer.join();
    let store = open(memory);
    assert_eq!((store.last_commit(), store.count_sessions().unwrap()), (earlier, 0));
    assert_eq!(store.count_users().unwrap(), 1);
}

#[tokio::test]
async fn an_unconfirmed_time_does_not_move_the_mark() {
    let store = open(Memory::default());
    registered(&store, "ann@example.com", 1).await;
    let jumped = Moment { now: START.saturating_add(365 * DAY), confirmed: false };
    store.register_user(new_user("bob@example.com", None, 2), jumped).await.unwrap();
    assert_eq!(store.last_commit(), START);
}
