//! Latchkey: accounts for your apps, in one executable.

pub mod app;
pub mod cli;
pub mod clock;
pub mod clock_command;
pub mod config;
pub mod domain;
pub mod flows;
pub mod hasher;
pub mod http;
pub mod jwt;
pub mod keys;
pub mod keys_command;
pub mod logging;
pub mod mail;
pub mod random;
pub mod secret;
pub mod serve;
pub mod server;
pub mod store;
pub mod throttle;
