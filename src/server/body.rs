//! Reading a request's body within its limits.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};

/// Why a request has no body that could be used. Whichever it is, the connection closes after
/// the answer: where the next request would start is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProblem {
    /// It is longer than `max_body`, or says that it will be: status 413.
    TooLarge,
    /// It was not all there within `request_timeout`: status 408.
    TooSlow,
    /// The client broke off in the middle of it, or its chunks are malformed: status 400.
    Broken,
}

/// The whole body, of at most `limit` bytes, within `patience`.
///
/// A body that announces more than that is refused without reading any of it. In particular a
/// client that asks first (`Expect: 100-continue`, RFC 9110, section 10.1.1) is not told to go
/// on, since hyper does so on the first read.
pub(super) async fn read(
    body: Incoming,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, BodyProblem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let announced = body.size_hint().lower();
    if usize::try_from(announced).is_ok_and(|announced| announced <= limit) {
        tokio::time::timeout(patience, collect(body, limit))
            .await
            .unwrap_or(Err(BodyProblem::TooSlow))
    } else {
        Err(BodyProblem::TooLarge)
    }
}

async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, BodyProblem> {
    // Memory follows what has come, never what was announced: announcing is free.
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyProblem::Broken)?.into_data() else {
            continue; // Trailers mean nothing here.
        };
        if data.len() > limit - bytes.len() {
            return Err(BodyProblem::TooLarge);
        }
        if bytes.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}
