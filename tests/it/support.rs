//! What the tests share: the harness, and a client's view of requests and answers.

mod account;
mod app;
mod call;
mod disk;
mod lines;
pub(crate) mod messages;
mod process;
mod scan;
mod wire;

pub(crate) use account::{NEW_PASSWORD, assert_page, ticket_of};
pub(crate) use app::{CONFIRM, MAX_ROTATED, PASSWORD, START, TestApp, Tokens, claims};
pub(crate) use call::{Call, Reply, at_once};
pub(crate) use disk::{Access, Disk, Entry, Place};
pub(crate) use lines::Lines;
pub(crate) use process::{Ended, Program, Running};
pub(crate) use scan::{forms, forms_found};
pub(crate) use wire::Wire;

/// Waits until something that happens after an answer has happened.
pub(crate) async fn until(has_happened: impl Fn() -> bool) {
    let patience = std::time::Duration::from_secs(30);
    let waiting = async {
        while !has_happened() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(patience, waiting).await.is_ok(), "it never happened");
}

/// Whether `part` occurs in `whole`.
pub(crate) fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}
