//! Access and refresh tokens: JWTs (RFC 7519), which are signed and checked only here.
//!
//! A token's `kid` names the key, which determines use and algorithm. The token's `alg` and
//! `token_type` decide nothing; they are only compared with the key's. No claim is read before the
//! signature has been verified. Times are checked by the caller's clock.

mod jwk;
mod signed;
mod verified;
mod wire;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use thiserror::Error;

use crate::clock::Timestamp;
use crate::config::{SigningAlgorithm, SimpleJwt};
use crate::domain::hex;
use crate::domain::{Session, SessionId, UserId};
use crate::keys::{JwtKey, KeyId, Keys, LiveKeys};
use crate::secret::Secret;
pub use jwk::JwkSet;
use verified::{Digest, Verified};
use wire::{
    AccessPayload, Addressed, Header, MAX_TOKEN, NumericDate, Parts, RefreshPayload, UserIdClaim,
};

/// How far in the future a token may have been issued, because clocks differ.
const ISSUED_AHEAD: Duration = Duration::from_secs(60);

const ACCESS: &str = "access";
const REFRESH: &str = "refresh";

/// Settings shared by all tokens.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// The lifetime of an access token, if its session lives that long.
    pub access_lifetime: Duration,
    /// The `iss` of access tokens.
    pub issuer: String,
    /// The `aud` of access tokens; `None` for tokens without one.
    pub audience: Option<String>,
    /// Whose form `user_id` has.
    pub simplejwt: SimpleJwt,
}

/// Makes and checks tokens with the keys in use at that moment.
pub struct Tokens {
    settings: TokenSettings,
    keys: LiveKeys,
    /// Access tokens whose signature was verified before.
    verified: Verified,
}

/// The claims of a valid access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// Whose it is.
    pub user: UserId,
    /// The session it belongs to; only storage knows whether that has ended.
    pub session: SessionId,
    /// When it was issued, in whole seconds.
    pub issued_at: Timestamp,
    /// When it expires, in whole seconds.
    pub expires_at: Timestamp,
}

/// The claims of a valid refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshClaims {
    /// Whose it is.
    pub user: UserId,
    /// The session it belongs to.
    pub session: SessionId,
    /// The generation of the token within its session.
    pub generation: u64,
    /// When it was issued, in whole seconds.
    pub issued_at: Timestamp,
    /// When it expires, in whole seconds.
    pub expires_at: Timestamp,
}

/// Whether a token's times are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It must have been issued, and not have expired.
    Enforced,
    /// Any authentic token is accepted, to end its session.
    Ignored,
}

/// Why a token is refused. No details are given, so that nothing can be learned from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is not ours, or not valid yet.
    #[error("the token is invalid")]
    Invalid,
    /// It is ours, but has expired, whichever kind it is.
    #[error("the token is expired")]
    Expired,
    /// It is ours and valid now, but an access token where a refresh token is required, or the
    /// reverse.
    #[error("the token is of the other type")]
    WrongType,
}

/// The type of a key's tokens.
#[derive(Clone, Copy)]
enum Use {
    Access,
    Refresh,
}

/// A valid token of either type.
enum Claims {
    Access(AccessToken),
    Refresh(RefreshClaims),
}

/// An authentic access token, with everything that decides when it is valid.
#[derive(Clone)]
struct AccessToken {
    claims: AccessClaims,
    not_before: Option<NumericDate>,
}

impl AccessToken {
    /// Its claims, if it is valid at `now`.
    fn at(self, now: Timestamp, expiry: Expiry) -> Result<AccessClaims, TokenError> {
        let AccessClaims { issued_at, expires_at, .. } = self.claims;
        let (exp, iat) = (expires_at.into(), issued_at.into());
        check_times(exp, iat, self.not_before, now, expiry)?;
        Ok(self.claims)
    }
}

impl Tokens {
    /// Tokens under these keys.
    pub fn new(keys: LiveKeys, settings: TokenSettings) -> Self {
        Self { settings, keys, verified: Verified::default() }
    }

    /// The `iss` of everything that is signed with an access key.
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// A new access token for `session` with the id `jti` (16 random bytes), signed by the key that
    /// signs at `now`. It never outlives the session.
    pub fn access(&self, session: &Session, now: Timestamp, jti: [u8; 16]) -> Secret<String> {
        let expiry = now.saturating_add(self.settings.access_lifetime).min(session.expires_at());
        let payload = AccessPayload {
            token_type: Cow::Borrowed(ACCESS),
            exp: expiry.into(),
            iat: now.into(),
            nbf: None,
            jti: Cow::Owned(hex::text(&jti)),
            user_id: self.user_id(session.user),
            iss: Cow::Borrowed(&self.settings.issuer),
            aud: self.settings.audience.as_deref(),
            sub: Cow::Owned(session.user.to_string()),
            sid: session.id,
        };
        signed::token(self.keys.current().access().signs(now), &payload)
    }

    /// The current refresh token of `session`: everything in it comes from the session's record,
    /// so that the same record gives the same token byte for byte (while the same key signs).
    pub fn refresh(&self, session: &Session) -> Secret<String> {
        let payload = RefreshPayload {
            token_type: Cow::Borrowed(REFRESH),
            exp: session.token_expires_at.into(),
            iat: session.rotated_at.into(),
            nbf: None,
            jti: Cow::Owned(hex::text(&refresh_jti(session))),
            user_id: self.user_id(session.user),
            sid: session.id,
            generation: session.generation,
        };
        signed::token(self.keys.current().refresh().signs(), &payload)
    }

    fn user_id(&self, user: UserId) -> UserIdClaim {
        UserIdClaim { user, is_string: self.settings.simplejwt == SimpleJwt::V5_5 }
    }

    /// A JWT of another type, signed by the key that signs access tokens at `now`, for verifiers
    /// that have the [key set](Self::jwk_set); `None` if that key is a secret (`HS256`).
    ///
    /// `typ` goes into the header unchanged. It must not be `JWT`: the different type keeps this
    /// from being taken for an access token (RFC 8725, section 3.11).
    ///
    /// # Errors
    /// If `claims` cannot be serialised as JSON.
    pub fn sign_with_access_key(
        &self,
        typ: &str,
        claims: &impl serde::Serialize,
        now: Timestamp,
    ) -> Result<Option<String>, serde_json::Error> {
        let keys = self.keys.current();
        if keys.signing().algorithm() == SigningAlgorithm::Hs256 {
            return Ok(None);
        }
        signed::statement(keys.access().signs(now), typ, claims).map(Some)
    }

    /// The public keys that verify access tokens: all that may be needed at `now`, including those
    /// that do not sign yet; none if a secret signs (`HS256`).
    pub fn jwk_set(&self, now: Timestamp) -> Option<JwkSet> {
        let keys = self.keys.current();
        let is_public = keys.signing().algorithm() != SigningAlgorithm::Hs256;
        is_public.then(|| JwkSet::of(keys.access_alive(self.settings.access_lifetime, now)))
    }

    /// Checks an access token and returns its claims.
    ///
    /// # Errors
    /// If it is not an access token, or, where that is enforced, not good at `now`.
    pub fn check_access(
        &self,
        token: &str,
        now: Timestamp,
        expiry: Expiry,
    ) -> Result<AccessClaims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Invalid);
        }
        let keys = self.keys.current();
        let digest = Digest::of(token);
        if let Some(known) = self.verified.find(&keys, &digest) {
            return known.at(now, expiry);
        }
        match self.open(&keys, token, now, expiry)? {
            Claims::Access(token) => {
                self.verified.keep(&keys, digest, token.clone());
                Ok(token.claims)
            }
            Claims::Refresh(_) => Err(TokenError::WrongType),
        }
    }

    /// Checks a refresh token and returns its claims.
    ///
    /// # Errors
    /// If it is not a refresh token, or, where times are enforced, is not valid at `now`.
    pub fn check_refresh(
        &self,
        token: &str,
        now: Timestamp,
        expiry: Expiry,
    ) -> Result<RefreshClaims, TokenError> {
        match self.open(&self.keys.current(), token, now, expiry)? {
            Claims::Refresh(claims) => Ok(claims),
            Claims::Access(_) => Err(TokenError::WrongType),
        }
    }

    fn open(
        &self,
        keys: &Keys,
        token: &str,
        now: Timestamp,
        expiry: Expiry,
    ) -> Result<Claims, TokenError> {
        let parts = Parts::of(token).ok_or(TokenError::Invalid)?;
        let (key, of) = key_of(keys, parts.header)?;
        let payload = signed::payload(key, &parts)?;
        match of {
            Use::Access => self.access_claims(&payload, now, expiry).map(Claims::Access),
            Use::Refresh => refresh_claims(&payload, now, expiry).map(Claims::Refresh),
        }
    }

    /// Whether the token with this payload is for the configured audience. If none is configured,
    /// every token is.
    fn is_for_us(&self, payload: &str) -> bool {
        let due = self.settings.audience.as_deref();
        due.is_none_or(|due| read(payload).is_ok_and(|token: Addressed<'_>| token.is_for(due)))
    }

    fn access_claims(
        &self,
        text: &str,
        now: Timestamp,
        expiry: Expiry,
    ) -> Result<AccessToken, TokenError> {
        let payload: AccessPayload<'_> = read(text)?;
        let is_consistent = payload.token_type == ACCESS
            && payload.iss == self.settings.issuer
            && payload.sub == payload.user_id.user.to_string();
        if !is_consistent || !self.is_for_us(text) {
            return Err(TokenError::Invalid);
        }
        let claims = AccessClaims {
            user: payload.user_id.user,
            session: payload.sid,
            issued_at: payload.iat.into(),
            expires_at: payload.exp.into(),
        };
        let token = AccessToken { claims, not_before: payload.nbf };
        token.clone().at(now, expiry)?;
        Ok(token)
    }
}

/// Shows only the names of the keys.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("settings", &self.settings)
            .field("keys", &self.keys)
            .finish()
    }
}

/// The key that a token's header names, and its use.
fn key_of<'a>(keys: &'a Keys, header: &str) -> Result<(&'a JwtKey, Use), TokenError> {
    let all = || {
        let access = keys.access().iter().map(|key| (&**key, Use::Access));
        access.chain(keys.refresh().iter().map(|key| (&**key, Use::Refresh)))
    };
    // A header written exactly as we write it need not be parsed.
    if let Some(found) = all().find(|(key, _)| key.header() == header) {
        return Ok(found);
    }
    let header = wire::decode(header).ok_or(TokenError::Invalid)?;
    let header: Header<'_> = read(&header)?;
    // Names are only accepted in canonical form, so equal names are equal texts.
    let id = KeyId::parse(&header.kid).ok_or(TokenError::Invalid)?;
    let found = all().find(|(key, _)| key.id() == id);
    found.filter(|(key, _)| signed::is_of(key, &header)).ok_or(TokenError::Invalid)
}

fn read<'a, T: serde::Deserialize<'a>>(json: &'a str) -> Result<T, TokenError> {
    serde_json::from_str(json).map_err(|_| TokenError::Invalid)
}

fn refresh_claims(
    payload: &str,
    now: Timestamp,
    expiry: Expiry,
) -> Result<RefreshClaims, TokenError> {
    let payload: RefreshPayload<'_> = read(payload)?;
    if payload.token_type != REFRESH {
        return Err(TokenError::Invalid);
    }
    check_times(payload.exp, payload.iat, payload.nbf, now, expiry)?;
    Ok(RefreshClaims {
        user: payload.user_id.user,
        session: payload.sid,
        generation: payload.generation,
        issued_at: payload.iat.into(),
        expires_at: payload.exp.into(),
    })
}

/// Checks that a token with these times is valid at `now`: `exp` and `nbf` (RFC 7519, section 4.1) to
/// the second, `iat` with [`ISSUED_AHEAD`].
fn check_times(
    exp: NumericDate,
    iat: NumericDate,
    nbf: Option<NumericDate>,
    now: Timestamp,
    expiry: Expiry,
) -> Result<(), TokenError> {
    let second = NumericDate::from(now);
    let has_begun = nbf.is_none_or(|nbf| nbf <= second);
    let is_issued = iat <= NumericDate::from(now.saturating_add(ISSUED_AHEAD));
    match expiry {
        Expiry::Ignored => Ok(()),
        Expiry::Enforced if !has_begun || !is_issued => Err(TokenError::Invalid),
        Expiry::Enforced if second >= exp => Err(TokenError::Expired),
        Expiry::Enforced => Ok(()),
    }
}

/// A refresh token's id: half a hash of what distinguishes it from all others. It is not a secret.
fn refresh_jti(session: &Session) -> [u8; 16] {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(b"latchkey refresh jti 1\0");
    hash.update(session.id.as_bytes());
    hash.update(&session.generation.to_be_bytes());
    let hash = hash.finish();
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
