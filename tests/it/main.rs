//! The integration tests: one binary, a module for each area.
//!
//! Most go through [`support::TestApp`], which speaks to the whole server as clients do but
//! without sockets, on a clock that is moved by hand. `process` runs the real executable on a real
//! directory; `power` takes its power away; `layers` reads the source. `promises` has a test for
//! most promises of the README. `properties` is what must hold for any bytes; the fuzz targets check
//! the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod alike;
mod audit;
mod authorisation;
mod borrowed_rules;
mod change_password;
mod clock;
mod commands;
mod cookies;
mod delete_account;
mod delivery;
mod edges;
mod email_change;
mod fields;
mod hostile;
mod jwt_attacks;
mod layers;
mod limits;
mod logging;
mod login;
mod mail;
mod mail_requests;
mod password_forms;
mod power;
mod process;
mod profile_change;
mod promises;
#[expect(unreachable_pub, reason = "the fuzz targets take them from a library")]
#[path = "../../fuzz/src/properties/mod.rs"]
mod properties;
mod races;
mod refresh;
mod register;
mod request_log;
mod reset_page;
mod reset_password;
mod secrets;
mod sessions;
mod sick_disk;
mod simplejwt;
mod support;
mod token_endpoints;
mod verification;
mod well_known;
