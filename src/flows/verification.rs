//! Asking for the verification mail again.

use super::mail_request::{self, RequestRefused};
use crate::app::App;
use crate::domain::{Client, Email};

/// Asks for the verification mail. The answer is the same whether or not there is an account, and
/// whether or not it needs the mail.
///
/// # Errors
/// [`RequestRefused`].
pub async fn request(app: &App, email: Email, client: Client) -> Result<(), RequestRefused> {
    let lifetime = app.config.registration.ticket_lifetime;
    let (request, at) = mail_request::admit(app, email, lifetime, client)?;
    app.store.request_verification(request, at).await?;
    Ok(())
}
