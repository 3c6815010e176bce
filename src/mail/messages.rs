//! What mails say: the data of each, and the words that depend on it.

use std::time::Duration;

use minijinja::{Value, context};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::site::Site;
use crate::clock::Timestamp;
use crate::domain::QueuedMail;
use crate::secret::Secret;

/// What a mail says, with everything its templates need that is not in the outbox.
#[derive(Clone, Debug)]
pub enum MailContent {
    /// Please confirm your address.
    VerifyEmail {
        /// The link that does it; see [`verify_link`].
        link: Secret<String>,
        /// When the account was made.
        created_at: Timestamp,
        /// When the link stops working.
        expires_at: Timestamp,
    },
}

/// What a template's values are going to stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    Text,
    Html,
}

impl MailContent {
    /// What the mail is for, as logs name it; its templates are named after it.
    pub const fn purpose(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } => "verify_email",
        }
    }

    /// The link it carries; none in a notice.
    pub const fn link(&self) -> Option<&Secret<String>> {
        match self {
            Self::VerifyEmail { link, .. } => Some(link),
        }
    }

    /// One of each, for trying out templates before there is a mail to send.
    pub(super) fn samples() -> Vec<Self> {
        let created_at = Timestamp::from_unix_seconds(1_733_479_200);
        vec![Self::VerifyEmail {
            link: verify_link("https://accounts.example.com", &"A".repeat(43).into()),
            created_at,
            expires_at: created_at.saturating_add(Duration::from_secs(24 * 60 * 60)),
        }]
    }

    /// The values its templates may use.
    pub(super) fn context(&self, mail: &QueuedMail, site: &Site, medium: Medium) -> Value {
        match self {
            Self::VerifyEmail { link, created_at, expires_at } => context! {
                to => mail.to.as_str(),
                site => site.authority.as_str(),
                public_url => url_value(&site.public_url, medium),
                link => url_value(link.expose(), medium),
                created_at => date(*created_at),
                expires_at => date(*expires_at),
                expires_in => describe_lifetime(expires_at.saturating_since(mail.queued_at)),
            },
        }
    }
}

/// The link that confirms an address.
pub fn verify_link(public_url: &str, token: &Secret<String>) -> Secret<String> {
    let base = public_url.trim_end_matches('/');
    Secret::new(format!("{base}/api/verify-email/confirm/?token={}", token.expose()))
}

/// A lifetime in words, rounded down to the minute so that it never promises too much:
/// `24 hours`, `1 hour and 30 minutes`, `7 days`. Hours are counted up to two days.
pub fn describe_lifetime(lifetime: Duration) -> String {
    let minutes = lifetime.as_secs() / 60;
    let (hours, days) = (minutes / 60, minutes / (60 * 24));
    let (large, small) = if minutes == 0 {
        return "less than a minute".to_owned();
    } else if hours == 0 {
        (count(minutes, "minute"), None)
    } else if hours < 48 {
        (count(hours, "hour"), some_of(minutes % 60, "minute"))
    } else {
        (count(days, "day"), some_of(hours % 24, "hour"))
    };
    match small {
        Some(small) => format!("{large} and {small}"),
        None => large,
    }
}

fn count(number: u64, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

fn some_of(number: u64, unit: &str) -> Option<String> {
    (number > 0).then(|| count(number, unit))
}

/// `6 December 2024, 10:00 UTC`.
fn date(timestamp: Timestamp) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[day padding:none] [month repr:long] [year], [hour]:[minute] UTC");
    timestamp.to_utc().format(FORMAT).unwrap_or_else(|_| timestamp.to_string())
}

/// A URL as a template's value. For HTML it comes escaped already: the engine's own escaping
/// would also turn each `/` into `&#x2f;`, over which programs stumble that look for links in
/// mails without reading HTML in full.
fn url_value(url: &str, medium: Medium) -> Value {
    match medium {
        Medium::Text => Value::from(url),
        Medium::Html => Value::from_safe_string(escape_html(url)),
    }
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_read_as_people_say_them() {
        for (seconds, words) in [
            (0, "less than a minute"),
            (59, "less than a minute"),
            (60, "1 minute"),
            (30 * 60, "30 minutes"),
            (60 * 60 - 1, "59 minutes"),
            (60 * 60, "1 hour"),
            (90 * 60, "1 hour and 30 minutes"),
            (24 * 60 * 60, "24 hours"),
            (24 * 60 * 60 - 1, "23 hours and 59 minutes"),
            (36 * 60 * 60, "36 hours"),
            (2 * 24 * 60 * 60, "2 days"),
            (7 * 24 * 60 * 60 + 60 * 60 + 60, "7 days and 1 hour"),
        ] {
            assert_eq!(describe_lifetime(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn the_link_is_under_the_public_url() {
        let token = Secret::new("abc_-9".to_owned());
        for base in ["https://a.example/auth", "https://a.example/auth/"] {
            assert_eq!(
                verify_link(base, &token).expose(),
                "https://a.example/auth/api/verify-email/confirm/?token=abc_-9"
            );
        }
    }

    #[test]
    fn a_link_in_html_cannot_leave_its_attribute() {
        let value = url_value("https://a.example/?x=\"><script>&'", Medium::Html).to_string();
        assert_eq!(value, "https://a.example/?x=&quot;&gt;&lt;script&gt;&amp;&#x27;");
    }

    #[test]
    fn debug_does_not_show_the_link() {
        for sample in MailContent::samples() {
            assert!(!format!("{sample:?}").contains("AAAA"));
        }
    }
}
