//! The socket as hyper sees it: every byte is recorded in the connection's [`Activity`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::{Activity, Evicted};

/// The longest request head, in bytes; a longer one is answered with 431.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// What ends a head, with as many bytes as any of its forms has: an empty line, before which hyper
/// takes a line feed for the end of a line as well (RFC 9112, section 2.2).
const END_OF_HEAD: &[u8] = b"\n\r\n";

/// A socket that updates its connection's activity, and that closes in such a way that the last
/// answer arrives.
pub(super) struct Io {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// The bytes of a head that have arrived, to be read before the rest.
    held: Vec<u8>,
    /// The last write found no room, so the next one is progress.
    was_blocked: bool,
    /// The client has closed its side.
    has_ended: bool,
    /// We should close ours.
    is_to_close: bool,
    /// We have closed ours.
    is_closed: bool,
}

impl Io {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            activity,
            held: Vec::new(),
            was_blocked: false,
            has_ended: false,
            is_to_close: false,
            is_closed: false,
        }
    }

    /// Takes back the bytes of a head whose rest has not arrived.
    pub(super) fn hold(&mut self, head: &[u8]) -> Result<(), Evicted> {
        if !head.is_empty() {
            self.activity.bytes_came()?;
        }
        // Exactly sized: there may be thousands of these.
        self.held = [head, &self.held].concat();
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    #[cfg(test)]
    pub(super) const fn held_capacity(&self) -> usize {
        self.held.capacity()
    }

    /// Waits until there is something to parse: any byte, or the rest of a held head. A head that
    /// grows too long or is cut off counts as well. A malformed head is only noticed once it is
    /// complete.
    pub(super) fn poll_worth_reading(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return self.stream.poll_read_ready(cx);
        }
        if has_whole_head(&self.held) {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 1024];
        while self.held.len() < MAX_HEAD && !self.has_ended {
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.has_ended = buffer.filled().is_empty();
            self.activity.bytes_came().map_err(io::Error::other)?;
            // The end may span old and new bytes.
            let from = self.held.len().saturating_sub(END_OF_HEAD.len());
            self.held.reserve_exact(buffer.filled().len());
            self.held.extend_from_slice(buffer.filled());
            if self.held.get(from..).is_some_and(has_end_of_head) {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Marks the connection as finished: our side is to be closed.
    pub(super) const fn close_in_order(&mut self) {
        self.is_to_close = true;
    }

    /// Whether it is marked as finished.
    pub(super) const fn is_to_close(&self) -> bool {
        self.is_to_close
    }

    /// Closes our side, then reads on until the client has closed its own: a socket that is closed
    /// with unread bytes in it is reset, and the reset can overtake the answer. The connection's
    /// deadline ends this if the client does not.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closed {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_closed = true;
            self.activity.lingers();
        }
        let mut scratch = [0; 1024];
        while !self.has_ended {
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.has_ended = buffer.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }

    fn note_write(&mut self, written: &Poll<io::Result<usize>>) {
        if written.is_pending() {
            self.was_blocked = true;
            self.activity.answer_blocks();
        } else if self.was_blocked {
            self.was_blocked = false;
            self.activity.answer_moved();
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            let most = self.held.len().min(buffer.remaining());
            buffer.put_slice(self.held.get(..most).unwrap_or_default());
            self.held.drain(..most);
            if self.held.is_empty() {
                self.held = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let room = buffer.remaining();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let has_nothing_come = buffer.remaining() == room;
        if has_nothing_come {
            self.has_ended = room > 0;
        } else if let Err(evicted) = self.activity.bytes_came() {
            return Poll::Ready(Err(io::Error::other(evicted)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes only once its own buffer is empty, so a flush ends an answer.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    /// hyper has written everything and may return the connection. Closing takes time but needs
    /// none of hyper's buffers: see [`poll_close`](Self::poll_close).
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_to_close = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Io {
    /// An answer that its client does not read is not left to the kernel either, which would keep
    /// it for minutes.
    fn drop(&mut self) {
        if self.activity.is_answering()
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "cannot discard an unread answer");
        }
    }
}

/// Whether a whole head is there. hyper skips empty lines before it.
fn has_whole_head(bytes: &[u8]) -> bool {
    let begins = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    begins.and_then(|begins| bytes.get(begins..)).is_some_and(has_end_of_head)
}

/// Whether there is an empty line.
fn has_end_of_head(bytes: &[u8]) -> bool {
    bytes.windows(END_OF_HEAD.len()).any(|window| window == END_OF_HEAD)
        || bytes.windows(2).any(|window| window == b"\n\n")
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::super::activity::Patience;
    use super::*;

    fn wake<T>(cx: &Context<'_>) -> Poll<T> {
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    #[tokio::test]
    async fn a_write_after_a_block_moves_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let activity = Arc::new(Activity::new(Patience::of_an_hour(), Instant::now()));
        let mut io = Io::new(stream, activity.clone());
        activity.request_begins().unwrap();
        activity.answer_begins();

        let first = activity.deadline();
        // Until there is room in the sockets no more; nobody reads yet.
        poll_fn(|cx| {
            let is_full = Pin::new(&mut io).poll_write(cx, &[0; 65_536]).is_pending();
            if is_full { Poll::Ready(()) } else { wake(cx) }
        })
        .await;
        assert_eq!(activity.deadline(), first, "the deadline moved while nothing was blocked");

        let reading = tokio::spawn(async move {
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await
        });
        io.write_all(b"more").await.unwrap();
        assert!(activity.deadline() > first);
        activity.flushed();
        drop(io);
        assert!(reading.await.unwrap().is_ok());
    }
}
