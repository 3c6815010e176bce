//! The keys of `[mail]`.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use lettre::message::Mailbox;

use super::{HOUR, days};
use crate::config::reader::{Reader, Section};
use crate::config::urls::parse_host;
use crate::config::{MailConfig, MailTransport, SmtpConfig, SmtpSecurity};

/// The sender until there is another; no mail server sends for it.
const DEFAULT_FROM: &str = "Latchkey <latchkey@localhost>";

#[derive(Clone, Copy, PartialEq, Eq)]
enum TransportName {
    Log,
    File,
    Smtp,
}

/// `exposed` is the address to listen on if others than this machine can reach it.
pub(super) fn mail(reader: &mut Reader, exposed: Option<SocketAddr>) -> Option<MailConfig> {
    let mut section = reader.section("mail");
    let transports =
        [("log", TransportName::Log), ("smtp", TransportName::Smtp), ("file", TransportName::File)];
    let transport = section.choice("transport", "log", &transports);
    let takes = "one address with or without a name, such as \"Example <accounts@example.com>\"";
    let from = section.parsed("from", DEFAULT_FROM, takes, |text| {
        text.parse::<Mailbox>().is_ok().then(|| text.trim().to_owned())
    });
    let directory = section.optional_path("directory");
    let smtp = smtp(&mut section, transport == Some(TransportName::Smtp));
    let templates = section.optional_path("templates");
    let per_mailbox_per_day = section.count_or_zero("per_mailbox_per_day", 5, 1..=1000, "no limit");
    let keep_failed = section.duration("keep_failed", "7d", HOUR..=days(365));

    if let Some(address) = exposed
        && transport == Some(TransportName::Log)
        && !section.is_written("transport")
    {
        section.problem(
            "transport",
            format_args!(
                "is required, since {address} is not loopback: \"smtp\" with smtp_host and from, \
                 or \"log\" to print mails, links included, to the log"
            ),
        );
    }
    if transport == Some(TransportName::Smtp) && from.as_deref() == Some(DEFAULT_FROM) {
        section.problem(
            "from",
            format_args!("is required for transport \"smtp\" and must not be the default: {takes}"),
        );
    }
    if transport == Some(TransportName::File) && directory == Some(None) {
        section.problem("directory", "is required for transport \"file\": a path");
    }

    let transport = match transport? {
        TransportName::Log => MailTransport::Log,
        TransportName::File => MailTransport::File { directory: directory?? },
        TransportName::Smtp => MailTransport::Smtp(smtp?),
    };
    match &transport {
        MailTransport::Log if exposed.is_some() => {
            reader.warn(
                "mail.transport is \"log\": anyone who can read the log can use mailed links",
            );
        }
        MailTransport::Smtp(smtp)
            if smtp.security == SmtpSecurity::None && !is_local(&smtp.host) =>
        {
            reader.warn(
                "mail.smtp_security is \"none\": mailed links, and smtp_password if it is set, \
                 cross the network unencrypted",
            );
        }
        _ => {}
    }
    Some(MailConfig {
        transport,
        from: from?,
        templates: templates?,
        per_mailbox_per_day: per_mailbox_per_day?,
        keep_failed: keep_failed?,
    })
}

/// The name that mail comes from, beside its address.
pub(super) fn sender_name(mail: &MailConfig) -> Option<String> {
    mail.from.parse::<Mailbox>().ok()?.name
}

fn smtp(section: &mut Section<'_>, is_used: bool) -> Option<SmtpConfig> {
    let takes = "a host name or an IP address, without a port";
    let host = section.optional("smtp_host", takes, parse_host);
    let port = section.count_or_zero::<NonZeroU16>(
        "smtp_port",
        0,
        1..=65_535,
        "the usual one of smtp_security",
    );
    let securities = [
        ("starttls", SmtpSecurity::StartTls),
        ("tls", SmtpSecurity::Tls),
        ("none", SmtpSecurity::None),
    ];
    let security = section.choice("smtp_security", "starttls", &securities);
    let ca_file = section.optional_path("smtp_ca_file");
    let username = section.optional_text("smtp_username");
    let password = section.secret("smtp_password");

    if is_used && host == Some(None) {
        section.problem("smtp_host", format_args!("is required for transport \"smtp\": {takes}"));
    }
    match (&username, &password) {
        (Some(Some(_)), Some(None)) => {
            section.problem("smtp_password", "must be set together with smtp_username");
        }
        (Some(None), Some(Some(_))) => {
            section.problem("smtp_username", "must be set together with smtp_password");
        }
        _ => {}
    }
    let security = security?;
    Some(SmtpConfig {
        host: host??,
        port: port?.map_or(usual_port(security), NonZeroU16::get),
        security,
        ca_file: ca_file?,
        login: username?.zip(password?),
    })
}

fn usual_port(security: SmtpSecurity) -> u16 {
    match security {
        SmtpSecurity::StartTls => 587,
        SmtpSecurity::Tls => 465,
        SmtpSecurity::None => 25,
    }
}

fn is_local(host: &str) -> bool {
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    host == "localhost" || host.parse().is_ok_and(is_loopback)
}
