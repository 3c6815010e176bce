//! Sentences about an account as its owner changes it: the name, the spelling of the address, and
//! deleting it.

use std::sync::Arc;

use redb::ReadableTable;

use super::email_change::{self, EmailChange};
use super::mailboxes::{self, NewNotice, Notice};
use super::outbox::{self, NewMail};
use super::records::encode;
use super::sessions::{Authorised, authorise};
use super::{Fault, Store, StoreError, Taken, events, tables::Write, users};
use crate::clock::Moment;
use crate::domain::{Email, EventKind, MailKind, User, Username};

/// What is to be changed of an account; what is none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// A new name, or none any more.
    pub username: Option<Option<Username>>,
    /// The same address in other letter case.
    pub spelling: Option<Email>,
    /// A really new address.
    pub email: Option<EmailChange>,
}

/// How a change went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The account as it is now.
    Done(User),
    /// Someone else has the address or the name; nothing was changed.
    Taken(Taken),
    /// The new address has been sent too much mail; nothing was changed.
    TooMuchMail(std::time::Duration),
    /// Whoever acts may not, or not any more.
    NotAuthorised,
}

impl Store {
    /// Changes an account, all or nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn change_account(
        &self,
        by: Authorised,
        change: AccountChange,
        at: Moment,
    ) -> Result<Changed, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            let Some(mut record) = authorise(write, &by, at)? else {
                return Ok(Changed::NotAuthorised);
            };
            if let Some(new) = &change.email
                && new.credential_version != record.credential_version
            {
                return Ok(Changed::NotAuthorised);
            }
            let taken = taken_by_others(write, &by, &change)?;
            if taken.any() {
                return Ok(Changed::Taken(taken));
            }
            if let Some(new) = &change.email
                && let Err(wait) = email_change::request(write, &mut record, &by, new, at, &shared)?
            {
                return Ok(Changed::TooMuchMail(wait));
            }
            if let Some(username) = &change.username
                && *username != record.username
            {
                write.change(at);
                let names = write.users_by_username.open()?;
                if let Some(old) = &record.username {
                    names.remove(old.key())?;
                }
                if let Some(new) = username {
                    names.insert(new.key(), by.user.0)?;
                }
                record.username.clone_from(username);
                let event = by.event(EventKind::UsernameChanged);
                events::append(write, event, at.now, shared.max_events)?;
            }
            if let Some(spelling) = &change.spelling
                && spelling.key() == record.email.key()
                && *spelling != record.email
            {
                write.change(at);
                record.email = spelling.clone();
                let event = by.event(EventKind::EmailChanged);
                events::append(write, event, at.now, shared.max_events)?;
            }
            if write.has_changes {
                write.users.open()?.insert(by.user.0, encode(&record)?.as_slice())?;
            }
            Ok(Changed::Done(record.user(by.user)))
        })
        .await
    }

    /// Removes an account with everything that is its, and queues a mail that says so. Says
    /// whether whoever acts may, with the credentials they were checked against.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_user(
        &self,
        by: Authorised,
        credential_version: u64,
        farewell: NewNotice,
        at: Moment,
    ) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            let record = authorise(write, &by, at)?
                .filter(|record| record.credential_version == credential_version);
            let Some(record) = record else { return Ok(false) };
            write.change(at);
            users::remove(write, by.user, &record, at, shared.access_lifetime)?;
            if mailboxes::may_notify(
                write,
                Notice::AccountDeleted,
                &record,
                farewell.mail_limit,
                at,
            )? {
                let mail = NewMail {
                    kind: MailKind::AccountDeleted,
                    user: by.user,
                    to: record.email,
                    message_id: farewell.message_id,
                    give_up_at: outbox::notice_expiry(at.now),
                };
                outbox::queue(write, mail, at.now)?;
            }
            let event = by.event(EventKind::AccountDeleted);
            events::append(write, event, at.now, shared.max_events)?;
            Ok(true)
        })
        .await
    }
}

fn taken_by_others(
    write: &mut Write<'_>,
    by: &Authorised,
    change: &AccountChange,
) -> Result<Taken, Fault> {
    let is_other = |owner: Option<u64>| owner.is_some_and(|owner| owner != by.user.0);
    let username = match change.username.as_ref().and_then(Option::as_ref) {
        Some(name) => {
            let owner = write.users_by_username.open()?.get(name.key())?.map(|id| id.value());
            is_other(owner)
        }
        None => false,
    };
    let email = match &change.email {
        Some(new) => {
            let owner = write.users_by_email.open()?.get(new.email.key())?.map(|id| id.value());
            is_other(owner)
        }
        None => false,
    };
    Ok(Taken { email, username })
}
