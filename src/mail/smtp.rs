//! The SMTP transport (RFC 5321), with STARTTLS (RFC 3207) or TLS from the first byte (RFC 8314).
//! `tls` decides which certificates are trusted, `trouble` what follows from a failed dialogue.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use url::Host;

mod tls;
mod trouble;

use tls::tls_parameters;
use trouble::{Cause, Step, Trouble, within};

use super::compose::Composed;
use super::{Delivery, MailSetupError};
use crate::config::{PublicUrl, SmtpConfig, SmtpSecurity};
use crate::secret::Secret;

/// A mail server.
pub(super) struct Smtp {
    host: String,
    port: u16,
    protection: Protection,
    login: Option<(String, Secret<String>)>,
    /// The name in our greeting.
    hello: ClientId,
    patience: Patience,
    /// The connection of the last mail, kept for the next one of the same batch.
    kept: Mutex<Option<AsyncSmtpConnection>>,
}

enum Protection {
    None,
    StartTls(TlsParameters),
    Tls(TlsParameters),
}

/// How long each part of the dialogue may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// One of the server's addresses.
    address: Duration,
    /// From connecting to the end of the login, over all addresses.
    session: Duration,
    /// One command.
    command: Duration,
    /// The message. Servers scan it before they answer, and giving up on a server that has already
    /// accepted it means sending it twice (RFC 5321, section 4.5.3.2.6).
    message: Duration,
    /// Steps that are only polite: quitting, and checking a kept connection.
    courtesy: Duration,
}

const PATIENCE: Patience = Patience {
    address: Duration::from_secs(10),
    session: Duration::from_secs(30),
    command: Duration::from_secs(30),
    message: Duration::from_secs(120),
    courtesy: Duration::from_secs(5),
};

impl Smtp {
    /// Reads certificates and prepares TLS; connects to nothing yet.
    pub(super) fn new(config: &SmtpConfig, public_url: &PublicUrl) -> Result<Self, MailSetupError> {
        // A URL writes an IPv6 address in brackets; a socket takes it without.
        let host = config.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = || tls_parameters(&host, config.ca_file.as_deref());
        let protection = match config.security {
            SmtpSecurity::None => Protection::None,
            SmtpSecurity::StartTls => Protection::StartTls(tls()?),
            SmtpSecurity::Tls => Protection::Tls(tls()?),
        };
        Ok(Self {
            host,
            port: config.port,
            protection,
            login: config.login.clone(),
            hello: hello_name(public_url),
            patience: PATIENCE,
            kept: Mutex::new(None),
        })
    }

    /// Sends one message to the server.
    pub(super) async fn deliver(&self, message: &Composed) -> Delivery {
        let mut connection = match self.connection().await {
            Ok(connection) => connection,
            Err(trouble) => return trouble.into(),
        };
        match self.transact(&mut connection, message).await {
            Ok(()) => {
                if let Some(earlier) = self.swap_kept(Some(connection)) {
                    self.leave(earlier);
                }
                Delivery::Sent
            }
            Err(trouble) => {
                if !matches!(trouble.cause, Cause::Silence(_)) {
                    self.leave(connection);
                }
                trouble.into()
            }
        }
    }

    /// Closes the connection that is kept for the next mail.
    pub(super) async fn rest(&self) {
        if let Some(kept) = self.swap_kept(None) {
            say_goodbye(kept, self.patience.courtesy).await;
        }
    }

    /// The kept connection if it still works, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Trouble> {
        if let Some(mut kept) = self.swap_kept(None) {
            let asked = tokio::time::timeout(self.patience.courtesy, kept.test_connected()).await;
            if asked == Ok(true) {
                return Ok(kept);
            }
        }
        within(self.patience.session, Step::Connect, async { Ok(self.connect().await) }).await?
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Trouble> {
        let wrapper = match &self.protection {
            Protection::Tls(tls) => Some(tls.clone()),
            Protection::None | Protection::StartTls(_) => None,
        };
        let server = (self.host.as_str(), self.port);
        let per_address = Some(self.patience.address);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, per_address, &self.hello, wrapper, None)
                .await
                .map_err(|error| Trouble::new(Step::Connect, error))?;
        if let Protection::StartTls(tls) = &self.protection {
            // A server that does not offer it is an error, never a reason to continue without.
            // After an error there is no connection left to quit.
            connection
                .starttls(tls.clone(), &self.hello)
                .await
                .map_err(|error| Trouble::new(Step::StartTls, error))?;
        }
        if let Some((name, password)) = &self.login {
            let credentials = Credentials::new(name.clone(), password.expose().clone());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            if let Err(error) = connection.auth(&mechanisms, &credentials).await {
                self.leave(connection);
                return Err(Trouble::new(Step::Login, error));
            }
        }
        Ok(connection)
    }

    async fn transact(
        &self,
        connection: &mut AsyncSmtpConnection,
        message: &Composed,
    ) -> Result<(), Trouble> {
        let Patience { command, message: for_message, .. } = self.patience;
        let mail = Mail::new(Some(message.from.clone()), vec![]);
        within(command, Step::Sender, connection.command(mail)).await?;
        let rcpt = Rcpt::new(message.to.clone(), vec![]);
        within(command, Step::Recipient, connection.command(rcpt)).await?;
        within(command, Step::Data, connection.command(Data)).await?;
        within(for_message, Step::Message, connection.message(&message.raw)).await?;
        Ok(())
    }

    /// Quits in the background, so that the outcome of the mail is not delayed.
    fn leave(&self, connection: AsyncSmtpConnection) {
        tokio::spawn(say_goodbye(connection, self.patience.courtesy));
    }

    fn swap_kept(&self, connection: Option<AsyncSmtpConnection>) -> Option<AsyncSmtpConnection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut kept, connection)
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protection = match self.protection {
            Protection::None => "none",
            Protection::StartTls(_) => "starttls",
            Protection::Tls(_) => "tls",
        };
        f.debug_struct("Smtp")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("protection", &protection)
            .field("login", &self.login.as_ref().map(|(name, _)| name))
            .finish_non_exhaustive()
    }
}

/// Quits without insisting on an answer. The name in our greeting (RFC 5321, section 4.1.4).
fn hello_name(public_url: &PublicUrl) -> ClientId {
    match (public_url.mail_domain(), public_url.host()) {
        (Some(domain), _) => ClientId::Domain(domain.to_owned()),
        (None, Some(Host::Ipv4(address))) => ClientId::Ipv4(address),
        (None, Some(Host::Ipv6(address))) => ClientId::Ipv6(address),
        (None, _) => ClientId::Ipv4(Ipv4Addr::LOCALHOST),
    }
}

async fn say_goodbye(mut connection: AsyncSmtpConnection, courtesy: Duration) {
    let _ = tokio::time::timeout(courtesy, connection.abort()).await;
}

#[cfg(test)]
mod tests;
