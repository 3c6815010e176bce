//! A key as tokens see it: the header it writes, and the payloads it vouches for.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::TokenError;
use super::wire::{self, Header, Parts};
use crate::keys::JwtKey;
use crate::secret::Secret;

/// A key with what a token says of it.
pub(super) struct TokenKey {
    /// The key's name, as `kid` holds it.
    pub(super) kid: String,
    /// The first part of every token it signs.
    header: String,
    key: Arc<JwtKey>,
}

impl TokenKey {
    pub(super) fn new(key: &Arc<JwtKey>) -> Self {
        let kid = key.id().to_string();
        let header = wire::encode(&Header {
            typ: Some(Cow::Borrowed(wire::TYP)),
            alg: Cow::Borrowed(key.alg()),
            kid: Cow::Borrowed(&kid),
        });
        Self { kid, header, key: Arc::clone(key) }
    }

    pub(super) fn token(&self, payload: &impl serde::Serialize) -> Secret<String> {
        let payload = wire::encode(payload);
        let mut message = String::with_capacity(self.header.len() + payload.len() + SIGNATURE_ROOM);
        message.push_str(&self.header);
        message.push('.');
        message.push_str(&payload);
        let signature = Secret::new(self.key.sign(message.as_bytes()));
        message.push('.');
        message.push_str(signature.expose());
        Secret::new(message)
    }

    /// The payload of a token whose header named this key, if this key signed it.
    pub(super) fn payload(
        &self,
        header: &Header<'_>,
        parts: &Parts<'_>,
    ) -> Result<String, TokenError> {
        let is_of_this_key =
            header.alg == self.key.alg() && header.typ.as_ref().is_none_or(|typ| typ == wire::TYP);
        if !is_of_this_key || !self.key.verify(parts.message.as_bytes(), parts.signature) {
            return Err(TokenError::Invalid);
        }
        wire::decode(parts.payload).ok_or(TokenError::Invalid)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kid)
    }
}

/// Two dots and the longest signature, 64 bytes in base64url: room for it lets no unfinished copy
/// of a token stay behind in memory.
const SIGNATURE_ROOM: usize = 2 + 86;
