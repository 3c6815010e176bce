//! Resets and changes of passwords.

use super::*;

fn reset_request(email: &str, number: u8) -> ResetRequest {
    ResetRequest {
        email: Email::parse(email).unwrap(),
        ticket: ticket(number),
        message_id: MessageId::from_bytes([number; 16]),
        client: client(1),
    }
}

fn new_hash(number: u8) -> NewPasswordHash {
    NewPasswordHash {
        password: PasswordHash::new(format!("$argon2id$new{number}")),
        message_id: MessageId::from_bytes([number; 16]),
    }
}

#[tokio::test]
async fn a_session_opened_on_an_old_password_is_refused_after_a_reset() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let checked = opening(&user, 1, START);
    store.request_password_reset(reset_request("ann@example.com", 9), at(START)).await.unwrap();
    let reset = store
        .reset_password(TicketId::from_bytes([9; 16]), new_hash(9), client(1), at(START))
        .await
        .unwrap();
    assert!(matches!(reset, ResetOutcome::Done(user) if user.is_email_verified));
    assert!(!store.open_session(checked, at(START)).await.unwrap());
    assert_eq!(store.count_sessions().unwrap(), 0);
}

#[tokio::test]
async fn a_reset_ends_everything_that_was_open() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    changed(&store, &session, email_change("new@example.com", 0, 5)).await;
    store.request_password_reset(reset_request("ann@example.com", 9), at(START)).await.unwrap();
    let reset = TicketId::from_bytes([9; 16]);
    store.reset_password(reset, new_hash(9), client(1), at(START)).await.unwrap();
    assert_eq!(store.count_sessions().unwrap(), 0);
    let revoked = store.find_revocations(START).unwrap();
    assert_eq!(revoked.digests, [session.id.digest()]);
    let change = TicketId::from_bytes([5; 16]);
    let confirmed = store
        .confirm_email_change(change, MessageId::from_bytes([0; 16]), client(1), at(START))
        .await;
    assert_eq!(confirmed, Ok(ConfirmChangeOutcome::Invalid));
    let again = store.reset_password(reset, new_hash(9), client(1), at(START)).await;
    assert_eq!(again, Ok(ResetOutcome::Invalid), "a link resets once");
    let (used, owner) = store.find_ticket(reset).unwrap().unwrap();
    let owner = owner.unwrap();
    let how = TicketUse { at: START, credential_version: 1 };
    assert_eq!(used.state(&owner, START), TicketState::Used(how));
    assert_eq!(used.state(&owner, used.expires_at), TicketState::Void);
    let again = store.request_password_reset(reset_request("ann@example.com", 8), at(START));
    assert_eq!(again.await, Ok(Requested::Queued), "a used link is not mailed again");
    let next = TicketId::from_bytes([8; 16]);
    assert!(store.find_ticket(next).unwrap().is_some_and(|(ticket, _)| ticket.is_live(START)));
    store.reset_password(next, new_hash(7), client(1), at(START)).await.unwrap();
    let (used, owner) = store.find_ticket(reset).unwrap().unwrap();
    assert_eq!(used.state(&owner.unwrap(), START), TicketState::Used(how), "it still says so");
    let found = store.find_user(user.id).unwrap().unwrap();
    assert_eq!((found.pending_email, found.credential_version), (None, 2));
}

#[tokio::test]
async fn asking_again_mails_the_same_link_within_the_limit_of_the_mailbox() {
    let store = Store::open(Memory::default(), SETTINGS, LIMITED).unwrap().0;
    registered(&store, "ann@example.com", 1).await;
    let ask = async |email: &str, number| {
        let before = store.count_mail().unwrap();
        let request = reset_request(email, number);
        let answer = store.request_password_reset(request, at(START)).await.unwrap();
        (answer, store.count_mail().unwrap() - before)
    };
    assert_eq!(ask("ann@example.com", 7).await, (Requested::Queued, 1));
    assert_eq!(ask("ANN@example.com", 8).await, (Requested::Queued, 1));
    assert_eq!(ask("ann@example.com", 9).await, (Requested::Nothing, 0));
    assert_eq!(ask("nobody@example.com", 6).await, (Requested::Nothing, 0));
    assert!(store.find_ticket(TicketId::from_bytes([7; 16])).unwrap().is_some());
    assert!(store.find_ticket(TicketId::from_bytes([8; 16])).unwrap().is_none());
}

#[tokio::test]
async fn a_change_of_password_keeps_one_session() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let (kept, other) = (opened(&store, &user, 1).await, opened(&store, &user, 2).await);
    let change = |version| PasswordChange {
        by: acting(&kept),
        user: kept.user,
        credential_version: version,
        new: new_hash(3),
    };
    assert!(!store.change_password(change(7), at(START)).await.unwrap());
    assert!(is_live(&store, &other, START), "a refused change changes nothing");
    assert!(store.change_password(change(0), at(START)).await.unwrap());
    assert_eq!([&kept, &other].map(|session| is_live(&store, session, START)), [true, false]);
    assert!(!store.change_password(change(0), at(START)).await.unwrap(), "the version moved");
}
