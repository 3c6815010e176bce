//! A connection between hyper's hands and its own: what it keeps when it rests, and that it goes
//! on as if it never had.

use hyper::Response;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::activity::Patience;
use super::super::tests::settings;
use super::*;

const LONG: std::time::Duration = std::time::Duration::from_secs(60);

/// Both ends of a connection, and what serves it.
struct Ends {
    client: TcpStream,
    activity: Arc<Activity>,
    shared: Connections,
}

impl Ends {
    async fn new() -> (Self, Io) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let activity = Arc::new(Activity::new(Patience::of_an_hour(), Instant::now()));
        let handler: Handler = Arc::new(|incoming| {
            let path = Bytes::from(incoming.head.uri.path().to_owned());
            Box::pin(async { Response::new(path.into()) })
        });
        let io = Io::new(stream, activity.clone());
        (Self { client, activity, shared: Connections::new(settings(), handler) }, io)
    }

    async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// All that has been answered so far, which is to end with `end`.
    async fn reads_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            text.push(char::from(soon(self.client.read_u8()).await.unwrap()));
        }
        text
    }

    /// hyper has the connection until it lets go.
    async fn speak(&self, io: Io) -> (Io, Pause) {
        let peer = self.client.local_addr().unwrap();
        let mut alarm = Alarm::new(&self.activity);
        soon(speak(io, peer, &self.shared, &self.activity, &mut alarm)).await
    }

    async fn rests(&self, io: Io) -> Io {
        let (io, pause) = self.speak(io).await;
        assert!(matches!(pause, Pause::Rest));
        io
    }

    async fn waits_for_more(&self, io: &mut Io) {
        let mut alarm = Alarm::new(&self.activity);
        let is_there = soon(alarm.bounds(|cx| io.poll_worth_reading(cx))).await;
        is_there.expect("the deadline is far away").unwrap();
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("it takes too long")
}

#[tokio::test]
async fn a_connection_that_says_nothing_keeps_nothing() {
    let (mut ends, io) = Ends::new().await;
    let mut io = ends.rests(io).await;
    assert_eq!(io.held(), b"");
    assert!(ends.activity.idle_since().is_some());
    for path in ["/a", "/b"] {
        ends.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        ends.waits_for_more(&mut io).await;
        io = ends.rests(io).await;
        assert!(ends.reads_until(path).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn an_unfinished_head_keeps_its_bytes_and_is_answered_once_it_is_whole() {
    for (first, rest) in [
        ("G", "ET /a HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("GET /a HTTP/1.1\r\nHost: x\r\n\r", "\n"),
        ("GET /a HTTP/1.1\r\nHost: x\r\n", "\r\n"),
        ("GET /a HTTP/1.1\nHost: x\n", "\n"),
        ("\r\n", "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    ] {
        let (mut ends, io) = Ends::new().await;
        ends.send(first).await;
        let mut io = ends.rests(io).await;
        assert_eq!(io.held(), first.as_bytes(), "{first:?}");
        assert_eq!(io.held_capacity(), first.len(), "{first:?}");
        for byte in rest.chars() {
            ends.send(&byte.to_string()).await;
        }
        ends.waits_for_more(&mut io).await;
        let _io = ends.rests(io).await;
        assert!(ends.reads_until("/a").await.starts_with("HTTP/1.1 200 OK\r\n"), "{first:?}");
    }
}

/// hyper may let go before it has come to a request that is there: there is nothing to wait for.
#[tokio::test]
async fn a_whole_head_that_is_held_waits_for_nothing() {
    let (mut ends, mut io) = Ends::new().await;
    io.hold(b"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b").unwrap();
    ends.waits_for_more(&mut io).await;
    let io = ends.rests(io).await;
    assert!(ends.reads_until("/a").await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(io.held(), b"GET /b");
    // Empty lines alone are no head: to parse them again and again would end nowhere.
    let (ends, mut io) = Ends::new().await;
    io.hold(b"\r\n\r\n").unwrap();
    let mut alarm = Alarm::new(&ends.activity);
    let mut waiting = std::pin::pin!(alarm.bounds(|cx| io.poll_worth_reading(cx)));
    let is_waiting = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
    assert!(is_waiting);
}

#[tokio::test]
async fn what_came_with_the_request_before_is_the_beginning_of_the_next_one() {
    let (mut ends, io) = Ends::new().await;
    ends.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HT").await;
    let mut io = ends.rests(io).await;
    ends.reads_until("/a").await;
    assert_eq!(io.held(), b"GET /b HT");
    assert!(ends.activity.idle_since().is_none(), "a head has begun");
    ends.send("TP/1.1\r\nHost: x\r\n\r\n").await;
    ends.waits_for_more(&mut io).await;
    let _io = ends.rests(io).await;
    ends.reads_until("/b").await;
}

#[tokio::test]
async fn a_head_that_breaks_off_or_grows_too_long_is_hypers_affair() {
    let (mut ends, io) = Ends::new().await;
    ends.send("GET /a HTTP/1.1\r\nHo").await;
    let mut io = ends.rests(io).await;
    ends.client.shutdown().await.unwrap();
    ends.waits_for_more(&mut io).await;
    let (io, pause) = ends.speak(io).await;
    assert!(matches!(pause, Pause::Over));
    drop(io);

    let (mut ends, io) = Ends::new().await;
    ends.send("GET /a HTTP/1.1\r\nHost: x\r\nX: ").await;
    let mut io = ends.rests(io).await;
    ends.send(&"x".repeat(MAX_HEAD)).await;
    ends.waits_for_more(&mut io).await;
    let (io, pause) = ends.speak(io).await;
    assert!(matches!(pause, Pause::Over) && io.is_to_close());
    assert!(ends.reads_until("\r\n\r\n").await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn what_is_no_head_is_refused_at_once_after_a_rest_as_well() {
    let (mut ends, io) = Ends::new().await;
    let mut io = ends.rests(io).await;
    ends.send("\u{16}\u{3}\u{1}\u{2}").await;
    ends.waits_for_more(&mut io).await;
    let (io, pause) = ends.speak(io).await;
    assert!(matches!(pause, Pause::Over) && io.is_to_close());
    assert!(ends.reads_until("\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_connection_that_is_evicted_while_it_rests_begins_nothing() {
    let (mut ends, io) = Ends::new().await;
    let mut io = ends.rests(io).await;
    let since = ends.activity.idle_since().unwrap();
    assert!(ends.activity.evict(since));
    ends.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
    ends.waits_for_more(&mut io).await;
    let (io, pause) = ends.speak(io).await;
    assert!(matches!(pause, Pause::Over));
    drop(io);
    let mut answer = Vec::new();
    let _ = soon(ends.client.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
}
