//! Turns connections into requests, under limits, and answers into bytes.
//!
//! Everything above this module is a plain function from a request to a response. The limits here:
//! the number of connections, in total and per address; the size of a head, of a body and of all
//! unfinished bodies together; and the time for a head, a body, an idle connection and a client
//! that does not read its answer.
//!
//! - `registry`: the connections, and which one makes room for a new one
//! - `connection`: serving one connection
//! - `request`: one request, from hyper's hands to the handler's and back
//! - `activity`: what a connection is doing, and its deadline
//! - `io`: the socket, which records every byte in the activity
//! - `framing`: refuses heads that could be read in two ways
//! - `body`: a request's body within its limits
//! - `room`: the memory for incomplete bodies
//! - `open_files`: the system's limit on open files

use std::fmt;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use self::activity::{Activity, Patience};
use self::connection::Connections;
use self::registry::{Admission, Registry};
use crate::config::ServerConfig;

mod activity;
mod body;
mod connection;
mod framing;
mod io;
mod open_files;
mod registry;
mod request;
mod room;

pub use self::body::BodyProblem;
pub use self::open_files::raise_open_file_limit;

/// How long the server waits after it could not accept a connection, for example because the limit
/// on open files was reached.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listen backlog, as far as the system allows it. A client that finds it full tries again
/// after a second, so a burst of others must not fill it.
const BACKLOG: u32 = 4096;

/// How often the same warning may be logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// A future on the heap whose type is not named.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answers requests.
///
/// It limits its own time and answers its own panics. The server adds `Connection: close` where the
/// connection ends, and leaves out the body of an answer to `HEAD`. A panic that gets this far ends
/// the connection.
pub type Handler =
    Arc<dyn Fn(Box<Incoming>) -> BoxFuture<'static, Response<Full<Bytes>>> + Send + Sync>;

/// A request as it was received.
pub struct Incoming {
    /// Method, target and header fields.
    pub head: Parts,
    /// The whole body, or why there is none.
    pub body: Result<Bytes, BodyProblem>,
    /// The other end of the connection: a client or a proxy. IPv4-mapped IPv6 addresses are stored
    /// as IPv4.
    pub peer: SocketAddr,
}

/// Leaves out target, fields and body: each may hold a password or a token.
impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("method", &self.head.method)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// How the server stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many requests were cut off because they took longer than `shutdown_timeout`.
    pub cut: usize,
}

/// Listens on `address`.
///
/// # Errors
/// The system's error.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a restart need not wait until the system has forgotten earlier connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves connections from `listener` until `shutdown` resolves.
///
/// Then no connection is accepted any more, idle connections close at once, requests under way are
/// finished within `shutdown_timeout`, and the rest is cut off.
pub async fn run(
    listener: TcpListener,
    settings: ServerConfig,
    handler: Handler,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let mut server = Server {
        registry: Registry::new(&settings),
        tasks: JoinSet::new(),
        turned_away: Complaint::default(),
        shared: Arc::new(Connections::new(settings, handler)),
    };
    let mut accepting = Accepting { listener, failed: Complaint::default() };
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = server.tasks.join_next_with_id() => server.forget(ended),
            (stream, peer) = accepting.next() => server.receive(stream, peer).await,
        }
    }
    drop(accepting);
    server.drain().await
}

/// The listener, and the log of its failures.
struct Accepting {
    listener: TcpListener,
    failed: Complaint,
}

impl Accepting {
    /// The next connection, however long it takes: a server that cannot accept now may be able to
    /// in a moment.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let error = match self.listener.accept().await {
                Ok(newcomer) => return newcomer,
                Err(error) => error,
            };
            if is_about_the_newcomer(&error) {
                tracing::debug!(%error, "a connection ended before it was accepted");
                continue;
            }
            if let Some(suppressed) = self.failed.is_due(Instant::now()) {
                tracing::warn!(%error, suppressed, "cannot accept connections");
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Whether the error concerns one connection only, so that the next can be accepted at once;
/// accept(2) lists these.
fn is_about_the_newcomer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The accept loop's state.
struct Server {
    /// The connections.
    registry: Registry,
    /// Their tasks. Dropping the set ends them all.
    tasks: JoinSet<()>,
    /// The log of connections that found no room.
    turned_away: Complaint,
    /// What all connections share.
    shared: Arc<Connections>,
}

impl Server {
    /// Serves a new connection, or closes it.
    async fn receive(&mut self, stream: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        match self.registry.admit(peer.ip()) {
            Admission::Welcome => {}
            Admission::AfterAnother => self.wait_for_room().await,
            Admission::TooManyOfItsAddress => {
                tracing::debug!(%peer, "connection refused: too many from its address");
                return;
            }
            Admission::Full => {
                if let Some(suppressed) = self.turned_away.is_due(Instant::now()) {
                    tracing::warn!(%peer, suppressed, "connection refused: all others are busy");
                }
                return;
            }
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let patience = Patience::from(&self.shared.requests.settings);
        let activity = Arc::new(Activity::new(patience, Instant::now()));
        let serving = connection::serve(stream, peer, self.shared.clone(), activity.clone());
        let task = self.tasks.spawn(serving);
        self.registry.insert(peer.ip(), activity, task);
    }

    /// Waits until the evicted connection has closed its socket, so that there are never more than
    /// the limit on open files allows.
    async fn wait_for_room(&mut self) {
        while self.registry.is_full() {
            let Some(ended) = self.tasks.join_next_with_id().await else { return };
            self.forget(ended);
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let task = match ended {
            Ok((task, ())) => task,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!("a connection's task panicked");
                }
                error.id()
            }
        };
        self.registry.remove(task);
    }

    async fn drain(mut self) -> Drained {
        self.registry.drain();
        let patience = self.shared.requests.settings.shutdown_timeout;
        let all_ended = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.forget(ended);
            }
        };
        let is_in_time = tokio::time::timeout(patience, all_ended).await.is_ok();
        let cut = if is_in_time { 0 } else { self.registry.busy() };
        if cut > 0 {
            tracing::warn!(cut, "requests were cut off");
        }
        self.tasks.shutdown().await;
        Drained { cut }
    }
}

/// When something was last logged that may happen many times a second.
#[derive(Debug, Default)]
struct Complaint {
    last: Option<Instant>,
    /// How often it has happened since without being logged.
    suppressed: u64,
}

impl Complaint {
    /// `Some` if it may be logged at `now`, with the number of times it was not logged since the
    /// last time.
    fn is_due(&mut self, now: Instant) -> Option<u64> {
        let is_too_soon =
            self.last.is_some_and(|last| now.saturating_duration_since(last) < COMPLAINT_INTERVAL);
        if is_too_soon {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests;
