//! Every key that an operator can write: its name, default and allowed values, and the rules
//! between keys.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::reader::{Reader, Section};
use super::units::{days, duration_text};
use super::{
    AuditConfig, CompatibilityConfig, Config, ConfigProblems, ConfirmBy, CookieConfig, LogConfig,
    LogFormat, LoginConfig, PasswordConfig, PublicUrl, RegistrationConfig, SigningAlgorithm,
    SimpleJwt, StorageConfig, TicketConfig, TokenConfig,
};
use crate::domain::PasswordPolicy;
use crate::domain::password::words::{ServiceWords, is_word};
use crate::domain::session::SessionLifetimes;

mod mail;
mod server;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = days(1);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The upper limit of keys where only the lower limit matters.
const MILLION: u64 = 1_000_000;

/// What `passwords.words` is a list of.
const WORDS: &str = "words of three characters or more, a letter among them, such as \"acme\"";

/// The most words: each new password is compared with all of them.
const MOST_WORDS: usize = 1000;

/// The fewest bytes of a secret that signs tokens with HMAC-SHA-256 (RFC 7518, section 3.2).
const SHORTEST_SECRET: usize = 32;

/// How a `SECRET_KEY` begins that `django-admin startproject` made.
const INSECURE_PREFIX: &str = "django-insecure-";

/// The most that a cache may have: a 32-bit machine cannot address much more.
const LARGEST_CACHE: u64 = if usize::BITS < 64 { GIB / 2 } else { 64 * GIB };

/// A configuration and its warnings.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings for the log, one line each; they do not stop the start.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the configuration: the defaults, then `file` if there is one, then those of the
    /// variables in `environment` that start with `LATCHKEY_`. Each later one overrides key by
    /// key.
    ///
    /// The key `smtp_password` of `[mail]` has the variable `LATCHKEY_MAIL_SMTP_PASSWORD`. If
    /// `LATCHKEY_MAIL_SMTP_PASSWORD_FILE` is set instead, the value is read from the file that it
    /// names, without the newline at its end; the same goes for every other key. Paths that are
    /// not absolute start at the working directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, all at once: a value of the wrong type or out of its range
    /// (an overridden one too), a key that does not exist, values that do not go together. Only an
    /// unreadable file, or one that is not TOML, is reported alone.
    pub fn load(
        file: Option<&Path>,
        environment: &[(OsString, OsString)],
    ) -> Result<Loaded, ConfigProblems> {
        let mut reader = Reader::new(file, environment)?;
        let config = config(&mut reader);
        Ok(Loaded { config, warnings: reader.finish(true)? })
    }
}

/// What a command needs that works on the data directory.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the type of each section says what it is for")]
pub struct DataConfig {
    pub storage: StorageConfig,
    pub tokens: TokenConfig,
    pub audit: AuditConfig,
}

impl DataConfig {
    /// Reads these sections as [`Config::load`] does. What is wrong with others does not matter, so
    /// that a command needs no secret that it does not use.
    ///
    /// # Errors
    /// Everything that is wrong with these sections, all at once.
    pub fn load(
        file: Option<&Path>,
        environment: &[(OsString, OsString)],
    ) -> Result<Self, ConfigProblems> {
        let mut reader = Reader::new(file, environment)?;
        let (storage, tokens) =
            (storage(reader.section("storage")), tokens(reader.section("tokens")));
        let config = Self { storage, tokens, audit: audit(reader.section("audit")) };
        reader.finish(false)?;
        Ok(config)
    }
}

fn config(reader: &mut Reader) -> Config {
    let server = server::server(reader.section("server"));
    let exposed = server::exposed(server.listen);
    let releases = [("5.3", SimpleJwt::V5_3), ("5.5", SimpleJwt::V5_5)];
    let mut config = Config {
        server,
        storage: storage(reader.section("storage")),
        tokens: tokens(reader.section("tokens")),
        passwords: passwords(reader.section("passwords")),
        registration: registration(reader.section("registration")),
        login: login(reader.section("login")),
        recovery: ticket(reader.section("recovery"), "1h", days(7)),
        email_change: ticket(reader.section("email_change"), "24h", days(30)),
        cookies: CookieConfig { is_enabled: reader.section("cookies").flag("enabled", false) },
        compatibility: CompatibilityConfig {
            simplejwt: reader.section("compatibility").choice("simplejwt", "5.3", &releases),
        },
        mail: mail::mail(reader.section("mail"), exposed),
        audit: audit(reader.section("audit")),
        log: log(reader.section("log")),
    };
    if config.cookies.is_enabled {
        server::warn_of_cookies(&mut reader.section("cookies"), &config.server);
    }
    // The words that everybody who uses the service knows: the name of the program, of its host
    // and of the sender of its mail.
    let words = &mut config.passwords.policy.words;
    words.add("latchkey");
    for label in config.server.public_url.iter().flat_map(PublicUrl::host_labels) {
        words.add(label);
    }
    words.add(&mail::sender_name(&config.mail).unwrap_or_default());
    config
}

fn ticket(mut section: Section<'_>, default: &'static str, most: Duration) -> TicketConfig {
    TicketConfig { ticket_lifetime: section.duration("ticket_lifetime", default, MINUTE..=most) }
}

fn storage(mut section: Section<'_>) -> StorageConfig {
    let directory = section.path("directory", "data");
    StorageConfig {
        keys: section.optional_path("keys").unwrap_or_else(|| directory.join("keys")),
        directory,
        cache: section.size("cache", "16MiB", MIB..=LARGEST_CACHE),
        min_free: section.size("min_free", "64MiB", MIB..=TIB),
        write_queue: section.integer("write_queue", 1024, 8..=65_536),
    }
}

fn tokens(mut section: Section<'_>) -> TokenConfig {
    let access = section.duration("access_lifetime", "30m", SECOND..=DAY);
    let refresh = section.duration("refresh_lifetime", "24h", SECOND..=days(365));
    let session =
        section.duration_or_zero("session_lifetime", "30d", SECOND..=days(3650), "no end");
    let reuse_grace = section.duration("reuse_grace", "30s", Duration::ZERO..=days(365));
    let keep_first = section.flag("keep_first", true);
    let algorithms = [
        ("", None),
        ("EdDSA", Some(SigningAlgorithm::EdDsa)),
        ("ES256", Some(SigningAlgorithm::Es256)),
        ("HS256", Some(SigningAlgorithm::Hs256)),
    ];
    let mut config = TokenConfig {
        access_lifetime: access,
        sessions: SessionLifetimes {
            refresh,
            session,
            reuse_grace: reuse_grace.min(refresh),
            keep_first,
        },
        algorithm: section.choice("algorithm", "", &algorithms),
        shared_secret: section.secret("shared_secret"),
        issuer: section.optional_text("issuer"),
        audience: section.optional_text("audience"),
        key_activation: section.duration("key_activation", "1h", Duration::ZERO..=days(30)),
        sessions_per_user: section.integer("sessions_per_user", 100, 1..=10_000),
    };

    let others = [("refresh_lifetime", Some(refresh)), ("session_lifetime", session)];
    for (name, lifetime) in others {
        if let Some(lifetime) = lifetime.filter(|lifetime| *lifetime < access)
            && section.is_sound("access_lifetime")
        {
            let (lifetime, access) = (duration_text(lifetime), duration_text(access));
            section.problem(
                name,
                format_args!("found {lifetime}, but it must be at least access_lifetime, {access}"),
            );
        }
    }
    if reuse_grace > refresh
        && section.is_sound("refresh_lifetime")
        && section.is_written("reuse_grace")
    {
        let (grace, refresh) = (duration_text(reuse_grace), duration_text(refresh));
        section.problem(
            "reuse_grace",
            format_args!("found {grace}, but it must be at most refresh_lifetime, {refresh}"),
        );
    }
    if let Some(secret) = &config.shared_secret {
        if secret.expose().len() < SHORTEST_SECRET {
            let message = format_args!("must have at least {SHORTEST_SECRET} bytes");
            section.problem("shared_secret", message);
        }
        match config.algorithm {
            None | Some(SigningAlgorithm::Hs256) => {
                config.algorithm = Some(SigningAlgorithm::Hs256);
            }
            Some(_) => section.problem(
                "shared_secret",
                "needs algorithm \"HS256\" or \"\": no other signs with a secret",
            ),
        }
        if secret.expose().starts_with(INSECURE_PREFIX) {
            section.warn(format!(
                "tokens.shared_secret begins with \"{INSECURE_PREFIX}\": Django made it for trying \
                 things out; anyone who knows it can sign access tokens"
            ));
        }
    }
    config
}

fn passwords(mut section: Section<'_>) -> PasswordConfig {
    // NIST SP 800-63B, section 5.1.1.2, has eight characters for the least.
    let min_length = section.integer("min_length", 8, 8..=128);
    let listed = section.list("words", "", WORDS, |text| {
        let text = text.trim();
        is_word(text).then(|| text.to_owned())
    });
    if listed.len() > MOST_WORDS {
        section.problem("words", format_args!("found more than {MOST_WORDS}"));
    }
    let mut words = ServiceWords::new();
    listed.iter().for_each(|word| words.add(word));
    // Argon2 asks for 8 KiB a lane (RFC 9106, section 3.1); the least memory holds that for the
    // most lanes.
    let memory: u64 = section.size("memory", "19MiB", 256 * KIB..=2 * GIB);
    let config = PasswordConfig {
        policy: PasswordPolicy { min_length, words },
        memory_kib: u32::try_from(memory / KIB).unwrap_or(u32::MAX),
        iterations: section.integer("iterations", 2, 1..=1000),
        parallelism: section.integer("parallelism", 1, 1..=16),
        threads: section.integer_or_zero("threads", 0, 1..=256, "one per core"),
        max_wait: section.duration("max_wait", "1s", Duration::from_millis(10)..=MINUTE),
    };
    if is_below_owasp_minimum(memory, config.iterations) {
        section.warn(
            "passwords.memory and passwords.iterations are below OWASP's minimum for Argon2id: \
             stolen hashes are cheaper to guess (the defaults, 19MiB and 2, are that minimum)",
        );
    }
    config
}

/// OWASP's Password Storage Cheat Sheet names these pairs of memory and passes, for one lane, as
/// equally strong; more lanes share the same work.
fn is_below_owasp_minimum(memory: u64, iterations: u32) -> bool {
    let minimums = [(46, 1), (19, 2), (12, 3), (9, 4), (7, 5)];
    !minimums.iter().any(|(mib, passes)| memory >= mib * MIB && iterations >= *passes)
}

fn registration(mut section: Section<'_>) -> RegistrationConfig {
    let ways = [("click", ConfirmBy::Click), ("link", ConfirmBy::Link)];
    RegistrationConfig {
        is_enabled: section.flag("enabled", true),
        confirm: section.choice("confirm", "click", &ways),
        ticket_lifetime: section.duration("ticket_lifetime", "24h", MINUTE..=days(30)),
        per_address_per_hour: section.limit("per_address_per_hour", 60, 1..=MILLION),
    }
}

fn login(mut section: Section<'_>) -> LoginConfig {
    LoginConfig {
        require_verified_email: section.flag("require_verified_email", false),
        max_failures: section.integer("max_failures", 5, 1..=1000),
        failure_window: section.duration("failure_window", "24h", MINUTE..=days(30)),
        lockout: section.duration("lockout", "15m", SECOND..=days(7)),
        per_address_per_minute: section.limit("per_address_per_minute", 60, 1..=MILLION),
        max_failures_per_email: section.limit("max_failures_per_email", 100, 1..=MILLION),
        slowed_per_hour: section.integer("slowed_per_hour", 12, 1..=MILLION),
        slowed_per_address_per_hour: section.integer("slowed_per_address_per_hour", 2, 1..=MILLION),
        limiter_entries: section.integer("limiter_entries", 100_000, 1000..=10 * MILLION),
    }
}

fn audit(mut section: Section<'_>) -> AuditConfig {
    AuditConfig {
        retention: section.duration("retention", "90d", DAY..=days(3650)),
        max_events: section.integer("max_events", 100_000, 1000..=100 * MILLION),
    }
}

fn log(mut section: Section<'_>) -> LogConfig {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let levels = [
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    LogConfig {
        format: section.choice("format", "text", &formats),
        level: section.choice("level", "info", &levels),
    }
}

#[cfg(test)]
mod tests;
