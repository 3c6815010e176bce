//! The public keys as others read them: a JWK Set (RFC 7517, section 5).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::keys::JwtKey;

/// A set of public keys that serialises to JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

/// A public key that verifies signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Jwk {
    #[serde(flatten)]
    public: PublicKey,
    kid: String,
    alg: &'static str,
    #[serde(rename = "use")]
    purpose: &'static str,
}

/// The members that depend on the kind of key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kty")]
enum PublicKey {
    /// RFC 8037, section 2.
    #[serde(rename = "OKP")]
    Octets { crv: &'static str, x: String },
    /// RFC 7518, section 6.2.
    #[serde(rename = "EC")]
    Point { crv: &'static str, x: String, y: String },
}

impl JwkSet {
    /// The public halves of `keys`; secrets are left out.
    pub(super) fn of<'a>(keys: impl IntoIterator<Item = &'a JwtKey>) -> Self {
        Self { keys: keys.into_iter().filter_map(Jwk::of).collect() }
    }

    /// How many keys there are.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Jwk {
    fn of(key: &JwtKey) -> Option<Self> {
        let public = PublicKey::of(key.public()?)?;
        Some(Self { public, kid: key.kid().to_owned(), alg: key.alg(), purpose: "sig" })
    }
}

impl PublicKey {
    /// 32 bytes are an Ed25519 key (RFC 8032, section 5.1.5); 65 that begin with a 4 are an
    /// uncompressed point (SEC 1, section 2.3.3) of P-256.
    fn of(raw: &[u8]) -> Option<Self> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        if raw.len() == 32 {
            return Some(Self::Octets { crv: "Ed25519", x: text(raw) });
        }
        let (x, y) = raw.strip_prefix(&[4])?.split_at_checked(32)?;
        (y.len() == 32).then(|| Self::Point { crv: "P-256", x: text(x), y: text(y) })
    }
}
