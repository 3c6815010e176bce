//! The links that verify an address, or give an account up.

use super::*;

#[tokio::test]
async fn a_ticket_is_redeemed_once_and_remembered() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let ticket = TicketId::from_bytes([1; 16]);
    let redeem = |at| store.redeem_verification(ticket, client(1), at);
    let RedeemOutcome::Verified(verified) = redeem(at(START)).await.unwrap() else {
        panic!("not verified")
    };
    assert_eq!(verified, User { is_email_verified: true, ..user.clone() });
    assert_eq!(redeem(at(START)).await.unwrap(), RedeemOutcome::AlreadyVerified);
    let disowned = store.disown_user(ticket, client(1), at(START)).await.unwrap();
    assert_eq!(disowned, DisownOutcome::AlreadyVerified);
    assert_eq!(redeem(after(DAY)).await.unwrap(), RedeemOutcome::Invalid);
    let unknown =
        store.redeem_verification(TicketId::from_bytes([9; 16]), client(1), at(START)).await;
    assert_eq!(unknown, Ok(RedeemOutcome::Invalid));
}

#[tokio::test]
async fn a_disowned_account_leaves_nothing_and_its_number_is_not_used_again() {
    let store = open(Memory::default());
    let user = registered(&store, "ann@example.com", 1).await;
    let session = opened(&store, &user, 1).await;
    let ticket = TicketId::from_bytes([1; 16]);
    let disown = || store.disown_user(ticket, client(1), at(START));
    assert_eq!(disown().await.unwrap(), DisownOutcome::Removed);
    assert_eq!(disown().await.unwrap(), DisownOutcome::Removed, "a second click is told the same");
    let gone = store.find_session_of_user(session.id, user.id, START).unwrap();
    assert_eq!(gone, SessionOfUser::NoUser);
    assert_eq!((store.count_users().unwrap(), store.count_mail().unwrap()), (0, 0));
    assert_eq!(store.count_sessions().unwrap(), 0);
    assert!(store.find_ticket(ticket).unwrap().is_some_and(|(_, user)| user.is_none()));
    let again = registered(&store, "ann@example.com", 2).await;
    assert_eq!(again.id, UserId(2));
    let login = store.find_login(&again.email, client(1).block()).unwrap().unwrap();
    assert!(!login.knows_address);
}
