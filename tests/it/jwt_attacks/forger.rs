//! Takes a genuine token apart and puts it together otherwise.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::keys::{Key, KeyRing};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Access,
    Refresh,
}

/// Someone with a genuine token and all keys.
pub(super) struct Forger<'a> {
    pub(super) kind: Kind,
    pub(super) ring: &'a KeyRing,
    pub(super) genuine: &'a str,
    pub(super) header: Value,
    pub(super) payload: Value,
    /// The key that such tokens are signed with, the one before it, and that of the other kind.
    pub(super) key: &'a Key,
    pub(super) retired_key: &'a Key,
    pub(super) other_key: &'a Key,
}

impl<'a> Forger<'a> {
    pub(super) fn new(kind: Kind, ring: &'a KeyRing, genuine: &'a str) -> Self {
        let json = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap());
        let mut parts = genuine.split('.').map(|part| json(part).unwrap_or(Value::Null));
        let (header, payload) = (parts.next().unwrap(), parts.next().unwrap());
        let (key, retired_key, other_key) = match kind {
            Kind::Access => (&ring.access, &ring.retired_access, &ring.refresh),
            Kind::Refresh => (&ring.refresh, &ring.retired_refresh, &ring.access),
        };
        Self { kind, ring, genuine, header, payload, key, retired_key, other_key }
    }

    /// The three parts of the genuine token.
    pub(super) fn parts(&self) -> [&'a str; 3] {
        let parts: Vec<_> = self.genuine.split('.').collect();
        parts.try_into().unwrap()
    }

    /// `message` with the right key's signature, whatever it says.
    pub(super) fn signed_message(&self, message: &str) -> String {
        with_signature(message, &self.key.sign(message.as_bytes()))
    }

    /// These two texts with the right key's signature.
    pub(super) fn signed(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.signed_message(&message(header, payload))
    }

    /// A good token but for its header.
    pub(super) fn with_header_text(&self, header: impl AsRef<[u8]>) -> String {
        self.signed(header, self.payload.to_string())
    }

    /// A good token but for this member of its header; `None` takes it away.
    pub(super) fn with_header(&self, name: &str, value: Option<Value>) -> String {
        self.with_header_text(changed(&self.header, name, value))
    }

    /// A good token but for its payload.
    pub(super) fn with_payload_text(&self, payload: impl AsRef<[u8]>) -> String {
        self.signed(self.header.to_string(), payload)
    }

    /// A good token but for this claim; `None` takes it away.
    pub(super) fn with_claim(&self, name: &str, value: Option<Value>) -> String {
        self.with_payload_text(changed(&self.payload, name, value))
    }

    /// A good token but for this claim, whose value is this text, be it JSON or not.
    pub(super) fn with_claim_text(&self, name: &str, value: &str) -> String {
        let mark = "\u{1}mark";
        let payload = changed(&self.payload, name, Some(mark.into()));
        let quoted = serde_json::to_string(mark).unwrap();
        assert!(payload.contains(&quoted));
        self.with_payload_text(payload.replace(&quoted, value))
    }

    /// A good token but for these claims.
    pub(super) fn with_claims(&self, claims: &Value) -> String {
        let mut payload = self.payload.clone();
        for (name, value) in claims.as_object().unwrap() {
            payload[name] = value.clone();
        }
        self.with_payload_text(payload.to_string())
    }
}

/// What is signed of a token with this header and payload.
pub(super) fn message(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

pub(super) fn with_signature(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The object with this member changed, or without it.
pub(super) fn changed(object: &Value, name: &str, value: Option<Value>) -> String {
    let mut object = object.clone();
    match value {
        Some(value) => object[name] = value,
        None => drop(object.as_object_mut().unwrap().remove(name)),
    }
    object.to_string()
}

/// The object with another member written before and behind all others, so that there are two of
/// the name: an attack wins with whichever a reader takes.
pub(super) fn repeated(object: &Value, name: &str, value: &str) -> [String; 3] {
    let text = object.to_string();
    let inner = &text[1..text.len() - 1];
    let escaped: String = name.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    [
        format!("{{\"{name}\":{value},{inner}}}"),
        format!("{{{inner},\"{name}\":{value}}}"),
        format!("{{{inner},\"{escaped}\":{value}}}"),
    ]
}

/// What is left of these forms once each letter stands for a text.
pub(super) fn written(forms: &[&str], texts: &[(char, &str)]) -> Vec<String> {
    let text_of = |letter| texts.iter().find(|(name, _)| *name == letter).map(|(_, text)| *text);
    let each = |letter: char| text_of(letter).map_or_else(|| letter.to_string(), str::to_owned);
    forms.iter().map(|form| form.chars().map(each).collect()).collect()
}

/// Texts that can be read as this object in one way and not in another, or not at all.
pub(super) fn misshapen(object: &Value) -> Vec<Vec<u8>> {
    let good = object.to_string();
    let inner = &good[..good.len() - 1];
    let values: Vec<_> = object.as_object().unwrap().values().map(Value::to_string).collect();
    let forms = [
        "", " ", "null", "true", "1", "\"JWT\"", "{}", "[]", " G", "[G]", "GG", "G{}", "G {}",
        "G,", "G]", "G\0", "/**/G",
    ];
    let mut texts = written(&forms, &[('G', &good)]);
    texts.extend(written(&["\u{feff}G", "G// comment", "{\"claims\":G}"], &[('G', &good)]));
    for (part, other) in [("\"", "'"), ("}", ",}"), (",", ";"), (",", ",,"), (":", "=")] {
        texts.push(good.replace(part, other));
    }
    texts.push(inner.to_owned());
    texts.push(serde_json::to_string(&good).unwrap());
    texts.push(format!("[{}]", values.join(",")));
    texts.push(good.replacen('{', "{\"\\ud800\":1,", 1));
    texts.extend(["[".repeat(1_500), "{\"a\":".repeat(300)]);
    let mut texts: Vec<_> = texts.into_iter().map(String::into_bytes).collect();
    for place in [1, 2, 3, good.len() / 2, good.len() - 2] {
        for byte in [0xff, 0xc0, 0x80, 0xed] {
            let mut not_text = good.clone().into_bytes();
            not_text[place] = byte;
            texts.push(not_text);
        }
    }
    // What nobody reads must be text all the same.
    texts.push([inner.as_bytes(), b",\"x\":\"\xff\"}"].concat());
    // UTF-16 is no UTF-8 (RFC 8259, section 8.1).
    texts.push(good.encode_utf16().flat_map(u16::to_be_bytes).collect());
    texts.push(good.encode_utf16().flat_map(u16::to_le_bytes).collect());
    texts
}

/// The beginning of what may be no text.
pub(super) fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned()
}
