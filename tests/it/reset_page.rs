//! `/reset-password/`: the page behind a mailed reset link, and its form.

use crate::support::{ANN, NEW_PASSWORD, PASSWORD, TestApp, assert_page, at_once};

const HEADING: &str = "Choose a new password";
const DONE: &str = "Your new password is set";
const ALREADY_DONE: &str = "Your password has been changed already";
const BAD_LINK: &str = "This link does not work";

/// The problem that the page shows beside a field.
fn problem<'a>(page: &'a str, field: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("id=\"{field}-problem\">"))?;
    Some(rest.split_once("</p>").unwrap().0)
}

#[tokio::test]
async fn the_link_opens_a_form_and_changes_nothing() {
    let app = TestApp::start_with(|config| config.passwords.policy.min_length = 10);
    app.register(ANN).await;
    let token = app.reset_token(ANN).await;
    for path in [format!("/reset-password/{token}"), format!("/reset-password/{token}/")] {
        let head = app.unchanged(async || app.call("HEAD", &path).await).await;
        assert_eq!((head.status, head.text()), (200, ""));
        let reply = app.unchanged(async || app.get(&path).await).await;
        assert_page(&reply, 200, HEADING);
        let page = reply.text();
        for part in [&format!("name=\"token\" value=\"{token}\""), ANN, "at least 10 characters"] {
            assert!(page.contains(part), "no {part}: {page}");
        }
        assert!(!page.contains("<script") && !page.contains("role=\"alert\""), "{page}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_beside_its_field_and_the_form_can_be_sent_again() {
    let app = TestApp::start();
    app.named(ANN, "Margaret").await;
    let token = app.reset_token(ANN).await;
    let long = "é".repeat(513);
    let table = [
        ("", "", Some("Please fill this in."), Some("Please fill this in.")),
        ("   ", NEW_PASSWORD, Some("Please fill this in."), None),
        ("short", "short", Some("This is too short: use at least 8 characters."), None),
        (long.as_str(), NEW_PASSWORD, Some("This is too long: use at most 1024 bytes."), None),
        (
            "1234567890",
            "1234567890",
            Some("This is one of the most common passwords. This contains only digits."),
            None,
        ),
        ("my ann@example.com", "x", Some("This is too similar to your address."), None),
        ("margaret 12", "x", Some("This is too similar to your user name."), None),
        (NEW_PASSWORD, PASSWORD, None, Some("The two passwords are not the same.")),
    ];
    for (new, repeated, of_new, of_repeated) in table {
        let reply =
            app.unchanged(async || app.resetting_by_page(&token, new, repeated).await).await;
        assert_page(&reply, 400, HEADING);
        let page = reply.text();
        let told = (problem(page, "new-password"), problem(page, "confirm-password"));
        assert_eq!(told, (of_new, of_repeated), "{new} {repeated}");
        assert!(page.contains("role=\"alert\"") && page.contains("aria-invalid=\"true\""));
        assert!(page.contains(&token) && page.contains(ANN));
        for password in [new, repeated].into_iter().filter(|password| password.len() > 5) {
            assert!(!page.contains(password), "a password is never sent back");
        }
        assert!(!page.contains("mallory"), "whose account it is tells the link alone");
    }
    assert_page(&app.resetting_by_page(&token, NEW_PASSWORD, NEW_PASSWORD).await, 200, DONE);
    assert_eq!(app.login(ANN, NEW_PASSWORD).await.status, 200);
    assert_eq!(app.login("mallory@example.com", NEW_PASSWORD).await.status, 401);
}

/// A double click was told that it had failed.
#[tokio::test]
async fn a_used_link_says_that_it_was_used_whatever_is_sent() {
    let app = TestApp::with_ann().await;
    let token = app.reset_token(ANN).await;
    let send = || app.resetting_by_page(&token, NEW_PASSWORD, NEW_PASSWORD);
    let replies = at_once([send(), send(), send()]).await;
    let is = |heading: &str| replies.iter().filter(|it| it.text().contains(heading)).count();
    assert_eq!((is(DONE), is(ALREADY_DONE)), (1, 2), "{replies:?}");
    assert_eq!(app.letters(ANN, "was reset").await.len(), 1);
    let later = async || {
        assert_page(&app.get(&format!("/reset-password/{token}")).await, 200, ALREADY_DONE);
        for password in [NEW_PASSWORD, PASSWORD, "short", ""] {
            let reply = app.resetting_by_page(&token, password, password).await;
            assert_page(&reply, 200, ALREADY_DONE);
        }
    };
    app.unchanged(later).await;
    assert_eq!(app.login(ANN, NEW_PASSWORD).await.status, 200, "no password was looked at");
    let second = app.reset_token(ANN).await;
    assert_page(&app.resetting_by_page(&second, PASSWORD, PASSWORD).await, 200, DONE);
    assert_page(&app.get(&format!("/reset-password/{token}")).await, 200, ALREADY_DONE);
    app.advance(60 * 60);
    assert_page(&app.get(&format!("/reset-password/{token}")).await, 400, BAD_LINK);
}

#[tokio::test]
async fn a_link_is_read_with_its_signs_encoded() {
    let app = TestApp::with_ann().await;
    let mut seen = 0;
    while seen < 2 {
        let token = app.reset_token(ANN).await;
        let encoded = token.replace('-', "%2D").replace('_', "%5f");
        seen += usize::from(encoded != token);
        assert_page(&app.get(&format!("/reset-password/{encoded}/")).await, 200, HEADING);
        app.advance(60 * 60);
    }
}
