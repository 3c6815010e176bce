//! The harness of the integration tests, as far as it needs no executable beside it.

#[path = "../../tests/it/support/app.rs"]
mod app;
#[path = "../../tests/it/support/call.rs"]
mod call;
#[path = "../../tests/it/support/disk.rs"]
mod disk;

pub(crate) use app::{CONFIRM, PASSWORD, TestApp, claims};
pub(crate) use call::{Call, Reply};
pub(crate) use disk::Disk;
