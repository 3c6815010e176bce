//! The configuration as it is meant: every value parsed, bounded and ready to use.
//!
//! [`Config::load`] turns what an operator writes (a file, environment variables) into these types.
//! A limit that is switched off is `None` here, never zero.
//!
//! The modules below, in reading order: `units` knows durations and sizes, `urls` what passes as a
//! URL, `problems` how a complaint reads, `source` where values are written, `reader` turns them
//! into types and collects every problem on the way, and `written` is the list of all keys. A key
//! is added there, to the types here, and to `config.toml`.

mod origins;
mod problems;
mod public_url;
mod reader;
mod source;
mod units;
mod urls;
mod written;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tracing::level_filters::LevelFilter;

use crate::domain::PasswordPolicy;
use crate::domain::session::SessionLifetimes;
use crate::secret::Secret;

pub use problems::ConfigProblems;
pub use public_url::PublicUrl;
pub use written::{DataConfig, Loaded};

/// Everything an operator can set.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the type of each section says what it is for")]
pub struct Config {
    pub server: ServerConfig,
    pub storage: StorageConfig,
    pub tokens: TokenConfig,
    pub passwords: PasswordConfig,
    pub registration: RegistrationConfig,
    pub login: LoginConfig,
    pub recovery: TicketConfig,
    pub email_change: TicketConfig,
    pub cookies: CookieConfig,
    pub compatibility: CompatibilityConfig,
    pub mail: MailConfig,
    pub audit: AuditConfig,
    pub log: LogConfig,
}

/// `[server]`: the address to listen on, and the limits of connections.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The base of mailed links; `None` only while listening on loopback, where it defaults to that
    /// address (`http://127.0.0.1:8000`).
    pub public_url: Option<PublicUrl>,
    /// Where verification and reset lead; `None` for Latchkey's own pages.
    pub frontend_url: Option<PublicUrl>,
    /// The networks whose `X-Forwarded-For` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The origins that browsers may call from, as they send them (`https://app.example`,
    /// `capacitor://localhost`).
    pub allowed_origins: Vec<String>,
    /// The most connections at one time.
    pub max_connections: NonZeroUsize,
    /// The most connections from one address (an IPv6 /64), trusted proxies exempt.
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// The most bytes in a request's body.
    pub max_body: usize,
    /// How long the head of a request may take.
    pub header_timeout: Duration,
    /// How long the body of a request, and then its handling, may take.
    pub request_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long requests under way may take to finish when the server stops.
    pub shutdown_timeout: Duration,
}

/// `[storage]`: the data directory and the limits of storage.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// The data directory; the database is `latchkey.redb` in it.
    pub directory: PathBuf,
    /// The directory of key files; by default `keys` in the data directory.
    pub keys: PathBuf,
    /// The most memory for the database's cache, in bytes.
    pub cache: usize,
    /// Writes are refused if fewer bytes than this are free on the disk.
    pub min_free: u64,
    /// The most writes that may wait for the writer.
    pub write_queue: NonZeroUsize,
}

/// `[tokens]`: tokens and sessions.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// An access token's lifetime.
    pub access_lifetime: Duration,
    /// The lifetimes of refresh tokens and sessions, and the grace after a rotation.
    pub sessions: SessionLifetimes,
    /// The algorithm that signs access tokens; `None` for that of the newest access key in the key
    /// directory, and ES256 in a new one.
    pub algorithm: Option<SigningAlgorithm>,
    /// The secret that signs access tokens in place of a key, with HS256: its text, as other
    /// services know it. At least 32 bytes.
    pub shared_secret: Option<Secret<String>>,
    /// The `iss` of access tokens; `None` for the public URL.
    pub issuer: Option<String>,
    /// The `aud` of access tokens; `None` for tokens without one.
    pub audience: Option<String>,
    /// How long a new key is published before it signs.
    pub key_activation: Duration,
    /// The most sessions of one user; one more ends the oldest.
    pub sessions_per_user: NonZeroUsize,
}

/// An algorithm that signs access tokens (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// HMAC with SHA-256 under one shared secret.
    Hs256,
}

/// `[passwords]`: the rules for passwords and the cost of hashing.
#[derive(Clone, Debug)]
pub struct PasswordConfig {
    /// The rules for a new password.
    pub policy: PasswordPolicy,
    /// Argon2id's memory in KiB.
    pub memory_kib: u32,
    /// Argon2id's passes.
    pub iterations: u32,
    /// Argon2id's lanes.
    pub parallelism: u32,
    /// Hashing threads; `None` for one per core.
    pub threads: Option<NonZeroUsize>,
    /// A hash that would have to wait longer than this is refused at once.
    pub max_wait: Duration,
}

/// `[registration]`: who may register, and how an address is confirmed.
#[derive(Clone, Debug)]
pub struct RegistrationConfig {
    /// Whether anyone may register.
    pub is_enabled: bool,
    /// What confirms an address.
    pub confirm: ConfirmBy,
    /// How long the mailed link is valid.
    pub ticket_lifetime: Duration,
    /// Attempts to register an hour from one address (an IPv6 /64). Every attempt that could show
    /// whether an email or a username is taken counts, even if it is refused.
    pub per_address_per_hour: Option<NonZeroU32>,
}

/// What confirms an address: the click on the page behind the mailed link, or opening the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmBy {
    /// The button on the page. Mail scanners that open links confirm nothing.
    Click,
    /// The GET of the link, as the original had it.
    Link,
}

/// `[login]`: the limits on logging in.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// Whether the address must be confirmed before a login.
    pub require_verified_email: bool,
    /// How many failures from one address at one account lock out that pair.
    pub max_failures: NonZeroU32,
    /// How long a failure counts.
    pub failure_window: Duration,
    /// How long a pair stays locked out.
    pub lockout: Duration,
    /// Attempts a minute from one address (an IPv6 /64).
    pub per_address_per_minute: Option<NonZeroU32>,
    /// Failures a day at one account, above which only addresses that have logged in to it before
    /// may try.
    pub max_failures_per_email: Option<NonZeroU32>,
    /// Attempts an hour that such an email admits from all unknown addresses together.
    pub slowed_per_hour: NonZeroU32,
    /// Of these, the most from one address.
    pub slowed_per_address_per_hour: NonZeroU32,
    /// The most entries in each of the limiter's tables.
    pub limiter_entries: NonZeroUsize,
}

/// `[recovery]` and `[email_change]`: forgotten passwords, and changes of address.
#[derive(Clone, Debug)]
pub struct TicketConfig {
    /// How long the mailed link is valid.
    pub ticket_lifetime: Duration,
}

/// `[cookies]`: refresh tokens in cookies.
#[derive(Clone, Debug)]
pub struct CookieConfig {
    /// Whether a login may ask for its refresh token in a cookie.
    pub is_enabled: bool,
}

/// `[compatibility]`: the wire format that clients expect.
#[derive(Clone, Debug)]
pub struct CompatibilityConfig {
    /// The release of djangorestframework-simplejwt whose wire format counts.
    pub simplejwt: SimpleJwt,
}

/// A release of djangorestframework-simplejwt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimpleJwt {
    /// 5.3: `user_id` is a number, and a bad token "is invalid or expired".
    V5_3,
    /// 5.5: `user_id` is a string, a bad token "is invalid" or "is expired", and a disabled account
    /// has an answer of its own at a refresh.
    V5_5,
}

/// `[mail]`: how mail is delivered.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// How mail leaves.
    pub transport: MailTransport,
    /// The sender, as in a header: `Latchkey <accounts@example.com>`.
    pub from: String,
    /// A directory of templates that replace the built-in ones.
    pub templates: Option<PathBuf>,
    /// Mails of one purpose to one mailbox a day.
    pub per_mailbox_per_day: Option<NonZeroU32>,
    /// How long mail that could not be delivered is kept.
    pub keep_failed: Duration,
}

/// How mail leaves.
#[derive(Clone, Debug)]
pub enum MailTransport {
    /// Into the log, links included, for trying things out.
    Log,
    /// Into a directory, one `.eml` file per mail.
    File {
        /// That directory.
        directory: PathBuf,
    },
    /// To a mail server.
    Smtp(SmtpConfig),
}

/// The mail server.
#[derive(Clone, Debug)]
pub struct SmtpConfig {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// A PEM file of the certificates to trust; `None` for the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// Name and password to log in with.
    pub login: Option<(String, Secret<String>)>,
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// STARTTLS: plain text first, then TLS, or nothing is sent (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// Not at all: for a server on this machine.
    None,
}

/// `[audit]`: how long events are kept.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// How long events are kept.
    pub retention: Duration,
    /// The most events that are kept.
    pub max_events: u64,
}

/// `[log]`: the format and level of the log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The format of a line.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: LevelFilter,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
