//! Attacks on what a token claims, all signed by the right key: numbers that overflow or round,
//! claims that are there twice, and JSON that two readers read differently.

use serde_json::{Value, json};

use super::forger::{Forger, Kind, misshapen, repeated, shown, written};
use super::{Case, case};
use crate::support::START;

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

fn now() -> u64 {
    START.unix_seconds()
}

pub(super) fn controls(forger: &Forger<'_>) -> Vec<Case> {
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let good = forger.payload.to_string();
    vec![
        case("it expires in a second", forger.with_claim("exp", Some(json!(now() + 1)))),
        case("it expires at the end of time", forger.with_claim("exp", Some(json!(LAST_SECOND)))),
        case("issued a minute ahead", forger.with_claim("iat", Some(json!(now() + 60)))),
        case("issued in 1970", forger.with_claim("iat", Some(json!(0)))),
        case("valid from now on", forger.with_claim("nbf", Some(json!(now())))),
        case("for an audience", forger.with_claim("aud", Some(json!(["app", "other"])))),
        case("with a claim of no known number", forger.with_claim_text("x", "1e400")),
        case("with a claim of great depth", forger.with_claim_text("x", &deep)),
        case("with a claim in another case", forger.with_claim("EXP", Some(json!(0)))),
        case("with blanks behind", forger.with_payload_text(format!("{good} \n"))),
        case("with an escape", forger.with_payload_text(good.replacen("exp", "\\u0065xp", 1))),
    ]
}

pub(super) fn attacks(forger: &Forger<'_>) -> Vec<Case> {
    let tables = [times(forger), others(forger), twice(forger), shapes(forger)];
    tables.into_iter().flatten().collect()
}

/// Numbers as they are written, since JSON has none that is too large to write.
fn times(forger: &Forger<'_>) -> Vec<Case> {
    let mut never_good = vec![
        "1e400", "1e300", "-1e400", "1e10", "1E10", "1.7e9", "-1", "-0", "NaN", "Infinity", "null",
        "true", "false", "[]", "{}", "\"\"",
    ];
    never_good.extend(["-Infinity", "\"never\"", "{\"$gt\":0}", "0x67534a20", "1_733_479_261"]);
    // Beyond what numbers of 63, 64 and 128 bits hold, and what the calendar has.
    never_good.extend([
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "340282366920938463463374607431768211456",
        "253402300800",
    ]);
    // A good second otherwise written.
    let second = now() + 60;
    let forms = ["N.0", "N.5", "Ne0", "0N", "+N", "\"N\"", "[N]", "N 1"];
    let written = written(&forms, &[('N', &second.to_string())]);
    never_good.extend(written.iter().map(String::as_str));
    let mut attacks = Vec::new();
    for name in ["exp", "iat"] {
        attacks.push(case(format!("no {name}"), forger.with_claim(name, None)));
    }
    for name in ["exp", "iat", "nbf"] {
        for value in &never_good {
            // A claim that may be left out may be null as well.
            if (name, *value) != ("nbf", "null") {
                let token = forger.with_claim_text(name, value);
                attacks.push(case(format!("{name}: {value}"), token));
            }
        }
        let digits = "9".repeat(1_000);
        let token = forger.with_claim_text(name, &digits);
        attacks.push(case(format!("{name}: a thousand digits"), token));
    }
    for (name, second) in [
        ("exp", 0),
        ("exp", now() - 1),
        ("exp", now()),
        ("iat", now() + 61),
        ("iat", LAST_SECOND),
        ("nbf", now() + 1),
        ("nbf", LAST_SECOND),
    ] {
        let token = forger.with_claim(name, Some(json!(second)));
        attacks.push(case(format!("{name}: {second}"), token));
    }
    attacks
}

fn others(forger: &Forger<'_>) -> Vec<Case> {
    let user = forger.payload["user_id"].to_string();
    let sid = forger.payload["sid"].as_str().unwrap();
    let mut values: Vec<(&str, String)> = Vec::new();
    let mut add = |name, texts: &[&str]| {
        values.extend(texts.iter().map(|text| (name, (*text).to_owned())));
    };
    let other_types = ["null", "true", "[]", "{}", "1.5", "-1", "1e400"];
    for name in ["token_type", "user_id", "sid", "jti"] {
        add(name, &other_types);
    }
    add(
        "token_type",
        &["\"\"", "\"Access\"", "\"ACCESS\"", "\"sliding\"", "\"access\\u0000\"", "0"],
    );
    let padded = format!("\"0{user}\"");
    let as_float = format!("{user}.0");
    add("user_id", &[&padded, &as_float, "18446744073709551616", "1e0", "\"1 OR 1=1\""]);
    let upper = format!("\"{}\"", sid.to_uppercase());
    let (shorter, longer) = (format!("\"{}\"", &sid[1..]), format!("\"{sid}0\""));
    let dashed = format!("\"{}-{}\"", &sid[..8], &sid[8..]);
    add("sid", &["\"\"", "0", &shorter, &longer, &dashed]);
    if sid.contains(|c: char| c.is_ascii_lowercase()) {
        add("sid", &[&upper]);
    }
    add("jti", &["0"]);
    match forger.kind {
        Kind::Access => {
            add("token_type", &["\"refresh\""]);
            add("iss", &other_types);
            let issuer = "https://accounts.example.com";
            let slash = format!("\"{issuer}/\"");
            let longer = format!("\"{issuer}.attacker.example\"");
            let list = format!("[\"{issuer}\"]");
            add("iss", &["\"\"", "\"https://attacker.example\"", &slash, &longer, &list]);
            add("sub", &other_types);
            let (padded, signed) = (format!("\"0{user}\""), format!("\"+{user}\""));
            add("sub", &["\"\"", "\"2\"", "\"٢\"", &user, &padded, &signed]);
            add("user_id", &["2", "0"]);
        }
        Kind::Refresh => {
            add("token_type", &["\"access\""]);
            add("gen", &other_types);
            add("gen", &["\"0\"", "0.0", "0e0", "00", "18446744073709551616"]);
        }
    }
    let told = |(name, text): (&str, String)| {
        case(format!("{name}: {text}"), forger.with_claim_text(name, &text))
    };
    let mut attacks: Vec<_> = values.into_iter().map(told).collect();
    for name in forger.payload.as_object().unwrap().keys() {
        attacks.push(case(format!("no {name}"), forger.with_claim(name, None)));
    }
    attacks
}

/// A claim that is there twice is one to this reader and another to that.
fn twice(forger: &Forger<'_>) -> Vec<Case> {
    let mut attacks = Vec::new();
    for (name, value) in forger.payload.as_object().unwrap() {
        let other = match value {
            Value::Number(_) => json!(1),
            _ => json!("other"),
        };
        for second in [value.to_string(), other.to_string(), "null".to_owned()] {
            for payload in repeated(&forger.payload, name, &second) {
                let token = forger.with_payload_text(&payload);
                attacks.push(case(format!("{name} and {name}: {second}"), token));
            }
        }
    }
    let past = "\"nbf\":1,\"nbf\":1,";
    let payload = forger.payload.to_string().replacen('{', &format!("{{{past}"), 1);
    attacks.push(case("nbf twice", forger.with_payload_text(payload)));
    attacks
}

fn shapes(forger: &Forger<'_>) -> Vec<Case> {
    let good = forger.payload.to_string();
    let mut texts = misshapen(&forger.payload);
    for other in ["\"e\nxp\"", "\"\\x65xp\"", "exp"] {
        texts.push(good.replacen("\"exp\"", other, 1).into_bytes());
    }
    let deep = format!("{{\"user_id\":{}{}}}", "[".repeat(700), "]".repeat(700));
    texts.push(deep.into_bytes());
    texts.iter().map(|text| case(shown(text), forger.with_payload_text(text))).collect()
}
