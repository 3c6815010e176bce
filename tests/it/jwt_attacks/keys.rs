//! The server's keys as read from their files, for forging tokens with them.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use latchkey::config::SigningAlgorithm;
use latchkey::keys::{self, Keys, Schedule};
use latchkey::random::Random;

use crate::support::START;

/// A key with its name.
pub(super) struct Key {
    pub(super) kid: String,
    signer: Signer,
    /// The forms in which anybody can have the public half, by name; none of a secret.
    pub(super) public: Vec<(&'static str, Vec<u8>)>,
}

enum Signer {
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Secret(Vec<u8>),
}

/// All keys of a server, those that were taken out of use too.
pub(super) struct KeyRing {
    pub(super) access: Key,
    pub(super) refresh: Key,
    pub(super) ticket: Key,
    pub(super) retired_access: Key,
    pub(super) retired_refresh: Key,
}

impl KeyRing {
    /// New keys of which the first were already replaced, for the server and for its attacker.
    pub(super) fn new(algorithm: SigningAlgorithm) -> (Keys, Self) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let earlier = START.saturating_sub(Duration::from_secs(7_200));
        Keys::load_or_create(&path, algorithm, earlier, &Random::seeded(1)).unwrap();
        let (retired_access, retired_refresh) =
            (Key::read(&path, "access-"), Key::read(&path, "refresh-"));
        let schedule = Schedule {
            algorithm,
            activation: Duration::from_secs(3_600),
            access_lifetime: Duration::from_secs(1_800),
            is_shared: false,
        };
        keys::replace_compromised(&path, schedule, START, &Random::seeded(2)).unwrap();
        let keys = Keys::load_or_create(&path, algorithm, START, &Random::seeded(3)).unwrap();
        let ring = Self {
            access: Key::read(&path, "access-"),
            refresh: Key::read(&path, "refresh-"),
            ticket: Key::read(&path, "ticket-"),
            retired_access,
            retired_refresh,
        };
        assert_ne!(ring.access.kid, ring.retired_access.kid);
        (keys, ring)
    }
}

impl Key {
    /// The one key of `directory` whose name begins so.
    fn read(directory: &Path, prefix: &str) -> Self {
        let names = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        let is_private = |name: &String| name.starts_with(prefix) && !name.contains(".pub.");
        let found: Vec<_> = names.filter(is_private).collect();
        let [name] = &found[..] else { panic!("{prefix}: {found:?}") };
        let (kid, extension) = name.split_once('.').unwrap();
        let text = std::fs::read_to_string(directory.join(name)).unwrap();
        if extension == "secret" {
            let secret = URL_SAFE_NO_PAD.decode(text.trim()).unwrap();
            return Self { kid: kid.to_owned(), signer: Signer::Secret(secret), public: vec![] };
        }
        let private = der(&text);
        let (signer, raw) = if kid.contains("eddsa") {
            let pair = Ed25519KeyPair::from_pkcs8(&private).unwrap();
            let raw = pair.public_key().as_ref().to_vec();
            (Signer::EdDsa(pair), raw)
        } else {
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private).unwrap();
            let raw = pair.public_key().as_ref().to_vec();
            (Signer::Es256(pair), raw)
        };
        let pem = std::fs::read_to_string(directory.join(format!("{kid}.pub.pem"))).unwrap();
        let public = vec![
            ("its PEM", pem.clone().into_bytes()),
            ("its PEM without the last new line", pem.trim_end().as_bytes().to_vec()),
            ("its PEM with CRLF", pem.replace('\n', "\r\n").into_bytes()),
            ("the base64 in its PEM", STANDARD.encode(der(&pem)).into_bytes()),
            ("its DER", der(&pem)),
            ("its bytes", raw.clone()),
            ("its coordinates", raw[raw.len() % 32..].to_vec()),
            ("its bytes as base64url", URL_SAFE_NO_PAD.encode(&raw).into_bytes()),
        ];
        Self { kid: kid.to_owned(), signer, public }
    }

    /// The algorithm that the key is for.
    pub(super) fn alg(&self) -> &'static str {
        match self.signer {
            Signer::EdDsa(_) => "EdDSA",
            Signer::Es256(_) => "ES256",
            Signer::Secret(_) => "HS256",
        }
    }

    /// The bytes of a secret.
    pub(super) fn secret(&self) -> Option<&[u8]> {
        match &self.signer {
            Signer::Secret(secret) => Some(secret),
            Signer::EdDsa(_) | Signer::Es256(_) => None,
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.signer {
            Signer::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::Es256(pair) => {
                pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
            }
            Signer::Secret(secret) => mac(hmac::HMAC_SHA256, secret, message),
        }
    }
}

pub(super) fn mac(algorithm: hmac::Algorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
}

/// What is in the armour.
fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).unwrap()
}
