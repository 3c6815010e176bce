//! `POST /api/reset-password/`. The page is in `reset_page`, the request for a link in
//! `mail_requests`.

use std::num::NonZeroU32;

use latchkey::config::{Config, PublicUrl};
use serde_json::{Value, json};

use crate::support::messages::{BAD_RESET_TOKEN, DIFFER, SHORT};
use crate::support::{
    ANN, BOB, CONFIRM, HOUR, NEW_PASSWORD, PASSWORD, TestApp, WRONG, assert_page, at_once, with,
};

const BAD_PAGE: &str = "This link does not work";

fn done() -> (u16, Value) {
    (200, json!({"message": "Password has been reset successfully."}))
}

fn bad_link() -> (u16, Value) {
    (400, json!({"non_field_errors": [BAD_RESET_TOKEN]}))
}

/// Asserts that a link does not reset, and that trying left nothing.
async fn assert_dead(app: &TestApp, token: &str, why: &str) {
    let reply = app.unchanged(async || app.resetting(token, NEW_PASSWORD).await).await;
    assert_eq!(reply.told(), bad_link(), "{why}");
}

#[tokio::test]
async fn the_link_leads_to_the_frontend_where_there_is_one_and_else_to_a_page_of_ours() {
    for (frontend, base) in [
        (None, "https://accounts.example.com"),
        (Some("https://app.example.com/account"), "https://app.example.com/account"),
    ] {
        let app = TestApp::start_with(|config: &mut Config| {
            config.server.frontend_url = frontend.and_then(PublicUrl::parse);
        });
        app.register(ANN).await;
        let token = app.reset_token(ANN).await;
        let mail = app.letter(ANN, "Choose a new password").await;
        let link = format!("{base}/reset-password/{token}");
        assert_eq!(mail.link.as_deref(), Some(link.as_str()));
        assert!(mail.text.contains(&link) && mail.html.contains(&link));
        assert_eq!(app.resetting(&token, NEW_PASSWORD).await.told(), done());
    }
}

#[tokio::test]
async fn a_refused_password_is_told_field_by_field_and_leaves_the_link_good() {
    let (app, ann) = TestApp::with_ann_in().await;
    let token = app.reset_token(ANN).await;
    let good =
        json!({"token": token, "new_password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD});
    for (changes, errors) in [
        (
            json!({"confirm_password": format!("{NEW_PASSWORD} ")}),
            json!({"non_field_errors": [DIFFER]}),
        ),
        (
            json!({"new_password": "short", "confirm_password": "other"}),
            json!({"new_password": [SHORT]}),
        ),
        // A password that would not do is told before a link that does not work.
        (
            json!({"token": "x", "new_password": "short", "confirm_password": "short"}),
            json!({"new_password": [SHORT]}),
        ),
    ] {
        let call = app.post("/api/reset-password/", &with(good.clone(), &changes));
        app.refuses(call, (400, errors)).await;
    }
    assert!(app.is_live(&ann).await);
    let fields = [
        ("token", token.as_str()),
        ("new_password", NEW_PASSWORD),
        ("confirm_password", NEW_PASSWORD),
    ];
    assert_eq!(app.call("POST", "/api/reset-password").form(&fields).await.told(), done());
    assert_eq!(app.login(ANN, NEW_PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_link_that_is_none_or_not_for_this_resets_nothing() {
    let (app, verification) = TestApp::with_ann_invited().await;
    let ann = app.log_in(ANN).await;
    let change = app.change_address(&ann, "new@example.com").await;
    let token = app.reset_token(ANN).await;
    let (first, rest) = token.split_at(1);
    let other = if first == "A" { "B" } else { "A" };
    for (bad, why) in [
        ("garbage", "no token"),
        (&"A".repeat(64), "of the right length"),
        (&"x".repeat(5_000), "far too long"),
        (&token[..63], "cut short"),
        (&format!("{token}A"), "with something added"),
        (&format!("{other}{rest}"), "with another id"),
        (&token.chars().rev().collect::<String>(), "reversed"),
        (&verification, "the one that verifies"),
        (&change.confirm, "the one that confirms another address"),
        (&change.cancel, "the one that calls that off"),
        (&ann.access, "an access token"),
    ] {
        assert_dead(&app, bad, why).await;
        // The page says what to do, whether the password would do or not.
        let opened = async || {
            assert_page(&app.get(&format!("/reset-password/{bad}")).await, 400, BAD_PAGE);
            for password in [NEW_PASSWORD, "short", ""] {
                let reply = app.resetting_by_page(bad, password, password).await;
                assert_page(&reply, 400, BAD_PAGE);
            }
        };
        app.unchanged(opened).await;
    }
    for path in ["/reset-password", "/reset-password/a%00b", "/reset-password/%20"] {
        assert_page(&app.get(path).await, 400, BAD_PAGE);
    }
    assert_page(&app.call("POST", "/reset-password/").await, 400, BAD_PAGE);
    let others = TestApp::start_as_stranger();
    others.register(ANN).await;
    let foreign = others.reset_token(ANN).await;
    assert_dead(&app, &foreign, "another server's").await;
    assert_eq!(app.resetting(&format!(" {token}\n"), NEW_PASSWORD).await.told(), done());
}

#[tokio::test]
async fn a_link_is_good_once_and_for_its_hour() {
    for (seconds, is_good) in [(HOUR - 1, true), (HOUR, false)] {
        let app = TestApp::with_ann().await;
        let token = app.reset_token(ANN).await;
        app.advance(seconds);
        if is_good {
            assert_eq!(app.resetting(&token, NEW_PASSWORD).await.told(), done());
            let other = format!("{NEW_PASSWORD} 2");
            assert_eq!(app.resetting(&token, &other).await.told(), bad_link(), "a replay");
            assert_eq!(app.login(ANN, NEW_PASSWORD).await.status, 200);
        } else {
            assert_dead(&app, &token, "expired").await;
            let page = app.get(&format!("/reset-password/{token}")).await;
            assert_page(&page, 400, BAD_PAGE);
            let page = app.resetting_by_page(&token, NEW_PASSWORD, NEW_PASSWORD).await;
            assert_page(&page, 400, BAD_PAGE);
            app.log_in(ANN).await;
        }
    }
}

#[tokio::test]
async fn a_reset_ends_all_that_was_open_and_tells_the_owner() {
    for is_page in [false, true] {
        let app = TestApp::start();
        let bob = app.newcomer(BOB).await;
        let devices = [app.newcomer(ANN).await, app.log_in(ANN).await, app.log_in(ANN).await];
        app.change_address(&devices[0], "new@example.com").await;
        for _ in 0..5 {
            assert_eq!(app.login(ANN, WRONG).await.status, 401);
        }
        assert_eq!(app.login(ANN, PASSWORD).await.status, 429);
        let token = app.reset_token(ANN).await;
        if is_page {
            let reply = app.resetting_by_page(&token, NEW_PASSWORD, NEW_PASSWORD).await;
            assert_page(&reply, 200, "Your new password is set");
        } else {
            assert_eq!(app.resetting(&token, NEW_PASSWORD).await.told(), done());
        }
        for device in &devices {
            assert!(!app.is_live(device).await, "every session has ended");
        }
        // The lockout is over, the old password is none, and the address is verified.
        assert_eq!(app.login(ANN, PASSWORD).await.status, 401);
        let reply = app.login(ANN, NEW_PASSWORD).await;
        assert_eq!(reply.status, 200);
        let user = &reply.json()["user"];
        assert_eq!(user["is_email_verified"], true);
        assert_eq!(user.get("pending_email"), None, "the change of address is off");
        assert_eq!(app.letters(ANN, "was reset").await.len(), 1);
        // And nobody else has anything of it.
        assert!(app.is_live(&bob).await);
        app.log_in(BOB).await;
    }
}

#[tokio::test]
async fn a_reset_clears_the_failures_from_everywhere() {
    let app = TestApp::start_with(|config| {
        config.login.max_failures_per_email = NonZeroU32::new(6);
        config.login.slowed_per_hour = NonZeroU32::MIN;
    });
    app.register(ANN).await;
    for host in 1..=7 {
        let from = format!("198.51.100.{host}");
        assert_eq!(app.login(ANN, WRONG).from(&from).await.status, 401);
    }
    assert_eq!(app.login(ANN, PASSWORD).await.status, 429);
    let token = app.reset_token(ANN).await;
    assert_eq!(app.login(ANN, PASSWORD).await.status, 429, "asking clears nothing");
    assert_eq!(app.resetting(&token, NEW_PASSWORD).await.told(), done());
    assert_eq!(app.login(ANN, NEW_PASSWORD).await.status, 200);
}

#[tokio::test]
async fn of_several_resets_at_once_one_is_made() {
    let app = TestApp::with_ann().await;
    let token = app.reset_token(ANN).await;
    let new = |n: usize| format!("{NEW_PASSWORD} {n}");
    let replies = at_once((0..3).map(|n| app.resetting(&token, &new(n)))).await;
    let made: Vec<usize> = (0..3).filter(|n| replies[*n].told() == done()).collect();
    let [made] = made[..] else { panic!("{replies:?}") };
    assert_eq!(replies.iter().filter(|reply| reply.told() == bad_link()).count(), 2);
    for n in 0..3 {
        let status = app.login(ANN, &new(n)).await.status;
        assert_eq!(status, if n == made { 200 } else { 401 });
    }
    assert_eq!(app.letters(ANN, "was reset").await.len(), 1);
}

/// A client that lost the answer, or sent the form twice, was told that it had failed.
#[tokio::test]
async fn a_repeated_reset_gets_the_same_answer_for_ten_minutes() {
    let app = TestApp::with_ann().await;
    let token = app.reset_token(ANN).await;
    let replies = at_once((0..4).map(|_| app.resetting(&token, NEW_PASSWORD))).await;
    for reply in replies {
        assert_eq!(reply.told(), done());
    }
    assert_eq!(app.letters(ANN, "was reset").await.len(), 1);
    let tokens = app.login(ANN, NEW_PASSWORD).await.json();
    app.advance(10 * 60);
    let again = app.unchanged(async || app.resetting(&token, NEW_PASSWORD).await).await;
    assert_eq!(again.told(), done());
    assert_eq!(tokens["user"]["is_email_verified"], true);
    app.advance(1);
    assert_dead(&app, &token, "ten minutes later").await;
}

#[tokio::test]
async fn a_repeated_reset_is_refused_once_the_password_is_another() {
    let app = TestApp::with_ann().await;
    let first = app.reset_token(ANN).await;
    assert_eq!(app.resetting(&first, NEW_PASSWORD).await.told(), done());
    let second = app.reset_token(ANN).await;
    assert_ne!(first, second);
    assert_eq!(app.resetting(&second, PASSWORD).await.told(), done());
    assert_dead(&app, &first, "the password was reset anew").await;
    assert_eq!(app.resetting(&first, PASSWORD).await.told(), bad_link());
}

#[tokio::test]
async fn a_repeated_reset_counts_as_a_guess_at_the_password() {
    let app = TestApp::with_ann().await;
    let token = app.reset_token(ANN).await;
    assert_eq!(app.resetting(&token, NEW_PASSWORD).await.told(), done());
    for n in 0..5 {
        let other = format!("{NEW_PASSWORD} {n}");
        assert_eq!(app.resetting(&token, &other).await.told(), bad_link());
    }
    assert_eq!(app.resetting(&token, NEW_PASSWORD).await.told(), bad_link(), "locked out");
    assert_eq!(app.login(ANN, NEW_PASSWORD).await.status, 429);
}

#[tokio::test]
async fn it_is_my_address_but_not_my_password_leads_to_a_reset() {
    let (app, verification) = TestApp::with_ann_invited().await;
    let squatter = app.log_in(ANN).await;
    let token_of = |page: &str| {
        let (_, rest) = page.split_once("name=\"token\" value=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let page = app.press("reset", &verification).await;
    let left_behind = app.disk.image();
    let app = app.restart_on(&left_behind).await;
    assert_page(&page, 200, "Choose a new password");
    let token = token_of(page.text());
    assert_ne!(token, verification);
    let again = app.press("reset", &verification).await;
    assert_eq!(token_of(again.text()), token, "a second click leads to the same");
    assert!(app.is_live(&squatter).await, "looking has changed nothing");

    assert_eq!(app.resetting(&token, NEW_PASSWORD).await.told(), done());
    assert!(!app.is_live(&squatter).await);
    let reply = app.login(ANN, NEW_PASSWORD).await;
    assert_eq!(reply.json()["user"]["is_email_verified"], true);
    let replayed = async || {
        for action in ["reset", "confirm", "disown_confirmed"] {
            assert_eq!(app.press(action, &verification).await.status, 400, "{action}");
        }
        assert_eq!(app.get(&format!("{CONFIRM}?token={verification}")).await.status, 400);
    };
    app.unchanged(replayed).await;
}
