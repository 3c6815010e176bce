//! Mailed links that confirm an address, at registration and when it changes, and their opposites.

use super::Failure;
use super::link::{Link, LinkOutcome};
use crate::app::App;
use crate::domain::{Client, MessageId, Purpose};
use crate::store::{CancelOutcome, ConfirmChangeOutcome, DisownOutcome, RedeemOutcome};

/// Confirms the address behind a mailed link, durably.
///
/// # Errors
/// [`Failure`].
pub async fn confirm(app: &App, link: &Link, client: Client) -> Result<LinkOutcome, Failure> {
    let at = app.moment()?;
    Ok(match link.purpose {
        Purpose::VerifyEmail => {
            match app.store.redeem_verification(link.ticket, client, at).await? {
                RedeemOutcome::Verified(_) => LinkOutcome::Verified,
                RedeemOutcome::AlreadyVerified => LinkOutcome::AlreadyVerified,
                RedeemOutcome::Invalid => link.invalid(),
            }
        }
        Purpose::ChangeEmail => {
            let message_id = MessageId::from_bytes(app.random.bytes());
            match app.store.confirm_email_change(link.ticket, message_id, client, at).await? {
                ConfirmChangeOutcome::Changed(_) => LinkOutcome::Changed,
                ConfirmChangeOutcome::AlreadyChanged => LinkOutcome::AlreadyVerified,
                ConfirmChangeOutcome::Taken => LinkOutcome::Taken,
                ConfirmChangeOutcome::Invalid => link.invalid(),
            }
        }
        Purpose::ResetPassword | Purpose::CancelEmailChange => link.invalid(),
    })
}

/// Removes the account behind a verification link while it is unverified: the owner of its address
/// says that it is not theirs.
///
/// # Errors
/// [`Failure`].
pub async fn disown(app: &App, link: &Link, client: Client) -> Result<LinkOutcome, Failure> {
    if link.purpose != Purpose::VerifyEmail {
        return Ok(link.invalid());
    }
    let at = app.moment()?;
    Ok(match app.store.disown_user(link.ticket, client, at).await? {
        DisownOutcome::Removed => LinkOutcome::Removed,
        DisownOutcome::AlreadyVerified => LinkOutcome::NotRemoved,
        DisownOutcome::Invalid => link.invalid(),
    })
}

/// Calls off the change of address behind a link to either address, and touches nothing else.
///
/// # Errors
/// [`Failure`].
pub async fn cancel_change(app: &App, link: &Link, client: Client) -> Result<LinkOutcome, Failure> {
    if !matches!(link.purpose, Purpose::ChangeEmail | Purpose::CancelEmailChange) {
        return Ok(link.invalid());
    }
    let at = app.moment()?;
    Ok(match app.store.cancel_email_change(link.ticket, link.purpose, client, at).await? {
        CancelOutcome::Cancelled => LinkOutcome::Cancelled,
        CancelOutcome::Invalid => link.invalid(),
    })
}
