//! What the fuzz targets share.
//!
//! The properties are plain functions of bytes that panic where one does not hold. The server's own
//! integration tests take them in as well (`tests/it/hostile.rs`), so that they are checked
//! wherever there is no fuzzer, and the targets borrow the integration tests' harness in turn.

pub mod properties;

#[expect(dead_code, unused_imports, reason = "the integration tests use more of it")]
mod support;
