use std::collections::BTreeSet;
use std::fs::Permissions;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::config::reader::Key;
use crate::config::source::{Value, WrittenFile};
use crate::config::{MailTransport, SmtpConfig, SmtpSecurity};
use crate::domain::NewPassword;
use crate::secret::Secret;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");

/// Mail goes to a server.
const SMTP: &str =
    "[mail]\ntransport = 'smtp'\nfrom = 'a@b.example'\nsmtp_host = 'mail.example.com'\n";

fn write(path: &Path, text: impl AsRef<[u8]>, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What is loaded from a file of this text, called `c.toml`, and these variables. The directory
/// is taken out of the messages.
fn load(toml: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.toml");
    write(&path, toml, 0o600);
    let prefix = format!("{}/", directory.path().display());
    Config::load(Some(&path), &environment(variables))
        .map_err(|problems| problems.to_string().replace(&prefix, ""))
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn loaded(toml: &str, variables: &[(&str, &str)]) -> Loaded {
    load(toml, variables).unwrap_or_else(|problems| panic!("{problems}"))
}

fn config_of(toml: &str, variables: &[(&str, &str)]) -> Config {
    let loaded = loaded(toml, variables);
    assert_eq!(loaded.warnings, Vec::<String>::new());
    loaded.config
}

/// The mail server of such a configuration.
fn smtp_of(toml: &str, variables: &[(&str, &str)]) -> SmtpConfig {
    match config_of(toml, variables).mail.transport {
        MailTransport::Smtp(smtp) => smtp,
        other => panic!("{other:?}"),
    }
}

/// Every key, as it is declared where it is read.
fn keys() -> Vec<Key> {
    let mut reader = Reader::new(None, &[]).unwrap();
    config(&mut reader);
    reader.keys
}

/// The lines of values are held against the shipped file below; here is what they come to.
#[test]
fn nothing_written_gives_the_defaults_of_the_design() {
    let config = config_of("", &[]);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.server.public_url, None);
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.server.max_connections_per_address, NonZeroUsize::new(256));
    assert_eq!(config.storage.keys, PathBuf::from("data/keys"));
    assert_eq!(config.tokens.access_lifetime, 30 * MINUTE);
    assert_eq!(config.tokens.sessions.session, Some(days(30)));
    assert_eq!(config.tokens.algorithm, None);
    assert!(config.tokens.shared_secret.is_none());
    assert_eq!(config.passwords.memory_kib, 19 * 1024);
    assert_eq!(config.passwords.threads, None);
    assert!(matches!(config.mail.transport, MailTransport::Log));
}

#[test]
fn the_shipped_file_is_the_defaults() {
    let path = Path::new(SHIPPED);
    let shipped = Config::load(Some(path), &[]).unwrap();
    let built_in = Config::load(None, &[]).unwrap();
    assert_eq!(format!("{shipped:#?}"), format!("{built_in:#?}"));

    // Some values leave no trace in the configuration (a port while mail goes to the log), so
    // each is also held to its default as it is written.
    let file = WrittenFile::read(path).unwrap_or_else(|_| unreachable!("it was read just now"));
    for key in keys() {
        let written = file.value(key.section, key.name).unwrap_or_else(|| panic!("{key}"));
        assert_eq!(bare(&written.value), key.default, "{key}");
    }
}

/// `value` as a variable would have it.
fn bare(value: &Value) -> String {
    match value {
        Value::Bare(text) | Value::Text(text) => text.clone(),
        Value::List(items) => items.iter().map(bare).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[test]
fn the_shipped_file_says_of_each_key_what_it_takes() {
    let text = std::fs::read_to_string(SHIPPED).unwrap();
    for key in keys() {
        let section = text.split_once(&format!("[{}]\n", key.section)).unwrap().1;
        let above = section.split_once(&format!("\n{} = ", key.name)).unwrap().0;
        let comment = above.rsplit("\n\n").next().unwrap();
        let lines = comment.lines().map(|line| {
            line.strip_prefix("# ").unwrap_or_else(|| panic!("{key} has no comment of its own"))
        });
        let comment = lines.collect::<Vec<_>>().join(" ");
        if let Some((_, range)) = key.takes.split_once(" from ") {
            let range = range.split(',').next().unwrap();
            assert!(comment.contains(range), "{key}: {range} is not in {comment:?}");
            let tells_of_zero = comment.contains("; 0 for") || comment.contains(", 0 for");
            assert_eq!(tells_of_zero, key.takes.contains(", or 0 for"), "{key}");
        }
        for word in key.takes.split('"').skip(1).step_by(2).filter(|_| key.takes.starts_with('"')) {
            assert!(comment.contains(&format!("{word:?}")), "{key}: {word}");
        }
    }
}

#[test]
fn no_two_keys_share_a_variable() {
    let variables = keys().into_iter().map(|key| key.variable());
    let all: BTreeSet<_> = variables.flat_map(|name| [format!("{name}_FILE"), name]).collect();
    assert_eq!((keys().len(), all.len()), (68, 2 * 68));
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let toml = "server.max_connections = 10\nserver.trusted_proxies = ['10.0.0.1']\n\
                [tokens]\naccess_lifetime = '5m'\nissuer = 'a'\naudience = 'b'\n\
                session_lifetime = 0\nreuse_grace = 0";
    let variables = [
        ("LATCHKEY_TOKENS_ACCESS_LIFETIME", "7m"),
        ("LATCHKEY_TOKENS_AUDIENCE", ""),
        ("LATCHKEY_SERVER_TRUSTED_PROXIES", ""),
    ];
    let config = config_of(toml, &variables);
    assert_eq!(config.server.max_connections.get(), 10);
    assert_eq!(config.server.trusted_proxies, [], "an empty variable takes it back");
    assert_eq!(config.tokens.access_lifetime, 7 * MINUTE);
    assert_eq!(config.tokens.issuer.as_deref(), Some("a"));
    assert_eq!(config.tokens.audience, None);
    assert_eq!(config.tokens.sessions.session, None, "zero switches it off");
    assert_eq!(config.tokens.sessions.reuse_grace, Duration::ZERO);
}

#[test]
fn every_type_can_be_given_in_a_variable() {
    let config = config_of(
        "",
        &[
            ("LATCHKEY_SERVER_LISTEN", "[::1]:0"),
            ("LATCHKEY_SERVER_ALLOWED_ORIGINS", "http://LOCALHOST:80/ , https://B.example:443"),
            ("LATCHKEY_SERVER_TRUSTED_PROXIES", "[\"10.1.2.3/8\", '::1']"),
            ("LATCHKEY_SERVER_MAX_CONNECTIONS_PER_ADDRESS", "0"),
            ("LATCHKEY_SERVER_MAX_BODY", "1MiB"),
            ("LATCHKEY_TOKENS_SESSION_LIFETIME", "0"),
            ("LATCHKEY_REGISTRATION_ENABLED", "false"),
            ("LATCHKEY_REGISTRATION_CONFIRM", "link"),
            ("HOME", "/root"),
        ],
    );
    assert_eq!(config.server.listen.to_string(), "[::1]:0");
    assert_eq!(config.server.allowed_origins, ["http://localhost", "https://b.example"]);
    let proxies: Vec<_> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.server.max_connections_per_address, None);
    assert_eq!(config.server.max_body, 1 << 20);
    assert_eq!(config.tokens.sessions.session, None);
    assert!(!config.registration.is_enabled);
    assert_eq!(config.registration.confirm, ConfirmBy::Link);
}

/// A short `refresh_lifetime` alone once stopped the start because of the grace that nobody wrote.
#[test]
fn the_default_grace_is_no_longer_than_a_refresh_token_lives() {
    let text = "[tokens]\naccess_lifetime = '2s'\nrefresh_lifetime = '10s'";
    let config = config_of(text, &[]);
    assert_eq!(config.tokens.sessions.reuse_grace, Duration::from_secs(10));
}

/// What a URL that links start with is.
const BASE: &str = "an http or https URL without user name, query and fragment, such as \
                    \"https://accounts.example.com\"";

#[test]
fn each_type_of_key_says_what_it_takes() {
    for (name, takes) in [
        ("server.listen", r#"an IP address and a port, such as "127.0.0.1:8000""#),
        ("server.public_url", &format!("{BASE}, or \"\" for none")),
        (
            "server.trusted_proxies",
            r#"a list of networks and addresses, such as "10.0.0.0/8" or "::1""#,
        ),
        (
            "server.allowed_origins",
            "a list of origins of scheme, host and port alone, such as \"https://app.example.com\" \
             or \"capacitor://localhost\"; \"*\" and \"null\" are refused, since any page could then \
             act for its visitors",
        ),
        ("server.max_connections", "an integer from 8 to 1000000"),
        ("server.max_body", r#"a size from 1KiB to 16MiB, such as "64KiB""#),
        ("storage.directory", "a path"),
        ("tokens.access_lifetime", r#"a duration from 1s to 1d, such as "30m""#),
        (
            "tokens.session_lifetime",
            r#"a duration from 1s to 3650d, such as "30d", or 0 for no end"#,
        ),
        ("tokens.algorithm", r#""", "EdDSA", "ES256" or "HS256""#),
        (
            "tokens.issuer",
            r#"a text of at most 1024 bytes without control characters, or "" for none"#,
        ),
        (
            "passwords.words",
            r#"a list of words of three characters or more, a letter among them, such as "acme""#,
        ),
        ("login.per_address_per_minute", "an integer from 1 to 1000000, or 0 for no limit"),
        ("cookies.enabled", "true or false"),
        (
            "mail.from",
            r#"one address with or without a name, such as "Example <accounts@example.com>""#,
        ),
        ("mail.smtp_host", r#"a host name or an IP address, without a port, or "" for none"#),
        ("mail.smtp_port", "an integer from 1 to 65535, or 0 for the usual one of smtp_security"),
    ] {
        assert_eq!(takes_of(name), takes, "{name}");
    }
}

/// What the key of this name takes.
fn takes_of(name: &str) -> String {
    keys().into_iter().find(|key| key.to_string() == name).unwrap().takes
}

#[test]
fn each_mistake_is_told_with_its_place_and_what_is_allowed() {
    for (section, line, found) in [
        // Types.
        ("server", "max_connections = 'many'", r#""many""#),
        ("server", "max_connections = 8.0", "a floating-point number"),
        ("server", "listen = 8000", "8000"),
        ("server", "trusted_proxies = '10.0.0.0/8'", r#""10.0.0.0/8""#),
        ("server", "trusted_proxies = [10]", "10 in the list"),
        ("storage", "directory = []", "an array"),
        ("storage", "directory = { a = 1 }", "a table"),
        ("tokens", "access_lifetime = 1800", "1800"),
        ("cookies", "enabled = 1", "1"),
        ("cookies", "enabled = 'true'", r#""true""#),
        ("audit", "retention = 1979-05-27", "a date or time"),
        // Ranges.
        ("server", "max_body = '64KB'", r#""64KB""#),
        ("tokens", "access_lifetime = '2d'", r#""2d""#),
        ("tokens", "session_lifetime = '-1s'", r#""-1s""#),
        ("passwords", "min_length = 7", "7"),
        ("passwords", "min_length = -8", "-8"),
        ("passwords", "min_length = 99999999999999999999", "an integer of more than 64 bits"),
        ("passwords", "parallelism = 0", "0"),
        ("login", "per_address_per_minute = 1_000_001", "1000001"),
        ("login", "max_failures = 0", "0"),
        ("mail", "smtp_port = 65536", "65536"),
        // Forms.
        ("server", "listen = 'localhost:8000'", r#""localhost:8000""#),
        ("server", "public_url = 'accounts.example.com'", r#""accounts.example.com""#),
        ("server", "frontend_url = 'https://a.example/?b'", r#""https://a.example/?b""#),
        ("server", "allowed_origins = [\n'https://a.example',\n'*']", r#""*" in the list"#),
        ("server", "allowed_origins = ['https://a.b/c']", r#""https://a.b/c" in the list"#),
        ("server", "trusted_proxies = ['10.0.0.0/33']", r#""10.0.0.0/33" in the list"#),
        ("storage", "directory = ''", r#""""#),
        ("tokens", "algorithm = 'none'", r#""none""#),
        ("mail", "from = 'Latchkey'", r#""Latchkey""#),
        ("mail", "from = 'a@b.example, c@b.example'", r#""a@b.example, c@b.example""#),
        ("mail", "from = \"a@b.example\\r\\nBcc: c\"", r#""a@b.example\r\nBcc: c""#),
        ("mail", "smtp_host = 'mail.example.com:25'", r#""mail.example.com:25""#),
    ] {
        let problems = load(&format!("[{section}]\n{line}"), &[]).err();
        let name = format!("{section}.{}", line.split_once(" = ").unwrap().0);
        let takes = takes_of(&name);
        let expected = format!("c.toml:2: {name}: found {found}, but it takes {takes}");
        assert_eq!(problems, Some(expected));
    }
}

#[test]
fn what_does_not_exist_or_go_together_is_told_with_what_does() {
    let sender = takes_of("mail.from");
    for (toml, expected) in [
        // Names.
        (
            "[storage.directory]\na = 1",
            "c.toml:1: storage.directory: found a table, but it takes a path",
        ),
        (
            "\n\nserver.max_connections = 7",
            "c.toml:3: server.max_connections: found 7, but it takes an integer from 8 to 1000000",
        ),
        ("[log]\nformt = 1", "c.toml:2: log.formt: no such key; did you mean log.format?"),
        ("[log]\ncache = 1", "c.toml:2: log.cache: no such key; did you mean storage.cache?"),
        ("[log]\ncheese = 1", "c.toml:2: log.cheese: no such key; [log] takes format, level"),
        ("[log]\n\"a\\nb\" = 1", "c.toml:2: log.a\\nb: no such key; [log] takes format, level"),
        ("levl = 1", "c.toml:1: levl: no such key outside a section; did you mean log.level?"),
        (
            "server = 1",
            "c.toml:1: server: found a value, but it is a section: write [server] above its keys",
        ),
        ("[sever]\nlisten = 1", "c.toml:1: sever: no such section; did you mean [server]?"),
        (
            "[cheese]",
            "c.toml:1: cheese: no such section; there are [server], [storage], [tokens], \
             [passwords], [registration], [login], [recovery], [email_change], [cookies], \
             [compatibility], [mail], [audit], [log]",
        ),
        // What does not go together.
        (
            "server.listen = '0.0.0.0:80'\nmail.transport = 'log'",
            &format!("server.public_url: is required, since 0.0.0.0:80 is not loopback: {BASE}"),
        ),
        (
            "server.listen = '192.0.2.1:80'\nserver.public_url = 'http://a.example'",
            "mail.transport: is required, since 192.0.2.1:80 is not loopback: \"smtp\" with \
             smtp_host and from, or \"log\" to print mails, links included, to the log",
        ),
        (
            "[tokens]\naccess_lifetime = '2h'\nrefresh_lifetime = '90m'",
            "c.toml:3: tokens.refresh_lifetime: found 90m, but it must be at least \
             access_lifetime, 2h",
        ),
        (
            "[tokens]\nrefresh_lifetime = '1h'\nreuse_grace = '61m'",
            "c.toml:3: tokens.reuse_grace: found 61m, but it must be at most refresh_lifetime, 1h",
        ),
        (
            "[tokens]\nsession_lifetime = '29m'",
            "c.toml:2: tokens.session_lifetime: found 29m, but it must be at least \
             access_lifetime, 30m",
        ),
        ("mail.transport='file'", "mail.directory: is required for transport \"file\": a path"),
        (
            "[mail]\ntransport = 'smtp'\nfrom = 'a@b.example'",
            "mail.smtp_host: is required for transport \"smtp\": a host name or an IP address, \
             without a port",
        ),
        (
            "[mail]\ntransport = 'smtp'\nsmtp_host = 'mail.example.com'",
            &format!(
                "mail.from: is required for transport \"smtp\" and must not be the default: {sender}"
            ),
        ),
        ("mail.smtp_username='a'", "mail.smtp_password: must be set together with smtp_username"),
        (
            "[mail]\nsmtp_password = 'a'\nsmtp_username = ''",
            "c.toml:3: mail.smtp_username: must be set together with smtp_password",
        ),
    ] {
        let problems = load(toml, &[]).err();
        assert_eq!(problems.as_deref(), Some(expected), "{toml}");
    }
}

#[test]
fn a_mistake_in_a_variable_names_the_variable() {
    for (variable, value, name, found) in [
        ("LATCHKEY_LOGIN_MAX_FAILURES", "five", "login.max_failures", r#""five""#),
        ("LATCHKEY_COOKIES_ENABLED", "yes", "cookies.enabled", r#""yes""#),
        ("LATCHKEY_SERVER_TRUSTED_PROXIES", r#"["::1""#, "server.trusted_proxies", r#""[\"::1\"""#),
        ("LATCHKEY_TOKENS_REUSE_GRACE", "", "tokens.reuse_grace", r#""""#),
    ] {
        let problems = load("", &[(variable, value)]).err();
        let takes = takes_of(name);
        let expected = format!("{variable}: {name}: found {found}, but it takes {takes}");
        assert_eq!(problems, Some(expected));
    }
    let problems = load("", &[("LATCHKEY_TOKENS_ISSUER_FILE", "/nowhere/at all")]).unwrap_err();
    let expected = "LATCHKEY_TOKENS_ISSUER_FILE: \"/nowhere/at all\" cannot be read: No such file or \
                    directory (os error 2)";
    assert_eq!(problems, expected);
    let latin1 = OsString::from_vec(b"M\xfcnchen".to_vec());
    let problems = Config::load(None, &[("LATCHKEY_TOKENS_ISSUER".into(), latin1)]).unwrap_err();
    assert_eq!(problems.to_string(), "LATCHKEY_TOKENS_ISSUER: is not UTF-8");
}

#[test]
fn all_problems_come_at_once_and_in_order() {
    // The last one is bad even though a better value overrides it.
    let toml = "[tokens]\nalgorithm = 'RS256'\nlifetime = '30m'\n\n\n\n\n\n\
                [server]\nmax_body = 1\nlisten = '0.0.0.0:80'\ncheese = 1\n\
                [log]\nlevel = 'loud'";
    let variables = [
        ("LATCHKEY_LOG_LEVEL", "warn"),
        ("LATCHKEY_LOG_FORMAT", "loud"),
        ("LATCHKEY_AUDIT_MAX_EVENTS", "-1"),
        ("LATCHKEY_SERVER_PUBLIC_URL", "https://a.example"),
    ];
    let problems = load(toml, &variables).unwrap_err();
    let places: Vec<_> = problems.lines().filter_map(|line| line.split(": ").next()).collect();
    let expected = [
        "c.toml:2",
        "c.toml:3",
        "c.toml:10",
        "c.toml:12",
        "c.toml:14",
        "LATCHKEY_AUDIT_MAX_EVENTS",
        "LATCHKEY_LOG_FORMAT",
        "mail.transport",
    ];
    assert_eq!(places, expected, "{problems}");
}

#[test]
fn one_mistake_does_not_call_forth_another() {
    let toml = "[server]\nlisten = '0.0.0.0'\n[tokens]\naccess_lifetime = '2 h h'\n\
                refresh_lifetime = '1m'\n[mail]\ntransport = 'smtp'\nfrom = '@'\nsmtp_host = '@'\n\
                smtp_username = 'a'\nsmtp_password = \"\\n\"";
    let problems = load(toml, &[]).unwrap_err();
    let lines: Vec<_> = problems.lines().filter_map(|line| line.split(": ").nth(1)).collect();
    let expected = [
        "server.listen",
        "tokens.access_lifetime",
        "mail.from",
        "mail.smtp_host",
        "mail.smtp_password",
    ];
    assert_eq!(lines, expected, "{problems}");
}

#[test]
fn a_file_that_cannot_be_understood_is_told_with_its_lines() {
    for (toml, expected) in [
        ("[log]\nlevel = 'info'\nlevel = 'warn'", &["c.toml:3: is not TOML: duplicate key"][..]),
        ("[server]\nlisten = 0.0.0.0:80", &["c.toml:2: is not TOML: invalid float"]),
        ("a = \n\n[log\nb = 1", &["c.toml:1: is not TOML: ", "c.toml:3: is not TOML: "]),
    ] {
        let problems = load(toml, &[]).unwrap_err();
        let is_expected = |(line, start): (&str, &&str)| line.starts_with(start);
        assert_eq!(problems.lines().count(), expected.len(), "{problems}");
        assert!(problems.lines().zip(expected).all(is_expected), "{problems}");
    }
    let missing = Config::load(Some(Path::new("/nowhere/c.toml")), &[]).unwrap_err();
    let expected = "/nowhere/c.toml: cannot be read: No such file or directory (os error 2)";
    assert_eq!(missing.to_string(), expected);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.toml");
    for (bytes, reason) in
        [(b"\xff".to_vec(), "it is not UTF-8"), (vec![b'#'; 1 << 21], "it has more than 1MiB")]
    {
        std::fs::write(&path, bytes).unwrap();
        let problems = Config::load(Some(&path), &[]).unwrap_err().to_string();
        assert!(problems.ends_with(&format!("cannot be read: {reason}")), "{problems}");
    }
}

#[test]
fn unknown_variables_only_warn() {
    let variables = [
        ("LATCHKEY_SERVER_LISTN", "x"),
        ("LATCHKEY_SERVICE_HOST", "10.0.0.1"),
        ("LATCHKEY_", ""),
        ("LATCHKEYS", ""),
    ];
    assert_eq!(
        loaded("", &variables).warnings,
        [
            "LATCHKEY_ is not a known variable and is ignored",
            "LATCHKEY_SERVER_LISTN is not a known variable and is ignored; did you mean \
             LATCHKEY_SERVER_LISTEN?",
            "LATCHKEY_SERVICE_HOST is not a known variable and is ignored",
        ]
    );
}

#[test]
fn hashing_below_owasps_minimum_warns() {
    for (memory, iterations, warns) in [
        ("19MiB", 2, false),
        ("46MiB", 1, false),
        ("12MiB", 3, false),
        ("9MiB", 4, false),
        ("7MiB", 5, false),
        ("1GiB", 10, false),
        ("19MiB", 1, true),
        ("18MiB", 2, true),
        ("6MiB", 1000, true),
        ("256KiB", 1, true),
    ] {
        let toml = format!("passwords = {{ memory = '{memory}', iterations = {iterations} }}");
        let warnings = loaded(&toml, &[]).warnings;
        assert_eq!(warnings.iter().any(|it| it.contains("OWASP")), warns, "{memory} {iterations}");
    }
}

#[test]
fn what_is_allowed_but_doubtful_warns() {
    let exposed = "server = { listen = '0.0.0.0:80', public_url = 'https://a.example' }\n";
    let smtp = "[mail]\ntransport = 'smtp'\nfrom = 'a@b.example'\nsmtp_security = 'none'\n";
    let origins = |list: &str| format!("server.allowed_origins = [{list}]\n");
    let cookies = |origin: &str| origins(&format!("'{origin}'")) + "cookies.enabled = true\n";
    let https = "server.public_url = 'https://a.b.example'\n";
    for (toml, start) in [
        (format!("{exposed}mail.transport = 'log'"), Some("mail.transport is \"log\"")),
        ("mail.transport = 'log'".to_owned(), None),
        (format!("{smtp}smtp_host = 'mail.example.com'"), Some("mail.smtp_security is \"none\"")),
        (format!("{smtp}smtp_host = '10.0.0.1'"), Some("mail.smtp_security is \"none\"")),
        (format!("{smtp}smtp_host = 'localhost.example'"), Some("mail.smtp_security is \"none\"")),
        (format!("{smtp}smtp_host = 'localhost'"), None),
        (format!("{smtp}smtp_host = '127.0.0.2'"), None),
        (format!("{smtp}smtp_host = '::1'"), None),
        ("server.trusted_proxies = ['::/0']".to_owned(), Some("server.trusted_proxies contains")),
        ("server.public_url = 'http://a.example'".to_owned(), Some("server.public_url is plain")),
        ("server.public_url = 'http://127.0.0.1:80'".to_owned(), None),
        (origins("'http://a.example'"), Some("server.allowed_origins holds plain http: http://a.")),
        (origins("'https://a.example', 'http://localhost:5173', 'tauri://localhost'"), None),
        (cookies("http://127.0.0.1:5173"), None),
        (cookies("http://localhost:5173"), Some("cookies.enabled is true, but pages of http://l")),
        (cookies("capacitor://localhost"), Some("cookies.enabled is true, but pages of cap")),
        (format!("{https}{}", cookies("https://c.b.example")), None),
        (format!("{https}{}", cookies("https://c.d.example")), Some("cookies.enabled is")),
    ] {
        let warnings = loaded(&toml, &[]).warnings;
        assert_eq!(warnings.len(), usize::from(start.is_some()), "{warnings:?}");
        assert!(warnings.iter().all(|it| it.starts_with(start.unwrap())), "{warnings:?}");
    }
}

#[test]
fn the_words_of_the_service_and_those_of_the_operator_are_no_passwords() {
    let toml = "server.public_url = 'https://www.login.example.net'\n\
                mail.from = 'Brown Fox <a@b.invalid>'\n\
                passwords.words = ['Acme', ' blue sky ']";
    let policy = config_of(toml, &[]).passwords.policy;
    let is_allowed = |password: &str, policy: &PasswordPolicy| {
        let password = Secret::new(password.to_owned());
        NewPassword::check(&password, policy, None, None).is_ok()
    };
    for word in ["latchkey", "login", "example", "brown", "fox", "acme", "blue", "blue sky"] {
        assert!(!is_allowed(&format!("{word}-12345"), &policy), "{word}");
    }
    for word in ["www", "net", "invalid", "acm", "words"] {
        assert!(is_allowed(&format!("{word}-12345"), &policy), "{word}");
    }
    let variable = [("LATCHKEY_PASSWORDS_WORDS", "acme, other")];
    let policy = config_of("", &variable).passwords.policy;
    assert!(!is_allowed("Other2026", &policy));

    for (words, found) in [("['ab']", "\"ab\" in the list"), ("'acme'", "\"acme\"")] {
        let problems = load(&format!("passwords.words = {words}"), &[]).unwrap_err();
        let takes = takes_of("passwords.words");
        let expected = format!("c.toml:1: passwords.words: found {found}, but it takes {takes}");
        assert_eq!(problems, expected);
    }
    let many = vec!["'acme'"; 1001].join(", ");
    let problems = load(&format!("passwords.words = [{many}]"), &[]).unwrap_err();
    assert_eq!(problems, "c.toml:1: passwords.words: found more than 1000");
}

#[test]
fn a_password_in_a_file_that_everybody_may_read_warns_with_the_command_that_mends_it() {
    let directory = tempfile::tempdir().unwrap();
    let [file, named] = ["c.toml", "password"].map(|name| directory.path().join(name));
    let variables = [
        ("LATCHKEY_MAIL_SMTP_USERNAME".into(), "ann".into()),
        ("LATCHKEY_MAIL_SMTP_PASSWORD_FILE".into(), named.clone().into()),
    ];
    let login = "mail = { smtp_username = 'ann', smtp_password = 'tide-Lamp 7' }";
    let warned = |path: &Path, mode| {
        let name = path.display();
        format!(
            "mail.smtp_password is written in {name}, which everybody on this machine may read \
             (mode {mode}); run: chmod o-rwx {name}"
        )
    };
    for (toml, mode, expected) in [
        (login, 0o644, Some(warned(&file, "0644"))),
        (login, 0o640, None),
        (login, 0o600, None),
        ("mail.smtp_password = ''", 0o644, None),
        ("", 0o644, None),
    ] {
        write(&file, toml, mode);
        let warnings = Config::load(Some(&file), &[]).unwrap().warnings;
        assert_eq!(warnings, Vec::from_iter(expected), "{toml:?} {mode:o}");
    }
    for (mode, expected) in [(0o604, Some(warned(&named, "0604"))), (0o640, None), (0o600, None)] {
        write(&named, "tide-Lamp 7\n", mode);
        let warnings = Config::load(None, &variables).unwrap().warnings;
        assert_eq!(warnings, Vec::from_iter(expected), "{mode:o}");
    }
}

#[test]
fn a_mail_server_is_put_together() {
    for (more, port, security) in [
        ("", 587, SmtpSecurity::StartTls),
        ("smtp_security = 'tls'", 465, SmtpSecurity::Tls),
        ("smtp_security = 'tls'\nsmtp_port = 2465", 2465, SmtpSecurity::Tls),
    ] {
        let smtp = smtp_of(&format!("{SMTP}{more}"), &[]);
        let expected = ("mail.example.com", port, security);
        assert_eq!((smtp.host.as_str(), smtp.port, smtp.security), expected);
        assert!(smtp.login.is_none());
    }
}

#[test]
fn a_value_can_come_from_a_file_that_a_variable_names() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    let variables = [
        ("LATCHKEY_MAIL_SMTP_PASSWORD_FILE", secret.to_str().unwrap()),
        ("LATCHKEY_MAIL_SMTP_USERNAME", "a"),
    ];
    for (content, expected) in
        [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), (" hunter2 \r\n", " hunter2 ")]
    {
        write(&secret, content, 0o600);
        let (name, password) = smtp_of(SMTP, &variables).login.unwrap();
        assert_eq!((name.as_str(), password.expose().as_str()), ("a", expected));
    }

    let both = [variables[0], variables[1], ("LATCHKEY_MAIL_SMTP_PASSWORD", "b")];
    let problems = load(SMTP, &both).unwrap_err();
    let expected = "LATCHKEY_MAIL_SMTP_PASSWORD: LATCHKEY_MAIL_SMTP_PASSWORD_FILE is also set; set \
                    only one of the two";
    assert_eq!(problems, expected);
}

#[test]
fn secrets_are_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "hunter2\nhunter2").unwrap();
    let file = [("LATCHKEY_MAIL_SMTP_PASSWORD_FILE", secret.to_str().unwrap())];
    let other_file = [("LATCHKEY_SERVER_LISTEN_FILE", secret.to_str().unwrap())];
    for (toml, variables) in [
        ("mail.smtp_password = \"hunter2\\u0000\"", &[][..]),
        ("mail.smtp_password = ['hunter2']", &[]),
        ("mail.smtp_password = hunter2", &[]),
        ("mail.smtp_password = 'hunter2", &[]),
        ("mail.smtp_password = 'hunter2'hunter2", &[]),
        ("mail.smtp_password = { hunter2 = 1, hunter2 = 1 }", &[]),
        ("mail.smtp_password = \"\\hunter2\"", &[]),
        ("mail.smtp_pasword = 'hunter2'", &[]),
        ("smtp_password = 'hunter2'", &[]),
        ("[mail]\nsmtp_password = 'hunter2'\nkeep_failed = 1", &[]),
        ("server.public_url = 'https://admin:hunter2@a.example'", &[]),
        ("", &[("LATCHKEY_MAIL_SMTP_PASSWORD", "hunter2\n")]),
        ("", &[("LATCHKEY_MAIL_SMTP_PASSWORD", "hunter2")]),
        ("", &file),
        ("", &other_file),
    ] {
        let problems = load(toml, variables).unwrap_err();
        assert!(!problems.contains("hunter2"), "{problems}");
    }

    let toml = format!("{SMTP}smtp_username = 'a'\nsmtp_password = 'hunter2'");
    let loaded = loaded(&toml, &[("LATCHKEY_SMTP_PASSWORD", "hunter2")]);
    assert_eq!(loaded.warnings.len(), 1);
    assert!(!format!("{loaded:?}").contains("hunter2"), "{loaded:?}");
}

/// What might be written after `key =`, well-formed or not.
const TOML_VALUES: &str = concat!(
    r#"[0-9a-z"'\[\]{},.=_é:/@ \n-]{0,24}"#,
    r#"|"[^"\\\n]{0,40}""#,
    r"|-?[0-9]{1,25}",
    r#"|\["[^"\\\n]{0,20}"\]"#,
);

/// What might be the value of a variable.
const VARIABLE_VALUES: &str = concat!(
    r"[^\x00]{0,40}",
    r"|[0-9]{0,25}(ms|s|m|h|d|KiB|MiB)",
    r"|https?://[^\x00]{0,30}",
    r"|\[[^\x00]{0,30}",
);

proptest! {
    #[test]
    fn no_value_makes_it_panic(
        key in any::<Index>(),
        value in TOML_VALUES,
        suffix in "|_FILE|[A-Z_]{0,5}",
        text in VARIABLE_VALUES,
    ) {
        let keys = keys();
        let key = key.get(&keys);
        let _ = load(&format!("{key} = {value}"), &[]);
        if let Err(problems) = load("", &[(&format!("{}{suffix}", key.variable()), &text)]) {
            prop_assert!(problems.lines().all(|line| line.contains(": ")), "{}", problems);
        }
    }
}

#[test]
fn a_shared_secret_means_hs256_and_is_long_and_meant() {
    let secret = "0123456789abcdef0123456789abcdef";
    let load = |algorithm, secret| {
        let algorithm = ("LATCHKEY_TOKENS_ALGORITHM", algorithm);
        load("", &[algorithm, ("LATCHKEY_TOKENS_SHARED_SECRET", secret)])
    };
    for algorithm in ["", "HS256"] {
        let Loaded { config, warnings } = load(algorithm, secret).unwrap();
        assert_eq!(config.tokens.algorithm, Some(SigningAlgorithm::Hs256));
        assert_eq!(config.tokens.shared_secret.unwrap().expose(), secret);
        assert_eq!(warnings, Vec::<String>::new());
    }
    for (algorithm, secret, expected) in [
        ("ES256", secret, "needs algorithm \"HS256\" or \"\": no other signs with a secret"),
        ("EdDSA", secret, "needs algorithm \"HS256\" or \"\": no other signs with a secret"),
        ("HS256", &secret[1..], "must have at least 32 bytes"),
    ] {
        let problems = load(algorithm, secret).unwrap_err();
        let place = "LATCHKEY_TOKENS_SHARED_SECRET: tokens.shared_secret";
        assert_eq!(problems, format!("{place}: {expected}"));
    }
    let warnings = load("", &format!("django-insecure-{secret}")).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("django-insecure-") && !warnings[0].contains(secret));
}
