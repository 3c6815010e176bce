//! A key that signs and checks tokens.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};

use super::id::{KeyId, KeyKind};
use super::material::KeyMaterial;
use crate::config::SigningAlgorithm;

/// A key of access or refresh tokens.
///
/// The library takes keys apart on every call (its signers that do not cannot be shared between
/// threads); that is some microseconds of the 13 that a signature takes, beside a request's
/// hashing or flushing.
pub(crate) struct JwtKey {
    id: KeyId,
    /// Its name as text, which every token carries.
    kid: String,
    algorithm: Algorithm,
    signing: EncodingKey,
    verifying: DecodingKey,
    /// The public key itself, of a pair.
    public: Option<Vec<u8>>,
}

impl JwtKey {
    /// Takes the key and tries it, so that signing cannot fail later; none if it is of another use
    /// or the library does not take it.
    pub(super) fn new(material: &KeyMaterial) -> Option<Self> {
        let (private, public) = (material.private(), material.verifying());
        let id = material.id();
        let (algorithm, signing, verifying) = match id.kind() {
            KeyKind::Access(SigningAlgorithm::EdDsa) => (
                Algorithm::EdDSA,
                EncodingKey::from_ed_der(private),
                DecodingKey::from_ed_der(public),
            ),
            KeyKind::Access(SigningAlgorithm::Es256) => (
                Algorithm::ES256,
                EncodingKey::from_ec_der(private),
                DecodingKey::from_ec_der(public),
            ),
            KeyKind::Access(SigningAlgorithm::Hs256) | KeyKind::Refresh => (
                Algorithm::HS256,
                EncodingKey::from_secret(private),
                DecodingKey::from_secret(public),
            ),
            KeyKind::Ticket => return None,
        };
        let kid = id.to_string();
        let public = material.public().map(<[u8]>::to_vec);
        let key = Self { id, kid, algorithm, signing, verifying, public };
        let trial = crypto::sign(TRIAL, &key.signing, algorithm).ok()?;
        key.verify(TRIAL, &trial).then_some(key)
    }

    /// Its name.
    pub(crate) const fn id(&self) -> KeyId {
        self.id
    }

    /// Its name as a token's `kid` holds it.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// Its algorithm as a token's `alg`.
    pub(crate) const fn alg(&self) -> &'static str {
        self.id.kind().algorithm()
    }

    /// The public key itself: 32 bytes of Ed25519 (RFC 8032), or an uncompressed point (SEC 1);
    /// none of a secret.
    pub(crate) fn public(&self) -> Option<&[u8]> {
        self.public.as_deref()
    }

    /// The signature of `message` as base64url.
    #[expect(clippy::expect_used, reason = "the key has signed before: `new` tried it")]
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        crypto::sign(message, &self.signing, self.algorithm).expect("a signature")
    }

    /// Whether `signature`, in canonical base64url, is one of `message` by this key.
    pub(crate) fn verify(&self, message: &[u8], signature: &str) -> bool {
        crypto::verify(signature, message, &self.verifying, self.algorithm).unwrap_or(false)
    }
}

const TRIAL: &[u8] = b"a trial";

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtKey({})", self.id)
    }
}
