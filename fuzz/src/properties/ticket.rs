//! What a mailed link carries.

use std::sync::{Arc, LazyLock};

use latchkey::config::SigningAlgorithm;
use latchkey::domain::{Purpose, TicketId};
use latchkey::keys::{Keys, TicketKey};
use latchkey::random::Random;

use super::edits::edited;

const PURPOSES: [Purpose; 4] = [
    Purpose::VerifyEmail,
    Purpose::ResetPassword,
    Purpose::ChangeEmail,
    Purpose::CancelEmailChange,
];

static KEY: LazyLock<Arc<TicketKey>> = LazyLock::new(|| {
    let keys = Keys::ephemeral(SigningAlgorithm::Hs256, &Random::seeded(1)).unwrap();
    Arc::clone(keys.ticket())
});

/// The first byte is a purpose, the next sixteen a ticket, and the rest changes to its token (see
/// [`edited`]): only the unchanged text opens, and for its purpose alone. The bytes as a whole are
/// tried as a token, too.
pub fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        check_text(text);
    }
    let Some((first, rest)) = data.split_first() else { return };
    let Some((id, script)) = rest.split_first_chunk::<16>() else { return };
    let purpose = PURPOSES[usize::from(*first) % PURPOSES.len()];
    let id = TicketId::from_bytes(*id);
    let genuine = KEY.seal(purpose, id);
    let genuine = genuine.expose();
    assert!((64..=65).contains(&genuine.len()));
    assert_eq!(KEY.open(&[purpose], genuine), Some((purpose, id)));

    let changed = edited(genuine.as_bytes(), script);
    let Ok(changed) = std::str::from_utf8(&changed) else { return };
    check_text(changed);
    for other in PURPOSES {
        let is_genuine = is_text_of(changed, genuine) && other == purpose;
        assert_eq!(KEY.open(&[other], changed), is_genuine.then_some((purpose, id)), "{changed}");
    }
}

/// Whether `text` is `genuine`, or what an earlier release made in its place: 64 characters, without
/// the `0` after a last `-` or `_`.
fn is_text_of(text: &str, genuine: &str) -> bool {
    text == genuine || (genuine.len() > 64 && text == &genuine[..64])
}

/// Whatever opens is exactly the text that was made for this ticket.
fn check_text(text: &str) {
    for purpose in PURPOSES {
        if let Some((_, id)) = KEY.open(&[purpose], text) {
            assert!(is_text_of(text, KEY.seal(purpose, id).expose()), "{text}");
        }
    }
}
