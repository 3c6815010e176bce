//! An account as its owner changes it: the name, the spelling of the address, and deleting it.

use std::time::Duration;

use super::email_change::{self, EmailChange};
use crate::clock::Moment;
use crate::domain::{Actor, Email, EventKind, MailKind, MessageId, User, UserId, Username};
use crate::store::engine::Fault;
use crate::store::rows::{Account, NewMail, Notice, Tx};
use crate::store::{Store, StoreError, Taken};

/// What is to be changed of an account; `None` leaves it unchanged.
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
    TooMuchMail(Duration),
    /// Who acts may not, or not any more.
    NotAuthorised,
}

impl Store {
    /// Changes the account `user`, all or nothing.
    pub async fn change_account(
        &self,
        by: Actor,
        user: UserId,
        change: AccountChange,
        at: Moment,
    ) -> Result<Changed, StoreError> {
        self.write(at, move |tx| {
            let Some(mut account) = tx.authorise(&by, user)? else {
                return Ok(Changed::NotAuthorised);
            };
            let former = account.user.clone();
            if let Some(new) = &change.email
                && new.credential_version != former.credential_version
            {
                return Ok(Changed::NotAuthorised);
            }
            let taken = taken_by_others(tx, user, &change)?;
            if taken.any() {
                return Ok(Changed::Taken(taken));
            }
            if let Some(new) = &change.email
                && let Err(wait) = email_change::request(tx, &mut account.user, &by, new)?
            {
                return Ok(Changed::TooMuchMail(wait));
            }
            if let Some(username) = &change.username
                && *username != former.username
            {
                account.user.username.clone_from(username);
                tx.note(EventKind::UsernameChanged, user, by.session(), &by)?;
            }
            if let Some(spelling) = &change.spelling
                && spelling.key() == former.email.key()
                && *spelling != former.email
            {
                account.user.email = spelling.clone();
                tx.note(EventKind::EmailChanged, user, by.session(), &by)?;
            }
            if account.user == former {
                return Ok(Changed::Done(former));
            }
            Ok(Changed::Done(tx.save_user(account)?))
        })
        .await
    }

    /// Removes the account `user` with everything that is theirs, and queues a mail that says so.
    /// Says whether who acts may, with the credentials that they were checked against.
    pub async fn delete_user(
        &self,
        by: Actor,
        user: UserId,
        credential_version: u64,
        message_id: MessageId,
        at: Moment,
    ) -> Result<bool, StoreError> {
        self.write(at, move |tx| {
            let is_same = |account: &Account| account.user.credential_version == credential_version;
            let Some(Account { user, .. }) = tx.authorise(&by, user)?.filter(is_same) else {
                return Ok(false);
            };
            tx.remove_account(&user)?;
            if tx.may_notify(&user, Notice::AccountDeleted)? {
                let (id, kind) = (user.id, MailKind::AccountDeleted);
                tx.queue_notice(NewMail { kind, user: id, to: user.email, message_id })?;
            }
            tx.note(EventKind::AccountDeleted, user.id, by.session(), &by)?;
            Ok(true)
        })
        .await
    }
}

fn taken_by_others(
    tx: &mut Tx<'_, '_>,
    user: UserId,
    change: &AccountChange,
) -> Result<Taken, Fault> {
    let is_other = |owner: Option<UserId>| owner.is_some_and(|owner| owner != user);
    let username = match change.username.as_ref().and_then(Option::as_ref) {
        Some(name) => is_other(tx.user_with_name(name)?),
        None => false,
    };
    let email = match &change.email {
        Some(new) => is_other(tx.user_with_email(&new.email)?),
        None => false,
    };
    Ok(Taken { email, username })
}
