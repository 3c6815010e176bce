//! From a request to its answer: who asks, for what, and what came of it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use tracing::{debug, error, info};

use super::client::{ProxyWarnings, client};
use super::cors::{self, Cors};
use super::errors::{ApiError, STORAGE_RETRY};
use super::pages::Pages;
use super::panics::caught;
use super::request::{Context, Request};
use super::respond::{self, Answer};
use super::routes::{ROUTES, Resource, Route, RouteTable, is_for_scripts};
use super::{
    confirmation, home, login, openapi, passwords, probes, profile, refresh, register, request_id,
    reset_page, sessions, token_endpoints, well_known,
};
use crate::app::App;
use crate::logging::within_request;
use crate::server::{BodyProblem, Incoming};

/// What `OPTIONS` has for a path when it asks about the server as a whole (RFC 9110, section
/// 9.3.7).
const SERVER_ITSELF: &str = "*";
/// The longest part of an unknown path that is logged as it is: anything longer may be a token.
const MAX_LOGGED_SEGMENT: usize = 24;
/// The most parts of an unknown path that are logged.
const MAX_LOGGED_SEGMENTS: usize = 6;

/// Answers requests.
#[derive(Debug)]
pub struct Router {
    context: Context,
    table: RouteTable,
    cors: Cors,
    proxies: ProxyWarnings,
}

impl Router {
    /// A router over `app` that shows `pages`.
    pub fn new(app: Arc<App>, pages: Pages) -> Self {
        let cors = Cors { origins: app.config.server.allowed_origins.clone() };
        Self {
            context: Context::new(app, pages),
            table: RouteTable::new(),
            cors,
            proxies: ProxyWarnings::default(),
        }
    }

    /// Reports from now on that the server is going down.
    pub fn stop(&self) {
        self.context.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Answers one request, within the configured time, and logs it.
    pub async fn answer(self: Arc<Self>, incoming: Box<Incoming>) -> Answer {
        let started = self.context.app.clock.monotonic();
        let (asked, request, problem) = self.take(incoming);
        let limit = self.context.app.config.server.request_timeout;
        let handling = self.handle(&asked, request, problem);
        let handling = pin!(within_request(Arc::clone(&asked.id), handling));
        let mut answer = match tokio::time::timeout(limit, caught(handling)).await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                let method = respond::shortened(asked.method.as_str());
                let (request_id, path) = (&asked.id, asked.path.as_ref());
                error!(%request_id, %method, path, "request handler panicked");
                respond::internal_error()
            }
            Err(_) => ApiError::Unavailable(STORAGE_RETRY).into_answer(),
        };
        self.cors.permit(asked.origin.as_ref(), &mut answer);
        request_id::mark(&mut answer, &asked.id);
        if asked.method == Method::HEAD {
            answer = respond::for_head(answer);
        }
        asked.log(answer.status(), self.context.app.clock.monotonic().saturating_sub(started));
        answer
    }

    /// Takes apart what came in: what is kept of it until it is answered, what its handler is
    /// given, and why its body is none.
    fn take(&self, incoming: Box<Incoming>) -> (Asked<'_>, Box<Request>, Option<BodyProblem>) {
        let Incoming { head, body, peer } = *incoming;
        let trusted = &self.context.app.config.server.trusted_proxies;
        let random = || self.context.app.random.name();
        let id = request_id::name(&head.headers, peer.ip(), trusted, random);
        let (client, note) = client(&head, peer, trusted);
        self.proxies.look(note, peer.ip(), &head.headers, trusted);
        let path = head.uri.path();
        let resource = self.table.find(path);
        let asked = Asked {
            id,
            method: head.method.clone(),
            path: resource.map_or_else(|| loggable(path).into(), |found| found.pattern.into()),
            resource,
            origin: cors::origin(&head.headers).filter(|_| is_for_scripts(path)).cloned(),
            address: client.address,
        };
        let (body, problem) = match body {
            Ok(body) => (body, None),
            Err(problem) => (Bytes::new(), Some(problem)),
        };
        (asked, Box::new(Request { head, body, client }), problem)
    }

    async fn handle(
        &self,
        asked: &Asked<'_>,
        request: Box<Request>,
        problem: Option<BodyProblem>,
    ) -> Answer {
        let head = &request.head;
        if head.method == Method::OPTIONS && head.uri.path() == SERVER_ITSELF {
            let all: Vec<Method> = ROUTES.iter().map(|(method, ..)| method.clone()).collect();
            return respond::options(&all);
        }
        let methods = asked.resource.map_or(&[][..], |resource| &resource.methods);
        if head.method == Method::OPTIONS
            && let Some(answer) = self.cors.preflight(asked.origin.as_ref(), &head.headers, methods)
        {
            return answer;
        }
        let Some(resource) = asked.resource else { return home::show(&self.context, head) };
        if head.method == Method::OPTIONS {
            return respond::options(methods);
        }
        let Some(route) = resource.route(&head.method) else {
            let (method, allow) = (head.method.clone(), respond::allow(methods));
            return ApiError::MethodNotAllowed { method, allow }.into_answer();
        };
        if let Some(problem) = problem {
            return ApiError::from(problem).into_answer();
        }
        let release = self.context.app.config.compatibility.simplejwt;
        self.dispatch(route, request).await.unwrap_or_else(|error| error.answer_as(release))
    }

    /// Each handler that waits for something has a box of its own: a request takes as much memory
    /// as its own handler needs, and not as the largest one.
    async fn dispatch(&self, route: Route, request: Box<Request>) -> Result<Answer, ApiError> {
        let context = &self.context;
        match route {
            Route::Register => Box::pin(register::register(context, *request)).await,
            Route::LogIn => Box::pin(login::log_in(context, *request)).await,
            Route::ObtainTokens => Box::pin(token_endpoints::obtain(context, *request)).await,
            Route::Refresh => Box::pin(refresh::refresh(context, *request)).await,
            Route::LogOut => Box::pin(sessions::log_out(context, *request)).await,
            Route::LogOutEverywhere => {
                Box::pin(sessions::log_out_everywhere(context, *request)).await
            }
            Route::Sessions => sessions::list(context, &request),
            Route::EndSession => Box::pin(sessions::end(context, *request)).await,
            Route::VerifyToken => token_endpoints::verify(context, &request),
            Route::BlacklistToken => Box::pin(token_endpoints::blacklist(context, *request)).await,
            Route::RevokedSessions => {
                Box::pin(well_known::revoked_sessions(context, &request)).await
            }
            Route::Profile => profile::show(context, &request),
            Route::ChangeProfile => Box::pin(profile::change(context, *request)).await,
            Route::DeleteAccount => Box::pin(profile::delete(context, *request)).await,
            Route::ForgotPassword => Box::pin(passwords::forgot(context, *request)).await,
            Route::ResetPassword => Box::pin(passwords::reset(context, *request)).await,
            Route::ChangePassword => Box::pin(passwords::change(context, *request)).await,
            Route::ResendVerification => {
                Box::pin(register::resend_verification(context, *request)).await
            }
            Route::OpenResetLink => Ok(reset_page::open(context, &request)),
            Route::AnswerReset => Box::pin(reset_page::answer(context, *request)).await,
            Route::OpenVerificationLink => {
                Ok(Box::pin(confirmation::open(context, *request)).await)
            }
            Route::AnswerVerification => Box::pin(confirmation::answer(context, *request)).await,
            Route::KeySet => well_known::jwks(context),
            Route::Schema => Ok(openapi::show(&context.description)),
            Route::Alive => Ok(probes::alive()),
            Route::Ready => probes::ready(context),
        }
    }
}

/// What is kept of a request until it is answered.
struct Asked<'r> {
    id: Arc<str>,
    method: Method,
    /// As it is logged.
    path: Cow<'r, str>,
    resource: Option<&'r Resource>,
    /// Where the script of another origin comes from; `None` where scripts have no business.
    origin: Option<HeaderValue>,
    address: IpAddr,
}

impl Asked<'_> {
    /// Logs how it was answered.
    fn log(&self, status: StatusCode, took: Duration) {
        let Self { id: request_id, method, path, resource, address, .. } = self;
        let (path, status) = (path.as_ref(), status.as_u16());
        let took_ms = took.as_micros() as f64 / 1_000.0;
        let route = resource.and_then(|found| found.route(method));
        let method = respond::shortened(method.as_str());
        // Probes come every few seconds for ever.
        if matches!(route, Some(Route::Alive | Route::Ready)) {
            debug!(%request_id, %method, path, status, took_ms, %address, "request");
        } else {
            info!(%request_id, %method, path, status, took_ms, %address, "request");
        }
    }
}

/// An unknown path as far as it can be logged: someone may have mangled a link whose path holds a
/// token.
fn loggable(path: &str) -> String {
    if path == SERVER_ITSELF {
        return path.to_owned();
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let mut text = String::new();
    for segment in path.split('/').skip(1).take(MAX_LOGGED_SEGMENTS) {
        let is_short = segment.len() <= MAX_LOGGED_SEGMENT && segment.bytes().all(is_plain);
        text.push('/');
        text.push_str(if is_short { segment } else { "…" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Client;

    #[test]
    fn debug_shows_nothing_that_may_be_secret() {
        let head = || {
            let request = hyper::Request::post("/reset-password/hunter2?token=hunter2");
            let request = request.header("authorization", "Bearer hunter2");
            request.body(()).unwrap().into_parts().0
        };
        let body = Bytes::from_static(b"password=hunter2");
        let (peer, client) =
            ("192.0.2.1:5".parse().unwrap(), Client::new([192, 0, 2, 1].into(), ""));
        let incoming = Incoming { head: head(), body: Ok(body.clone()), peer };
        let request = Request { head: head(), body, client };
        for shown in [format!("{incoming:?}"), format!("{request:?}")] {
            assert!(shown.contains("POST") && shown.contains("192.0.2.1"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn an_unknown_path_is_logged_without_what_may_be_a_token() {
        for (path, logged) in [
            ("/favicon.ico", "/favicon.ico"),
            ("/api/login/x", "/api/login/x"),
            ("/", "/"),
            ("*", "*"),
            ("/reset-password/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/", "/reset-password/…/"),
            ("/a%0Ab/<x>", "/…/…"),
            ("/1/2/3/4/5/6/7/8", "/1/2/3/4/5/6"),
        ] {
            assert_eq!(loggable(path), logged);
        }
    }
}
