//! PEM (RFC 7468): the armour around keys in files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{self, PemObject, SectionKind};
use zeroize::Zeroizing;

/// What a block holds.
#[derive(Clone, Copy)]
pub(super) struct Label {
    text: &'static str,
    kind: SectionKind,
}

/// A private key in PKCS#8 (RFC 7468, section 10).
pub(super) const PRIVATE_KEY: Label = Label { text: "PRIVATE KEY", kind: SectionKind::PrivateKey };
/// A public key as SubjectPublicKeyInfo (RFC 7468, section 13).
pub(super) const PUBLIC_KEY: Label = Label { text: "PUBLIC KEY", kind: SectionKind::PublicKey };

const LINE: usize = 64;

/// A block as it is decoded.
type Block = (SectionKind, Vec<u8>);

/// Puts `der` into armour.
pub(super) fn encode(label: Label, der: &[u8]) -> Zeroizing<String> {
    let label = label.text;
    let body = Zeroizing::new(STANDARD.encode(der));
    // The capacity is the length in the end, so that no copy of a key stays behind on growing.
    let marks = 2 * ("-----BEGIN -----\n".len() + label.len());
    let mut text =
        Zeroizing::new(String::with_capacity(marks + body.len() + body.len() / LINE + 1));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// Takes the one block out of `text`, which must be labelled `label`. Text around the block is
/// explanatory (RFC 7468, section 5.2) and skipped.
///
/// # Errors
/// What is wrong with the text, in words for an operator.
pub(super) fn decode(label: Label, text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let mut blocks = Block::pem_slice_iter(text.as_bytes());
    let first = blocks.next().ok_or("it holds no PEM block")?;
    let (kind, der) = first.map_err(|error| match error {
        pem::Error::MissingSectionEnd { .. } => "its PEM block has no end",
        pem::Error::Base64Decode(_) => "its PEM block is not base64",
        _ => "its PEM block cannot be read",
    })?;
    let der = Zeroizing::new(der);
    if kind != label.kind {
        return Err("its PEM block is of another type");
    }
    match blocks.next() {
        None => Ok(der),
        Some(_) => Err("it holds more than one PEM block"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out() {
        for length in [0, 1, 47, 48, 49, 96, 121] {
            let der: Vec<u8> = (0..length).collect();
            let text = encode(PUBLIC_KEY, &der);
            assert!(text.lines().all(|line| line.len() <= LINE));
            assert_eq!(decode(PUBLIC_KEY, &text).unwrap().as_slice(), der);
            assert_eq!(decode(PUBLIC_KEY, &text.replace('\n', "\r\n")).unwrap().as_slice(), der);
        }
    }

    #[test]
    fn the_armour_is_that_of_openssl() {
        let text = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
            -----END PUBLIC KEY-----\n";
        let der = decode(PUBLIC_KEY, text).unwrap();
        assert_eq!(der.len(), 44);
        assert_eq!(*encode(PUBLIC_KEY, &der), text);
        assert_eq!(decode(PUBLIC_KEY, &format!("a note\n\n{text}\nanother\n")).unwrap(), der);
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        let good = encode(PRIVATE_KEY, &[7; 48]);
        let problem = |text: &str| decode(PRIVATE_KEY, text).unwrap_err();
        assert_eq!(problem(""), "it holds no PEM block");
        assert_eq!(problem("MC4CAQAwBQYDK2Vw"), "it holds no PEM block");
        assert_eq!(problem(&encode(PUBLIC_KEY, &[7; 48])), "its PEM block is of another type");
        assert_eq!(problem(&good.replace("-----END", "")), "its PEM block has no end");
        assert_eq!(problem(&good.repeat(2)), "it holds more than one PEM block");
        assert_eq!(problem(&good.replace("Bwc", "B*c")), "its PEM block is not base64");
        // The decoder needs no padding; what it makes of a text that lost a digit is no key.
        assert_ne!(
            decode(PRIVATE_KEY, &good.replacen("Bwc", "Bw", 1)).unwrap().as_slice(),
            [7; 48]
        );
    }
}
