//! The names of keys. A name holds the use of its key, its algorithm, and the time from which it
//! signs.

use std::fmt;

use crate::clock::Timestamp;
use crate::config::SigningAlgorithm;

/// The use of a key, which determines its algorithm: no key has two uses or two algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Signs access tokens.
    Access(SigningAlgorithm),
    /// Signs refresh tokens, with HMAC-SHA-256.
    Refresh,
    /// Authenticates the tickets in mailed links, with HMAC-SHA-256.
    Ticket,
}

/// How a key's private part is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyForm {
    /// A key pair: PKCS#8 PEM, and the public half beside it.
    Pair,
    /// Random bytes as base64url text.
    Secret,
}

impl KeyKind {
    const ALL: [Self; 5] = [
        Self::Access(SigningAlgorithm::EdDsa),
        Self::Access(SigningAlgorithm::Es256),
        Self::Access(SigningAlgorithm::Hs256),
        Self::Refresh,
        Self::Ticket,
    ];

    /// The prefix of names of this kind.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Access(SigningAlgorithm::EdDsa) => "access-eddsa",
            Self::Access(SigningAlgorithm::Es256) => "access-es256",
            Self::Access(SigningAlgorithm::Hs256) => "access-hs256",
            Self::Refresh => "refresh-hs256",
            Self::Ticket => "ticket-hmac",
        }
    }

    /// Its use, in one or two words.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Access(_) => "access",
            Self::Refresh => "refresh",
            Self::Ticket => "ticket",
        }
    }

    /// The algorithm, as the `alg` of a token if it signs tokens (RFC 7518, section 3.1; RFC 8037,
    /// section 3.1).
    pub const fn algorithm(self) -> &'static str {
        match self {
            Self::Access(SigningAlgorithm::EdDsa) => "EdDSA",
            Self::Access(SigningAlgorithm::Es256) => "ES256",
            Self::Access(SigningAlgorithm::Hs256) | Self::Refresh => "HS256",
            Self::Ticket => "HMAC-SHA256",
        }
    }

    pub(super) const fn form(self) -> KeyForm {
        match self {
            Self::Access(SigningAlgorithm::EdDsa | SigningAlgorithm::Es256) => KeyForm::Pair,
            Self::Access(SigningAlgorithm::Hs256) | Self::Refresh | Self::Ticket => KeyForm::Secret,
        }
    }
}

/// A key's name, which is a token's `kid`: `access-eddsa-1733479200-0a1b2c3d`. It consists of the
/// kind, the Unix second from which it signs (ten digits, so that names sort by time), and 32
/// random bits that distinguish keys of the same second.
///
/// The second is fixed when the key is created: now for a key that is needed at once,
/// `key_activation` later for one that replaces another. A later change of that setting, a copy of
/// the file or a restart does not move it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId {
    kind: KeyKind,
    signs_from: u64,
    tag: u32,
}

impl KeyId {
    /// The name of a secret that other services share. No file has it.
    pub const SHARED: Self =
        Self { kind: KeyKind::Access(SigningAlgorithm::Hs256), signs_from: 0, tag: 0 };

    /// The latest second that ten digits hold, in the year 2286.
    const LAST_SECOND: u64 = 9_999_999_999;

    /// A name for a key of `kind` that signs from the second of `signs_from` on.
    pub(super) fn new(kind: KeyKind, signs_from: Timestamp, tag: [u8; 4]) -> Self {
        let signs_from = signs_from.unix_seconds().min(Self::LAST_SECOND);
        Self { kind, signs_from, tag: u32::from_be_bytes(tag) }
    }

    /// Parses a name exactly as [`Display`](fmt::Display) writes it; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = KeyKind::ALL.into_iter().find_map(|kind| {
            let rest = text.strip_prefix(kind.prefix())?.strip_prefix('-')?;
            Some((kind, rest))
        })?;
        let (signs_from, tag) = rest.split_once('-')?;
        let signs_from = signs_from.parse().ok()?;
        let id = Self { kind, signs_from, tag: u32::from_str_radix(tag, 16).ok()? };
        // Numbers can be written in several ways; only the canonical one is a name.
        (id.to_string() == text).then_some(id)
    }

    /// The use of the key.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The time from which it signs, unless it must sign earlier because there is no other.
    pub const fn signs_from(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.signs_from)
    }

    /// The order of keys: by the time from which they sign, then by their random bits.
    pub(super) const fn order(&self) -> (u64, u32) {
        (self.signs_from, self.tag)
    }

    /// The name of the file that holds the private part.
    pub(super) fn private_file(&self) -> String {
        match self.kind.form() {
            KeyForm::Pair => format!("{self}{PAIR_SUFFIX}"),
            KeyForm::Secret => format!("{self}{SECRET_SUFFIX}"),
        }
    }

    /// The name of the file that holds the public half, if there is one.
    pub(super) fn public_file(&self) -> Option<String> {
        (self.kind.form() == KeyForm::Pair).then(|| format!("{self}{PUBLIC_SUFFIX}"))
    }
}

/// The name of the list of revoked keys, one name a line.
pub(super) const FORGOTTEN: &str = ".forgotten";

const PAIR_SUFFIX: &str = ".pem";
const PUBLIC_SUFFIX: &str = ".pub.pem";
const SECRET_SUFFIX: &str = ".secret";

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileName {
    /// A key's private part.
    Private(KeyId),
    /// A key's public half.
    Public(KeyId),
    /// Looks like a key's file but is not one of ours.
    Unknown,
    /// Not related to keys.
    Other,
}

impl FileName {
    pub(super) fn of(name: &str) -> Self {
        let parse = |suffix| name.strip_suffix(suffix).and_then(KeyId::parse);
        let (id, is_public) = if name.ends_with(PUBLIC_SUFFIX) {
            (parse(PUBLIC_SUFFIX), true)
        } else if name.ends_with(PAIR_SUFFIX) {
            (parse(PAIR_SUFFIX), false)
        } else if name.ends_with(SECRET_SUFFIX) {
            (parse(SECRET_SUFFIX), false)
        } else {
            return Self::Other;
        };
        match id {
            Some(id) if is_public && id.public_file().as_deref() == Some(name) => Self::Public(id),
            Some(id) if !is_public && id.private_file() == name => Self::Private(id),
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, signs_from, tag } = self;
        write!(f, "{}-{signs_from:010}-{tag:08x}", kind.prefix())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_only_as_they_are_written() {
        let now = Timestamp::from_unix_seconds(1_733_479_200);
        for kind in KeyKind::ALL {
            let id = KeyId::new(kind, now, [0x0a, 0x1b, 0x2c, 0x3d]);
            assert_eq!(id.to_string(), format!("{}-1733479200-0a1b2c3d", kind.prefix()));
            assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        }
        for wrong in [
            "",
            "access-eddsa",
            "access-eddsa-1733479200",
            "access-eddsa-1733479200-0A1B2C3D",
            "access-eddsa-1733479200-+a1b2c3d",
            "access-eddsa-+733479200-0a1b2c3d",
            "access-eddsa-01733479200-0a1b2c3d",
            "access-eddsa-1733479200-0a1b2c3d-",
            "access-rs256-1733479200-0a1b2c3d",
            "refresh-eddsa-1733479200-0a1b2c3d",
        ] {
            assert_eq!(KeyId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_time_before_the_first_or_after_the_last_of_ten_digits_still_makes_a_name() {
        for now in [Timestamp::EPOCH, Timestamp::from_micros(u64::MAX)] {
            let id = KeyId::new(KeyKind::Refresh, now, [0; 4]);
            assert_eq!(id.to_string().len(), "refresh-hs256-1733479200-0a1b2c3d".len());
            assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        }
    }

    #[test]
    fn a_file_name_says_what_the_file_is() {
        let pair = KeyId::parse("access-es256-1733479200-0a1b2c3d").unwrap();
        let secret = KeyId::parse("ticket-hmac-1733479200-0a1b2c3d").unwrap();
        let of = |name: String| FileName::of(&name);
        assert_eq!(of(format!("{pair}.pem")), FileName::Private(pair));
        assert_eq!(of(format!("{pair}.pub.pem")), FileName::Public(pair));
        assert_eq!(of(format!("{secret}.secret")), FileName::Private(secret));
        assert_eq!(of(format!("{pair}.secret")), FileName::Unknown);
        assert_eq!(of(format!("{secret}.pem")), FileName::Unknown);
        assert_eq!(of(format!("{secret}.pub.pem")), FileName::Unknown);
        assert_eq!(of("mine.pem".to_owned()), FileName::Unknown);
        assert_eq!(of(format!("{pair}.pem.bak")), FileName::Other);
    }
}
