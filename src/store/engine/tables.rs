//! The list of tables, and the transactions that open them: each table once, and only when it is
//! needed.
//!
//! A name carries its table's version. Keys sort as they are to be walked; records are JSON whose
//! later fields are defaulted, so that a file of an older version opens.

use std::sync::{Mutex, OnceLock};

use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction,
};

use super::decoded::Edition;
use super::fault::Fault;
use super::table::{Id, Record, Slot};
use crate::clock::{Moment, Timestamp};

/// The version of the tables as a whole, kept under [`meta::SCHEMA`].
pub(crate) const SCHEMA: u64 = 4;
/// The oldest version that opens: all that it lacks is tables, which are made.
pub(crate) const OLDEST_SCHEMA: u64 = 3;

/// Keys of [`META`].
pub(crate) mod meta {
    /// The version of the tables as a whole.
    pub(crate) const SCHEMA: &str = "schema";
    /// The last commit time, in microseconds.
    pub(crate) const LAST_COMMIT: &str = "clock_mark";
    /// The last commit time when the clock's trial was noted: the trial is void once that has
    /// moved.
    pub(crate) const TRIAL_SINCE: &str = "clock_trial_mark";
    /// What the clock said when its trial was noted, in microseconds.
    pub(crate) const TRIAL_WALL: &str = "clock_trial_wall";
    /// For how long the clock had stood its trial by then, in microseconds.
    pub(crate) const TRIAL_STOOD_FOR: &str = "clock_trial_stood_for";
    /// The number of the user who registers next.
    pub(crate) const NEXT_USER: &str = "next_user";
    /// The number of the mail that is queued next.
    pub(crate) const NEXT_MAIL: &str = "next_mail";
    /// The number of the mail that is given up next.
    pub(crate) const NEXT_FAILED_MAIL: &str = "next_failed_mail";
    /// Until when the list of revoked sessions lacks some, in microseconds.
    pub(crate) const REVOKED_INCOMPLETE_UNTIL: &str = "revoked_incomplete_until";
    /// The number of the next audit event.
    pub(crate) const NEXT_EVENT: &str = "next_event";
}

macro_rules! tables {
    ($($(#[$doc:meta])* $definition:ident, $name:ident: $key:ty => $value:ty = $stored:literal;)*) => {
        $($(#[$doc])* pub(crate) const $definition: TableDefinition<'_, $key, $value> =
            TableDefinition::new($stored);)*

        /// How many tables there are.
        pub(super) const TABLES: usize = [$($stored),*].len();

        /// A write transaction.
        pub(crate) struct Write<'t> {
            $($(#[$doc])* pub(crate) $name: Slot<'t, $key, $value>,)*
            pub(super) settling: &'t Settling,
            /// Whether anything was written that has to be committed.
            pub(super) has_changes: bool,
            /// Whether mail was queued, so that the outbox task should look.
            pub(crate) has_mail: bool,
            /// The latest confirmed time of what was written; the last commit time follows it.
            pub(super) latest: Timestamp,
        }

        impl<'t> Write<'t> {
            pub(super) const fn new(
                transaction: &'t WriteTransaction,
                settling: &'t Settling,
            ) -> Self {
                Self {
                    $($name: Slot::new(transaction, $definition),)*
                    settling,
                    has_changes: false,
                    has_mail: false,
                    latest: Timestamp::EPOCH,
                }
            }

            /// Opens every table, so that each exists from the start and no read finds one missing.
            pub(super) fn create_all(&mut self) -> Result<(), Fault> {
                $(self.$name.open()?;)*
                self.has_changes = true;
                Ok(())
            }
        }

        /// A read transaction. Its tables stay open until the next commit.
        pub(crate) struct Read {
            transaction: ReadTransaction,
            /// What it sees.
            pub(crate) edition: Edition,
            $($name: OnceLock<ReadOnlyTable<$key, $value>>,)*
        }

        #[expect(dead_code, reason = "some tables are read in write transactions alone")]
        impl Read {
            pub(super) const fn new(transaction: ReadTransaction, edition: Edition) -> Self {
                Self { transaction, edition, $($name: OnceLock::new(),)* }
            }

            $($(#[$doc])* pub(crate) fn $name(
                &self,
            ) -> Result<&ReadOnlyTable<$key, $value>, Fault> {
                open(&self.transaction, &self.$name, $definition)
            })*
        }
    };
}

tables! {
    /// Numbers about the file itself.
    META, meta: &'static str => u64 = "meta_1";
    /// Users by number.
    USERS, users: u64 => Record = "users_1";
    /// Users by the key of their address.
    USERS_BY_EMAIL, users_by_email: &'static str => u64 = "users_by_email_1";
    /// Users by the key of their name.
    USERS_BY_USERNAME, users_by_username: &'static str => u64 = "users_by_username_1";
    /// The address blocks a user has logged in from, and when last, in microseconds.
    KNOWN_ADDRESSES, known_addresses: (u64, &'static str) => u64 = "known_addresses_1";
    /// Sessions by identifier, and so by the time they were opened.
    SESSIONS, sessions: Id => Record = "sessions_1";
    /// Sessions that were rotated lately; what [`SESSIONS`] has of them is older.
    ROTATED_SESSIONS, rotated_sessions: Id => Record = "rotated_sessions_1";
    /// Sessions by user.
    SESSIONS_BY_USER, sessions_by_user: (u64, Id) => () = "sessions_by_user_1";
    /// Sessions by the expiry they were last filed under, in microseconds.
    SESSIONS_BY_EXPIRY, sessions_by_expiry: (u64, Id) => () = "sessions_by_expiry_1";
    /// Tickets by identifier.
    TICKETS, tickets: Id => Record = "tickets_1";
    /// Tickets by user.
    TICKETS_BY_USER, tickets_by_user: (u64, Id) => () = "tickets_by_user_1";
    /// Tickets by expiry, in microseconds.
    TICKETS_BY_EXPIRY, tickets_by_expiry: (u64, Id) => () = "tickets_by_expiry_1";
    /// Mail that waits, by number.
    OUTBOX, outbox: u64 => Record = "outbox_1";
    /// Mail that waits, by when it is due, in microseconds.
    OUTBOX_BY_DUE, outbox_by_due: (u64, u64) => () = "outbox_by_due_1";
    /// Mail that waits, by user.
    OUTBOX_BY_USER, outbox_by_user: (u64, u64) => () = "outbox_by_user_1";
    /// Mail that was given up, numbered in the order in which it was.
    FAILED_MAIL, failed_mail: u64 => Record = "failed_mail_1";
    /// What mailboxes were sent, by a digest of their address and the purpose.
    MAILBOXES, mailboxes: Id => Record = "mailboxes_1";
    /// The same by when it may be forgotten, in microseconds.
    MAILBOXES_BY_EXPIRY, mailboxes_by_expiry: (u64, Id) => () = "mailboxes_by_expiry_1";
    /// Sessions that ended before their access tokens died: by when those do, in microseconds, and
    /// the session's digest.
    REVOKED_SESSIONS, revoked_sessions: (u64, Id) => () = "revoked_sessions_1";
    /// Audit events by number.
    EVENTS, events: u64 => Record = "events_1";
    /// The latest audit event of a user, and of a kind and address block in one text, to merge
    /// repeated ones into.
    LATEST_EVENTS, latest_events: (u64, &'static str) => u64 = "latest_events_2";
}

/// Which of the sessions in [`ROTATED_SESSIONS`] are moved to their places in [`SESSIONS`] next.
pub(crate) struct Settling {
    /// The most sessions that are kept apart.
    pub(super) max: u64,
    /// The session that is moved next: that one, or the first behind it. They take turns, so that
    /// those that go together lie close together.
    pub(super) next: Mutex<[u8; 16]>,
}

impl Settling {
    pub(super) const fn new(max: u64) -> Self {
        Self { max, next: Mutex::new([0; 16]) }
    }
}

impl Write<'_> {
    /// Records that something is written at `at`, so that the transaction is committed.
    pub(crate) fn change(&mut self, at: Moment) {
        self.has_changes = true;
        if at.confirmed {
            self.latest = self.latest.max(at.now);
        }
    }

    /// Takes the next number of a counter that starts at 1 and never goes back.
    pub(crate) fn next_number(&mut self, counter: &'static str) -> Result<u64, Fault> {
        let meta = self.meta.open()?;
        let number = meta.get(counter)?.map_or(1, |value| value.value());
        meta.insert(counter, number.saturating_add(1))?;
        Ok(number)
    }
}

fn open<'a, K: Key + 'static, V: Value + 'static>(
    transaction: &ReadTransaction,
    place: &'a OnceLock<ReadOnlyTable<K, V>>,
    definition: TableDefinition<'static, K, V>,
) -> Result<&'a ReadOnlyTable<K, V>, Fault> {
    if let Some(table) = place.get() {
        return Ok(table);
    }
    let table = transaction.open_table(definition)?;
    Ok(place.get_or_init(|| table))
}
