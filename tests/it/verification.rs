//! `/api/verify-email/confirm/`: the mailed link, its page, its buttons, and the JSON form.

use latchkey::config::{ConfirmBy, PublicUrl};
use serde_json::json;

use crate::support::messages::bad_ticket;
use crate::support::{ANN, CONFIRM, DAY, Reply, TestApp, assert_page, at_once, ticket_of};

const FRONTEND: &str = "https://app.example.com/account";

const BAD_LINK: &str = "This link does not work";
const CONFIRMED: &str = "Your address is confirmed";
const ALREADY: &str = "Your address is already confirmed";

/// What has become of a link.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Confirmed,
    Already,
    Bad,
}

/// Asserts that this is told, by a page or by leading to the frontend if there is one.
fn assert_told(reply: &Reply, has_frontend: bool, outcome: Outcome) {
    let (status, heading, place) = match outcome {
        Outcome::Confirmed => (200, CONFIRMED, "success"),
        Outcome::Already => (200, ALREADY, "already-verified"),
        Outcome::Bad => (400, BAD_LINK, "error"),
    };
    if has_frontend {
        let location = format!("{FRONTEND}/verification/{place}");
        assert_eq!((reply.status, reply.header("location")), (303, Some(location.as_str())));
    } else {
        assert_page(reply, status, heading);
    }
}

/// Tokens that no mail ever held.
fn bad_tokens(good: &str) -> Vec<String> {
    let reversed = good.chars().rev().collect();
    let (first, rest) = good.split_at(1);
    let other = if first == "A" { "B" } else { "A" };
    vec![
        String::new(),
        "garbage".to_owned(),
        "A".repeat(good.len()),
        "x".repeat(5_000),
        reversed,
        format!("{other}{rest}"),
        format!("{good}A"),
        good[..good.len() - 1].to_owned(),
    ]
}

#[tokio::test]
async fn the_mail_holds_one_link_to_the_page() {
    let (app, token) = TestApp::with_ann_invited().await;
    let [mail] = app.mails.sent().try_into().unwrap_or_else(|_| panic!("one mail"));
    let link = format!("https://accounts.example.com{CONFIRM}?token={token}");
    assert_eq!((mail.to.as_str(), mail.link.as_deref()), (ANN, Some(link.as_str())));
    assert!(mail.text.contains(&link) && mail.html.contains(&link));
    assert_eq!(ticket_of(&mail), token);
    assert_eq!(app.app.store.count_mail(), Ok(0));
}

/// By the button or, if so configured, by opening the link; on a page or at a frontend.
#[tokio::test]
async fn a_link_confirms_once_and_then_says_so() {
    for (is_by_link, has_frontend) in [(false, false), (false, true), (true, false), (true, true)] {
        let app = TestApp::start_with(|config| {
            config.registration.confirm =
                if is_by_link { ConfirmBy::Link } else { ConfirmBy::Click };
            config.server.frontend_url = PublicUrl::parse(FRONTEND).filter(|_| has_frontend);
        });
        let token = app.invited(ANN).await;
        let tokens = app.log_in(ANN).await;
        let told = |reply, outcome| assert_told(&reply, has_frontend, outcome);
        let head = |token: &str| app.call("HEAD", &format!("{CONFIRM}?token={token}"));
        let confirms_nothing = async || {
            assert_eq!(head(&token).await.status, 200);
            told(app.get(CONFIRM).await, Outcome::Bad);
            for bad in bad_tokens(&token) {
                told(app.opening(&bad).await, Outcome::Bad);
                assert_eq!(head(&bad).await.status, if has_frontend { 303 } else { 400 });
                told(app.press("confirm", &bad).await, Outcome::Bad);
                for action in ["disown", "disown_confirmed"] {
                    assert_page(&app.press(action, &bad).await, 400, BAD_LINK);
                }
            }
            for action in ["no such button", ""] {
                assert_page(&app.press(action, &token).await, 400, "That did not work");
            }
            if !is_by_link {
                let page = app.opening(&format!("%20{token}+")).await;
                assert_page(&page, 200, "Confirm your address");
                for part in [ANN, "6 December 2024, 10:00 UTC", &token] {
                    assert!(page.text().contains(part), "no {part}: {page:?}");
                }
                let policy = page.header("content-security-policy").unwrap();
                let to_frontend = "form-action 'self' https://app.example.com";
                assert_eq!(policy.contains(to_frontend), has_frontend, "{policy}");
            }
        };
        app.unchanged(confirms_nothing).await;
        assert!(!app.is_verified(&tokens.access).await);
        let click = if is_by_link { app.opening(&token) } else { app.press("confirm", &token) };
        told(click.await, Outcome::Confirmed);
        assert!(app.is_verified(&tokens.access).await);
        let again = async || {
            told(app.press("confirm", &token).await, Outcome::Already);
            told(app.opening(&token).await, Outcome::Already);
            // A repeated request whose answer was lost gets the same answer.
            app.confirm(&token).await;
        };
        app.unchanged(again).await;
        // The ticket stays, marked, until it expires.
        app.advance(DAY);
        let over = async || {
            told(app.press("confirm", &token).await, Outcome::Bad);
            told(app.opening(&token).await, Outcome::Bad);
        };
        app.unchanged(over).await;
        // Programs are not sent anywhere.
        app.refuses(app.confirming(&token), bad_ticket()).await;
    }
}

#[tokio::test]
async fn simultaneous_confirmations_are_one() {
    let (app, token) = TestApp::with_ann_invited().await;
    // A form without a button confirms as well.
    let clicking = || app.call("POST", CONFIRM).form(&[("token", &*token)]);
    let replies = at_once((0..8).map(|_| clicking())).await;
    let confirmed = |reply: &&Reply| reply.text().contains(CONFIRMED);
    assert_eq!(replies.iter().filter(confirmed).count(), 1);
    assert!(replies.iter().all(|reply| reply.status == 200));
}

#[tokio::test]
async fn programs_confirm_with_json() {
    let (app, token) = TestApp::with_ann_invited().await;
    let tokens = app.log_in(ANN).await;
    for bad in bad_tokens(&token).into_iter().filter(|bad| !bad.is_empty()) {
        app.refuses(app.confirming(&bad), bad_ticket()).await;
    }
    let reply = app.confirming(&format!(" {token}\n")).await;
    assert_eq!(reply.told(), (200, json!({"message": "Email verified successfully"})));
    assert!(app.is_verified(&tokens.access).await);
}

#[tokio::test]
async fn a_ticket_is_good_for_its_day_and_no_longer() {
    for (seconds, is_good) in [(DAY - 1, true), (DAY, false), (DAY + 1, false)] {
        let (app, token) = TestApp::with_ann_invited().await;
        app.advance(seconds);
        let outcome = if is_good { Outcome::Already } else { Outcome::Bad };
        let status = app.confirming(&token).await.status;
        assert_eq!(status, if is_good { 200 } else { 400 }, "after {seconds} s");
        assert_told(&app.opening(&token).await, false, outcome);
    }
}

#[tokio::test]
async fn this_was_not_me_removes_the_account_after_a_second_page() {
    let (app, token) = TestApp::with_ann_invited().await;
    let tokens = app.log_in(ANN).await;
    let asking = async || {
        let page = app.press("disown", &token).await;
        assert_page(&page, 200, "Remove this account?");
        assert!(page.text().contains(ANN) && page.text().contains(&token));
        assert!(page.text().contains("value=\"disown_confirmed\""));
        assert_page(&app.press("keep", &token).await, 200, "Nothing was changed");
    };
    app.unchanged(asking).await;
    assert_page(&app.press("disown_confirmed", &token).await, 200, "The account is removed");
    assert_eq!(app.app.store.count_users(), Ok(0));
    assert_eq!(app.app.store.count_sessions(), Ok(0));
    assert_eq!(app.profile(&tokens.access).await.status, 401);
    // The address is free again, and its new account has nothing to do with the old link.
    let other = app.invited(ANN).await;
    let again = app.unchanged(async || app.press("disown_confirmed", &token).await).await;
    assert_page(&again, 200, "The account is removed");
    for action in ["disown", "keep"] {
        assert_page(&app.press(action, &token).await, 200, "The account is removed");
    }
    assert_ne!(token, other);
}

#[tokio::test]
async fn a_confirmed_account_is_not_removed() {
    let (app, token) = TestApp::with_ann_invited().await;
    app.confirm(&token).await;
    for action in ["disown", "disown_confirmed"] {
        let reply = app.unchanged(async || app.press(action, &token).await).await;
        assert_page(&reply, 409, "The account was not removed");
    }
    assert_page(&app.press("keep", &token).await, 200, ALREADY);
    app.log_in(ANN).await;
}
