#![doc = "Latchkey: accounts for your apps, in one executable."]

pub mod clock;
pub mod config;
pub mod domain;
pub mod hasher;
pub mod random;
pub mod secret;
pub mod throttle;
