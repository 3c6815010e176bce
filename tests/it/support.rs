//! What the tests share: the harness, and a client's view of requests and answers.

mod app;
mod call;
mod disk;

pub(crate) use app::{PASSWORD, START, TestApp, Tokens, claims};
pub(crate) use call::{Call, Reply, at_once};
pub(crate) use disk::Disk;
