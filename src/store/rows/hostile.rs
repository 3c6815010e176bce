//! What holds for whatever lies where a record should, for tests and for the fuzzer: records are
//! private to storage, so what is said about them has to be said here.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::records::{
    EventRecord, FailedMailRecord, MailRecord, SessionRecord, TicketRecord, UserRecord,
};
use crate::clock::Timestamp;
use crate::domain::session::SessionLifetimes;
use crate::domain::{MailId, Mailbox, Rotation, SessionId, Shown, TicketId, UserId};
use crate::store::engine::{CorruptRecord, Fault, decode, encode};

const TABLE: &str = "table";
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LIFETIMES: SessionLifetimes = SessionLifetimes {
    refresh: Duration::from_secs(86_400),
    session: Some(Duration::from_secs(30 * 86_400)),
    reuse_grace: Duration::from_secs(30),
    keep_first: true,
};

/// Reads `bytes` as every kind of record: each is either refused, naming table and key and nothing
/// of the record, or written again as it was read, and whatever is then done with it ends.
///
/// # Panics
/// If that does not hold.
pub fn check(bytes: &[u8]) {
    if let Some(record) = stable::<UserRecord>(bytes) {
        let user = record.account(UserId(1)).user;
        assert_eq!(user.clone().seen_at(Timestamp::EPOCH).id, user.id);
        assert!(user.pending_email_at(Timestamp::from_micros(u64::MAX)).is_none());
    }
    if let Some(record) = stable::<SessionRecord>(bytes) {
        check_session(record);
    }
    if let Some(record) = stable::<TicketRecord>(bytes) {
        let ticket = record.ticket(TicketId::from_bytes([0; 16]));
        assert!(!ticket.is_live(ticket.expires_at));
    }
    if let Some(record) = stable::<MailRecord>(bytes) {
        let mail = record.mail(MailId(1));
        assert_eq!(mail.kind.ticket(), mail.kind.clone().ticket());
    }
    if let Some(record) = stable::<EventRecord>(bytes) {
        let event = record.event();
        assert!(event.by.to_string().len() <= 42);
    }
    stable::<FailedMailRecord>(bytes);
    if let Some(mailbox) = stable::<Mailbox>(bytes) {
        for now in moments(mailbox.expires_at()) {
            let _ = Mailbox::send(Some(mailbox), now, NonZeroU32::MIN);
        }
    }
}

/// What `bytes` say, if they are such a record.
#[expect(clippy::panic, reason = "a property that does not hold is to end whatever checks it")]
fn stable<R: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<R> {
    let record: R = match decode(TABLE, &"key", bytes) {
        Ok(record) => record,
        Err(Fault::Corrupt(CorruptRecord { table, key, problem })) => {
            let place = problem.strip_prefix("unreadable at byte ").map(str::parse::<usize>);
            assert!(matches!(place, Some(Ok(_))), "{problem}");
            assert_eq!((&*table, &*key), (TABLE, "\"key\""));
            return None;
        }
        Err(Fault::Storage(error)) => panic!("{error}"),
    };
    let written = encode(&record).unwrap_or_else(|_| panic!("it cannot be written"));
    let again: R = decode(TABLE, &"key", &written).unwrap_or_else(|_| panic!("nor read again"));
    let rewritten = encode(&again).unwrap_or_else(|_| panic!("nor written again"));
    assert_eq!(rewritten, written);
    Some(record)
}

/// Whatever the record says, a session never outlives its end, and never goes back.
fn check_session(record: SessionRecord) {
    let session = record.session(SessionId::from_bytes([0; 16]));
    let generations = [0, session.generation, session.generation.wrapping_sub(1), u64::MAX];
    for now in moments(session.expires_at()).into_iter().chain(moments(session.rotated_at)) {
        for presented in generations {
            let shown = Shown { generation: presented, expires_at: now, from: FROM };
            let rotation = session.rotate(shown, now, LIFETIMES);
            assert_eq!(rotation == Rotation::Expired, !session.is_live(now));
            if let Rotation::KeptFirst(Some(bound)) = &rotation {
                assert!(bound.expires_at() <= now && bound.generation == session.generation);
            }
            if let Rotation::Rotated(successor) = rotation {
                assert_eq!(presented, session.generation);
                assert!(successor.generation >= session.generation);
                assert!(session.ends_at.is_none_or(|end| successor.token_expires_at <= end));
            }
        }
    }
}

/// The beginning and the end of time, and around `moment`.
fn moments(moment: Timestamp) -> [Timestamp; 5] {
    let micros = moment.as_micros();
    [0, micros.saturating_sub(1), micros, micros.saturating_add(1), u64::MAX]
        .map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Records as the program writes them, one of each kind.
    const WRITTEN: [&str; 7] = [
        r#"{"email":"Ann@example.com","username":"ann","password":"$argon2id$v=19$m=256,t=1,p=1$c2FsdHNhbHQ$aGFzaA","is_email_verified":true,"created_at":1733479200123456,"credential_version":3,"is_disabled":false,"pending_email":{"email":"new@example.com","ticket":"000102030405060708090a0b0c0d0e0f","asked_at":1733479200123456,"expires_at":1733565600123456}}"#,
        r#"{"user":1,"generation":7,"opened_at":1733479200123456,"rotated_at":1733479200123456,"rotated_from":"192.0.2.1","token_expires_at":1733565600123456,"ends_at":1736071200123456,"opened_by":{"address":"2001:db8::1","user_agent":"curl/8.5"},"filed_at":1733565600123456}"#,
        r#"{"purpose":"verify_email","user":1,"email":"ann@example.com","created_at":1733479200123456,"expires_at":1733565600123456,"redeemed_at":null}"#,
        r#"{"mail":{"kind":"email_change_requested","ticket":"000102030405060708090a0b0c0d0e0f","new_email":"new@example.com"},"user":1,"to":"ann@example.com","message_id":"000102030405060708090a0b0c0d0e0f","queued_at":1733479200123456,"give_up_at":1733565600123456,"attempts":2,"due_at":1733479203123456}"#,
        r#"{"mail":{"kind":"password_reset"},"user":1,"to":"ann@example.com","message_id":"000102030405060708090a0b0c0d0e0f","queued_at":1733479200123456,"give_up_at":1733565600123456,"attempts":2,"due_at":1733479203123456,"failed_at":1733479204123456,"reason":"550 no"}"#,
        r#"{"kind":"logged_in","user":1,"session":"000102030405060708090a0b0c0d0e0f","at":1733479200123456,"last_at":1733479200123456,"count":1,"client":{"address":"192.0.2.1","user_agent":""}}"#,
        r#"{"since":1733479200123456,"count":2,"paced_at":1733479320123456}"#,
    ];

    #[test]
    fn every_seed_of_the_fuzzer_holds() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/record");
        let seeds: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(seeds.len() >= WRITTEN.len());
        for seed in seeds {
            let path = seed.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let held = std::panic::catch_unwind(|| check(&bytes));
            assert!(held.is_ok(), "{}", path.display());
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let is_read = |text: &str| {
            let bytes = text.as_bytes();
            [
                stable::<UserRecord>(bytes).is_some(),
                stable::<SessionRecord>(bytes).is_some(),
                stable::<TicketRecord>(bytes).is_some(),
                stable::<MailRecord>(bytes).is_some(),
                stable::<FailedMailRecord>(bytes).is_some(),
                stable::<EventRecord>(bytes).is_some(),
                stable::<Mailbox>(bytes).is_some(),
            ]
        };
        for (place, text) in WRITTEN.into_iter().enumerate() {
            assert!(is_read(text)[place], "{text}");
            check(text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_hold(bytes in any::<Vec<u8>>(), text in "\\{?\\PC{0,200}") {
            check(&bytes);
            check(text.as_bytes());
        }

        /// A byte changed, a number changed, and the rest cut off.
        #[test]
        fn damaged_records_hold(
            record in prop::sample::select(&WRITTEN[..]),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            number in any::<u64>(),
            text in prop_oneof!["[0-9a-fé€+]{11,32}", "\\PC{0,40}"],
        ) {
            let mut damaged = record.as_bytes().to_vec();
            let place = at.index(damaged.len());
            check(&damaged[..place]);
            damaged[place] = byte;
            check(&damaged);
            let numbers: Vec<_> = record.match_indices("17").map(|(place, _)| place).collect();
            let place = numbers[at.index(numbers.len())];
            let changed = format!("{}{number}{}", &record[..place], &record[place + 16..]);
            check(changed.as_bytes());
            let id = "000102030405060708090a0b0c0d0e0f";
            check(record.replace(id, &text).as_bytes());
            let as_long = text.chars().cycle().take(32).collect::<String>();
            let end = as_long.floor_char_boundary(id.len());
            check(record.replace(id, &as_long[..end]).as_bytes());
        }
    }
}
