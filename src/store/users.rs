//! Sentences about users.

use std::sync::Arc;
use std::time::Duration;

use redb::{ReadableTable, ReadableTableMetadata};

use super::events::{self, NewEvent};
use super::mailboxes::{self, MailLimit};
use super::outbox::{self, NewMail};
use super::records::{UserRecord, encode, load, require};
use super::tables::{KNOWN_ADDRESSES, USERS_BY_EMAIL, USERS_BY_USERNAME, Write, meta};
use super::{Fault, Store, StoreError, sessions, tickets};
use crate::clock::{Moment, Timestamp};
use crate::domain::{
    AddressBlock, Client, Email, EventKind, MailKind, MessageId, PasswordHash, Purpose, Ticket,
    TicketId, User, UserId, Username,
};

/// The most address blocks that are remembered of a user; the one unused for longest goes.
const MAX_KNOWN_ADDRESSES: usize = 16;
/// The time of an address block's last use is kept to the day, so that most logins write none.
const KNOWN_ADDRESS_STEP: Duration = Duration::from_secs(24 * 60 * 60);

/// A registration whose password has been hashed.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The address.
    pub email: Email,
    /// The name, where one was chosen.
    pub username: Option<Username>,
    /// The password's hash.
    pub password: PasswordHash,
    /// The ticket that verifies the address.
    pub ticket: NewTicket,
    /// The random part of the verification mail's `Message-ID`.
    pub message_id: MessageId,
    /// How much mail a mailbox is sent.
    pub mail_limit: MailLimit,
    /// Who registers.
    pub client: Client,
}

/// A ticket to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewTicket {
    /// Its identifier.
    pub id: TicketId,
    /// When it stops counting.
    pub expires_at: Timestamp,
}

/// How a registration went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// The user exists, and the verification mail is queued.
    Registered(User),
    /// Someone has the address or the name; nothing was written.
    Taken(Taken),
}

/// What of a registration someone else has already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The address.
    pub email: bool,
    /// The name.
    pub username: bool,
}

impl Taken {
    /// Whether anything is.
    pub fn any(self) -> bool {
        self.email || self.username
    }
}

/// What a login is checked against.
#[derive(Clone, Debug)]
pub struct LoginRecord {
    /// The account.
    pub user: User,
    /// Its password's hash.
    pub password: PasswordHash,
    /// Whether someone has logged in to it from this address block before.
    pub knows_address: bool,
}

impl Store {
    /// Whether someone has this address or this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_taken(
        &self,
        email: Option<&Email>,
        username: Option<&Username>,
    ) -> Result<Taken, StoreError> {
        self.read(|read| {
            let (by_email, by_username) =
                (read.open(USERS_BY_EMAIL)?, read.open(USERS_BY_USERNAME)?);
            is_taken(&by_email, &by_username, email, username)
        })
    }

    /// The account with this address, and whether it knows the address block `from`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_login(
        &self,
        email: &Email,
        from: AddressBlock,
    ) -> Result<Option<LoginRecord>, StoreError> {
        self.read(|read| {
            let Some(id) = read.open(USERS_BY_EMAIL)?.get(email.key())?.map(|id| id.value()) else {
                return Ok(None);
            };
            let record: UserRecord = require(read.users()?, id)?;
            let block = from.to_string();
            let known = read.open(KNOWN_ADDRESSES)?;
            let knows_address = known.get((id, block.as_str()))?.is_some();
            let password = record.password.clone();
            Ok(Some(LoginRecord { user: record.user(UserId(id)), password, knows_address }))
        })
    }

    /// The account with this number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.read(|read| {
            let record = load::<u64, UserRecord>(read.users()?, id.0)?;
            Ok(record.map(|record| record.user(id)))
        })
    }

    /// Makes a user with its index entries and its verification ticket, and queues the mail, all
    /// or nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn register_user(
        &self,
        new: NewUser,
        at: Moment,
    ) -> Result<RegisterOutcome, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            let taken = is_taken(
                &*write.users_by_email.open()?,
                &*write.users_by_username.open()?,
                Some(&new.email),
                new.username.as_ref(),
            )?;
            if taken.any() {
                return Ok(RegisterOutcome::Taken(taken));
            }
            write.change(at);
            let id = UserId(write.next_number(meta::NEXT_USER)?);
            let record = UserRecord {
                email: new.email.clone(),
                username: new.username.clone(),
                password: new.password.clone(),
                is_email_verified: false,
                created_at: at.now,
                credential_version: 0,
                is_disabled: false,
                pending_email: None,
            };
            write.users.open()?.insert(id.0, encode(&record)?.as_slice())?;
            write.users_by_email.open()?.insert(new.email.key(), id.0)?;
            if let Some(username) = &new.username {
                write.users_by_username.open()?.insert(username.key(), id.0)?;
            }
            let ticket = Ticket::new(
                new.ticket.id,
                Purpose::VerifyEmail,
                (id, new.email.clone()),
                (at.now, new.ticket.expires_at),
            );
            tickets::insert(write, &ticket)?;
            let mail = NewMail {
                kind: MailKind::VerifyEmail { ticket: ticket.id },
                user: id,
                to: ticket.email,
                message_id: new.message_id,
                give_up_at: ticket.expires_at,
            };
            outbox::queue(write, mail, at.now)?;
            // It counts, so that the mailbox is not filled by asking again; it is sent in any case.
            let _ = mailboxes::count(write, &new.email, Purpose::VerifyEmail, new.mail_limit, at)?;
            let event = NewEvent {
                kind: EventKind::Registered,
                user: id,
                session: None,
                client: new.client.clone(),
            };
            events::append(write, event, at.now, shared.max_events)?;
            Ok(RegisterOutcome::Registered(record.user(id)))
        })
        .await
    }

    /// Replaces a password's hash by one of the same password under other parameters, if the
    /// account's credentials are still those of `credential_version`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rehash_password(
        &self,
        id: UserId,
        credential_version: u64,
        password: PasswordHash,
        at: Moment,
    ) -> Result<(), StoreError> {
        self.write(move |write| {
            let users = write.users.open()?;
            let Some(mut record) = load::<u64, UserRecord>(users, id.0)? else { return Ok(()) };
            if record.credential_version != credential_version {
                return Ok(());
            }
            record.password = password.clone();
            users.insert(id.0, encode(&record)?.as_slice())?;
            write.change(at);
            Ok(())
        })
        .await
    }
}

fn is_taken(
    by_email: &impl ReadableTable<&'static str, u64>,
    by_username: &impl ReadableTable<&'static str, u64>,
    email: Option<&Email>,
    username: Option<&Username>,
) -> Result<Taken, Fault> {
    let email = match email {
        Some(email) => by_email.get(email.key())?.is_some(),
        None => false,
    };
    let username = match username {
        Some(username) => by_username.get(username.key())?.is_some(),
        None => false,
    };
    Ok(Taken { email, username })
}

/// Remembers that someone logged in to `user` from `from`.
pub(super) fn remember_address(
    write: &mut Write<'_>,
    user: UserId,
    from: AddressBlock,
    now: Timestamp,
) -> Result<(), Fault> {
    let known = write.known_addresses.open()?;
    let block = from.to_string();
    let key = (user.0, block.as_str());
    let last = known.get(key)?.map(|last| Timestamp::from_micros(last.value()));
    let is_recent = |last| last <= now && now.saturating_since(last) < KNOWN_ADDRESS_STEP;
    if last.is_some_and(is_recent) {
        return Ok(());
    }
    known.insert(key, now.as_micros())?;
    let mut oldest: Option<(u64, String)> = None;
    let mut count = 0_usize;
    for entry in known.range((user.0, "")..(user.0.saturating_add(1), ""))? {
        let (key, last) = entry?;
        count = count.saturating_add(1);
        // A time ahead was told by a clock that was wrong, and does not keep its block for ever.
        let last = if last.value() > now.as_micros() { 0 } else { last.value() };
        if oldest.as_ref().is_none_or(|(time, _)| last < *time) {
            oldest = Some((last, key.value().1.to_owned()));
        }
    }
    if count > MAX_KNOWN_ADDRESSES
        && let Some((_, block)) = oldest
    {
        known.remove((user.0, block.as_str()))?;
    }
    Ok(())
}

/// Removes a user with everything that is theirs: index entries, sessions, tickets, queued mail,
/// known addresses. Audit events stay until their time is over.
pub(super) fn remove(
    write: &mut Write<'_>,
    id: UserId,
    record: &UserRecord,
    at: Moment,
    access_lifetime: Duration,
) -> Result<(), Fault> {
    sessions::end_others(write, id, None, at, access_lifetime)?;
    tickets::remove_all(write, id)?;
    outbox::remove_all(write, id)?;
    let known = write.known_addresses.open()?;
    known.retain_in((id.0, "")..(id.0.saturating_add(1), ""), |_, _| false)?;
    write.users_by_email.open()?.remove(record.email.key())?;
    if let Some(username) = &record.username {
        write.users_by_username.open()?.remove(username.key())?;
    }
    write.users.open()?.remove(id.0)?;
    Ok(())
}

impl Store {
    /// How many users there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count_users(&self) -> Result<u64, StoreError> {
        self.read(|read| Ok(read.users()?.len()?))
    }
}
