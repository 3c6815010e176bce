//! The server over real sockets on loopback, spoken to byte by byte.

use std::num::NonZeroUsize;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::*;

mod framing;

/// Longer than anything here takes, even on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(100);

/// More than the sockets between a server and a client on one machine can hold.
const HUGE: usize = 64 << 20;

/// Limits that no test runs into unless it lowers one.
pub(super) fn settings() -> ServerConfig {
    ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        public_url: None,
        frontend_url: None,
        trusted_proxies: Vec::new(),
        allowed_origins: Vec::new(),
        max_connections: NonZeroUsize::new(4096).unwrap(),
        max_connections_per_address: None,
        max_body: 1024,
        header_timeout: LONG,
        request_timeout: LONG,
        idle_timeout: LONG,
        shutdown_timeout: LONG,
    }
}

struct TestServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Drained>,
    /// A permit for each `/wait` that has begun.
    begun: Arc<Semaphore>,
    /// A permit lets one `/wait` go on.
    gate: Arc<Semaphore>,
}

impl TestServer {
    async fn start(settings: ServerConfig) -> Self {
        let listener = listen(settings.listen).unwrap();
        let address = listener.local_addr().unwrap();
        let begun = Arc::new(Semaphore::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let handler: Handler = {
            let (begun, gate) = (begun.clone(), gate.clone());
            Arc::new(move |incoming| Box::pin(handle(incoming, begun.clone(), gate.clone())))
        };
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let task = tokio::spawn(run(listener, settings, handler, shutdown));
        Self { address, stop, task, begun, gate }
    }

    async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap() }
    }

    /// A connection on which `request` has been sent.
    async fn send(&self, request: &str) -> Client {
        let mut client = self.connect().await;
        client.send(request).await;
        client
    }

    /// A connection whose request is being handled.
    async fn busy(&self) -> Client {
        let client = self.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
        soon(self.begun.acquire()).await.unwrap().forget();
        client
    }

    /// A connection that has had an answer.
    async fn idle(&self) -> Client {
        let mut client = self.connect().await;
        client.works().await;
        client
    }

    /// Tries until a connection is accepted: the server notices with a delay that others have left.
    async fn becomes_reachable(&self) {
        let is_let_in = async || {
            let mut client = self.connect().await;
            let _ = client.stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            client.stream.read_u8().await.is_ok()
        };
        soon(async { while !is_let_in().await {} }).await;
    }

    async fn stop(self) -> Drained {
        let _ = self.stop.send(());
        soon(self.task).await.unwrap()
    }
}

/// Echoes the request.
async fn handle(
    incoming: Box<Incoming>,
    begun: Arc<Semaphore>,
    gate: Arc<Semaphore>,
) -> Response<Full<Bytes>> {
    let path = incoming.head.uri.path();
    let (status, text) = match &incoming.body {
        Ok(body) => {
            let body = String::from_utf8_lossy(body);
            (StatusCode::OK, format!("{} {path} [{body}]", incoming.head.method))
        }
        Err(BodyProblem::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, "too large".to_owned()),
        Err(BodyProblem::TooSlow) => (StatusCode::REQUEST_TIMEOUT, "too slow".to_owned()),
        Err(BodyProblem::NoRoom) => (StatusCode::SERVICE_UNAVAILABLE, "no room".to_owned()),
        Err(BodyProblem::Broken) => (StatusCode::BAD_REQUEST, "broken".to_owned()),
    };
    let mut body = Bytes::from(text);
    match path {
        "/wait" => {
            begun.add_permits(1);
            gate.acquire().await.unwrap().forget();
        }
        "/panic" => {
            tokio::task::yield_now().await;
            panic!("a handler panicked, as the test wants it to");
        }
        "/huge" => body = vec![b'x'; HUGE].into(),
        _ => {}
    }
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

struct Client {
    stream: TcpStream,
}

impl Client {
    async fn send(&mut self, text: &str) {
        soon(self.stream.write_all(text.as_bytes())).await.unwrap();
    }

    async fn reads(&mut self, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        soon(self.stream.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    /// One answer: its head, with the names of fields in lower case, and its body.
    async fn answer(&mut self, to: &Method) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(self.stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = if to == Method::HEAD { 0 } else { length.unwrap().parse().unwrap() };
        let mut body = vec![0; length];
        soon(self.stream.read_exact(&mut body)).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// Everything until the server closes its side, which it does soon and in order.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        soon(self.stream.read_to_string(&mut rest)).await.unwrap();
        rest
    }

    /// Waits until the connection is gone, orderly or not.
    async fn is_turned_away(&mut self) {
        let mut rest = Vec::new();
        let _ = soon(self.stream.read_to_end(&mut rest)).await;
        assert_eq!(rest, b"");
    }

    async fn works(&mut self) {
        self.send("GET /works HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (head, body) = self.answer(&Method::GET).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(!head.contains("connection: close"), "{head}");
        assert_eq!(body, "GET /works []");
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG / 2, future).await.expect("it takes too long")
}

fn assert_last(answer: &str, status: &str, body: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
}

fn post(framing: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let server = TestServer::start(settings()).await;
    let mut client = server.idle().await;
    client.works().await;
    client.send(&post("Content-Length: 3", "abc")).await;
    assert_eq!(client.answer(&Method::POST).await.1, "POST / [abc]");
    client.send(&post("Transfer-Encoding: chunked", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")).await;
    assert_eq!(client.answer(&Method::POST).await.1, "POST / [abc]");
    client.send("GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").await;
    assert_eq!(client.answer(&Method::GET).await.1, "GET /x []");
    client.works().await;
    client.send(&post("Connection: close\r\nContent-Length: 0", "")).await;
    assert_last(&client.rest().await, "200 OK", "POST / []");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start(settings()).await;
    let first = post("Content-Length: 1", "1");
    let mut client =
        server.send(&format!("{first}GET /2 HTTP/1.1\r\nHost: x\r\n\r\nGET /3 HT")).await;
    assert_eq!(client.answer(&Method::POST).await.1, "POST / [1]");
    assert_eq!(client.answer(&Method::GET).await.1, "GET /2 []");
    client.send("TP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.answer(&Method::GET).await.1, "GET /3 []");
}

#[tokio::test]
async fn a_head_has_no_body_in_its_answer() {
    let server = TestServer::start(settings()).await;
    let mut client = server.send("HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (head, _) = client.answer(&Method::HEAD).await;
    assert!(head.contains("content-length: 10\r\n"), "{head}");
    client.works().await;
}

#[tokio::test]
async fn a_client_that_closed_its_side_still_gets_its_answer() {
    let server = TestServer::start(settings()).await;
    let mut client = server.busy().await;
    client.stream.shutdown().await.unwrap();
    // By the time another connection has its answer, the server has noticed.
    server.idle().await;
    server.gate.add_permits(1);
    assert!(client.rest().await.ends_with("GET /wait []"));
}

#[tokio::test]
async fn the_first_head_must_come_in_time() {
    let server = TestServer::start(ServerConfig { header_timeout: SHORT, ..settings() }).await;
    let mut silent = server.connect().await;
    let mut slow = server.send("GET / HTTP/1.1\r\nHost:").await;
    assert_eq!(silent.rest().await, "");
    assert_eq!(slow.rest().await, "");
}

#[tokio::test]
async fn a_later_head_must_come_in_time_once_it_has_begun() {
    let server = TestServer::start(ServerConfig { header_timeout: SHORT, ..settings() }).await;
    let mut client = server.idle().await;
    client.send("GET / HT").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_idle_connection_has_its_own_limit() {
    let idle_timeout = 4 * SHORT;
    let settings = ServerConfig { header_timeout: SHORT, idle_timeout, ..settings() };
    let server = TestServer::start(settings).await;
    let mut client = server.idle().await;
    let start = Instant::now();
    client.works().await;
    assert_eq!(client.rest().await, "");
    assert!(start.elapsed() >= idle_timeout, "closed too early");
}

#[tokio::test]
async fn a_handler_may_take_longer_than_heads_and_idling() {
    let settings = ServerConfig { header_timeout: SHORT, idle_timeout: SHORT, ..settings() };
    let server = TestServer::start(settings).await;
    let mut client = server.busy().await;
    // Another connection shows that the time is over.
    assert_eq!(server.connect().await.rest().await, "");
    server.gate.add_permits(1);
    assert_eq!(client.answer(&Method::GET).await.1, "GET /wait []");
}

#[tokio::test]
async fn a_slow_body_is_answered_and_the_connection_closes() {
    let server = TestServer::start(ServerConfig { request_timeout: SHORT, ..settings() }).await;
    let mut client = server.send(&post("Content-Length: 10", "123")).await;
    assert_last(&client.rest().await, "408 Request Timeout", "too slow");
}

#[tokio::test]
async fn a_body_of_the_limit_is_read_and_one_byte_more_is_not() {
    let server = TestServer::start(ServerConfig { max_body: 10, ..settings() }).await;
    let mut client = server.send(&post("Content-Length: 10", "1234567890")).await;
    assert_eq!(client.answer(&Method::POST).await.1, "POST / [1234567890]");
    let chunks = "6\r\n123456\r\n4\r\n7890\r\n0\r\n\r\n";
    client.send(&post("Transfer-Encoding: chunked", chunks)).await;
    assert_eq!(client.answer(&Method::POST).await.1, "POST / [1234567890]");

    let chunks = "6\r\n123456\r\n5\r\n7890a\r\n0\r\n\r\n";
    client.send(&post("Transfer-Encoding: chunked", chunks)).await;
    assert_last(&client.rest().await, "413 Payload Too Large", "too large");
    let mut client = server.send(&post("Content-Length: 11", "")).await;
    assert_last(&client.rest().await, "413 Payload Too Large", "too large");
}

#[tokio::test]
async fn a_client_in_the_middle_of_sending_finds_the_answer() {
    let server = TestServer::start(settings()).await;
    // This client sends everything before it reads anything. If the server closed its socket
    // without taking it all, the reset would overtake the answer.
    let mut client = server.send(&post("Content-Length: 50000000", "")).await;
    client.send(&"x".repeat(50_000_000)).await;
    assert_last(&client.rest().await, "413 Payload Too Large", "too large");
}

#[tokio::test]
async fn a_client_that_does_not_close_its_side_is_not_waited_for_long() {
    let server = TestServer::start(ServerConfig {
        header_timeout: SHORT,
        max_connections_per_address: NonZeroUsize::new(1),
        ..settings()
    })
    .await;
    let mut client = server.send(&post("Connection: close", "")).await;
    assert_last(&client.rest().await, "200 OK", "POST / []");
    server.becomes_reachable().await;
}

#[tokio::test]
async fn a_client_that_asks_is_told_to_go_on_unless_its_body_is_too_large() {
    let server = TestServer::start(settings()).await;
    let mut client = server.send(&post("Content-Length: 3\r\nExpect: 100-continue", "")).await;
    client.reads("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("abc").await;
    assert_eq!(client.answer(&Method::POST).await.1, "POST / [abc]");

    client.send(&post("Content-Length: 3000\r\nExpect: 100-continue", "")).await;
    assert_last(&client.rest().await, "413 Payload Too Large", "too large");
}

#[tokio::test]
async fn a_body_with_a_length_and_chunks_is_answered_once() {
    // Whatever follows might be another request, or the rest of this one to a proxy that went by
    // the length (RFC 9112, section 6.1).
    let server = TestServer::start(settings()).await;
    let body = "1\r\na\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for framing in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
    ] {
        let mut client = server.send(&post(framing, body)).await;
        assert_last(&client.rest().await, "200 OK", "POST / [a]");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_malformed_is_answered_once() {
    let server = TestServer::start(settings()).await;
    let mut client = server.send(&post("Transfer-Encoding: chunked", "z\r\nabc\r\n")).await;
    assert_last(&client.rest().await, "400 Bad Request", "broken");
    let mut client = server.send(&post("Content-Length: 10", "123")).await;
    client.stream.shutdown().await.unwrap();
    assert_last(&client.rest().await, "400 Bad Request", "broken");
}

#[tokio::test]
async fn a_head_that_cannot_be_read_gets_a_bare_answer() {
    let server = TestServer::start(settings()).await;
    let long = "x".repeat(20_000);
    for (request, status) in [
        ("\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), "400 Bad Request"),
        ("GET / HTTP/1.1\r\nbad field\r\n\r\n".to_owned(), "400 Bad Request"),
        (post("Content-Length: 1\r\nContent-Length: 2", "12"), "400 Bad Request"),
        (post("Content-Length: -1", ""), "400 Bad Request"),
        (post("Transfer-Encoding: gzip", ""), "400 Bad Request"),
        (post(&format!("X: {long}"), ""), "431 Request Header Fields Too Large"),
        (post(&"X: y\r\n".repeat(70), ""), "431 Request Header Fields Too Large"),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), "431 Request Header Fields Too Large"),
    ] {
        let mut client = server.send(&request).await;
        assert_last(&client.rest().await, status, "");
    }
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_alone() {
    let server = TestServer::start(settings()).await;
    let mut other = server.busy().await;
    let mut client = server.send("GET /panic?secret HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.rest().await, "");
    server.idle().await.works().await;
    server.gate.add_permits(1);
    assert_eq!(other.answer(&Method::GET).await.1, "GET /wait []");
}

#[tokio::test]
async fn the_longest_idle_makes_room_for_a_newcomer() {
    let max_connections = NonZeroUsize::new(3).unwrap();
    let server = TestServer::start(ServerConfig { max_connections, ..settings() }).await;
    let mut busy = server.busy().await;
    let mut first = server.idle().await;
    let mut second = server.idle().await;
    first.works().await;
    let mut newcomer = server.idle().await;
    assert_eq!(second.rest().await, "");
    first.works().await;
    newcomer.works().await;
    server.gate.add_permits(1);
    busy.answer(&Method::GET).await;
    busy.works().await;
}

#[tokio::test]
async fn a_newcomer_is_turned_away_while_all_are_busy() {
    let max_connections = NonZeroUsize::new(2).unwrap();
    let server = TestServer::start(ServerConfig { max_connections, ..settings() }).await;
    let mut first = server.busy().await;
    let _second = server.busy().await;
    server.connect().await.is_turned_away().await;
    server.gate.add_permits(2);
    first.answer(&Method::GET).await;
    server.idle().await;
}

#[tokio::test]
async fn an_address_has_only_so_many_connections() {
    let max_connections_per_address = NonZeroUsize::new(2);
    let server =
        TestServer::start(ServerConfig { max_connections_per_address, ..settings() }).await;
    let mut first = server.idle().await;
    let second = server.idle().await;
    server.connect().await.is_turned_away().await;
    first.works().await;

    drop(second);
    server.becomes_reachable().await;
}

#[tokio::test]
async fn a_trusted_proxy_has_as_many_connections_as_it_likes() {
    let server = TestServer::start(ServerConfig {
        max_connections_per_address: NonZeroUsize::new(1),
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..settings()
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(server.idle().await);
    }
    for mut client in clients {
        client.works().await;
    }
}

#[tokio::test]
async fn going_down_ends_idle_connections_and_finishes_requests() {
    let server = TestServer::start(settings()).await;
    let mut silent = server.connect().await;
    let mut idle = server.idle().await;
    let mut busy = server.busy().await;
    let mut half_sent = server.idle().await;
    // Being told to go on shows that the server has seen this request.
    half_sent.send(&post("Content-Length: 2\r\nExpect: 100-continue", "")).await;
    half_sent.reads("HTTP/1.1 100 Continue\r\n\r\n").await;
    half_sent.send("a").await;
    let (address, gate) = (server.address, server.gate.clone());
    let draining = tokio::spawn(server.stop());

    assert_eq!(silent.rest().await, "");
    assert_eq!(idle.rest().await, "");
    assert!(TcpStream::connect(address).await.is_err(), "still listening");
    half_sent.send("b").await;
    assert_last(&half_sent.rest().await, "200 OK", "POST / [ab]");
    gate.add_permits(1);
    assert_last(&busy.rest().await, "200 OK", "GET /wait []");
    drop((busy, half_sent));
    assert_eq!(soon(draining).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_cut_off_when_going_down() {
    let server = TestServer::start(ServerConfig { shutdown_timeout: SHORT, ..settings() }).await;
    let mut busy = server.busy().await;
    let _idle = server.idle().await;
    assert_eq!(server.stop().await, Drained { cut: 1 });
    busy.is_turned_away().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_given_up() {
    let server = TestServer::start(ServerConfig { request_timeout: SHORT, ..settings() }).await;
    let mut client = server.send("GET /huge HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // The first byte of the answer: from here on, the server waits for the client alone. It goes
    // down only when it has given the client up, since it would wait longer for the answer.
    soon(client.stream.read_u8()).await.unwrap();
    assert_eq!(server.stop().await, Drained { cut: 0 });
    let mut rest = Vec::new();
    let ended = soon(client.stream.read_to_end(&mut rest)).await;
    assert!(ended.is_err(), "the kernel still holds on to the answer");
    assert!(rest.len() < HUGE, "the answer was not given up");
}

#[tokio::test]
async fn a_thousand_idle_connections_disturb_nobody() {
    let mut settings = settings();
    settings.max_connections = NonZeroUsize::new(2_100).unwrap();
    raise_open_file_limit(&mut settings);
    // Both ends of each connection are files of this process, which runs other tests too.
    let count = (settings.max_connections.get() / 2).saturating_sub(50).min(1_000);
    let server = TestServer::start(settings).await;
    let mut idle = Vec::new();
    for _ in 0..count {
        idle.push(server.connect().await);
    }
    server.idle().await;
    for client in &mut idle {
        client.works().await;
    }
}

#[tokio::test]
async fn bodies_that_never_end_keep_no_other_out() {
    let max_body = 4 << 20;
    let server = TestServer::start(ServerConfig { max_body, ..settings() }).await;
    let framing = format!("Content-Length: {max_body}");
    let unfinished = post(&framing, &"x".repeat(max_body - 1));
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(server.send(&unfinished).await);
    }
    // That much at a time, and no more; which of them is turned away is decided by who was faster.
    let mut ninth = server.send(&unfinished).await;
    let refused = async {
        let mut waiting: Vec<_> = held.iter_mut().chain([&mut ninth]).collect();
        let rests = waiting.iter_mut().map(|client| Box::pin(client.rest()));
        first_of(rests.collect()).await
    };
    assert_last(&soon(refused).await, "503 Service Unavailable", "no room");
    server.idle().await;
    let mut small = server.send(&post("Content-Length: 3", "abc")).await;
    assert_eq!(small.answer(&Method::POST).await.1, "POST / [abc]");

    // Nor do they keep a large one out, for which the longest waiting gives way.
    let mut large = server.send(&post("Content-Length: 1000000", &"x".repeat(999_999))).await;
    large.send("x").await;
    assert!(large.answer(&Method::POST).await.0.starts_with("HTTP/1.1 200 OK"));
}

/// The first of these futures to finish.
async fn first_of<T>(mut futures: Vec<impl Future<Output = T> + Unpin>) -> T {
    std::future::poll_fn(|cx| {
        let done = futures.iter_mut().find_map(|future| match Pin::new(future).poll(cx) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        });
        done.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    })
    .await
}

#[tokio::test]
async fn many_newcomers_may_wait_to_be_accepted() {
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let allowed = allowed.map_or(128, |text| text.trim().parse().unwrap());
    // Nobody accepts here. A client that finds the backlog full waits a long time without an
    // answer.
    let listener = listen(settings().listen).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..allowed.min(500) {
        waiting.push(soon(TcpStream::connect(address)).await.unwrap());
    }
}

#[test]
fn a_complaint_is_made_once_a_minute_and_counts_what_it_left_out() {
    let start = Instant::now();
    let mut complaint = Complaint::default();
    assert_eq!(complaint.is_due(start), Some(0));
    assert_eq!(complaint.is_due(start), None);
    assert_eq!(complaint.is_due(start + COMPLAINT_INTERVAL / 2), None);
    assert_eq!(complaint.is_due(start + COMPLAINT_INTERVAL), Some(2));
    assert_eq!(complaint.is_due(start + COMPLAINT_INTERVAL), None);
}
