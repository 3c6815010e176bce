//! Turns connections into requests, under limits, and answers into bytes.
//!
//! Everything above this module is a plain function from a request to a response. What is limited
//! here: how many connections there are, in all and by address; how large a head and a body may
//! be, and how much all unfinished bodies together; and how long a head, a body, an idle connection
//! and a client that does not read its answer may take.
//!
//! - `registry`: who is connected, and who makes room for a newcomer
//! - `connection`: serving one connection
//! - `request`: one request, from hyper's hands to the handler's and back
//! - `activity`: what a connection is doing, and until when it may
//! - `io`: the socket, which notes every byte in the activity
//! - `framing`: heads that could be read in two ways
//! - `body`: a request's body within its limits
//! - `room`: the memory for bodies that are not all there yet
//! - `panics`: keeping a panic to its request
//! - `open_files`: the system's limit on all of it

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
use self::connection::Shared;
use self::registry::{Admission, Registry};
use crate::config::ServerConfig;

mod activity;
mod body;
mod connection;
mod framing;
mod io;
mod open_files;
mod panics;
mod registry;
mod request;
mod room;

pub use self::body::BodyProblem;
pub use self::open_files::raise_open_file_limit;
pub(crate) use self::panics::{Panicked, caught};

/// How long the server rests after it could not accept a connection, for instance because all
/// its files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many newcomers may wait to be accepted, as far as the system allows it. One that finds no
/// place tries again after a second, so a burst of others must not fill it.
const BACKLOG: u32 = 4096;

/// How often the same complaint may be logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// A future on the heap whose type is not named.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What answers requests.
///
/// It limits its own time. The server adds `Connection: close` where the connection ends, leaves
/// out the body of an answer to `HEAD`, and answers a panic with a 500.
pub type Handler =
    Arc<dyn Fn(Box<Incoming>) -> BoxFuture<'static, Response<Full<Bytes>>> + Send + Sync>;

/// A request as it came in.
pub struct Incoming {
    /// Method, target and header fields.
    pub head: Parts,
    /// The whole body, or why there is none that could be used.
    pub body: Result<Bytes, BodyProblem>,
    /// The other end of the connection: a client or a proxy. An IPv4 address is never in IPv6
    /// dress.
    pub peer: SocketAddr,
}

/// Shows neither target, fields nor body: each may hold a password or a token.
impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("method", &self.head.method)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// How the server went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many requests were cut off because they took longer than `shutdown_timeout`.
    pub cut: usize,
}

/// Listens on `address`.
///
/// # Errors
/// What the system said.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a restart need not wait until the system has forgotten the connections before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves connections from `listener` until `shutdown` resolves.
///
/// Then nobody new is let in, idle connections close at once, requests under way are finished
/// within `shutdown_timeout`, and what is left after that is cut off.
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
        shared: Arc::new(Shared::new(settings, handler)),
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

/// The listener, and what was said about its failures.
struct Accepting {
    listener: TcpListener,
    failed: Complaint,
}

impl Accepting {
    /// The next newcomer, however long it takes: a server that cannot accept now may be able to
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
            if let Some(unsaid) = self.failed.is_due(Instant::now()) {
                tracing::warn!(%error, unsaid, "cannot accept connections");
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Whether the error has used up the newcomer it is about, so that the next one can be tried at
/// once; accept(2) lists these.
fn is_about_the_newcomer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The accept loop's state.
struct Server {
    /// Who is connected.
    registry: Registry,
    /// The task of each of them. Dropping the set ends them all.
    tasks: JoinSet<()>,
    /// What was said about newcomers who found no room.
    turned_away: Complaint,
    /// What all connections work with.
    shared: Arc<Shared>,
}

impl Server {
    /// Serves a newcomer, or turns it away by closing its connection.
    async fn receive(&mut self, stream: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        match self.registry.admit(peer.ip()) {
            Admission::Welcome => {}
            Admission::AfterAnother => self.wait_for_room().await,
            Admission::TooManyOfItsAddress => {
                tracing::debug!(%peer, "turned away: too many connections from its address");
                return;
            }
            Admission::Full => {
                if let Some(unsaid) = self.turned_away.is_due(Instant::now()) {
                    tracing::warn!(%peer, unsaid, "turned away: all connections are busy");
                }
                return;
            }
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let patience = Patience::from(&self.shared.settings);
        let activity = Arc::new(Activity::new(patience, Instant::now()));
        let serving = connection::serve(stream, peer, self.shared.clone(), activity.clone());
        let task = self.tasks.spawn(serving);
        self.registry.insert(peer.ip(), activity, task);
    }

    /// Waits until the connection that was evicted has closed its socket, so that there are never
    /// more of them than the limit on open files allows for.
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
        let patience = self.shared.settings.shutdown_timeout;
        let all_ended = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.forget(ended);
            }
        };
        let is_in_time = tokio::time::timeout(patience, all_ended).await.is_ok();
        let cut = if is_in_time { 0 } else { self.registry.busy() };
        if cut > 0 {
            tracing::warn!(cut, "requests under way were cut off");
        }
        self.tasks.shutdown().await;
        Drained { cut }
    }
}

/// When something was last logged that may go on happening many times a second.
#[derive(Debug, Default)]
struct Complaint {
    last: Option<Instant>,
    /// How often it has happened since without a word.
    unsaid: u64,
}

impl Complaint {
    /// Whether it may be logged at `now`, and then how often it was not since the last time.
    fn is_due(&mut self, now: Instant) -> Option<u64> {
        let is_too_soon =
            self.last.is_some_and(|last| now.saturating_duration_since(last) < COMPLAINT_INTERVAL);
        if is_too_soon {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests;
