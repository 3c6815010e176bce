//! Mail: renders a mail, builds the message and delivers it.
//!
//! [`Mailer::deliver`] makes one attempt at one mail and returns its outcome. The caller, who
//! empties the outbox, decides when to try, how often, and what to do about a failure;
//! [`next_attempt`] gives the times. A mail may be delivered twice if a server accepted it but its
//! answer was lost: both copies have the same `Message-ID` and are identical to the byte.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::clock::Timestamp;
use crate::config::{MailConfig, MailTransport, PublicUrl};
use crate::domain::{MailId, MailKind, MessageId, QueuedMail, TicketId, UserId};
use crate::private_files::FileError;

mod backoff;
mod collector;
mod compose;
mod file;
mod messages;
mod smtp;
mod templates;

pub use backoff::next_attempt;
pub use collector::{Collector, SentMail};
pub use messages::{MailLink, describe_lifetime, reset_link, verify_link};

use compose::{Composed, Sender};
use file::MailDirectory;
use smtp::Smtp;
use templates::{Rendered, Templates};

/// The target of the log lines that replace mails under `transport = "log"`. They are logged at
/// every level, because without its line such a mail is lost.
pub const LOG_TARGET: &str = "latchkey::mail";

/// Renders mails and delivers them.
#[derive(Debug)]
pub struct Mailer {
    public_url: PublicUrl,
    sender: Sender,
    templates: Templates,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Log,
    File(MailDirectory),
    // Boxed because it is far larger than the others.
    Smtp(Box<Smtp>),
    Collector(Collector),
}

/// The outcome of one attempt. A reason is one line and holds no link, token or password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The mail server, file or log has accepted the mail.
    Sent,
    /// Not now: no answer, a 4xx, or a problem that does not concern this mail.
    Deferred {
        /// Why, for the log.
        reason: String,
    },
    /// Never: the mail was rejected for good.
    Failed {
        /// Why, for the log and the failed mail.
        reason: String,
    },
}

/// Why mail cannot be set up; it stops the start.
#[derive(Debug, Error)]
pub enum MailSetupError {
    /// `[mail] from` is not a mailbox.
    #[error("[mail] from = \"{from}\" is not a sender such as \"Accounts <accounts@example.com>\"")]
    From {
        /// Its value, escaped.
        from: String,
    },
    /// A template does not compile, or does not render with sample data.
    #[error("mail template {}: {problem}", templates::place(file, *line))]
    Template {
        /// Its path, or the name of the built-in one.
        file: String,
        /// The line, if the template engine knows it.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
    /// A template, the directory of templates or the file of certificates cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory for mails cannot be created or is not private.
    #[error("[mail] directory: {0}")]
    Directory(#[from] FileError),
    /// `[mail] smtp_ca_file` holds no usable certificates.
    #[error("[mail] smtp_ca_file {path}: {problem}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS for mail: {problem}")]
    Tls {
        /// What is wrong.
        problem: String,
    },
}

impl Mailer {
    /// Loads the templates, renders each once with sample data, and prepares the transport.
    /// Connects to nothing: a mail server that is down does not stop the start.
    ///
    /// # Errors
    /// [`MailSetupError`] names the setting or file, and for a template the line.
    pub fn new(config: &MailConfig, public_url: &PublicUrl) -> Result<Self, MailSetupError> {
        let mailer = Self::prepare(config, public_url)?;
        if let Transport::File(directory) = &mailer.transport {
            directory.prepare()?;
        }
        Ok(mailer)
    }

    /// Checks what [`new`](Self::new) would refuse, without creating a directory.
    ///
    /// # Errors
    /// As [`Mailer::new`], except for a directory that cannot be created or is not private.
    pub fn check(config: &MailConfig, public_url: &PublicUrl) -> Result<(), MailSetupError> {
        Self::prepare(config, public_url).map(|_| ())
    }

    /// For tests: mails go to `collector`, whatever transport is configured.
    ///
    /// # Errors
    /// As [`Mailer::new`].
    pub fn collecting(
        config: &MailConfig,
        public_url: &PublicUrl,
        collector: Collector,
    ) -> Result<Self, MailSetupError> {
        Self::with_transport(config, public_url, Transport::Collector(collector))
    }

    /// Prepares everything that changes nothing.
    fn prepare(config: &MailConfig, public_url: &PublicUrl) -> Result<Self, MailSetupError> {
        let transport = match &config.transport {
            MailTransport::Log => Transport::Log,
            MailTransport::File { directory } => Transport::File(MailDirectory::at(directory)),
            MailTransport::Smtp(smtp) => Transport::Smtp(Box::new(Smtp::new(smtp, public_url)?)),
        };
        Self::with_transport(config, public_url, transport)
    }

    fn with_transport(
        config: &MailConfig,
        public_url: &PublicUrl,
        transport: Transport,
    ) -> Result<Self, MailSetupError> {
        let sender = Sender::new(&config.from, public_url)?;
        let templates = Templates::load(config.templates.as_deref())?;
        let mailer = Self { public_url: public_url.clone(), sender, templates, transport };
        mailer.try_out(&config.from)?;
        Ok(mailer)
    }

    /// Renders one of every mail, so that errors are found before one is due.
    fn try_out(&self, from: &str) -> Result<(), MailSetupError> {
        let sample_link = MailLink::sample(&self.public_url);
        for kind in messages::samples() {
            let mail = QueuedMail { kind, ..sample_mail() };
            let link = mail.kind.ticket().map(|_| &sample_link);
            let rendered = self
                .templates
                .render(&mail, link, &self.public_url)
                .map_err(templates::RenderError::at_setup)?;
            self.sender
                .compose(&mail, &rendered)
                .map_err(|_| MailSetupError::From { from: from.escape_debug().to_string() })?;
        }
        Ok(())
    }

    /// Makes one attempt at delivering one mail, with the link of its ticket if it has one. It may
    /// take minutes if the mail server does; dropping the future cancels the attempt.
    pub async fn deliver(&self, mail: &QueuedMail, link: Option<&MailLink>) -> Delivery {
        let rendered = match self.templates.render(mail, link, &self.public_url) {
            Ok(rendered) => rendered,
            // A template can be repaired, so the mail waits.
            Err(error) => return Delivery::Deferred { reason: error.reason() },
        };
        let composed = match self.sender.compose(mail, &rendered) {
            Ok(composed) => composed,
            Err(reason) => return Delivery::Failed { reason },
        };
        match &self.transport {
            Transport::Log => log(mail, link, &composed),
            Transport::File(directory) => match directory.deliver(mail, composed.raw).await {
                Ok(()) => Delivery::Sent,
                Err(reason) => Delivery::Deferred { reason },
            },
            Transport::Smtp(smtp) => smtp.deliver(&composed).await,
            Transport::Collector(collector) => {
                collector.deliver(sent_mail(link, rendered, composed)).await
            }
        }
    }

    /// Call it when no mail is due: closes the connection to the mail server that is kept between
    /// mails.
    pub async fn rest(&self) {
        if let Transport::Smtp(smtp) = &self.transport {
            smtp.rest().await;
        }
    }
}

/// The only place that logs a mailed link, as `transport = "log"` demands.
fn log(mail: &QueuedMail, link: Option<&MailLink>, composed: &Composed) -> Delivery {
    tracing::info!(
        target: LOG_TARGET,
        purpose = mail.kind.purpose(),
        to = %composed.to,
        link = link.map(|link| link.url.expose().as_str()),
        "mail goes to the log instead of being sent"
    );
    Delivery::Sent
}

fn sent_mail(link: Option<&MailLink>, rendered: Rendered, composed: Composed) -> SentMail {
    SentMail {
        to: composed.to.to_string(),
        subject: rendered.subject,
        text: rendered.text,
        html: rendered.html,
        link: link.map(|link| link.url.expose().clone()),
        message_id: composed.message_id,
        raw: String::from_utf8_lossy(&composed.raw).into_owned(),
    }
}

/// A sample mail, to try out templates.
fn sample_mail() -> QueuedMail {
    let queued_at = Timestamp::from_unix_seconds(1_733_479_200);
    QueuedMail {
        id: MailId(1),
        kind: MailKind::VerifyEmail { ticket: TicketId::from_bytes([0; 16]) },
        user: UserId(1),
        to: messages::sample_address(),
        message_id: MessageId::from_bytes([0; 16]),
        queued_at,
        give_up_at: queued_at,
        attempts: 0,
        due_at: queued_at,
    }
}

#[cfg(test)]
mod tests;
