//! PEM (RFC 7468): the armour around keys in files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The label of a private key in PKCS#8 (RFC 7468, section 10).
pub(super) const PRIVATE_KEY: &str = "PRIVATE KEY";
/// The label of a public key as SubjectPublicKeyInfo (RFC 7468, section 13).
pub(super) const PUBLIC_KEY: &str = "PUBLIC KEY";

const LINE: usize = 64;

/// Puts `der` into armour.
pub(super) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
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
pub(super) fn decode(label: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let mut lines = text.lines().map(str::trim_end);
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let first =
        lines.find(|line| line.starts_with("-----BEGIN ")).ok_or("it holds no PEM block")?;
    if first != begin {
        return Err("its PEM block is of another type");
    }
    let mut body = Zeroizing::new(String::with_capacity(text.len()));
    let mut is_closed = false;
    for line in lines.by_ref() {
        if line == end {
            is_closed = true;
            break;
        }
        body.push_str(line.trim());
    }
    if !is_closed {
        return Err("its PEM block has no end");
    }
    if lines.any(|line| line.starts_with("-----BEGIN ")) {
        return Err("it holds more than one PEM block");
    }
    STANDARD.decode(body.as_bytes()).map(Zeroizing::new).map_err(|_| "its PEM block is not base64")
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
        assert_eq!(problem(&good.replacen("Bwc", "Bw", 1)), "its PEM block is not base64");
    }
}
