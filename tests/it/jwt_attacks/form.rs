//! Attacks on how a token is written: dots, base64, length. Where the signed text itself is
//! changed it is signed again, so that nothing but its form speaks against it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::forger::{Forger, changed, message, with_signature, written};
use super::{Case, case};

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 4096;

pub(super) fn controls(forger: &Forger<'_>) -> Vec<Case> {
    let longest = (0..LONGEST)
        .map(|length| forger.with_claim("padding", Some(json!("x".repeat(length)))))
        .take_while(|token| token.len() <= LONGEST)
        .last();
    let padded = |blanks: usize| padded(forger, blanks);
    vec![
        case("the longest", longest.unwrap()),
        case("with a blank more", forger.signed_message(&padded(1).join("."))),
        case("with two blanks more", forger.signed_message(&padded(2).join("."))),
        case("with other letters", forger.signed_message(&both_alphabets(forger).0)),
    ]
}

pub(super) fn attacks(forger: &Forger<'_>) -> Vec<Case> {
    let others = other_serializations(forger);
    let tables = [parts(forger), base64(forger), spare_bits(forger), others];
    let mut attacks: Vec<_> = tables.into_iter().flatten().collect();
    for length in [3_000, 10_000, 40_000] {
        let token = forger.with_claim("padding", Some(json!("x".repeat(length))));
        assert!(token.len() > LONGEST);
        attacks.push(case(format!("{length} bytes of padding"), token));
    }
    attacks.push(case("nothing but dots", ".".repeat(20_000)));
    attacks.push(case("nothing but letters", "A".repeat(20_000)));
    attacks
}

/// Header and payload, encoded, with so many blanks behind each.
fn padded(forger: &Forger<'_>, blanks: usize) -> [String; 2] {
    [&forger.header, &forger.payload]
        .map(|json| URL_SAFE_NO_PAD.encode(format!("{json}{}", " ".repeat(blanks))))
}

/// Two dots, and more, and fewer.
fn parts(forger: &Forger<'_>) -> Vec<Case> {
    let token = forger.genuine;
    let [header, payload, signature] = forger.parts();
    let texts = [('T', token), ('H', header), ('P', payload), ('S', signature)];
    let forms = [
        "", ".", "..", "...", "....", "H", "H.", "H..", "H.P", "H.P.", "H..S", ".P.S", "..S", ".T",
        "T.", "T..", "T.S", "T.T", "H.H.P.S", "H.P.P.S", "H..P..S", "P.H.S", "H.S.P", "H,P,S",
        "H P S", "H\nP\nS", "T\0", "T\n", " T", "T T", "Bearer T", "\"T\"", "'T'", "T;", "T,",
        "T#", "T?",
    ];
    let longer = ["H%2EP%2ES", "H.P.S.P.S", "H\u{ff0e}P\u{ff0e}S", "T\u{200b}", "\u{feff}T"];
    let tokens = [written(&forms, &texts), written(&longer, &texts)].concat();
    let told = |token: String| case(format!("{token:.200}"), token);
    let mut attacks: Vec<_> = tokens.into_iter().map(told).collect();
    // More parts and fewer, each whole signed as if it were one token.
    for message in written(&["H", "H.", ".P", "H.P.", "H..P", "H.P.P", "H.P.S"], &texts) {
        attacks.push(case(format!("signed: {message}"), forger.signed_message(&message)));
    }
    attacks
}

/// RFC 7515, section 2: base64url, without padding, line breaks and other characters.
fn base64(forger: &Forger<'_>) -> Vec<Case> {
    let mut attacks = Vec::new();
    for junk in ["=", "==", "\n", "\r\n", " ", "\t", "\0", "+", "/", "-", "*", "%3D", "é"] {
        for place in 0..3 {
            for is_inside in [true, false] {
                let mut parts = forger.parts().map(str::to_owned);
                let at = if is_inside { parts[place].len() / 2 } else { parts[place].len() };
                parts[place].insert_str(at, junk);
                let message = parts[..2].join(".");
                let token = match place {
                    2 => parts.join("."),
                    _ => forger.signed_message(&message),
                };
                attacks.push(case(format!("{junk:?} in part {place} at {at}"), token));
            }
        }
    }
    // Another alphabet for the same bytes.
    let (_, standard) = both_alphabets(forger);
    attacks.push(case("standard alphabet", forger.signed_message(&standard)));
    let (message, signature) = (0..256)
        .map(|number| {
            let header = forger.header.to_string();
            let payload = changed(&forger.payload, "number", Some(json!(number)));
            let message = super::forger::message(header, payload);
            let signature = forger.key.sign(message.as_bytes());
            (message, signature)
        })
        .find(|(_, signature)| URL_SAFE_NO_PAD.encode(signature).contains(['-', '_']))
        .unwrap();
    let standard = STANDARD_NO_PAD.encode(&signature);
    attacks.push(case("standard alphabet in the signature", format!("{message}.{standard}")));
    // Hexadecimal, and base64 of base64.
    let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    attacks.push(case("a signature in hexadecimal", format!("{message}.{hex}")));
    let twice = with_signature(&message, URL_SAFE_NO_PAD.encode(&signature).as_bytes());
    attacks.push(case("a signature encoded twice", twice));
    attacks
}

/// A good token's signed text that has characters of its own in both alphabets, and the same in the
/// standard one.
fn both_alphabets(forger: &Forger<'_>) -> (String, String) {
    // Whatever its place, six bits of ones stand in this text.
    let payload = changed(&forger.payload, "x", Some(json!("???>>>~~~ÿ")));
    let good = message(forger.header.to_string(), payload);
    assert!(good.contains(['-', '_']), "{good}");
    let standard = good.replace('-', "+").replace('_', "/");
    (good, standard)
}

/// RFC 4648, section 3.5: bits that mean nothing. A lenient reader finds the same bytes in several
/// texts.
fn spare_bits(forger: &Forger<'_>) -> Vec<Case> {
    let mut attacks = Vec::new();
    for blanks in 0..3 {
        let good = padded(forger, blanks);
        for place in 0..2 {
            for other in others_of_last(&good[place]) {
                let mut parts = good.clone();
                parts[place] = other;
                let token = forger.signed_message(&parts.join("."));
                attacks.push(case(format!("spare bits in part {place}"), token));
            }
        }
    }
    let [header, payload, signature] = forger.parts();
    for other in others_of_last(signature) {
        let token = format!("{header}.{payload}.{other}");
        attacks.push(case("spare bits in the signature", token));
    }
    assert!(attacks.len() > 30, "only {}", attacks.len());
    attacks
}

/// The other spellings of the last character that a lenient reader takes for the same.
fn others_of_last(part: &str) -> Vec<String> {
    let spare = match part.len() % 4 {
        2 => 4,
        3 => 2,
        _ => return Vec::new(),
    };
    let (rest, last) = part.split_at(part.len() - 1);
    let value = ALPHABET.find(last).unwrap();
    assert_eq!(value % (1 << spare), 0, "not canonical: {part}");
    let letter = |value: usize| format!("{rest}{}", &ALPHABET[value..=value]);
    (1..1 << spare).map(|bits| letter(value | bits)).collect()
}

/// RFC 7515, section 7.2, and RFC 7516: other things to make of the same parts.
fn other_serializations(forger: &Forger<'_>) -> Vec<Case> {
    let [header, payload, signature] = forger.parts();
    let flattened = json!({"protected": header, "payload": payload, "signature": signature});
    let general = json!({
        "payload": payload,
        "signatures": [{"protected": header, "signature": signature}],
    });
    let jwe = json!({"alg": "dir", "enc": "A256GCM", "kid": forger.key.kid});
    let jwe = URL_SAFE_NO_PAD.encode(jwe.to_string());
    let unencoded = format!("{}.{}", forger.header, forger.payload);
    vec![
        case("flattened JSON", flattened.to_string()),
        case("general JSON", general.to_string()),
        case("encrypted, five parts", format!("{jwe}..{signature}.{payload}.{signature}")),
        case("without encoding", forger.signed_message(&unencoded)),
        case("detached", format!("{header}..{signature}")),
        case("nested", forger.with_payload_text(forger.genuine)),
        case("encoded as a whole", URL_SAFE_NO_PAD.encode(forger.genuine)),
    ]
}
