use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::SigningAlgorithm;
use crate::domain::Client;
use crate::domain::session::SessionLifetimes;
use crate::keys::{JwtKey, Keys};
use crate::random::Random;

const START: Timestamp = Timestamp::from_micros(1_733_479_200_123_456);
const START_SECOND: u64 = 1_733_479_200;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const LIFETIMES: SessionLifetimes = SessionLifetimes {
    refresh: DAY,
    session: Some(Duration::from_secs(30 * 86_400)),
    reuse_grace: Duration::from_secs(30),
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
    fn access() -> Self {
        Self::access_for(None)
    }

    fn access_for(audience: Option<&str>) -> Self {
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

    fn with_header(&self, name: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[name] = value;
        signed(self.key(), &header.to_string(), &self.payload.to_string())
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
            "jti": hex(refresh_jti(&session())),
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
    assert_eq!(hex(refresh_jti(&session())), "8c1da1aadeca30a942308a6fcea6f8fc");
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
fn a_token_expires_to_the_second() {
    let tokens = tokens_of(&keys(SigningAlgorithm::EdDsa));
    let access = tokens.access(&session(), START, JTI);
    let last = Timestamp::from_micros((START_SECOND + 1_800) * 1_000_000 - 1);
    assert!(tokens.check_access(access.expose(), last, Expiry::Enforced).is_ok());
    let expired = tokens.check_access(access.expose(), seconds_after(1_800), Expiry::Enforced);
    assert_eq!(expired, Err(TokenError::Invalid));

    let refresh = tokens.refresh(&session());
    let check = |now, expiry| tokens.check_refresh(refresh.expose(), now, expiry);
    assert!(check(seconds_after(86_399), Expiry::Enforced).is_ok());
    assert_eq!(check(seconds_after(86_400), Expiry::Enforced), Err(TokenError::Invalid));
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
        let (wrong, invalid) = (Some(TokenError::WrongType), Some(TokenError::Invalid));
        assert_eq!(as_access(refresh.expose(), START), wrong);
        assert_eq!(as_refresh(access.expose(), START, Expiry::Enforced), wrong);
        let late = START.saturating_add(2 * DAY);
        assert_eq!(as_access(refresh.expose(), late), invalid);
        assert_eq!(as_refresh(access.expose(), late, Expiry::Enforced), invalid);
        assert_eq!(as_refresh(access.expose(), late, Expiry::Ignored), wrong);
        assert_eq!(as_access_with(refresh.expose(), late, Expiry::Ignored), wrong);
        assert_eq!(as_access(access.expose(), late), invalid);
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
fn a_token_of_other_keys_or_another_issuer_is_refused() {
    let forger = Forger::access();
    let stranger = Keys::ephemeral(SigningAlgorithm::EdDsa, &Random::seeded(2)).unwrap();
    let token = tokens_of(&stranger).access(&session(), START, JTI);
    assert_eq!(forger.check(token.expose()), Err(TokenError::Invalid));
    // The same under our key's name.
    let (header, payload) = (forger.header.to_string(), forger.payload.to_string());
    let token = signed(stranger.access().signs(START), &header, &payload);
    assert_eq!(forger.check(&token), Err(TokenError::Invalid));
    let token = forger.with_claim("iss", json!("https://elsewhere.example"));
    assert_eq!(forger.check(&token), Err(TokenError::Invalid));
}

#[test]
fn where_an_audience_is_configured_tokens_name_it_and_no_others_are_taken() {
    let forger = Forger::access_for(Some("https://shop.example"));
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
    // Whoever stops naming one goes on taking the tokens that still do.
    assert!(tokens_of(&forger.keys).check_access(token.expose(), START, Expiry::Enforced).is_ok());

    let refresh = forger.tokens.refresh(&session());
    assert_eq!(refresh.expose(), tokens_of(&forger.keys).refresh(&session()).expose());
}

#[test]
fn what_another_library_would_write_is_read() {
    let forger = Forger::access();
    let reordered = format!("{{ \"kid\": {}, \"alg\": \"EdDSA\" }}", forger.header["kid"]);
    let token = signed(forger.key(), &reordered, &forger.payload.to_string());
    assert!(forger.check(&token).is_ok(), "typ may be missing");
    assert!(forger.check(&forger.with_claim("aud", json!(["app"]))).is_ok());
    assert!(forger.check(&forger.with_claim("nbf", json!(START_SECOND))).is_ok());
}

#[test]
fn a_header_that_is_not_ours_is_refused() {
    let forger = Forger::access();
    assert!(forger.check(&forger.with_header("typ", json!("JWT"))).is_ok());
    let kid = forger.header["kid"].clone();
    let refresh_kid = forger.keys.refresh().signs().id().to_string();
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("None")),
        ("alg", json!("eddsa")),
        ("alg", json!("HS256")),
        ("alg", json!("ES256")),
        ("alg", json!("RS256")),
        ("alg", json!(null)),
        ("alg", json!(["EdDSA"])),
        ("typ", json!("JOSE")),
        ("typ", json!(1)),
        ("kid", json!("")),
        ("kid", json!(null)),
        ("kid", json!(refresh_kid)),
        ("kid", json!("access-eddsa-0000000000-00000000")),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!([kid])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(null)),
        ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"})),
        ("jku", json!("https://attacker.example/jwks.json")),
        ("x5u", json!("https://attacker.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AA")),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
    ] {
        let token = forger.with_header(name, value.clone());
        assert_eq!(forger.check(&token), Err(TokenError::Invalid), "{name}: {value}");
    }
}

#[test]
fn a_header_that_could_be_read_two_ways_is_refused() {
    let forger = Forger::access();
    let kid = &forger.header["kid"];
    let good = format!(r#"{{"typ":"JWT","alg":"EdDSA","kid":{kid}}}"#);
    let payload = forger.payload.to_string();
    assert!(forger.check(&signed(forger.key(), &good, &payload)).is_ok());
    for header in [
        String::new(),
        "{}".to_owned(),
        "null".to_owned(),
        r#"{"typ":"JWT","alg":"EdDSA"}"#.to_owned(),
        format!(r#"{{"typ":"JWT","kid":{kid}}}"#),
        format!(r#"{{"typ":"JWT","alg":"none","alg":"EdDSA","kid":{kid}}}"#),
        format!(r#"{{"typ":"JWT","alg":"EdDSA","alg":"EdDSA","kid":{kid}}}"#),
        format!(r#"{{"typ":"JWT","alg":"EdDSA","kid":"other","kid":{kid}}}"#),
        format!(r#"{{"typ":"JWT","alg":"EdDSA","kid":{kid},"\u006bid":{kid}}}"#),
        format!(r#"["JWT","EdDSA",{kid}]"#),
        format!("{good} {{}}"),
        format!("{good}\0"),
        format!("\u{feff}{good}"),
        good.replace(':', "=>"),
    ] {
        let token = signed(forger.key(), &header, &payload);
        assert_eq!(forger.check(&token), Err(TokenError::Invalid), "{header}");
    }
}

#[test]
fn claims_that_are_missing_or_of_another_kind_are_refused() {
    let forger = Forger::access();
    for name in ["token_type", "exp", "iat", "jti", "user_id", "iss", "sub", "sid"] {
        let mut payload = forger.payload.clone();
        payload.as_object_mut().unwrap().remove(name);
        let token = forger.with_payload(&payload.to_string());
        assert_eq!(forger.check(&token), Err(TokenError::Invalid), "without {name}");
        assert_eq!(
            forger.check(&forger.with_claim(name, json!(null))),
            Err(TokenError::Invalid),
            "{name}: null"
        );
    }
    let float = START_SECOND as f64 + 1_800.0;
    for (name, value) in [
        ("exp", json!(float)),
        ("exp", json!(-1)),
        ("exp", json!("9999999999")),
        ("exp", json!(253_402_300_800_u64)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(0)),
        ("exp", json!(START_SECOND)),
        ("exp", json!([START_SECOND + 60])),
        ("iat", json!(START_SECOND + 61)),
        ("iat", json!(START_SECOND as f64)),
        ("iat", json!(-1)),
        ("nbf", json!(START_SECOND + 1)),
        ("nbf", json!(-1)),
        ("nbf", json!(1.5)),
        ("nbf", json!("soon")),
        ("user_id", json!("42")),
        ("user_id", json!(42.0)),
        ("user_id", json!(-42)),
        ("user_id", json!(43)),
        ("sub", json!(42)),
        ("sub", json!("43")),
        ("sub", json!("042")),
        ("sid", json!("")),
        ("sid", json!(session().id.to_string().to_uppercase())),
        ("token_type", json!("refresh")),
        ("token_type", json!("Access")),
    ] {
        let token = forger.with_claim(name, value.clone());
        assert_eq!(forger.check(&token), Err(TokenError::Invalid), "{name}: {value}");
    }
}

#[test]
fn a_refresh_token_with_other_claims_is_refused() {
    let keys = keys(SigningAlgorithm::EdDsa);
    let tokens = tokens_of(&keys);
    let (header, good) = decoded(tokens.refresh(&session()).expose());
    let check = |payload: &Value| {
        let token = signed(keys.refresh().signs(), &header.to_string(), &payload.to_string());
        tokens.check_refresh(&token, START, Expiry::Enforced)
    };
    assert!(check(&good).is_ok());
    for (name, value) in [
        ("token_type", json!("access")),
        ("token_type", json!(null)),
        ("gen", json!(null)),
        ("gen", json!(-1)),
        ("gen", json!(0.0)),
        ("gen", json!("0")),
        ("user_id", json!("42")),
        ("sid", json!(null)),
        ("jti", json!(null)),
        ("exp", json!(START_SECOND)),
        ("iat", json!(START_SECOND + 61)),
        ("nbf", json!(START_SECOND + 1)),
    ] {
        let mut payload = good.clone();
        payload[name] = value.clone();
        assert_eq!(check(&payload), Err(TokenError::Invalid), "{name}: {value}");
    }
}

#[test]
fn a_payload_that_could_be_read_two_ways_is_refused() {
    let forger = Forger::access();
    let good = forger.payload.to_string();
    assert!(forger.check(&forger.with_payload(&good)).is_ok());
    let exp = START_SECOND + 1_800;
    for payload in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        good.replacen('{', &format!("{{\"exp\":{exp},"), 1),
        good.replacen('{', "{\"user_id\":1,", 1),
        good.replacen('{', "{\"us\\u0065r_id\":1,", 1),
        good.replacen('{', "{\"nbf\":1,\"nbf\":2,", 1),
        good.replace(&exp.to_string(), "1e300"),
        good.replace(&exp.to_string(), "17334810000000000000000000"),
        good.replace(&exp.to_string(), &format!("{exp}.0")),
        good.replace(&exp.to_string(), &format!("{exp}e0")),
        good.replace(&exp.to_string(), &format!("0{exp}")),
        good.replace(&exp.to_string(), "-0"),
        good.replace(&exp.to_string(), "NaN"),
        format!("{good}{good}"),
        format!("{good},"),
        format!("{good}\0"),
        format!(" {good}"),
    ] {
        let token = forger.with_payload(&payload);
        assert_eq!(forger.check(&token), Err(TokenError::Invalid), "{payload}");
    }
    let mut bytes = good.into_bytes();
    bytes[2] = 0xff;
    let header = URL_SAFE_NO_PAD.encode(forger.header.to_string());
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(bytes));
    let token = format!("{message}.{}", forger.key().sign(message.as_bytes()));
    assert_eq!(forger.check(&token), Err(TokenError::Invalid), "not UTF-8");
}

#[test]
fn a_token_in_another_form_is_refused() {
    let forger = Forger::access();
    let token = forger.tokens.access(&session(), START, JTI).expose().clone();
    assert!(forger.check(&token).is_ok());
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for wrong in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        header.to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{header}.{payload}.{payload}.{signature}"),
        format!("{token}="),
        format!("{token}=="),
        format!("{header}=.{payload}.{signature}"),
        format!("{token}\n"),
        format!(" {token}"),
        format!("Bearer {token}"),
        format!("{header}.{payload}\n.{signature}"),
        format!("{header}.{payload}.{}", "A".repeat(86)),
        format!("{header}.{payload}.{}", &signature[..signature.len() - 1]),
    ] {
        assert_eq!(forger.check(&wrong), Err(TokenError::Invalid), "{wrong}");
    }
}

/// The last character of 64 bytes in base64 has four bits that mean nothing: with any of them set,
/// a lenient decoder would read the same signature from another text.
#[test]
fn trailing_bits_are_refused() {
    let forger = Forger::access();
    let token = forger.tokens.access(&session(), START, JTI).expose().clone();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let accepted = alphabet
        .chars()
        .filter(|last| forger.check(&format!("{}{last}", &token[..token.len() - 1])).is_ok());
    assert_eq!(accepted.collect::<String>(), token[token.len() - 1..]);
}

#[test]
fn a_token_that_is_too_long_is_not_looked_at() {
    let forger = Forger::access();
    let padded = |length: usize| forger.with_claim("padding", json!("x".repeat(length)));
    assert!(padded(2_000).len() <= wire::MAX_TOKEN);
    assert!(forger.check(&padded(2_000)).is_ok());
    assert!(padded(3_000).len() > wire::MAX_TOKEN);
    assert_eq!(forger.check(&padded(3_000)), Err(TokenError::Invalid));
}

#[test]
fn the_public_key_is_no_secret_to_sign_with() {
    for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let keys = Keys::load_or_create(&path, algorithm, START, &Random::seeded(1)).unwrap();
        let tokens = tokens_of(&keys);
        let (mut header, payload) = decoded(tokens.access(&session(), START, JTI).expose());
        let kid = keys.access().signs(START).id();
        let public = std::fs::read(path.join(format!("{kid}.pub.pem"))).unwrap();
        let alg = header["alg"].clone();
        for forged_alg in [json!("HS256"), alg] {
            header["alg"] = forged_alg;
            let message = format!(
                "{}.{}",
                URL_SAFE_NO_PAD.encode(header.to_string()),
                URL_SAFE_NO_PAD.encode(payload.to_string())
            );
            let key = EncodingKey::from_secret(&public);
            let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
            let token = format!("{message}.{signature}");
            assert_eq!(
                tokens.check_access(&token, START, Expiry::Enforced),
                Err(TokenError::Invalid)
            );
        }
    }
}

/// RFC 8032, section 5.1.7: with the group's order added, the second half of a signature is the
/// same number, and must be refused.
#[test]
fn another_spelling_of_an_eddsa_signature_is_refused() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let forger = Forger::access();
    let token = forger.tokens.access(&session(), START, JTI).expose().clone();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0_u16;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        carry += u16::from(*byte) + u16::from(order);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    assert_eq!(carry, 0);
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert_eq!(forger.check(&token), Err(TokenError::Invalid));
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
             \"https://accounts.example\", audience: None }}, keys: {keys:?} }}"
        )
    );
    assert_eq!(format!("{:?}", tokens.refresh(&session())), "[secret]");
}

mod rotation;

proptest! {
    #[test]
    fn no_text_passes_or_panics(text in "\\PC{0,200}", parts in "[A-Za-z0-9_.-]{0,200}") {
        let tokens = tokens_of(&keys(SigningAlgorithm::Hs256));
        for text in [text, parts] {
            prop_assert_eq!(tokens.check_access(&text, START, Expiry::Enforced), Err(TokenError::Invalid));
            let refresh = tokens.check_refresh(&text, START, Expiry::Ignored);
            prop_assert_eq!(refresh, Err(TokenError::Invalid));
        }
    }

    #[test]
    fn no_authentic_payload_panics(header in "\\{?\\PC{0,60}", payload in "\\{?\\PC{0,200}") {
        let keys = keys(SigningAlgorithm::Hs256);
        let tokens = tokens_of(&keys);
        let token = signed(keys.access().signs(START), &header, &payload);
        prop_assert_eq!(tokens.check_access(&token, START, Expiry::Enforced), Err(TokenError::Invalid));
        let (good_header, _) = decoded(tokens.access(&session(), START, JTI).expose());
        let token = signed(keys.access().signs(START), &good_header.to_string(), &payload);
        prop_assert_eq!(tokens.check_access(&token, START, Expiry::Enforced), Err(TokenError::Invalid));
    }

    #[test]
    fn every_changed_character_is_refused(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_.-]") {
        for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Hs256] {
            let tokens = tokens_of(&keys(algorithm));
            let token = tokens.access(&session(), START, JTI).expose().clone();
            let at = at.index(token.len());
            prop_assume!(token[at..=at] != with);
            let mut forged = token;
            forged.replace_range(at..=at, &with);
            prop_assert_eq!(tokens.check_access(&forged, START, Expiry::Enforced), Err(TokenError::Invalid));
        }
    }
}

#[test]
fn a_token_that_was_verified_before_is_judged_by_time_again() {
    let forger = Forger::access();
    let token = forger.with_claim("nbf", json!(START_SECOND));
    let at = |seconds| {
        forger.tokens.check_access(&token, seconds, Expiry::Enforced).map(|claims| claims.user)
    };
    for _ in 0..2 {
        assert_eq!(at(START), Ok(UserId(42)));
        assert_eq!(at(seconds_after(1_799)), Ok(UserId(42)));
        assert_eq!(at(seconds_after(1_800)), Err(TokenError::Invalid), "expired");
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
