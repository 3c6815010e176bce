//! Paths, methods, bodies and headers: what holds for every endpoint.

use latchkey::server::BodyProblem;
use serde_json::{Value, json};

use crate::support::messages::{not_found, unavailable};
use crate::support::{ANN, CONFIRM, Call, PASSWORD, Reply, TestApp, WRONG, assert_page};

/// Every path, with the methods that it has, and one that it has not.
const PATHS: [(&str, &str, &str); 12] = [
    ("/api/register", "POST, OPTIONS", "GET"),
    ("/api/login", "POST, OPTIONS", "DELETE"),
    ("/api/token/refresh", "POST, OPTIONS", "HEAD"),
    ("/api/token/verify", "POST, OPTIONS", "GET"),
    ("/api/token/blacklist", "POST, OPTIONS", "GET"),
    ("/api/sessions/x", "DELETE, OPTIONS", "GET"),
    ("/.well-known/jwks.json", "GET, HEAD, OPTIONS", "POST"),
    ("/.well-known/revoked-sessions", "GET, HEAD, OPTIONS", "POST"),
    ("/api/profile", "GET, PATCH, PUT, DELETE, HEAD, OPTIONS", "POST"),
    ("/api/verify-email/confirm", "GET, POST, HEAD, OPTIONS", "PUT"),
    ("/healthz", "GET, HEAD, OPTIONS", "POST"),
    ("/readyz", "GET, HEAD, OPTIONS", "PATCH"),
];

#[tokio::test]
async fn a_path_works_with_and_without_its_slash_and_says_what_methods_it_has() {
    let app = TestApp::start();
    for (path, methods, other) in PATHS {
        for path in [path.to_owned(), format!("{path}/"), format!("{path}/?a=b&format=api")] {
            let reply = app.call("OPTIONS", &path).await;
            assert_eq!((reply.status, reply.header("allow")), (204, Some(methods)), "{path}");

            let reply = app.unchanged(async || app.call(other, &path).await).await;
            assert_eq!((reply.status, reply.header("allow")), (405, Some(methods)), "{path}");
            if other != "HEAD" {
                let detail = format!("Method \"{other}\" not allowed.");
                assert_eq!(reply.json(), json!({"detail": detail}), "{path}");
            }
        }
    }
    let reply = app.call("BREW", "/api/login/").await;
    assert_eq!(reply.told(), (405, json!({"detail": "Method \"BREW\" not allowed."})));
}

#[tokio::test]
async fn options_of_the_server_itself_names_every_method_there_is() {
    let app = TestApp::start();
    let reply = app.call("OPTIONS", "*").await;
    assert_eq!(reply.status, 204);
    let allow: Vec<_> = reply.header("allow").unwrap().split(", ").collect();
    for method in ["GET", "HEAD", "POST", "OPTIONS"] {
        assert!(allow.contains(&method), "{allow:?}");
    }
    // It is an address of nothing else.
    assert_eq!(app.call("GET", "*").await.status, 404);
}

#[tokio::test]
async fn an_unknown_path_is_not_found_whatever_is_asked_of_it() {
    let app = TestApp::start();
    for path in
        ["/", "/api/", "/api/logins/", "/api/login/x", "//api/login/", "/API/login/", "/%00"]
    {
        for method in ["GET", "POST", "OPTIONS", "DELETE"] {
            let reply = app.call(method, path).body("text/plain", "x").await;
            assert_eq!(reply.told(), not_found(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_browser_is_told_at_the_root_what_this_is() {
    let app = TestApp::start();
    let accept = "text/html,application/xhtml+xml,*/*;q=0.8";
    let reply = app.get("/").header("accept", accept).await;
    assert_page(&reply, 200, "This is an account service");
    assert!(reply.text().contains("<a href=\"&#x2f;api&#x2f;schema&#x2f;\">"), "{reply:?}");
    let head = app.call("HEAD", "/").header("accept", accept).await;
    assert_eq!((head.status, head.text()), (200, ""));
    for (method, path, accept) in [
        ("GET", "/", "*/*"),
        ("GET", "/", "application/json"),
        ("POST", "/", accept),
        ("OPTIONS", "/", accept),
        ("GET", "/index.html", accept),
    ] {
        let reply = app.call(method, path).header("accept", accept).await;
        assert_eq!(reply.told(), not_found(), "{method} {path} {accept}");
    }
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    let (app, tokens) = TestApp::with_ann_in().await;
    let public = ["/.well-known/jwks.json/", "/.well-known/revoked-sessions/"];
    for path in
        ["/api/profile/", "/healthz", "/readyz", "/nowhere", CONFIRM].into_iter().chain(public)
    {
        let get = app.get(path).bearer(&tokens.access).await;
        let head = app.call("HEAD", path).bearer(&tokens.access).await;
        assert_eq!(head.status, get.status, "{path}");
        let length = get.body.len().to_string();
        let mut expected = get.headers.clone();
        expected.insert("content-length", length.parse().unwrap());
        expected.insert("x-request-id", head.headers["x-request-id"].clone());
        assert_eq!(head.headers, expected, "{path}");
    }
    let head = app.call("HEAD", "/api/profile/").await;
    assert_eq!((head.status, head.header("www-authenticate").is_some()), (401, true));
}

#[tokio::test]
async fn bodies_that_are_not_read_are_told_from_those_that_are_empty() {
    let app = TestApp::start();
    let unsupported = |name: &str| {
        let detail = format!("Unsupported media type \"{name}\" in request.");
        (415, json!({"detail": detail}))
    };
    let no_fields = (400, json!({"refresh": ["This field is required."]}));
    let blank = (400, json!({"refresh": ["This field may not be blank."]}));
    let no_object = |kind: &str| {
        let message = format!("Invalid data. Expected a dictionary, but got {kind}.");
        (400, json!({"non_field_errors": [message]}))
    };
    let no_data = (400, json!({"non_field_errors": ["No data provided"]}));
    let json_type = "application/json";
    let form_type = "application/x-www-form-urlencoded";
    let last_counts = "{\"refresh\":\"x\",\"refresh\":\"\"}";
    let table: Vec<(&str, &[u8], (u16, Value))> = vec![
        ("", b"", no_fields.clone()),
        ("text/plain", b"", no_fields.clone()),
        (json_type, b"", no_fields.clone()),
        (form_type, b"", no_fields.clone()),
        ("", b"{}", unsupported("")),
        ("text/plain", b"{}", unsupported("text/plain")),
        ("multipart/form-data; boundary=x", b"--x--", unsupported("multipart/form-data")),
        (json_type, b"{}", no_fields.clone()),
        ("Application/JSON; charset=latin1", b"{}", no_fields.clone()),
        (json_type, b" {\"other\": [1, {\"a\": null}]} ", no_fields.clone()),
        (json_type, last_counts.as_bytes(), blank.clone()),
        (json_type, b"[]", no_object("list")),
        (json_type, b"\"text\"", no_object("str")),
        (json_type, b"-0.5", no_object("float")),
        (json_type, b"true", no_object("bool")),
        (json_type, b"null", no_data),
        (form_type, b"other=1", no_fields),
        (form_type, b"refresh=+%20", blank),
    ];
    for (media_type, body, expected) in table {
        let call = app.call("POST", "/api/token/refresh/").body(media_type, body.to_vec());
        app.refuses(call, expected).await;
    }
}

#[tokio::test]
async fn unreadable_bodies_are_a_400_that_quotes_nothing() {
    let app = TestApp::start();
    let deep = format!("{{\"a\": {}", "[".repeat(10_000));
    let table: [&[u8]; 6] = [
        b"{",
        b"hunter2",
        b"{\"password\": NaN}",
        b"{'password': 'hunter2'}",
        b"\xef\xbb\xbf{}",
        deep.as_bytes(),
    ];
    for body in table {
        let call = app.call("POST", "/api/login/").body("application/json", body.to_vec());
        let reply = app.unchanged(async || call.await).await;
        let detail = reply.field("detail");
        let shown = String::from_utf8_lossy(body);
        assert_eq!(reply.status, 400, "{shown}");
        assert!(detail.starts_with("JSON parse error - "), "{shown}: {detail}");
        assert!(!detail.contains("hunter2"), "{detail}");
    }
    let call = app.call("POST", "/api/login/");
    let reply = call.body("application/x-www-form-urlencoded", "password=%ff%fe").await;
    assert_eq!(reply.told(), (400, json!({"detail": "Form parse error - invalid UTF-8"})));
}

#[tokio::test]
async fn bodies_that_did_not_arrive_are_answered_and_the_connection_closes() {
    let app = TestApp::start();
    let table = [
        (BodyProblem::TooLarge, 413, "Request body is too large."),
        (BodyProblem::TooSlow, 408, "Request timed out."),
        (BodyProblem::Broken, 400, "Request body could not be read."),
    ];
    for (problem, status, detail) in table {
        let call = app.call("POST", "/api/register/").bad_body(problem);
        let reply = app.refuses(call, (status, json!({"detail": detail}))).await;
        assert_eq!(reply.header("connection"), Some("close"));
    }
    // Others' bodies are in the way. The server closes the connection by itself.
    let call = app.call("POST", "/api/register/").bad_body(BodyProblem::NoRoom);
    let reply = app.refuses(call, unavailable()).await;
    assert_eq!(reply.retry_after(), Some(5));
}

#[tokio::test]
async fn public_endpoints_ignore_a_stale_authorization_header() {
    let app = TestApp::start();
    let headers = ["Bearer stale", "Bearer", "Basic YTpi", "Bearer a b c"];
    for (number, authorization) in headers.into_iter().enumerate() {
        let stale = ("authorization", authorization);
        let email = format!("user{number}@example.com");
        let reply = app.registration(&email).header(stale.0, stale.1).await;
        assert_eq!(reply.status, 201, "{authorization}");
        let reply = app.login(&email, PASSWORD).header(stale.0, stale.1).await;
        assert_eq!(reply.status, 200, "{authorization}");
        let reply = app.refreshing(&reply.field("refresh")).header(stale.0, stale.1).await;
        assert_eq!(reply.status, 200, "{authorization}");
        let token = app.mailed_token().await;
        let call = app.post(CONFIRM, &json!({"token": token}));
        assert_eq!(call.header(stale.0, stale.1).await.status, 200, "{authorization}");
    }
}

const APP: &str = "http://localhost:5173";

fn with_origins() -> TestApp {
    TestApp::start_with(|config| config.server.allowed_origins = vec![APP.to_owned()])
}

fn preflight(app: &TestApp, path: &str, origin: &str) -> Call {
    app.call("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-requested-with")
}

/// The CORS headers of an answer, without those that say what else may be read.
fn permissions(reply: &Reply) -> Vec<String> {
    let names = reply.headers.keys().map(|name| name.as_str());
    names.filter(|name| name.starts_with("access-control-")).map(str::to_owned).collect()
}

#[tokio::test]
async fn only_allowed_origins_may_call_from_a_browser() {
    let app = with_origins();
    for (path, allow) in [
        ("/api/login/", "POST, OPTIONS"),
        ("/api/verify-email/confirm/", "GET, POST, HEAD, OPTIONS"),
        ("/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
        // A browser shows the 404 that follows, and without the preflight a network error.
        ("/api/logn/", "OPTIONS"),
        ("/.well-known/nowhere", "OPTIONS"),
    ] {
        let reply = preflight(&app, path, APP).await;
        assert_eq!(reply.status, 204, "{path}");
        for (name, value) in [
            ("allow", allow),
            ("access-control-allow-origin", APP),
            ("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
            ("access-control-allow-headers", "content-type, x-requested-with"),
            ("access-control-allow-credentials", "true"),
            ("access-control-max-age", "86400"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path} {name}");
        }
        for stranger in
            ["http://localhost:5174", "https://localhost:5173", "null", "http://evil.example"]
        {
            let reply = preflight(&app, path, stranger).await;
            assert_eq!(reply.status, if allow == "OPTIONS" { 404 } else { 204 }, "{path}");
            assert_eq!(permissions(&reply), Vec::<String>::new(), "{path} {stranger}");
            let reply = app.get(path).header("origin", stranger).await;
            assert_eq!(permissions(&reply), Vec::<String>::new(), "{path} {stranger}");
        }
    }
}

/// Or a script could not tell why.
#[tokio::test]
async fn scripts_may_read_refusals_of_every_kind() {
    let app = with_origins();
    for (call, status) in [
        (app.login(ANN, PASSWORD), 401),
        (app.get("/api/profile/"), 401),
        (app.get("/api/nowhere"), 404),
        (app.call("PUT", "/api/login/"), 405),
        (app.post("/api/login/", &json!({})), 400),
        (app.call("POST", "/api/login/").bad_body(BodyProblem::TooLarge), 413),
        (app.call("POST", "/api/login/").body("text/plain", "x"), 415),
        (app.call("POST", "/api/login/").bad_body(BodyProblem::NoRoom), 503),
    ] {
        let reply = call.header("origin", APP).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("access-control-allow-origin"), Some(APP), "{status}");
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"), "{status}");
        let exposed = "retry-after, x-request-id";
        assert_eq!(reply.header("access-control-expose-headers"), Some(exposed), "{status}");
    }
}

#[tokio::test]
async fn no_script_of_another_origin_reads_a_page_or_what_is_outside_the_api() {
    let app = with_origins();
    for path in ["/reset-password/", "/reset-password/x/", "/", "/nowhere", "/apix", "/healthzz"] {
        assert_eq!(permissions(&preflight(&app, path, APP).await), Vec::<String>::new(), "{path}");
        let reply = app.get(path).header("origin", APP).await;
        assert_eq!(permissions(&reply), Vec::<String>::new(), "{path}");
    }
    for path in ["/reset-password/?token=x", "/reset-password/x/", CONFIRM] {
        let reply = app.get(path).header("origin", APP).await;
        assert!(reply.header("content-type").unwrap().starts_with("text/html"), "{path}");
        assert_eq!(permissions(&reply), Vec::<String>::new(), "{path}");
    }
    let reply = app.call("PUT", "/reset-password/").header("origin", APP).await;
    assert_eq!((reply.status, permissions(&reply)), (405, Vec::new()));
    let reply = app.post(CONFIRM, &json!({"token": "x"})).header("origin", APP).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some(APP), "it is for programs too");
}

#[tokio::test]
async fn a_request_keeps_the_name_that_a_trusted_proxy_gave_it() {
    let app = TestApp::start();
    let longest = "x".repeat(64);
    let too_long = "x".repeat(65);
    let table = [
        ("127.0.0.1", "abc-DEF_1.2", true),
        ("::1", longest.as_str(), true),
        ("127.0.0.1", too_long.as_str(), false),
        ("127.0.0.1", "", false),
        ("127.0.0.1", "a b", false),
        ("127.0.0.1", "a/b", false),
        ("127.0.0.1", "a;b", false),
        ("127.0.0.1", "a\tb", false),
        ("127.0.0.1", "\"", false),
        ("192.0.2.1", "abc", false),
    ];
    for (peer, given, is_kept) in table {
        let reply = app.get("/healthz").from(peer).header("x-request-id", given).await;
        let named = reply.header("x-request-id").unwrap();
        assert_eq!(named == given, is_kept, "{peer} {given}: {named}");
        if !is_kept {
            assert!(named.len() == 32 && named.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
    let first = app.get("/nowhere").await;
    let second = app.get("/nowhere").await;
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[tokio::test]
async fn a_compressed_body_is_refused_and_told_what_is_read() {
    let app = TestApp::start();
    let call = app.login(ANN, PASSWORD).header("content-encoding", "gzip");
    let detail = "Unsupported content encoding \"gzip\" in request.";
    let reply = app.refuses(call, (415, json!({"detail": detail}))).await;
    assert_eq!(reply.header("accept-encoding"), Some("identity"));
}

/// Whose address a login is counted for, seen by who is locked out after five failures.
#[tokio::test]
async fn the_client_is_the_rightmost_address_that_is_no_trusted_proxy() {
    // Peer, X-Forwarded-For, and the address that it stands for.
    let table = [
        ("127.0.0.1", Some("198.51.100.1, 203.0.113.5, 127.0.0.9"), "203.0.113.5"),
        ("::1", Some("garbage, 203.0.113.5"), "203.0.113.5"),
        ("127.0.0.1", Some("203.0.113.5, garbage"), "127.0.0.1"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("203.0.113.5", Some("198.51.100.1"), "203.0.113.5"),
    ];
    for (peer, forwarded, address) in table {
        let app = TestApp::with_ann().await;
        for _ in 0..5 {
            let mut call = app.login(ANN, WRONG).from(peer);
            if let Some(forwarded) = forwarded {
                call = call.header("x-forwarded-for", forwarded);
            }
            assert_eq!(call.await.status, 401, "{peer} {forwarded:?}");
        }
        let locked = app.login(ANN, PASSWORD).from(address).await;
        assert_eq!(locked.status, 429, "{peer} {forwarded:?} is not {address}");
        let free = app.login(ANN, PASSWORD).from("198.51.100.77").await;
        assert_eq!(free.status, 200, "{peer} {forwarded:?}");
    }
}

#[tokio::test]
async fn probes_say_how_it_is() {
    let app = TestApp::start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(app.get(path).await.told(), (200, json!({"status": "ok"})), "{path}");
    }
    app.router.stop();
    assert_eq!(app.get("/healthz").await.status, 200);
    let stopping = (503, json!({"detail": "The server is stopping."}));
    assert_eq!(app.get("/readyz").await.told(), stopping);
}
