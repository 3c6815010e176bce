//! Serves one connection: hyper parses and writes, an alarm enforces the time limits.
//!
//! hyper holds two buffers of 8 KiB per connection. So it has a connection only while there is
//! something to do: one that is silent, or slow to finish a head, is taken back after a moment and
//! waits with only the bytes that have arrived.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::Handler;
use super::activity::Activity;
use super::io::{Io, MAX_HEAD};
use super::request::Requests;
use crate::config::ServerConfig;

/// The most fields in a request head; more are answered with 431.
const MAX_FIELDS: usize = 64;

/// What all connections share.
pub(super) struct Connections {
    http: http1::Builder,
    pub(super) requests: Requests,
}

impl Connections {
    pub(super) fn new(settings: ServerConfig, handler: Handler) -> Self {
        let mut http = http1::Builder::new();
        // hyper's own time limit for heads also runs while a connection is idle. Ours distinguishes
        // the two; see `Activity`.
        http.header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_FIELDS)
            // A client may close its side once its request is sent and still gets its answer. This
            // also means that a request under way is never dropped because its client left.
            .half_close(true);
        Self { http, requests: Requests::new(settings, handler) }
    }
}

/// Why hyper returned a connection.
enum Pause {
    /// There is nothing to do at the moment.
    Rest,
    /// The connection is finished.
    Over,
    /// It has exceeded one of its time limits.
    TimedOut,
}

/// Serves requests until the client leaves, an answer is the last one, or the connection exceeds
/// one of its time limits.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Connections>,
    activity: Arc<Activity>,
) {
    let mut io = Io::new(stream, activity.clone());
    let mut alarm = Alarm::new(&activity);
    loop {
        let Some(is_there) = alarm.bounds(|cx| io.poll_worth_reading(cx)).await else { break };
        if let Err(error) = is_there {
            tracing::debug!(%peer, %error, "connection failed");
            return;
        }
        let pause;
        (io, pause) = speak(io, peer, &shared, &activity, &mut alarm).await;
        match pause {
            Pause::Rest => {}
            Pause::Over => {
                if io.is_to_close() {
                    // Nobody waits for the result.
                    let _ = alarm.bounds(|cx| io.poll_close(cx)).await;
                }
                return;
            }
            Pause::TimedOut => break,
        }
    }
    tracing::debug!(%peer, "connection timed out");
}

/// Lets hyper serve the connection until there is nothing to do, and takes it back.
async fn speak(
    io: Io,
    peer: SocketAddr,
    shared: &Connections,
    activity: &Activity,
    alarm: &mut Alarm<'_>,
) -> (Io, Pause) {
    // On the heap while there is a request, so that a connection that reads a head needs no space
    // for it.
    let service = service_fn(|request| Box::pin(shared.requests.respond(activity, peer, request)));
    // hyper's state too: an idle connection needs no space for it.
    let mut connection = Box::new(shared.http.serve_connection(TokioIo::new(io), service));
    let mut is_in_order = false;
    let pause = poll_fn(|cx| {
        if let Poll::Ready(served) = Pin::new(&mut *connection).poll(cx) {
            // The client caused the error, and has been answered if that was possible.
            if let Err(error) = &served {
                tracing::debug!(%peer, %error, "connection failed");
            }
            is_in_order = served.is_ok();
            return Poll::Ready(Pause::Over);
        }
        // Only hyper's own steps change what the connection is waiting for, so this is the moment
        // to look at the clock.
        ready!(alarm.poll_pause(cx));
        let is_over = activity.deadline().is_some_and(|deadline| deadline <= Instant::now());
        Poll::Ready(if is_over { Pause::TimedOut } else { Pause::Rest })
    })
    .await;
    let parts = connection.into_parts();
    let mut io = parts.io.into_inner();
    if is_in_order {
        // hyper does not do this if the client asked for another protocol.
        io.close_in_order();
    }
    match pause {
        Pause::Rest if io.hold(&parts.read_buf).is_err() => (io, Pause::Over),
        pause => (io, pause),
    }
}

/// How long a busy connection is left alone before it is checked again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Fires when a connection has exceeded its phase's time, or may pause.
///
/// A deadline that has moved is noticed when the alarm fires too early, so that an ordinary request
/// does not touch the timer.
struct Alarm<'a> {
    activity: &'a Activity,
    sleep: Pin<Box<Sleep>>,
    /// Not before this is the connection checked for a pause.
    looks_from: Instant,
}

impl<'a> Alarm<'a> {
    fn new(activity: &'a Activity) -> Self {
        let now = Instant::now();
        let first = activity.deadline().unwrap_or(now);
        Self { activity, sleep: Box::pin(tokio::time::sleep_until(first)), looks_from: now }
    }

    /// The result of `step`, unless the connection's deadline passes first.
    async fn bounds<T>(&mut self, mut step: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
        poll_fn(|cx| match step(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll_deadline(cx).map(|()| None),
        })
        .await
    }

    /// Waits until the connection has exceeded its phase's time.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(deadline) = self.activity.deadline() else { return Poll::Pending };
            // A client that never stops sending would keep the task from noticing the alarm.
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            if deadline <= ready!(self.poll_ring(deadline, cx)) {
                return Poll::Ready(());
            }
        }
    }

    /// Waits until it has, or may pause.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(pause) = self.activity.pause(self.looks_from) else { return Poll::Pending };
            let now = ready!(self.poll_ring(pause, cx));
            if pause <= now {
                return Poll::Ready(());
            }
            self.looks_from = now + LOOK_AGAIN;
        }
    }

    /// Fires at `due` or earlier; returns when it did.
    fn poll_ring(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<Instant> {
        if due < self.sleep.deadline() || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(due);
        }
        self.sleep.as_mut().poll(cx).map(|()| Instant::now())
    }
}

#[cfg(test)]
mod tests;
