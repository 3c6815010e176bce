//! The list of revoked sessions, signed, for services that check access tokens by themselves.
//!
//! The list is a JWT under the keys of access tokens with the `typ` `revoked-sessions+jwt` and the
//! claims `iss`, `iat`, `exp`, `sessions` and `complete`. What such a service does with it:
//!
//! 1. Once a minute it reads the list, with the `ETag` it has, and checks it as an access token:
//!    signature and algorithm by the key set, `iss`, and `exp` without leeway; but with this
//!    `typ` in the header. It drops a list that is older, by `iat`, than the one it has.
//! 2. An access token, once found good, is refused if the first 16 bytes of SHA-256 of its `sid`
//!    (the 32 digits as text), in base64url without padding, stand in `sessions`.
//! 3. If `complete` is false and the token is not in the list, `POST /api/token/verify/` knows.
//! 4. Once the list has expired and no newer one can be had, every token is refused: an
//!    attacker who blocks the reads must not be able to keep sessions alive by that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use tracing::error;

use super::Failure;
use crate::app::App;
use crate::clock::{Moment, Timestamp};
use crate::keys::KeyId;
use crate::store::{Revocations, RevocationsVersion, StoreError};

/// What the header of the list calls it (RFC 8725, section 3.11), so that it passes for no access
/// token and none passes for it.
pub const TYP: &str = "revoked-sessions+jwt";

/// How long a list is good. A service that reads it once a minute survives two readings that
/// fail, even if it got the list just before it was renewed.
pub const VALID_FOR: Duration = Duration::from_secs(5 * 60);

/// After how long the list is signed anew though nothing was added to it.
const RENEW_AFTER: Duration = Duration::from_secs(2 * 60);

/// Up to so many sessions a changed list is signed at once: some tenths of a millisecond.
const SHORT: usize = 1_000;

/// A longer one, which may take some hundredths of a second, is signed no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// The signed list as it was at one moment.
#[derive(Debug)]
pub struct SignedRevocations {
    /// The JWT.
    pub jwt: Arc<[u8]>,
    /// Names this very JWT: 22 characters of base64url.
    pub tag: String,
    /// Which list it is.
    version: RevocationsVersion,
    /// Which key signed it.
    key: KeyId,
    /// When, by the wall clock.
    signed_at: Timestamp,
    /// How many sessions are in it.
    count: usize,
    /// When, by the monotonic clock.
    made_at: Duration,
}

/// Keeps the signed list between requests.
#[derive(Debug, Default)]
pub struct RevocationFeed {
    /// The last one. Held for the time of copying a pointer.
    latest: Mutex<Option<Arc<SignedRevocations>>>,
    /// Held by the request that makes the next one; others wait for that one instead of making
    /// their own.
    turn: tokio::sync::Mutex<()>,
}

impl RevocationFeed {
    /// The list; `None` if a shared secret signs, since anyone who could check the list could make
    /// one. It holds everything that was ended before this was called; a list of more than a
    /// thousand may lack the last second.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn read(&self, app: &Arc<App>) -> Result<Option<Arc<SignedRevocations>>, Failure> {
        if let Some(current) = self.current(app)? {
            return Ok(Some(current));
        }
        let _turn = self.turn.lock().await;
        if let Some(current) = self.current(app)? {
            return Ok(Some(current));
        }
        let app = Arc::clone(app);
        let made = tokio::task::spawn_blocking(move || make(&app)).await;
        let made = made.map_err(|_| Failure::Store(StoreError::Unavailable))??.map(Arc::new);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = made.clone();
        Ok(made)
    }

    /// The last list, if it still serves.
    fn current(&self, app: &App) -> Result<Option<Arc<SignedRevocations>>, Failure> {
        let at = app.moment()?;
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(latest) = latest else { return Ok(None) };
        let is_fresh =
            at.now >= latest.signed_at && at.now.saturating_since(latest.signed_at) < RENEW_AFTER;
        if !is_fresh || latest.key != key_at(app, at) {
            return Ok(None);
        }
        let age = app.clock.monotonic().saturating_sub(latest.made_at);
        let rests = latest.count > SHORT && age < PAUSE;
        let serves = rests || latest.version == app.store.revocations_version()?;
        Ok(serves.then_some(latest))
    }
}

/// The claims.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: u64,
    exp: u64,
    #[serde(serialize_with = "as_base64url")]
    sessions: &'a [[u8; 16]],
    complete: bool,
}

fn make(app: &App) -> Result<Option<SignedRevocations>, Failure> {
    let at = app.moment()?;
    let made_at = app.clock.monotonic();
    let key = key_at(app, at);
    // In this order: what is added between the two is read, and read once more the next time.
    let version = app.store.revocations_version()?;
    let Revocations { digests, is_complete } = app.store.find_revocations(at.now)?;
    let claims = Claims {
        iss: app.tokens.issuer(),
        iat: at.now.unix_seconds(),
        exp: at.now.saturating_add(VALID_FOR).unix_seconds(),
        sessions: &digests,
        complete: is_complete,
    };
    let signed = app.tokens.sign_with_access_key(TYP, &claims, at.now).map_err(|error| {
        error!(%error, "the list of revoked sessions cannot be written");
        Failure::Store(StoreError::Unavailable)
    })?;
    Ok(signed.map(|jwt| SignedRevocations {
        tag: tag(jwt.as_bytes()),
        jwt: jwt.into_bytes().into(),
        version,
        key,
        signed_at: at.now,
        count: digests.len(),
        made_at,
    }))
}

fn key_at(app: &App, at: Moment) -> KeyId {
    app.keys.current().access().signs(at.now).id()
}

fn tag(jwt: &[u8]) -> String {
    let digest = digest(&SHA256, jwt);
    URL_SAFE_NO_PAD.encode(digest.as_ref().first_chunk::<16>().copied().unwrap_or_default())
}

fn as_base64url<S: Serializer>(digests: &[[u8; 16]], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(digests.iter().map(|digest| URL_SAFE_NO_PAD.encode(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SessionId;

    #[test]
    fn the_claims_are_as_services_read_them() {
        // SHA-256 of 32 times "0" begins with 84e0c0eafaa95a34c293f278ac52e45c.
        let digests = [SessionId::from_bytes([0; 16]).digest(), [0xff; 16]];
        let claims = Claims {
            iss: "https://accounts.example.com",
            iat: 1_733_479_200,
            exp: 1_733_479_500,
            sessions: &digests,
            complete: true,
        };
        assert_eq!(
            serde_json::to_string(&claims).unwrap(),
            r#"{"iss":"https://accounts.example.com","iat":1733479200,"exp":1733479500,"sessions":["hODA6vqpWjTCk_J4rFLkXA","_____________________w"],"complete":true}"#
        );
    }

    #[test]
    fn a_list_outlives_its_renewal_by_two_readings_that_fail() {
        assert!(VALID_FOR - RENEW_AFTER >= 3 * Duration::from_secs(60));
    }
}
