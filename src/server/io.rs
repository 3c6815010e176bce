//! The socket as hyper sees it: every byte that moves is noted in the connection's [`Activity`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;

/// A socket that keeps its connection's activity up to date, and that closes in such a way that
/// the last answer arrives.
pub(super) struct Io {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// The last write found no room, so the next one is news.
    was_blocked: bool,
    /// The client has closed its side.
    has_ended: bool,
    /// We have closed ours.
    is_closed: bool,
}

impl Io {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity, was_blocked: false, has_ended: false, is_closed: false }
    }

    fn note_write(&mut self, written: &Poll<io::Result<usize>>) {
        if written.is_pending() {
            self.was_blocked = true;
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

    /// Closes our side, then reads on until the client has closed its own: a socket that is closed
    /// with unread bytes in it is reset, and the reset can overtake the answer. The connection's
    /// deadline ends this if the client does not.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closed {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_closed = true;
            self.activity.lingers();
        }
        let mut scratch = [0; 1024];
        while !self.has_ended {
            ready!(self.as_mut().poll_read(cx, &mut ReadBuf::new(&mut scratch)))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Io {
    /// An answer that its client will not take is not left to the kernel either, which would hold
    /// on to it for minutes.
    fn drop(&mut self) {
        if self.activity.is_answering()
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "cannot give up an answer");
        }
    }
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
