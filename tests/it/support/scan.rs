//! Looking for secrets where none may be, in every form they could be written in.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The forms of `secret` that occur in `text`, each by its name.
pub(crate) fn forms_found(text: &[u8], secret: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let found = forms(secret).into_iter().filter(|(_, form)| text.contains(form));
    found.map(|(name, _)| name).collect()
}

/// Ways to write a secret, each with its name.
pub(crate) fn forms(secret: &str) -> Vec<(String, String)> {
    let bytes = secret.as_bytes();
    let each = |write: fn(&u8) -> String| bytes.iter().map(write).collect::<Vec<_>>();
    let json = serde_json::to_string(secret).unwrap();
    let json = json.trim_matches('"');
    let form_encoded: String = form_urlencoded::byte_serialize(bytes).collect();
    let mut forms = vec![
        ("raw".to_owned(), secret.to_owned()),
        ("hex".to_owned(), each(|byte| format!("{byte:02x}")).concat()),
        ("upper-case hex".to_owned(), each(|byte| format!("{byte:02X}")).concat()),
        ("bytes".to_owned(), each(|byte| byte.to_string()).join(", ")),
        ("json".to_owned(), json.to_owned()),
        ("json with slashes escaped".to_owned(), json.replace('/', "\\/")),
        ("debug".to_owned(), secret.escape_debug().to_string()),
        ("bytes as debug".to_owned(), bytes.escape_ascii().to_string()),
        ("form".to_owned(), form_encoded.clone()),
        ("percent".to_owned(), form_encoded.replace('+', "%20")),
        ("every byte in percent".to_owned(), each(|byte| format!("%{byte:02X}")).concat()),
    ];
    // Base64 of a text that the secret is somewhere in: as it begins at each place of a triplet,
    // less the characters at both ends that its neighbours have a part in.
    for (name, engine) in [("base64", &STANDARD_NO_PAD), ("base64url", &URL_SAFE_NO_PAD)] {
        for before in 0..3 {
            let padded = [&vec![0; before], bytes].concat();
            let encoded = engine.encode(&padded);
            let start = [0, 2, 3][before];
            let end = encoded.len() - usize::from(padded.len() % 3 != 0);
            forms.push((format!("{name} from {before}"), encoded[start..end].to_owned()));
        }
    }
    forms.push(("padded base64".to_owned(), STANDARD.encode(bytes)));
    forms
}
