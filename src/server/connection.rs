//! Serving one connection: hyper parses and writes, an alarm keeps the time limits.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::activity::{Activity, Evicted};
use super::io::Io;
use super::panics::{Panicked, caught};
use super::{Handler, Incoming, body, framing};
use crate::config::ServerConfig;

/// The most bytes in the head of a request; a longer one is answered with 431.
const MAX_HEAD: usize = 16 * 1024;

/// The most fields in the head of a request; more are answered with 431.
const MAX_FIELDS: usize = 64;

/// What all connections share.
pub(super) struct Shared {
    pub(super) settings: ServerConfig,
    pub(super) handler: Handler,
    http: http1::Builder,
    /// What the bodies of all connections may hold together.
    room: body::Room,
}

impl Shared {
    pub(super) fn new(settings: ServerConfig, handler: Handler) -> Self {
        let mut http = http1::Builder::new();
        // hyper's own time limit for heads runs while a connection is idle as well. Ours tells
        // the two apart; see `Activity`.
        http.header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_FIELDS)
            // A client may close its side once its request is out and still gets its answer. It
            // also means that a request which has begun is never dropped half way because its
            // client left.
            .half_close(true);
        let room = body::Room::new(settings.max_body);
        Self { settings, handler, http, room }
    }
}

/// Serves requests until the client leaves, an answer says that it is the last one, or the
/// connection has outstayed one of its limits.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    activity: Arc<Activity>,
) {
    let io = TokioIo::new(Io::new(stream, activity.clone()));
    // On the heap while there is a request, so that an idle connection has no place for it.
    let service = service_fn(|request| Box::pin(respond(&shared, &activity, peer, request)));
    let mut connection = pin!(shared.http.serve_connection(io, service));
    let mut alarm = Alarm::new(&activity);
    let served = poll_fn(|cx| {
        if let Poll::Ready(served) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(served));
        }
        // Only hyper's own steps change what the connection is waiting for, so this is the moment
        // to look at the clock.
        alarm.poll(cx).map(|()| None)
    })
    .await;
    match served {
        Some(Ok(())) => {}
        // Whatever went wrong, the client did it, and has been answered if it could be.
        Some(Err(error)) => tracing::debug!(%peer, %error, "connection failed"),
        None => tracing::debug!(%peer, "connection timed out"),
    }
}

/// Rings when a connection has outstayed its phase.
struct Alarm<'a> {
    activity: &'a Activity,
    sleep: Pin<Box<Sleep>>,
}

impl<'a> Alarm<'a> {
    fn new(activity: &'a Activity) -> Self {
        let first = activity.deadline().unwrap_or_else(Instant::now);
        Self { activity, sleep: Box::pin(tokio::time::sleep_until(first)) }
    }

    /// Waits for the deadline as it is now. A deadline that has moved away is noticed when the
    /// alarm rings too early, so that an ordinary request does not touch the timer at all.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(deadline) = self.activity.deadline() else {
                return Poll::Pending;
            };
            if deadline < self.sleep.deadline() {
                self.sleep.as_mut().reset(deadline);
            }
            ready!(self.sleep.as_mut().poll(cx));
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(deadline);
        }
    }
}

/// Reads the body, has the handler answer, and says whether the connection goes on.
async fn respond(
    shared: &Shared,
    activity: &Activity,
    peer: SocketAddr,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Evicted> {
    activity.request_begins()?;
    let (head, body) = request.into_parts();
    if !framing::is_sound(&head) {
        tracing::debug!(%peer, "refused a head that could be read in two ways");
        activity.answer_begins();
        return Ok(bad_request());
    }
    let settings = &shared.settings;
    let body = body::read(body, settings.max_body, settings.request_timeout, &shared.room).await;
    let is_body_whole = body.is_ok();
    let mut response = answer(&shared.handler, Incoming { head, body, peer }).await;
    if !is_body_whole || activity.is_draining() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    activity.answer_begins();
    Ok(response)
}

/// The handler's answer; a bare 500 if it panics. This is the last resort: a handler that sees to
/// its panics itself gives a better answer.
async fn answer(handler: &Handler, incoming: Incoming) -> Response<Full<Bytes>> {
    let peer = incoming.peer;
    // Within, since what makes the future may panic as well.
    let answering = pin!(async { handler(incoming).await });
    match caught(answering).await {
        Ok(response) => response,
        Err(Panicked) => {
            // The panic's own message is the panic hook's affair. What was asked for may be a
            // secret, and only who handles it can tell.
            tracing::error!(%peer, "request handler panicked");
            internal_server_error()
        }
    }
}

/// As bare as hyper's own answer to what it cannot read, and the connection's last.
fn bad_request() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn internal_server_error() -> Response<Full<Bytes>> {
    let body = Bytes::from_static(br#"{"detail": "Internal server error."}"#);
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
