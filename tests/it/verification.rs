//! `/api/verify-email/confirm/`: the mailed link, its page, its buttons, and the JSON form.

use latchkey::config::{Config, ConfirmBy, PublicUrl};
use serde_json::json;

use crate::support::messages::bad_ticket;
use crate::support::{ANN, CONFIRM, DAY, Reply, TestApp, assert_page, at_once, ticket_of};

const FRONTEND: &str = "https://app.example.com/account";

const BAD_LINK: &str = "This link does not work";
const CONFIRMED: &str = "Your address is confirmed";
const ALREADY: &str = "Your address is already confirmed";

fn by_link(config: &mut Config) {
    config.registration.confirm = ConfirmBy::Link;
}

fn with_frontend(config: &mut Config) {
    config.server.frontend_url = PublicUrl::parse(FRONTEND);
}

fn assert_leads_to(reply: &Reply, place: &str) {
    let location = format!("{FRONTEND}/verification/{place}");
    assert_eq!((reply.status, reply.header("location")), (303, Some(location.as_str())));
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

#[tokio::test]
async fn opening_the_link_asks_and_confirms_nothing() {
    let (app, token) = TestApp::with_ann_invited().await;
    for method in ["GET", "HEAD"] {
        for target in [
            format!("{CONFIRM}?token={token}"),
            format!("/api/verify-email/confirm?token=%20{token}+"),
        ] {
            let reply = app.unchanged(async || app.call(method, &target).await).await;
            assert_eq!(reply.status, 200, "{method} {target}");
            if method == "GET" {
                assert_page(&reply, 200, "Confirm your address");
                for part in [ANN, "6 December 2024, 10:00 UTC", &token] {
                    assert!(reply.text().contains(part), "no {part}: {reply:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_button_confirms_once_and_then_says_so() {
    let (app, token) = TestApp::with_ann_invited().await;
    let tokens = app.log_in(ANN).await;
    assert_page(&app.press("confirm", &token).await, 200, CONFIRMED);
    assert!(app.is_verified(&tokens.access).await);
    let again = async || {
        assert_page(&app.press("confirm", &token).await, 200, ALREADY);
        assert_page(&app.opening(&token).await, 200, ALREADY);
        // A repeated request whose answer was lost gets the same answer.
        app.confirm(&token).await;
    };
    app.unchanged(again).await;
    // The ticket stays, marked, until it expires.
    app.advance(DAY);
    let reply = app.unchanged(async || app.press("confirm", &token).await).await;
    assert_page(&reply, 400, BAD_LINK);
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
        let reply = app.post(CONFIRM, &json!({"token": token})).await;
        assert_eq!(reply.status, if is_good { 200 } else { 400 }, "after {seconds} s");
        let page = app.opening(&token).await;
        assert_page(
            &page,
            if is_good { 200 } else { 400 },
            if is_good { ALREADY } else { BAD_LINK },
        );
    }
}

#[tokio::test]
async fn bad_links_get_a_page_that_says_what_to_do() {
    let (app, token) = TestApp::with_ann_invited().await;
    let tokens = app.log_in(ANN).await;
    let opens_nothing = async || {
        assert_page(&app.get(CONFIRM).await, 400, BAD_LINK);
        for bad in bad_tokens(&token) {
            assert_page(&app.opening(&bad).await, 400, BAD_LINK);
            for action in ["confirm", "disown", "disown_confirmed"] {
                assert_page(&app.press(action, &bad).await, 400, BAD_LINK);
            }
        }
        for action in ["no such button", ""] {
            assert_page(&app.press(action, &token).await, 400, "That did not work");
        }
    };
    app.unchanged(opens_nothing).await;
    assert!(!app.is_verified(&tokens.access).await);
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

#[tokio::test]
async fn under_confirm_link_a_get_confirms_and_a_head_never_does() {
    let app = TestApp::start_with(by_link);
    let token = app.invited(ANN).await;
    let tokens = app.log_in(ANN).await;
    let reply =
        app.unchanged(async || app.call("HEAD", &format!("{CONFIRM}?token={token}")).await).await;
    assert_eq!(reply.status, 200);
    assert!(!app.is_verified(&tokens.access).await);
    for bad in bad_tokens(&token) {
        let reply = app.unchanged(async || app.opening(&bad).await).await;
        assert_page(&reply, 400, BAD_LINK);
    }
    assert_page(&app.opening(&token).await, 200, CONFIRMED);
    assert!(app.is_verified(&tokens.access).await);
    assert_page(&app.opening(&token).await, 200, ALREADY);
}

#[tokio::test]
async fn with_a_frontend_everything_leads_there() {
    let app = TestApp::start_with(with_frontend);
    let token = app.invited(ANN).await;
    let page = app.opening(&token).await;
    assert_page(&page, 200, "Confirm your address");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("form-action 'self' https://app.example.com"), "{policy}");
    let errors = async || {
        assert_leads_to(&app.get(CONFIRM).await, "error");
        for bad in bad_tokens(&token) {
            assert_leads_to(&app.opening(&bad).await, "error");
            assert_leads_to(&app.press("confirm", &bad).await, "error");
            assert_leads_to(&app.call("HEAD", &format!("{CONFIRM}?token={bad}")).await, "error");
        }
    };
    app.unchanged(errors).await;
    assert_leads_to(&app.press("confirm", &token).await, "success");
    assert_leads_to(&app.press("confirm", &token).await, "already-verified");
    assert_leads_to(&app.opening(&token).await, "already-verified");
    app.advance(DAY);
    assert_leads_to(&app.opening(&token).await, "error");
    // Programs are not sent anywhere.
    let reply = app.post(CONFIRM, &json!({"token": token})).await;
    assert_eq!(reply.told(), bad_ticket());
}

#[tokio::test]
async fn under_confirm_link_the_frontend_hears_of_it_too() {
    let app = TestApp::start_with(|config| {
        by_link(config);
        with_frontend(config);
    });
    let token = app.invited(ANN).await;
    let tokens = app.log_in(ANN).await;
    app.unchanged(async || app.call("HEAD", &format!("{CONFIRM}?token={token}")).await).await;
    assert!(!app.is_verified(&tokens.access).await);
    assert_leads_to(&app.opening(&token).await, "success");
    assert_leads_to(&app.opening(&token).await, "already-verified");
    assert_leads_to(&app.opening("garbage").await, "error");
}
