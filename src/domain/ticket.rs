//! Tickets, which mailed links carry.

use serde::{Deserialize, Serialize};

use super::{Email, User, UserId, hex};
use crate::clock::Timestamp;

/// The purpose of a ticket. Its number is never given to another purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Confirming the address given at registration.
    VerifyEmail = 1,
    /// Choosing a new password.
    ResetPassword = 2,
    /// Confirming a new address for an account.
    ChangeEmail = 3,
    /// Cancelling a change of address, from the old address.
    CancelEmailChange = 4,
}

impl Purpose {
    /// Its number in storage keys and MACs.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// A ticket's identifier: 16 random bytes. It is not the link's secret; the MAC over it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId([u8; 16]);

hex::identifier!(TicketId);

/// A ticket as storage keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its identifier.
    pub id: TicketId,
    /// Its purpose.
    pub purpose: Purpose,
    /// The account it concerns.
    pub user: UserId,
    /// The address it was sent to; it counts only while that is still the user's (or, for a
    /// change of address, the pending) one.
    pub email: Email,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops counting.
    pub expires_at: Timestamp,
    /// Its use. A used ticket is kept until it expires, so that a second click can say so.
    pub used: Option<TicketUse>,
}

/// The use of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketUse {
    /// When it was used.
    pub at: Timestamp,
    /// The user's credential version that the use led to. Tickets that were used before this was
    /// recorded have 0.
    pub credential_version: u64,
}

/// What can be done with a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketState {
    /// It can be used.
    Open,
    /// It was used, and what it did still stands.
    Used(TicketUse),
    /// It was used to cancel the change of address that it belongs to.
    Cancelled,
    /// It has expired, or what it was for no longer exists: its address is no longer the user's,
    /// the change of address that it belongs to was cancelled, or the account is disabled.
    Void,
}

impl Ticket {
    /// An unused ticket for `email`.
    pub fn new(
        id: TicketId,
        purpose: Purpose,
        (user, email): (UserId, Email),
        (created_at, expires_at): (Timestamp, Timestamp),
    ) -> Self {
        Self { id, purpose, user, email, created_at, expires_at, used: None }
    }

    /// Whether it has been used by nobody and has not expired at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.used.is_none() && now < self.expires_at
    }

    /// What can be done at `now` with this ticket of `user`.
    pub fn state(&self, user: &User, now: Timestamp) -> TicketState {
        let has_address = user.email.key() == self.email.key();
        let pending = user.pending_email_at(now);
        let stands = match (self.purpose, self.used) {
            (Purpose::VerifyEmail, _) => has_address,
            (Purpose::ResetPassword, _) => has_address && !user.is_disabled,
            (Purpose::ChangeEmail, None) => pending.is_some_and(|to| to.ticket == self.id),
            (Purpose::CancelEmailChange, None) => pending.is_some(),
            (Purpose::ChangeEmail | Purpose::CancelEmailChange, Some(_)) => true,
        };
        match (self.used, self.purpose) {
            _ if now >= self.expires_at || !stands => TicketState::Void,
            (None, _) => TicketState::Open,
            (Some(_), Purpose::CancelEmailChange) => TicketState::Cancelled,
            (Some(_), Purpose::ChangeEmail) if !has_address => TicketState::Cancelled,
            (Some(used), _) => TicketState::Used(used),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PendingEmail;

    #[test]
    fn a_ticket_counts_while_what_it_is_for_exists() {
        let (now, end) = (Timestamp::from_unix_seconds(1_000), Timestamp::from_unix_seconds(2_000));
        let id = TicketId::from_bytes([1; 16]);
        let [own, other] =
            ["ann@example.com", "new@example.com"].map(|it| Email::parse(it).unwrap());
        let user = User {
            id: UserId(1),
            email: own.clone(),
            username: None,
            is_email_verified: false,
            created_at: now,
            credential_version: 3,
            is_disabled: false,
            pending_email: None,
        };
        let moved = User { email: other.clone(), ..user.clone() };
        let disabled = User { is_disabled: true, ..user.clone() };
        let pending = |ticket| {
            let email = other.clone();
            let pending = PendingEmail { email, ticket, asked_at: now, expires_at: end };
            User { pending_email: Some(Box::new(pending)), ..user.clone() }
        };
        let (changing, changing_anew) = (pending(id), pending(TicketId::from_bytes([2; 16])));
        let how = TicketUse { at: now, credential_version: 3 };
        let (open, used, void) = (TicketState::Open, TicketState::Used(how), TicketState::Void);
        let cancelled = TicketState::Cancelled;
        for (purpose, email, owner, unused, after_use) in [
            (Purpose::VerifyEmail, &own, &user, open, used),
            (Purpose::VerifyEmail, &own, &moved, void, void),
            (Purpose::ResetPassword, &own, &user, open, used),
            (Purpose::ResetPassword, &own, &moved, void, void),
            (Purpose::ResetPassword, &own, &disabled, void, void),
            (Purpose::ChangeEmail, &other, &changing, open, cancelled),
            (Purpose::ChangeEmail, &other, &changing_anew, void, cancelled),
            (Purpose::ChangeEmail, &other, &moved, void, used),
            (Purpose::ChangeEmail, &other, &user, void, cancelled),
            (Purpose::CancelEmailChange, &own, &changing, open, cancelled),
            (Purpose::CancelEmailChange, &own, &user, void, cancelled),
        ] {
            let mut ticket = Ticket::new(id, purpose, (user.id, email.clone()), (now, end));
            assert_eq!(ticket.state(owner, now), unused, "{purpose:?} {owner:?}");
            assert_eq!(ticket.state(owner, end), void);
            ticket.used = Some(how);
            assert_eq!(ticket.state(owner, now), after_use, "{purpose:?} {owner:?}");
            assert_eq!(ticket.state(owner, end), void);
        }
    }
}
