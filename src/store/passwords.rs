//! Sentences about passwords: asking for a reset, resetting, changing; and about asking for the
//! verification mail again, which works alike.

use std::sync::Arc;

use redb::ReadableTable;

use super::events::{self, NewEvent};
use super::mailboxes::{self, MailLimit, Notice};
use super::outbox::{self, NewMail};
use super::records::{UserRecord, encode, load};
use super::sessions::{self, Authorised, authorise};
use super::tables::Write;
use super::users::NewTicket;
use super::{Fault, Store, StoreError, tickets};
use crate::clock::Moment;
use crate::domain::{
    Client, Email, EventKind, MailKind, MessageId, PasswordHash, Purpose, Ticket, TicketId,
    TicketUse, User, UserId,
};

/// A link that someone asks to be mailed to an address, whether or not it has an account.
#[derive(Clone, Debug)]
pub struct ResetRequest {
    /// The address.
    pub email: Email,
    /// The ticket to be made if none lives yet.
    pub ticket: NewTicket,
    /// The random part of the mail's `Message-ID`.
    pub message_id: MessageId,
    /// How much mail a mailbox is sent.
    pub mail_limit: MailLimit,
    /// Who asks.
    pub client: Client,
}

/// Whether a mail was queued. It is not for whoever asked to know.
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
    pub by: Authorised,
    /// The credentials that the old password was checked against.
    pub credential_version: u64,
    /// The new one.
    pub new: NewPasswordHash,
    /// How much mail a mailbox is sent.
    pub mail_limit: MailLimit,
}

impl Store {
    /// Queues a mail with the link that resets the password, if the address has an account. While
    /// an earlier link lives it is that one again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn request_password_reset(
        &self,
        request: ResetRequest,
        at: Moment,
    ) -> Result<Requested, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            let purpose = Purpose::ResetPassword;
            let Some((user, email)) = admitted(write, &request, purpose, |_| true, at)? else {
                return Ok(Requested::Nothing);
            };
            let ticket = ticket_for(write, user, email, &request, purpose, at)?;
            queue_link(
                write,
                MailKind::ResetPassword { ticket: ticket.id },
                &ticket,
                &request,
                at,
            )?;
            let event = NewEvent {
                kind: EventKind::PasswordResetRequested,
                user,
                session: None,
                client: request.client.clone(),
            };
            events::append(write, event, at.now, shared.max_events)?;
            Ok(Requested::Queued)
        })
        .await
    }

    /// Queues the verification mail again, if the address has an account that needs it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn request_verification(
        &self,
        request: ResetRequest,
        at: Moment,
    ) -> Result<Requested, StoreError> {
        self.write(move |write| {
            let purpose = Purpose::VerifyEmail;
            let needs_it = |user: &UserRecord| !user.is_email_verified;
            let Some((user, email)) = admitted(write, &request, purpose, needs_it, at)? else {
                return Ok(Requested::Nothing);
            };
            let ticket = ticket_for(write, user, email, &request, purpose, at)?;
            queue_link(write, MailKind::VerifyEmail { ticket: ticket.id }, &ticket, &request, at)?;
            Ok(Requested::Queued)
        })
        .await
    }

    /// Makes a reset ticket for whoever holds a verification ticket and so reads the address's
    /// mail, but did not choose the password.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn exchange_for_reset(
        &self,
        verification: TicketId,
        new: NewTicket,
        at: Moment,
    ) -> Result<Option<TicketId>, StoreError> {
        self.write(move |write| {
            let found = tickets::owned(write, verification, Purpose::VerifyEmail, at)?;
            let is_open = |(ticket, user): &(Ticket, UserRecord)| {
                ticket.used.is_none() && !user.is_email_verified && !user.is_disabled
            };
            let Some((verification, user)) = found.filter(is_open) else { return Ok(None) };
            write.change(at);
            let purpose = Purpose::ResetPassword;
            let live = tickets::find_live(write, verification.user, purpose, &user.email, at)?;
            if let Some(live) = live {
                return Ok(Some(live.id));
            }
            let ticket = Ticket::new(
                new.id,
                purpose,
                (verification.user, user.email),
                (at.now, new.expires_at),
            );
            tickets::insert(write, &ticket)?;
            Ok(Some(ticket.id))
        })
        .await
    }

    /// Sets the password of a reset ticket's user: verifies the address, ends all sessions, voids
    /// all other tickets and any pending address, and tells the owner by mail. The ticket stays,
    /// used, until it expires or the next change of the password.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reset_password(
        &self,
        ticket: TicketId,
        new: NewPasswordHash,
        client: Client,
        at: Moment,
    ) -> Result<ResetOutcome, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            let found = tickets::owned(write, ticket, Purpose::ResetPassword, at)?;
            let is_open =
                |(ticket, user): &(Ticket, UserRecord)| ticket.used.is_none() && !user.is_disabled;
            let Some((mut ticket, mut user)) = found.filter(is_open) else {
                return Ok(ResetOutcome::Invalid);
            };
            write.change(at);
            user.is_email_verified = true;
            set_password(write, ticket.user, &mut user, &new, at)?;
            // It stays until it expires, so that a second click can say that it was used.
            ticket.used =
                Some(TicketUse { at: at.now, credential_version: user.credential_version });
            tickets::insert(write, &ticket)?;
            sessions::end_others(write, ticket.user, None, at, shared.access_lifetime)?;
            tell(write, MailKind::PasswordReset, ticket.user, &user, &new, at)?;
            let event = NewEvent {
                kind: EventKind::PasswordReset,
                user: ticket.user,
                session: None,
                client: client.clone(),
            };
            events::append(write, event, at.now, shared.max_events)?;
            Ok(ResetOutcome::Done(user.user(ticket.user)))
        })
        .await
    }

    /// Changes a password: ends every other session, voids all tickets and any pending address,
    /// and tells the owner by mail. Says whether whoever acts may, with the credentials they were
    /// checked against.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn change_password(
        &self,
        change: PasswordChange,
        at: Moment,
    ) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.write(move |write| {
            let by = &change.by;
            let record = authorise(write, by, at)?
                .filter(|user| user.credential_version == change.credential_version);
            let Some(mut user) = record else { return Ok(false) };
            write.change(at);
            set_password(write, by.user, &mut user, &change.new, at)?;
            sessions::end_others(write, by.user, Some(by.session), at, shared.access_lifetime)?;
            if mailboxes::may_notify(write, Notice::PasswordChanged, &user, change.mail_limit, at)?
            {
                tell(write, MailKind::PasswordChanged, by.user, &user, &change.new, at)?;
            }
            let event = by.event(EventKind::PasswordChanged);
            events::append(write, event, at.now, shared.max_events)?;
            Ok(true)
        })
        .await
    }
}

/// The user of a request and their address as they have written it, if its mailbox has room and
/// the account wants the mail. The mailbox is counted, and something committed, either way, so
/// that an address without an account costs the same durable write.
fn admitted(
    write: &mut Write<'_>,
    request: &ResetRequest,
    purpose: Purpose,
    needs_it: impl Fn(&UserRecord) -> bool,
    at: Moment,
) -> Result<Option<(UserId, Email)>, Fault> {
    if mailboxes::count(write, &request.email, purpose, request.mail_limit, at)?.is_err() {
        return Ok(None);
    }
    // Where mailboxes are not limited, nothing was written yet.
    write.change(at);
    let id = write.users_by_email.open()?.get(request.email.key())?.map(|id| id.value());
    let Some(id) = id else { return Ok(None) };
    let user = load::<u64, UserRecord>(write.users.open()?, id)?;
    let user = user.filter(|user| !user.is_disabled && needs_it(user));
    Ok(user.map(|user| (UserId(id), user.email)))
}

/// The ticket that lives already, or a new one. It goes to the address as its owner has written
/// it, never as whoever asks has: there are mail servers that tell letter cases apart.
fn ticket_for(
    write: &mut Write<'_>,
    user: UserId,
    email: Email,
    request: &ResetRequest,
    purpose: Purpose,
    at: Moment,
) -> Result<Ticket, Fault> {
    write.change(at);
    if let Some(live) = tickets::find_live(write, user, purpose, &email, at)? {
        return Ok(live);
    }
    let ticket =
        Ticket::new(request.ticket.id, purpose, (user, email), (at.now, request.ticket.expires_at));
    tickets::insert(write, &ticket)?;
    Ok(ticket)
}

fn queue_link(
    write: &mut Write<'_>,
    kind: MailKind,
    ticket: &Ticket,
    request: &ResetRequest,
    at: Moment,
) -> Result<(), Fault> {
    let mail = NewMail {
        kind,
        user: ticket.user,
        to: ticket.email.clone(),
        message_id: request.message_id,
        give_up_at: ticket.expires_at,
    };
    outbox::queue(write, mail, at.now)
}

/// Gives a user a new password and voids what was open under the old one.
fn set_password(
    write: &mut Write<'_>,
    id: UserId,
    user: &mut UserRecord,
    new: &NewPasswordHash,
    at: Moment,
) -> Result<(), Fault> {
    write.change(at);
    user.password = new.password.clone();
    user.credential_version = user.credential_version.saturating_add(1);
    user.pending_email = None;
    write.users.open()?.insert(id.0, encode(user)?.as_slice())?;
    tickets::remove_all(write, id)
}

fn tell(
    write: &mut Write<'_>,
    kind: MailKind,
    id: UserId,
    user: &UserRecord,
    new: &NewPasswordHash,
    at: Moment,
) -> Result<(), Fault> {
    let mail = NewMail {
        kind,
        user: id,
        to: user.email.clone(),
        message_id: new.message_id,
        give_up_at: outbox::notice_expiry(at.now),
    };
    outbox::queue(write, mail, at.now)
}
