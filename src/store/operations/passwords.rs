//! Passwords: asking for a reset, resetting, changing; and asking for the verification mail again,
//! which works alike.

use crate::clock::Moment;
use crate::domain::{
    Actor, Client, Email, EventKind, MailKind, MessageId, PasswordHash, Purpose, Ticket, TicketId,
    TicketState, User, UserId,
};
use crate::store::engine::Fault;
use crate::store::rows::{Account, NewMail, Notice, Tx};
use crate::store::{NewTicket, Store, StoreError};

/// A link that someone asks to be mailed to an address, whether or not it has an account.
#[derive(Clone, Debug)]
pub struct ResetRequest {
    /// The address.
    pub email: Email,
    /// The ticket to be made if none lives yet.
    pub ticket: NewTicket,
    /// The random part of the mail's `Message-ID`.
    pub message_id: MessageId,
    /// Who asks.
    pub client: Client,
}

/// Whether a mail was queued. Who asked must not learn it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested {
    /// It was.
    Queued,
    /// There is no account that needs one, or its mailbox has been sent enough.
    Nothing,
}

/// A new password's hash, and how its mail is named.
#[derive(Clone, Debug)]
pub struct NewPasswordHash {
    /// The hash.
    pub password: PasswordHash,
    /// The random part of the `Message-ID` of the mail that tells the owner.
    pub message_id: MessageId,
}

/// How a reset went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetOutcome {
    /// The password is the new one, and all sessions have ended.
    Done(User),
    /// The ticket is unknown, used, superseded or expired; nothing was changed.
    Invalid,
}

/// A change of password by someone who knew the old one.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// Who acts; their session is the one that lives on.
    pub by: Actor,
    /// Whose password it is.
    pub user: UserId,
    /// The credentials that the old password was checked against.
    pub credential_version: u64,
    /// The new one.
    pub new: NewPasswordHash,
}

impl Store {
    /// Queues a mail with the link that resets the password, if the address has an account. While
    /// an earlier link lives it is that one again.
    pub async fn request_password_reset(
        &self,
        request: ResetRequest,
        at: Moment,
    ) -> Result<Requested, StoreError> {
        self.write(at, move |tx| {
            let asked_for = requested(tx, &request, Purpose::ResetPassword, |_| true)?;
            let Some(ticket) = asked_for else { return Ok(Requested::Nothing) };
            let kind = MailKind::ResetPassword { ticket: ticket.id };
            tx.queue_link(kind, &ticket, request.message_id)?;
            let by = Actor::Visitor(request.client.clone());
            tx.note(EventKind::PasswordResetRequested, ticket.user, None, &by)?;
            Ok(Requested::Queued)
        })
        .await
    }

    /// Queues the verification mail again, if the address has an account that needs it.
    pub async fn request_verification(
        &self,
        request: ResetRequest,
        at: Moment,
    ) -> Result<Requested, StoreError> {
        self.write(at, move |tx| {
            let needs_it = |user: &User| !user.is_email_verified;
            let asked_for = requested(tx, &request, Purpose::VerifyEmail, needs_it)?;
            let Some(ticket) = asked_for else { return Ok(Requested::Nothing) };
            let kind = MailKind::VerifyEmail { ticket: ticket.id };
            tx.queue_link(kind, &ticket, request.message_id)?;
            Ok(Requested::Queued)
        })
        .await
    }

    /// Sets the password of a reset ticket's user: verifies the address, ends all sessions, voids
    /// all unused tickets and any pending address, and tells the owner by mail. The ticket stays,
    /// used, until it expires.
    pub async fn reset_password(
        &self,
        ticket: TicketId,
        new: NewPasswordHash,
        client: Client,
        at: Moment,
    ) -> Result<ResetOutcome, StoreError> {
        self.write(at, move |tx| {
            let found = tx.ticket_and_account(ticket, Purpose::ResetPassword)?;
            let is_open = |(ticket, account): &(Ticket, Account)| {
                ticket.state(&account.user, at.now) == TicketState::Open
            };
            let Some((ticket, mut account)) = found.filter(is_open) else {
                return Ok(ResetOutcome::Invalid);
            };
            account.user.is_email_verified = true;
            let user = set_password(tx, account, &new)?;
            tx.use_ticket(&ticket, &user)?;
            tx.end_sessions(user.id, None)?;
            tell(tx, MailKind::PasswordReset, &user, &new)?;
            let by = Actor::Visitor(client.clone());
            tx.note(EventKind::PasswordReset, user.id, None, &by)?;
            Ok(ResetOutcome::Done(user))
        })
        .await
    }

    /// Changes a password: ends every other session, voids all tickets and any pending address,
    /// and tells the owner by mail. Says whether who acts may, with the credentials that they were
    /// checked against.
    pub async fn change_password(
        &self,
        change: PasswordChange,
        at: Moment,
    ) -> Result<bool, StoreError> {
        self.write(at, move |tx| {
            let PasswordChange { by, user, credential_version, new } = &change;
            let is_same =
                |account: &Account| account.user.credential_version == *credential_version;
            let Some(account) = tx.authorise(by, *user)?.filter(is_same) else {
                return Ok(false);
            };
            let user = set_password(tx, account, new)?;
            tx.end_sessions(user.id, by.session())?;
            if tx.may_notify(&user, Notice::PasswordChanged)? {
                tell(tx, MailKind::PasswordChanged, &user, new)?;
            }
            tx.note(EventKind::PasswordChanged, user.id, by.session(), by)?;
            Ok(true)
        })
        .await
    }
}

/// The ticket whose link is mailed for a request, the one that lives already or a new one; `None`
/// if the mailbox has no room or there is no account that needs the mail. The mailbox is counted,
/// and something committed, either way, so that an address without an account costs the same
/// durable write.
///
/// The link goes to the address as its owner has written it, never as who asks has: there are mail
/// servers that tell letter cases apart.
fn requested(
    tx: &mut Tx<'_, '_>,
    request: &ResetRequest,
    purpose: Purpose,
    needs_it: impl Fn(&User) -> bool,
) -> Result<Option<Ticket>, Fault> {
    if tx.count_mail(&request.email, purpose)?.is_err() {
        return Ok(None);
    }
    // Where mailboxes are not limited, nothing was written yet.
    tx.commit_anyway();
    let Some(id) = tx.user_with_email(&request.email)? else { return Ok(None) };
    let user = tx.account(id)?.map(|account| account.user);
    let Some(user) = user.filter(|user| !user.is_disabled && needs_it(user)) else {
        return Ok(None);
    };
    let ticket = request.ticket.ticket(purpose, id, &user.email, tx.now());
    tx.find_or_add_ticket(ticket).map(Some)
}

/// Gives a user a new password and voids what was open under the old one.
fn set_password(
    tx: &mut Tx<'_, '_>,
    account: Account,
    new: &NewPasswordHash,
) -> Result<User, Fault> {
    let Account { mut user, .. } = account;
    user.credential_version = user.credential_version.saturating_add(1);
    user.pending_email = None;
    let user = tx.save_user(Account { user, password: new.password.clone() })?;
    // A used reset link goes on saying that it was used.
    let stays = |ticket: &Ticket| ticket.used.is_some() && ticket.purpose == Purpose::ResetPassword;
    tx.void_tickets(user.id, |ticket| !stays(ticket))?;
    Ok(user)
}

fn tell(
    tx: &mut Tx<'_, '_>,
    kind: MailKind,
    user: &User,
    new: &NewPasswordHash,
) -> Result<(), Fault> {
    let (to, message_id) = (user.email.clone(), new.message_id);
    tx.queue_notice(NewMail { kind, user: user.id, to, message_id })
}
