//! A really new address: asked for at `PATCH` or `PUT /api/profile/`, confirmed or called off by
//! mailed links.

use latchkey::config::{Config, ConfirmBy, PublicUrl};
use serde_json::json;

use crate::support::messages::{EMAIL_TAKEN, bad_ticket};
use crate::support::{
    ANN, BOB, CONFIRM, Change, DAY, PASSWORD, Reply, TestApp, Tokens, assert_page,
    assert_throttled, at_once, ticket_of,
};

const NEW: &str = "new@example.com";
const FRONTEND: &str = "https://app.example.com/account";

const CHANGED: &str = "Your new address is confirmed";
const ALREADY: &str = "Your address is already confirmed";
const CANCELLED: &str = "The change is cancelled";
const NO_CHANGE: &str = "This link does not work";
const NOTHING_TO_CANCEL: &str = "There is nothing to cancel";

/// What the profile says of the address, and of the one it is about to be.
async fn addresses(app: &TestApp, tokens: &Tokens) -> (String, Option<String>) {
    let profile = app.profile(&tokens.access).await;
    let pending =
        profile.json().get("pending_email").map(|pending| pending.as_str().unwrap().to_owned());
    (profile.field("email"), pending)
}

fn at(address: &str, pending: Option<&str>) -> (String, Option<String>) {
    (address.to_owned(), pending.map(str::to_owned))
}

/// Ann with a change of address under way.
async fn with_change() -> (TestApp, Tokens, Change) {
    let (app, ann) = TestApp::with_ann_in().await;
    let change = app.change_address(&ann, NEW).await;
    (app, ann, change)
}

#[tokio::test]
async fn asking_moves_nothing_but_mails_a_link_to_either_address_and_shows_what_is_pending() {
    for method in ["PATCH", "PUT"] {
        for is_form in [false, true] {
            let (app, ann) = TestApp::with_ann_in().await;
            let call = app.call(method, "/api/profile/").bearer(&ann.access);
            let reply = if is_form {
                call.form(&[("email", " New@example.com "), ("current_password", PASSWORD)]).await
            } else {
                call.json(&json!({"email": "New@example.com", "current_password": PASSWORD})).await
            };
            let user = json!({
                "id": 1, "email": ANN, "username": "", "is_email_verified": false,
                "created_at": "2024-12-06T10:00:00.123456Z", "pending_email": "New@example.com",
            });
            assert_eq!(reply.told(), (200, user.clone()), "{method}");
            assert_eq!(app.profile(&ann.access).await.json(), user);
            assert_eq!(app.login(ANN, PASSWORD).await.json()["user"], user);
            assert_eq!(app.login("new@example.com", PASSWORD).await.status, 401);

            let ticket = app.letter("New@example.com", "Confirm your new email address").await;
            let notice = app.letter(ANN, "is about to change").await;
            assert_ne!(ticket.link, notice.link);
            assert!(!ticket.raw.contains(ANN), "whoever mistypes shows a stranger nothing");
            assert!(notice.text.contains("New@example.com"));
            assert_eq!(app.mails.sent().len(), 3, "with the one of the registration");
        }
    }
}

#[tokio::test]
async fn the_link_moves_the_account_verified_and_tells_the_old_address() {
    let (app, ann, change) = with_change().await;
    let asking = async || {
        for method in ["GET", "HEAD"] {
            app.call(method, &format!("{CONFIRM}?token={}", change.confirm)).await;
        }
        let page = app.opening(&change.confirm).await;
        assert_page(&page, 200, "Confirm your new address");
        for part in [NEW, "6 December 2024, 10:00 UTC", &change.confirm, "This was not me"] {
            assert!(page.text().contains(part), "no {part}: {}", page.text());
        }
        assert!(!page.text().contains(ANN) && !page.text().contains("<script"));
    };
    app.unchanged(asking).await;

    assert_page(&app.press("confirm", &change.confirm).await, 200, CHANGED);
    assert_eq!(addresses(&app, &ann).await, at(NEW, None));
    assert!(app.is_verified(&ann.access).await);
    assert!(app.letter(ANN, "was changed").await.text.contains(NEW));
    assert_eq!(app.login(ANN, PASSWORD).await.status, 401);
    app.log_in(NEW).await;
    app.refresh(&ann.refresh).await;

    // A replay says so and changes nothing, and nothing can be called off any more.
    let replayed = async || {
        assert_page(&app.press("confirm", &change.confirm).await, 200, ALREADY);
        assert_page(&app.opening(&change.confirm).await, 200, ALREADY);
        app.confirm(&change.confirm).await;
        for token in [&change.confirm, &change.cancel] {
            assert_eq!(app.press("cancel", token).await.status, 400);
        }
        assert_page(&app.opening(&change.cancel).await, 400, NOTHING_TO_CANCEL);
    };
    app.unchanged(replayed).await;
    // The old address is free.
    let other = app.newcomer(ANN).await;
    assert_eq!(addresses(&app, &other).await, at(ANN, None));
    assert_eq!(addresses(&app, &ann).await, at(NEW, None));
}

#[tokio::test]
async fn programs_and_frontends_hear_of_it_in_their_ways() {
    let (app, ann, change) = with_change().await;
    let reply = app.confirming(&change.confirm).await;
    assert_eq!(reply.told(), (200, json!({"message": "Email verified successfully"})));
    assert_eq!(addresses(&app, &ann).await, at(NEW, None));

    let app = TestApp::start_with(|config: &mut Config| {
        config.server.frontend_url = PublicUrl::parse(FRONTEND);
        // Only a new account's address is confirmed by opening a link.
        config.registration.confirm = ConfirmBy::Link;
    });
    let ann = app.newcomer(ANN).await;
    let change = app.change_address(&ann, NEW).await;
    let place = |reply: &Reply| {
        assert_eq!(reply.status, 303, "{reply:?}");
        let location = reply.header("location").unwrap();
        location.strip_prefix(FRONTEND).unwrap().strip_prefix("/verification/").unwrap().to_owned()
    };
    let page = app.unchanged(async || app.opening(&change.confirm).await).await;
    assert_page(&page, 200, "Confirm your new address");
    assert_eq!(place(&app.press("confirm", &change.confirm).await), "success");
    assert_eq!(place(&app.press("confirm", &change.confirm).await), "already-verified");
    assert_eq!(place(&app.opening(&change.confirm).await), "already-verified");
    assert_eq!(place(&app.press("confirm", &change.cancel).await), "error");
    let cancelled = app.change_address(&ann, "newer@example.com").await;
    assert_page(&app.press("cancel", &cancelled.cancel).await, 200, CANCELLED);
    assert_eq!(place(&app.opening(&cancelled.cancel).await), "error");
}

#[tokio::test]
async fn a_change_waits_for_its_day_and_no_longer() {
    for (seconds, is_good) in [(DAY - 1, true), (DAY, false)] {
        let (app, _, change) = with_change().await;
        app.advance(seconds);
        let ann = app.log_in(ANN).await;
        let pending = is_good.then_some(NEW);
        assert_eq!(addresses(&app, &ann).await, at(ANN, pending), "after {seconds} s");
        let status = if is_good { 200 } else { 400 };
        assert_eq!(app.opening(&change.confirm).await.status, status);
        assert_eq!(app.opening(&change.cancel).await.status, status);
        assert_eq!(app.confirming(&change.confirm).await.status, status);
    }
}

#[tokio::test]
async fn this_was_not_me_calls_the_change_off_and_touches_nothing_else() {
    for is_new in [false, true] {
        let (app, ann) = TestApp::with_ann_in().await;
        let reset = app.reset_token(ANN).await;
        let before = app.profile(&ann.access).await.json();
        let change = app.change_address(&ann, NEW).await;
        let token = if is_new { &change.confirm } else { &change.cancel };
        let asking = async || {
            let page = app.opening(token).await;
            let heading =
                if is_new { "Confirm your new address" } else { "Cancel the change of address?" };
            assert_page(&page, 200, heading);
            assert!(page.text().contains("value=\"cancel\""));
            assert_page(&app.press("keep_change", token).await, 200, "The change continues");
            // The old address's link confirms nothing.
            assert_page(&app.press("confirm", &change.cancel).await, 400, NOTHING_TO_CANCEL);
            assert_eq!(app.confirming(&change.cancel).await.told(), bad_ticket());
        };
        app.unchanged(asking).await;

        assert_page(&app.press("cancel", token).await, 200, CANCELLED);
        assert_eq!(app.profile(&ann.access).await.json(), before);
        let replayed = async || {
            // A second click is told the same; the link in the other mail works no more.
            for action in ["cancel", "keep_change"] {
                assert_page(&app.press(action, token).await, 200, CANCELLED);
            }
            assert_page(&app.opening(token).await, 200, CANCELLED);
            let other = if is_new { &change.cancel } else { &change.confirm };
            for action in ["cancel", "keep_change"] {
                assert_eq!(app.press(action, other).await.status, 400);
            }
            assert_eq!(app.opening(other).await.status, 400);
            let told = if is_new { (200, CANCELLED) } else { (400, NO_CHANGE) };
            assert_page(&app.press("confirm", &change.confirm).await, told.0, told.1);
            assert_eq!(app.confirming(&change.confirm).await.told(), bad_ticket());
        };
        app.unchanged(replayed).await;
        assert!(app.is_live(&ann).await);
        app.log_in(ANN).await;
        assert_eq!(app.resetting(&reset, "brick-Sail 9 meadow").await.status, 200);
    }
}

#[tokio::test]
async fn a_link_does_what_it_is_for_and_no_more() {
    let (app, verification) = TestApp::with_ann_invited().await;
    let ann = app.log_in(ANN).await;
    let change = app.change_address(&ann, NEW).await;
    let reset = app.reset_token(ANN).await;
    let flipped: String = change.confirm.chars().rev().collect();
    let misused = async || {
        for token in [&change.confirm, &change.cancel] {
            for action in ["disown", "disown_confirmed", "reset"] {
                assert_eq!(app.press(action, token).await.status, 400, "{action}");
            }
            let reply = app.resetting(token, "brick-Sail 9 meadow").await;
            assert_eq!(reply.status, 400);
        }
        for token in [verification.as_str(), &reset, &flipped, "garbage", ""] {
            assert_eq!(app.press("cancel", token).await.status, 400);
        }
        assert_eq!(app.confirming(&reset).await.told(), bad_ticket());
    };
    app.unchanged(misused).await;
    assert_eq!(addresses(&app, &ann).await, at(ANN, Some(NEW)));
}

#[tokio::test]
async fn an_address_that_was_taken_meanwhile_is_refused_there_and_then() {
    let taken = (400, json!({"non_field_errors": [EMAIL_TAKEN]}));
    // By a registration, and by somebody else's change, in any letter case.
    for by_change in [false, true] {
        for is_page in [false, true] {
            let app = TestApp::start();
            let bob = app.newcomer(BOB).await;
            let ann = app.newcomer(ANN).await;
            let change = app.change_address(&ann, NEW).await;
            if by_change {
                let faster = app.change_address(&bob, "NEW@example.com").await;
                app.confirm(&faster.confirm).await;
            } else {
                app.register("NEW@example.com").await;
            }
            if is_page {
                let reply = app.press("confirm", &change.confirm).await;
                assert_page(&reply, 409, "This address is taken");
            } else {
                assert_eq!(app.confirming(&change.confirm).await.told(), taken);
            }
            assert_eq!(addresses(&app, &ann).await, at(ANN, None), "the change is off");
            let again = async || {
                assert_eq!(app.confirming(&change.confirm).await.told(), bad_ticket());
                assert_eq!(app.press("cancel", &change.cancel).await.status, 400);
                let reply = app.moving(&ann, NEW).await;
                assert_eq!(reply.told(), (400, json!({"email": [EMAIL_TAKEN]})));
            };
            app.unchanged(again).await;
            assert!(app.is_live(&ann).await);
        }
    }
}

#[tokio::test]
async fn another_change_takes_the_place_of_the_first_and_so_does_another_spelling() {
    for newer in ["newer@example.com", "New@example.com"] {
        let (app, ann) = TestApp::with_ann_in().await;
        let first = app.change_address(&ann, NEW).await;
        let second = app.change_address(&ann, newer).await;
        assert_eq!(addresses(&app, &ann).await, at(ANN, Some(newer)));
        let gone = async || {
            assert_eq!(app.confirming(&first.confirm).await.told(), bad_ticket());
            assert_eq!(app.press("cancel", &first.cancel).await.status, 400);
            assert_eq!(app.press("cancel", &first.confirm).await.status, 400);
        };
        app.unchanged(gone).await;
        app.confirm(&second.confirm).await;
        assert_eq!(addresses(&app, &ann).await, at(newer, None));
    }
}

#[tokio::test]
async fn asking_again_mails_the_same_links_within_the_limit_of_the_new_mailbox() {
    let (app, ann) = TestApp::with_ann_in().await;
    let first = app.change_address(&ann, NEW).await;
    let again = app.change_address(&ann, NEW).await;
    assert_eq!((&again.confirm, &again.cancel), (&first.confirm, &first.cancel));
    let third = async || app.moving(&ann, NEW).await;
    assert_eq!(assert_throttled(&app.unchanged(third).await), 60);
    // The limit is per mailbox, regardless of who asks and of restarts.
    let bob = app.newcomer(BOB).await;
    assert_eq!(app.moving(&bob, NEW).await.status, 429);
    let app = app.restart().await;
    assert_eq!(app.moving(&ann, NEW).await.status, 429);
    app.advance(60);
    assert_eq!(app.moving(&ann, NEW).await.status, 200);
    app.confirm(&first.confirm).await;
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_left_pending() {
    let (app, ann) = TestApp::with_ann_in().await;
    let new = ["one@example.com", "two@example.com"];
    let replies = at_once(new.map(|email| app.moving(&ann, email))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    let (_, pending) = addresses(&app, &ann).await;
    // The mail of the one that was replaced has become pointless, or its link has.
    for email in new {
        let letters = app.letters(email, "Confirm your new email address").await;
        let is_pending = pending.as_deref() == Some(email);
        assert!(!is_pending || letters.len() == 1);
        for letter in letters.iter().filter(|_| !is_pending) {
            assert_eq!(app.confirming(&ticket_of(letter)).await.told(), bad_ticket());
        }
    }
    let letter = app.letter(&pending.clone().unwrap(), "Confirm your new email address").await;
    app.confirm(&ticket_of(&letter)).await;
    assert_eq!(addresses(&app, &ann).await, (pending.unwrap(), None));
}

#[tokio::test]
async fn of_several_clicks_at_once_one_counts() {
    let (app, _, change) = with_change().await;
    let replies = at_once((0..8).map(|_| app.press("confirm", &change.confirm))).await;
    assert_eq!(replies.iter().filter(|reply| reply.text().contains(CHANGED)).count(), 1);
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(app.letters(ANN, "was changed").await.len(), 1);

    let bob = app.newcomer(BOB).await;
    let change = app.change_address(&bob, "bobby@example.com").await;
    let tokens = [&change.confirm, &change.cancel];
    let replies = at_once((0..8).map(|n| app.press("cancel", tokens[n % 2]))).await;
    // One of the two links has cancelled it, and says so each time; the other one is void.
    assert_eq!(replies.iter().filter(|reply| reply.text().contains(CANCELLED)).count(), 4);
    assert_eq!(replies.iter().filter(|reply| reply.status == 400).count(), 4);
}

#[tokio::test]
async fn of_a_yes_and_a_no_at_once_the_first_counts() {
    for cancel_first in [false, true] {
        let (app, ann, change) = with_change().await;
        let mut calls =
            vec![app.press("confirm", &change.confirm), app.press("cancel", &change.cancel)];
        if cancel_first {
            calls.reverse();
        }
        let replies = at_once(calls).await;
        assert_eq!([replies[0].status, replies[1].status], [200, 400]);
        let address = if cancel_first { ANN } else { NEW };
        assert_eq!(addresses(&app, &ann).await, at(address, None));
    }
}
