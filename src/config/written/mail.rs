//! The keys of `[mail]`.

use std::net::{IpAddr, SocketAddr};

use lettre::message::Mailbox;

use super::{HOUR, days};
use crate::config::reader::Section;
use crate::config::urls::parse_host;
use crate::config::{MailConfig, MailTransport, SmtpConfig, SmtpSecurity};

/// The sender until there is another; no mail server sends for it.
const DEFAULT_FROM: &str = "Latchkey <latchkey@localhost>";

/// What the name of a mail server looks like.
const HOST: &str = "a host name or an IP address, without a port";

/// `exposed` is the address to listen on if others than this machine can reach it.
pub(super) fn mail(mut section: Section<'_>, exposed: Option<SocketAddr>) -> MailConfig {
    let name = section.choice("transport", "log", &["log", "smtp", "file"].map(|it| (it, it)));
    let takes = "one address with or without a name, such as \"Example <accounts@example.com>\"";
    let from = section.parsed("from", DEFAULT_FROM, takes, |text| {
        text.parse::<Mailbox>().is_ok().then(|| text.trim().to_owned())
    });
    let directory = section.optional_path("directory");
    let smtp = smtp(&mut section);
    let transport = match name {
        "smtp" => {
            if from == DEFAULT_FROM {
                let rule = "is required for transport \"smtp\" and must not be the default";
                section.problem("from", format_args!("{rule}: {takes}"));
            }
            if smtp.host.is_empty() {
                let message = format_args!("is required for transport \"smtp\": {HOST}");
                section.problem("smtp_host", message);
            }
            if smtp.security == SmtpSecurity::None && !is_local(&smtp.host) {
                section.warn(
                    "mail.smtp_security is \"none\": mailed links, and smtp_password if it is set, \
                     cross the network unencrypted",
                );
            }
            MailTransport::Smtp(smtp)
        }
        "file" => {
            if directory.is_none() {
                section.problem("directory", "is required for transport \"file\": a path");
            }
            MailTransport::File { directory: directory.unwrap_or_default() }
        }
        _ => {
            if let Some(address) = exposed {
                if !section.is_written("transport") {
                    section.problem(
                        "transport",
                        format_args!(
                            "is required, since {address} is not loopback: \"smtp\" with smtp_host \
                             and from, or \"log\" to print mails, links included, to the log"
                        ),
                    );
                }
                section.warn(
                    "mail.transport is \"log\": anyone who can read the log can use mailed links",
                );
            }
            MailTransport::Log
        }
    };
    MailConfig {
        transport,
        from,
        templates: section.optional_path("templates"),
        per_mailbox_per_day: section.limit("per_mailbox_per_day", 5, 1..=1000),
        keep_failed: section.duration("keep_failed", "7d", HOUR..=days(365)),
    }
}

/// The name that mail comes from, beside its address.
pub(super) fn sender_name(mail: &MailConfig) -> Option<String> {
    mail.from.parse::<Mailbox>().ok()?.name
}

fn smtp(section: &mut Section<'_>) -> SmtpConfig {
    let host = section.optional("smtp_host", HOST, parse_host);
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
