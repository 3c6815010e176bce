//! Registering, and what a login is checked against.

use crate::clock::Moment;
use crate::domain::{
    Actor, AddressBlock, Client, Email, EventKind, MailKind, MessageId, PasswordHash, Purpose,
    User, UserId, Username,
};
use crate::store::rows::Account;
use crate::store::{NewTicket, Store, StoreError};

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
    /// Who registers.
    pub client: Client,
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
    pub fn find_taken(
        &self,
        email: Option<&Email>,
        username: Option<&Username>,
    ) -> Result<Taken, StoreError> {
        self.read(|view| {
            let email = email.map(|email| view.user_with_email(email)).transpose()?.flatten();
            let username = username.map(|name| view.user_with_name(name)).transpose()?.flatten();
            Ok(Taken { email: email.is_some(), username: username.is_some() })
        })
    }

    /// The account with this address, and whether it knows the address block `from`.
    pub fn find_login(
        &self,
        email: &Email,
        from: AddressBlock,
    ) -> Result<Option<LoginRecord>, StoreError> {
        self.read(|view| {
            let Some(id) = view.user_with_email(email)? else { return Ok(None) };
            let Account { user, password } = view.indexed_account(id)?;
            let knows_address = view.knows_address(id, from)?;
            Ok(Some(LoginRecord { user, password, knows_address }))
        })
    }

    /// The account with this number.
    pub fn find_user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.read(|view| Ok(view.account(id)?.map(|account| account.user)))
    }

    /// How many users there are.
    pub fn count_users(&self) -> Result<u64, StoreError> {
        self.read(|view| view.count_users())
    }

    /// Makes a user with its verification ticket and queues the mail, all or nothing.
    pub async fn register_user(
        &self,
        new: NewUser,
        at: Moment,
    ) -> Result<RegisterOutcome, StoreError> {
        self.write(at, move |tx| {
            let email = tx.user_with_email(&new.email)?.is_some();
            let username = new.username.as_ref().map(|name| tx.user_with_name(name)).transpose()?;
            let taken = Taken { email, username: username.flatten().is_some() };
            if taken.any() {
                return Ok(RegisterOutcome::Taken(taken));
            }
            let user = User {
                id: tx.next_user()?,
                email: new.email.clone(),
                username: new.username.clone(),
                is_email_verified: false,
                created_at: at.now,
                credential_version: 0,
                is_disabled: false,
                pending_email: None,
            };
            let user = tx.save_user(Account { user, password: new.password.clone() })?;
            let ticket = new.ticket.ticket(Purpose::VerifyEmail, user.id, &user.email, at.now);
            tx.save_ticket(&ticket)?;
            let mail = MailKind::VerifyEmail { ticket: ticket.id };
            tx.queue_link(mail, &ticket, new.message_id)?;
            // It counts, so that the mailbox is not filled by asking again; it is sent in any case.
            let _ = tx.count_mail(&user.email, Purpose::VerifyEmail)?;
            let by = Actor::Visitor(new.client.clone());
            tx.note(EventKind::Registered, user.id, None, &by)?;
            Ok(RegisterOutcome::Registered(user))
        })
        .await
    }

    /// Replaces a password's hash by one of the same password under other parameters, if the
    /// account's credentials are still those of `credential_version`.
    pub async fn rehash_password(
        &self,
        id: UserId,
        credential_version: u64,
        password: PasswordHash,
        at: Moment,
    ) -> Result<(), StoreError> {
        self.write(at, move |tx| {
            let account = tx.account(id)?;
            let is_same = |account: &Account| account.user.credential_version == credential_version;
            let Some(account) = account.filter(is_same) else { return Ok(()) };
            tx.save_user(Account { password: password.clone(), ..account }).map(drop)
        })
        .await
    }
}
