//! The secret half of tickets: a MAC that the database never holds.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::id::KeyId;
use super::material::KeyMaterial;
use super::ring::Ring;
use crate::domain::{Purpose, TicketId};
use crate::secret::Secret;

/// The context at the start of a ticket's MAC, so that it is never a MAC over anything else.
const CONTEXT: &[u8] = b"latchkey ticket 1\0";

const ID_BYTES: usize = 16;
const MAC_BYTES: usize = 32;
const TOKEN_BYTES: usize = ID_BYTES + MAC_BYTES;
/// A token's length: base64url of 48 bytes, without padding.
const TOKEN_LENGTH: usize = TOKEN_BYTES / 3 * 4;

/// The characters of base64url that are cut off.
const CUT_OFF: [char; 2] = ['-', '_'];

/// What follows where a token would end in `-` or `_`: mail programs do not take those for a part
/// of a link at its end.
const END: char = '0';

/// Makes and checks what a mailed link carries: `base64url(id ‖ HMAC-SHA-256(key, context ‖
/// purpose ‖ id))`, 64 characters, and a `0` after a last `-` or `_`.
#[derive(Clone)]
pub struct TicketKey {
    keys: Ring<(KeyId, hmac::Key)>,
}

impl TicketKey {
    /// With these keys: the first seals, all of them open.
    pub(super) fn new(keys: Ring<&KeyMaterial>) -> Self {
        let key = |material: &&KeyMaterial| {
            (material.id(), hmac::Key::new(hmac::HMAC_SHA256, material.private()))
        };
        Self { keys: keys.map(key) }
    }

    /// The token of a ticket's link: the same each time while the key is the same.
    pub fn seal(&self, purpose: Purpose, id: TicketId) -> Secret<String> {
        let (_, key) = self.keys.signs();
        let mac = hmac::sign(key, &message(purpose, id));
        let mut token = Zeroizing::new([0; TOKEN_BYTES]);
        let (head, tail) = token.split_at_mut(ID_BYTES);
        head.copy_from_slice(id.as_bytes());
        tail.copy_from_slice(mac.as_ref());
        let mut text = String::with_capacity(TOKEN_LENGTH + END.len_utf8());
        URL_SAFE_NO_PAD.encode_string(*token, &mut text);
        if text.ends_with(CUT_OFF) {
            text.push(END);
        }
        Secret::new(text)
    }

    /// The ticket that `token` was made for, and for which of `purposes`; `None` unless one of these
    /// keys made it, and it is written exactly as it was, but for a last `0`. Comparing takes the same time however
    /// much of it is right.
    pub fn open(&self, purposes: &[Purpose], token: &str) -> Option<(Purpose, TicketId)> {
        // Tokens of earlier releases may end in these characters.
        let is_cut = |cut: &&str| cut.len() == TOKEN_LENGTH && cut.ends_with(CUT_OFF);
        let cut = token.strip_suffix(END).filter(is_cut);
        let token = cut.unwrap_or(token);
        if token.len() != TOKEN_LENGTH {
            return None;
        }
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        URL_SAFE_NO_PAD.decode_slice(token, &mut *bytes).ok()?;
        let (id, mac) = bytes.split_first_chunk::<ID_BYTES>()?;
        let id = TicketId::from_bytes(*id);
        let is_for = |purpose: &&Purpose| {
            let message = message(**purpose, id);
            self.keys.iter().any(|(_, key)| hmac::verify(key, &message, mac).is_ok())
        };
        purposes.iter().find(is_for).map(|purpose| (*purpose, id))
    }
}

fn message(purpose: Purpose, id: TicketId) -> Vec<u8> {
    [CONTEXT, &[purpose.code()], id.as_bytes()].concat()
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;
    use crate::keys::id::KeyKind;
    use crate::random::Random;

    const ID: TicketId = TicketId::from_bytes([0x5a; 16]);
    const PURPOSES: [Purpose; 4] = [
        Purpose::VerifyEmail,
        Purpose::ResetPassword,
        Purpose::ChangeEmail,
        Purpose::CancelEmailChange,
    ];

    fn material(seed: u64) -> KeyMaterial {
        let id = KeyId::new(KeyKind::Ticket, Timestamp::EPOCH, [0; 4]);
        KeyMaterial::generate(id, &Random::seeded(seed)).unwrap()
    }

    fn ring<const N: usize>(keys: [&KeyMaterial; N]) -> TicketKey {
        TicketKey::new(Ring::new(keys).unwrap())
    }

    fn key(seed: u64) -> TicketKey {
        ring([&material(seed)])
    }

    #[test]
    fn a_token_opens_for_its_purpose_and_key_only() {
        for purpose in PURPOSES {
            let token = key(1).seal(purpose, ID);
            assert!((64..=65).contains(&token.expose().len()));
            assert_eq!(token.expose(), key(1).seal(purpose, ID).expose());
            for other in PURPOSES {
                let opened = key(1).open(&[other], token.expose());
                assert_eq!(opened, (other == purpose).then_some((purpose, ID)));
                assert_eq!(key(2).open(&[other], token.expose()), None);
            }
            assert_eq!(key(1).open(&PURPOSES, token.expose()), Some((purpose, ID)));
            assert_eq!(key(1).open(&[], token.expose()), None);
        }
    }

    #[test]
    fn no_token_ends_in_what_mail_programs_cut_off() {
        let mut long = 0;
        let key = key(1);
        for number in 0..10_000_u128 {
            let id = TicketId::from_bytes(number.to_be_bytes());
            let token = key.seal(Purpose::ResetPassword, id);
            let token = token.expose();
            assert!(token.ends_with(|last: char| last.is_ascii_alphanumeric()), "{token}");
            let opened = Some((Purpose::ResetPassword, id));
            assert_eq!(key.open(&PURPOSES, token), opened);
            if token.len() > TOKEN_LENGTH {
                long += 1;
                let earlier = &token[..TOKEN_LENGTH];
                assert_eq!(key.open(&PURPOSES, earlier), opened, "links sent earlier work");
                assert_eq!(key.open(&PURPOSES, &format!("{token}0")), None);
            } else {
                assert_eq!(key.open(&PURPOSES, &format!("{token}0")), None);
            }
        }
        assert!(long > 0);
    }

    #[test]
    fn an_older_key_still_opens() {
        let (old, new) = (material(1), material(2));
        let token = ring([&old]).seal(Purpose::VerifyEmail, ID);
        let both = ring([&new, &old]);
        assert_eq!(both.open(&PURPOSES, token.expose()), Some((Purpose::VerifyEmail, ID)));
        assert_ne!(both.seal(Purpose::VerifyEmail, ID).expose(), token.expose());
    }

    #[test]
    fn every_changed_bit_is_refused() {
        let token = key(1).seal(Purpose::ResetPassword, ID);
        let bytes = URL_SAFE_NO_PAD.decode(token.expose()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = URL_SAFE_NO_PAD.encode(forged);
            assert_eq!(key(1).open(&PURPOSES, &forged), None, "bit {bit}");
        }
    }

    #[test]
    fn only_the_exact_text_opens() {
        let key = key(1);
        let id = TicketId::from_bytes([0xff; 16]);
        let token = key.seal(Purpose::ResetPassword, id).expose().clone();
        assert!(token.starts_with("____"), "{token}");
        let other_alphabet = token.replace('_', "/").replace('-', "+");
        let shorter = token[..63].to_owned();
        for wrong in [
            String::new(),
            other_alphabet,
            shorter,
            format!("{token}="),
            format!("{token}\n"),
            format!(" {}", &token[1..]),
            "A".repeat(64),
            "ä".repeat(32),
        ] {
            assert_eq!(key.open(&PURPOSES, &wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_opens_or_panics(text in "\\PC{0,80}", exact in "[A-Za-z0-9_-]{64}") {
            prop_assert_eq!(key(1).open(&PURPOSES, &text), None);
            prop_assert_eq!(key(1).open(&PURPOSES, &exact), None);
        }
    }
}
