//! The real executable, on a real directory and a real socket.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{ANN, Ended, PASSWORD, Program, Running, Wire, claims};

fn registration(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "password_confirm": PASSWORD})
}

fn register(wire: &mut Wire, email: &str) {
    let reply = wire.post("/api/register/", &registration(email)).unwrap();
    assert_eq!(reply.status, 201, "{reply:?}");
}

/// Logs in and returns access and refresh token.
fn log_in(wire: &mut Wire, email: &str) -> (String, String) {
    let body = json!({"email": email, "password": PASSWORD});
    let reply = wire.post("/api/login/", &body).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    (reply.field("access"), reply.field("refresh"))
}

fn refresh(wire: &mut Wire, token: &str) -> (u16, Value) {
    let reply = wire.post("/api/token/refresh/", &json!({"refresh": token})).unwrap();
    (reply.status, reply.json())
}

/// Every file below a directory with what is in it.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            for (inner, bytes) in contents(&path) {
                found.insert(format!("{name}/{inner}"), bytes);
            }
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
    found
}

/// How many mails there are to `email`.
fn mails_to(directory: &Path, email: &str) -> usize {
    let to = format!("To: {email}\r\n");
    let mails = contents(&directory.join("mails"));
    mails
        .iter()
        .filter(|(name, bytes)| {
            name.ends_with(".eml") && String::from_utf8_lossy(bytes).contains(&to)
        })
        .count()
}

#[test]
fn it_says_one_line_serves_and_stops_with_exit_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().unwrap();
        let program = Program::in_directory(directory.path());
        let running = program.serve();
        let address = running.address;
        assert_eq!(
            running.ready,
            format!(
                "latchkey {} listening on http://{address}, data in data\n",
                env!("CARGO_PKG_VERSION")
            )
        );
        let mut wire = running.connect();
        assert_eq!(wire.get("/readyz", "").unwrap().json(), json!({"status": "ok"}));
        let page = b"GET / HTTP/1.1\r\nHost: test\r\nAccept: text/html\r\n\r\n";
        wire.send(page).unwrap();
        let page = String::from_utf8(wire.receive().unwrap().body).unwrap();
        assert!(page.contains(&address.to_string()), "pages name the port that was found: {page}");
        register(&mut wire, ANN);
        let (access, token) = log_in(&mut wire, ANN);
        assert_eq!(claims(&access)["iss"], format!("http://{address}"));
        running.wait_for_line("mail delivered");
        running.signal(signal);
        let ended = running.ended();
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
        assert!(ended.stderr.contains("stopped"), "{}", ended.stderr);
        assert_eq!(mails_to(directory.path(), ANN), 1);

        let running = program.serve();
        let mut wire = running.connect();
        assert_eq!(refresh(&mut wire, &token).0, 200, "what was kept goes on");
        running.stop();
    }
}

#[test]
fn what_it_keeps_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let running = Program::in_directory(directory.path()).serve();
    register(&mut running.connect(), ANN);
    running.wait_for_line("mail delivered");
    running.stop();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for name in ["data", "data/keys", "mails"] {
        assert_eq!(mode(&directory.path().join(name)), 0o700, "{name}");
    }
    let files = contents(directory.path());
    assert!(files.keys().any(|name| name.ends_with(".redb")), "{:?}", files.keys());
    for name in files.keys() {
        let expected = if name.ends_with(".pub.pem") { 0o644 } else { 0o600 };
        assert_eq!(mode(&directory.path().join(name)), expected, "{name}");
    }
}

#[test]
fn a_request_under_way_is_finished_and_a_second_signal_does_not_wait() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::in_directory(directory.path());
    let body = registration(ANN).to_string();
    let head = format!(
        "POST /api/register/ HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    // Its head is read, and the body waited for, once it is told to go on.
    let begin = |running: &Running| {
        let mut wire = running.connect();
        wire.send(head.as_bytes()).unwrap();
        assert_eq!(wire.receive().unwrap().status, 100);
        running.signal(Signal::TERM);
        running.wait_for_line("stopping");
        wire
    };
    let running = program.serve();
    let mut wire = begin(&running);
    // Nobody new is let in, if not by a refusal then by never being heard.
    let mut late = TcpStream::connect(running.address).map(Wire::over);
    assert!(late.as_mut().map_or(true, |wire| wire.get("/healthz", "").is_err()));
    wire.send(body.as_bytes()).unwrap();
    assert_eq!(wire.receive().unwrap().status, 201);
    assert_eq!(running.ended().status.code(), Some(0));

    let running = program.serve();
    let _wire = begin(&running);
    running.signal(Signal::TERM);
    assert_eq!(running.ended().status.code(), Some(1));
    let running = program.serve();
    log_in(&mut running.connect(), ANN);
}

#[test]
fn what_is_wrong_stops_the_start_with_one_message_and_leaves_the_data_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let program = || Program::in_directory(path);
    let running = program().serve();
    register(&mut running.connect(), ANN);
    running.wait_for_line("mail delivered");
    running.stop();

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
    let set_mode = |name: &str, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path.join(name), mode).unwrap();
    };
    write("unknown.toml", "[server]\nlisten_on = \"127.0.0.1:0\"\n");
    write("duration.toml", "\n[tokens]\naccess_lifetime = \"half an hour\"\n");
    write("broken.toml", "[server\n");
    write("file", "");
    std::fs::create_dir(path.join("templates")).unwrap();
    write("templates/verify_email.txt", "Hello\n\n{{ link }\n");
    std::fs::create_dir(path.join("open")).unwrap();
    set_mode("open", 0o755);
    // Somebody's only copy of something: never taken for a first start.
    std::fs::create_dir_all(path.join("damaged/keys")).unwrap();
    for (name, text) in contents(&path.join("data")) {
        let is_database = name == "latchkey.redb";
        let name = format!("damaged/{name}");
        std::fs::write(path.join(&name), if is_database { b"no database" } else { &text[..] })
            .unwrap();
        set_mode(&name, if name.ends_with(".pub.pem") { 0o644 } else { 0o600 });
    }
    set_mode("damaged/keys", 0o700);
    set_mode("damaged", 0o700);

    let before = contents(path);
    let in_use = [port.as_str(), "server.listen"];
    let table: Vec<(Program, &[&str])> = vec![
        (
            program().arg("--config").arg("unknown.toml"),
            &["unknown.toml:2", "listen_on", "server.listen?"],
        ),
        (
            program().arg("serve").arg("--config").arg("duration.toml"),
            &["duration.toml:3", "access_lifetime", "half an hour", "30m"],
        ),
        (program().arg("--config").arg("broken.toml"), &["broken.toml:1"]),
        (program().arg("--config").arg("missing.toml"), &["missing.toml"]),
        (program().with("LOGIN_LOCKOUT", "5 minutes"), &["LATCHKEY_LOGIN_LOCKOUT", "5 minutes"]),
        (program().with("MAIL_TEMPLATES", "templates"), &["verify_email.txt", "3"]),
        (program().with("MAIL_TEMPLATES", "nowhere"), &["nowhere"]),
        (program().with("SERVER_LISTEN", &port), &in_use),
        (program().with("SERVER_LISTEN", "0.0.0.0:0"), &["public_url"]),
        (program().with("STORAGE_DIRECTORY", "file"), &["file"]),
        (program().with("STORAGE_DIRECTORY", "file/data"), &["file/data"]),
        (program().with("STORAGE_DIRECTORY", "damaged"), &["damaged/latchkey.redb"]),
        (program().with("STORAGE_DIRECTORY", "/proc/latchkey"), &["/proc/latchkey"]),
        (program().with("STORAGE_DIRECTORY", "open"), &["open", "0755", "chmod 700"]),
        (program().arg("--port").arg("80"), &["--port", "--help"]),
        (program().arg("sevre"), &["sevre", "--help"]),
    ];
    for (program, parts) in table {
        let Ended { status, stdout, stderr } = program.run();
        assert_eq!((status.code(), stdout.as_str()), (Some(1), ""), "{parts:?}: {stderr}");
        let messages = stderr.lines().filter(|line| line.starts_with("latchkey: ")).count();
        assert_eq!(messages, 1, "{stderr}");
        for part in parts {
            assert!(stderr.contains(part), "no {part:?}: {stderr}");
        }
        assert!(!stderr.contains("panicked"), "{stderr}");
        let after = contents(path);
        assert!(after == before, "{parts:?} changed {:?}", after.keys());
    }
    let running = program().serve();
    log_in(&mut running.connect(), ANN);
}

#[test]
fn a_configured_audience_is_in_the_tokens_and_they_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::in_directory(directory.path());
    let running = program.with("TOKENS_AUDIENCE", "https://api.example.com").serve();
    let mut wire = running.connect();
    register(&mut wire, ANN);
    let (access, _) = log_in(&mut wire, ANN);
    assert_eq!(claims(&access)["aud"], "https://api.example.com");
    assert_eq!(wire.get("/api/profile/", &access).unwrap().status, 200);
}

#[test]
fn a_first_start_that_fails_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let program = Program::in_directory(directory.path());
    assert_eq!(program.with("SERVER_LISTEN", &port).run().status.code(), Some(1));
    let program = Program::in_directory(directory.path()).with("SERVER_MAX_BODY", "lots");
    assert_eq!(program.run().status.code(), Some(1));
    let left = contents(directory.path());
    assert!(left.is_empty(), "{:?}", left.keys());
    assert!(!directory.path().join("data").exists());
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::in_directory(directory.path());
    let running = program.serve();
    let mut wire = running.connect();
    register(&mut wire, ANN);
    let accept = Program::in_directory(directory.path()).arg("clock").arg("accept");
    for second in [&program, &accept] {
        let ended = second.run();
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains("another latchkey process uses"), "{ended:?}");
    }
    // The first one notices nothing.
    let (_, token) = log_in(&mut wire, ANN);
    assert_eq!(refresh(&mut wire, &token).0, 200);
    running.stop();

    // With the server stopped, a clock that is right is left alone.
    let ended = accept.run();
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.stderr.contains("the clock is not behind"), "{ended:?}");
    let running = program.serve();
    let mut wire = running.connect();
    assert_eq!(refresh(&mut wire, &token).0, 200);
}

#[test]
fn the_other_commands_do_what_they_say() {
    let directory = tempfile::tempdir().unwrap();
    let program = || Program::in_directory(directory.path());
    let version = program().arg("--version").run();
    let expected = format!("latchkey {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((version.status.code(), version.stdout), (Some(0), expected));
    let help = program().arg("--help").run();
    assert!(help.status.success() && help.stdout.contains("latchkey check-config"), "{help:?}");
    let fine = program().arg("check-config").run();
    assert_eq!(
        (fine.status.code(), fine.stdout.as_str()),
        (Some(0), "the configuration is fine\n")
    );
    let bad = program().arg("check-config").with("SERVER_MAX_BODY", "lots").run();
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    // A variable that is no key only warns: orchestrators inject some.
    let odd = program().arg("check-config").with("PORT_8000_TCP", "tcp://10.0.0.1").run();
    assert!(odd.status.success() && odd.stderr.contains("LATCHKEY_PORT_8000_TCP"), "{odd:?}");
    assert!(contents(directory.path()).is_empty(), "none of them makes anything");
    // The shipped configuration is one.
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
    let shipped = program().arg("check-config").arg("--config").arg(shipped).run();
    assert!(shipped.status.success(), "{shipped:?}");
}

#[test]
fn promise_3_theft_is_durable_before_its_401_leaves() {
    let directory = tempfile::tempdir().unwrap();
    // By default tokens name the address that is listened on, which a restart changes here.
    let program = Program::in_directory(directory.path()).with("TOKENS_ISSUER", "the-same");
    let running = program.serve();
    let mut wire = running.connect();
    register(&mut wire, ANN);
    let (other_access, other) = log_in(&mut wire, ANN);
    let (access, first) = log_in(&mut wire, ANN);

    let start = Arc::new(Barrier::new(64));
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let mut wire = running.connect();
            let (start, first) = (Arc::clone(&start), first.clone());
            thread::spawn(move || {
                start.wait();
                refresh(&mut wire, &first)
            })
        })
        .collect();
    let answers: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let successor = answers[0].1["refresh"].as_str().unwrap().to_owned();
    assert!(answers.iter().all(|(_, body)| body["refresh"] == successor.as_str()));

    let (status, third) = refresh(&mut wire, &successor);
    assert_eq!(status, 200);
    let theft = refresh(&mut wire, &first);
    running.kill();
    assert_eq!(theft.0, 401);

    let running = program.serve();
    let mut wire = running.connect();
    for token in [&first, &successor, third["refresh"].as_str().unwrap()] {
        assert_eq!(refresh(&mut wire, token).0, 401);
    }
    assert_eq!(wire.get("/api/profile/", &access).unwrap().status, 401);
    assert_eq!(wire.get("/api/profile/", &other_access).unwrap().status, 200);
    assert_eq!(refresh(&mut wire, &other).0, 200, "another session lives on");
}

#[test]
fn the_wire_has_its_limits() {
    let directory = tempfile::tempdir().unwrap();
    let running = Program::in_directory(directory.path()).with("SERVER_MAX_BODY", "1KiB").serve();
    let post = "POST /api/login/ HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n";

    // Too much of it by its own word, or as it turns out.
    let told = format!("{post}Content-Length: 1025\r\n\r\n{}", "x".repeat(1025));
    let chunks = format!("{post}Transfer-Encoding: chunked\r\n\r\n401\r\n{}\r\n", "x".repeat(1025));
    for request in [told, chunks] {
        let mut wire = running.connect();
        wire.send(request.as_bytes()).unwrap();
        let reply = wire.receive().unwrap();
        let expected = json!({"detail": "Request body is too large."});
        assert_eq!((reply.status, reply.json()), (413, expected));
        assert!(!reply.head.contains("server:"), "no version is told: {}", reply.head);
        assert!(reply.head.contains("connection: close"), "{}", reply.head);
        assert_eq!(wire.rest().unwrap(), b"", "the connection closes");
    }
    // A length and chunks, or a length that is none: answered at most once, and closed.
    for framing in ["Content-Length: 2\r\nTransfer-Encoding: chunked", "Content-Length: two"] {
        let mut wire = running.connect();
        wire.send(format!("{post}{framing}\r\n\r\n0\r\n\r\n").as_bytes()).unwrap();
        let reply = wire.receive().unwrap();
        assert_eq!(reply.status, 400, "{framing}: {reply:?}");
        assert_eq!(wire.rest().unwrap(), b"", "{framing}: the connection closes");
    }
    let mut wire = running.connect();
    wire.send(b"no request at all\r\n\r\n").unwrap();
    assert_eq!(wire.receive().unwrap().status, 400);
    let mut wire = running.connect();
    let long = format!("GET /healthz HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000));
    // The server may close before it has read all of this.
    let _ = wire.send(long.as_bytes());
    assert!(wire.receive().is_ok_and(|reply| reply.status == 431));
    let mut wire = running.connect();
    wire.send(b"HEAD /healthz HTTP/1.1\r\nHost: test\r\n\r\nGET /healthz HTTP/1.1\r\n").unwrap();
    wire.send(b"Host: test\r\nConnection: close\r\n\r\n").unwrap();
    let head = String::from_utf8(wire.rest().unwrap()).unwrap();
    assert_eq!(head.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{head}");
    assert_eq!(head.matches("{\"status\":\"ok\"}").count(), 1, "HEAD has no body: {head}");
}
