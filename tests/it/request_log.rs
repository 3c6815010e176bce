//! What the log says of a request, and what becomes of one whose handler panics.

use std::sync::OnceLock;

use serde_json::json;
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::{DefaultGuard, NoSubscriber};

use crate::support::{ANN, Lines, PASSWORD, Reply, TestApp};

const ORIGIN: &str = "http://localhost:5173";
const THEFT: &str = "a superseded refresh token was used";

/// What is logged in this thread, which is all that happens in requests, for as long as this
/// lives.
struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

impl Log {
    /// One that panics when theft is warned of, after the line is written: a handler that panics.
    fn that_panics(panics: bool) -> Self {
        // While there is one subscriber alone, `tracing` takes a place in the code that another
        // thread comes to first, one without a subscriber, for one that interests nobody.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Dispatch::new(NoSubscriber::new()));
        let lines = Lines::default();
        let log = lines.log_and(LevelFilter::INFO, move |line| {
            assert!(!(panics && line.contains(THEFT)), "as the test wants it to");
        });
        Self { lines, _guard: tracing::dispatcher::set_default(&log) }
    }

    fn start() -> Self {
        Self::that_panics(false)
    }

    /// The one line that says so.
    fn line(&self, text: &str) -> String {
        let found = self.lines.with(text);
        assert_eq!(found.len(), 1, "{text}: {}", self.lines.text());
        found[0].clone()
    }
}

/// Uses a refresh token whose successor was used.
async fn steal(app: &TestApp) -> Reply {
    let first = app.newcomer(ANN).await;
    let second = app.refresh(&first.refresh).await;
    app.refresh(&second.refresh).await;
    app.refreshing(&first.refresh).header("origin", ORIGIN).await
}

fn id(reply: &Reply) -> &str {
    reply.header("x-request-id").unwrap()
}

#[tokio::test]
async fn what_is_logged_within_a_request_names_it() {
    let log = Log::start();
    let app = TestApp::start();
    let reply = steal(&app).await;
    assert_eq!(reply.status, 401);
    let id = id(&reply);
    let warning = log.line(THEFT);
    assert!(warning.ends_with(&format!(" request_id={id}")), "{warning}");
    let line = log.line("status=401");
    assert!(line.contains(&format!(" request request_id={id} ")), "{line}");
    assert_eq!(line.matches(id).count(), 1, "{line}");
}

/// The answer was the server's last resort: bare, and in no log line of the request.
#[tokio::test]
async fn a_panic_is_answered_and_logged_as_anything_else_is() {
    let log = Log::that_panics(true);
    let app = TestApp::start_with(|config| {
        config.server.allowed_origins = vec![ORIGIN.to_owned()];
    });
    // The headers that every answer has are looked at on the way.
    let reply = steal(&app).await;
    assert_eq!(reply.told(), (500, json!({"detail": "Internal server error."})));
    assert_eq!(reply.header("access-control-allow-origin"), Some(ORIGIN));
    let id = id(&reply);
    let error = log.line("request handler panicked");
    for part in ["ERROR", id, "method=POST", "path=\"/api/token/refresh\""] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let line = log.line("status=500");
    for part in ["INFO", id, "method=POST", "path=\"/api/token/refresh\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(app.get("/healthz").await.status, 200);
}

/// The name came back whole, in the log as in the answer: 12,000 bytes of it.
#[tokio::test]
async fn a_method_of_any_length_makes_a_short_line() {
    let log = Log::start();
    let app = TestApp::start();
    let method = "X".repeat(12_000);
    let reply = app.call(&method, "/api/login/").await;
    assert_eq!(reply.status, 405);
    assert!(reply.body.len() < 200, "{reply:?}");
    assert!(log.line("status=405").len() < 400);
    let reply = app.call("POST", "/api/login/").body(&method, "x").await;
    assert_eq!(reply.status, 415);
    assert!(reply.body.len() < 200, "{reply:?}");
}

/// Behind a proxy that is not understood all clients count as one, without a word.
#[tokio::test]
async fn a_proxy_that_does_not_name_its_clients_as_it_should_is_warned_about_once() {
    // Peer, headers, and what the warning is about.
    type Row<'a> = (&'a str, &'a [(&'static str, &'a str)], Option<&'a str>);
    let table: [Row<'_>; 9] = [
        ("203.0.113.5", &[("x-forwarded-for", "198.51.100.1")], Some("is not trusted")),
        ("127.0.0.1", &[("x-real-ip", "203.0.113.5")], Some("header=x-real-ip")),
        ("::1", &[("forwarded", "for=203.0.113.5")], Some("header=forwarded")),
        ("127.0.0.1", &[("x-forwarded-proto", "https")], Some("header=x-forwarded-proto")),
        (
            "127.0.0.1",
            &[("x-real-ip", "203.0.113.5"), ("x-forwarded-for", "unknown")],
            Some("header=x-real-ip"),
        ),
        ("127.0.0.1", &[("x-real-ip", "a"), ("x-forwarded-for", " ")], Some("header=x-real-ip")),
        ("127.0.0.1", &[("x-real-ip", "a"), ("x-forwarded-for", "203.0.113.5")], None),
        ("203.0.113.5", &[("x-real-ip", "198.51.100.1")], None),
        ("127.0.0.1", &[], None),
    ];
    for (peer, headers, expected) in table {
        let log = Log::start();
        let app = TestApp::start();
        for _ in 0..2 {
            let call = app.get("/healthz").from(peer);
            headers.iter().fold(call, |call, (name, value)| call.header(name, value)).await;
        }
        let warnings = log.lines.with("X-Forwarded-For");
        assert_eq!(warnings.len(), usize::from(expected.is_some()), "{headers:?}: {warnings:?}");
        for warning in warnings {
            for part in [expected.unwrap(), "server.trusted_proxies", "docs/operate.md"] {
                assert!(warning.contains(part), "{headers:?}: {warning}");
            }
        }
    }
}

#[tokio::test]
async fn failures_at_many_accounts_from_loopback_are_warned_about_once() {
    // How many accounts, how many failures at each, from where, and how many warnings.
    for (accounts, failures, address, warnings) in [
        (9, 3, "127.0.0.1", 0),
        (10, 1, "::1", 1),
        (25, 1, "127.0.0.1", 1),
        (25, 1, "192.0.2.7", 0),
    ] {
        let log = Log::start();
        let app = TestApp::start();
        for account in 0..accounts {
            for _ in 0..failures {
                let email = format!("user{account}@example.com");
                let call = app.login(&email, PASSWORD);
                assert_eq!(call.header("x-forwarded-for", address).from("::1").await.status, 401);
            }
        }
        let found = log.lines.with("this machine itself");
        assert_eq!(found.len(), warnings, "{accounts} {address}: {found:?}");
        assert!(found.iter().all(|line| line.contains("server.trusted_proxies")), "{found:?}");
    }
}
