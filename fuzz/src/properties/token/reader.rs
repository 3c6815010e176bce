//! A reader of `HS256` tokens that shares nothing with the server's: RFC 7515 and RFC 7519, and
//! what the contract adds to them, taken literally.

use aws_lc_rs::hmac;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// The longest token that counts, in bytes.
const MAX_TOKEN: usize = 4096;
/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Access,
    Refresh,
}

impl Kind {
    pub fn other(self) -> Self {
        match self {
            Self::Access => Self::Refresh,
            Self::Refresh => Self::Access,
        }
    }
}

/// A secret key and its name.
pub struct Signer {
    pub kid: String,
    pub key: hmac::Key,
}

/// What a token says.
#[derive(Clone, Debug)]
pub struct Said {
    pub user: u64,
    pub sid: String,
    pub generation: u64,
    pub iat: u64,
    pub exp: u64,
    pub nbf: Option<u64>,
}

/// What `token` says, if it is one of this kind and signed by this key, at whatever time.
pub fn read(token: &str, signer: &Signer, kind: Kind, issuer: &str) -> Option<Said> {
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        return None;
    };
    let signed = &token[..header.len() + 1 + payload.len()];
    let mac = hmac::sign(&signer.key, signed.as_bytes());
    if token.len() > MAX_TOKEN || decoded(signature)? != mac.as_ref() {
        return None;
    }
    check_header(&object(header, &["typ", "alg", "kid"], true)?, signer)?;
    let claims = match kind {
        Kind::Access => {
            &["token_type", "exp", "iat", "nbf", "jti", "user_id", "sid", "iss", "sub"][..]
        }
        Kind::Refresh => &["token_type", "exp", "iat", "nbf", "jti", "user_id", "sid", "gen"],
    };
    let claims = object(payload, claims, false)?;
    let claim = |name: &str| member(&claims, name);
    let (user, sid) = (user_of(claim("user_id")?)?, claim("sid")?.as_str()?);
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_consistent = sid.len() == 32 && sid.bytes().all(is_digit) && claim("jti")?.is_string();
    let is_of_kind = match kind {
        Kind::Access => {
            claim("token_type")? == "access"
                && claim("iss")? == issuer
                && claim("sub")?.as_str()? == user.to_string()
        }
        Kind::Refresh => claim("token_type")? == "refresh",
    };
    let generation = match kind {
        Kind::Access => 0,
        Kind::Refresh => claim("gen")?.as_u64()?,
    };
    let date = |value: &Value| value.as_u64().filter(|second| *second <= LAST_SECOND);
    let nbf = match claim("nbf") {
        None | Some(Value::Null) => None,
        Some(value) => Some(date(value)?),
    };
    let (iat, exp) = (date(claim("iat")?)?, date(claim("exp")?)?);
    let said = Said { user, sid: sid.to_owned(), generation, iat, exp, nbf };
    (is_consistent && is_of_kind).then_some(said)
}

fn check_header(header: &[(String, Value)], signer: &Signer) -> Option<()> {
    let is_ours = member(header, "alg")? == "HS256" && *member(header, "kid")? == signer.kid;
    let is_jwt = match member(header, "typ") {
        None | Some(Value::Null) => true,
        Some(typ) => typ == "JWT",
    };
    (is_ours && is_jwt).then_some(())
}

fn member<'a>(object: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    object.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// The members of an object that have one of these names: none if one is there twice, or there are
/// others and `is_all`.
fn object(part: &str, names: &[&str], is_all: bool) -> Option<Vec<(String, Value)>> {
    let json = String::from_utf8(decoded(part)?).ok()?;
    if !json.starts_with('{') {
        return None;
    }
    let mut deserializer = serde_json::Deserializer::from_str(&json);
    let found = deserializer.deserialize_map(MembersVisitor(names)).ok()?;
    deserializer.end().ok()?;
    let Members { known, others } = found;
    let is_twice = |name: &str| known.iter().filter(|(known, _)| known == name).count() > 1;
    let is_sound = !names.iter().any(|name| is_twice(name)) && (others == 0 || !is_all);
    is_sound.then_some(known)
}

/// Members in the order in which they are written, and how many there are besides.
struct Members {
    known: Vec<(String, Value)>,
    others: usize,
}

struct MembersVisitor<'a>(&'a [&'a str]);

impl<'de> Visitor<'de> for MembersVisitor<'_> {
    type Value = Members;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members { known: Vec::new(), others: 0 };
        while let Some(name) = map.next_key::<String>()? {
            if self.0.contains(&name.as_str()) {
                members.known.push((name, map.next_value()?));
            } else {
                // By its grammar alone: it may be a number that nothing holds.
                map.next_value::<IgnoredAny>()?;
                members.others += 1;
            }
        }
        Ok(members)
    }
}

/// Base64url without padding (RFC 4648, section 5), in its one canonical spelling (section 3.5).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0_u32);
    for character in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == character)?;
        held = held << 6 | u32::try_from(value).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).unwrap());
        }
        held &= (1 << bits) - 1;
    }
    (held == 0 && text.len() % 4 != 1).then_some(bytes)
}

/// A user's number, as a number or as a string.
fn user_of(claim: &Value) -> Option<u64> {
    let text = claim.as_str();
    let number = text.map_or_else(|| claim.as_u64(), |text| text.parse().ok())?;
    text.is_none_or(|text| text == number.to_string()).then_some(number)
}
