//! The contents of mails: the values of each, and the texts that depend on them.

use std::time::Duration;

use minijinja::{Value, context};

use crate::clock::Timestamp;
use crate::config::PublicUrl;
use crate::domain::{Email, MailKind, Purpose, QueuedMail, Ticket, TicketId};
use crate::paths::{CONFIRM_EMAIL, RESET_PASSWORD};
use crate::secret::Secret;

/// The link that a mail carries. It is made for one attempt at delivery and never stored.
#[derive(Clone, Debug)]
pub struct MailLink {
    /// Where it leads; see [`verify_link`] and [`reset_link`].
    pub url: Secret<String>,
    /// When its ticket was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// The kind of text that a template's values go into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    Text,
    Html,
}

impl MailLink {
    /// The link of `ticket`, whose token is `token`.
    pub fn new(
        public_url: &PublicUrl,
        frontend_url: Option<&PublicUrl>,
        ticket: &Ticket,
        token: &Secret<String>,
    ) -> Self {
        let url = match ticket.purpose {
            Purpose::ResetPassword => reset_link(public_url, frontend_url, token),
            Purpose::VerifyEmail | Purpose::ChangeEmail | Purpose::CancelEmailChange => {
                verify_link(public_url, token)
            }
        };
        Self { url, created_at: ticket.created_at, expires_at: ticket.expires_at }
    }

    /// A sample link, to try out templates.
    pub(super) fn sample(public_url: &PublicUrl) -> Self {
        let created_at = Timestamp::from_unix_seconds(1_733_479_200);
        Self {
            url: verify_link(public_url, &Secret::new("A".repeat(43))),
            created_at,
            expires_at: created_at.saturating_add(Duration::from_secs(24 * 60 * 60)),
        }
    }
}

/// One of each kind of mail, to try out templates before there is a mail to send.
pub(super) fn samples() -> [MailKind; 8] {
    let ticket = TicketId::from_bytes([0; 16]);
    [
        MailKind::VerifyEmail { ticket },
        MailKind::ResetPassword { ticket },
        MailKind::ChangeEmail { ticket },
        MailKind::EmailChangeRequested { ticket, new_email: sample_address() },
        MailKind::EmailChanged { new_email: sample_address() },
        MailKind::PasswordReset,
        MailKind::PasswordChanged,
        MailKind::AccountDeleted,
    ]
}

/// The values that the templates of `mail` may use.
pub(super) fn context(
    mail: &QueuedMail,
    link: Option<&MailLink>,
    public_url: &PublicUrl,
    medium: Medium,
) -> Value {
    let told = match &mail.kind {
        MailKind::EmailChangeRequested { new_email, .. } | MailKind::EmailChanged { new_email } => {
            context! { new_email => new_email.as_str() }
        }
        MailKind::VerifyEmail { .. }
        | MailKind::ResetPassword { .. }
        | MailKind::ChangeEmail { .. }
        | MailKind::PasswordReset
        | MailKind::PasswordChanged
        | MailKind::AccountDeleted => context! {},
    };
    let own = match link {
        Some(link) => context! {
            link => url_value(link.url.expose(), medium),
            created_at => link.created_at.for_people(),
            expires_at => link.expires_at.for_people(),
            expires_in => describe_lifetime(link.expires_at.saturating_since(mail.queued_at)),
            ..told
        },
        None => told,
    };
    context! {
        to => mail.to.as_str(),
        site => public_url.authority(),
        public_url => url_value(public_url.as_str(), medium),
        at => mail.queued_at.for_people(),
        ..own
    }
}

/// A sample address, to try out templates.
#[expect(clippy::expect_used, reason = "the address is a constant, and every test parses it")]
pub(super) fn sample_address() -> Email {
    Email::parse("ada@example.com").expect("an address")
}

/// The link that confirms an address or a change of it, or cancels such a change.
pub fn verify_link(public_url: &PublicUrl, token: &Secret<String>) -> Secret<String> {
    Secret::new(format!("{public_url}{CONFIRM_EMAIL}/?token={}", token.expose()))
}

/// The link to the form for a new password: the front end's if there is one, else ours.
pub fn reset_link(
    public_url: &PublicUrl,
    frontend_url: Option<&PublicUrl>,
    token: &Secret<String>,
) -> Secret<String> {
    let base = frontend_url.unwrap_or(public_url);
    Secret::new(format!("{base}{RESET_PASSWORD}/{}", token.expose()))
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

/// A URL as a template's value. For HTML it is already escaped: the engine's own escaping would
/// also turn each `/` into `&#x2f;`, which confuses programs that look for links in mails without
/// parsing HTML fully.
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

    fn url(text: &str) -> PublicUrl {
        PublicUrl::parse(text).unwrap()
    }

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
                verify_link(&url(base), &token).expose(),
                "https://a.example/auth/api/verify-email/confirm/?token=abc_-9"
            );
        }
    }

    #[test]
    fn a_new_password_is_chosen_at_the_frontend_where_there_is_one() {
        let token = Secret::new("abc_-9".to_owned());
        for (public_url, frontend_url, expected) in [
            ("https://a.example", None, "https://a.example/reset-password/abc_-9"),
            ("https://a.example/", None, "https://a.example/reset-password/abc_-9"),
            (
                "https://a.example",
                Some("https://b.example/app/"),
                "https://b.example/app/reset-password/abc_-9",
            ),
        ] {
            let frontend_url = frontend_url.map(url);
            let link = reset_link(&url(public_url), frontend_url.as_ref(), &token);
            assert_eq!(link.expose(), expected);
        }
    }

    #[test]
    fn a_link_in_html_cannot_leave_its_attribute() {
        let value = url_value("https://a.example/?x=\"><script>&'", Medium::Html).to_string();
        assert_eq!(value, "https://a.example/?x=&quot;&gt;&lt;script&gt;&amp;&#x27;");
    }

    #[test]
    fn debug_does_not_show_the_link() {
        let link = MailLink::sample(&url("https://a.example"));
        assert!(!format!("{link:?}").contains("AAAA"));
    }
}
