#![doc = "Latchkey: accounts for your apps, in one executable."]

pub mod clock;
pub mod config;
pub mod domain;
pub mod http;
pub mod jwt;
pub mod keys;
pub mod hasher;
pub mod mail;
pub mod random;
pub mod secret;
pub mod store;
pub mod server;
pub mod throttle;
