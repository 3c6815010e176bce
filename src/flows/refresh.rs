//! Refreshing: a refresh token for its one successor and a fresh access token.

use tracing::warn;

use super::Failure;
use super::login::TokenPair;
use crate::app::App;
use crate::domain::{Client, Session};
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
        client,
    };
    let make = |session: &Session| TokenPair::of(app, session, at.now);
    match app.store.rotate_session(presented, at, make).await? {
        Ok(tokens) => Ok(tokens),
        Err(refused) => {
            if let Refused::Reused(theft) = refused {
                warn!(
                    user = %claims.user, session = %claims.session, ?theft,
                    "a superseded refresh token was used; its session has been ended"
                );
            }
            Err(match refused {
                Refused::Disabled => RefreshRefused::Disabled,
                Refused::NoSession | Refused::Reused(_) | Refused::Ahead => RefreshRefused::Session,
            })
        }
    }
}
