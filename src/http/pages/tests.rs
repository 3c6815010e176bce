//! What every page must have, and what each one says.

use super::*;
use crate::config::PublicUrl;
use crate::http::field_errors::NON_FIELD;
use crate::http::respond::tests::{body, header};
use crate::mail::{reset_link, verify_link};
use std::time::Duration;

const CREATED: Timestamp = Timestamp::from_micros(1_733_479_200_123_456);
/// Every notice once, with its status.
const NOTICES: [(Notice, u16); 18] = [
    (Notice::Verified, 200),
    (Notice::AlreadyVerified, 200),
    (Notice::BadLink, 400),
    (Notice::Removed, 200),
    (Notice::NotRemoved, 409),
    (Notice::Kept, 200),
    (Notice::PasswordReset, 200),
    (Notice::AlreadyReset, 200),
    (Notice::BadResetLink, 400),
    (Notice::Changed, 200),
    (Notice::Taken, 409),
    (Notice::Cancelled, 200),
    (Notice::ChangeKept, 200),
    (Notice::BadChangeLink, 400),
    (Notice::BadCancelLink, 400),
    (Notice::BadRequest, 400),
    (Notice::Unavailable(Duration::from_millis(1_500)), 503),
    (Notice::Internal, 500),
];

const TOKEN: &str = "dGlja2V0LXRpY2tldC10aWNrZXQ";

fn pages() -> Pages {
    pages_at("https://a.example")
}

fn url(text: &str) -> PublicUrl {
    PublicUrl::parse(text).unwrap()
}

fn pages_at(public_url: &str) -> Pages {
    Pages::new(&url(public_url), Some(&url("https://app.example:8443/welcome"))).unwrap()
}

/// Where a page's only form goes.
fn form_action(page: &str) -> String {
    let mut forms = page.split(r#"<form method="post" action=""#).skip(1);
    let action = forms.next().unwrap().split('"').next().unwrap();
    assert!(forms.next().is_none(), "{page}");
    action.replace("&#x2f;", "/")
}

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

fn token() -> Secret<String> {
    Secret::new(TOKEN.to_owned())
}

fn ask(pages: &Pages, question: Question) -> Answer {
    pages.ask(question, &email("a+b@example.com"), CREATED, &token())
}

fn reset(pages: &Pages, problems: FieldErrors) -> Answer {
    let (email, token) = (&email("a@example.com"), &token());
    pages.reset(&ResetPage { email, token, min_length: 12, problems })
}

/// The tag of the field with this name.
fn field<'a>(page: &'a str, name: &str) -> &'a str {
    let tags = page.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap());
    let named = format!(r#" name="{name}""#);
    let mut found = tags.filter(|tag| tag.contains(&named));
    let tag = found.next().unwrap();
    assert!(found.next().is_none(), "{name} twice in {page}");
    tag
}

fn every_page() -> Vec<Answer> {
    let pages = pages();
    let mut answers: Vec<_> = NOTICES.into_iter().map(|(notice, _)| pages.notice(notice)).collect();
    answers.extend(Question::ALL.map(|question| ask(&pages, question)));
    answers.push(reset(&pages, FieldErrors::default()));
    let problems = FieldErrors::of("new_password", FieldProblem::TooCommon);
    answers.push(reset(&pages, problems));
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
fn each_question_names_the_address_the_time_and_the_service() {
    for question in Question::ALL {
        let page = body(&ask(&pages(), question));
        assert!(page.contains("<bdi>a+b@example.com</bdi>"), "{page}");
        assert!(page.contains(">6 December 2024, 10:00 UTC</time>"), "{page}");
        assert!(page.contains(r#"datetime="2024-12-06T10:00:00.123456Z""#), "{page}");
        assert!(page.contains(" a.example"), "{page}");
    }
}

#[test]
fn each_page_offers_what_it_is_for() {
    use PageAction::{Cancel, Confirm, Disown, DisownConfirmed, Keep, KeepChange, Reset};
    let pages = pages();
    for (question, expected) in [
        (Question::Confirm, &[Confirm, Reset, Disown][..]),
        (Question::Disown, &[Keep, DisownConfirmed]),
        (Question::Change, &[Confirm, Cancel]),
        (Question::CancelChange, &[Cancel, KeepChange]),
    ] {
        let page = body(&ask(&pages, question));
        assert_eq!(buttons(&page), expected);
        assert_eq!(form_action(&page), "/api/verify-email/confirm/");
        let field = format!(r#"<input type="hidden" name="token" value="{TOKEN}">"#);
        assert_eq!(page.matches(&field).count(), 1, "{page}");
        assert_eq!(page.matches(TOKEN).count(), 1, "the ticket is nowhere else");
    }
    for (notice, _) in NOTICES {
        assert!(!body(&pages.notice(notice)).contains("<form"), "{notice:?}");
    }
}

/// With a path in the public URL, forms used to be sent to where only the proxy was at home.
#[test]
fn forms_go_to_where_the_mailed_links_lead() {
    let token = Secret::new(TOKEN.to_owned());
    for (public_url, prefix) in [
        ("https://a.example", ""),
        ("https://a.example/", ""),
        ("http://127.0.0.1:8000", ""),
        ("https://a.example/auth", "/auth"),
        ("https://a.example/x/auth/", "/x/auth"),
    ] {
        let pages = pages_at(public_url);
        let confirm = format!("{prefix}/api/verify-email/confirm/");
        for question in Question::ALL {
            assert_eq!(form_action(&body(&ask(&pages, question))), confirm);
        }
        let reset = form_action(&body(&reset(&pages, FieldErrors::default())));
        assert_eq!(reset, format!("{prefix}/reset-password/"));
        let link = verify_link(&url(public_url), &token);
        assert!(link.expose().ends_with(&format!("{confirm}?token={TOKEN}")));
        let link = reset_link(&url(public_url), None, &token);
        assert!(link.expose().ends_with(&format!("{reset}{TOKEN}")));
    }
}

#[test]
fn the_form_for_a_new_password_is_one_that_password_managers_know() {
    let answer = reset(&pages(), FieldErrors::default());
    assert_eq!(answer.status(), 200);
    let page = body(&answer);
    assert_eq!(form_action(&page), "/reset-password/");
    assert_eq!(field(&page, "token"), format!(r#" type="hidden" name="token" value="{TOKEN}""#));
    assert_eq!(page.matches(TOKEN).count(), 1, "the ticket is nowhere else");
    let username = field(&page, "username");
    for part in [r#"autocomplete="username""#, r#"value="a@example.com""#, " readonly"] {
        assert!(username.contains(part), "{username}");
    }
    for name in ["new_password", "confirm_password"] {
        let input = field(&page, name);
        for part in [r#"type="password""#, r#"autocomplete="new-password""#, " required"] {
            assert!(input.contains(part), "{input}");
        }
        for part in ["value=", "aria-invalid", "autofocus", "maxlength"] {
            assert!(!input.contains(part), "{input}");
        }
    }
    assert!(field(&page, "new_password").contains(r#"minlength="12""#), "{page}");
    assert!(page.contains("at least 12 characters"), "{page}");
    assert!(!page.contains("role=\"alert\""), "{page}");
}

#[test]
fn what_is_wrong_with_a_new_password_stands_beside_its_field() {
    use FieldProblem::{EntirelyNumeric, InvalidResetToken, PasswordsDiffer, Required, TooCommon};
    let weak = [("new_password", TooCommon), ("new_password", EntirelyNumeric)];
    let common = "This is one of the most common passwords. This contains only digits.";
    let differ = "The two passwords are not the same.";
    for (problems, told_of_new, told_of_repetition) in [
        (&weak[..], common, ""),
        (&[(NON_FIELD, PasswordsDiffer)], "", differ),
        (&[("confirm_password", Required)], "", "Please fill this in."),
        (&[weak[0], weak[1], (NON_FIELD, PasswordsDiffer)], common, differ),
        // What is wrong with the ticket is for another page.
        (&[("token", Required), (NON_FIELD, InvalidResetToken)], "", ""),
    ] {
        let mut errors = FieldErrors::default();
        for (field, problem) in problems {
            errors.add(field, *problem);
        }
        let answer = reset(&pages(), errors);
        let is_any = !told_of_new.is_empty() || !told_of_repetition.is_empty();
        assert_eq!(answer.status(), if is_any { 400 } else { 200 }, "{problems:?}");
        let page = body(&answer);
        assert_eq!(page.matches("role=\"alert\"").count(), usize::from(is_any), "{page}");
        assert_eq!(page.matches(" autofocus").count(), usize::from(is_any), "{page}");
        for (name, id, text) in [
            ("new_password", "new-password-problem", told_of_new),
            ("confirm_password", "confirm-password-problem", told_of_repetition),
        ] {
            let is_wrong = !text.is_empty();
            let input = field(&page, name);
            assert_eq!(input.contains(r#"aria-invalid="true""#), is_wrong, "{input}");
            assert_eq!(input.contains(&format!(r#"aria-describedby="{id}"#)), is_wrong, "{input}");
            let told = format!(r#"<p class="problem" id="{id}">{text}</p>"#);
            assert_eq!(page.contains(&told), is_wrong, "{page}");
        }
    }
}

#[test]
fn notices_have_the_status_that_fits() {
    let pages = pages();
    for (notice, status) in NOTICES {
        let answer = pages.notice(notice);
        assert_eq!(answer.status(), status, "{notice:?}");
        let title = format!("<h1>{}</h1>", notice.content().1);
        assert!(body(&answer).contains(&title), "{notice:?}");
        let is_worth_a_retry = matches!(notice, Notice::Unavailable(_));
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
    let without_frontend =
        Pages::new(&url("https://a.example"), None).unwrap().notice(Notice::Verified);
    let policy = header(&without_frontend, "content-security-policy");
    assert!(policy.contains("; form-action 'self'; base-uri"), "{policy}");
}

#[test]
fn what_was_typed_stays_text() {
    let email = email("o'hara&sons`{{7*7}}@example.com");
    let token = Secret::new(r#""><b>&"#.to_owned());
    let page = body(&pages().ask(Question::Confirm, &email, CREATED, &token));
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
