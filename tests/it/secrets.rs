//! Promise 6: nothing leaks. Everything is done once under a log that takes down every line there
//! is, and no secret may be in it; nor in a `Debug` of anything that holds one.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use latchkey::config::{Config, MailTransport, SmtpConfig, SmtpSecurity};
use latchkey::domain::{Client, Email, Purpose, TicketId};
use latchkey::flows::{login, registration};
use latchkey::http::{input, request};
use latchkey::mail::{Delivery, MailLink, Mailer, verify_link};
use latchkey::secret::Secret;
use latchkey::server::{BodyProblem, Incoming};
use serde_json::json;
use tracing::level_filters::LevelFilter;

use crate::support::{CONFIRM, Lines, START, TestApp, Tokens};

const CANARY: &str = "canary/ä \"yellow\" + 5%";
const PASSWORD: &str = "lantern/ö \"harbour\" + 7%";
const WRONG: &str = "lanterns/ö \"harbour\" + 8%";
const EMAIL: &str = "secretive@example.com";

/// Where every log line of this process goes from the first call on: all there is to be told, of
/// every test.
fn log() -> &'static Lines {
    static LOG: OnceLock<Lines> = OnceLock::new();
    LOG.get_or_init(|| {
        let lines = Lines::default();
        tracing::dispatcher::set_global_default(lines.log(LevelFilter::TRACE)).unwrap();
        lines
    })
}

/// The forms of `secret` that occur in `text`, each by its name.
fn forms_found(text: &[u8], secret: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let found = forms(secret).into_iter().filter(|(_, form)| text.contains(form));
    found.map(|(name, _)| name).collect()
}

/// Ways to write a secret, each with its name.
fn forms(secret: &str) -> Vec<(String, String)> {
    let bytes = secret.as_bytes();
    let each = |write: fn(&u8) -> String| bytes.iter().map(write).collect::<Vec<_>>();
    let json = serde_json::to_string(secret).unwrap();
    let json = json.trim_matches('"');
    let form_encoded: String = form_urlencoded::byte_serialize(bytes).collect();
    let mut forms = vec![
        ("raw".to_owned(), secret.to_owned()),
        ("hex".to_owned(), each(|byte| format!("{byte:02x}")).concat()),
        ("upper-case hex".to_owned(), each(|byte| format!("{byte:02X}")).concat()),
        ("bytes".to_owned(), each(|byte| byte.to_string()).join(", ")),
        ("json".to_owned(), json.to_owned()),
        ("json with slashes escaped".to_owned(), json.replace('/', "\\/")),
        ("debug".to_owned(), secret.escape_debug().to_string()),
        ("bytes as debug".to_owned(), bytes.escape_ascii().to_string()),
        ("form".to_owned(), form_encoded.clone()),
        ("percent".to_owned(), form_encoded.replace('+', "%20")),
        ("every byte in percent".to_owned(), each(|byte| format!("%{byte:02X}")).concat()),
    ];
    // Base64 of a text that the secret is somewhere in: as it begins at each place of a triplet,
    // less the characters at both ends that its neighbours have a part in.
    for (name, engine) in [("base64", &STANDARD_NO_PAD), ("base64url", &URL_SAFE_NO_PAD)] {
        for before in 0..3 {
            let padded = [&vec![0; before], bytes].concat();
            let encoded = engine.encode(&padded);
            let start = [0, 2, 3][before];
            let end = encoded.len() - usize::from(padded.len() % 3 != 0);
            forms.push((format!("{name} from {before}"), encoded[start..end].to_owned()));
        }
    }
    forms.push(("padded base64".to_owned(), STANDARD.encode(bytes)));
    forms
}

fn assert_holds_none(text: &[u8], secrets: &[String], what: &str) {
    for secret in secrets {
        let found = forms_found(text, secret);
        assert_eq!(found, Vec::<String>::new(), "{secret} is in {what}");
    }
}

/// A token whole, and its secret part alone.
fn with_signature(token: &str) -> [String; 2] {
    [token.to_owned(), token.rsplit('.').next().unwrap().to_owned()]
}

#[test]
fn the_scan_finds_a_canary_in_every_form() {
    let log = log();
    for (name, form) in forms(CANARY) {
        tracing::trace!("<{form}>");
        assert!(forms_found(format!("<{form}>").as_bytes(), CANARY).contains(&name), "{name}");
    }
    let found = forms_found(log.text().as_bytes(), CANARY);
    let every: Vec<String> = forms(CANARY).into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, every);
    for before in ["", "x", "xx", "xyz"] {
        let encoded = STANDARD.encode(format!("{before}{CANARY} and more"));
        assert!(!forms_found(encoded.as_bytes(), CANARY).is_empty(), "after {before:?}");
    }
    assert_eq!(forms_found(b"nothing of that", CANARY), Vec::<String>::new());
}

#[tokio::test]
async fn promise_6_nothing_leaks_into_the_log() {
    let log = log();
    let app = TestApp::start();
    let fields = json!({"email": EMAIL, "password": PASSWORD, "password_confirm": PASSWORD});
    let mut secrets = vec![PASSWORD.to_owned(), WRONG.to_owned()];

    assert_eq!(app.post("/api/register/", &fields).await.status, 201);
    assert_eq!(app.post("/api/register/", &fields).await.status, 400);
    let reason = "451 not now".to_owned();
    app.mails.fail_next(1, Delivery::Deferred { reason });
    app.deliver().await;
    let ticket = app.mailed_token().await;
    assert_eq!(app.login(EMAIL, WRONG).await.status, 401);
    assert_eq!(app.login("nobody@example.com", WRONG).await.status, 401);
    let first = Tokens::of(&app.login(EMAIL, PASSWORD).await);
    let second = app.refresh(&first.refresh).await;
    let third = app.refresh(&second.refresh).await;
    assert_eq!(app.profile(&third.access).await.status, 200);
    assert_eq!(app.profile(&third.refresh).await.status, 401);
    assert_eq!(app.refreshing(&third.access).await.status, 401);
    // Theft is warned about.
    assert_eq!(app.refreshing(&first.refresh).await.status, 401);
    let link = format!("{CONFIRM}?token={ticket}");
    for target in [
        link.clone(),
        format!("{link}&extra=1"),
        // Links and tokens that were mangled on the way.
        format!("/api/verify-email/confirm/{ticket}"),
        format!("/{ticket}/"),
        format!("/api/profile/?access={}", third.access),
        format!("/api/{}/x", third.access),
        format!("/{}", third.refresh),
    ] {
        for method in ["GET", "HEAD", "POST", "DELETE"] {
            app.call(method, &target).await;
        }
    }
    app.press("disown", &ticket).await;
    app.press("confirm", &ticket).await;
    app.press("disown_confirmed", &ticket).await;
    // Bodies that cannot be read, of types that are not, and too slow ones.
    let text = format!("{{\"password\": \"{WRONG}\", \"email\": {PASSWORD}");
    for media_type in ["application/json", "text/plain", "application/x-www-form-urlencoded", ""] {
        for path in ["/api/login/", "/api/register/", "/api/token/refresh/", CONFIRM] {
            app.call("POST", path).body(media_type, text.clone()).await;
        }
    }
    app.call("POST", "/api/login/").bad_body(BodyProblem::Broken).await;
    // A client that puts things where they do not belong.
    let misplaced = app.get("/healthz").header("user-agent", third.refresh.as_bytes());
    misplaced.header("x-forwarded-for", third.access.as_bytes()).await;
    let named = app.get("/healthz").from("127.0.0.1").header("x-request-id", &third.access);
    assert_eq!(named.await.status, 200);
    // A disk that breaks, and parameters that change.
    app.disk.set_broken(true);
    app.login(EMAIL, PASSWORD).await;
    app.refreshing(&third.refresh).await;
    app.press("confirm", &ticket).await;
    app.disk.set_broken(false);
    let app = app.restart_with(|config| config.passwords.iterations = 2).await;
    let last = Tokens::of(&app.login(EMAIL, PASSWORD).await);
    let app = app.restart().await;

    for tokens in [&first, &second, &third, &last] {
        secrets.extend(with_signature(&tokens.access));
        secrets.extend(with_signature(&tokens.refresh));
    }
    secrets.push(ticket);
    secrets.push(link);
    let text = log.text();
    for told in
        ["method=POST path=\"/api/login\"", "superseded refresh token", "mail printed to the log"]
    {
        assert_eq!(
            forms_found(text.as_bytes(), told).first().map(String::as_str),
            Some("raw"),
            "{told}"
        );
    }
    assert_holds_none(text.as_bytes(), &secrets, "the log");
    assert_holds_none(&app.disk.image(), &secrets, "the database");
}

#[tokio::test]
async fn promise_6_nothing_leaks_into_a_debug() {
    let app = TestApp::start();
    let ticket = app.invited(EMAIL).await;
    let tokens = app.newcomer("bob@example.com").await;
    let client = Client::new([192, 0, 2, 1].into(), "tests");
    let email = Email::parse(EMAIL).unwrap();
    let secret = Secret::new(PASSWORD.to_owned());
    let shared = &app.app;
    let password = Secret::new(crate::support::PASSWORD.to_owned());
    let bob = Email::parse("bob@example.com").unwrap();
    let logged_in = login::log_in(shared, bob, password, Vec::new(), client.clone()).await.unwrap();
    let token = shared.keys.ticket().seal(Purpose::VerifyEmail, TicketId::from_bytes([7; 16]));
    let mut config: Config = shared.config.clone();
    config.mail.transport = MailTransport::Smtp(SmtpConfig {
        host: "mail.example.com".to_owned(),
        port: 25,
        security: SmtpSecurity::None,
        ca_file: None,
        login: Some(("latchkey".to_owned(), secret.clone())),
    });
    let mailer = Mailer::new(&config.mail, &shared.public_url).unwrap();
    let head = || {
        let target = format!("{CONFIRM}?token={ticket}");
        let (head, ()) = Request::post(target)
            .header(AUTHORIZATION, format!("Bearer {}", tokens.access))
            .header(CONTENT_TYPE, "application/json")
            .body(())
            .unwrap()
            .into_parts();
        head
    };
    let body = Bytes::from(json!({"password": PASSWORD, "refresh": tokens.refresh}).to_string());
    let peer = "192.0.2.1:5".parse().unwrap();
    let incoming = Incoming { head: head(), body: Ok(body.clone()), peer };
    let request = request::Request { head: head(), body: body.clone(), client };
    let link = MailLink {
        url: verify_link(&shared.public_url, &token),
        created_at: START,
        expires_at: START,
    };

    let shown = [
        ("App", format!("{shared:?}")),
        ("Router", format!("{:?}", app.router)),
        ("Mailer", format!("{mailer:?}")),
        ("Collector", format!("{:?}", app.mails)),
        ("SentMail", format!("{:?}", app.mails.sent())),
        ("MailLink", format!("{link:?}")),
        ("Config", format!("{config:?}")),
        ("Incoming", format!("{incoming:?}")),
        ("Request", format!("{request:?}")),
        ("Fields", format!("{:?}", input::read(&request.head.headers, &body))),
        ("LoggedIn", format!("{logged_in:?}")),
        (
            "Draft",
            format!(
                "{:?}",
                registration::Draft {
                    email: Some(email),
                    username: None,
                    password: Some(secret.clone()),
                    repeated: Some(secret),
                }
            ),
        ),
    ];
    let mut secrets = vec![
        PASSWORD.to_owned(),
        crate::support::PASSWORD.to_owned(),
        ticket.clone(),
        token.expose().clone(),
    ];
    for token in [
        &tokens.access,
        &tokens.refresh,
        logged_in.tokens.access.expose(),
        logged_in.tokens.refresh.expose(),
    ] {
        secrets.extend(with_signature(token));
    }
    for (what, text) in shown {
        assert!(!text.is_empty());
        for form in [text.clone(), text.replace("\\\\", "\\")] {
            assert_holds_none(form.as_bytes(), &secrets, what);
        }
    }
}
