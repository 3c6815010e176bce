//! Records that cannot be read: only what needs them fails, and they leave nothing behind.

use redb::TableDefinition;

use super::*;

const UNREADABLE: &[u8] = b"{";
const SESSION_TABLES: [&str; 4] =
    ["sessions_1", "rotated_sessions_1", "sessions_by_user_1", "sessions_by_expiry_1"];
const TICKET_TABLES: [&str; 3] = ["tickets_1", "tickets_by_user_1", "tickets_by_expiry_1"];
const MAIL_TABLES: [&str; 3] = ["outbox_1", "outbox_by_due_1", "outbox_by_user_1"];

/// Ann with two sessions, in a store that is closed.
async fn ann() -> (Memory, User, [Session; 2]) {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let user = registered(&store, "ann@example.com", 1).await;
    let sessions = [opened(&store, &user, 1).await, opened(&store, &user, 2).await];
    drop(store);
    writer.join();
    (memory, user, sessions)
}

/// Where a session's record may lie.
const PLACES: [TableDefinition<'_, &[u8; 16], &[u8]>; 2] = [list::SESSIONS, list::ROTATED_SESSIONS];

fn spoil_session(memory: &Memory, session: &Session, place: TableDefinition<'_, &[u8; 16], &[u8]>) {
    tamper(memory, |write| {
        write.open_table(place).unwrap().insert(session.id.as_bytes(), UNREADABLE).unwrap();
    });
}

/// Spoils the ticket that verifies Ann's address.
fn spoil_ticket(memory: &Memory) {
    tamper(memory, |write| {
        write.open_table(list::TICKETS).unwrap().insert(&[1; 16], UNREADABLE).unwrap();
    });
}

async fn deleted(store: &Store, by: &Session) {
    assert_eq!(store.delete_user(acting(by), by.user, 0, FAREWELL, at(START)).await, Ok(true));
}

#[tokio::test]
async fn a_session_hinders_no_other_and_goes_with_its_user() {
    for place in PLACES {
        let (memory, user, [spoilt, other]) = ann().await;
        spoil_session(&memory, &spoilt, place);
        let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
        let listed = store.find_sessions(user.id, START).unwrap();
        assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), [other.id]);
        // It takes no room.
        let third = opened(&store, &user, 3).await;
        assert!(is_live(&store, &other, START) && is_live(&store, &third, START));
        deleted(&store, &other).await;
        let revoked = store.find_revocations(START).unwrap().digests;
        assert!(revoked.contains(&spoilt.id.digest()), "its access tokens are as good as any");
        drop(store);
        writer.join();
        assert_eq!(lengths(&memory, &SESSION_TABLES), [0; 4]);
    }
}

#[tokio::test]
async fn a_session_hinders_no_login_of_whoever_held_it() {
    for place in PLACES {
        let (memory, user, [spoilt, _]) = ann().await;
        spoil_session(&memory, &spoilt, place);
        let store = open(memory);
        let again = NewSession { former: vec![authorised(&spoilt)], ..opening(&user, 3, START) };
        assert_eq!(store.open_session(again.clone(), at(START)).await, Ok(true));
        assert!(is_live(&store, &again.session, START));
        assert_eq!(store.find_revocations(START).unwrap().digests, [spoilt.id.digest()]);
    }
}

#[tokio::test]
async fn a_token_of_a_session_that_cannot_be_read_does_not_stay_unjudged() {
    for place in PLACES {
        let (memory, _, [spoilt, _]) = ann().await;
        spoil_session(&memory, &spoilt, place);
        let store = open(memory);
        assert_eq!(store.foresee_rotation(&presented(&spoilt, 0), START), None);
        let rotated = store.rotate_session(presented(&spoilt, 0), at(START), Session::clone).await;
        assert_eq!(rotated, Err(StoreError::Corrupt));
        assert!(store.shared.pending.unjudged() == 0);
    }
}

#[tokio::test]
async fn sessions_and_tickets_are_swept_with_their_index_entries() {
    for place in PLACES {
        let (memory, _, [spoilt, _]) = ann().await;
        spoil_session(&memory, &spoilt, place);
        spoil_ticket(&memory);
        let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
        for _ in 0..3 {
            store.sweep(1, after(3 * DAY)).await.unwrap();
        }
        drop(store);
        writer.join();
        assert_eq!(lengths(&memory, &SESSION_TABLES), [0; 4]);
        assert_eq!(lengths(&memory, &TICKET_TABLES), [0; 3]);
    }
}

#[tokio::test]
async fn a_ticket_is_replaced_and_leaves_no_index_entry() {
    let (memory, ..) = ann().await;
    spoil_ticket(&memory);
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    let redeem = |number| {
        store.redeem_verification(TicketId::from_bytes([number; 16]), client(1), at(START))
    };
    assert_eq!(redeem(1).await, Err(StoreError::Corrupt));
    let request = ResetRequest {
        email: Email::parse("ann@example.com").unwrap(),
        ticket: ticket(2),
        message_id: MessageId::from_bytes([2; 16]),
        client: client(1),
    };
    assert_eq!(store.request_verification(request, at(START)).await, Ok(Requested::Queued));
    assert!(matches!(redeem(2).await, Ok(RedeemOutcome::Verified(_))));
    assert_eq!(redeem(1).await, Ok(RedeemOutcome::Invalid));
    drop(store);
    writer.join();
    assert_eq!(lengths(&memory, &TICKET_TABLES), [1; 3], "the one that was redeemed");
}

#[tokio::test]
async fn a_mail_goes_with_its_user() {
    let (memory, _, [session, _]) = ann().await;
    tamper(&memory, |write| {
        write.open_table(list::OUTBOX).unwrap().insert(1, UNREADABLE).unwrap();
    });
    let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
    deleted(&store, &session).await;
    drop(store);
    writer.join();
    assert_eq!(lengths(&memory, &MAIL_TABLES), [1; 3], "the farewell");
}

#[tokio::test]
async fn an_event_that_is_spoilt_or_gone_locks_nobody_out() {
    for is_gone in [false, true] {
        let (memory, user, _) = ann().await;
        // The latest of Ann's logins.
        tamper(&memory, |write| {
            let mut events = write.open_table(list::EVENTS).unwrap();
            if is_gone {
                events.remove(2).unwrap();
            } else {
                events.insert(2, UNREADABLE).unwrap();
            }
        });
        let (store, writer) = Store::open(memory.clone(), SETTINGS, POLICY).unwrap();
        let session = opened(&store, &user, 3).await;
        // So many others that it has to leave.
        for last in 10..14 {
            let token = Presented { client: client(last), ..presented(&session, 7) };
            store.rotate_session(token, at(START), Session::clone).await.unwrap().unwrap_err();
        }
        assert_eq!(store.events(0, 10).unwrap().len(), 3);
        drop(store);
        writer.join();
        assert_eq!(lengths(&memory, &["events_1", "latest_events_2"]), [3, 3]);
    }
}

#[tokio::test]
async fn what_a_mailbox_was_sent_keeps_no_mail_from_it() {
    let memory = Memory::default();
    let (store, writer) = Store::open(memory.clone(), SETTINGS, LIMITED).unwrap();
    registered(&store, "ann@example.com", 1).await;
    drop(store);
    writer.join();
    tamper(&memory, |write| {
        let mut mailboxes = write.open_table(list::MAILBOXES).unwrap();
        let key = *mailboxes.first().unwrap().unwrap().0.value();
        mailboxes.insert(&key, UNREADABLE).unwrap();
    });
    let store = Store::open(memory, SETTINGS, LIMITED).unwrap().0;
    let request = ResetRequest {
        email: Email::parse("ann@example.com").unwrap(),
        ticket: ticket(2),
        message_id: MessageId::from_bytes([2; 16]),
        client: client(1),
    };
    assert_eq!(store.request_verification(request, at(START)).await, Ok(Requested::Queued));
}
