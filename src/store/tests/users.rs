//! Registering: all of it or nothing.

use super::*;

#[tokio::test]
async fn a_registration_writes_user_indexes_ticket_and_mail_together() {
    let store = open(Memory::default());
    let new = new_user("Ann@Example.com", Some("Ann"), 1);
    let email = new.email.clone();
    let outcome = store.register_user(new, at(START)).await.unwrap();
    let RegisterOutcome::Registered(user) = outcome else { panic!("{outcome:?}") };
    assert_eq!(user.id, UserId(1));
    let login = store.find_login(&email, client(1).block()).unwrap().unwrap();
    assert_eq!((login.user.clone(), login.knows_address), (user.clone(), false));
    let (ticket, owner) = store.find_ticket(TicketId::from_bytes([1; 16])).unwrap().unwrap();
    assert_eq!((ticket.email, owner), (email, Some(user)));
    let due = due_mail(&store, START);
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].ticket.as_ref().unwrap().id, TicketId::from_bytes([1; 16]));
}

#[tokio::test]
async fn simultaneous_registrations_of_one_address_make_one_user() {
    let store = open(Memory::default());
    let mut under_way = tokio::task::JoinSet::new();
    for number in 0..20 {
        let store = store.clone();
        let email = if number % 2 == 0 { "ann@example.com" } else { "ANN@example.COM" };
        let new = new_user(email, None, number);
        under_way.spawn(async move { store.register_user(new, at(START)).await.unwrap() });
    }
    let outcomes = under_way.join_all().await;
    let made =
        outcomes.iter().filter(|outcome| matches!(outcome, RegisterOutcome::Registered(_))).count();
    assert_eq!(made, 1);
    assert_eq!((store.count_users().unwrap(), store.count_mail().unwrap()), (1, 1));
}

#[tokio::test]
async fn a_refused_registration_changes_nothing() {
    let store = open(Memory::default());
    let first = new_user("ann@example.com", Some("Ann"), 1);
    store.register_user(first, at(START)).await.unwrap();
    let again = new_user("other@example.com", Some("ANN"), 2);
    let outcome = store.register_user(again, at(START)).await.unwrap();
    assert_eq!(outcome, RegisterOutcome::Taken(Taken { email: false, username: true }));
    assert_eq!((store.count_users().unwrap(), store.count_mail().unwrap()), (1, 1));
    assert!(store.find_ticket(TicketId::from_bytes([2; 16])).unwrap().is_none());
    let third = registered(&store, "other@example.com", 3).await;
    assert_eq!(third.id, UserId(2), "a refusal uses no number up");
}

#[tokio::test]
async fn a_login_makes_its_address_known() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    opened(&store, &user, 1).await;
    let knows =
        |last| store.find_login(&user.email, client(last).block()).unwrap().unwrap().knows_address;
    assert_eq!((knows(1), knows(2)), (true, false));
}
