//! The keys of `[mail]`.

use std::net::{IpAddr, SocketAddr};

use lettre::message::Mailbox;

use super::{HOUR, days};
use crate::config::reader::Section;
use crate::config::urls::parse_host;
use crate::config::{MailConfig, MailTransport, SmtpConfig, SmtpSecurity};

/// The sender until there is another; no mail server sends for it.
const DEFAULT_FROM: &str = "Latchkey <latchkey@localhost>";

/// `exposed` is the address to listen on if others than this machine can reach it.
pub(super) fn mail(mut section: Section<'_>, exposed: Option<SocketAddr>) -> MailConfig {
    let name = section.choice("transport", "log", &["log", "smtp", "file"].map(|it| (it, it)));
    let takes = "one address with or without a name, such as \"Example <accounts@example.com>\"";
    let from = section.parsed("from", DEFAULT_FROM, takes, |text| {
        text.parse::<Mailbox>().is_ok().then(|| text.trim().to_owned())
    });
    let directory = section.optional_path("directory");
    let smtp = smtp(&mut section, name == "smtp");
    match name {
        "log" if !section.is_written("transport") => {
            if let Some(address) = exposed {
                section.problem(
                    "transport",
                    format_args!(
                        "is required, since {address} is not loopback: \"smtp\" with smtp_host and \
                         from, or \"log\" to print mails, links included, to the log"
                    ),
                );
            }
        }
        "smtp" if from == DEFAULT_FROM => section.problem(
            "from",
            format_args!("is required for transport \"smtp\" and must not be the default: {takes}"),
        ),
        "file" if directory.is_none() => {
            section.problem("directory", "is required for transport \"file\": a path");
        }
        _ => {}
    }
    let config = MailConfig {
        transport: match name {
            "smtp" => MailTransport::Smtp(smtp),
            "file" => MailTransport::File { directory: directory.unwrap_or_default() },
            _ => MailTransport::Log,
        },
        from,
        templates: section.optional_path("templates"),
        per_mailbox_per_day: section.limit("per_mailbox_per_day", 5, 1..=1000),
        keep_failed: section.duration("keep_failed", "7d", HOUR..=days(365)),
    };
    match &config.transport {
        MailTransport::Log if exposed.is_some() => {
            section.warn(
                "mail.transport is \"log\": anyone who can read the log can use mailed links",
            );
        }
        MailTransport::Smtp(smtp)
            if smtp.security == SmtpSecurity::None && !is_local(&smtp.host) =>
        {
            section.warn(
                "mail.smtp_security is \"none\": mailed links, and smtp_password if it is set, \
                 cross the network unencrypted",
            );
        }
        _ => {}
    }
    config
}

/// The name that mail comes from, beside its address.
pub(super) fn sender_name(mail: &MailConfig) -> Option<String> {
    mail.from.parse::<Mailbox>().ok()?.name
}

fn smtp(section: &mut Section<'_>, is_used: bool) -> SmtpConfig {
    let takes = "a host name or an IP address, without a port";
    let host = section.optional("smtp_host", takes, parse_host);
    if is_used && host.is_none() {
        section.problem("smtp_host", format_args!("is required for transport \"smtp\": {takes}"));
    }
    let port =
        section.integer_or_zero("smtp_port", 0, 1..=65_535, "the usual one of smtp_security");
    let securities = [
        ("starttls", (SmtpSecurity::StartTls, 587)),
        ("tls", (SmtpSecurity::Tls, 465)),
        ("none", (SmtpSecurity::None, 25)),
    ];
    let (security, usual_port) = section.choice("smtp_security", "starttls", &securities);
    let ca_file = section.optional_path("smtp_ca_file");
    let username = section.optional_text("smtp_username");
    let password = section.secret("smtp_password");
    match (&username, &password) {
        (Some(_), None) => {
            section.problem("smtp_password", "must be set together with smtp_username");
        }
        (None, Some(_)) => {
            section.problem("smtp_username", "must be set together with smtp_password");
        }
        _ => {}
    }
    SmtpConfig {
        host: host.unwrap_or_default(),
        port: port.unwrap_or(usual_port),
        security,
        ca_file,
        login: username.zip(password),
    }
}

fn is_local(host: &str) -> bool {
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    host == "localhost" || host.parse().is_ok_and(is_loopback)
}
