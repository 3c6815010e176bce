//! What is said to mail servers of every temper, and what comes of their answers.

mod server;

use std::sync::Arc;

use tokio::net::TcpListener;

use super::*;
use crate::mail::compose::Sender;
use crate::mail::templates::Templates;
use crate::mail::{MailLink, sample_mail};
use server::{Rules, Server};

const PASSWORD: &str = "correct horse battery";

fn public_url() -> PublicUrl {
    PublicUrl::parse("https://accounts.example.com").unwrap()
}

fn smtp(config: &SmtpConfig) -> Smtp {
    Smtp::new(config, &public_url()).unwrap()
}

fn message() -> Composed {
    let mail = sample_mail();
    let link = MailLink::sample(&public_url());
    let templates = Templates::load(None).unwrap();
    let rendered = templates.render(&mail, Some(&link), &public_url()).unwrap();
    Sender::new("accounts@example.com", &public_url()).unwrap().compose(&mail, &rendered).unwrap()
}

async fn outcome_of(rules: Rules) -> Delivery {
    let server = Server::start(rules).await;
    smtp(&server.config()).deliver(&message()).await
}

fn deferred(outcome: Delivery) -> String {
    match outcome {
        Delivery::Deferred { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn failed(outcome: Delivery) -> String {
    match outcome {
        Delivery::Failed { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_greets_as_a_literal() {
    for (url, hello) in [
        ("https://bücher.example/auth", "xn--bcher-kva.example"),
        ("http://127.0.0.1:8000", "[127.0.0.1]"),
        ("http://[::1]:8000", "[IPv6:::1]"),
        ("http://my_service:8000", "[127.0.0.1]"),
    ] {
        assert_eq!(hello_name(&PublicUrl::parse(url).unwrap()).to_string(), hello, "{url}");
    }
}

#[tokio::test]
async fn a_mail_is_handed_over_under_the_public_name() {
    let server = Server::start(&[]).await;
    let smtp = smtp(&server.config());
    assert_eq!(smtp.deliver(&message()).await, Delivery::Sent);
    let heard = server.heard.lock().unwrap().clone();
    assert_eq!(
        heard,
        [
            "(connected)",
            "EHLO accounts.example.com",
            "MAIL FROM:<accounts@example.com>",
            "RCPT TO:<ada@example.com>",
            "DATA",
            "."
        ]
    );
}

#[tokio::test]
async fn a_batch_shares_one_connection_until_it_rests() {
    let server = Server::start(&[]).await;
    let smtp = smtp(&server.config());
    assert_eq!(smtp.deliver(&message()).await, Delivery::Sent);
    assert_eq!(smtp.deliver(&message()).await, Delivery::Sent);
    smtp.rest().await;
    assert_eq!(smtp.deliver(&message()).await, Delivery::Sent);
    let commands = server.commands();
    let connections = commands.iter().filter(|command| *command == "(connected)").count();
    assert_eq!(connections, 2, "{commands:?}");
    assert_eq!(commands[6..11], ["NOOP", "MAIL", "RCPT", "DATA", "."]);
    assert_eq!(commands[11], "QUIT");
}

/// Regression: what became of a mail was told only after a goodbye that nobody answered, and
/// a stop in between sent the mail again.
#[tokio::test]
async fn the_outcome_is_not_held_up_by_a_goodbye() {
    let soon = Duration::from_secs(10);
    let server = Server::start(&[("(side by side)", ""), ("QUIT", "")]).await;
    let mut smtp = smtp(&server.config());
    smtp.patience.courtesy = Duration::MAX;
    // Two at one time make two connections, of which one is kept.
    let (one, another) = (message(), message());
    let both = async { tokio::join!(smtp.deliver(&one), smtp.deliver(&another)) };
    let outcomes = tokio::time::timeout(soon, both).await;
    assert_eq!(outcomes, Ok((Delivery::Sent, Delivery::Sent)));
    let goodbye = async {
        while !server.commands().contains(&"QUIT".to_owned()) {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(soon, goodbye).await.is_ok(), "{:?}", server.commands());
    for refusing in [("RCPT", "550 no"), ("AUTH", "535 no")] {
        let server = Server::start(Box::leak(Box::new([refusing, ("QUIT", "")]))).await;
        let mut smtp = self::smtp(&server.config_with_login());
        smtp.patience.courtesy = Duration::MAX;
        let outcome = tokio::time::timeout(soon, smtp.deliver(&one)).await;
        assert!(outcome.is_ok_and(|outcome| outcome != Delivery::Sent));
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_server_ended_is_replaced() {
    let server = Server::start(&[("NOOP", "421 4.4.2 idle for too long")]).await;
    let smtp = smtp(&server.config());
    assert_eq!(smtp.deliver(&message()).await, Delivery::Sent);
    assert_eq!(smtp.deliver(&message()).await, Delivery::Sent);
}

#[tokio::test]
async fn a_4xx_waits_and_a_5xx_about_the_mail_is_final() {
    let reason = deferred(outcome_of(&[("RCPT", "451 4.7.1 greylisted")]).await);
    assert_eq!(reason, "RCPT TO: 451 4.7.1 greylisted");
    let reason = failed(outcome_of(&[("RCPT", "550 5.1.1 no such user\t<b>")]).await);
    assert_eq!(reason, "RCPT TO: 550 5.1.1 no such user <b>");
    failed(outcome_of(&[("DATA", "554 5.5.1 no valid recipients")]).await);
    failed(outcome_of(&[(".", "550 5.7.1 refused")]).await);
    deferred(outcome_of(&[(".", "452 4.3.1 full")]).await);
}

#[tokio::test]
async fn a_5xx_about_the_server_or_the_configuration_waits() {
    deferred(outcome_of(&[("(greeting)", "554 5.3.2 no service")]).await);
    deferred(outcome_of(&[("EHLO", "550 5.7.1 not you")]).await);
    let reason = deferred(outcome_of(&[("MAIL", "550 5.7.1 sender not yours")]).await);
    assert_eq!(reason, "MAIL FROM: 550 5.7.1 sender not yours");
    deferred(outcome_of(&[("RCPT", "530 5.7.0 authentication required")]).await);
}

#[tokio::test]
async fn a_refused_login_waits_and_does_not_repeat_the_password() {
    // What AUTH PLAIN sends for this name and password.
    let echo = "535 5.7.8 bad: AHBvc3RtYXN0ZXIAY29ycmVjdCBob3JzZSBiYXR0ZXJ5";
    let server = Server::start(Box::leak(Box::new([("AUTH", echo)]))).await;
    let reason = deferred(smtp(&server.config_with_login()).deliver(&message()).await);
    assert_eq!(reason, "logging in to the mail server: 535 5.7.8");
    assert!(!server.commands().contains(&"MAIL".to_owned()));
    let heard = server.heard.lock().unwrap().clone();
    assert_eq!(heard[2], format!("AUTH PLAIN {}", &echo[15..]), "the test echoes the secret");
}

#[tokio::test]
async fn what_a_filter_says_about_the_message_is_not_repeated() {
    let echo = "554 spam: https://accounts.example.com/api/verify-email/confirm/?token=AAAA";
    let server = Server::start(Box::leak(Box::new([(".", echo)]))).await;
    assert_eq!(failed(smtp(&server.config()).deliver(&message()).await), "the message: 554");
}

#[tokio::test]
async fn nobody_there_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { address: listener.local_addr().unwrap(), heard: Arc::default() };
    drop(listener);
    let reason = deferred(smtp(&server.config()).deliver(&message()).await);
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn silence_waits() {
    let server = Server::start(&[(".", "")]).await;
    let mut slow = smtp(&server.config());
    slow.patience.message = Duration::from_millis(1);
    let reason = deferred(slow.deliver(&message()).await);
    assert_eq!(reason, "the message: no answer within 1ms");
    let server = Server::start(&[("(greeting)", "")]).await;
    let mut slow = smtp(&server.config());
    slow.patience.session = Duration::from_millis(1);
    let reason = deferred(slow.deliver(&message()).await);
    assert_eq!(reason, "connecting to the mail server: no answer within 1ms");
}

#[tokio::test]
async fn an_end_or_nonsense_in_the_middle_waits_and_is_not_quoted() {
    let reason = deferred(outcome_of(&[("(greeting)", "nonsense")]).await);
    assert_eq!(reason, "connecting to the mail server: an answer that is not SMTP");
    let reason = deferred(outcome_of(&[("RCPT", "421 4.3.2 going down")]).await);
    assert_eq!(reason, "RCPT TO: 421 4.3.2 going down");
    let reason = deferred(outcome_of(&[("MAIL", "421"), ("(greeting)", "220 a")]).await);
    assert!(reason.starts_with("MAIL FROM: "), "{reason}");
}

#[tokio::test]
async fn starttls_is_never_done_without() {
    let server = Server::start(&[]).await;
    let config = SmtpConfig { security: SmtpSecurity::StartTls, ..server.config_with_login() };
    let reason = deferred(smtp(&config).deliver(&message()).await);
    assert_eq!(reason, "STARTTLS: STARTTLS is not supported on this server");
    let commands = server.commands();
    assert!(!commands.iter().any(|command| command == "AUTH" || command == "MAIL"));
}

#[tokio::test]
async fn a_handshake_that_fails_waits() {
    let refusing = Server::start(&[("EHLO", "250 STARTTLS"), ("STARTTLS", "502 no")]).await;
    let config = SmtpConfig { security: SmtpSecurity::StartTls, ..refusing.config() };
    assert_eq!(deferred(smtp(&config).deliver(&message()).await), "STARTTLS: 502 no");
    // It answers the handshake in plain text.
    let plain = Server::start(&[("EHLO", "250 STARTTLS"), ("STARTTLS", "220 go\r\n220 x")]).await;
    let config = SmtpConfig { security: SmtpSecurity::StartTls, ..plain.config() };
    deferred(smtp(&config).deliver(&message()).await);
    let config = SmtpConfig { security: SmtpSecurity::Tls, ..plain.config() };
    let reason = deferred(smtp(&config).deliver(&message()).await);
    assert!(reason.starts_with("connecting to the mail server: "), "{reason}");
    assert!(!plain.commands().contains(&"MAIL".to_owned()));
}

#[test]
fn certificates_that_are_none_stop_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let config = SmtpConfig {
        host: "mail.example.com".to_owned(),
        port: 587,
        security: SmtpSecurity::StartTls,
        ca_file: Some(path.clone()),
        login: None,
    };
    let error = || Smtp::new(&config, &public_url()).unwrap_err().to_string();
    assert!(error().starts_with(&format!("cannot read {}: ", path.display())));
    let begin = "-----BEGIN CERTIFICATE-----";
    let end = "-----END CERTIFICATE-----";
    for text in ["", "none", begin, &format!("{begin}\nAAAA\n{end}\n")] {
        std::fs::write(&path, text).unwrap();
        let expected = format!("[mail] smtp_ca_file {}: ", path.display());
        assert!(error().starts_with(&expected), "{}", error());
    }
}

#[tokio::test]
async fn debug_shows_no_password() {
    let server = Server::start(&[]).await;
    let debug = format!("{:?}", smtp(&server.config_with_login()));
    assert!(debug.contains("postmaster") && !debug.contains(PASSWORD), "{debug}");
}
