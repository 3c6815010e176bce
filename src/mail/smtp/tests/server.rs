//! A scripted mail server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::PASSWORD;
use crate::config::{SmtpConfig, SmtpSecurity};

/// A mail server that says what a test tells it to, and remembers what it was told.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) heard: Arc<Mutex<Vec<String>>>,
}

/// What a line that starts with the first is answered with, instead of the usual; nothing at
/// all for an empty answer. With `(side by side)` among them the server serves several
/// connections at one time.
pub(super) type Rules = &'static [(&'static str, &'static str)];

impl Server {
    pub(super) async fn start(rules: Rules) -> Self {
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
    pub(super) fn commands(&self) -> Vec<String> {
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

    pub(super) fn config(&self) -> SmtpConfig {
        SmtpConfig {
            host: self.address.ip().to_string(),
            port: self.address.port(),
            security: SmtpSecurity::None,
            ca_file: None,
            login: None,
        }
    }

    pub(super) fn config_with_login(&self) -> SmtpConfig {
        let login = Some(("postmaster".to_owned(), PASSWORD.to_owned().into()));
        SmtpConfig { login, ..self.config() }
    }
}
