//! Confines a panic to the request that it happens in.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// The result of `future`; `None` if it panicked, which the panic hook reports. It is not polled
/// again after that.
///
/// It is pinned in place: moving it here would double the size of every request's future.
pub(super) async fn caught<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        // What the future shares with others is behind locks and channels, which stay consistent
        // after a panic.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
