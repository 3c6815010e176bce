//! The link that a mail carries.

use crate::app::App;
use crate::mail::MailLink;
use crate::store::MailToSend;

/// The link of a mail that has one. It is made here, and lives no longer than the attempt.
///
/// # Errors
/// [`Pointless`], if its ticket is redeemed or void.
pub(super) fn link(app: &App, item: &MailToSend) -> Result<Option<MailLink>, Pointless> {
    if item.mail.kind.ticket().is_none() {
        return Ok(None);
    }
    let ticket = item.ticket.as_ref().filter(|ticket| ticket.used.is_none());
    let ticket = ticket.ok_or(Pointless)?;
    let token = app.keys.ticket().seal(ticket.purpose, ticket.id);
    let frontend_url = app.config.server.frontend_url.as_ref();
    Ok(Some(MailLink::new(&app.public_url, frontend_url, ticket, &token)))
}

/// Nothing is to be sent any more: the account is gone, or the link was used.
pub(super) struct Pointless;
