//! What mails say: the data of each, and the words that depend on it.

use std::time::Duration;

use minijinja::{Value, context};

use super::site::Site;
use crate::clock::Timestamp;
use crate::domain::{Email, QueuedMail};
use crate::paths::{CONFIRM_EMAIL, RESET_PASSWORD};
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
    /// You, or someone else, asked for a new password.
    ResetPassword {
        /// The link to where it is chosen; see [`reset_link`].
        link: Secret<String>,
        /// When the link stops working.
        expires_at: Timestamp,
    },
    /// Please confirm your new address; at that address.
    ChangeEmail {
        /// The link that does it; see [`verify_link`].
        link: Secret<String>,
        /// When the link stops working.
        expires_at: Timestamp,
    },
    /// Your account is about to get a new address; at the old one.
    EmailChangeRequested {
        /// The link that calls it off; see [`verify_link`].
        link: Secret<String>,
        /// When the link stops working.
        expires_at: Timestamp,
        /// The address that was asked for.
        new_email: Email,
    },
    /// Your account has a new address; at the old one.
    EmailChanged {
        /// The address it has now.
        new_email: Email,
    },
    /// Your password was reset.
    PasswordReset,
    /// Your password was changed.
    PasswordChanged,
    /// Your account was deleted.
    AccountDeleted,
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
            Self::ResetPassword { .. } => "reset_password",
            Self::ChangeEmail { .. } => "change_email",
            Self::EmailChangeRequested { .. } => "email_change_requested",
            Self::EmailChanged { .. } => "email_changed",
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::AccountDeleted => "account_deleted",
        }
    }

    /// The link it carries; none in a notice that has none.
    pub const fn link(&self) -> Option<&Secret<String>> {
        match self {
            Self::VerifyEmail { link, .. }
            | Self::ResetPassword { link, .. }
            | Self::ChangeEmail { link, .. }
            | Self::EmailChangeRequested { link, .. } => Some(link),
            Self::EmailChanged { .. }
            | Self::PasswordReset
            | Self::PasswordChanged
            | Self::AccountDeleted => None,
        }
    }

    /// One of each, for trying out templates before there is a mail to send.
    pub(super) fn samples() -> Vec<Self> {
        const URL: &str = "https://accounts.example.com";
        let created_at = Timestamp::from_unix_seconds(1_733_479_200);
        let expires_at = created_at.saturating_add(Duration::from_secs(24 * 60 * 60));
        let token = Secret::new("A".repeat(43));
        let link = || verify_link(URL, &token);
        let new_email = sample_address();
        vec![
            Self::VerifyEmail { link: link(), created_at, expires_at },
            Self::ResetPassword { link: reset_link(URL, None, &token), expires_at },
            Self::ChangeEmail { link: link(), expires_at },
            Self::EmailChangeRequested { link: link(), expires_at, new_email: new_email.clone() },
            Self::EmailChanged { new_email },
            Self::PasswordReset,
            Self::PasswordChanged,
            Self::AccountDeleted,
        ]
    }

    /// The values its templates may use.
    pub(super) fn context(&self, mail: &QueuedMail, site: &Site, medium: Medium) -> Value {
        let linked = |link: &Secret<String>, expires_at: Timestamp| {
            context! {
                link => url_value(link.expose(), medium),
                expires_at => expires_at.for_people(),
                expires_in => describe_lifetime(expires_at.saturating_since(mail.queued_at)),
            }
        };
        let own = match self {
            Self::VerifyEmail { link, created_at, expires_at } => context! {
                created_at => created_at.for_people(),
                ..linked(link, *expires_at)
            },
            Self::ResetPassword { link, expires_at } | Self::ChangeEmail { link, expires_at } => {
                linked(link, *expires_at)
            }
            Self::EmailChangeRequested { link, expires_at, new_email } => context! {
                new_email => new_email.as_str(),
                ..linked(link, *expires_at)
            },
            Self::EmailChanged { new_email } => context! { new_email => new_email.as_str() },
            Self::PasswordReset | Self::PasswordChanged | Self::AccountDeleted => context! {},
        };
        context! {
            to => mail.to.as_str(),
            site => site.authority.as_str(),
            public_url => url_value(&site.public_url, medium),
            at => mail.queued_at.for_people(),
            ..own
        }
    }
}

/// An address that is nobody's, for trying out templates.
#[expect(clippy::expect_used, reason = "the address is a constant, and every test parses it")]
pub(super) fn sample_address() -> Email {
    Email::parse("ada@example.com").expect("an address")
}

/// The link that confirms an address, or a change of it, or calls such a change off.
pub fn verify_link(public_url: &str, token: &Secret<String>) -> Secret<String> {
    let base = public_url.trim_end_matches('/');
    Secret::new(format!("{base}{CONFIRM_EMAIL}/?token={}", token.expose()))
}

/// The link to where a new password is chosen: at the frontend where there is one, else at ours.
pub fn reset_link(
    public_url: &str,
    frontend_url: Option<&str>,
    token: &Secret<String>,
) -> Secret<String> {
    let base = frontend_url.unwrap_or(public_url).trim_end_matches('/');
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
            assert_eq!(reset_link(public_url, frontend_url, &token).expose(), expected);
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
