//! Access and refresh tokens, against a second reader of the same rules.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey::clock::Timestamp;
use latchkey::config::{SigningAlgorithm, SimpleJwt};
use latchkey::domain::session::SessionLifetimes;
use latchkey::domain::{Client, Session, SessionId, UserId};
use latchkey::jwt::{AccessClaims, Expiry, RefreshClaims, TokenError, TokenSettings, Tokens};
use latchkey::keys::Keys;
use latchkey::random::Random;

use super::edits::edited;
use super::wire::filled_in;
use reader::{Kind, Said, Signer};

mod reader;

/// When all tokens are checked.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);
const ISSUER: &str = "https://accounts.example.com";
const ALGORITHMS: [SigningAlgorithm; 3] =
    [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256, SigningAlgorithm::Hs256];

static MINTS: LazyLock<[Mint; 3]> = LazyLock::new(|| ALGORITHMS.map(Mint::new));

/// The tokens of one algorithm, and what is known about their keys besides.
struct Mint {
    tokens: Tokens,
    access: String,
    refresh: String,
    /// The secret keys, as the files have them; that of access tokens only for `HS256`.
    access_signer: Option<Signer>,
    refresh_signer: Signer,
}

impl Mint {
    fn new(algorithm: SigningAlgorithm) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let keys = Keys::load_or_create(&path, algorithm, NOW, &Random::seeded(1)).unwrap();
        let signer = |prefix: &str| {
            let files = std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path());
            let mut names = files.filter(|file| file.extension().is_some_and(|it| it == "secret"));
            names.find_map(|file| {
                let kid = file.file_stem()?.to_str()?.to_owned();
                let secret = std::fs::read_to_string(&file).unwrap();
                let secret = URL_SAFE_NO_PAD.decode(secret.trim()).unwrap();
                let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
                kid.starts_with(prefix).then_some(Signer { kid, key })
            })
        };
        let (access_signer, refresh_signer) = (signer("access-"), signer("refresh-").unwrap());
        let access_lifetime = Duration::from_secs(1_800);
        let settings = TokenSettings {
            access_lifetime,
            issuer: ISSUER.to_owned(),
            audience: None,
            simplejwt: SimpleJwt::V5_3,
        };
        let tokens = Tokens::new(keys.into(), settings);
        let access = tokens.access(&session(), NOW, [0xab; 16]).expose().clone();
        let refresh = tokens.refresh(&session()).expose().clone();
        Self { tokens, access, refresh, access_signer, refresh_signer }
    }

    fn genuine(&self, kind: Kind) -> &str {
        match kind {
            Kind::Access => &self.access,
            Kind::Refresh => &self.refresh,
        }
    }
}

fn session() -> Session {
    let lifetimes = SessionLifetimes {
        refresh: Duration::from_secs(86_400),
        session: Some(Duration::from_secs(30 * 86_400)),
        reuse_grace: Duration::from_secs(30),
        keep_first: true,
    };
    let client = Client::new("192.0.2.1".parse().unwrap(), "");
    Session::open(SessionId::new(NOW, [7; 10]), UserId(42), client, NOW, lifetimes)
}

/// The first byte says what the rest is.
///
/// - `e`: a byte that picks a genuine token (see [`pick`]), and changes to it (see [`edited`]).
/// - `j`: such a byte, and a header and a payload with a new line between them, to be signed by
///   the key of that token.
/// - `m`: such a byte, and all that stands before a token's last dot, to be signed.
///
/// In the last two, `{header}` and `{payload}` stand for those of the genuine token, with `j` as
/// JSON without its braces, with `m` as it is encoded; `{kid}` and `{other_kid}` for the names of
/// keys. Anything else is taken for a token as a whole.
pub fn check(data: &[u8]) {
    match data {
        [b'e', choice, script @ ..] => {
            let (mint, kind) = pick(*choice);
            check_edited(mint, kind, script);
        }
        [b'j', choice, text @ ..] => {
            let kind = pick(*choice).1;
            let values = hs256().placeholders(kind, |json| json[1..json.len() - 1].to_owned());
            let text = filled_in(text, &borrowed(&values));
            let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
            let payload = text.get(end + 1..).unwrap_or_default();
            let parts = [&text[..end], payload].map(|part| URL_SAFE_NO_PAD.encode(part));
            check_token(&hs256().signed(kind, parts.join(".").as_bytes()));
        }
        [b'm', choice, text @ ..] => {
            let kind = pick(*choice).1;
            let values = hs256().placeholders(kind, |json| URL_SAFE_NO_PAD.encode(json));
            check_token(&hs256().signed(kind, &filled_in(text, &borrowed(&values))));
        }
        text => check_token(text),
    }
}

/// One of the six kinds of genuine tokens: `0` to `5` are access and refresh tokens in turn, of
/// EdDSA, ES256 and HS256.
fn pick(choice: u8) -> (&'static Mint, Kind) {
    let choice = usize::from(choice.wrapping_sub(b'0')) % 6;
    (&MINTS[choice / 2], if choice % 2 == 0 { Kind::Access } else { Kind::Refresh })
}

fn hs256() -> &'static Mint {
    &MINTS[2]
}

fn borrowed<'a>(values: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    values.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

impl Mint {
    fn signer(&self, kind: Kind) -> &Signer {
        match kind {
            Kind::Access => self.access_signer.as_ref().unwrap(),
            Kind::Refresh => &self.refresh_signer,
        }
    }

    fn placeholders(
        &self,
        kind: Kind,
        show: impl Fn(&str) -> String,
    ) -> Vec<(&'static str, String)> {
        let mut parts = self.genuine(kind).split('.').map(|part| {
            String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap_or_default()).unwrap_or_default()
        });
        let (header, payload) = (parts.next().unwrap(), parts.next().unwrap());
        vec![
            ("header", show(&header)),
            ("payload", show(&payload)),
            ("kid", self.signer(kind).kid.clone()),
            ("other_kid", self.signer(kind.other()).kid.clone()),
        ]
    }

    fn signed(&self, kind: Kind, message: &[u8]) -> Vec<u8> {
        let signature = hmac::sign(&self.signer(kind).key, message);
        [message, b".", URL_SAFE_NO_PAD.encode(signature).as_bytes()].concat()
    }
}

/// Of all that changes make of a genuine token, only what is unchanged is accepted.
fn check_edited(mint: &Mint, kind: Kind, script: &[u8]) {
    let genuine = mint.genuine(kind);
    let changed = edited(genuine.as_bytes(), script);
    let Ok(changed) = std::str::from_utf8(&changed) else { return };
    let is_genuine = changed == genuine;
    let access = mint.tokens.check_access(changed, NOW, Expiry::Enforced);
    let refresh = mint.tokens.check_refresh(changed, NOW, Expiry::Enforced);
    let (right, wrong) = match kind {
        Kind::Access => (access.is_ok(), refresh.err()),
        Kind::Refresh => (refresh.is_ok(), access.err()),
    };
    assert_eq!(right, is_genuine, "{changed}");
    let refused = if is_genuine { TokenError::WrongType } else { TokenError::Invalid };
    assert_eq!(wrong, Some(refused), "{changed}");
    check_token(changed.as_bytes());
}

/// Whatever the text, it is accepted if and only if the second reader accepts it, says the same,
/// and was signed by the right key.
fn check_token(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Mint { tokens, refresh_signer, .. } = hs256();
    let said = |kind| {
        let said = reader::read(text, hs256().signer(kind), kind, ISSUER)?;
        let is_timely = said.exp > NOW.unix_seconds()
            && said.iat <= NOW.unix_seconds() + 60
            && said.nbf.is_none_or(|nbf| nbf <= NOW.unix_seconds());
        Some((said, is_timely))
    };
    let timely = |kind| said(kind).filter(|(_, is_timely)| *is_timely).map(|(said, _)| said);
    let access = tokens.check_access(text, NOW, Expiry::Enforced);
    let refresh = tokens.check_refresh(text, NOW, Expiry::Enforced);
    let any_time = tokens.check_refresh(text, NOW, Expiry::Ignored);

    let expected = timely(Kind::Access).map(access_claims);
    assert_eq!(access.clone().ok(), expected, "{text}");
    let expected = timely(Kind::Refresh).map(refresh_claims);
    assert_eq!(refresh.clone().ok(), expected, "{text}");
    let expected = said(Kind::Refresh).map(|(said, _)| refresh_claims(said));
    assert_eq!(any_time.ok(), expected, "{text}");
    assert_eq!(access == Err(TokenError::WrongType), refresh.is_ok(), "{text}");
    assert_eq!(refresh == Err(TokenError::WrongType), access.is_ok(), "{text}");

    // The other algorithms share no key with this one but that of refresh tokens.
    for mint in &MINTS[..2] {
        let is_shared = mint.refresh_signer.kid == refresh_signer.kid;
        let refresh = mint.tokens.check_refresh(text, NOW, Expiry::Ignored);
        assert!(refresh.is_err() || is_shared || text == mint.refresh, "{text}");
        let access = mint.tokens.check_access(text, NOW, Expiry::Enforced);
        assert!(access.is_err() || text == mint.access, "{text}");
    }
}

fn access_claims(said: Said) -> AccessClaims {
    AccessClaims {
        user: UserId(said.user),
        session: SessionId::parse(&said.sid).unwrap(),
        issued_at: Timestamp::from_unix_seconds(said.iat),
        expires_at: Timestamp::from_unix_seconds(said.exp),
    }
}

fn refresh_claims(said: Said) -> RefreshClaims {
    RefreshClaims {
        user: UserId(said.user),
        session: SessionId::parse(&said.sid).unwrap(),
        generation: said.generation,
        issued_at: Timestamp::from_unix_seconds(said.iat),
        expires_at: Timestamp::from_unix_seconds(said.exp),
    }
}
