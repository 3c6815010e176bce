//! Tokens and published keys while keys change.

use std::path::PathBuf;

use jsonwebtoken::jwk::{self, AlgorithmParameters, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{DecodingKey, Validation};
use tempfile::TempDir;

use super::*;
use crate::keys::{KeyWatch, Schedule, replace_compromised, rotate};

const HOUR: Duration = Duration::from_secs(3_600);
const TYP: &str = "revoked-sessions+jwt";

/// A server with its key directory, and the commands beside it.
struct Running {
    _root: TempDir,
    path: PathBuf,
    schedule: Schedule,
    watch: KeyWatch,
    tokens: Tokens,
}

impl Running {
    fn new(algorithm: SigningAlgorithm, activation: Duration) -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("keys");
        let schedule =
            Schedule { algorithm, activation, access_lifetime: 30 * MINUTE, is_shared: false };
        let keys = Keys::load_or_create(&path, algorithm, START, &Random::system()).unwrap();
        let keys = LiveKeys::new(keys);
        let issuer = "https://accounts.example".to_owned();
        let settings = TokenSettings {
            access_lifetime: schedule.access_lifetime,
            issuer,
            audience: None,
            simplejwt: SimpleJwt::V5_3,
        };
        let watch = KeyWatch::new(path.clone(), schedule, keys.clone());
        Self { _root: root, path, schedule, watch, tokens: Tokens::new(keys, settings) }
    }

    fn rotate(&self, now: Timestamp) {
        rotate(&self.path, self.schedule, now, &Random::system()).unwrap();
    }

    fn access(&self, now: Timestamp) -> String {
        // Of a session that lasts as long as this test likes.
        let session = Session { token_expires_at: now.saturating_add(DAY), ..session() };
        self.tokens.access(&session, now, JTI).expose().clone()
    }

    /// The key set as a verifier reads it.
    fn published(&self, now: Timestamp) -> jwk::JwkSet {
        let json = serde_json::to_string(&self.tokens.jwk_set(now).unwrap()).unwrap();
        serde_json::from_str(&json).unwrap()
    }
}

/// Whether a service that knows `set` takes a token, whatever the time.
fn is_taken(set: &jwk::JwkSet, token: &str) -> bool {
    let header = jsonwebtoken::decode_header(token).unwrap();
    let Some(key) = set.find(header.kid.as_ref().unwrap()) else { return false };
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).is_ok()
}

#[test]
fn the_published_keys_check_access_tokens() {
    for (algorithm, expected) in [
        (SigningAlgorithm::EdDsa, KeyAlgorithm::EdDSA),
        (SigningAlgorithm::Es256, KeyAlgorithm::ES256),
    ] {
        let mut server = Running::new(algorithm, HOUR);
        server.rotate(START);
        server.watch.look(START, true);
        let token = server.access(START);
        let set = server.published(START);
        assert_eq!(set.keys.len(), 2, "one that does not sign yet among them");
        assert!(is_taken(&set, &token));
        assert!(!is_taken(&Running::new(algorithm, HOUR).published(START), &token));
        for key in &set.keys {
            assert_eq!(key.common.public_key_use, Some(PublicKeyUse::Signature));
            assert_eq!(key.common.key_algorithm, Some(expected));
            let is_pair = matches!(
                key.algorithm,
                AlgorithmParameters::OctetKeyPair(_) | AlgorithmParameters::EllipticCurve(_)
            );
            assert!(is_pair);
        }
    }
}

#[test]
fn a_secret_is_never_published() {
    let server = Running::new(SigningAlgorithm::Hs256, HOUR);
    assert_eq!(server.tokens.jwk_set(START), None);
    let feed = server.tokens.sign_with_access_key(TYP, &json!({}), START).unwrap();
    assert_eq!(feed, None);
    // One of another algorithm that is left over is not among those that are.
    let hs256 =
        Keys::load_or_create(&server.path, SigningAlgorithm::EdDsa, START, &Random::system());
    let tokens = tokens_of(&hs256.unwrap());
    let json = serde_json::to_string(&tokens.jwk_set(START).unwrap()).unwrap();
    assert_eq!(tokens.jwk_set(START).unwrap().len(), 1);
    assert!(!json.contains("hs256") && !json.contains("HS256"), "{json}");
}

/// Somebody keeps the set for as long as they may, from the worst moment on.
#[test]
fn no_verifier_with_a_kept_set_meets_a_key_it_does_not_know() {
    for activation in [10 * MINUTE, HOUR, 5 * HOUR] {
        let mut server = Running::new(SigningAlgorithm::EdDsa, activation);
        let max_age = server.schedule.max_age();
        let (mut kept, mut kept_at) = (server.published(START), START);
        let mut rotations = 0;
        let mut now = START;
        // A token lives for half an hour: each of the last half hour must pass, to the end.
        let mut alive: Vec<(Timestamp, String)> = Vec::new();
        let mut signers = std::collections::BTreeSet::new();
        let end = START.saturating_add(5 * activation);
        while now < end {
            server.watch.look(now, true);
            // The set that is kept was fetched just before each rotation.
            if now.saturating_since(kept_at) > max_age {
                (kept, kept_at) = (server.published(now), now);
            }
            if now >= START.saturating_add(activation * rotations) && rotations < 3 {
                (kept, kept_at) = (server.published(now), now);
                server.rotate(now);
                rotations += 1;
            }
            let token = server.access(now);
            signers.insert(jsonwebtoken::decode_header(&token).unwrap().kid.unwrap());
            alive.push((now, token));
            alive.retain(|(issued, _)| now.saturating_since(*issued) < 30 * MINUTE);
            for (issued, token) in &alive {
                assert!(is_taken(&kept, token), "issued {issued}, now {now}");
                let checked = server.tokens.check_access(token, now, Expiry::Enforced);
                assert!(checked.is_ok(), "issued {issued}, now {now}: {checked:?}");
            }
            now = now.saturating_add(activation / 20);
        }
        assert_eq!(signers.len(), 4);
        server.watch.look(end, true);
        let left = server.published(end.saturating_add(HOUR));
        assert_eq!(left.keys.len(), 1, "the old ones are gone");
    }
}

#[test]
fn a_key_is_published_to_the_last_moment_of_its_last_token() {
    let mut server = Running::new(SigningAlgorithm::EdDsa, HOUR);
    server.rotate(START);
    server.watch.look(START, true);
    let switch = seconds_after(3_601);
    let last = server.access(Timestamp::from_micros(switch.as_micros() - 1));
    let next = server.access(switch);
    let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid;
    assert_ne!(kid(&last), kid(&next));
    let dies = switch.saturating_add(30 * MINUTE);
    let before = Timestamp::from_micros(dies.as_micros() - 1);
    assert!(is_taken(&server.published(before), &last));
    // Its `exp` was cut to a whole second.
    let expires = Timestamp::from_unix_seconds(dies.unix_seconds() - 1);
    assert_eq!(
        server.tokens.check_access(&last, expires, Expiry::Enforced),
        Err(TokenError::Expired)
    );
    // Not published any more, whether its files could be removed or not.
    assert!(!is_taken(&server.published(dies), &last));
    assert!(is_taken(&server.published(dies), &next));
}

#[test]
fn compromised_keys_end_every_session_at_the_next_look() {
    let mut server = Running::new(SigningAlgorithm::EdDsa, HOUR);
    let (access, refresh) = (server.access(START), server.tokens.refresh(&session()));
    replace_compromised(&server.path, server.schedule, START, &Random::system()).unwrap();
    assert!(server.tokens.check_access(&access, START, Expiry::Enforced).is_ok());
    server.watch.look(START, true);
    let invalid = Err(TokenError::Invalid);
    assert_eq!(server.tokens.check_access(&access, START, Expiry::Enforced), invalid);
    for expiry in [Expiry::Enforced, Expiry::Ignored] {
        let checked = server.tokens.check_refresh(refresh.expose(), START, expiry);
        assert_eq!(checked.err(), Some(TokenError::Invalid));
    }
    let set = server.published(START);
    assert_eq!(set.keys.len(), 1);
    assert!(!is_taken(&set, &access));
    assert!(is_taken(&set, &server.access(START)));
    assert!(server.tokens.check_access(&server.access(START), START, Expiry::Enforced).is_ok());
    assert_ne!(server.tokens.refresh(&session()).expose(), refresh.expose());
}

#[test]
fn a_statement_of_another_type_is_signed_and_never_passes_for_a_token() {
    for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256] {
        let server = Running::new(algorithm, HOUR);
        let claims = json!({"iat": START_SECOND, "sessions": ["AA"], "complete": true});
        let sign = |claims: &Value| {
            server.tokens.sign_with_access_key(TYP, claims, START).unwrap().unwrap()
        };
        let statement = sign(&claims);
        let (header, payload) = decoded(&statement);
        assert_eq!(header["typ"], TYP);
        assert_eq!(header.as_object().unwrap().len(), 3);
        assert_eq!(payload, claims);
        assert!(is_taken(&server.published(START), &statement));
        // Not even with the claims of an access token.
        let (_, claims) = decoded(&server.access(START));
        assert_eq!(
            server.tokens.check_access(&sign(&claims), START, Expiry::Enforced),
            Err(TokenError::Invalid)
        );
        let unwritable = std::collections::BTreeMap::from([([1], 2)]);
        assert!(server.tokens.sign_with_access_key(TYP, &unwritable, START).is_err());
    }
}
