//! A request as a client makes it, and its answer as a client sees it.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request};
use latchkey::http::Router;
use latchkey::server::{BodyProblem, Incoming};
use serde_json::Value;

/// A client that connects directly, without a proxy.
const PEER: &str = "192.0.2.1:50000";

/// A request that is sent when it is awaited.
#[must_use]
pub(crate) struct Call {
    router: Arc<Router>,
    request: Request<()>,
    body: Result<Bytes, BodyProblem>,
    peer: SocketAddr,
}

impl Call {
    pub(crate) fn new(router: &Arc<Router>, method: &str, target: &str) -> Self {
        Self {
            router: Arc::clone(router),
            request: Request::builder().method(method).uri(target).body(()).unwrap(),
            body: Ok(Bytes::new()),
            peer: PEER.parse().unwrap(),
        }
    }

    /// A request as it is, of any bytes that a request may be made of.
    pub(crate) fn of(router: &Arc<Router>, head: Parts, body: Bytes, peer: SocketAddr) -> Self {
        let (router, request) = (Arc::clone(router), Request::from_parts(head, ()));
        Self { router, request, body: Ok(body), peer }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.request.headers_mut().append(name, value.as_ref().try_into().unwrap());
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), format!("Bearer {token}"))
    }

    /// With the cookie that carries a refresh token, as from a page of `origin`.
    pub(crate) fn cookie(self, token: &str, origin: &str) -> Self {
        let call = self.header("cookie", format!("__Host-latchkey_refresh={token}"));
        if origin.is_empty() { call } else { call.header("origin", origin) }
    }

    /// With a body of this type, or of none if that is empty.
    pub(crate) fn body(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = Ok(body.into());
        if media_type.is_empty() {
            return self;
        }
        self.header(CONTENT_TYPE.as_str(), media_type)
    }

    pub(crate) fn json(self, value: &Value) -> Self {
        self.body("application/json", value.to_string())
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", form)
    }

    /// With a body that could not be read.
    pub(crate) fn bad_body(mut self, problem: BodyProblem) -> Self {
        self.body = Err(problem);
        self
    }

    /// From another address, `192.0.2.9`, say, or `2001:db8::1`.
    pub(crate) fn from(mut self, address: &str) -> Self {
        self.peer = SocketAddr::new(address.parse().unwrap(), 50_000);
        self
    }

    async fn send(self) -> Reply {
        let method = self.request.method().to_string();
        let path = self.request.uri().path();
        let is_public = path.starts_with("/.well-known/") || path.starts_with("/api/schema");
        let (head, ()) = self.request.into_parts();
        let incoming = Box::new(Incoming { head, body: self.body, peer: self.peer });
        let (head, body) = self.router.answer(incoming).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let reply = Reply { status: head.status.as_u16(), headers: head.headers, body };
        reply.check_what_holds_for_all(&method, is_public);
        reply
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} from {}", self.request, self.body, self.peer)
    }
}

impl IntoFuture for Call {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Sends all calls at the same time, and returns the answers in the order of the calls.
pub(crate) async fn at_once(calls: impl IntoIterator<Item = Call>) -> Vec<Reply> {
    let under_way: Vec<_> = calls.into_iter().map(|call| tokio::spawn(call.send())).collect();
    let mut replies = Vec::new();
    for call in under_way {
        replies.push(call.await.unwrap());
    }
    replies
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// A header that is there at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON; `null` where there is none.
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Status and body as JSON, for comparing both at once.
    pub(crate) fn told(&self) -> (u16, Value) {
        (self.status, self.json())
    }

    /// A text of the body's JSON object.
    pub(crate) fn field(&self, name: &str) -> String {
        let body = self.json();
        let value = body.get(name).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned()
    }

    /// What `Retry-After` says, in seconds.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.header("retry-after").map(|seconds| seconds.parse().unwrap())
    }

    /// The contract's "Headers" section, held against every answer that any test gets. What is
    /// public may be kept.
    fn check_what_holds_for_all(&self, method: &str, is_public: bool) {
        let is_page = self.header("content-type").is_some_and(|media| media.starts_with("text/"));
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("vary", "Accept, Origin"),
        ] {
            assert_eq!(self.header(name), Some(value), "{name}: {self:?}");
        }
        // A page holds a ticket, and a redirection comes from an address that does.
        let holds_ticket = is_page || self.status == 303;
        let policy = if holds_ticket { "no-referrer" } else { "same-origin" };
        assert_eq!(self.header("referrer-policy"), Some(policy), "{self:?}");
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{self:?}");

        let needs_retry_after = self.status == 429;
        assert!(!needs_retry_after || self.retry_after().is_some(), "{self:?}");
        let names_methods = method == "OPTIONS" && self.status == 204 || self.status == 405;
        assert_eq!(self.header("allow").is_some(), names_methods, "{self:?}");
        let is_jwt = is_public && self.header("content-type") == Some("application/jwt");
        if method == "HEAD" || matches!(self.status, 204 | 303 | 304) {
            assert!(self.body.is_empty(), "{self:?}");
        } else if !is_page && !is_jwt {
            assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
            self.json();
        }
        let is_success = (200..300).contains(&self.status) && self.status != 204;
        if is_public && (is_success || self.status == 304) {
            let kept = self.header("cache-control").unwrap();
            assert!(kept.starts_with("public, max-age="), "{self:?}");
            assert_eq!(self.header("set-cookie"), None, "{self:?}");
        } else if is_success || holds_ticket {
            assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        }
    }
}
