//! The commands of the executable beside `serve`: what they read, and as whom they act.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use crate::support::{Program, all_below};

/// A data directory as a stopped server leaves it.
fn install(directory: &Path) {
    Program::in_directory(directory).serve().stop();
}

fn command(directory: &Path, words: &str) -> Program {
    Program::in_directory(directory).args(words)
}

#[test]
fn a_command_demands_only_what_it_uses() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    install(path);
    let config = "[mail]\nsmtp_username = 'latchkey'\nsmtp_pasword = 'x'\n[server]\nlisten = 1\n";
    std::fs::write(path.join("config.toml"), config).unwrap();
    let without_secret = |words| command(path, words).with("MAIL_SMTP_PASSWORD_FILE", "nowhere");
    assert_eq!(without_secret("keys list").succeeds().lines().count(), 4);
    assert!(without_secret("keys rotate").succeeds().starts_with("made access-"));
    assert_eq!(without_secret("keys list").succeeds().lines().count(), 5);
    let refused = without_secret("clock accept").fails();
    assert!(refused.contains("the clock is not behind"), "{refused}");
    assert!(without_secret("check-config").fails().contains("smtp_pasword: no such key"));

    // What it does use must be right.
    std::fs::write(path.join("config.toml"), "[storage]\ndirectry = 'elsewhere'\n").unwrap();
    assert!(command(path, "keys list").fails().contains("storage.directry: no such key"));
}

#[test]
fn the_log_of_a_start_says_which_configuration_was_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let start = |program: Program, expected: &str| {
        let running = program.serve();
        running.wait_for_line(expected);
        running.stop();
    };
    let program = || Program::in_directory(path);
    // The machine may have a configuration of its own in /etc.
    if !Path::new("/etc/latchkey/config.toml").exists() {
        start(program(), "no configuration file; defaults and environment variables apply");
    }
    std::fs::write(path.join("config.toml"), "").unwrap();
    start(program(), "read the configuration file=config.toml");
    std::fs::write(path.join("named.toml"), "").unwrap();
    start(program().args("--config=named.toml"), "read the configuration file=named.toml");
    assert!(program().args("--config=gone.toml").fails().contains("gone.toml: cannot be read"));
}

/// Only root can be tested for what root's commands do.
#[test]
fn run_by_root_a_command_acts_as_the_owner_of_the_data() {
    const OWNER: (u32, u32) = (12_345, 23_456);
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    install(path);
    // The owner itself may not read the configuration.
    std::fs::write(path.join("config.toml"), "").unwrap();
    std::fs::set_permissions(path.join("config.toml"), PermissionsExt::from_mode(0o600)).unwrap();
    for entry in all_below(&path.join("data")) {
        chown(entry, Some(OWNER.0), Some(OWNER.1)).unwrap();
    }
    let files = all_below(&path.join("data")).len();
    command(path, "keys list").succeeds();
    command(path, "keys rotate").succeeds();
    command(path, "clock accept").fails();
    let after = all_below(&path.join("data"));
    assert_eq!(after.len(), files + 2, "a key and its public half");
    for entry in after {
        let metadata = entry.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), OWNER, "{}", entry.display());
    }

    // With the rights of the owner, and no more.
    let keys = path.join("data/keys");
    chown(&keys, Some(0), Some(0)).unwrap();
    assert!(command(path, "keys list").fails().contains("data/keys"));
    chown(&keys, Some(OWNER.0), Some(OWNER.1)).unwrap();
    command(path, "keys rotate --compromised").succeeds();

    let nowhere = command(path, "keys list").with("STORAGE_DIRECTORY", "nowhere");
    assert!(nowhere.fails().contains("cannot look at the data directory nowhere"));
    assert!(!path.join("nowhere").exists());
}
