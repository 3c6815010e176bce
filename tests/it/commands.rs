//! The commands of the executable beside `serve`: what they read, and as whom they act.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::support::{Ended, Program};

/// A data directory as a stopped server leaves it.
fn install(directory: &Path) {
    Program::in_directory(directory).serve().stop();
}

fn command(directory: &Path, words: &str) -> Program {
    words.split(' ').fold(Program::in_directory(directory), |program, word| program.arg(word))
}

fn succeed(program: &Program) -> String {
    let Ended { status, stdout, stderr } = program.run();
    assert!(status.success(), "{stderr}");
    stdout
}

fn fail(program: &Program) -> String {
    let Ended { status, stdout, stderr } = program.run();
    assert_eq!((status.code(), stdout.as_str()), (Some(1), ""), "{stderr}");
    stderr
}

#[test]
fn a_command_demands_only_what_it_uses() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    install(path);
    let config = "[mail]\nsmtp_username = 'latchkey'\nsmtp_pasword = 'x'\n[server]\nlisten = 1\n";
    std::fs::write(path.join("config.toml"), config).unwrap();
    let without_secret = |words| command(path, words).with("MAIL_SMTP_PASSWORD_FILE", "nowhere");
    assert_eq!(succeed(&without_secret("keys list")).lines().count(), 4);
    assert!(succeed(&without_secret("keys rotate")).starts_with("made access-"));
    assert_eq!(succeed(&without_secret("keys list")).lines().count(), 5);
    let refused = fail(&without_secret("clock accept"));
    assert!(refused.contains("the clock is not behind"), "{refused}");
    assert!(fail(&without_secret("check-config")).contains("smtp_pasword: no such key"));

    // What it does use must be right.
    std::fs::write(path.join("config.toml"), "[storage]\ndirectry = 'elsewhere'\n").unwrap();
    assert!(fail(&command(path, "keys list")).contains("storage.directry: no such key"));
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
    start(program().arg("--config=named.toml"), "read the configuration file=named.toml");
    assert!(fail(&program().arg("--config=gone.toml")).contains("gone.toml: cannot be read"));
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
    succeed(&command(path, "keys list"));
    succeed(&command(path, "keys rotate"));
    fail(&command(path, "clock accept"));
    let after = all_below(&path.join("data"));
    assert_eq!(after.len(), files + 2, "a key and its public half");
    for entry in after {
        let metadata = entry.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), OWNER, "{}", entry.display());
    }

    // With the rights of the owner, and no more.
    let keys = path.join("data/keys");
    chown(&keys, Some(0), Some(0)).unwrap();
    assert!(fail(&command(path, "keys list")).contains("data/keys"));
    chown(&keys, Some(OWNER.0), Some(OWNER.1)).unwrap();
    succeed(&command(path, "keys rotate --compromised"));

    let nowhere = command(path, "keys list").with("STORAGE_DIRECTORY", "nowhere");
    assert!(fail(&nowhere).contains("cannot look at the data directory nowhere"));
    assert!(!path.join("nowhere").exists());
}

/// A directory and everything below it.
fn all_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(all_below(&path)) } else { found.push(path) }
    }
    found
}
