//! What a key is made of: generated, read from a file's text, and written as one.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::id::{KeyId, KeyKind};
use super::pem;
use crate::config::SigningAlgorithm;
use crate::random::Random;
use crate::secret::Secret;

/// The bytes of a secret of our own making; nobody's may be shorter (RFC 7518, section 3.2).
const SECRET_BYTES: usize = 32;

/// A key that was found good.
pub(super) struct KeyMaterial {
    id: KeyId,
    /// PKCS#8 of a pair, or the bytes of a secret.
    private: Zeroizing<Vec<u8>>,
    public: Option<PublicHalf>,
}

/// The half of a pair that everybody may know.
struct PublicHalf {
    /// The key itself: 32 bytes of Ed25519 (RFC 8032), or an uncompressed point (SEC 1).
    raw: Vec<u8>,
    /// The same as SubjectPublicKeyInfo.
    spki: Vec<u8>,
}

impl KeyMaterial {
    /// A new key, if the library makes one. Pairs are drawn by the library's own generator.
    pub(super) fn generate(id: KeyId, random: &Random) -> Option<Self> {
        // Version 1 of PKCS#8, without the public half, is what every OpenSSL reads.
        let private = match id.kind() {
            KeyKind::Access(SigningAlgorithm::EdDsa) => {
                Ed25519KeyPair::generate().ok()?.to_pkcs8v1().ok()?.as_ref().to_vec()
            }
            KeyKind::Access(SigningAlgorithm::Es256) => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
                pair.to_pkcs8v1().ok()?.as_ref().to_vec()
            }
            KeyKind::Access(SigningAlgorithm::Hs256) | KeyKind::Refresh | KeyKind::Ticket => {
                Zeroizing::new(random.bytes::<SECRET_BYTES>()).to_vec()
            }
        };
        Self::new(id, Zeroizing::new(private)).ok()
    }

    /// A secret that other services share: the bytes of its text.
    ///
    /// # Errors
    /// That it is too short.
    pub(super) fn shared(secret: &Secret<String>) -> Result<Self, &'static str> {
        Self::new(KeyId::SHARED, Zeroizing::new(secret.expose().as_bytes().to_vec()))
    }

    /// Reads the text of a private file.
    ///
    /// # Errors
    /// What is wrong with it, in words for an operator.
    pub(super) fn from_text(id: KeyId, text: &str) -> Result<Self, &'static str> {
        if text.trim().is_empty() {
            return Err("it is empty");
        }
        let private = match id.public_file() {
            Some(_) => pem::decode(pem::PRIVATE_KEY, text)?,
            None => URL_SAFE_NO_PAD
                .decode(text.trim())
                .map(Zeroizing::new)
                .map_err(|_| "it is not base64url without padding")?,
        };
        Self::new(id, private)
    }

    fn new(id: KeyId, private: Zeroizing<Vec<u8>>) -> Result<Self, &'static str> {
        let public = match id.kind() {
            KeyKind::Access(SigningAlgorithm::EdDsa) => {
                let pair = Ed25519KeyPair::from_pkcs8(&private)
                    .map_err(|_| "it is not an Ed25519 key in PKCS#8")?;
                Some(PublicHalf::of(pair.public_key())?)
            }
            KeyKind::Access(SigningAlgorithm::Es256) => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private)
                    .map_err(|_| "it is not a P-256 key in PKCS#8")?;
                Some(PublicHalf::of(pair.public_key())?)
            }
            KeyKind::Access(SigningAlgorithm::Hs256) | KeyKind::Refresh | KeyKind::Ticket => {
                if private.len() < SECRET_BYTES {
                    return Err("its secret is shorter than 32 bytes");
                }
                None
            }
        };
        Ok(Self { id, private, public })
    }

    pub(super) const fn id(&self) -> KeyId {
        self.id
    }

    /// PKCS#8 of a pair, or the bytes of a secret.
    pub(super) fn private(&self) -> &[u8] {
        &self.private
    }

    /// The public key itself; none of a secret.
    pub(super) fn public(&self) -> Option<&[u8]> {
        self.public.as_ref().map(|public| public.raw.as_slice())
    }

    /// The text of the private file.
    pub(super) fn private_text(&self) -> Zeroizing<String> {
        if self.public.is_some() {
            return pem::encode(pem::PRIVATE_KEY, &self.private);
        }
        let mut text = Zeroizing::new(String::with_capacity(self.private.len() * 2));
        URL_SAFE_NO_PAD.encode_string(&*self.private, &mut text);
        text.push('\n');
        text
    }

    /// The text of the public file, if there is one.
    pub(super) fn public_text(&self) -> Option<Zeroizing<String>> {
        self.public.as_ref().map(|public| pem::encode(pem::PUBLIC_KEY, &public.spki))
    }

    /// Holds the text of a public file against this key.
    ///
    /// # Errors
    /// What is wrong with it, in words for an operator.
    pub(super) fn check_public(&self, text: &str) -> Result<(), &'static str> {
        let spki = pem::decode(pem::PUBLIC_KEY, text)?;
        match &self.public {
            Some(public) if *public.spki == **spki => Ok(()),
            _ => Err("it belongs to another key"),
        }
    }
}

impl PublicHalf {
    fn of<K>(public: &K) -> Result<Self, &'static str>
    where
        K: AsRef<[u8]> + AsDer<PublicKeyX509Der<'static>>,
    {
        let spki = public.as_der().map_err(|_| "its public half cannot be written")?;
        Ok(Self { raw: public.as_ref().to_vec(), spki: spki.as_ref().to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn generate(kind: KeyKind) -> KeyMaterial {
        let id = KeyId::new(kind, Timestamp::EPOCH, [0; 4]);
        KeyMaterial::generate(id, &Random::seeded(1)).unwrap()
    }

    fn problem(kind: KeyKind, text: &str) -> &'static str {
        let id = KeyId::new(kind, Timestamp::EPOCH, [0; 4]);
        KeyMaterial::from_text(id, text).err().unwrap()
    }

    const EDDSA: KeyKind = KeyKind::Access(SigningAlgorithm::EdDsa);
    const ES256: KeyKind = KeyKind::Access(SigningAlgorithm::Es256);
    const HS256: KeyKind = KeyKind::Access(SigningAlgorithm::Hs256);

    #[test]
    fn every_kind_is_written_and_read_back() {
        for kind in [EDDSA, ES256, HS256, KeyKind::Refresh, KeyKind::Ticket] {
            let key = generate(kind);
            let read = KeyMaterial::from_text(key.id(), &key.private_text()).unwrap();
            assert_eq!(read.private(), key.private());
            assert_eq!(read.public(), key.public());
            if let Some(public) = key.public_text() {
                read.check_public(&public).unwrap();
                assert_eq!(
                    generate(kind).check_public(&public).unwrap_err(),
                    "it belongs to another key"
                );
            }
        }
    }

    /// RFC 8410, section 10.3: the key there, and its public half.
    #[test]
    fn a_pair_made_elsewhere_is_read() {
        let text = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let key =
            KeyMaterial::from_text(KeyId::new(EDDSA, Timestamp::EPOCH, [0; 4]), text).unwrap();
        assert_eq!(*key.private_text(), text);
        assert_eq!(
            *key.public_text().unwrap(),
            "-----BEGIN PUBLIC KEY-----\n\
             MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
             -----END PUBLIC KEY-----\n"
        );
    }

    #[test]
    fn what_is_no_key_of_its_kind_is_refused() {
        assert_eq!(problem(EDDSA, " \n"), "it is empty");
        assert_eq!(problem(KeyKind::Ticket, ""), "it is empty");
        let (eddsa, es256) = (generate(EDDSA).private_text(), generate(ES256).private_text());
        assert_eq!(problem(EDDSA, &es256), "it is not an Ed25519 key in PKCS#8");
        assert_eq!(problem(ES256, &eddsa), "it is not a P-256 key in PKCS#8");
        let public = generate(EDDSA).public_text().unwrap();
        assert_eq!(problem(EDDSA, &public), "its PEM block is of another type");
        assert_eq!(problem(KeyKind::Refresh, &eddsa), "it is not base64url without padding");
        let short = URL_SAFE_NO_PAD.encode([7; 31]);
        assert_eq!(problem(HS256, &short), "its secret is shorter than 32 bytes");
        assert_eq!(problem(HS256, &eddsa), "it is not base64url without padding");
    }
}
