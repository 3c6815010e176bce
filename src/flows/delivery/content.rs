//! What a mail says, with the link that it carries.

use crate::app::App;
use crate::domain::{MailKind, Ticket};
use crate::mail::{MailContent, reset_link, verify_link};
use crate::store::MailToSend;

/// What a mail says; none if it has become pointless, because the ticket whose link it carries is
/// redeemed or void. The link is made here, and lives no longer than the attempt.
pub(super) fn content(app: &App, item: &MailToSend) -> Option<MailContent> {
    let ticket = item.ticket.as_ref().filter(|ticket| ticket.used.is_none());
    let token = |ticket: &Ticket| app.keys.ticket().seal(ticket.purpose, ticket.id);
    let link = |ticket: &Ticket| verify_link(&app.public_url, &token(ticket));
    Some(match &item.mail.kind {
        MailKind::VerifyEmail { .. } => {
            let ticket = ticket?;
            MailContent::VerifyEmail {
                link: link(ticket),
                created_at: ticket.created_at,
                expires_at: ticket.expires_at,
            }
        }
        MailKind::ResetPassword { .. } => {
            let ticket = ticket?;
            let frontend_url = app.config.server.frontend_url.as_deref();
            MailContent::ResetPassword {
                link: reset_link(&app.public_url, frontend_url, &token(ticket)),
                expires_at: ticket.expires_at,
            }
        }
        MailKind::ChangeEmail { .. } => {
            let ticket = ticket?;
            MailContent::ChangeEmail { link: link(ticket), expires_at: ticket.expires_at }
        }
        MailKind::EmailChangeRequested { new_email, .. } => {
            let ticket = ticket?;
            MailContent::EmailChangeRequested {
                link: link(ticket),
                expires_at: ticket.expires_at,
                new_email: new_email.clone(),
            }
        }
        MailKind::EmailChanged { new_email } => {
            MailContent::EmailChanged { new_email: new_email.clone() }
        }
        MailKind::PasswordReset => MailContent::PasswordReset,
        MailKind::PasswordChanged => MailContent::PasswordChanged,
        MailKind::AccountDeleted => MailContent::AccountDeleted,
    })
}
