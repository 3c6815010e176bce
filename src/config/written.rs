//! Every key that an operator can write: its name, default and allowed values, and the rules
//! between keys.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::reader::Reader;
use super::units::{days, duration_text};
use super::{
    AuditConfig, CompatibilityConfig, Config, ConfigProblems, ConfirmBy, CookieConfig,
    EmailChangeConfig, LogConfig, LogFormat, LogLevel, LoginConfig, MailConfig, PasswordConfig,
    PublicUrl, RecoveryConfig, RegistrationConfig, ServerConfig, SigningAlgorithm, SimpleJwt,
    StorageConfig, TokenConfig,
};
use crate::domain::PasswordPolicy;
use crate::domain::password::words::{ServiceWords, is_word};
use crate::domain::session::SessionLifetimes;

mod mail;
mod server;

use mail::sender_name;

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
        let (config, warnings) = reader.finish(config)?;
        Ok(Loaded { config, warnings })
    }
}

/// What a command needs that works on the data directory.
#[derive(Clone, Debug)]
pub struct DataConfig {
    /// Where data is.
    pub storage: StorageConfig,
    /// What tokens are like.
    pub tokens: TokenConfig,
    /// How long events are kept.
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
        let sections = (storage(&mut reader), tokens(&mut reader), audit(&mut reader));
        let config = match sections {
            (Some(storage), Some(tokens), Some(audit)) => Some(Self { storage, tokens, audit }),
            _ => None,
        };
        reader.finish_sections(config)
    }
}

/// Reads every key, good or bad, before the first `?`, so that all problems are found.
fn config(reader: &mut Reader) -> Option<Config> {
    let listen = server::listen(reader);
    let exposed = listen.filter(|address| !address.ip().to_canonical().is_loopback());
    let server = server::server(reader, listen, exposed);
    let storage = storage(reader);
    let tokens = tokens(reader);
    let passwords = passwords(reader);
    let registration = registration(reader);
    let login = login(reader);
    let recovery = reader.section("recovery").duration("ticket_lifetime", "1h", MINUTE..=days(7));
    let email_change =
        reader.section("email_change").duration("ticket_lifetime", "24h", MINUTE..=days(30));
    let cookies = reader.section("cookies").flag("enabled", false);
    let releases = [("5.3", SimpleJwt::V5_3), ("5.5", SimpleJwt::V5_5)];
    let simplejwt = reader.section("compatibility").choice("simplejwt", "5.3", &releases);
    let mail = mail::mail(reader, exposed);
    let audit = audit(reader);
    let log = log(reader);
    let (server, mail, mut passwords, cookies) = (server?, mail?, passwords?, cookies?);
    if cookies {
        server::warn_of_cookies(reader, &server);
    }
    add_service_words(&mut passwords.policy.words, &server, &mail);
    Some(Config {
        server,
        storage: storage?,
        tokens: tokens?,
        passwords,
        registration: registration?,
        login: login?,
        recovery: RecoveryConfig { ticket_lifetime: recovery? },
        email_change: EmailChangeConfig { ticket_lifetime: email_change? },
        cookies: CookieConfig { is_enabled: cookies },
        compatibility: CompatibilityConfig { simplejwt: simplejwt? },
        mail,
        audit: audit?,
        log: log?,
    })
}

fn storage(reader: &mut Reader) -> Option<StorageConfig> {
    let mut section = reader.section("storage");
    let directory = section.path("directory", "data");
    let keys = section.optional_path("keys");
    let cache = section.size("cache", "16MiB", MIB..=LARGEST_CACHE);
    let min_free = section.size("min_free", "64MiB", MIB..=TIB);
    let write_queue = section.count("write_queue", 1024, 8..=65_536);
    let directory = directory?;
    Some(StorageConfig {
        keys: keys?.unwrap_or_else(|| directory.join("keys")),
        directory,
        cache: cache?,
        min_free: min_free?,
        write_queue: write_queue?,
    })
}

fn tokens(reader: &mut Reader) -> Option<TokenConfig> {
    let mut section = reader.section("tokens");
    let access_lifetime = section.duration("access_lifetime", "30m", SECOND..=DAY);
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
    let algorithm = section.choice("algorithm", "", &algorithms);
    let shared_secret = section.secret("shared_secret");
    let issuer = section.optional_text("issuer");
    let audience = section.optional_text("audience");
    let key_activation = section.duration("key_activation", "1h", Duration::ZERO..=days(30));
    let sessions_per_user = section.count("sessions_per_user", 100, 1..=10_000);

    let others = [("refresh_lifetime", refresh), ("session_lifetime", session.flatten())];
    for (name, lifetime) in others {
        if let (Some(access), Some(lifetime)) = (access_lifetime, lifetime)
            && lifetime < access
        {
            let (lifetime, access) = (duration_text(lifetime), duration_text(access));
            section.problem(
                name,
                format_args!("found {lifetime}, but it must be at least access_lifetime, {access}"),
            );
        }
    }
    if let (Some(grace), Some(refresh)) = (reuse_grace, refresh)
        && grace > refresh
        && section.is_written("reuse_grace")
    {
        let (grace, refresh) = (duration_text(grace), duration_text(refresh));
        section.problem(
            "reuse_grace",
            format_args!("found {grace}, but it must be at most refresh_lifetime, {refresh}"),
        );
    }
    let mut algorithm = algorithm?;
    if let Some(Some(secret)) = &shared_secret {
        if secret.expose().len() < SHORTEST_SECRET {
            let message = format_args!("must have at least {SHORTEST_SECRET} bytes");
            section.problem("shared_secret", message);
        }
        if secret.expose().starts_with(INSECURE_PREFIX) {
            reader.warn(format!(
                "tokens.shared_secret begins with \"{INSECURE_PREFIX}\": Django made it for trying \
                 things out; anyone who knows it can sign access tokens"
            ));
        }
        match algorithm {
            None | Some(SigningAlgorithm::Hs256) => algorithm = Some(SigningAlgorithm::Hs256),
            Some(_) => reader.section("tokens").problem(
                "shared_secret",
                "needs algorithm \"HS256\" or \"\": no other signs with a secret",
            ),
        }
    }
    Some(TokenConfig {
        access_lifetime: access_lifetime?,
        sessions: SessionLifetimes {
            refresh: refresh?,
            session: session?,
            reuse_grace: reuse_grace?.min(refresh?),
            keep_first: keep_first?,
        },
        algorithm,
        shared_secret: shared_secret?,
        issuer: issuer?,
        audience: audience?,
        key_activation: key_activation?,
        sessions_per_user: sessions_per_user?,
    })
}

fn passwords(reader: &mut Reader) -> Option<PasswordConfig> {
    let mut section = reader.section("passwords");
    // NIST SP 800-63B, section 5.1.1.2, has eight characters for the least.
    let min_length = section.integer("min_length", 8, 8..=128);
    let words = section.list("words", "", WORDS, |text| {
        let text = text.trim();
        is_word(text).then(|| text.to_owned())
    });
    // Argon2 asks for 8 KiB a lane (RFC 9106, section 3.1); the least memory holds that for the
    // most lanes.
    let memory = section.size::<u64>("memory", "19MiB", 256 * KIB..=2 * GIB);
    let iterations = section.integer("iterations", 2, 1..=1000);
    let parallelism = section.integer("parallelism", 1, 1..=16);
    let threads = section.count_or_zero("threads", 0, 1..=256, "one per core");
    let max_wait = section.duration("max_wait", "1s", Duration::from_millis(10)..=MINUTE);

    if words.as_ref().is_some_and(|words| words.len() > MOST_WORDS) {
        section.problem("words", format_args!("found more than {MOST_WORDS}"));
    }
    if let (Some(memory), Some(iterations)) = (memory, iterations)
        && is_below_owasp_minimum(memory, iterations)
    {
        reader.warn(
            "passwords.memory and passwords.iterations are below OWASP's minimum for Argon2id: \
             stolen hashes are cheaper to guess (the defaults, 19MiB and 2, are that minimum)",
        );
    }
    let mut policy = PasswordPolicy { min_length: min_length?, words: ServiceWords::new() };
    words?.iter().for_each(|word| policy.words.add(word));
    Some(PasswordConfig {
        policy,
        memory_kib: u32::try_from(memory? / KIB).ok()?,
        iterations: iterations?,
        parallelism: parallelism?,
        threads: threads?,
        max_wait: max_wait?,
    })
}

/// Adds the words that everybody who uses the service knows: the name of the program, of its host
/// and of the sender of its mail.
fn add_service_words(words: &mut ServiceWords, server: &ServerConfig, mail: &MailConfig) {
    words.add("latchkey");
    for label in server.public_url.iter().flat_map(PublicUrl::host_labels) {
        words.add(label);
    }
    words.add(&sender_name(mail).unwrap_or_default());
}

/// OWASP's Password Storage Cheat Sheet names these pairs of memory and passes, for one lane, as
/// equally strong; more lanes share the same work.
fn is_below_owasp_minimum(memory: u64, iterations: u32) -> bool {
    let minimums = [(46, 1), (19, 2), (12, 3), (9, 4), (7, 5)];
    !minimums.iter().any(|(mib, passes)| memory >= mib * MIB && iterations >= *passes)
}

fn registration(reader: &mut Reader) -> Option<RegistrationConfig> {
    let mut section = reader.section("registration");
    let is_enabled = section.flag("enabled", true);
    let ways = [("click", ConfirmBy::Click), ("link", ConfirmBy::Link)];
    let confirm = section.choice("confirm", "click", &ways);
    let ticket_lifetime = section.duration("ticket_lifetime", "24h", MINUTE..=days(30));
    let per_address_per_hour =
        section.count_or_zero("per_address_per_hour", 60, 1..=MILLION, "no limit");
    Some(RegistrationConfig {
        is_enabled: is_enabled?,
        confirm: confirm?,
        ticket_lifetime: ticket_lifetime?,
        per_address_per_hour: per_address_per_hour?,
    })
}

fn login(reader: &mut Reader) -> Option<LoginConfig> {
    let mut section = reader.section("login");
    let require_verified_email = section.flag("require_verified_email", false);
    let max_failures = section.count("max_failures", 5, 1..=1000);
    let failure_window = section.duration("failure_window", "24h", MINUTE..=days(30));
    let lockout = section.duration("lockout", "15m", SECOND..=days(7));
    let per_address_per_minute =
        section.count_or_zero("per_address_per_minute", 60, 1..=MILLION, "no limit");
    let max_failures_per_email =
        section.count_or_zero("max_failures_per_email", 100, 1..=MILLION, "no limit");
    let slowed_per_hour = section.count("slowed_per_hour", 12, 1..=MILLION);
    let slowed_per_address_per_hour = section.count("slowed_per_address_per_hour", 2, 1..=MILLION);
    let limiter_entries = section.count("limiter_entries", 100_000, 1000..=10 * MILLION);
    Some(LoginConfig {
        require_verified_email: require_verified_email?,
        max_failures: max_failures?,
        failure_window: failure_window?,
        lockout: lockout?,
        per_address_per_minute: per_address_per_minute?,
        max_failures_per_email: max_failures_per_email?,
        slowed_per_hour: slowed_per_hour?,
        slowed_per_address_per_hour: slowed_per_address_per_hour?,
        limiter_entries: limiter_entries?,
    })
}

fn audit(reader: &mut Reader) -> Option<AuditConfig> {
    let mut section = reader.section("audit");
    let retention = section.duration("retention", "90d", DAY..=days(3650));
    let max_events = section.integer("max_events", 100_000, 1000..=100 * MILLION);
    Some(AuditConfig { retention: retention?, max_events: max_events? })
}

fn log(reader: &mut Reader) -> Option<LogConfig> {
    let mut section = reader.section("log");
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = section.choice("format", "text", &formats);
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let level = section.choice("level", "info", &levels);
    Some(LogConfig { format: format?, level: level? })
}

#[cfg(test)]
mod tests;
