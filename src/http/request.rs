//! What a handler is given: the request, and what all requests share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hyper::body::Bytes;
use hyper::http::request::Parts;

use super::cookies::Cookies;
use super::errors::ApiError;
use super::fields::{Fields, Form};
use super::pages::Pages;
use super::{input, openapi};
use crate::app::App;
use crate::domain::Client;
use crate::flows::revocation::RevocationFeed;

/// One request.
pub struct Request {
    /// Method, target and header fields.
    pub head: Parts,
    /// The body.
    pub body: Bytes,
    /// Where it comes from.
    pub client: Client,
}

impl Request {
    pub(super) fn fields(&self) -> Result<Fields, ApiError> {
        input::read(&self.head.headers, &self.body)
    }

    /// The body as a typed form: see [`Fields::form`].
    pub(super) fn form<T>(
        &self,
        read: impl FnOnce(&mut Form<'_>) -> Option<T>,
    ) -> Result<T, ApiError> {
        self.fields()?.form(read)
    }
}

/// Shows neither target, fields nor body: each may hold a password or a token.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.head.method)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// What all handlers share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) app: Arc<App>,
    pub(super) pages: Pages,
    /// Refresh tokens in cookies, as far as that is switched on.
    pub(super) cookies: Cookies,
    /// The list of revoked sessions, kept signed between requests.
    pub(super) revocations: RevocationFeed,
    /// The description of the API, as JSON.
    pub(super) description: Bytes,
    /// Whether the server is going down, for the readiness probe.
    pub(super) is_stopping: AtomicBool,
}

impl Context {
    pub(super) fn new(app: Arc<App>, pages: Pages) -> Self {
        Self {
            cookies: Cookies::new(&app.config, &app.public_url),
            description: openapi::description(&app),
            revocations: RevocationFeed::default(),
            is_stopping: AtomicBool::new(false),
            app,
            pages,
        }
    }
}
