//! Refreshing: a refresh token for its one successor and a fresh access token.

use tracing::warn;

use super::Failure;
use super::login::TokenPair;
use crate::app::App;
use crate::domain::{Client, Session, Theft};
use crate::jwt::{Expiry, TokenError};
use crate::store::{Presented, Refused};

/// Why there are no tokens.
#[derive(Debug, PartialEq, Eq)]
pub enum RefreshRefused {
    /// The token itself is not a good refresh token; nothing was touched.
    Token(TokenError),
    /// The token is authentic, but its session gives nothing for it any more.
    Session,
    /// The token is authentic, but the account is disabled.
    Disabled,
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
        expires_at: claims.expires_at,
        client,
    };
    let make = |session: &Session| TokenPair::of(app, session, at.now);
    match app.store.rotate_session(presented, at, make).await? {
        Ok(tokens) => Ok(tokens),
        Err(refused) => {
            let (user, session) = (claims.user, claims.session);
            match refused {
                Refused::Reused(Theft::GraceOver { unused_for }) => warn!(
                    %user, %session, successor_unused_for = ?unused_for,
                    "a superseded refresh token was used after tokens.reuse_grace; its session has \
                     been ended: the token is a copy in other hands, or its client lost or did not \
                     store the answer to its last refresh (docs/clients.md)"
                ),
                Refused::Reused(Theft::SuccessorUsed) => warn!(
                    %user, %session,
                    "a superseded refresh token was used after its successor had been used; its \
                     session has been ended"
                ),
                Refused::NoSession | Refused::Disabled | Refused::Ahead => {}
            }
            Err(match refused {
                Refused::Disabled => RefreshRefused::Disabled,
                Refused::NoSession | Refused::Reused(_) | Refused::Ahead => RefreshRefused::Session,
            })
        }
    }
}
