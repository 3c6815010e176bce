//! Where a request ends: whatever two readers of the same bytes could disagree about is refused,
//! or read in the one way that RFC 9112 gives, and nothing behind it is taken for a request.

use super::*;

/// What would be a second request if the end of the first were misjudged.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sends `request` with a smuggled one behind it, and reads until the server closes its side.
async fn answer_to(request: &[u8]) -> String {
    let server = TestServer::start(settings()).await;
    let mut client = server.connect().await;
    soon(client.stream.write_all(request)).await.unwrap();
    soon(client.stream.write_all(SMUGGLED.as_bytes())).await.unwrap();
    // A server that waits for more is told that there is none.
    soon(client.stream.shutdown()).await.unwrap();
    let mut bytes = Vec::new();
    soon(client.stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

fn head(line: &str, fields: &str) -> String {
    format!("{line}\r\nHost: x\r\n{fields}\r\n")
}

fn chunked(body: &str) -> String {
    head("POST / HTTP/1.1", "Transfer-Encoding: chunked\r\n") + body
}

/// Every one of these is answered once, with 400, and is the connection's last.
async fn are_refused(requests: impl IntoIterator<Item = String>) {
    for request in requests {
        let answer = answer_to(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{request:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{request:?}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn a_length_that_is_not_one_number_is_refused() {
    let lengths = ["-1", "+4", "0x4", "4 4", "4, 5", "4;", "four", "", "18446744073709551616"];
    let alone = lengths.map(|length| format!("Content-Length: {length}\r\n"));
    let twice = ["Content-Length: 4\r\nContent-Length: 5\r\n".to_owned()];
    are_refused(alone.into_iter().chain(twice).map(|fields| head("POST / HTTP/1.1", &fields)))
        .await;
}

#[tokio::test]
async fn a_coding_that_is_not_chunked_alone_is_refused() {
    let codings = [
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "identity",
        "xchunked",
        "chunked, identity",
        "chunked;q=1",
        "",
        "\u{b}chunked",
    ];
    let alone = codings.map(|coding| format!("Transfer-Encoding: {coding}\r\n"));
    let twice = ["Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned()];
    are_refused(
        alone.into_iter().chain(twice).map(|fields| head("POST / HTTP/1.1", &fields) + "0\r\n\r\n"),
    )
    .await;
    // Chunks came with HTTP/1.1: to an older reader this body has no end.
    are_refused([head("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n"]).await;
}

#[tokio::test]
async fn a_length_beside_chunks_ends_the_connection() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Transfer-encoding: Chunked\r\ncontent-length: 5\r\n",
    ] {
        let request = head("POST / HTTP/1.1", fields) + "1\r\na\r\n0\r\n\r\n";
        let answer = answer_to(request.as_bytes()).await;
        assert_last(&answer, "200 OK", "POST / [a]");
    }
}

#[tokio::test]
async fn a_field_that_readers_could_split_differently_is_refused() {
    let fields = [
        // Folded over two lines, which RFC 9112 has made obsolete.
        "X: one\r\n two\r\n",
        "X: one\r\n\ttwo\r\n",
        "Content-Length: 4\r\n 5\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        // A blank before the colon, or before the name.
        "Content-Length : 5\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Content-Length: 5\r\n",
        // No name, no colon, or signs that no name has.
        ": 5\r\n",
        "Content-Length\r\n",
        "Content Length: 5\r\n",
        "Content-Length\0: 5\r\n",
        "X\u{1}: y\r\n",
        "(X): y\r\n",
        // Signs that no value has.
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "X: a\u{1}b\r\n",
        "X: a\u{7f}b\r\n",
        "X: a\rTransfer-Encoding: chunked\r\n",
    ];
    are_refused(fields.map(|fields| head("POST / HTTP/1.1", fields))).await;
}

#[tokio::test]
async fn a_request_line_that_is_none_is_refused() {
    let lines = [
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/11",
        "GET /  HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET\t/ HTTP/1.1",
        " GET / HTTP/1.1",
        "GET /",
        "GET",
        "G\u{1}T / HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET / HTTP/1.1\rX: y",
        "PRI * HTTP/2.0",
    ];
    are_refused(lines.map(|line| head(line, ""))).await;
}

#[tokio::test]
async fn chunks_that_are_malformed_are_refused() {
    are_refused(
        [
            // Sizes that are none, that a reader could take for another, or that overflow.
            "x\r\na\r\n0\r\n\r\n",
            "-1\r\na\r\n0\r\n\r\n",
            "+1\r\na\r\n0\r\n\r\n",
            "0x1\r\na\r\n0\r\n\r\n",
            "\r\na\r\n0\r\n\r\n",
            "1_0\r\na\r\n0\r\n\r\n",
            "1 2\r\na\r\n0\r\n\r\n",
            "10000000000000001\r\na\r\n0\r\n\r\n",
            // Line ends that are none.
            "1\na\r\n0\r\n\r\n",
            "1\ra\r\n0\r\n\r\n",
            "1\r\r\na\r\n0\r\n\r\n",
            "1;x\na\r\n0\r\n\r\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\na0\r\n\r\n",
            // Data that is longer, or shorter, than its size says.
            "1\r\nab\r\n0\r\n\r\n",
            "3\r\na\r\n0\r\n\r\n",
        ]
        .map(chunked),
    )
    .await;
}

#[tokio::test]
async fn chunks_may_have_extensions_and_trailers_and_both_are_bounded() {
    for body in [
        "1\r\na\r\n0\r\n\r\n",
        "01\r\na\r\n00\r\n\r\n",
        "1;name=value;other=\"quoted\"\r\na\r\n0;last\r\n\r\n",
        "1\r\na\r\n0\r\nX-Trailer: y\r\nContent-Length: 5\r\n\r\n",
    ] {
        let answer = answer_to(chunked(body).as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{body:?}: {answer}");
        assert!(answer.contains("POST / [a]") && answer.contains("GET /smuggled []"), "{answer}");
    }
    let extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(40_000));
    let trailers = format!("1\r\na\r\n0\r\n{}\r\n", "X: y\r\n".repeat(5_000));
    let trailer = format!("1\r\na\r\n0\r\nX: {}\r\n\r\n", "y".repeat(40_000));
    are_refused([extension, trailers, trailer].map(|body| chunked(&body))).await;
}

#[tokio::test]
async fn what_follows_a_body_is_the_next_request_or_none() {
    let server = TestServer::start(settings()).await;
    for (garbage, status) in
        [("garbage\r\n\r\n", "400 Bad Request"), ("\0\0\0\0\r\n\r\n", "400 Bad Request")]
    {
        let mut client = server.send(&(post("Content-Length: 1", "a") + garbage)).await;
        assert_eq!(client.answer(&Method::POST).await.1, "POST / [a]");
        assert_last(&client.rest().await, status, "");
    }
    // An empty line or two between requests is what some old clients send (RFC 9112, section 2.2).
    let mut client = server.send(&(post("Content-Length: 1", "a") + "\r\n\r\n")).await;
    assert_eq!(client.answer(&Method::POST).await.1, "POST / [a]");
    client.works().await;
}

/// A client that announces such a body and never sends it waited for `request_timeout`.
#[tokio::test]
async fn a_body_that_means_nothing_is_not_waited_for_and_ends_the_connection() {
    let server = TestServer::start(settings()).await;
    for (method, body) in [("GET", "GET / []"), ("HEAD", ""), ("OPTIONS", "OPTIONS / []")] {
        for (fields, sent) in [
            ("Content-Length: 5\r\n", ""),
            ("Content-Length: 5\r\n", "GET /"),
            ("Content-Length: 5000000\r\n", "a"),
            ("Content-Length: 5\r\nExpect: 100-continue\r\n", ""),
            ("Transfer-Encoding: chunked\r\n", ""),
            (
                "Transfer-Encoding: chunked\r\n",
                "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
            ),
        ] {
            let request = head(&format!("{method} / HTTP/1.1"), fields) + sent;
            let mut client = server.send(&request).await;
            assert_last(&client.rest().await, "200 OK", body);
        }
        let mut client =
            server.send(&head(&format!("{method} / HTTP/1.1"), "Content-Length: 0\r\n")).await;
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(client.answer(&method).await.1, body);
        client.works().await;
    }
    // Any other method has a body.
    let mut client = server.send(&(head("DELETE / HTTP/1.1", "Content-Length: 1\r\n"))).await;
    client.send("a").await;
    assert_eq!(client.answer(&Method::DELETE).await.1, "DELETE / [a]");
    client.works().await;
}

#[tokio::test]
async fn a_target_may_be_absolute_and_a_line_may_end_in_a_bare_line_feed() {
    let server = TestServer::start(settings()).await;
    for (request, expected) in [
        ("GET http://x/absolute HTTP/1.1\r\nHost: x\r\n\r\n", "GET /absolute []"),
        ("GET https://elsewhere.example:1/y HTTP/1.1\r\nHost: x\r\n\r\n", "GET /y []"),
        // RFC 9112 lets a server take these; ours takes none within chunks.
        ("GET /lf HTTP/1.1\nHost: x\n\n", "GET /lf []"),
        ("POST /lf HTTP/1.1\nHost: x\nContent-Length: 1\n\na", "POST /lf [a]"),
    ] {
        let mut client = server.send(request).await;
        assert_eq!(client.answer(&Method::GET).await.1, expected);
        client.works().await;
    }
}

#[tokio::test]
async fn a_request_names_one_host() {
    // RFC 9112, section 3.2: a server answers any other HTTP/1.1 request with 400.
    let without =
        ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nhost: a\r\n", "Host: a b\r\n", "Host: a/b\r\n"];
    are_refused(without.map(|fields| format!("GET / HTTP/1.1\r\n{fields}\r\n"))).await;
    let user = "Host: user@a\r\n";
    are_refused([format!("POST / HTTP/1.1\r\n{user}Content-Length: 3\r\n\r\nabc")]).await;
    for fields in
        ["Host:\r\n", "Host: a.example:8000\r\n", "Host: [::1]:80\r\n", "Host: 127.0.0.1\r\n"]
    {
        let answer = answer_to(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{fields:?}: {answer}");
    }
    // Before HTTP/1.1 there were no hosts.
    let answer = answer_to(b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("GET / []") && !answer.contains("smuggled"), "{answer}");
}

#[tokio::test]
async fn heads_have_their_limits() {
    let server = TestServer::start(settings()).await;
    let with_fields = |count: usize| head("GET / HTTP/1.1", &"X: y\r\n".repeat(count));
    let with_bytes = |count: usize| {
        let empty = head("GET / HTTP/1.1", "X: \r\n").len();
        head("GET / HTTP/1.1", &format!("X: {}\r\n", "y".repeat(count - empty)))
    };
    // 64 fields, Host among them, and 16 KiB.
    for request in [with_fields(63), with_bytes(16 * 1024 - 1)] {
        let mut client = server.send(&request).await;
        assert_eq!(client.answer(&Method::GET).await.1, "GET / []");
        client.works().await;
    }
    for request in
        [with_fields(64), with_fields(2_000), with_bytes(16 * 1024 + 1), with_bytes(1 << 20)]
    {
        let mut client = server.connect().await;
        // The server may have closed its side before it was sent all of it.
        let _ = soon(client.stream.write_all(request.as_bytes())).await;
        assert_last(&client.rest().await, "431 Request Header Fields Too Large", "");
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up_however_it_trickles() {
    let server = TestServer::start(ServerConfig { header_timeout: SHORT, ..settings() }).await;
    let mut client = server.send("GET / HTTP/1.1\r\nHost: x\r\nX: ").await;
    // Each byte is progress, and buys no time. Between two of them others are served, so that
    // the limit on time is reached long before the one on size.
    while client.stream.write_all(b"y").await.is_ok() {
        server.idle().await;
    }
    client.is_turned_away().await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_however_it_trickles() {
    let settings = ServerConfig { request_timeout: SHORT, max_body: 1 << 30, ..settings() };
    let server = TestServer::start(settings).await;
    let mut client = server.send(&chunked("")).await;
    let (mut reading, mut writing) = client.stream.split();
    let trickle = async { while writing.write_all(b"1\r\na\r\n").await.is_ok() {} };
    let mut bytes = Vec::new();
    let answer = async {
        let _ = reading.read_to_end(&mut bytes).await;
    };
    soon(async {
        tokio::select! { () = answer => {}, () = trickle => {} }
    })
    .await;
    drop(client);
    // Whether the answer or the end came first: its connection is over.
    server.idle().await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{text}");
}

#[tokio::test]
async fn a_thousand_pipelined_requests_are_answered_one_by_one() {
    let server = TestServer::start(settings()).await;
    let client = server.send(&head("GET / HTTP/1.1", "").repeat(1_000)).await;
    let mut client = client;
    for _ in 0..1_000 {
        assert_eq!(client.answer(&Method::GET).await.1, "GET / []");
    }
    client.works().await;
}
