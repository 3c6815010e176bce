//! Refreshing: a refresh token for its one successor and a fresh access token.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tracing::warn;

use super::Failure;
use super::login::TokenPair;
use crate::app::App;
use crate::domain::Client;
use crate::jwt::{Expiry, TokenError};
use crate::store::{Presented, Refused, Rotated};

/// Why there are no tokens.
#[derive(Debug, PartialEq, Eq)]
pub enum RefreshRefused {
    /// The token itself is not a good refresh token; nothing was touched.
    Token(TokenError),
    /// The token is authentic, but its session gives nothing for it any more.
    Session,
    /// It could not be carried out.
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for RefreshRefused {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// Rotates the session of a refresh token, by the design's table of cases.
///
/// # Errors
/// [`RefreshRefused`]. Where the token was reused, its session has ended durably by then.
pub async fn refresh(app: &App, token: &str, client: Client) -> Result<TokenPair, RefreshRefused> {
    let at = app.moment()?;
    let claims =
        app.tokens.check_refresh(token, at.now, Expiry::Enforced).map_err(RefreshRefused::Token)?;
    let presented = Presented {
        session: claims.session,
        user: claims.user,
        generation: claims.generation,
        client,
    };
    let lifetimes = app.config.tokens.sessions;
    let mut rotating = pin!(app.store.rotate_session(presented.clone(), lifetimes, at));
    let (rotated, foreseen) = match poll_fn(|it| Poll::Ready(rotating.as_mut().poll(it))).await {
        Poll::Ready(rotated) => (rotated, None),
        // Signing takes the processor while the writer waits for the disk; nobody is told of the
        // tokens before the session that they are for is durable.
        Poll::Pending => {
            let session = app.store.foresee_rotation(&presented, lifetimes, at.now);
            let foreseen = session.map(|session| (TokenPair::of(app, &session, at.now), session));
            (rotating.await, foreseen)
        }
    };
    match rotated? {
        Rotated::New(session) | Rotated::Same(session) => Ok(match foreseen {
            Some((tokens, foreseen)) if foreseen == session => tokens,
            _ => TokenPair::of(app, &session, at.now),
        }),
        Rotated::Refused(refused) => {
            if let Refused::Reused(theft) = refused {
                warn!(
                    user = %claims.user, session = %claims.session, ?theft,
                    "a superseded refresh token was used; its session has been ended"
                );
            }
            Err(RefreshRefused::Session)
        }
    }
}
