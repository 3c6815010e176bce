//! What people do with their account after the first login, as the tests speak of it.

use latchkey::domain::EventKind;
use latchkey::mail::SentMail;
use serde_json::{Value, json};

use super::{ANN, CONFIRM, Call, PASSWORD, Reply, TestApp, Tokens, until};

/// The password that takes the place of everybody's.
pub(crate) const NEW_PASSWORD: &str = "brick-Sail 9 meadow";

/// The tokens of both links that a change of address is mailed with.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// To the new address: it confirms the change, or says "this was not me".
    pub(crate) confirm: String,
    /// To the old address: it calls the change off.
    pub(crate) cancel: String,
}

impl TestApp {
    /// One at which Ann has registered.
    pub(crate) async fn with_ann() -> Self {
        let app = Self::start();
        app.register(ANN).await;
        app
    }

    /// One at which she has logged in as well.
    pub(crate) async fn with_ann_in() -> (Self, Tokens) {
        let app = Self::with_ann().await;
        let tokens = app.log_in(ANN).await;
        (app, tokens)
    }

    /// One at which she has registered, and the token that was mailed to her.
    pub(crate) async fn with_ann_invited() -> (Self, String) {
        let app = Self::with_ann().await;
        let token = app.mailed_token().await;
        (app, token)
    }

    pub(crate) fn patch(&self, tokens: &Tokens, body: &Value) -> Call {
        self.call("PATCH", "/api/profile/").bearer(&tokens.access).json(body)
    }

    /// A PATCH that asks for another address, with everybody's password.
    pub(crate) fn moving(&self, tokens: &Tokens, to: &str) -> Call {
        self.patch(tokens, &json!({"email": to, "current_password": PASSWORD}))
    }

    pub(crate) async fn change_address(&self, tokens: &Tokens, to: &str) -> Change {
        let old = self.profile(&tokens.access).await.field("email");
        let reply = self.moving(tokens, to).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        Change {
            confirm: ticket_of(&self.letter(to, "Confirm your new email address").await),
            cancel: ticket_of(&self.letter(&old, "is about to change").await),
        }
    }

    pub(crate) fn changing_password(&self, tokens: &Tokens, new: &str) -> Call {
        self.changing(&tokens.access, PASSWORD, new)
    }

    pub(crate) fn changing(&self, access: &str, current: &str, new: &str) -> Call {
        let body =
            json!({"current_password": current, "new_password": new, "confirm_password": new});
        self.post("/api/change-password/", &body).bearer(access)
    }

    pub(crate) fn forgetting(&self, email: &str) -> Call {
        self.post("/api/forgot-password/", &json!({"email": email}))
    }

    /// Asks for a link that resets the password, and returns the token that it holds.
    pub(crate) async fn reset_token(&self, email: &str) -> String {
        let reply = self.forgetting(email).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        ticket_of(&self.letter(email, "Choose a new password").await)
    }

    pub(crate) fn resetting(&self, token: &str, new: &str) -> Call {
        let body = json!({"token": token, "new_password": new, "confirm_password": new});
        self.post("/api/reset-password/", &body)
    }

    /// The same by the page behind the link, as somebody else.
    pub(crate) fn resetting_by_page(&self, token: &str, new: &str, repeated: &str) -> Call {
        self.call("POST", "/reset-password").form(&[
            ("token", token),
            ("new_password", new),
            ("confirm_password", repeated),
            ("username", "mallory@example.com"),
        ])
    }

    pub(crate) fn resending(&self, email: &str) -> Call {
        self.post("/api/resend-verification/", &json!({"email": email}))
    }

    pub(crate) fn deleting(&self, tokens: &Tokens, password: &str) -> Call {
        let body = json!({"password": password});
        self.call("DELETE", "/api/profile/").bearer(&tokens.access).json(&body)
    }

    pub(crate) fn confirming(&self, token: &str) -> Call {
        self.post(CONFIRM, &json!({"token": token}))
    }

    /// The GET of a link that confirms something.
    pub(crate) fn opening(&self, token: &str) -> Call {
        self.get(&format!("{CONFIRM}?token={token}"))
    }

    pub(crate) fn logging_out(&self, refresh: &str) -> Call {
        self.post("/api/logout/", &json!({"refresh": refresh}))
    }

    pub(crate) fn logging_out_everywhere(&self, tokens: &Tokens) -> Call {
        self.call("POST", "/api/logout/all/").bearer(&tokens.access)
    }

    pub(crate) fn blacklisting(&self, refresh: &str) -> Call {
        self.post("/api/token/blacklist/", &json!({"refresh": refresh}))
    }

    pub(crate) fn verifying(&self, token: &str) -> Call {
        self.post("/api/token/verify/", &json!({"token": token}))
    }

    /// All mails to an address whose subject holds this, once everything is delivered.
    pub(crate) async fn letters(&self, to: &str, subject: &str) -> Vec<SentMail> {
        self.deliver().await;
        let mut sent = self.mails.sent();
        sent.retain(|mail| mail.to == to && mail.subject.contains(subject));
        sent
    }

    pub(crate) async fn letter(&self, to: &str, subject: &str) -> SentMail {
        let letters = self.letters(to, subject).await;
        letters.last().unwrap_or_else(|| panic!("no mail to {to}: {subject}")).clone()
    }

    /// Waits until the events of failures, written after their answers, are these, with their
    /// counts.
    pub(crate) async fn until_failures(&self, expected: &[(EventKind, u64)]) {
        let failures = || {
            let events = self.events().into_iter().map(|event| (event.kind, event.count));
            let is_failure =
                |kind: EventKind| matches!(kind, EventKind::LoginFailed | EventKind::LockedOut);
            events.filter(|(kind, _)| is_failure(*kind)).collect::<Vec<_>>()
        };
        until(|| failures() == expected).await;
    }

    /// Whether tokens are of any use. It refreshes, which is no reuse but takes the token.
    pub(crate) async fn is_live(&self, tokens: &Tokens) -> bool {
        let profile = self.profile(&tokens.access).await.status;
        let refresh = self.refreshing(&tokens.refresh).await.status;
        assert_eq!(profile, refresh, "access and refresh token end together");
        profile == 200
    }
}

/// The token of a mail's link, which has it in its query or at its end.
pub(crate) fn ticket_of(mail: &SentMail) -> String {
    let link = mail.link.as_deref().unwrap_or_else(|| panic!("no link: {mail:?}"));
    let (_, token) = link.rsplit_once(['=', '/']).unwrap();
    assert!((64..=65).contains(&token.len()), "id and mac, 48 bytes as base64url: {token}");
    assert!(token.ends_with(|last: char| last.is_ascii_alphanumeric()), "{token}");
    token.to_owned()
}

/// The statuses of several answers, in ascending order.
pub(crate) fn statuses(replies: &[Reply]) -> Vec<u16> {
    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    statuses
}

/// A body with some of its fields changed.
pub(crate) fn with(mut body: Value, changes: &Value) -> Value {
    for (field, value) in changes.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

/// Asserts that too much was asked, and returns for how many seconds nothing more is looked at.
pub(crate) fn assert_throttled(reply: &Reply) -> u64 {
    let wait = reply.retry_after().unwrap();
    let unit = if wait == 1 { "second" } else { "seconds" };
    let detail = format!("Request was throttled. Expected available in {wait} {unit}.");
    assert_eq!(reply.told(), (429, json!({"detail": detail})));
    wait
}

/// Asserts that the answer is a page with this heading.
pub(crate) fn assert_page(reply: &Reply, status: u16, heading: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    let heading = format!("<h1>{heading}</h1>");
    assert!(reply.text().contains(&heading), "no {heading}: {}", reply.text());
}
