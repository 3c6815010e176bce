//! One request: reads its body, calls the handler, returns the answer.

use std::net::SocketAddr;
use std::pin::pin;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};

use super::activity::{Activity, Evicted};
use super::connection::Shared;
use super::panics::{Panicked, caught};
use super::{Handler, Incoming, body, framing};

/// Reads the body, calls the handler, and decides whether the connection continues.
pub(super) async fn respond(
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
    // On the heap, since every future that holds it reserves space for it.
    let incoming = Box::new(Incoming { head, body, peer });
    let mut response = answer(&shared.handler, incoming).await;
    if !is_body_whole || activity.is_draining() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    activity.answer_begins();
    Ok(response)
}

/// The handler's answer; a bare 500 if it panics. This is the last resort: a handler that catches
/// its own panics gives a better answer.
async fn answer(handler: &Handler, incoming: Box<Incoming>) -> Response<Full<Bytes>> {
    let peer = incoming.peer;
    // Inside, since creating the future may panic too.
    let answering = pin!(async { handler(incoming).await });
    match caught(answering).await {
        Ok(response) => response,
        Err(Panicked) => {
            // The panic hook handles the message. The request may hold a secret, which only the
            // handler can tell.
            tracing::error!(%peer, "request handler panicked");
            internal_server_error()
        }
    }
}

/// As bare as hyper's own answer to unreadable heads, and the connection's last.
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
