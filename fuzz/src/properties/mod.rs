//! One module for each kind of hostile bytes. Each has a `check`, which panics if something that
//! must hold for any bytes does not hold for these.

pub mod config;
pub mod edits;
pub mod email;
pub mod fields;
pub mod request;
pub mod router;
pub mod ticket;
pub mod token;
pub mod username;
pub mod wire;
