//! A key that signs and checks tokens.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use super::id::{KeyId, KeyKind};
use super::material::KeyMaterial;
use crate::config::SigningAlgorithm;

/// A key of access or refresh tokens.
///
/// Signatures of key pairs are checked by the JWT library. It parses keys on every call (its
/// signers that do not cannot be shared between threads), which is half of the work of an Ed25519
/// signature and more than half of a MAC. So signatures and MACs are made with a key of the same
/// provider that is parsed once.
pub(crate) struct JwtKey {
    id: KeyId,
    /// Its name as text, which every token carries.
    kid: String,
    /// The encoded header of its tokens.
    header: String,
    signing: SigningKey,
    /// The public key, if it is a pair.
    public: Option<Vec<u8>>,
}

/// A pair, with its public half as the JWT library takes it, or a secret.
enum SigningKey {
    EdDsa(Box<Ed25519KeyPair>, DecodingKey),
    Es256(Box<EcdsaKeyPair>, DecodingKey),
    Hs256(Box<hmac::Key>),
}

impl SigningKey {
    /// Parses a key; `None` if the provider does not accept it.
    fn new(algorithm: SigningAlgorithm, material: &KeyMaterial) -> Option<Self> {
        let private = material.private();
        Some(match algorithm {
            SigningAlgorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(private).ok()?;
                Self::EdDsa(Box::new(pair), DecodingKey::from_ed_der(material.public()?))
            }
            SigningAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private);
                Self::Es256(Box::new(pair.ok()?), DecodingKey::from_ec_der(material.public()?))
            }
            SigningAlgorithm::Hs256 => {
                Self::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, private)))
            }
        })
    }

    /// The signature as JWS has it (RFC 7518, sections 3.2 and 3.4; RFC 8037, section 3.1), in
    /// base64url; `None` if the provider failed, which happens only without randomness.
    fn sign(&self, message: &[u8]) -> Option<String> {
        Some(match self {
            Self::EdDsa(pair, _) => URL_SAFE_NO_PAD.encode(pair.sign(message)),
            Self::Es256(pair, _) => {
                URL_SAFE_NO_PAD.encode(pair.sign(&SystemRandom::new(), message).ok()?)
            }
            Self::Hs256(key) => URL_SAFE_NO_PAD.encode(hmac::sign(key, message)),
        })
    }

    /// Whether `signature`, in canonical base64url, is one of `message`.
    fn verify(&self, message: &[u8], signature: &str) -> bool {
        let by_pair = |public, algorithm| {
            crypto::verify(signature, message, public, algorithm).unwrap_or(false)
        };
        match self {
            Self::EdDsa(_, public) => by_pair(public, Algorithm::EdDSA),
            Self::Es256(_, public) => by_pair(public, Algorithm::ES256),
            Self::Hs256(key) => URL_SAFE_NO_PAD
                .decode(signature)
                .is_ok_and(|mac| hmac::verify(key, message, &mac).is_ok()),
        }
    }
}

impl JwtKey {
    /// Parses the key and tries it, so that signing cannot fail later; `None` if it has another use
    /// or the library does not accept it.
    pub(super) fn new(material: &KeyMaterial) -> Option<Self> {
        let id = material.id();
        let algorithm = match id.kind() {
            KeyKind::Access(algorithm) => algorithm,
            KeyKind::Refresh => SigningAlgorithm::Hs256,
            KeyKind::Ticket => return None,
        };
        let kid = id.to_string();
        let alg = id.kind().algorithm();
        let header = format!(r#"{{"typ":"JWT","alg":"{alg}","kid":"{kid}"}}"#);
        let header = URL_SAFE_NO_PAD.encode(header);
        let public = material.public().map(<[u8]>::to_vec);
        let signing = SigningKey::new(algorithm, material)?;
        let key = Self { id, kid, header, signing, public };
        let trial = key.signing.sign(TRIAL)?;
        key.verify(TRIAL, &trial).then_some(key)
    }

    /// Its name.
    pub(crate) const fn id(&self) -> KeyId {
        self.id
    }

    /// Its name as a token's `kid`.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// The header of a token that it signs (RFC 7519, section 5), in base64url.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// Its algorithm as a token's `alg`.
    pub(crate) const fn alg(&self) -> &'static str {
        self.id.kind().algorithm()
    }

    /// The public key: 32 bytes for Ed25519 (RFC 8032), or an uncompressed point (SEC 1); `None`
    /// for a secret.
    pub(crate) fn public(&self) -> Option<&[u8]> {
        self.public.as_deref()
    }

    /// The signature of `message` as base64url.
    #[expect(clippy::expect_used, reason = "the key has signed before: `new` tried it")]
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        self.signing.sign(message).expect("a signature")
    }

    /// Whether `signature`, in canonical base64url, is one of `message` by this key.
    pub(crate) fn verify(&self, message: &[u8], signature: &str) -> bool {
        self.signing.verify(message, signature)
    }
}

const TRIAL: &[u8] = b"a trial";

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtKey({})", self.id)
    }
}
