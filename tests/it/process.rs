//! The real executable, on a real directory and a real socket.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{ANN, PASSWORD, Program, Running, Wire, all_below, claims};

/// Every file below a directory with what is in it.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let name = |path: &PathBuf| path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
    let files = all_below(directory).into_iter().filter(|path| path.is_file());
    files.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

/// How many mails there are to `email`.
fn mails_to(directory: &Path, email: &str) -> usize {
    let to = format!("To: {email}\r\n");
    let is_to = |(name, bytes): &(&String, &Vec<u8>)| {
        name.ends_with(".eml") && String::from_utf8_lossy(bytes).contains(&to)
    };
    contents(&directory.join("mails")).iter().filter(is_to).count()
}

#[test]
fn it_says_one_line_serves_and_stops_with_exit_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().unwrap();
        let program = Program::in_directory(directory.path());
        let running = program.serve();
        let address = running.address;
        let version = env!("CARGO_PKG_VERSION");
        let ready = format!("latchkey {version} listening on http://{address}, data in data\n");
        assert_eq!(running.ready, ready);
        let mut wire = running.connect();
        assert_eq!(wire.get("/readyz", "").unwrap().json(), json!({"status": "ok"}));
        let page = b"GET / HTTP/1.1\r\nHost: test\r\nAccept: text/html\r\n\r\n";
        wire.send(page).unwrap();
        let page = wire.receive().unwrap().text().to_owned();
        assert!(page.contains(&address.to_string()), "pages name the port that was found: {page}");
        wire.register(ANN);
        let tokens = wire.log_in(ANN);
        assert_eq!(claims(&tokens.access)["iss"], format!("http://{address}"));
        running.wait_for_line("mail delivered");
        running.signal(signal);
        let ended = running.ended();
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
        assert!(ended.stderr.contains("stopped"), "{}", ended.stderr);
        assert_eq!(mails_to(directory.path(), ANN), 1);

        let running = program.serve();
        let mut wire = running.connect();
        assert_eq!(wire.refresh(&tokens.refresh).status, 200, "what was kept goes on");
        running.stop();
    }
}

#[test]
fn what_it_keeps_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let running = Program::in_directory(directory.path()).serve();
    running.connect().register(ANN);
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
    let body = json!({"email": ANN, "password": PASSWORD, "password_confirm": PASSWORD});
    let body = body.to_string();
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
    running.connect().log_in(ANN);
}

#[test]
fn what_is_wrong_stops_the_start_with_one_message_and_leaves_the_data_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let program = || Program::in_directory(path);
    let running = program().serve();
    running.connect().register(ANN);
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
            program().args("serve --config unknown.toml"),
            &["unknown.toml:2", "listen_on", "server.listen?"],
        ),
        (program().args("--config missing.toml"), &["missing.toml"]),
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
        (program().args("--port 80"), &["--port", "--help"]),
        (program().args("sevre"), &["sevre", "--help"]),
    ];
    for (program, parts) in table {
        let stderr = program.fails();
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
    running.connect().log_in(ANN);
}

#[test]
fn a_configured_audience_is_in_the_tokens_and_they_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::in_directory(directory.path());
    let running = program.with("TOKENS_AUDIENCE", "https://api.example.com").serve();
    let mut wire = running.connect();
    wire.register(ANN);
    let access = wire.log_in(ANN).access;
    assert_eq!(claims(&access)["aud"], "https://api.example.com");
    assert_eq!(wire.get("/api/profile/", &access).unwrap().status, 200);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::in_directory(directory.path());
    let running = program.serve();
    let mut wire = running.connect();
    wire.register(ANN);
    let accept = Program::in_directory(directory.path()).args("clock accept");
    for second in [&program, &accept] {
        let refused = second.fails();
        assert!(refused.contains("another latchkey process uses"), "{refused}");
    }
    // The first one notices nothing.
    let token = wire.log_in(ANN).refresh;
    assert_eq!(wire.refresh(&token).status, 200);
    running.stop();

    // With the server stopped, a clock that is right is left alone.
    let refused = accept.fails();
    assert!(refused.contains("the clock is not behind"), "{refused}");
    let running = program.serve();
    let mut wire = running.connect();
    assert_eq!(wire.refresh(&token).status, 200);
}

#[test]
fn the_other_commands_do_what_they_say() {
    let directory = tempfile::tempdir().unwrap();
    let program = || Program::in_directory(directory.path());
    let version = format!("latchkey {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(program().args("--version").succeeds(), version);
    assert!(program().args("--help").succeeds().contains("latchkey check-config"));
    assert_eq!(program().args("check-config").succeeds(), "the configuration is fine\n");
    program().args("check-config").with("SERVER_MAX_BODY", "lots").fails();
    // A variable that is no key only warns: orchestrators inject some.
    let odd = program().args("check-config").with("PORT_8000_TCP", "tcp://10.0.0.1").run();
    assert!(odd.status.success() && odd.stderr.contains("LATCHKEY_PORT_8000_TCP"), "{odd:?}");
    assert!(contents(directory.path()).is_empty(), "none of them makes anything");
    // The shipped configuration is one.
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
    program().args("check-config --config").args(shipped).succeeds();
}

#[test]
fn promise_3_theft_is_durable_before_its_401_leaves() {
    let directory = tempfile::tempdir().unwrap();
    // By default tokens name the address that is listened on, which a restart changes here.
    let program = Program::in_directory(directory.path()).with("TOKENS_ISSUER", "the-same");
    let running = program.serve();
    let mut wire = running.connect();
    wire.register(ANN);
    let (other, first) = (wire.log_in(ANN), wire.log_in(ANN));

    let start = Barrier::new(64);
    let successors: Vec<String> = thread::scope(|scope| {
        let refreshing = |mut wire: Wire| {
            start.wait();
            wire.refresh(&first.refresh).field("refresh")
        };
        let clients: Vec<_> = (0..64)
            .map(|_| running.connect())
            .map(|wire| scope.spawn(move || refreshing(wire)))
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let successor = &successors[0];
    assert!(successors.iter().all(|other| other == successor), "{successors:?}");

    let third = wire.refresh(successor).field("refresh");
    let theft = wire.refresh(&first.refresh);
    running.kill();
    assert_eq!(theft.status, 401);

    let running = program.serve();
    let mut wire = running.connect();
    for token in [&first.refresh, successor, &third] {
        assert_eq!(wire.refresh(token).status, 401);
    }
    assert_eq!(wire.get("/api/profile/", &first.access).unwrap().status, 401);
    assert_eq!(wire.get("/api/profile/", &other.access).unwrap().status, 200);
    assert_eq!(wire.refresh(&other.refresh).status, 200, "another session lives on");
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
        assert_eq!(reply.header("server"), None, "no version is told");
        assert_eq!(reply.header("connection"), Some("close"));
        assert_eq!(wire.rest().unwrap(), b"", "the connection closes");
    }
    let mut wire = running.connect();
    let long = format!("GET /healthz HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000));
    // The server may close before it has read all of this.
    let _ = wire.send(long.as_bytes());
    assert!(wire.receive().is_ok_and(|reply| reply.status == 431));
}
