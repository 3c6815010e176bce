//! Latchkey: accounts for your apps, in one executable.
//!
//! People register with an email address, confirm it, log in, and get a short-lived access token
//! and a refresh token that rotates. They look after their account and its sessions themselves,
//! and other services check its tokens by public keys. `README.md` says how to use and run it,
//! `ARCHITECTURE.md` how its parts work together; this is the map of the house.
//!
//! # Floors
//!
//! Imports point downwards only.
//!
//! ```text
//! start          main → commands (one file each) → serve, cli
//! edge           server (connections and their limits) → http (requests and answers)
//! application    flows (the use cases), app (what they reach for)
//! adapters       store, hasher, keys, jwt, throttle, mail, logging
//! configuration  config (as written → as meant)
//! values         domain, clock, paths, private_files, random, secret
//! ```
//!
//! Only `store` knows the database, only `http` what the API answers, and only `clock` asks the
//! system for the time.
//!
//! # Promises
//!
//! 1. Acknowledged is durable: an answer that reports a change leaves after the flush.
//! 2. A refresh token rotates exactly once: whoever shows it gets the one successor, or none.
//! 3. Theft shows: a superseded token ends its session, durably, before the 401 leaves.
//! 4. Nothing half-made: a user, its index entries and its mail are one transaction.
//! 5. The database file alone lets nobody in: no password, token, link or key is in it.
//! 6. Nothing leaks: no secret in a log line, an error or a `Debug`.
//! 7. Nothing grows without bound: whatever others can make more of has a limit.
//! 8. Login and recovery give nothing away: unknown, wrong and disabled look alike and take the
//!    same time; so do known and unknown addresses that ask for mail.
//! 9. A flood of logins leaves the rest alive: hashing has its own threads and bounded queue.
//! 10. A wrong clock lets no one in, and locks no one out for ever.
//!
//! # Modules in reading order
//!
//! - Values: [`domain`] has the words everything else speaks in, [`clock`] what a moment is and
//!   when it is to be believed, [`paths`] where mailed links lead, [`private_files`] what only its
//!   owner may use, [`random`] and [`secret`] the rest.
//! - [`config`]: everything an operator can say.
//! - [`store`]: sentences, each one transaction, and the writer that makes them durable together.
//!   `domain::session` has the rule that the most delicate of them follows. `store::account`,
//!   `passwords` and `email_change` change accounts; `mailboxes` counts mail, `revocations` marks
//!   sessions that ended, and `condemned` refuses those whose end cannot be written yet.
//! - [`keys`] and [`jwt`]: key files, which of them signs when, and how others take their place;
//!   access and refresh tokens.
//! - [`hasher`] and [`throttle`]: what a login costs, and how often one may try.
//! - [`mail`]: one mail, rendered and handed on. [`logging`]: lines, and the queue they wait in.
//! - [`app`] and [`flows`]: each use case, told once. `flows::login` and `flows::refresh` show the
//!   manner, `flows::password` and `flows::account` what asks for the current password
//!   (`flows::credentials`). `flows::sessions` ends sessions and `flows::revocation` tells other
//!   services. `flows::delivery`, `flows::upkeep` and `flows::key_watch` run without anyone asking.
//! - [`http`]: `routes` is the list of endpoints and `openapi` its description, `router` the way
//!   from a request to its answer, `errors` every answer outside 2xx, `pages` what people see.
//! - [`server`] knows sockets, and nothing of what is said over them.
//! - [`serve`]: all of it put together and taken down again; [`cli`] reads the command line, and
//!   [`commands`] has one file for each command of the executable.

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
