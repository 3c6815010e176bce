//! Reading a request's body within its limits.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Method;
use hyper::body::{Body, Bytes, Frame, Incoming};

use super::room::{NoRoom, Room, Share};

/// Why a request has no usable body. In each case the connection closes after the answer, because
/// the start of the next request is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProblem {
    /// It is longer than `max_body`, or announces that it will be: status 413.
    TooLarge,
    /// It was not complete within `request_timeout`: status 408.
    TooSlow,
    /// The client stopped in the middle of it, or its chunks are malformed: status 400.
    Broken,
    /// Other incomplete bodies hold all the memory for bodies: status 503.
    NoRoom,
}

impl From<NoRoom> for BodyProblem {
    fn from(NoRoom: NoRoom) -> Self {
        Self::NoRoom
    }
}

/// Whether a body means nothing in a request of this `method` (RFC 9110, sections 9.3.1, 9.3.2 and
/// 9.3.7). Such a request is answered without reading its body, since some clients announce one and
/// never send it; then the connection closes.
pub(super) fn is_ignored(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The whole body, of at most `limit` bytes, within `patience`.
///
/// A body that announces more than that is refused without reading any of it. In particular, a
/// client that sent `Expect: 100-continue` (RFC 9110, section 10.1.1) is not told to continue,
/// since hyper does that on the first read.
///
/// Only waiting for the rest of a body holds memory for long, so only that takes room; a body that
/// arrived with its head takes none.
pub(super) async fn read(
    body: Incoming,
    limit: usize,
    patience: Duration,
    room: &Room,
) -> Result<Bytes, BodyProblem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(BodyProblem::TooLarge);
    }
    tokio::time::timeout(patience, collect(body, limit, room))
        .await
        .unwrap_or(Err(BodyProblem::TooSlow))
}

async fn collect(mut body: Incoming, limit: usize, room: &Room) -> Result<Bytes, BodyProblem> {
    // Memory grows with what has arrived, not with what was announced.
    let mut bytes = Vec::new();
    let mut share = None;
    while let Some(frame) =
        poll_fn(|cx| poll_frame(&mut body, &mut share, room, bytes.len(), cx)).await?
    {
        let Ok(data) = frame.into_data() else {
            continue; // Trailers mean nothing here.
        };
        if data.len() > limit - bytes.len() {
            return Err(BodyProblem::TooLarge);
        }
        if bytes.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        if let Some(share) = &mut share {
            share.grow(data.len())?;
        }
        if bytes.capacity() < bytes.len() + data.len() {
            // A vector would grow to twice its size.
            bytes.reserve_exact(data.len() + bytes.len() / 8);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

/// The next frame of a body of which `held` bytes have arrived. If it is not there yet, the body
/// takes a share of the room while it waits, and may have to give way.
fn poll_frame<'a>(
    body: &mut Incoming,
    share: &mut Option<Share<'a>>,
    room: &'a Room,
    held: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Frame<Bytes>>, BodyProblem>> {
    if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
        return Poll::Ready(frame.transpose().map_err(|_| BodyProblem::Broken));
    }
    let share = match share {
        Some(share) => share,
        None => share.insert(room.share(held)?),
    };
    share.poll_gives_way(cx).map(|NoRoom| Err(BodyProblem::NoRoom))
}
