//! HTTP: what a request says, and what an answer looks like.
//!
//! Everything here is a plain function from the parts of a request to values, or from values to a
//! response; sockets are the business of `server`. Reading goes through [`input`] and [`fields`],
//! failing through [`errors`], answering through `respond` or, for people, [`pages`].

mod bearer;
pub mod client;
mod confirmation;
mod cookies;
mod cors;
pub mod errors;
mod field_errors;
pub mod fields;
mod home;
pub mod input;
mod login;
mod openapi;
pub mod pages;
mod panics;
mod passwords;
mod probes;
mod profile;
mod refresh;
mod register;
pub mod request;
pub mod request_id;
mod reset_page;
mod respond;
mod router;
mod routes;
mod sessions;
mod token_endpoints;
mod well_known;

pub use router::Router;
