//! Pages for people: what a mailed link opens in a browser, and where its buttons lead.
//!
//! Plain HTML without scripts and without anything loaded from elsewhere, under a Content Security
//! Policy that would refuse both. The pages carry a ticket in a hidden field, so they are never
//! stored and send no referrer; a browser therefore sends `Origin: null` with their forms.

mod notice;
mod question;
mod reset;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, InvalidHeaderValue,
    REFERRER_POLICY, RETRY_AFTER,
};
use minijinja::{Environment, UndefinedBehavior, Value, context};
use thiserror::Error;

use super::field_errors::{FieldErrors, FieldProblem};
use super::respond::{self, Answer};
use crate::clock::Timestamp;
use crate::config::PublicUrl;
use crate::domain::Email;
use crate::paths::{CONFIRM_EMAIL, RESET_PASSWORD, SCHEMA};
use crate::secret::Secret;

pub(super) use notice::Notice;
pub(super) use question::{PageAction, Question};
pub(super) use reset::ResetPage;

const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

const STYLE: &str = include_str!("../templates/pages/style.css");

const TEMPLATES: [(&str, &str); 8] = [
    ("layout.html", include_str!("../templates/pages/layout.html")),
    ("confirm.html", include_str!("../templates/pages/confirm.html")),
    ("disown.html", include_str!("../templates/pages/disown.html")),
    ("change.html", include_str!("../templates/pages/change.html")),
    ("cancel_change.html", include_str!("../templates/pages/cancel_change.html")),
    ("home.html", include_str!("../templates/pages/home.html")),
    ("reset.html", include_str!("../templates/pages/reset.html")),
    ("notice.html", include_str!("../templates/pages/notice.html")),
];

/// Why there can be no pages.
#[derive(Debug, Error)]
pub enum PagesError {
    /// A header of the pages cannot be made.
    #[error("page header: {0}")]
    Header(#[from] InvalidHeaderValue),
    /// A template is broken.
    #[error("broken page template: {0}")]
    Template(#[from] minijinja::Error),
}

/// All pages, ready to be filled in.
#[derive(Debug)]
pub struct Pages {
    templates: Environment<'static>,
    /// What pages and mails call the service: the host of the public URL.
    site: String,
    /// The same for every page, since the style is.
    policy: HeaderValue,
    /// The path of the public URL, which a proxy takes off again: forms go to where a browser must
    /// ask for it.
    prefix: String,
}

impl Pages {
    /// Pages that browsers see under `public_url`, and that may lead to the frontend, where there
    /// is one.
    ///
    /// # Errors
    /// A template that does not work with what it will be given.
    pub fn new(public_url: &PublicUrl, frontend: Option<&PublicUrl>) -> Result<Self, PagesError> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        // An error must not quote what a page was filled in with: it holds a ticket.
        templates.set_debug(false);
        for (name, source) in TEMPLATES {
            templates.add_template(name, source)?;
        }
        let policy = policy(STYLE, frontend.map(PublicUrl::origin));
        let policy = HeaderValue::from_str(&policy)?;
        let pages = Self {
            templates,
            site: public_url.authority().to_owned(),
            policy,
            prefix: public_url.path().to_owned(),
        };
        pages.rehearse()?;
        Ok(pages)
    }

    /// Asks about the account or the change with this address, made or asked for at `since`. The
    /// form sends `token` on, which its link carries.
    pub(super) fn ask(
        &self,
        question: Question,
        email: &Email,
        since: Timestamp,
        token: &Secret<String>,
    ) -> Answer {
        self.answer(StatusCode::OK, self.render_question(question, email, since, token))
    }

    /// Asks for a new password; with status 400 where there was one that is refused, so that no
    /// password manager keeps it.
    pub(super) fn reset(&self, page: &ResetPage<'_>) -> Answer {
        let is_good = page.advice().iter().all(Vec::is_empty);
        let status = if is_good { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        self.answer(status, self.render_reset(page))
    }

    /// What this is, for a browser at `/`.
    pub(super) fn home(&self) -> Answer {
        self.answer(StatusCode::OK, self.render_home())
    }

    pub(super) fn notice(&self, notice: Notice) -> Answer {
        let (status, ..) = notice.content();
        let mut answer = self.answer(status, self.render_notice(notice));
        if let Notice::Unavailable(wait) = notice {
            answer.headers_mut().insert(RETRY_AFTER, respond::whole_seconds(wait).into());
        }
        answer
    }

    /// Renders every template, so that a broken one shows at the start and not in use.
    fn rehearse(&self) -> Result<(), minijinja::Error> {
        let token = &Secret::new("sample".to_owned());
        if let Ok(email) = &Email::parse("sample@localhost") {
            for question in Question::ALL {
                self.render_question(question, email, Timestamp::EPOCH, token)?;
            }
            let mut blank = FieldErrors::of("new_password", FieldProblem::Blank);
            blank.add("confirm_password", FieldProblem::Blank);
            for problems in [FieldErrors::default(), blank] {
                self.render_reset(&ResetPage { email, token, min_length: 1, problems })?;
            }
        }
        self.render_home()?;
        self.render_notice(Notice::Internal).map(drop)
    }

    fn render_question(
        &self,
        question: Question,
        email: &Email,
        since: Timestamp,
        token: &Secret<String>,
    ) -> Result<String, minijinja::Error> {
        let form = context! {
            form_action => format!("{}{CONFIRM_EMAIL}/", self.prefix),
            email => email.as_str(),
            at => since.for_people(),
            at_machine => since.to_string(),
            token => token.expose().as_str(),
        };
        let (template, title) = question.page();
        self.render(template, title, form)
    }

    fn render_reset(&self, page: &ResetPage<'_>) -> Result<String, minijinja::Error> {
        let [new_password, confirm_password] = page.advice();
        let form = context! {
            form_action => format!("{}{RESET_PASSWORD}/", self.prefix),
            email => page.email.as_str(),
            token => page.token.expose().as_str(),
            min_length => page.min_length,
            problems => context! { new_password, confirm_password },
        };
        self.render("reset.html", "Choose a new password", form)
    }

    fn render_home(&self) -> Result<String, minijinja::Error> {
        let schema = format!("{}{SCHEMA}/", self.prefix);
        self.render("home.html", "This is an account service", context! { schema })
    }

    fn render_notice(&self, notice: Notice) -> Result<String, minijinja::Error> {
        let (status, title, what_is, what_to_do) = notice.content();
        let content = context! {
            tone => if status.is_success() { "good" } else { "note" },
            paragraphs => vec![what_is, what_to_do],
        };
        self.render("notice.html", title, content)
    }

    /// A whole page: one template, filled in, within the layout.
    fn render(
        &self,
        template: &str,
        title: &str,
        values: Value,
    ) -> Result<String, minijinja::Error> {
        let frame = context! { site => self.site.as_str(), title => title };
        let content = self
            .templates
            .get_template(template)?
            .render(context! { ..frame.clone(), ..values })?;
        self.templates
            .get_template("layout.html")?
            .render(context! { style => STYLE, content => content, ..frame })
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

/// The Content Security Policy (level 3): the one style by its hash, our own forms and where they
/// redirect to, and nothing else.
fn policy(style: &str, frontend: Option<String>) -> String {
    let style = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let frontend = frontend.map_or_else(String::new, |origin| format!(" {origin}"));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'{frontend}; \
         base-uri 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests;
