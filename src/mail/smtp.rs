//! The SMTP transport (RFC 5321), with STARTTLS (RFC 3207) or TLS from the first byte (RFC 8314).

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;

mod trouble;

use trouble::{Cause, Step, Trouble, innermost, within};

use super::compose::Composed;
use super::site::Site;
use super::{Delivery, MailSetupError};
use crate::config::{SmtpConfig, SmtpSecurity};
use crate::secret::Secret;

/// A mail server.
pub(super) struct Smtp {
    host: String,
    port: u16,
    protection: Protection,
    login: Option<(String, Secret<String>)>,
    /// What the server is greeted with.
    hello: ClientId,
    patience: Patience,
    /// The connection of the last mail, for the next one of the same batch.
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
    /// The message: servers look through it before they answer, and giving up on one that has
    /// already taken it means sending it twice (RFC 5321, section 4.5.3.2.6).
    message: Duration,
    /// What is only polite: leaving, and asking whether a kept connection still stands.
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
    pub(super) fn new(config: &SmtpConfig, site: &Site) -> Result<Self, MailSetupError> {
        // Brackets are how a URL writes an IPv6 address; a socket takes it without.
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
            hello: site.hello_name(),
            patience: PATIENCE,
            kept: Mutex::new(None),
        })
    }

    /// Hands one message to the server.
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

    /// Ends the connection that is kept for a next mail.
    pub(super) async fn rest(&self) {
        if let Some(kept) = self.swap_kept(None) {
            say_goodbye(kept, self.patience.courtesy).await;
        }
    }

    /// The kept connection if it still stands, or a new one.
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
            // A server that does not offer it is an error, never a reason to go on without. And
            // after an error there is nothing left to say goodbye over.
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

    /// Says goodbye on the side: what became of the mail is not held up by it.
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

/// Says goodbye, but does not insist on an answer.
async fn say_goodbye(mut connection: AsyncSmtpConnection, courtesy: Duration) {
    let _ = tokio::time::timeout(courtesy, connection.abort()).await;
}

fn tls_parameters(host: &str, ca_file: Option<&Path>) -> Result<TlsParameters, MailSetupError> {
    let builder = TlsParameters::builder(host.to_owned());
    let builder = match ca_file {
        None => builder.certificate_store(CertificateStore::WebpkiRoots),
        Some(path) => builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(read_certificates(path)?),
    };
    builder.build().map_err(|error| match ca_file {
        Some(path) => {
            MailSetupError::Certificates { path: path.to_owned(), problem: innermost(&error) }
        }
        None => MailSetupError::Tls { problem: innermost(&error) },
    })
}

fn read_certificates(path: &Path) -> Result<Certificate, MailSetupError> {
    let certificates = |problem: &str| MailSetupError::Certificates {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    let pem = std::fs::read_to_string(path)
        .map_err(|source| MailSetupError::Unreadable { path: path.to_owned(), source })?;
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(certificates("it holds no certificate in PEM"));
    }
    Certificate::from_pem(pem.as_bytes()).map_err(|error| certificates(&innermost(&error)))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::mail::compose::Sender;
    use crate::mail::templates::Templates;
    use crate::mail::{MailContent, sample_mail};

    const PASSWORD: &str = "correct horse battery";

    /// A mail server that says what a test tells it to, and remembers what it was told.
    #[derive(Clone)]
    struct Server {
        address: SocketAddr,
        heard: Arc<Mutex<Vec<String>>>,
    }

    /// What a line that starts with the first is answered with, instead of the usual; nothing at
    /// all for an empty answer. With `(side by side)` among them the server serves several
    /// connections at one time.
    type Rules = &'static [(&'static str, &'static str)];

    impl Server {
        async fn start(rules: Rules) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = Self { address, heard: Arc::default() };
            let task = server.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    task.hear("(connected)");
                    let task = task.clone();
                    // A client that goes away in the middle is not the server's concern.
                    let serving = async move { drop(task.converse(stream, rules).await) };
                    if rules.iter().any(|(start, _)| *start == "(side by side)") {
                        tokio::spawn(serving);
                    } else {
                        serving.await;
                    }
                }
            });
            server
        }

        fn hear(&self, line: &str) {
            self.heard.lock().unwrap().push(line.to_owned());
        }

        /// The commands so far, by their first word.
        fn commands(&self) -> Vec<String> {
            let heard = self.heard.lock().unwrap();
            heard.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
        }

        async fn converse(&self, stream: TcpStream, rules: Rules) -> std::io::Result<()> {
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            let answer_to = |line: &str, usual: &'static str| -> &'static str {
                rules.iter().find(|(start, _)| line.starts_with(start)).map_or(usual, |rule| rule.1)
            };
            let greeting = answer_to("(greeting)", "220 scripted");
            if !greeting.is_empty() {
                writer.write_all(format!("{greeting}\r\n").as_bytes()).await?;
            }
            let mut is_message = false;
            while let Some(line) = lines.next_line().await? {
                if is_message && line != "." {
                    continue;
                }
                self.hear(&line);
                let usual = match line.split(' ').next().unwrap_or_default() {
                    "EHLO" => "250-scripted\r\n250 AUTH PLAIN LOGIN",
                    "AUTH" => "235 2.7.0 welcome",
                    "DATA" => "354 go on",
                    "QUIT" => "221 bye",
                    _ => "250 2.0.0 fine",
                };
                let answer = answer_to(&line, usual);
                is_message = answer.starts_with("354");
                if !answer.is_empty() {
                    writer.write_all(format!("{answer}\r\n").as_bytes()).await?;
                }
                let is_goodbye = line == "QUIT" && !answer.is_empty();
                if is_goodbye || answer.starts_with("421") {
                    return Ok(());
                }
            }
            Ok(())
        }

        fn config(&self) -> SmtpConfig {
            SmtpConfig {
                host: self.address.ip().to_string(),
                port: self.address.port(),
                security: SmtpSecurity::None,
                ca_file: None,
                login: None,
            }
        }

        fn config_with_login(&self) -> SmtpConfig {
            let login = Some(("postmaster".to_owned(), PASSWORD.to_owned().into()));
            SmtpConfig { login, ..self.config() }
        }
    }

    fn site() -> Site {
        Site::new("https://accounts.example.com")
    }

    fn smtp(config: &SmtpConfig) -> Smtp {
        Smtp::new(config, &site()).unwrap()
    }

    fn message() -> Composed {
        let mail = sample_mail();
        let content = MailContent::samples().remove(0);
        let rendered = Templates::load(None).unwrap().render(&content, &mail, &site()).unwrap();
        Sender::new("accounts@example.com", &site()).unwrap().compose(&mail, &rendered).unwrap()
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
        let plain =
            Server::start(&[("EHLO", "250 STARTTLS"), ("STARTTLS", "220 go\r\n220 x")]).await;
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
        let error = || Smtp::new(&config, &site()).unwrap_err().to_string();
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
}
