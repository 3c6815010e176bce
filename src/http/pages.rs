//! Pages for people: what a mailed link opens in a browser, and where its buttons lead.
//!
//! Plain HTML without scripts and without anything loaded from elsewhere, under a Content Security
//! Policy that would refuse both. The pages carry a ticket in a hidden field, so they are never
//! stored and send no referrer; a browser therefore sends `Origin: null` with their forms.

mod notice;
mod policy;
mod question;
mod reset;

use std::collections::BTreeMap;
use std::fmt;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, InvalidHeaderValue,
    REFERRER_POLICY,
};
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::field_errors::FieldProblem;
use super::respond::{self, Answer};
use crate::clock::Timestamp;
use crate::config::PublicUrl;
use crate::domain::Email;
use crate::paths::{CONFIRM_EMAIL, RESET_PASSWORD};
use crate::secret::Secret;

pub use notice::Notice;
pub use question::{CancelChangePage, ChangePage, ConfirmPage, DisownPage, PageAction};
pub use reset::{ResetPage, ResetProblems};

const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

const STYLE: &str = include_str!("../templates/pages/style.css");

const LAYOUT: &str = "layout.html";
const CONFIRM: &str = "confirm.html";
const DISOWN: &str = "disown.html";
const CHANGE: &str = "change.html";
const CANCEL_CHANGE: &str = "cancel_change.html";
const RESET: &str = "reset.html";
const NOTICE: &str = "notice.html";

const TEMPLATES: [(&str, &str); 7] = [
    (LAYOUT, include_str!("../templates/pages/layout.html")),
    (CONFIRM, include_str!("../templates/pages/confirm.html")),
    (DISOWN, include_str!("../templates/pages/disown.html")),
    (CHANGE, include_str!("../templates/pages/change.html")),
    (CANCEL_CHANGE, include_str!("../templates/pages/cancel_change.html")),
    (RESET, include_str!("../templates/pages/reset.html")),
    (NOTICE, include_str!("../templates/pages/notice.html")),
];

/// Why there can be no pages.
#[derive(Debug)]
pub enum PagesError {
    /// A header of the pages cannot be made.
    Header(InvalidHeaderValue),
    /// A template is broken.
    Template(minijinja::Error),
}

impl fmt::Display for PagesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(error) => write!(f, "page header: {error}"),
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
    /// Where the forms of the questions go: as a browser must ask for it, so with the path of the
    /// public URL, which a proxy takes off again.
    confirm_action: String,
    /// Where the form with the new password goes, likewise.
    reset_action: String,
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
            templates.add_template(name, source).map_err(PagesError::Template)?;
        }
        let policy = policy::policy(STYLE, frontend.map(PublicUrl::origin));
        let policy = HeaderValue::from_str(&policy).map_err(PagesError::Header)?;
        let site = frontend.map(|url| url.authority().to_owned());
        let prefix = public_url.path();
        let pages = Self {
            templates,
            site,
            policy,
            confirm_action: format!("{prefix}{CONFIRM_EMAIL}/"),
            reset_action: format!("{prefix}{RESET_PASSWORD}/"),
        };
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

    /// Asks whether an account is to get a new address.
    pub fn change(&self, page: &ChangePage) -> Answer {
        self.answer(StatusCode::OK, self.render_change(page))
    }

    /// Asks whether a change of address is to be called off.
    pub fn cancel_change(&self, page: &CancelChangePage) -> Answer {
        self.answer(StatusCode::OK, self.render_cancel_change(page))
    }

    /// Asks for a new password; with status 400 where there was one that will not do, so that no
    /// password manager keeps it.
    pub fn reset(&self, page: &ResetPage) -> Answer {
        let is_good = page.problems.is_empty();
        let status = if is_good { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        self.answer(status, self.render_reset(page))
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
        let (created_at, requested_at) = (Timestamp::EPOCH, Timestamp::EPOCH);
        if let Ok(email) = Email::parse("sample@localhost") {
            let email = || email.clone();
            for can_reset in [true, false] {
                let (email, token) = (email(), token());
                self.render_confirm(&ConfirmPage { email, created_at, token, can_reset })?;
            }
            self.render_disown(&DisownPage { email: email(), created_at, token: token() })?;
            let new_email = email();
            self.render_change(&ChangePage { new_email, requested_at, token: token() })?;
            let new_email = email();
            self.render_cancel_change(&CancelChangePage {
                new_email,
                requested_at,
                token: token(),
            })?;
            for problems in [vec![], vec![FieldProblem::Blank]] {
                self.render_reset(&ResetPage {
                    email: email(),
                    token: token(),
                    min_length: 1,
                    problems: ResetProblems {
                        new_password: problems.clone(),
                        confirm_password: problems,
                    },
                })?;
            }
        }
        Notice::ALL.into_iter().try_for_each(|notice| self.render_notice(notice).map(drop))
    }

    fn render_confirm(&self, page: &ConfirmPage) -> Result<String, minijinja::Error> {
        let question = self.question(&page.email, page.created_at, &page.token);
        let question = context! { can_reset => page.can_reset, ..question };
        self.render(CONFIRM, "Confirm your address", question)
    }

    fn render_disown(&self, page: &DisownPage) -> Result<String, minijinja::Error> {
        let question = self.question(&page.email, page.created_at, &page.token);
        self.render(DISOWN, "Remove this account?", question)
    }

    fn render_change(&self, page: &ChangePage) -> Result<String, minijinja::Error> {
        let question = self.question(&page.new_email, page.requested_at, &page.token);
        self.render(CHANGE, "Confirm your new address", question)
    }

    fn render_cancel_change(&self, page: &CancelChangePage) -> Result<String, minijinja::Error> {
        let question = self.question(&page.new_email, page.requested_at, &page.token);
        self.render(CANCEL_CHANGE, "Call off the change of address?", question)
    }

    /// What every page with a question is filled in with: which address, since when, and its buttons.
    fn question(&self, email: &Email, at: Timestamp, token: &Secret<String>) -> Value {
        context! {
            form_action => self.confirm_action.as_str(),
            actions => PageAction::ALL
                .map(|action| (action.as_str(), action.as_str()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            email => email.as_str(),
            at => at.for_people(),
            at_machine => at.to_string(),
            token => token.expose().as_str(),
        }
    }

    fn render_reset(&self, page: &ResetPage) -> Result<String, minijinja::Error> {
        let form = context! {
            form_action => self.reset_action.as_str(),
            email => page.email.as_str(),
            token => page.token.expose().as_str(),
            min_length => page.min_length,
            problems => context! {
                new_password => reset::advice(&page.problems.new_password),
                confirm_password => reset::advice(&page.problems.confirm_password),
            },
        };
        self.render(RESET, "Choose a new password", form)
    }

    fn render_notice(&self, notice: Notice) -> Result<String, minijinja::Error> {
        let content = context! {
            tone => if notice.status().is_success() { "good" } else { "note" },
            paragraphs => Vec::from(notice.paragraphs()),
        };
        self.render(NOTICE, notice.title(), content)
    }

    /// A whole page: one template, filled in, within the layout.
    fn render(
        &self,
        template: &str,
        title: &str,
        values: Value,
    ) -> Result<String, minijinja::Error> {
        let frame = context! { site => self.site.as_deref(), title => title };
        let content = self
            .templates
            .get_template(template)?
            .render(context! { ..frame.clone(), ..values })?;
        self.templates
            .get_template(LAYOUT)?
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

#[cfg(test)]
mod tests;
