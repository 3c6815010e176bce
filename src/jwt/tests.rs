//! What tokens say, and when they are good. Forgeries stand in `tests/it/jwt_attacks`, and
//! `fuzz/src/properties/token.rs` holds the checks against a second reader.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::config::SigningAlgorithm;
use crate::domain::Client;
use crate::domain::session::SessionLifetimes;
use crate::keys::{AccessSigning, JwtKey, Keys};
use crate::random::Random;

const START: Timestamp = Timestamp::from_micros(1_733_479_200_123_456);
const START_SECOND: u64 = 1_733_479_200;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const LIFETIMES: SessionLifetimes = SessionLifetimes {
    refresh: DAY,
    session: Some(Duration::from_secs(30 * 86_400)),
    reuse_grace: Duration::from_secs(30),
    keep_first: true,
};
const JTI: [u8; 16] = [0xab; 16];
const ALGORITHMS: [SigningAlgorithm; 3] =
    [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256, SigningAlgorithm::Hs256];

fn keys(algorithm: SigningAlgorithm) -> Keys {
    Keys::ephemeral(algorithm, &Random::seeded(1)).unwrap()
}

fn tokens_of(keys: &Keys) -> Tokens {
    tokens_for(None, keys)
}

fn tokens_for(audience: Option<&str>, keys: &Keys) -> Tokens {
    let settings = TokenSettings {
        access_lifetime: 30 * MINUTE,
        issuer: "https://accounts.example".to_owned(),
        audience: audience.map(str::to_owned),
        simplejwt: SimpleJwt::V5_3,
    };
    Tokens::new(keys.clone().into(), settings)
}

fn session() -> Session {
    let client = Client::new("192.0.2.1".parse().unwrap(), "curl/8");
    Session::open(SessionId::new(START, [7; 10]), UserId(42), client, START, LIFETIMES)
}

fn seconds_after(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(START_SECOND + seconds)
}

/// The JSON of a token's header and payload.
fn decoded(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (json(), json())
}

/// A token with these two texts, signed by `key` whatever they say.
fn signed(key: &JwtKey, header: &str, payload: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    format!("{message}.{}", key.sign(message.as_bytes()))
}

/// Our own tokens, to be taken apart and put together otherwise.
struct Forger {
    keys: Keys,
    tokens: Tokens,
    header: Value,
    payload: Value,
}

impl Forger {
    fn access(audience: Option<&str>) -> Self {
        let keys = keys(SigningAlgorithm::EdDsa);
        let tokens = tokens_for(audience, &keys);
        let (header, payload) = decoded(tokens.access(&session(), START, JTI).expose());
        Self { keys, tokens, header, payload }
    }

    fn key(&self) -> &JwtKey {
        self.keys.access().signs(START)
    }

    fn check(&self, token: &str) -> Result<AccessClaims, TokenError> {
        self.tokens.check_access(token, START, Expiry::Enforced)
    }

    fn with_claim(&self, name: &str, value: Value) -> String {
        let mut payload = self.payload.clone();
        payload[name] = value;
        signed(self.key(), &self.header.to_string(), &payload.to_string())
    }

    fn with_payload(&self, payload: &str) -> String {
        signed(self.key(), &self.header.to_string(), payload)
    }
}

#[test]
fn tokens_of_every_algorithm_say_what_was_put_in() {
    for algorithm in ALGORITHMS {
        let tokens = tokens_of(&keys(algorithm));
        let access = tokens.access(&session(), START, JTI);
        assert_eq!(
            tokens.check_access(access.expose(), START, Expiry::Enforced),
            Ok(AccessClaims {
                user: UserId(42),
                session: session().id,
                issued_at: seconds_after(0),
                expires_at: seconds_after(1_800),
            })
        );
        let refresh = tokens.refresh(&session());
        assert_eq!(
            tokens.check_refresh(refresh.expose(), START, Expiry::Enforced),
            Ok(RefreshClaims {
                user: UserId(42),
                session: session().id,
                generation: 0,
                issued_at: seconds_after(0),
                expires_at: seconds_after(86_400),
            })
        );
    }
}

#[test]
fn an_access_token_holds_the_claims_of_the_contract_and_no_others() {
    for (algorithm, alg) in ALGORITHMS.into_iter().zip(["EdDSA", "ES256", "HS256"]) {
        let keys = keys(algorithm);
        let token = tokens_of(&keys).access(&session(), START, JTI);
        let (header, payload) = decoded(token.expose());
        let kid = keys.access().signs(START).id().to_string();
        assert!(kid.starts_with(&format!("access-{}-", alg.to_lowercase())), "{kid}");
        assert_eq!(header, json!({"typ": "JWT", "alg": alg, "kid": kid}));
        assert_eq!(
            payload,
            json!({
                "token_type": "access",
                "exp": START_SECOND + 1_800,
                "iat": START_SECOND,
                "jti": "ab".repeat(16),
                "user_id": 42,
                "iss": "https://accounts.example",
                "sub": "42",
                "sid": session().id.to_string(),
            })
        );
    }
}

#[test]
fn a_refresh_token_holds_the_claims_of_the_contract_and_no_others() {
    let keys = keys(SigningAlgorithm::EdDsa);
    let token = tokens_of(&keys).refresh(&session());
    let (header, payload) = decoded(token.expose());
    let kid = keys.refresh().signs().id().to_string();
    assert_eq!(header, json!({"typ": "JWT", "alg": "HS256", "kid": kid}));
    assert_eq!(
        payload,
        json!({
            "token_type": "refresh",
            "exp": START_SECOND + 86_400,
            "iat": START_SECOND,
            "jti": hex::text::<String>(&refresh_jti(&session())),
            "user_id": 42,
            "sid": session().id.to_string(),
            "gen": 0,
        })
    );
}

#[test]
fn a_refresh_token_is_made_again_byte_for_byte_and_each_generation_has_its_own() {
    let keys = keys(SigningAlgorithm::EdDsa);
    let first = tokens_of(&keys).refresh(&session());
    assert_eq!(first.expose(), tokens_of(&keys).refresh(&session()).expose());
    // Within the second of its issue, so that nothing but the generation differs.
    let next = Session { generation: 1, ..session() };
    let next_token = tokens_of(&keys).refresh(&next);
    assert_ne!(first.expose(), next_token.expose());
    assert_ne!(refresh_jti(&session()), refresh_jti(&next));
    let other = Session { id: SessionId::new(START, [8; 10]), ..session() };
    assert_ne!(refresh_jti(&session()), refresh_jti(&other));
}

/// Tokens out there must be made again by later versions, too.
#[test]
fn the_name_of_a_refresh_token_stays_what_it_is() {
    assert_eq!(hex::text::<String>(&refresh_jti(&session())), "8c1da1aadeca30a942308a6fcea6f8fc");
}

#[test]
fn an_access_token_never_outlives_its_session() {
    let tokens = tokens_of(&keys(SigningAlgorithm::EdDsa));
    let end = START.saturating_add(10 * MINUTE);
    let ending = Session { ends_at: Some(end), ..session() };
    let token = tokens.access(&ending, START, JTI);
    let claims = tokens.check_access(token.expose(), START, Expiry::Enforced).unwrap();
    assert_eq!(claims.expires_at, seconds_after(600));
    let stale = Session { token_expires_at: START.saturating_add(MINUTE), ..session() };
    let token = tokens.access(&stale, START, JTI);
    let claims = tokens.check_access(token.expose(), START, Expiry::Enforced).unwrap();
    assert_eq!(claims.expires_at, seconds_after(60));
}

#[test]
fn user_id_has_the_form_of_the_configured_release_and_either_is_read() {
    let keys = keys(SigningAlgorithm::Es256);
    let numbers = tokens_of(&keys);
    let settings = TokenSettings { simplejwt: SimpleJwt::V5_5, ..numbers.settings.clone() };
    let strings = Tokens::new(keys.into(), settings);
    for (tokens, expected) in [(&numbers, json!(42)), (&strings, json!("42"))] {
        let access = tokens.access(&session(), START, JTI);
        let refresh = tokens.refresh(&session());
        for token in [&access, &refresh] {
            let (_, payload) = decoded(token.expose());
            assert_eq!(payload["user_id"], expected);
        }
        for reader in [&numbers, &strings] {
            let claims = reader.check_access(access.expose(), START, Expiry::Enforced).unwrap();
            assert_eq!(claims.user, UserId(42));
            let claims = reader.check_refresh(refresh.expose(), START, Expiry::Enforced).unwrap();
            assert_eq!(claims.user, UserId(42));
        }
    }
}

#[test]
fn a_shared_secret_signs_as_its_text_and_verifies_what_others_sign_with_it() {
    let secret = "0123456789abcdef0123456789abcdef-django";
    let signing = AccessSigning::SharedSecret(Secret::new(secret.to_owned()));
    let keys = Keys::ephemeral(signing, &Random::seeded(1)).unwrap();
    let tokens = tokens_of(&keys);
    let token = tokens.access(&session(), START, JTI);
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.validate_exp = false;
    let key = jsonwebtoken::DecodingKey::from_secret(secret.as_bytes());
    let read = jsonwebtoken::decode::<serde_json::Value>(token.expose(), &key, &validation);
    assert_eq!(read.unwrap().claims["user_id"], 42);
    assert!(tokens.check_access(token.expose(), START, Expiry::Enforced).is_ok());
    assert!(tokens.jwk_set(START).is_none());
    // Another secret has the same name, and is another key.
    let other = AccessSigning::SharedSecret(Secret::new(secret.to_uppercase()));
    let other = tokens_of(&Keys::ephemeral(other, &Random::seeded(1)).unwrap());
    let refused = other.check_access(token.expose(), START, Expiry::Enforced);
    assert_eq!(refused, Err(TokenError::Invalid));
}

#[test]
fn a_token_expires_to_the_second() {
    let tokens = tokens_of(&keys(SigningAlgorithm::EdDsa));
    let access = tokens.access(&session(), START, JTI);
    let last = Timestamp::from_micros((START_SECOND + 1_800) * 1_000_000 - 1);
    assert!(tokens.check_access(access.expose(), last, Expiry::Enforced).is_ok());
    let expired = tokens.check_access(access.expose(), seconds_after(1_800), Expiry::Enforced);
    assert_eq!(expired, Err(TokenError::Expired));

    let refresh = tokens.refresh(&session());
    let check = |now, expiry| tokens.check_refresh(refresh.expose(), now, expiry);
    assert!(check(seconds_after(86_399), Expiry::Enforced).is_ok());
    assert_eq!(check(seconds_after(86_400), Expiry::Enforced), Err(TokenError::Expired));
    assert!(check(seconds_after(86_400), Expiry::Ignored).is_ok());
    assert!(check(Timestamp::EPOCH, Expiry::Ignored).is_ok());
}

#[test]
fn a_token_from_more_than_a_minute_ahead_is_refused() {
    let tokens = tokens_of(&keys(SigningAlgorithm::EdDsa));
    let access = tokens.access(&session(), START, JTI);
    let check = |seconds| {
        let now = Timestamp::from_unix_seconds(START_SECOND - seconds);
        tokens.check_access(access.expose(), now, Expiry::Enforced).err()
    };
    assert_eq!(check(60), None);
    assert_eq!(check(61), Some(TokenError::Invalid));
}

#[test]
fn neither_kind_passes_for_the_other() {
    for algorithm in ALGORITHMS {
        let keys = keys(algorithm);
        let tokens = tokens_of(&keys);
        let access = tokens.access(&session(), START, JTI);
        let refresh = tokens.refresh(&session());
        let as_access_with =
            |token: &str, now, expiry| tokens.check_access(token, now, expiry).err();
        let as_access = |token: &str, now| as_access_with(token, now, Expiry::Enforced);
        let as_refresh = |token: &str, now, expiry| tokens.check_refresh(token, now, expiry).err();
        let [wrong, expired, invalid] =
            [TokenError::WrongType, TokenError::Expired, TokenError::Invalid].map(Some);
        assert_eq!(as_access(refresh.expose(), START), wrong);
        assert_eq!(as_refresh(access.expose(), START, Expiry::Enforced), wrong);
        let late = START.saturating_add(2 * DAY);
        assert_eq!(as_access(refresh.expose(), late), expired);
        assert_eq!(as_refresh(access.expose(), late, Expiry::Enforced), expired);
        assert_eq!(as_refresh(access.expose(), late, Expiry::Ignored), wrong);
        assert_eq!(as_access_with(refresh.expose(), late, Expiry::Ignored), wrong);
        assert_eq!(as_access(access.expose(), late), expired);
        assert_eq!(as_access_with(access.expose(), late, Expiry::Ignored), None);

        // The payload of one under the key of the other.
        let (access_header, access_payload) = decoded(access.expose());
        let (refresh_header, refresh_payload) = decoded(refresh.expose());
        let (header, payload) = (refresh_header.to_string(), access_payload.to_string());
        let forged = signed(keys.refresh().signs(), &header, &payload);
        assert_eq!(as_access(&forged, START), invalid);
        assert_eq!(as_refresh(&forged, START, Expiry::Ignored), invalid);
        let (header, payload) = (access_header.to_string(), refresh_payload.to_string());
        let forged = signed(keys.access().signs(START), &header, &payload);
        assert_eq!(as_access(&forged, START), invalid);
        assert_eq!(as_access_with(&forged, START, Expiry::Ignored), invalid);
        assert_eq!(as_refresh(&forged, START, Expiry::Ignored), invalid);

        // Everything of one, signed by the key of the other.
        let (header, payload) = (access_header.to_string(), access_payload.to_string());
        let forged = signed(keys.refresh().signs(), &header, &payload);
        assert_eq!(as_access(&forged, START), invalid);
    }
}

#[test]
fn where_an_audience_is_configured_tokens_name_it_and_no_others_are_taken() {
    let forger = Forger::access(Some("https://shop.example"));
    assert_eq!(forger.payload["aud"], "https://shop.example");
    let token = forger.tokens.access(&session(), START, JTI);
    assert!(forger.check(token.expose()).is_ok());
    for (aud, is_taken) in [
        (json!("https://shop.example"), true),
        (json!(["https://other.example", "https://shop.example"]), true),
        (json!("https://other.example"), false),
        (json!("https://shop.example/"), false),
        (json!("HTTPS://shop.example"), false),
        (json!(["https://other.example"]), false),
        (json!([]), false),
        (json!(""), false),
        (Value::Null, false),
        (json!({"https://shop.example": true}), false),
        (json!(["https://shop.example", 1]), false),
    ] {
        assert_eq!(forger.check(&forger.with_claim("aud", aud.clone())).is_ok(), is_taken, "{aud}");
    }
    let mut payload = forger.payload.clone();
    payload.as_object_mut().unwrap().remove("aud");
    assert_eq!(forger.check(&forger.with_payload(&payload.to_string())), Err(TokenError::Invalid));
    let twice = forger.payload.to_string().replacen('{', "{\"aud\":\"x\",", 1);
    assert_eq!(forger.check(&forger.with_payload(&twice)), Err(TokenError::Invalid));
    // A server that stops naming one still accepts the tokens that do.
    assert!(tokens_of(&forger.keys).check_access(token.expose(), START, Expiry::Enforced).is_ok());

    let refresh = forger.tokens.refresh(&session());
    assert_eq!(refresh.expose(), tokens_of(&forger.keys).refresh(&session()).expose());
}

/// Promise 6.
#[test]
fn debug_shows_names_only() {
    let keys = keys(SigningAlgorithm::Hs256);
    let tokens = tokens_of(&keys);
    let shown = format!("{tokens:?}");
    assert_eq!(
        shown,
        format!(
            "Tokens {{ settings: TokenSettings {{ access_lifetime: 1800s, issuer: \
             \"https://accounts.example\", audience: None, \
             simplejwt: V5_3 }}, keys: {keys:?} }}"
        )
    );
    assert_eq!(format!("{:?}", tokens.refresh(&session())), "[secret]");
}

mod rotation;

#[test]
fn a_token_that_was_verified_before_is_judged_by_time_again() {
    let forger = Forger::access(None);
    let token = forger.with_claim("nbf", json!(START_SECOND));
    let at = |seconds| {
        forger.tokens.check_access(&token, seconds, Expiry::Enforced).map(|claims| claims.user)
    };
    for _ in 0..2 {
        assert_eq!(at(START), Ok(UserId(42)));
        assert_eq!(at(seconds_after(1_799)), Ok(UserId(42)));
        assert_eq!(at(seconds_after(1_800)), Err(TokenError::Expired));
        let before = Timestamp::from_unix_seconds(START_SECOND - 1);
        assert_eq!(at(before), Err(TokenError::Invalid), "not valid yet");
    }
}

#[test]
fn a_token_that_was_verified_before_is_worth_nothing_once_its_key_is_gone() {
    let keys = keys(SigningAlgorithm::EdDsa);
    let (live, settings) = (LiveKeys::new(keys.clone()), tokens_of(&keys).settings);
    let tokens = Tokens::new(live.clone(), settings);
    let token = tokens.access(&session(), START, JTI);
    for _ in 0..2 {
        assert!(tokens.check_access(token.expose(), START, Expiry::Enforced).is_ok());
    }
    live.replace(Keys::ephemeral(SigningAlgorithm::EdDsa, &Random::seeded(2)).unwrap());
    let again = tokens.check_access(token.expose(), START, Expiry::Enforced);
    assert_eq!(again, Err(TokenError::Invalid));
}
