//! What an operator writes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use latchkey::config::{Config, MailTransport, PublicUrl};

/// A password that no message may show.
const SECRET: &str = "correct-Horse-battery";

/// What parts the file from the variables.
const VARIABLES: &[u8] = b"\n---\n";

/// The longest line that anything is told in, in bytes.
const LONGEST_LINE: usize = 4096;

/// The longest text that a key takes, in bytes.
const LONGEST_TEXT: usize = 1024;

/// The variables of all keys, as the shipped file has them.
static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let mut section = "";
    let mut names = BTreeSet::new();
    for line in include_str!("../../../config.toml").lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ") {
            names.insert(format!("LATCHKEY_{section}_{key}").to_ascii_uppercase());
        }
    }
    names
});

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// The bytes up to a line of `---` are the file, and the lines behind it are variables. Whatever
/// they say, either everything is within its limits, or each problem is told in a line of its own;
/// and a password is never shown.
pub fn check(data: &[u8]) {
    // The password would be shown with any other key's value, and rightly.
    if data.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
        return;
    }
    let is_mark = |at: &usize| data[*at..].starts_with(VARIABLES);
    let (file, variables) = match (0..data.len()).find(is_mark) {
        Some(at) => (&data[..at], &data[at + VARIABLES.len()..]),
        None => (data, &b""[..]),
    };
    let variables = String::from_utf8_lossy(variables);
    let (known, unknown): (Vec<_>, Vec<_>) = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        // Those that name files could name anything on this machine.
        .filter(|(name, _)| !name.ends_with("_FILE"))
        .partition(|(name, _)| KNOWN.contains(*name));
    // Each unknown name is held against all known ones, which takes its time.
    let written = known.into_iter().chain(unknown.into_iter().take(1));
    // A password goes with a name, or nothing would ever be right.
    let environment: Vec<(OsString, OsString)> = [("LATCHKEY_MAIL_SMTP_USERNAME", "ann")]
        .into_iter()
        .chain(written)
        .chain([("LATCHKEY_MAIL_SMTP_PASSWORD", SECRET)])
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    // Never the same one twice: some file systems flush a file that is written again.
    let mut text = tempfile::NamedTempFile::new().unwrap();
    text.write_all(file).unwrap();
    check_load(text.path(), &environment);
}

fn check_load(path: &Path, environment: &[(OsString, OsString)]) {
    match Config::load(Some(path), environment) {
        Ok(loaded) => {
            check_limits(&loaded.config);
            check_urls(&loaded.config);
            check_texts(&loaded.config);
            loaded.warnings.iter().for_each(|warning| check_line(warning));
            let shown = format!("{loaded:?}");
            assert!(!shown.contains(SECRET), "{shown}");
        }
        Err(problems) => {
            let told = problems.to_string();
            assert!(!told.is_empty());
            told.split('\n').for_each(check_line);
            assert!(!format!("{problems:?}").contains(SECRET), "{problems:?}");
        }
    }
}

fn check_line(line: &str) {
    assert!(!line.is_empty() && line.len() <= LONGEST_LINE, "{line:?}");
    assert!(!line.contains(char::is_control), "{line:?}");
    assert!(!line.contains(SECRET), "{line}");
}

fn check_limits(config: &Config) {
    let Config { server, storage, tokens, passwords, login, .. } = config;
    for timeout in [
        server.header_timeout,
        server.request_timeout,
        server.idle_timeout,
        server.shutdown_timeout,
    ] {
        within(timeout.as_secs(), 1..=3_600);
    }
    within(server.max_connections.get(), 8..=1_000_000);
    within(server.max_body, 1 << 10..=16 << 20);
    within(storage.min_free, 1 << 20..=1 << 40);
    within(storage.write_queue.get(), 8..=65_536);
    within(tokens.access_lifetime.as_millis(), SECOND.as_millis()..=DAY.as_millis());
    assert!(tokens.sessions.refresh >= tokens.access_lifetime);
    assert!(tokens.sessions.session.is_none_or(|session| session >= tokens.access_lifetime));
    assert!(tokens.sessions.reuse_grace <= tokens.sessions.refresh);
    within(tokens.sessions_per_user.get(), 1..=10_000);
    within(passwords.policy.min_length, 8..=128);
    // Argon2 wants eight blocks of a KiB for each lane.
    within(passwords.memory_kib, 8 * passwords.parallelism..=2 << 20);
    within(passwords.iterations, 1..=1_000);
    within(login.max_failures.get(), 1..=1_000);
    within(login.limiter_entries.get(), 1_000..=10_000_000);
    within(config.recovery.ticket_lifetime.as_secs(), 60..=7 * 86_400);
    within(config.audit.max_events, 1_000..=100_000_000);
}

fn within<T: PartialOrd + Display>(value: T, range: RangeInclusive<T>) {
    assert!(range.contains(&value), "{value} is not from {} to {}", range.start(), range.end());
}

fn check_urls(config: &Config) {
    let server = &config.server;
    let is_exposed = !server.listen.ip().to_canonical().is_loopback();
    assert!(server.public_url.is_some() || !is_exposed, "links would lead nowhere");
    for url in server.public_url.iter().chain(&server.frontend_url).map(PublicUrl::as_str) {
        assert!(url.starts_with("http://") || url.starts_with("https://"), "{url}");
        assert!(!url.ends_with('/'), "{url}");
        let host = url.split('/').nth(2).unwrap();
        assert!(!host.is_empty() && !host.contains(['"', '\'', ';', ',', '*', '@']), "{url}");
        assert!(!url.contains(|c: char| c.is_control() || "?#\\ \"<>".contains(c)), "{url}");
    }
    for origin in &server.allowed_origins {
        let (scheme, host) = origin.split_once("://").unwrap();
        let is_scheme = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        assert!(!scheme.is_empty() && scheme.chars().all(is_scheme), "{origin}");
        assert!(!host.is_empty() && !host.contains(['/', '@', '*', ' ']), "{origin}");
        assert_eq!(*origin, origin.to_ascii_lowercase());
    }
}

/// What ends up in headers, tokens and the log is one line, and not a long one.
fn check_texts(config: &Config) {
    let Config { storage, tokens, mail, .. } = config;
    let mut texts = vec![mail.from.as_str()];
    texts.extend(tokens.issuer.as_deref());
    texts.extend([&storage.directory, &storage.keys].map(|path| path.to_str().unwrap()));
    texts.extend(mail.templates.iter().map(|path| path.to_str().unwrap()));
    match &mail.transport {
        MailTransport::Log => {}
        MailTransport::File { directory } => texts.push(directory.to_str().unwrap()),
        MailTransport::Smtp(smtp) => {
            assert!(!smtp.host.is_empty() && smtp.port > 0);
            texts.push(&smtp.host);
            texts.extend(smtp.ca_file.iter().map(|path| path.to_str().unwrap()));
            texts.extend(smtp.login.iter().map(|(name, _)| name.as_str()));
        }
    }
    for text in texts {
        assert!(!text.contains(char::is_control), "{text:?}");
        // The keys' directory is `keys` in another where none is named.
        assert!(text.len() <= LONGEST_TEXT + "/keys".len(), "{text:?}");
    }
}
