//! Panics of whatever answers requests, kept to the request that they happen in.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// The future panicked. What it said is the panic hook's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// What `future` comes to, or that it panicked. It is not polled again after that.
///
/// It is pinned where it is: taking it would make every request's own future twice as large.
pub(crate) async fn caught<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panicked> {
    poll_fn(|cx| {
        // What the future shares with others is behind locks and channels, whose holders see to
        // it that a panic leaves them whole.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}
