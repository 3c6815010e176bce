//! Signing payloads, and verifying signed ones.

use std::borrow::Cow;

use serde::Serialize;

use super::TokenError;
use super::wire::{self, Header, Parts};
use crate::keys::JwtKey;
use crate::secret::Secret;

/// Two dots and the longest signature, 64 bytes in base64url. With this room reserved, no partial
/// copy of a token stays behind in memory.
const SIGNATURE_ROOM: usize = 2 + 86;

/// A token over `payload`, signed by `key`.
pub(super) fn token(key: &JwtKey, payload: &impl Serialize) -> Secret<String> {
    Secret::new(signed(key, key.header(), &wire::encode(payload)))
}

/// A JWT of another type over `claims`, signed by `key`. It is not a secret.
///
/// # Errors
/// If `claims` cannot be serialised as JSON.
pub(super) fn statement(
    key: &JwtKey,
    typ: &str,
    claims: &impl Serialize,
) -> Result<String, serde_json::Error> {
    let header = wire::encode(&Header {
        typ: Some(Cow::Borrowed(typ)),
        alg: Cow::Borrowed(key.alg()),
        kid: Cow::Borrowed(key.kid()),
    });
    Ok(signed(key, &header, &wire::try_encode(claims)?))
}

/// Whether `header` is a valid header for a token of `key`.
pub(super) fn is_of(key: &JwtKey, header: &Header<'_>) -> bool {
    header.alg == key.alg() && header.typ.as_ref().is_none_or(|typ| typ == wire::TYP)
}

/// The payload of a token with a header of `key`, if `key` signed it.
pub(super) fn payload(key: &JwtKey, parts: &Parts<'_>) -> Result<String, TokenError> {
    if !key.verify(parts.message.as_bytes(), parts.signature) {
        return Err(TokenError::Invalid);
    }
    wire::decode(parts.payload).ok_or(TokenError::Invalid)
}

fn signed(key: &JwtKey, header: &str, payload: &str) -> String {
    let mut message = String::with_capacity(header.len() + payload.len() + SIGNATURE_ROOM);
    message.push_str(header);
    message.push('.');
    message.push_str(payload);
    let signature = Secret::new(key.sign(message.as_bytes()));
    message.push('.');
    message.push_str(signature.expose());
    message
}
