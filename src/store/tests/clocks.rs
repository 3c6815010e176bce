//! Clocks that are wrong by a year and come right again.

use super::*;

const BATCH: usize = 2;

/// A year ahead, which nothing has confirmed.
fn ahead() -> Moment {
    Moment { now: START.saturating_add(365 * DAY), confirmed: false }
}

fn store_for(max_events: u64) -> Store {
    Store::open(Memory::default(), SETTINGS, Policy { max_events, ..POLICY }).unwrap().0
}

/// Of each event, the address it came from, when it was last seen, and how often.
fn seen(store: &Store) -> Vec<(u8, Timestamp, u64)> {
    let last_byte = |event: &Event| match event.by.client().unwrap().address {
        std::net::IpAddr::V4(address) => address.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    };
    let events = store.events(0, 100).unwrap();
    events.iter().map(|event| (last_byte(event), event.last_at, event.count)).collect()
}

async fn fail(store: &Store, from: u8, at: Moment) {
    store.note_failure(Some(UserId(1)), false, Actor::Visitor(client(from)), at).await.unwrap();
}

#[tokio::test]
async fn an_event_dated_ahead_takes_in_no_later_one_and_goes_with_those_around_it() {
    let store = store_for(100);
    fail(&store, 1, at(START)).await;
    fail(&store, 2, ahead()).await;
    fail(&store, 3, ahead()).await;
    // The clock is right again.
    fail(&store, 2, after(HOUR)).await;
    fail(&store, 2, after(HOUR)).await;
    let then = ahead().now;
    let all = [(1, START, 1), (2, then, 1), (3, then, 1), (2, after(HOUR).now, 2)];
    assert_eq!(seen(&store), all);

    // Neither a clock ahead, nor one behind, nor the right one sweeps what should stay.
    let year_ago = at(START.saturating_sub(365 * DAY));
    for now in [ahead(), year_ago, after(DAY)] {
        store.sweep(BATCH, now).await.unwrap();
        assert_eq!(seen(&store), all);
    }
    store.sweep(BATCH, after(DAY + HOUR / 2)).await.unwrap();
    assert_eq!(seen(&store), all[1..], "as old as the one after them");
    while store.sweep(BATCH, after(DAY + 2 * HOUR)).await.unwrap().is_unfinished {}
    assert_eq!(seen(&store), []);
    fail(&store, 2, after(DAY + 2 * HOUR)).await;
    assert_eq!(seen(&store).len(), 1);
}

#[tokio::test]
async fn events_dated_ahead_leave_by_number_as_all_others() {
    let store = store_for(3);
    for from in 1..=4 {
        fail(&store, from, ahead()).await;
    }
    for from in 5..=6 {
        fail(&store, from, at(START)).await;
    }
    assert_eq!(seen(&store), [(4, ahead().now, 1), (5, START, 1), (6, START, 1)]);
}

#[tokio::test]
async fn mail_that_failed_in_a_time_ahead_is_kept_as_long_as_what_failed_after_it() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    for number in 1..=2 {
        registered(&store, &format!("user{number}@example.com"), number).await;
    }
    for (number, moment) in [(1, ahead()), (2, at(START))] {
        store.fail_mail(crate::domain::MailId(number), "550".to_owned(), moment).await.unwrap();
    }
    store.sweep(BATCH, after(HOUR)).await.unwrap();
    drop(store);
    writer.join();
    assert_eq!(lengths(&memory, &["failed_mail_1"]), [2]);
}

#[tokio::test]
async fn a_session_that_is_over_and_not_yet_swept_displaces_none() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let over = [opened(&store, &user, 1).await, opened(&store, &user, 2).await];
    let now = after(DAY + HOUR);
    let mut opened = Vec::new();
    for number in 3..=5 {
        let opening = opening(&user, number, now.now);
        assert!(store.open_session(opening.clone(), now).await.unwrap());
        opened.push(opening.session);
    }
    let live: Vec<_> = opened.iter().map(|session| is_live(&store, session, now.now)).collect();
    assert_eq!(live, [false, true, true], "there is room for two, and the oldest goes");
    assert_eq!(store.count_sessions().unwrap(), 4, "the sweeper removes those that are over");
    assert!(over.iter().all(|session| is_live(&store, session, START)));
}

#[tokio::test]
async fn a_login_under_a_clock_ahead_costs_no_session_neither_then_nor_later() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let before = opened(&store, &user, 1).await;
    let strays = [2, 3].map(|number| opening(&user, number, ahead().now));
    for stray in &strays {
        assert!(store.open_session(stray.clone(), ahead()).await.unwrap());
    }
    let now = after(HOUR);
    let since = opening(&user, 4, now.now);
    assert!(store.open_session(since.clone(), now).await.unwrap());
    assert!(is_live(&store, &before, now.now) && is_live(&store, &since.session, now.now));
    assert_eq!(store.count_sessions().unwrap(), 2, "those that nobody could use went first");
}

#[tokio::test]
async fn whoever_logs_out_under_a_clock_ahead_is_out_when_it_is_right_again() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    assert!(store.log_out(authorised(&session), ahead()).await.unwrap());
    assert!(!is_live(&store, &session, START));
    assert_eq!(store.find_revocations(START).unwrap().digests, [session.id.digest()]);
}

#[tokio::test]
async fn what_the_operators_word_ends_is_revoked_for_other_services_too() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let wrong = at(ahead().now);
    let opening = opening(&user, 1, wrong.now);
    assert!(store.open_session(opening.clone(), wrong).await.unwrap());
    store.accept_clock(START).await.unwrap();
    // Its access tokens were dated by the clock that was wrong.
    let latest = wrong.now.saturating_add(HOUR);
    for now in [START, latest] {
        let revoked = store.find_revocations(now).unwrap();
        assert_eq!(revoked.digests, [opening.session.id.digest()]);
    }
}

/// A session that was bound to its first refresh token ends before access tokens from before that.
#[tokio::test]
async fn a_bound_session_that_the_operator_ends_is_revoked_while_its_access_tokens_live() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let mut opening = opening(&user, 1, START);
    let end = START.saturating_add(HOUR);
    (opening.session.is_bound, opening.session.ends_at) = (true, Some(end));
    assert!(store.open_session(opening.clone(), at(START)).await.unwrap());
    store.accept_clock(START).await.unwrap();
    let last = end.saturating_add(POLICY.access_lifetime);
    let revoked = |now| store.find_revocations(now).unwrap().digests;
    assert_eq!(
        revoked(Timestamp::from_micros(last.as_micros() - 1)),
        [opening.session.id.digest()]
    );
}

#[tokio::test]
async fn what_mailboxes_were_sent_in_a_time_ahead_is_forgotten() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, LIMITED).unwrap();
    for (number, moment) in [(1, ahead()), (2, at(START))] {
        let new = new_user(&format!("user{number}@example.com"), None, number);
        store.register_user(new, moment).await.unwrap();
    }
    store.sweep(BATCH, after(HOUR)).await.unwrap();
    drop(store);
    writer.join();
    assert_eq!(lengths(&memory, &["mailboxes_1", "mailboxes_by_expiry_1"]), [1, 1]);
}

#[tokio::test]
async fn addresses_known_from_a_time_ahead_keep_out_no_new_one() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    for (from, moment) in (1..=16).map(|from| (from, ahead())).chain([(17, at(START))]) {
        let mut opening = opening(&user, from, moment.now);
        opening.session.opened_by = client(from);
        assert!(store.open_session(opening, moment).await.unwrap());
    }
    let knows =
        |last| store.find_login(&user.email, client(last).block()).unwrap().unwrap().knows_address;
    assert!(knows(17) && (1..=16).filter(|last| knows(*last)).count() == 15);
}
