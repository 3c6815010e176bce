//! Mail from content to message, and what stops the start.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::*;
use crate::config::{LogConfig, LogFormat};
use crate::domain::Email;
use crate::logging;
use crate::secret::Secret;

const TOKEN: &str = "q8yJXx2ZVd_0-6WcR4tH1sNfLpKbGmEaUoIvTzYxWqA";
const QUEUED: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);

fn config(transport: MailTransport) -> MailConfig {
    MailConfig {
        transport,
        from: "Example Accounts <accounts@example.com>".to_owned(),
        templates: None,
        per_mailbox_per_day: None,
        keep_failed: Duration::from_secs(60),
    }
}

fn mail_to(address: &str) -> QueuedMail {
    QueuedMail {
        id: MailId(42),
        to: Email::parse(address).unwrap(),
        message_id: MessageId::from_bytes([0xab; 16]),
        queued_at: QUEUED,
        ..sample_mail()
    }
}

fn public_url() -> PublicUrl {
    PublicUrl::parse("https://accounts.example.com").unwrap()
}

fn link() -> MailLink {
    MailLink {
        url: verify_link(&public_url(), &Secret::new(TOKEN.to_owned())),
        created_at: QUEUED,
        expires_at: QUEUED.saturating_add(Duration::from_secs(60 * 60)),
    }
}

async fn collect(config: &MailConfig, address: &str) -> SentMail {
    collect_mail(config, &mail_to(address), Some(link())).await
}

/// Delivers a mail of `kind` to Ada, with a link if it has one.
async fn collect_kind(config: &MailConfig, kind: &MailKind) -> SentMail {
    let mail = QueuedMail { kind: kind.clone(), ..mail_to("ada@example.org") };
    collect_mail(config, &mail, kind.ticket().map(|_| link())).await
}

async fn collect_mail(config: &MailConfig, mail: &QueuedMail, link: Option<MailLink>) -> SentMail {
    let collector = Collector::new();
    let mailer = Mailer::collecting(config, &public_url(), collector.clone()).unwrap();
    assert_eq!(mailer.deliver(mail, link.as_ref()).await, Delivery::Sent);
    collector.wait_for(1).await.remove(0)
}

/// One of every mail but the first, with what its subject says.
fn kinds() -> [(MailKind, &'static str); 7] {
    let ticket = TicketId::from_bytes([0; 16]);
    let new_email = Email::parse("o'hara&co@example.net").unwrap();
    [
        (MailKind::ResetPassword { ticket }, "Choose a new password for accounts.example.com"),
        (
            MailKind::ChangeEmail { ticket },
            "Confirm your new email address for accounts.example.com",
        ),
        (
            MailKind::EmailChangeRequested { ticket, new_email: new_email.clone() },
            "Your email address at accounts.example.com is about to change",
        ),
        (
            MailKind::EmailChanged { new_email },
            "Your email address at accounts.example.com was changed",
        ),
        (MailKind::PasswordReset, "Your password for accounts.example.com was reset"),
        (MailKind::PasswordChanged, "Your password for accounts.example.com was changed"),
        (MailKind::AccountDeleted, "Your account at accounts.example.com was deleted"),
    ]
}

fn with_templates(files: &[(&str, &str)]) -> (tempfile::TempDir, MailConfig) {
    let directory = tempfile::tempdir().unwrap();
    for (file, source) in files {
        std::fs::write(directory.path().join(file), source).unwrap();
    }
    let templates = Some(directory.path().to_owned());
    (directory, MailConfig { templates, ..config(MailTransport::Log) })
}

#[tokio::test]
async fn the_message_is_what_the_mail_says() {
    let sent = collect(&config(MailTransport::Log), "ada@example.org").await;
    let (headers, body) = sent.raw.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        headers.replace("\r\n", "\n"),
        "From: \"Example Accounts\" <accounts@example.com>\n\
         To: ada@example.org\n\
         Subject: Confirm your email address for accounts.example.com\n\
         Date: Fri, 06 Dec 2024 10:00:00 +0000\n\
         Message-ID: <abababababababababababababababab@accounts.example.com>\n\
         Auto-Submitted: auto-generated\n\
         X-Auto-Response-Suppress: All\n\
         MIME-Version: 1.0\n\
         Content-Type: multipart/alternative;\n \
         boundary=\"=_abababababababababababababababab\""
    );
    let parts: Vec<&str> = body.split("--=_abababababababababababababababab").collect();
    let [before, text, html, after] = parts[..] else { panic!("{body}") };
    assert_eq!((before, after), ("", "--\r\n"));
    for (part, content_type) in [(text, "text/plain"), (html, "text/html")] {
        let (headers, _) = part.split_once("\r\n\r\n").unwrap();
        assert!(headers.contains(&format!("Content-Type: {content_type}; charset=utf-8")));
    }
    assert!(text.contains(&sent.text.replace('\n', "\r\n")));
    assert!(html.contains(&sent.html.replace('\n', "\r\n")));
    assert!(sent.raw.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
    assert_eq!(sent.link.as_deref(), Some(link().url.expose().as_str()));
    assert!(headers.contains(&sent.message_id));
}

#[tokio::test]
async fn the_text_part_reads_well() {
    let sent = collect(&config(MailTransport::Log), "ada@example.org").await;
    assert_eq!(
        sent.text,
        "Hello,\n\n\
         On 6 December 2024, 10:00 UTC, an account was created at\n\
         accounts.example.com with this email address:\n\n    \
         ada@example.org\n\n\
         To confirm that the address is yours, open this link:\n\n\
         https://accounts.example.com/api/verify-email/confirm/?token=q8yJXx2ZVd_0-6WcR4tH1sNfLpKbGmEaUoIvTzYxWqA\n\n\
         It works for 1 hour, until 6 December 2024, 11:00 UTC.\n\n\
         If you did not create this account, you can ignore this mail. The\n\
         address then stays unconfirmed.\n"
    );
}

#[tokio::test]
async fn the_html_part_escapes_the_address_and_keeps_the_link_whole() {
    let sent = collect(&config(MailTransport::Log), "a&b'c@example.org").await;
    assert!(sent.html.starts_with("<!DOCTYPE html>"), "{}", sent.html);
    assert!(sent.html.contains("a&amp;b&#x27;c@example.org"), "{}", sent.html);
    assert!(!sent.html.contains("a&b"));
    let href = format!("href=\"{}\"", sent.link.unwrap());
    assert_eq!(sent.html.matches(&href).count(), 2);
    assert!(sent.html.contains("1 hour, until 6 December 2024, 11:00 UTC"));
    assert!(sent.text.contains("    a&b'c@example.org\n"));
}

#[tokio::test]
async fn both_parts_of_every_mail_say_whose_account_where_and_when() {
    for (kind, subject) in kinds() {
        let config = config(MailTransport::Log);
        let sent = collect_kind(&config, &kind).await;
        let purpose = kind.purpose();
        assert_eq!(sent.subject, subject, "{purpose}");
        for part in [&sent.text, &sent.html] {
            for fact in ["ada@example.org", "accounts.example.com", "6 December 2024, 10:00 UTC"] {
                assert!(part.contains(fact), "{purpose} without {fact}: {part}");
            }
            assert!(!part.contains("{{") && !part.contains("{%"), "{purpose}: {part}");
        }
        assert!(sent.text.starts_with("Hello,\n\n"), "{purpose}");
        assert!(sent.text.lines().all(|line| line.len() <= 110), "{purpose}");
        let title = sent.html.split_once("<title>").unwrap().1.split_once("</title>").unwrap().0;
        assert!(sent.html.contains(&format!(">{title}</h1>")), "{purpose}");
    }
}

#[tokio::test]
async fn a_mail_carries_its_link_and_a_notice_none() {
    for (kind, _) in kinds() {
        let config = config(MailTransport::Log);
        let sent = collect_kind(&config, &kind).await;
        let purpose = kind.purpose();
        match &sent.link {
            Some(link) => {
                assert!(sent.text.contains(&format!("\n{link}\n")), "{purpose}");
                assert_eq!(sent.html.matches(&format!("href=\"{link}\"")).count(), 2, "{purpose}");
                for part in [&sent.text, &sent.html] {
                    assert!(part.contains("It works for 1 hour, until 6 December 2024, 11:00 UTC"));
                }
            }
            None => {
                let is_notice = matches!(
                    kind,
                    MailKind::EmailChanged { .. }
                        | MailKind::PasswordReset
                        | MailKind::PasswordChanged
                        | MailKind::AccountDeleted
                );
                assert!(is_notice, "{purpose}");
                assert!(!sent.html.contains("href"), "{purpose}");
                assert!(!sent.html.contains("It works for"), "{purpose}");
            }
        }
    }
}

#[tokio::test]
async fn the_old_address_is_told_the_new_one_and_the_new_one_nothing_of_the_old() {
    let config = config(MailTransport::Log);
    for (kind, _) in kinds() {
        let is_told =
            matches!(kind, MailKind::EmailChangeRequested { .. } | MailKind::EmailChanged { .. });
        let sent = collect_kind(&config, &kind).await;
        assert_eq!(sent.text.contains("\n    o'hara&co@example.net\n"), is_told);
        assert_eq!(sent.html.contains("o&#x27;hara&amp;co@example.net"), is_told);
    }
}

#[tokio::test]
async fn a_layout_replaces_the_frame_of_every_mail_in_html() {
    let (_directory, config) =
        with_templates(&[("layout.html", "<b>Ours</b>{% block content %}{% endblock %}")]);
    for (kind, _) in kinds() {
        let sent = collect_kind(&config, &kind).await;
        assert!(sent.html.starts_with("<b>Ours</b><p"), "{}", sent.html);
        assert!(sent.html.contains("ada@example.org"), "{}", sent.html);
        assert!(!sent.html.contains("<style"), "{}", sent.html);
    }
}

#[tokio::test]
async fn every_address_that_can_register_can_be_written_to() {
    let label = "b".repeat(63);
    let longest = format!("{}@{label}.{label}.{}.example", "l".repeat(64), "c".repeat(50));
    let longest_local_part = format!("{}@x.org", "l".repeat(248));
    for (address, on_the_wire) in [
        ("a@localhost", "a@localhost"),
        ("a@1.2.3.44", "a@1.2.3.44"),
        ("a@example.123", "a@example.123"),
        ("!#$%&'*+/=?^_`{|}~-@example.com", "!#$%&'*+/=?^_`{|}~-@example.com"),
        ("Foo@Bücher.Example", "Foo@xn--bcher-kva.example"),
        (&longest, &longest),
        (&longest_local_part, &longest_local_part),
    ] {
        let sent = collect(&config(MailTransport::Log), address).await;
        assert_eq!(sent.to, on_the_wire);
        assert!(sent.raw.is_ascii(), "{address}");
        let to = format!("To: {on_the_wire}\r\n");
        assert!(
            sent.raw.replace("\r\n ", " ").replace("To:  ", "To: ").contains(&to),
            "{}",
            sent.raw
        );
    }
}

#[tokio::test]
async fn the_same_mail_is_the_same_to_the_byte() {
    let config = config(MailTransport::Log);
    let first = collect(&config, "ada@example.org").await;
    let second = collect(&config, "ada@example.org").await;
    assert_eq!(first.raw, second.raw);
}

#[tokio::test]
async fn an_address_as_public_url_leaves_the_message_id_to_the_senders_domain() {
    let sent = {
        let collector = Collector::new();
        let url = PublicUrl::parse("http://127.0.0.1:8000").unwrap();
        let mailer = Mailer::collecting(&config(MailTransport::Log), &url, collector.clone());
        let outcome = mailer.unwrap().deliver(&mail_to("a@b.org"), Some(&link())).await;
        assert_eq!(outcome, Delivery::Sent);
        collector.wait_for(1).await.remove(0)
    };
    assert_eq!(sent.message_id, "<abababababababababababababababab@example.com>");
    assert!(sent.subject.ends_with("for 127.0.0.1:8000"));
}

#[tokio::test]
async fn a_date_past_the_end_of_the_calendar_is_the_last_one() {
    let mailer =
        Mailer::collecting(&config(MailTransport::Log), &public_url(), Collector::new()).unwrap();
    let mail =
        QueuedMail { queued_at: Timestamp::from_micros(u64::MAX), ..mail_to("ada@example.org") };
    assert_eq!(mailer.deliver(&mail, Some(&link())).await, Delivery::Sent);
}

#[test]
fn a_sender_that_is_none_stops_the_start() {
    for from in
        ["", "accounts", "a@b@c", "A <a@b.org>\r\nBcc: x@y.org", "Ä <ä@b.org>", "a@b.org, c@d.org"]
    {
        let config = MailConfig { from: from.to_owned(), ..config(MailTransport::Log) };
        let error = Mailer::new(&config, &public_url()).unwrap_err().to_string();
        assert!(error.starts_with("[mail] from = "), "{error}");
        assert!(!error.contains(['\r', '\n']), "{error}");
    }
}

#[tokio::test]
async fn a_sender_may_have_a_name_in_any_script_and_quotes() {
    for (from, header) in [
        (
            "Schlüssel <a@Bücher.example>",
            "From: =?utf-8?b?U2NobMO8c3NlbA==?= <a@xn--bcher-kva.example>\r\n",
        ),
        ("\"Key, Inc.\" <a@b.example>", "From: =?utf-8?b?S2V5LCBJbmMu?= <a@b.example>\r\n"),
        ("a@b.example", "From: a@b.example\r\n"),
    ] {
        let config = MailConfig { from: from.to_owned(), ..config(MailTransport::Log) };
        let sent = collect(&config, "ada@example.org").await;
        assert!(sent.raw.starts_with(header), "{}", sent.raw);
    }
}

#[tokio::test]
async fn a_template_replaces_the_built_in_one_and_no_other() {
    let (_directory, config) = with_templates(&[
        ("verify_email.subject.txt", "Grüße von {{ site }} \u{1b}[1m\n"),
        ("verify_email.txt", "Öffne\r\n{{ link }}"),
        ("README.md", "{{ not a template"),
    ]);
    let sent = collect(&config, "ada@example.org").await;
    assert_eq!(sent.subject, "Grüße von accounts.example.com [1m");
    assert!(sent.raw.contains("Subject: =?utf-8?b?"), "{}", sent.raw);
    assert!(sent.text.starts_with("Öffne\r\nhttps://"));
    assert!(sent.raw.is_ascii());
    assert!(sent.html.contains("Confirm email address"));
}

#[test]
fn a_broken_template_names_file_and_line() {
    for (file, source, expected) in [
        ("verify_email.txt", "{{ to }}\n{{ lnik }}\n", "verify_email.txt, line 2: undefined value"),
        ("verify_email.html", "<p>\n\n{% if %}\n", "verify_email.html, line 3: syntax error"),
        ("verify_email.html", "\n{{ link|shout }}", "verify_email.html, line 2: unknown filter"),
        (
            "verify_email.subject.txt",
            "a\nBcc: b@c.org\n",
            "verify_email.subject.txt: a subject is one line",
        ),
        (
            "verify_email.subject.txt",
            "{# nothing #}\n",
            "verify_email.subject.txt: a subject is one line",
        ),
    ] {
        let (directory, config) = with_templates(&[(file, source)]);
        let error = Mailer::new(&config, &public_url()).unwrap_err().to_string();
        let expected = format!("mail template {}/{expected}", directory.path().display());
        assert!(error.starts_with(&expected), "{error}");
    }
    let (_directory, config) = with_templates(&[("verify_email.txt", "{{ lnik }}")]);
    assert!(Mailer::new(&config, &public_url()).unwrap_err().to_string().contains("lnik"));
}

#[test]
fn templates_that_cannot_be_read_stop_the_start() {
    let (directory, mut config) = with_templates(&[]);
    std::fs::write(directory.path().join("verify_email.txt"), [0xff, 0xfe]).unwrap();
    let error = Mailer::new(&config, &public_url()).unwrap_err().to_string();
    assert!(error.contains("verify_email.txt"), "{error}");
    config.templates = Some(directory.path().join("nowhere"));
    let error = Mailer::new(&config, &public_url()).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}

#[tokio::test]
async fn a_template_that_fails_on_real_data_defers_and_tells_no_value() {
    let source = "{% if to == 'ada@example.com' %}fine{% else %}{{ link.nothing.more }}{% endif %}";
    let (_directory, config) = with_templates(&[("verify_email.txt", source)]);
    let collector = Collector::new();
    let mailer = Mailer::collecting(&config, &public_url(), collector.clone()).unwrap();
    let outcome = mailer.deliver(&mail_to("bob@example.com"), Some(&link())).await;
    let Delivery::Deferred { reason } = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("verify_email.txt, line 1"), "{reason}");
    assert!(!reason.contains(TOKEN), "{reason}");
    assert_eq!(collector.attempts(), 0);
}

#[test]
fn a_directory_of_another_user_stops_the_start_with_the_command_that_mends_it() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("mails");
    std::fs::create_dir(&directory).unwrap();
    // Only root can give a directory away; for everyone else root's will do.
    let is_given_away = std::os::unix::fs::chown(&directory, Some(12_345), None).is_ok();
    let (directory, owner) =
        if is_given_away { (directory, 12_345) } else { (std::path::PathBuf::from("/"), 0) };
    let transport = MailTransport::File { directory: directory.clone() };
    let message = Mailer::new(&config(transport), &public_url()).unwrap_err().to_string();
    let path = directory.display();
    assert!(message.contains(&format!("{path} belongs to user {owner}, ")), "{message}");
    let us = rustix::process::geteuid().as_raw();
    assert!(message.ends_with(&format!("run: chown -R {us} {path}")), "{message}");
}

#[tokio::test]
async fn a_file_is_the_servers_alone_and_a_redelivery_replaces_it() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("var/mails");
    let mailer =
        Mailer::new(&config(MailTransport::File { directory: directory.clone() }), &public_url())
            .unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let mail = mail_to("ada@example.org");
    let path = directory.join("1733479200-0000000042-abababababababababababababababab.eml");
    // What a crash in the middle of a write leaves behind, readable by all at that.
    let left_over = directory.join(format!(".new-{}", path.file_name().unwrap().display()));
    std::fs::write(left_over, "half a mail").unwrap();
    for _ in 0..2 {
        assert_eq!(mailer.deliver(&mail, Some(&link())).await, Delivery::Sent);
        let files: Vec<_> =
            std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files, std::slice::from_ref(&path));
        assert_eq!(mode(&path), 0o600);
    }
    let expected = collect(&config(MailTransport::Log), "ada@example.org").await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected.raw);
}

#[tokio::test]
async fn a_directory_that_went_away_is_made_again_and_one_that_cannot_be_defers() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("mails");
    let transport = MailTransport::File { directory: directory.clone() };
    let mailer = Mailer::new(&config(transport.clone()), &public_url()).unwrap();
    std::fs::remove_dir(&directory).unwrap();
    let mail = mail_to("ada@example.org");
    assert_eq!(mailer.deliver(&mail, Some(&link())).await, Delivery::Sent);
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, "in the way").unwrap();
    let outcome = mailer.deliver(&mail, Some(&link())).await;
    assert!(matches!(outcome, Delivery::Deferred { .. }), "{outcome:?}");
    let error = Mailer::new(&config(transport), &public_url()).unwrap_err();
    assert!(matches!(error, MailSetupError::Directory(_)), "{error}");
}

#[tokio::test]
async fn the_log_transport_writes_one_line_with_the_link() {
    let lines = Arc::new(Mutex::new(String::new()));
    let keeping = Arc::clone(&lines);
    let log = LogConfig { format: LogFormat::Text, level: LevelFilter::ERROR };
    let log = logging::dispatch(&log, move |_, line| keeping.lock().unwrap().push_str(line));
    let _guard = tracing::dispatcher::set_default(&log);
    let mailer = Mailer::new(&config(MailTransport::Log), &public_url()).unwrap();
    let outcome = mailer.deliver(&mail_to("ada@example.org"), Some(&link())).await;
    assert_eq!(outcome, Delivery::Sent);
    let log = lines.lock().unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
    for part in ["INFO", "verify_email", "ada@example.org", TOKEN] {
        assert!(log.contains(part), "{log}");
    }
}

#[tokio::test]
async fn the_collector_fails_as_ordered_and_wakes_who_waits() {
    let collector = Collector::new();
    let mailer =
        Mailer::collecting(&config(MailTransport::Log), &public_url(), collector.clone()).unwrap();
    let deferred = Delivery::Deferred { reason: "ordered".to_owned() };
    collector.fail_next(2, deferred.clone());
    let waiting = tokio::spawn({
        let collector = collector.clone();
        async move { collector.wait_for(1).await.len() }
    });
    let mail = mail_to("ada@example.org");
    assert_eq!(mailer.deliver(&mail, Some(&link())).await, deferred);
    assert_eq!(mailer.deliver(&mail, Some(&link())).await, deferred);
    collector.wait_for_attempts(2).await;
    assert!(collector.sent().is_empty());
    assert_eq!(mailer.deliver(&mail, Some(&link())).await, Delivery::Sent);
    assert_eq!(waiting.await.unwrap(), 1);
    assert!(!format!("{:?} {collector:?}", collector.sent()).contains(TOKEN));
}
