//! The encoding of tokens: three parts and their JSON, with nothing that could be read in two ways.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Timestamp;
use crate::domain::{SessionId, UserId};

/// The longest token that is examined, in bytes; ours take about 500.
pub(super) const MAX_TOKEN: usize = 4096;

/// The `typ` of all our tokens (RFC 7519, section 5.1).
pub(super) const TYP: &str = "JWT";

/// A token's parts (RFC 7515, section 7.1), still encoded.
pub(super) struct Parts<'a> {
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
    /// Header and payload with the dot between them: what is signed.
    pub(super) message: &'a str,
}

impl<'a> Parts<'a> {
    /// Splits a token of at most [`MAX_TOKEN`] bytes at its two dots.
    pub(super) fn of(token: &'a str) -> Option<Self> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let is_three_parts = !payload.contains('.');
        is_three_parts.then_some(Self { header, payload, signature, message })
    }
}

/// A token's header. It has exactly these members: any other (especially `crit`, `jwk`, `jku`,
/// `x5u`, `x5c`) is refused whatever its value, and so is a repeated one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) typ: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) alg: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) kid: Cow<'a, str>,
}

/// The claims of an access token. Other claims are ignored.
#[derive(Serialize, Deserialize)]
pub(super) struct AccessPayload<'a> {
    #[serde(borrow)]
    pub(super) token_type: Cow<'a, str>,
    pub(super) exp: NumericDate,
    pub(super) iat: NumericDate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<NumericDate>,
    #[serde(borrow)]
    pub(super) jti: Cow<'a, str>,
    pub(super) user_id: UserIdClaim,
    #[serde(borrow)]
    pub(super) iss: Cow<'a, str>,
    /// Read by [`Addressed`], only if it matters.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(super) aud: Option<&'a str>,
    #[serde(borrow)]
    pub(super) sub: Cow<'a, str>,
    pub(super) sid: SessionId,
}

/// The audience of a token (RFC 7519, section 4.1.3).
#[derive(Deserialize)]
pub(super) struct Addressed<'a> {
    #[serde(borrow)]
    aud: Audience<'a>,
}

/// One text, as we write it, or several, which is allowed.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience<'a> {
    #[serde(borrow)]
    One(Cow<'a, str>),
    #[serde(borrow)]
    Several(Vec<Cow<'a, str>>),
}

impl Addressed<'_> {
    /// Whether it includes `audience`.
    pub(super) fn is_for(&self, audience: &str) -> bool {
        match &self.aud {
            Audience::One(one) => one == audience,
            Audience::Several(all) => all.iter().any(|one| one == audience),
        }
    }
}

/// The claims of a refresh token.
#[derive(Serialize, Deserialize)]
pub(super) struct RefreshPayload<'a> {
    #[serde(borrow)]
    pub(super) token_type: Cow<'a, str>,
    pub(super) exp: NumericDate,
    pub(super) iat: NumericDate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<NumericDate>,
    #[serde(borrow)]
    pub(super) jti: Cow<'a, str>,
    pub(super) user_id: UserIdClaim,
    pub(super) sid: SessionId,
    #[serde(rename = "gen")]
    pub(super) generation: u64,
}

/// `user_id`: a number, or a string as SimpleJWT writes it from 5.5 on. Either form is read.
#[derive(Clone, Copy)]
pub(super) struct UserIdClaim {
    pub(super) user: UserId,
    pub(super) is_string: bool,
}

impl Serialize for UserIdClaim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_string {
            serializer.collect_str(&self.user)
        } else {
            self.user.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for UserIdClaim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UserIdVisitor)
    }
}

struct UserIdVisitor;

impl Visitor<'_> for UserIdVisitor {
    type Value = UserIdClaim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a user's number")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(UserIdClaim { user: UserId(number), is_string: false })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let number = text.parse().ok().filter(|number: &u64| number.to_string() == text);
        let number = number.ok_or_else(|| E::custom("not a number"))?;
        Ok(UserIdClaim { user: UserId(number), is_string: true })
    }
}

/// A moment in whole seconds (RFC 7519, section 2), up to the end of the year 9999. RFC 7519 would
/// allow fractions; ours have none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub(super) struct NumericDate(u64);

impl NumericDate {
    const LAST: u64 = 253_402_300_799;
}

impl From<Timestamp> for NumericDate {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp.unix_seconds().min(Self::LAST))
    }
}

impl From<NumericDate> for Timestamp {
    fn from(date: NumericDate) -> Self {
        Self::from_unix_seconds(date.0)
    }
}

impl From<NumericDate> for u64 {
    fn from(date: NumericDate) -> Self {
        date.0
    }
}

impl TryFrom<u64> for NumericDate {
    type Error = &'static str;

    fn try_from(seconds: u64) -> Result<Self, Self::Error> {
        if seconds <= Self::LAST { Ok(Self(seconds)) } else { Err("after the year 9999") }
    }
}

/// Writes one part: base64url, without padding, of JSON.
#[expect(clippy::expect_used, reason = "strings and integers in a struct can always be written")]
pub(super) fn encode(value: &impl Serialize) -> String {
    try_encode(value).expect("JSON")
}

/// Writes one part from any value.
///
/// # Errors
/// If it cannot be serialised as JSON.
pub(super) fn try_encode(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_vec(value).map(|json| URL_SAFE_NO_PAD.encode(json))
}

/// Decodes the base64url of one part; `None` unless it is canonical and decodes to text that begins
/// like a JSON object. (serde would also accept an array for a struct.)
pub(super) fn decode(part: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    text.starts_with('{').then_some(text)
}
