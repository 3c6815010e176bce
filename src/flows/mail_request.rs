//! Requests for mail that anyone may make for any address.

use std::time::Duration;

use super::{Failure, Throttled};
use crate::app::App;
use crate::clock::Moment;
use crate::domain::{Client, Email, MessageId, TicketId};
use crate::store::{NewTicket, ResetRequest};

/// Why a mail was not even asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRefused {
    /// Too many requests from this address.
    Throttled(Throttled),
    /// It could not be carried out.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for RequestRefused {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// Counts a request, together with the logins of its address and within their limit, and gives it
/// what it needs: a ticket that is good for `lifetime`, and a mail's name.
///
/// # Errors
/// [`RequestRefused`].
pub(super) fn admit(
    app: &App,
    email: Email,
    lifetime: Duration,
    client: Client,
) -> Result<(ResetRequest, Moment), RequestRefused> {
    let at = app.moment()?;
    app.throttle
        .login_attempt(client.block(), app.clock.read().wall)
        .map_err(|after| RequestRefused::Throttled(after.into()))?;
    let id = TicketId::from_bytes(app.random.bytes());
    let request = ResetRequest {
        email,
        ticket: NewTicket { id, expires_at: at.now.saturating_add(lifetime) },
        message_id: MessageId::from_bytes(app.random.bytes()),
        client,
    };
    Ok((request, at))
}
