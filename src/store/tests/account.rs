//! Changes of name and address, and deletion.

use super::*;

#[tokio::test]
async fn an_address_changes_when_its_link_is_confirmed_and_not_before() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let pending = changed(&store, &session, email_change("new@example.com", 0, 5)).await;
    assert_eq!(pending.email, user.email);
    assert_eq!(pending.pending_email.unwrap().email.as_str(), "new@example.com");
    let confirm = || {
        let id = TicketId::from_bytes([5; 16]);
        store.confirm_email_change(id, MessageId::from_bytes([0; 16]), client(1), at(START))
    };
    let ConfirmChangeOutcome::Changed(after) = confirm().await.unwrap() else { panic!("refused") };
    assert_eq!(after.email.as_str(), "new@example.com");
    assert_eq!((after.is_email_verified, after.credential_version), (true, 1));
    assert_eq!(confirm().await.unwrap(), ConfirmChangeOutcome::AlreadyChanged);
    assert!(is_live(&store, &session, START));
    assert!(store.find_login(&user.email, client(1).block()).unwrap().is_none());
    let verification = TicketId::from_bytes([1; 16]);
    assert!(store.find_ticket(verification).unwrap().is_none(), "all other tickets are void");
    assert_eq!(registered(&store, "ann@example.com", 9).await.id, UserId(2));
}

#[tokio::test]
async fn a_change_of_address_is_refused_when_someone_else_was_faster() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    changed(&store, &session, email_change("new@example.com", 0, 5)).await;
    registered(&store, "new@example.com", 9).await;
    let id = TicketId::from_bytes([5; 16]);
    let confirm =
        || store.confirm_email_change(id, MessageId::from_bytes([0; 16]), client(1), at(START));
    assert_eq!(confirm().await.unwrap(), ConfirmChangeOutcome::Taken);
    assert_eq!(confirm().await.unwrap(), ConfirmChangeOutcome::Invalid);
    let found = store.find_user(user.id).unwrap().unwrap();
    assert_eq!((found.email, found.pending_email), (user.email, None));
    let taken = store
        .change_account(
            acting(&session),
            session.user,
            email_change("new@example.com", 0, 7),
            at(START),
        )
        .await;
    assert_eq!(taken, Ok(Changed::Taken(Taken { email: true, username: false })));
}

#[tokio::test]
async fn a_name_changes_at_once_and_frees_the_old_one() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let named = |name: Option<&str>| AccountChange {
        username: Some(name.map(|name| Username::parse(name).unwrap())),
        ..AccountChange::default()
    };
    changed(&store, &session, named(Some("Ann"))).await;
    let other = registered(&store, "bob@example.com", 2).await;
    let others = opened(&store, &other, 2).await;
    let taken =
        store.change_account(acting(&others), others.user, named(Some("ANN")), at(START)).await;
    assert_eq!(taken, Ok(Changed::Taken(Taken { email: false, username: true })));
    changed(&store, &session, named(Some("ANN"))).await;
    changed(&store, &session, named(None)).await;
    let renamed = changed(&store, &others, named(Some("ann"))).await;
    assert_eq!(renamed.username.unwrap().as_str(), "ann");
}

#[tokio::test]
async fn a_deleted_account_leaves_a_mail_and_a_free_address() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let deleted = store.delete_user(acting(&session), session.user, 0, FAREWELL, at(START)).await;
    assert_eq!(deleted, Ok(true));
    let mails = due_mail(&store, START);
    assert_eq!(mails.len(), 1, "queued mail goes with the account");
    assert_eq!(mails[0].mail.kind, crate::domain::MailKind::AccountDeleted);
    assert_eq!(registered(&store, "ann@example.com", 2).await.id, UserId(2));
}

#[tokio::test]
async fn a_deleted_account_is_in_no_table_any_more() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let new = new_user("ann@example.com", Some("Ann"), 1);
    let RegisterOutcome::Registered(user) = store.register_user(new, at(START)).await.unwrap()
    else {
        panic!("taken")
    };
    let (session, _other) = (opened(&store, &user, 1).await, opened(&store, &user, 2).await);
    changed(&store, &session, email_change("new@example.com", 0, 5)).await;
    assert_eq!(
        store.delete_user(acting(&session), session.user, 0, FAREWELL, at(START)).await,
        Ok(true)
    );
    drop(store);
    writer.join();

    let gone = [
        "users_1",
        "users_by_email_1",
        "users_by_username_1",
        "known_addresses_1",
        "sessions_1",
        "rotated_sessions_1",
        "sessions_by_user_1",
        "sessions_by_expiry_1",
        "tickets_1",
        "tickets_by_user_1",
        "tickets_by_expiry_1",
    ];
    assert_eq!(lengths(&memory, &gone), [0; 11]);
    let farewell = ["outbox_1", "outbox_by_due_1", "outbox_by_user_1"];
    assert_eq!(lengths(&memory, &farewell), [1; 3]);
    assert_eq!(lengths(&memory, &["revoked_sessions_1"]), [2], "by which other services learn");
}
