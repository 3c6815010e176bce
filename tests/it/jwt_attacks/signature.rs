//! Attacks on the signature and on the key behind it.

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::ecdsa;
use super::forger::{Forger, Kind, changed, message, with_signature};
use super::keys::{Key, KeyRing, mac};
use super::{Case, case};
use crate::support::TestApp;

/// The order of Ed25519's group, the least byte first (RFC 8032, section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

pub(super) fn controls(forger: &Forger<'_>) -> Vec<Case> {
    let message = signed_part(forger);
    let again = forger.key.sign(message.as_bytes());
    let mut controls = vec![case("signed anew", with_signature(&message, &again))];
    if forger.key.alg() == "ES256" {
        // FIPS 186-5 has no rule against either of the two, and nothing here takes a token's text
        // for its name.
        controls.push(case("n - s", with_signature(&message, &ecdsa::twin(&again))));
    }
    controls
}

pub(super) fn attacks(forger: &Forger<'_>) -> Vec<Case> {
    let (others, keys) = (over_something_else(forger), by_other_keys(forger));
    let tables = [damaged(forger), others, by_public_keys(forger), keys];
    tables.into_iter().flatten().collect()
}

/// Header and payload of the genuine token.
fn signed_part(forger: &Forger<'_>) -> String {
    let [header, payload, _] = forger.parts();
    format!("{header}.{payload}")
}

fn damaged(forger: &Forger<'_>) -> Vec<Case> {
    let genuine = URL_SAFE_NO_PAD.decode(forger.parts()[2]).unwrap();
    let length = genuine.len();
    let mut signatures: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: String, signature: Vec<u8>| signatures.push((name, signature));
    for kept in [0, 1, 8, 10, 16, length / 2, length - 2, length - 1] {
        add(format!("its first {kept} bytes"), genuine[..kept].to_vec());
        add(format!("zeros after {kept} bytes"), {
            let mut signature = genuine.clone();
            signature[kept..].fill(0);
            signature
        });
    }
    for byte in [0, 1, 0xff] {
        add(format!("{byte} behind it"), [&genuine[..], &[byte]].concat());
        add(format!("{byte} before it"), [&[byte], &genuine[..]].concat());
        add(format!("nothing but {byte}"), vec![byte; length]);
    }
    add("it is there twice".to_owned(), genuine.repeat(2));
    add("it is reversed".to_owned(), genuine.iter().rev().copied().collect());
    for bit in 0..length * 8 {
        let mut signature = genuine.clone();
        signature[bit / 8] ^= 1 << (bit % 8);
        add(format!("bit {bit}"), signature);
    }
    match forger.key.alg() {
        "EdDSA" => signatures.extend(wrong_eddsa(&genuine)),
        "ES256" => {
            let wrong = ecdsa::wrong(&genuine).into_iter();
            signatures.extend(wrong.map(|(name, signature)| (name.to_owned(), signature)));
        }
        _ => {}
    }
    // One signature in sixteen ends in a zero anyway.
    signatures.retain(|(_, signature)| *signature != genuine);
    let message = signed_part(forger);
    let told = |(name, signature): (String, Vec<u8>)| {
        case(format!("signature: {name}"), with_signature(&message, &signature))
    };
    signatures.into_iter().map(told).collect()
}

/// RFC 8032, section 5.1.7: the second half must be less than the order; and points of small order,
/// with which some checks come out whatever was signed.
fn wrong_eddsa(genuine: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (r, s) = genuine.split_at(32);
    let mut signatures = Vec::new();
    let mut larger = s.to_vec();
    // The half has room for it up to 15 times.
    for times in 1..=15 {
        let mut carry = 0_u16;
        for (byte, order) in larger.iter_mut().zip(ORDER) {
            carry += u16::from(*byte) + u16::from(order);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        signatures.push((format!("S + {times} L"), [r, &larger].concat()));
    }
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut of_order_two = [0xff; 32];
    (of_order_two[0], of_order_two[31]) = (0xec, 0x7f);
    for (name, point) in [("1", identity), ("-1", of_order_two), ("0", [0; 32])] {
        for (other, half) in [("0", &[0; 32][..]), ("L", &ORDER), ("S", s)] {
            signatures.push((format!("R = {name}, S = {other}"), [&point, half].concat()));
        }
    }
    signatures
}

/// The right key's signature, of another text.
fn over_something_else(forger: &Forger<'_>) -> Vec<Case> {
    let signed = signed_part(forger);
    let [header, payload, signature] = forger.parts();
    let mut attacks = Vec::new();
    for other in [
        String::new(),
        header.to_owned(),
        payload.to_owned(),
        format!("{header}{payload}"),
        format!("{signed}."),
        format!("{signed}\n"),
        format!("{}.{}", forger.header, forger.payload),
        signed.to_lowercase(),
    ] {
        let by_key = forger.key.sign(other.as_bytes());
        attacks.push(case(format!("signed was {other:.60}"), with_signature(&signed, &by_key)));
    }
    // A genuine signature under another header or payload.
    for (name, value) in [("user_id", json!(2)), ("exp", json!(9_999_999_999_u64))] {
        let changed = changed(&forger.payload, name, Some(value));
        let message = message(forger.header.to_string(), changed);
        attacks.push(case(format!("another {name}"), format!("{message}.{signature}")));
    }
    attacks
}

/// RFC 8725, section 2.1: what everybody may know, as a secret.
fn by_public_keys(forger: &Forger<'_>) -> Vec<Case> {
    let KeyRing { access, refresh, ticket, retired_access, .. } = forger.ring;
    let mut attacks = Vec::new();
    for key in [access, retired_access] {
        for (form, secret) in &key.public {
            for alg in ["HS256", "HS384", "HS512", forger.key.alg()] {
                for kid in
                    [access, refresh, ticket].map(|key| key.kid.as_str()).into_iter().chain([""])
                {
                    let message = message_of(forger, alg, kid);
                    let hash = match alg {
                        "HS384" => HMAC_SHA384,
                        "HS512" => HMAC_SHA512,
                        _ => HMAC_SHA256,
                    };
                    let signature = mac(hash, secret, message.as_bytes());
                    attacks.push(case(
                        format!("{form} as the secret of {alg} under {kid:?}"),
                        with_signature(&message, &signature),
                    ));
                }
            }
        }
    }
    attacks
}

/// Keys that are nobody's, somebody else's, or the right one used wrongly.
fn by_other_keys(forger: &Forger<'_>) -> Vec<Case> {
    let kid = forger.key.kid.as_str();
    let message = signed_part(forger);
    let alg = forger.key.alg();
    let KeyRing { ticket, .. } = forger.ring;
    let mut attacks = Vec::new();
    for key in [forger.other_key, forger.retired_key, ticket] {
        let named = message_of(forger, key.alg(), kid);
        for message in [&message, &named] {
            let token = with_signature(message, &key.sign(message.as_bytes()));
            attacks.push(case(format!("signed by {} as {kid}", key.kid), token));
        }
    }
    // Under its own name and algorithm: the key is right for what it is for, and this is not that.
    for key in [forger.retired_key, ticket] {
        let message = message_of(forger, key.alg(), &key.kid);
        let token = with_signature(&message, &key.sign(message.as_bytes()));
        attacks.push(case(format!("signed by {}", key.kid), token));
    }
    let hs256 = message_of(forger, "HS256", kid);
    for secret in ["", "secret", "your-256-bit-secret", "changeme", kid, alg, "\0"] {
        for message in [&message, &hs256] {
            let signature = mac(HMAC_SHA256, secret.as_bytes(), message.as_bytes());
            attacks.push(case(format!("by {secret:?}"), with_signature(message, &signature)));
        }
    }
    if let Some(secret) = forger.key.secret() {
        attacks.extend(by_the_secret_itself(forger, secret));
    }
    attacks
}

/// The right secret, but not as `HS256` has it (RFC 7518, section 3.2).
fn by_the_secret_itself(forger: &Forger<'_>, secret: &[u8]) -> Vec<Case> {
    let message = signed_part(forger);
    let text = URL_SAFE_NO_PAD.encode(secret);
    let mut attacks = Vec::new();
    for (name, signature) in [
        ("SHA-384", mac(HMAC_SHA384, secret, message.as_bytes())),
        ("SHA-512", mac(HMAC_SHA512, secret, message.as_bytes())),
        ("the file's text", mac(HMAC_SHA256, text.as_bytes(), message.as_bytes())),
        ("its first half", mac(HMAC_SHA256, &secret[..16], message.as_bytes())),
        ("a NUL more and a bit", mac(HMAC_SHA256, &[secret, &[1]].concat(), message.as_bytes())),
    ] {
        let truncated = with_signature(&message, &signature[..32]);
        attacks.push(case(format!("by the secret: {name}"), with_signature(&message, &signature)));
        attacks.push(case(format!("by the secret: {name}, cut"), truncated));
    }
    for (alg, hash) in [("HS384", HMAC_SHA384), ("HS512", HMAC_SHA512)] {
        let message = message_of(forger, alg, &forger.key.kid);
        let signature = mac(hash, secret, message.as_bytes());
        attacks.push(case(format!("rightly by {alg}"), with_signature(&message, &signature)));
    }
    // The last padding of HMAC's key: with zeros behind, it is the same key (RFC 2104), so this is
    // no attack; it shows that the ones above fail for their own sake.
    let same = mac(HMAC_SHA256, &[secret, &[0]].concat(), message.as_bytes());
    assert_eq!(same, mac(HMAC_SHA256, secret, message.as_bytes()));
    attacks
}

/// What is signed with authority, but is no such token.
pub(super) async fn confusions(forger: &Forger<'_>, app: &TestApp) -> Vec<Case> {
    let mut attacks = Vec::new();
    // The other kind's claims, by this key and by the other.
    let other_kind = other_payload(forger);
    attacks.push(case("the other kind's claims", forger.with_payload_text(other_kind.to_string())));
    let other: &Key = forger.other_key;
    let message = message_of(forger, other.alg(), &other.kid);
    let token = with_signature(&message, &other.sign(message.as_bytes()));
    attacks.push(case("the right claims by the other kind's key", token));
    let typed = forger.with_claim("token_type", other_kind.get("token_type").cloned());
    attacks.push(case("the other kind by name alone", typed));

    // The list of revoked sessions is signed by the key of access tokens; where that is a secret
    // there is none.
    let list = app.get("/.well-known/revoked-sessions").await;
    let is_signed = forger.ring.access.secret().is_none();
    assert_eq!(list.status == 200, is_signed);
    if is_signed {
        let list = list.text().to_owned();
        let [header, payload, signature] = list.split('.').collect::<Vec<_>>()[..] else {
            panic!()
        };
        let claims = URL_SAFE_NO_PAD.decode(payload).unwrap();
        attacks.push(case("the list's claims, as a token", forger.with_payload_text(&claims)));
        let [own_header, own_payload, _] = forger.parts();
        for (name, parts) in [
            ("the list", [header, payload, signature]),
            ("the list's payload", [own_header, payload, signature]),
            ("the list's header", [header, own_payload, signature]),
        ] {
            attacks.push(case(name, parts.join(".")));
        }
        // The list's header in full, rightly signed over a person's claims.
        let header = URL_SAFE_NO_PAD.decode(header).unwrap();
        attacks.push(case("claims in the list's dress", forger.with_header_text(&header)));
    }
    // What a mailed link carries: it ended up in a field for a token.
    let link = app.mails.sent().last().cloned();
    let ticket = match link.and_then(|mail| mail.link) {
        Some(link) => link.split_once("?token=").unwrap().1.to_owned(),
        None => app.mailed_token().await,
    };
    attacks.push(case("a ticket", ticket.clone()));
    attacks.push(case("a ticket for a signature", format!("{}.{ticket}", signed_part(forger))));
    attacks
}

/// Claims of the other kind, as good as they can be.
fn other_payload(forger: &Forger<'_>) -> Value {
    let mut claims = forger.payload.clone();
    match forger.kind {
        Kind::Access => {
            claims["token_type"] = json!("refresh");
            claims["gen"] = json!(0);
        }
        Kind::Refresh => {
            claims["token_type"] = json!("access");
            claims["iss"] = json!("https://accounts.example.com");
            claims["sub"] = json!(claims["user_id"].to_string());
        }
    }
    claims
}

fn message_of(forger: &Forger<'_>, alg: &str, kid: &str) -> String {
    let header = json!({"typ": "JWT", "alg": alg, "kid": kid});
    message(header.to_string(), forger.payload.to_string())
}
