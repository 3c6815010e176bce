//! What the tests share: the harness, and a client's view of requests and answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

mod account;
mod app;
mod call;
mod disk;
mod lines;
pub(crate) mod messages;
mod process;
mod wire;

pub(crate) use account::{
    Change, NEW_PASSWORD, assert_page, assert_throttled, statuses, ticket_of, with,
};
pub(crate) use app::{CONFIRM, MAX_ROTATED, PASSWORD, START, TestApp, Tokens, claims};
pub(crate) use call::{Call, Reply, at_once};
pub(crate) use disk::{Access, Disk, Entry, Place};
pub(crate) use lines::Lines;
pub(crate) use process::{Program, Running};
pub(crate) use wire::Wire;

/// The people of the tests: two who may have an account, and one who has none.
pub(crate) const ANN: &str = "ann@example.com";
pub(crate) const BOB: &str = "bob@example.com";
pub(crate) const NOBODY: &str = "nobody@example.com";

/// Nobody's password.
pub(crate) const WRONG: &str = "wrong-Lamp 7 orchard";

/// An address that nobody logs in from, unless a test says so.
pub(crate) const ELSEWHERE: &str = "198.51.100.7";

/// In seconds.
pub(crate) const HOUR: u64 = 60 * 60;
pub(crate) const DAY: u64 = 24 * HOUR;

/// Longer than anything takes; only what hangs lets it run out.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something that happens after an answer has happened.
pub(crate) async fn until(has_happened: impl Fn() -> bool) {
    let waiting = async {
        while !has_happened() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "it never happened");
}

/// A directory and everything below it.
pub(crate) fn all_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(all_below(&path)) } else { found.push(path) }
    }
    found
}

/// Whether `part` occurs in `whole`.
pub(crate) fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}
