//! One request: reads its body, calls the handler, returns the answer.

use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::{Body as _, Bytes};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response, StatusCode};

use super::activity::{Activity, Evicted};
use super::room::Room;
use super::{Handler, Incoming, body, framing};
use crate::config::ServerConfig;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What the requests of all connections share.
pub(super) struct Requests {
    pub(super) settings: ServerConfig,
    handler: Handler,
    /// The memory for the incomplete bodies of all connections.
    room: Room,
}

impl Requests {
    pub(super) fn new(settings: ServerConfig, handler: Handler) -> Self {
        let room = Room::new(settings.max_body);
        Self { settings, handler, room }
    }

    /// Reads the body, calls the handler, and decides whether the connection continues.
    pub(super) async fn respond(
        &self,
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
        let Self { settings, handler, room } = self;
        let is_left_unread = body::is_ignored(&head.method) && !body.is_end_stream();
        let body = if is_left_unread {
            Ok(Bytes::new())
        } else {
            body::read(body, settings.max_body, settings.request_timeout, room).await
        };
        let is_body_whole = body.is_ok() && !is_left_unread;
        // On the heap, since every future that holds it reserves space for it.
        let mut response = handler(Box::new(Incoming { head, body, peer })).await;
        if !is_body_whole || activity.is_draining() {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        activity.answer_begins();
        Ok(response)
    }
}

/// As bare as hyper's own answer to unreadable heads, and the connection's last.
fn bad_request() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(CONNECTION, CLOSE);
    response
}
