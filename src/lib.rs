//! Latchkey: accounts for your apps, in one executable.
//!
//! People register with an email address, confirm it, log in, and get a short-lived access token
//! and a refresh token that rotates. They look after their account and its sessions themselves,
//! and other services verify its tokens by public keys. `README.md` says how to use and run it,
//! `ARCHITECTURE.md` how its parts work together; this is the map of the modules.
//!
//! # Layers
//!
//! Imports point downwards only.
//!
//! ```text
//! start          main → commands (one file each) → serve, cli
//! edge           server (connections and their limits) → http (requests and answers)
//! application    flows (the use cases), app (what they share)
//! adapters       store, hasher, keys, jwt, throttle, mail, logging
//! configuration  config (as written → as meant)
//! values         domain, clock, paths, private_files, random, secret
//! ```
//!
//! Only `store::engine` names the database, only `http` knows what the API answers, and only
//! `clock` asks the system for the time.
//!
//! # Promises
//!
//! 1. Acknowledged is durable: an answer that reports a change is sent after the flush.
//! 2. A refresh token rotates exactly once: everyone who sends it gets the one successor, or none.
//! 3. Theft shows: a superseded token ends its session, durably, before the 401 is sent.
//! 4. Nothing half-made: a user, its index entries and its mail are one transaction.
//! 5. The files let nobody in alone: the database holds no password, token, link or key.
//! 6. Nothing leaks: no secret in a log line, an error or a `Debug`.
//! 7. Nothing grows without bound: whatever others can add to has a limit.
//! 8. Answers give nothing away: unknown, wrong and disabled look alike at login and take the same
//!    time; so do known and unknown addresses that mail is requested for.
//! 9. A flood leaves the rest alive: hashing has its own threads and a bounded queue.
//! 10. A wrong clock lets no one in, and locks no one out for ever.
//!
//! `SECURITY.md` has the exact terms, the exceptions and the tests, and what is not kept yet.
//!
//! # Modules in reading order
//!
//! - Values: [`domain`] has the types that everything else uses, [`clock`] timestamps and when the
//!   clock can be trusted, [`paths`] where mailed links lead, [`private_files`] files that only
//!   their owner may use, [`random`] and [`secret`] the rest.
//! - [`config`]: everything an operator can set.
//! - [`store`]: the database. Each operation is one transaction, and a writer makes them durable
//!   together. `domain::session` has the rule of the most delicate one, rotation.
//! - [`keys`] and [`jwt`]: key files, which of them signs when, and how they are replaced; access
//!   and refresh tokens.
//! - [`hasher`] and [`throttle`]: what a login costs, and how often one may try.
//! - [`mail`]: one mail, rendered and sent. [`logging`]: log lines and their queue.
//! - [`app`] and [`flows`]: one use case each. `flows::login` and `flows::refresh` are typical;
//!   `flows::credentials` is used wherever the current password is required. `flows::delivery`,
//!   `flows::upkeep` and `flows::key_watch` run in the background.
//! - [`http`]: `routes` is the list of endpoints and `openapi` its description, `router` leads from
//!   a request to its answer, `errors` has every answer outside 2xx, `pages` what people see.
//! - [`server`]: sockets, without any knowledge of what is sent over them.
//! - [`serve`]: builds all of it and stops it again; [`cli`] reads the command line, and
//!   [`commands`] has one file for each command.

pub mod app;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod domain;
pub mod flows;
pub mod hasher;
pub mod http;
pub mod jwt;
pub mod keys;
pub mod logging;
pub mod mail;
pub mod paths;
pub mod private_files;
pub mod random;
pub mod secret;
pub mod serve;
pub mod server;
pub mod store;
pub mod throttle;
