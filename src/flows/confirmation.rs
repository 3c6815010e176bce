//! The mailed links that confirm an address: at registration, and when it changes; and the ones
//! that say no.

use super::Failure;
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::{Client, Email, MessageId, Purpose, TicketId, TicketState};
use crate::store::{CancelOutcome, ConfirmChangeOutcome, DisownOutcome, RedeemOutcome};

/// What a mailed link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// The address of a new account can be confirmed.
    Open {
        /// The address.
        email: Email,
        /// When the account was made.
        created_at: Timestamp,
    },
    /// The new address of an account can be confirmed.
    OpenChange {
        /// The new address.
        email: Email,
        /// When it was asked for.
        asked_at: Timestamp,
    },
    /// A change of address can be called off from the old one.
    OpenCancellation {
        /// The address that was asked for.
        new_email: Email,
        /// When it was asked for.
        asked_at: Timestamp,
    },
    /// It was confirmed before.
    AlreadyVerified,
    /// The link is forged, mangled, expired or void.
    Invalid,
}

/// What became of confirming an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// The address is verified now.
    Verified,
    /// The account has its new address now.
    Changed,
    /// It was confirmed before.
    AlreadyVerified,
    /// Someone else has registered the new address meanwhile.
    Taken,
    /// The link is forged, mangled, expired or void.
    Invalid,
}

/// The purposes of links that open the confirmation page.
const PURPOSES: [Purpose; 3] =
    [Purpose::VerifyEmail, Purpose::ChangeEmail, Purpose::CancelEmailChange];

/// Which ticket a link carries, and for what.
fn open(app: &App, token: &str) -> Option<(Purpose, TicketId)> {
    let key = app.keys.ticket();
    PURPOSES.into_iter().find_map(|purpose| key.open(purpose, token).map(|id| (purpose, id)))
}

/// Looks at a mailed link and changes nothing.
///
/// # Errors
/// [`Failure`].
pub fn look(app: &App, token: &str) -> Result<LinkState, Failure> {
    let now = app.moment()?.now;
    let Some((purpose, id)) = open(app, token) else { return Ok(LinkState::Invalid) };
    let found = app.store.find_ticket(id)?.filter(|(ticket, user)| {
        ticket.purpose == purpose && ticket.state(user, now) != TicketState::Void
    });
    let Some((ticket, user)) = found else { return Ok(LinkState::Invalid) };
    if purpose == Purpose::VerifyEmail {
        let is_confirmed = user.is_email_verified || ticket.used.is_some();
        return Ok(if is_confirmed {
            LinkState::AlreadyVerified
        } else {
            LinkState::Open { email: user.email, created_at: user.created_at }
        });
    }
    if ticket.used.is_some() {
        return Ok(LinkState::AlreadyVerified);
    }
    Ok(match user.pending_email_at(now) {
        Some(pending) if purpose == Purpose::CancelEmailChange => LinkState::OpenCancellation {
            new_email: pending.email.clone(),
            asked_at: pending.asked_at,
        },
        Some(pending) if pending.ticket == id => {
            LinkState::OpenChange { email: ticket.email, asked_at: pending.asked_at }
        }
        _ => LinkState::Invalid,
    })
}

/// Confirms the address behind a mailed link, durably.
///
/// # Errors
/// [`Failure`].
pub async fn confirm(app: &App, token: &str, client: Client) -> Result<Confirmed, Failure> {
    let at = app.moment()?;
    match open(app, token) {
        Some((Purpose::VerifyEmail, id)) => {
            Ok(match app.store.redeem_verification(id, client, at).await? {
                RedeemOutcome::Verified(_) => Confirmed::Verified,
                RedeemOutcome::AlreadyVerified => Confirmed::AlreadyVerified,
                RedeemOutcome::Invalid => Confirmed::Invalid,
            })
        }
        Some((Purpose::ChangeEmail, id)) => {
            let message_id = MessageId::from_bytes(app.random.bytes());
            Ok(match app.store.confirm_email_change(id, message_id, client, at).await? {
                ConfirmChangeOutcome::Changed(_) => Confirmed::Changed,
                ConfirmChangeOutcome::AlreadyChanged => Confirmed::AlreadyVerified,
                ConfirmChangeOutcome::Taken => Confirmed::Taken,
                ConfirmChangeOutcome::Invalid => Confirmed::Invalid,
            })
        }
        _ => Ok(Confirmed::Invalid),
    }
}

/// Removes the account behind a verification link, as its address's owner says that it is not
/// theirs, if it is still unverified.
///
/// # Errors
/// [`Failure`].
pub async fn disown(app: &App, token: &str, client: Client) -> Result<DisownOutcome, Failure> {
    let at = app.moment()?;
    match open(app, token) {
        Some((Purpose::VerifyEmail, id)) => Ok(app.store.disown_user(id, client, at).await?),
        _ => Ok(DisownOutcome::Invalid),
    }
}

/// Calls off the change of address behind a link to either address, and touches nothing else.
///
/// # Errors
/// [`Failure`].
pub async fn cancel_change(
    app: &App,
    token: &str,
    client: Client,
) -> Result<CancelOutcome, Failure> {
    let at = app.moment()?;
    match open(app, token) {
        Some((purpose @ (Purpose::ChangeEmail | Purpose::CancelEmailChange), id)) => {
            Ok(app.store.cancel_email_change(id, purpose, client, at).await?)
        }
        _ => Ok(CancelOutcome::Invalid),
    }
}

/// What a link is for, whether or not it still works; none if it is not one of ours.
pub fn purpose(app: &App, token: &str) -> Option<Purpose> {
    open(app, token).map(|(purpose, _)| purpose)
}
