//! The mailed verification link: looking at it, confirming, and "this was not me".

use super::Failure;
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::{Client, Email, Purpose};
use crate::store::{DisownOutcome, RedeemOutcome};

/// What a mailed link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// The address can be confirmed.
    Open {
        /// The address.
        email: Email,
        /// When the account was made.
        created_at: Timestamp,
    },
    /// It was confirmed before.
    AlreadyVerified,
    /// The link is forged, mangled, expired or void.
    Invalid,
}

/// Looks at a mailed link and changes nothing.
///
/// # Errors
/// [`Failure`].
pub fn look(app: &App, token: &str) -> Result<LinkState, Failure> {
    let now = app.moment()?.now;
    let Some(id) = app.keys.ticket().open(Purpose::VerifyEmail, token) else {
        return Ok(LinkState::Invalid);
    };
    let found = app
        .store
        .find_ticket(id)?
        .filter(|(ticket, _)| ticket.purpose == Purpose::VerifyEmail && now < ticket.expires_at);
    Ok(match found {
        None => LinkState::Invalid,
        Some((ticket, user)) if user.is_email_verified || ticket.redeemed_at.is_some() => {
            LinkState::AlreadyVerified
        }
        Some((_, user)) => LinkState::Open { email: user.email, created_at: user.created_at },
    })
}

/// Confirms the address behind a mailed link, durably.
///
/// # Errors
/// [`Failure`].
pub async fn confirm(app: &App, token: &str, client: Client) -> Result<RedeemOutcome, Failure> {
    let at = app.moment()?;
    match app.keys.ticket().open(Purpose::VerifyEmail, token) {
        Some(id) => Ok(app.store.redeem_verification(id, client, at).await?),
        None => Ok(RedeemOutcome::Invalid),
    }
}

/// Removes the account behind a mailed link, as its address's owner says that it is not theirs.
///
/// # Errors
/// [`Failure`].
pub async fn disown(app: &App, token: &str, client: Client) -> Result<DisownOutcome, Failure> {
    let at = app.moment()?;
    match app.keys.ticket().open(Purpose::VerifyEmail, token) {
        Some(id) => Ok(app.store.disown_user(id, client, at).await?),
        None => Ok(DisownOutcome::Invalid),
    }
}
