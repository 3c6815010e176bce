//! Reading a request's body within its limits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};

/// How much the bodies under way may hold together, the small ones not counted. A larger
/// `max_body` raises it, so that several of the largest find room.
const MAX_HELD: usize = 16 * 1024 * 1024;
const LARGEST_AT_A_TIME: usize = 8;

/// So much of a body needs no room: ordinary requests are smaller, and are served although others
/// fill all the room there is.
const SMALL: usize = 2 * 1024;

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
    /// Other bodies under way hold all the memory that there is for them: status 503.
    NoRoom,
}

/// What is left of the memory for the bodies of all connections.
#[derive(Debug)]
pub(super) struct Room {
    left: AtomicUsize,
}

impl Room {
    /// Room for bodies of at most `max_body`.
    pub(super) fn new(max_body: usize) -> Self {
        let left = MAX_HELD.max(max_body.saturating_mul(LARGEST_AT_A_TIME));
        Self { left: AtomicUsize::new(left) }
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// A part of the room, given back when it is dropped.
#[derive(Debug)]
struct Share<'a> {
    room: &'a Room,
    bytes: usize,
}

impl Share<'_> {
    /// Makes it large enough for a body of `length`, if there is room.
    fn grow_to(&mut self, length: usize) -> Result<(), BodyProblem> {
        let more = length.saturating_sub(SMALL).saturating_sub(self.bytes);
        if more > 0 && !self.room.take(more) {
            return Err(BodyProblem::NoRoom);
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// The whole body, of at most `limit` bytes, within `patience`.
///
/// A body that announces more than that is refused without reading any of it. In particular a
/// client that asks first (`Expect: 100-continue`, RFC 9110, section 10.1.1) is not told to go
/// on, since hyper does so on the first read.
///
/// Waiting for the rest of a body is what costs memory for long, so that is what takes room; a
/// body that is all there gives it back.
pub(super) async fn read(
    body: Incoming,
    limit: usize,
    patience: Duration,
    room: &Room,
) -> Result<Bytes, BodyProblem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(BodyProblem::TooLarge);
    }
    let mut share = Share { room, bytes: 0 };
    // Reading what there will be no room for would cost memory as well, in hyper's own buffers.
    share.grow_to(announced)?;
    tokio::time::timeout(patience, collect(body, limit, share))
        .await
        .unwrap_or(Err(BodyProblem::TooSlow))
}

async fn collect(
    mut body: Incoming,
    limit: usize,
    mut share: Share<'_>,
) -> Result<Bytes, BodyProblem> {
    // Memory follows what has come, never what was announced: that takes room alone.
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
        share.grow_to(bytes.len() + data.len())?;
        if bytes.capacity() < bytes.len() + data.len() {
            // Not twice as much as has come, which is what a vector would take by itself.
            bytes.reserve_exact(data.len() + bytes.len() / 8);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_above_what_is_small_and_given_back() {
        let room = Room::new(1024);
        let left = || room.left.load(Ordering::Relaxed);
        assert_eq!(left(), MAX_HELD);
        let mut small = Share { room: &room, bytes: 0 };
        assert_eq!(small.grow_to(SMALL), Ok(()));
        assert_eq!(left(), MAX_HELD);
        let mut large = Share { room: &room, bytes: 0 };
        for length in [SMALL + 1, SMALL + 1_000, SMALL + MAX_HELD] {
            assert_eq!(large.grow_to(length), Ok(()));
            assert_eq!(left(), MAX_HELD + SMALL - length);
        }
        assert_eq!(large.grow_to(SMALL + MAX_HELD + 1), Err(BodyProblem::NoRoom));
        assert_eq!(small.grow_to(SMALL), Ok(()), "what is small needs none");
        assert_eq!(small.grow_to(SMALL + 1), Err(BodyProblem::NoRoom));
        drop(large);
        assert_eq!(small.grow_to(SMALL + 1), Ok(()));
        drop(small);
        assert_eq!(left(), MAX_HELD);
    }

    #[test]
    fn several_of_the_largest_find_room() {
        let largest = 16 * 1024 * 1024;
        let room = Room::new(largest);
        let mut shares = Vec::new();
        for _ in 0..LARGEST_AT_A_TIME {
            let mut share = Share { room: &room, bytes: 0 };
            assert_eq!(share.grow_to(largest), Ok(()));
            shares.push(share);
        }
    }
}
