//! Pages for people: what a mailed link opens in a browser, and where its buttons lead.
//!
//! Plain HTML without scripts and without anything loaded from elsewhere, under a Content Security
//! Policy that would refuse both. The pages carry a ticket in a hidden field, so they are never
//! stored and send no referrer; a browser therefore sends `Origin: null` with their forms.

mod notice;
mod policy;

use std::fmt;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
};
use minijinja::{Environment, UndefinedBehavior, Value, context};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use self::policy::Origin;
use super::respond::{self, Answer};
use crate::clock::Timestamp;
use crate::domain::Email;
use crate::secret::Secret;

pub use notice::Notice;

/// Where the forms go.
pub const FORM_ACTION: &str = "/api/verify-email/confirm/";

const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

const STYLE: &str = include_str!("../templates/pages/style.css");

const LAYOUT: &str = "layout.html";
const CONFIRM: &str = "confirm.html";
const DISOWN: &str = "disown.html";
const NOTICE: &str = "notice.html";

const TEMPLATES: [(&str, &str); 4] = [
    (LAYOUT, include_str!("../templates/pages/layout.html")),
    (CONFIRM, include_str!("../templates/pages/confirm.html")),
    (DISOWN, include_str!("../templates/pages/disown.html")),
    (NOTICE, include_str!("../templates/pages/notice.html")),
];

/// The page behind a verification link.
#[derive(Debug)]
pub struct ConfirmPage {
    /// Which address is being confirmed.
    pub email: Email,
    /// When the account was made.
    pub created_at: Timestamp,
    /// The ticket that the link carries; the form sends it on.
    pub token: Secret<String>,
    /// Whether to offer a new password to someone who did not choose the present one.
    pub can_reset: bool,
}

/// The page behind "this was not me": are you sure?
#[derive(Debug)]
pub struct DisownPage {
    /// The account's address.
    pub email: Email,
    /// When the account was made.
    pub created_at: Timestamp,
    /// The ticket that the link carries; the form sends it on.
    pub token: Secret<String>,
}

/// What a button asks for: the form's field `action`, beside its field `token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageAction {
    /// The address is mine: confirm it.
    Confirm,
    /// The address is mine, but not the password: reset it.
    Reset,
    /// This was not me: ask whether to remove the account.
    Disown,
    /// Remove the account.
    DisownConfirmed,
    /// Leave the account as it is.
    Keep,
}

impl PageAction {
    const ALL: [Self; 5] =
        [Self::Confirm, Self::Reset, Self::Disown, Self::DisownConfirmed, Self::Keep];

    /// How the form spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Reset => "reset",
            Self::Disown => "disown",
            Self::DisownConfirmed => "disown_confirmed",
            Self::Keep => "keep",
        }
    }

    /// Reads the field; nothing for a value that no button sends.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// Why there can be no pages.
#[derive(Debug)]
pub enum PagesError {
    /// The frontend's URL does not begin with an origin that a policy can name (in ASCII,
    /// `https://host` or `http://host:port`).
    Frontend(String),
    /// A template is broken.
    Template(minijinja::Error),
}

impl fmt::Display for PagesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frontend(url) => write!(f, "no origin at the start of frontend URL {url:?}"),
            Self::Template(error) => write!(f, "broken page template: {error}"),
        }
    }
}

impl std::error::Error for PagesError {}

/// All pages, ready to be filled in.
#[derive(Debug)]
pub struct Pages {
    templates: Environment<'static>,
    /// What the pages call the place the account is at: the frontend's host, where there is one.
    site: Option<String>,
    /// The same for every page, since the style is.
    policy: HeaderValue,
}

impl Pages {
    /// Pages that may lead to `frontend_url` (or its origin alone), where there is one.
    ///
    /// # Errors
    /// A frontend that is no URL, or a template that does not work with what it will be given.
    pub fn new(frontend_url: Option<&str>) -> Result<Self, PagesError> {
        let frontend = frontend_url
            .map(|url| Origin::of(url).ok_or_else(|| PagesError::Frontend(url.to_owned())))
            .transpose()?;
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        // An error must not quote what a page was filled in with: it holds a ticket.
        templates.set_debug(false);
        for (name, source) in TEMPLATES {
            templates.add_template(name, source).map_err(PagesError::Template)?;
        }
        let policy = policy::policy(STYLE, frontend);
        let policy = HeaderValue::from_str(&policy)
            .map_err(|_| PagesError::Frontend(frontend_url.unwrap_or_default().to_owned()))?;
        let site = frontend.map(|origin| origin.host.to_owned());
        let pages = Self { templates, site, policy };
        pages.rehearse().map_err(PagesError::Template)?;
        Ok(pages)
    }

    /// Asks whether to confirm an address.
    pub fn confirm(&self, page: &ConfirmPage) -> Answer {
        self.answer(StatusCode::OK, self.render_confirm(page))
    }

    /// Asks whether to remove an account.
    pub fn disown(&self, page: &DisownPage) -> Answer {
        self.answer(StatusCode::OK, self.render_disown(page))
    }

    /// Says something.
    pub fn notice(&self, notice: Notice) -> Answer {
        let answer = self.answer(notice.status(), self.render_notice(notice));
        match notice {
            Notice::Unavailable { retry_after } => respond::retry_after(answer, retry_after),
            _ => answer,
        }
    }

    /// Renders every page once, so that a broken one shows at the start and not in use.
    fn rehearse(&self) -> Result<(), minijinja::Error> {
        let token = || Secret::new("sample".to_owned());
        let created_at = Timestamp::EPOCH;
        if let Ok(email) = Email::parse("sample@localhost") {
            for can_reset in [true, false] {
                let email = email.clone();
                self.render_confirm(&ConfirmPage { email, created_at, token: token(), can_reset })?;
            }
            self.render_disown(&DisownPage { email, created_at, token: token() })?;
        }
        Notice::ALL.into_iter().try_for_each(|notice| self.render_notice(notice).map(drop))
    }

    fn render_confirm(&self, page: &ConfirmPage) -> Result<String, minijinja::Error> {
        let content = self.templates.get_template(CONFIRM)?.render(context! {
            can_reset => page.can_reset,
            ..self.question(&page.email, page.created_at, &page.token)
        })?;
        self.lay_out("Confirm your address", &content)
    }

    fn render_disown(&self, page: &DisownPage) -> Result<String, minijinja::Error> {
        let question = self.question(&page.email, page.created_at, &page.token);
        let content = self.templates.get_template(DISOWN)?.render(question)?;
        self.lay_out("Remove this account?", &content)
    }

    fn render_notice(&self, notice: Notice) -> Result<String, minijinja::Error> {
        let content = self.templates.get_template(NOTICE)?.render(context! {
            tone => if notice.status().is_success() { "good" } else { "note" },
            title => notice.title(),
            paragraphs => Vec::from(notice.paragraphs()),
        })?;
        self.lay_out(notice.title(), &content)
    }

    /// What every page with a form is filled in with.
    fn question(&self, email: &Email, created_at: Timestamp, token: &Secret<String>) -> Value {
        context! {
            site => self.site.as_deref(),
            form_action => FORM_ACTION,
            actions => context! {
                confirm => PageAction::Confirm.as_str(),
                reset => PageAction::Reset.as_str(),
                disown => PageAction::Disown.as_str(),
                disown_confirmed => PageAction::DisownConfirmed.as_str(),
                keep => PageAction::Keep.as_str(),
            },
            email => email.as_str(),
            created_at => for_people(created_at),
            created_at_machine => created_at.to_string(),
            token => token.expose().as_str(),
        }
    }

    fn lay_out(&self, title: &str, content: &str) -> Result<String, minijinja::Error> {
        self.templates.get_template(LAYOUT)?.render(context! {
            site => self.site.as_deref(),
            title => title,
            style => STYLE,
            content => content,
        })
    }

    fn answer(&self, status: StatusCode, page: Result<String, minijinja::Error>) -> Answer {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(kind = %error.kind(), template = error.name(), "cannot render a page");
                return respond::internal_error();
            }
        };
        let mut answer = respond::no_store(respond::with_body(status, Bytes::from(page)));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        for (name, value) in [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (REFERRER_POLICY, "no-referrer"),
            (X_ROBOTS_TAG, "noindex"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

/// `6 December 2024, 10:00 UTC`
fn for_people(moment: Timestamp) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[day padding:none] [month repr:long] [year], [hour]:[minute] UTC");
    moment.to_utc().format(FORMAT).unwrap_or_else(|_| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::respond::tests::{body, header};
    use aws_lc_rs::digest::{SHA256, digest};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use std::time::Duration;

    const CREATED: Timestamp = Timestamp::from_micros(1_733_479_200_123_456);
    const TOKEN: &str = "dGlja2V0LXRpY2tldC10aWNrZXQ";

    fn pages() -> Pages {
        Pages::new(Some("https://app.example:8443/welcome")).unwrap()
    }

    fn confirm_page(email: &str, can_reset: bool) -> ConfirmPage {
        ConfirmPage {
            email: Email::parse(email).unwrap(),
            created_at: CREATED,
            token: Secret::new(TOKEN.to_owned()),
            can_reset,
        }
    }

    fn disown_page() -> DisownPage {
        DisownPage {
            email: Email::parse("a@example.com").unwrap(),
            created_at: CREATED,
            token: Secret::new(TOKEN.to_owned()),
        }
    }

    fn every_page() -> Vec<Answer> {
        let pages = pages();
        let mut answers: Vec<_> =
            Notice::ALL.into_iter().map(|notice| pages.notice(notice)).collect();
        answers.push(pages.confirm(&confirm_page("a@example.com", true)));
        answers.push(pages.disown(&disown_page()));
        answers
    }

    /// The values of a page's buttons, in their order.
    fn buttons(page: &str) -> Vec<PageAction> {
        let buttons = page.split("<button").skip(1);
        buttons
            .map(|button| {
                let (_, value) = button.split_once(r#"name="action" value=""#).unwrap();
                PageAction::parse(value.split('"').next().unwrap()).unwrap()
            })
            .collect()
    }

    #[test]
    fn the_confirming_page_says_which_address_and_since_when() {
        let page = body(&pages().confirm(&confirm_page("a+b@example.com", false)));
        assert!(page.contains("<bdi>a+b@example.com</bdi>"), "{page}");
        assert!(page.contains(">6 December 2024, 10:00 UTC</time>"), "{page}");
        assert!(page.contains(r#"datetime="2024-12-06T10:00:00.123456Z""#), "{page}");
        assert!(page.contains("an account at app.example:8443 with"), "{page}");
    }

    #[test]
    fn each_page_offers_what_it_is_for() {
        use PageAction::{Confirm, Disown, DisownConfirmed, Keep, Reset};
        let pages = pages();
        let confirm = |can_reset| body(&pages.confirm(&confirm_page("a@example.com", can_reset)));
        for (page, expected) in [
            (confirm(true), &[Confirm, Reset, Disown][..]),
            (confirm(false), &[Confirm, Disown]),
            (body(&pages.disown(&disown_page())), &[Keep, DisownConfirmed]),
        ] {
            assert_eq!(buttons(&page), expected);
            let form = r#"<form method="post" action="/api/verify-email/confirm/""#;
            assert_eq!(page.replace("&#x2f;", "/").matches(form).count(), 1, "{page}");
            let field = format!(r#"<input type="hidden" name="token" value="{TOKEN}">"#);
            assert_eq!(page.matches(&field).count(), 1, "{page}");
            assert_eq!(page.matches(TOKEN).count(), 1, "the ticket is nowhere else");
        }
        for notice in Notice::ALL {
            assert!(!body(&pages.notice(notice)).contains("<form"), "{notice:?}");
        }
    }

    #[test]
    fn actions_are_read_as_they_are_written() {
        for action in PageAction::ALL {
            assert_eq!(PageAction::parse(action.as_str()), Some(action));
        }
        for text in ["", "Confirm", "confirm ", "remove"] {
            assert_eq!(PageAction::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn notices_have_the_status_that_fits() {
        let pages = pages();
        for (notice, status) in [
            (Notice::Confirmed, 200),
            (Notice::AlreadyVerified, 200),
            (Notice::BadLink, 400),
            (Notice::Removed, 200),
            (Notice::NotRemoved, 409),
            (Notice::Kept, 200),
            (Notice::BadRequest, 400),
            (Notice::Unavailable { retry_after: Duration::from_millis(1_500) }, 503),
            (Notice::Internal, 500),
        ] {
            let answer = pages.notice(notice);
            assert_eq!(answer.status(), status, "{notice:?}");
            let title = format!("<h1>{}</h1>", notice.title());
            assert!(body(&answer).contains(&title), "{notice:?}");
            let is_worth_a_retry = matches!(notice, Notice::Unavailable { .. });
            let expected = if is_worth_a_retry { "2" } else { "" };
            assert_eq!(header(&answer, "retry-after"), expected, "{notice:?}");
        }
    }

    #[test]
    fn every_page_carries_its_headers() {
        for answer in every_page() {
            for (name, value) in [
                ("content-type", "text/html; charset=utf-8"),
                ("cache-control", "no-store"),
                ("referrer-policy", "no-referrer"),
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("cross-origin-opener-policy", "same-origin"),
                ("x-robots-tag", "noindex"),
            ] {
                assert_eq!(header(&answer, name), value, "{name}");
            }
        }
    }

    #[test]
    fn the_policy_admits_the_style_that_is_there_and_nothing_else() {
        for answer in every_page() {
            let page = body(&answer);
            let (_, rest) = page.split_once("<style>").unwrap();
            let (style, _) = rest.split_once("</style>").unwrap();
            let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
            assert_eq!(
                header(&answer, "content-security-policy"),
                format!(
                    "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self' https://app.example:8443; base-uri 'none'; frame-ancestors 'none'"
                )
            );
            assert!(!style.contains('\r'), "a browser would hash another text");
            for word in ["<script", "style=", "javascript:", "src=", "href=", "url(", "@import"] {
                assert!(!page.contains(word), "{word} in {page}");
            }
        }
        let without_frontend = Pages::new(None).unwrap().notice(Notice::Confirmed);
        let policy = header(&without_frontend, "content-security-policy");
        assert!(policy.contains("; form-action 'self'; base-uri"), "{policy}");
        assert!(!body(&without_frontend).contains("<header"));
    }

    #[test]
    fn what_was_typed_stays_text() {
        let mut page = confirm_page("o'hara&sons`{{7*7}}@example.com", true);
        page.token = Secret::new(r#""><b>&"#.to_owned());
        let page = body(&pages().confirm(&page));
        assert!(page.contains("<bdi>o&#x27;hara&amp;sons`{{7*7}}@example.com</bdi>"), "{page}");
        assert!(page.contains(r#"value="&quot;&gt;&lt;b&gt;&amp;""#), "{page}");
    }

    #[test]
    fn every_page_has_one_heading_a_language_and_a_landmark() {
        for answer in every_page() {
            let page = body(&answer);
            for part in ["<html lang=\"en\">", "<main>", "<h1>", "<title>", "name=\"viewport\""] {
                assert_eq!(page.matches(part).count(), 1, "{part} in {page}");
            }
        }
    }

    #[test]
    fn an_origin_is_what_a_policy_can_name() {
        for (url, expected) in [
            ("https://app.example", Some(("https://app.example", "app.example"))),
            ("https://app.example/a?b#c", Some(("https://app.example", "app.example"))),
            ("http://localhost:5173/", Some(("http://localhost:5173", "localhost:5173"))),
            ("http://[::1]:80", Some(("http://[::1]:80", "[::1]:80"))),
            ("", None),
            ("app.example", None),
            ("https://", None),
            ("ftp://app.example", None),
            ("https://app.example; script-src *", None),
            ("https://a b", None),
            ("https://me@app.example", None),
            ("https://*", None),
            ("https://bücher.example", None),
        ] {
            assert_eq!(Origin::of(url).map(|origin| (origin.text, origin.host)), expected, "{url}");
            assert_eq!(Pages::new(Some(url)).is_ok(), expected.is_some(), "{url}");
        }
    }
}
