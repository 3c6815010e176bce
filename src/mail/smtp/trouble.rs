//! Failures of mail servers: what follows from them, and how they are reported.
//!
//! Failures are classified by the step of the dialogue. Before the recipient is named, every
//! failure is the server's or the configuration's and temporary, so the mail waits. From there on a
//! 5xx is final for this mail. Answers are not quoted from steps in which the server received a
//! secret: its answer to a login or to the message may repeat a password or a link.

use std::future::Future;
use std::time::Duration;

use lettre::transport::smtp::Error;

use crate::mail::Delivery;

/// The longest quote from a server, in characters.
const MAX_QUOTE: usize = 200;

/// The step of the dialogue that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    StartTls,
    Login,
    Sender,
    Recipient,
    Data,
    Message,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connecting to the mail server",
            Self::StartTls => "STARTTLS",
            Self::Login => "logging in to the mail server",
            Self::Sender => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Data => "DATA",
            Self::Message => "the message",
        }
    }

    /// Whether a refusal here is about this mail.
    const fn concerns_the_mail(self) -> bool {
        matches!(self, Self::Recipient | Self::Data | Self::Message)
    }

    /// Whether an answer may repeat a secret that the server just received.
    const fn tells_a_secret(self) -> bool {
        matches!(self, Self::Login | Self::Message)
    }
}

/// Why a mail was not delivered.
#[derive(Debug)]
pub(super) struct Trouble {
    step: Step,
    pub(super) cause: Cause,
}

#[derive(Debug)]
pub(super) enum Cause {
    Error(Error),
    Silence(Duration),
}

impl Trouble {
    pub(super) fn new(step: Step, error: Error) -> Self {
        Self { step, cause: Cause::Error(error) }
    }

    /// Whether trying again is useless.
    fn is_final(&self) -> bool {
        // "Authentication required" and similar codes (RFC 4954, section 6) concern us, whichever
        // command they answer.
        const ABOUT_LOGIN: [u16; 4] = [530, 534, 535, 538];
        match &self.cause {
            Cause::Silence(_) => false,
            Cause::Error(error) => {
                let is_about_login =
                    error.status().is_some_and(|code| ABOUT_LOGIN.contains(&code.into()));
                error.is_permanent() && !is_about_login && self.step.concerns_the_mail()
            }
        }
    }

    /// One line, without a secret.
    fn reason(&self) -> String {
        let what = match &self.cause {
            Cause::Silence(limit) => format!("no answer within {limit:?}"),
            Cause::Error(error) => describe(error, self.step),
        };
        format!("{}: {what}", self.step.name())
    }
}

impl From<Trouble> for Delivery {
    fn from(trouble: Trouble) -> Self {
        let reason = trouble.reason();
        if trouble.is_final() { Self::Failed { reason } } else { Self::Deferred { reason } }
    }
}

/// Waits for one part of the dialogue, at most `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    step: Step,
    part: impl Future<Output = Result<T, Error>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(limit, part).await {
        Ok(result) => result.map_err(|error| Trouble::new(step, error)),
        Err(_) => Err(Trouble { step, cause: Cause::Silence(limit) }),
    }
}

/// An error in words suitable for a log.
fn describe(error: &Error, step: Step) -> String {
    let innermost = innermost(error);
    if let Some(code) = error.status() {
        let words = if step.tells_a_secret() { enhanced_code(&innermost) } else { &innermost };
        return quote(&format!("{code} {words}"));
    }
    // Unreadable answers are never quoted: they may contain anything.
    if error.is_response() {
        let is_end = innermost == "incomplete response";
        return if is_end { "connection closed" } else { "an answer that is not SMTP" }.to_owned();
    }
    quote(&innermost)
}

/// The root cause: the layers of the library only repeat each other.
pub(super) fn innermost(error: &Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The code at the start of a server's answer (`5.7.8`, RFC 3463), and nothing after it.
fn enhanced_code(words: &str) -> &str {
    let first = words.split_whitespace().next().unwrap_or_default();
    let is_number = |part: &str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_code = first.split('.').count() == 3 && first.split('.').all(is_number);
    if is_code { first } else { "" }
}

/// One line of bounded length.
fn quote(words: &str) -> String {
    let as_line = |character: char| if character.is_control() { ' ' } else { character };
    let line: String = words.chars().map(as_line).take(MAX_QUOTE).collect();
    line.trim().to_owned()
}
