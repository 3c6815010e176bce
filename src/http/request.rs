//! What a handler is given: the request, and what all requests share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::body::Bytes;
use hyper::http::request::Parts;

use super::cookies::Cookies;
use super::errors::ApiError;
use super::fields::{Fields, Form};
use super::input;
use super::openapi::Description;
use super::pages::Pages;
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
    /// The fields of the body.
    ///
    /// # Errors
    /// See [`input::read`].
    pub fn fields(&self) -> Result<Fields, ApiError> {
        input::read(&self.head.headers, &self.body)
    }

    /// The body as a typed form: see [`Fields::form`].
    ///
    /// # Errors
    /// Those of [`fields`](Self::fields) and [`Fields::form`].
    pub fn form<T>(&self, read: impl FnOnce(&mut Form<'_>) -> Option<T>) -> Result<T, ApiError> {
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
    pub(super) description: Description,
    /// Whether the server is going down, for the readiness probe.
    is_stopping: AtomicBool,
}

impl Context {
    pub(super) fn new(app: Arc<App>, pages: Pages) -> Self {
        Self {
            cookies: Cookies::new(&app.config, &app.public_url),
            description: Description::new(&app),
            revocations: RevocationFeed::default(),
            is_stopping: AtomicBool::new(false),
            app,
            pages,
        }
    }

    /// Reports from now on that the server is going down.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}
