//! `POST /api/token/refresh/`

use latchkey::domain::EventKind::{self, RefreshTokenReused, RefreshTokenStale};
use latchkey::domain::UserId;
use serde_json::{Value, json};

use crate::support::messages::{BAD_TOKEN, WRONG_TYPE, bad_refresh};
use crate::support::{ANN, DAY, ELSEWHERE, HOUR, START, TestApp, Tokens, claims};

/// Asserts that a refresh token is refused so, and that nothing comes of it.
async fn assert_refused(app: &TestApp, token: &str, message: &str) {
    let reply = app.refuses(app.refreshing(token), bad_refresh(message)).await;
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"api\""));
}

/// The kinds of all events there are, oldest first.
fn events(app: &TestApp) -> Vec<EventKind> {
    app.token_events().iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused_and_touches_nothing() {
    let (app, tokens) = TestApp::with_ann_in().await;
    let foreign = TestApp::start_as_stranger().newcomer(ANN).await;
    assert_refused(&app, &tokens.access, WRONG_TYPE).await;
    assert_refused(&app, &foreign.refresh, BAD_TOKEN).await;
    assert_eq!(app.profile(&foreign.access).await.status, 401);
    app.refresh(&tokens.refresh).await;
}

#[tokio::test]
async fn a_refresh_gives_both_tokens_in_the_order_clients_see() {
    let (app, first) = TestApp::with_ann_in().await;
    app.advance(60);
    let reply = app.refreshing(&format!("  {}\n", first.refresh)).await;
    let second = Tokens::of(&reply);
    let body = format!("{{\"access\":\"{}\",\"refresh\":\"{}\"}}", second.access, second.refresh);
    assert_eq!(reply.text(), body);

    let (before, after) = (claims(&first.refresh), claims(&second.refresh));
    for field in ["sid", "user_id"] {
        assert_eq!(before[field], after[field]);
    }
    assert_eq!((&before["gen"], &after["gen"]), (&json!(0), &json!(1)));
    assert_ne!(before["jti"], after["jti"]);
    let seconds = |token: &Value, field: &str| token[field].as_u64().unwrap();
    assert_eq!(seconds(&after, "iat"), seconds(&before, "iat") + 60);
    assert_eq!(seconds(&after, "exp"), seconds(&after, "iat") + DAY);
    let access = claims(&second.access);
    assert_eq!(seconds(&access, "exp"), seconds(&after, "iat") + 30 * 60);
    // An earlier access token lives out its time.
    for access in [&first.access, &second.access] {
        assert_eq!(app.profile(access).await.status, 200);
    }
    let form = [("refresh", second.refresh.as_str())];
    let third = Tokens::of(&app.call("POST", "/api/token/refresh").form(&form).await);
    assert_eq!(claims(&third.refresh)["gen"], 2);
}

/// What a refresh token has of its own.
fn name(tokens: &Tokens) -> Value {
    claims(&tokens.refresh)["jti"].clone()
}

/// What was done before, which token is shown then and how many seconds later, and the generation
/// that it leads to, or what the theft that ends the session is called.
///
/// What was done are the generations that were shown, and how many seconds after the one before.
type Row = (&'static str, &'static [(usize, u64)], (usize, u64), Result<u64, EventKind>);

/// The design's table.
const TABLE: [Row; 13] = [
    ("the current token", &[], (0, 0), Ok(1)),
    (
        "after many rotations and much time",
        &[(0, 40), (1, 0), (2, 3 * HOUR)],
        (3, 20 * HOUR),
        Ok(4),
    ),
    ("the one before, at the same time", &[(0, 0)], (0, 0), Ok(1)),
    ("at the end of its grace", &[(0, 0)], (0, 30), Ok(1)),
    ("again and again within its grace", &[(0, 0), (0, 10), (0, 10)], (0, 10), Ok(1)),
    ("one whose successor was used", &[(0, 0), (1, 0)], (0, 0), Err(RefreshTokenReused)),
    ("the one after that, in its grace", &[(0, 0), (1, 0)], (1, 30), Ok(2)),
    ("the very first", &[(0, 100), (1, 100), (2, 100)], (0, 100), Err(RefreshTokenReused)),
    ("a later one, after its grace", &[(0, 0), (1, 0)], (1, 31), Err(RefreshTokenStale)),
    ("the first one, after its grace", &[(0, 0), (0, 29)], (0, 2), Ok(1)),
    ("the first one, for hours", &[(0, 0), (0, 31), (0, HOUR)], (0, 20 * HOUR), Ok(1)),
    ("the successor of a first one that was kept", &[(0, 0), (0, 31)], (1, HOUR), Ok(2)),
    ("a kept one, too late", &[(0, 0), (0, 31), (1, 0)], (0, 0), Err(RefreshTokenReused)),
];

/// The same where first tokens are not kept.
const WITHOUT_KEEPING: [Row; 2] = [
    ("after its grace, used within", &[(0, 0), (0, 29)], (0, 2), Err(RefreshTokenStale)),
    ("hours later", &[(0, 0)], (0, 20 * HOUR), Err(RefreshTokenStale)),
];

#[tokio::test]
async fn every_case_of_the_designs_table() {
    let kept = TABLE.map(|row| (true, row));
    for (keep_first, row) in kept.into_iter().chain(WITHOUT_KEEPING.map(|row| (false, row))) {
        let (what, before, (presented, wait), outcome) = row;
        let app = TestApp::start_with(|config| config.tokens.sessions.keep_first = keep_first);
        let bystander = app.newcomer(ANN).await;
        let mut line = vec![app.log_in(ANN).await];
        for (generation, wait) in before {
            app.advance(*wait);
            let tokens = app.refresh(&line[*generation].refresh).await;
            match line.iter().position(|known| name(known) == name(&tokens)) {
                Some(place) => line[place] = tokens,
                None => line.push(tokens),
            }
        }
        app.advance(wait);
        let reply = app.refreshing(&line[presented].refresh).await;
        match outcome {
            Ok(generation) => {
                let tokens = Tokens::of(&reply);
                assert_eq!(claims(&tokens.refresh)["gen"], json!(generation), "{what}");
                if let Some(known) = line.get(usize::try_from(generation).unwrap()) {
                    assert_eq!(name(known), name(&tokens), "{what}: the same successor");
                    assert_ne!(known.access, tokens.access, "{what}: a fresh access token");
                }
                assert_eq!(app.profile(&tokens.access).await.status, 200, "{what}");
                line.push(tokens);
            }
            Err(_) => assert_eq!(reply.told(), bad_refresh(BAD_TOKEN), "{what}"),
        }
        assert_eq!(events(&app), Vec::from_iter(outcome.err()), "{what}");
        // The end shows at once, at every endpoint, and after a restart.
        let app = app.restart().await;
        let last = line.last().unwrap();
        if outcome.is_err() {
            assert_refused(&app, &last.refresh, BAD_TOKEN).await;
            assert_eq!(app.profile(&last.access).await.status, 401, "{what}");
        }
        let sessions = if outcome.is_ok() { 2 } else { 1 };
        assert_eq!(app.app.store.count_sessions(), Ok(sessions), "{what}");
        // Nobody else's session is touched, not even another one of the same person.
        app.refresh(&bystander.refresh).await;
    }
}

/// Clients that keep the refresh token of the login were logged out an hour after it.
#[tokio::test]
async fn a_client_that_never_stores_a_refresh_token_stays_logged_in_until_its_first_expires() {
    let (app, first) = TestApp::with_ann_in().await;
    let end = claims(&first.refresh)["exp"].as_u64().unwrap();
    let mut latest = None;
    for hour in 0..24 {
        let reply = app.refreshing(&first.refresh).await;
        let tokens = Tokens::of(&reply);
        assert_eq!(claims(&tokens.refresh)["gen"], 1, "{hour}");
        if hour > 0 {
            assert_eq!(claims(&tokens.refresh)["exp"], end, "bound to the first");
            assert!(claims(&tokens.access)["exp"].as_u64().unwrap() <= end);
        }
        assert_eq!(app.profile(&tokens.access).await.status, 200);
        latest = Some(tokens);
        app.advance(60 * 60 - 1);
    }
    app.advance(24);
    let latest = latest.unwrap();
    for refresh in [&first.refresh, &latest.refresh] {
        assert_refused(&app, refresh, BAD_TOKEN).await;
    }
    assert_eq!(events(&app), []);
}

#[tokio::test]
async fn a_first_token_is_kept_by_one_write_and_from_elsewhere_it_is_an_event() {
    let (app, first) = TestApp::with_ann_in().await;
    app.refresh(&first.refresh).await;
    app.advance(31);
    let verify = app.verifying(&first.refresh);
    assert_eq!(app.unchanged(async || verify.await).await.status, 200, "and binds nothing");
    let ends = || {
        let sessions = app.app.store.find_sessions(UserId(1), app.clock.read().wall).unwrap();
        (sessions[0].is_bound, sessions[0].expires_at())
    };
    assert!(!ends().0);
    app.refresh(&first.refresh).await;
    let bound = ends();
    assert_eq!(
        (bound.0, bound.1.unix_seconds()),
        (true, claims(&first.refresh)["exp"].as_u64().unwrap())
    );
    for _ in 0..3 {
        app.advance(31);
        app.refresh(&first.refresh).await;
        assert_eq!(ends(), bound);
    }
    assert_eq!(events(&app), []);
    for _ in 0..2 {
        assert_eq!(app.refreshing(&first.refresh).from(ELSEWHERE).await.status, 200);
    }
    assert_eq!(events(&app), [EventKind::FirstTokenUsedElsewhere]);
    let event = app.token_events().remove(0);
    assert_eq!((event.count, event.by.to_string()), (2, ELSEWHERE.to_owned()));
}

#[tokio::test]
async fn what_a_bound_session_gave_out_before_is_revoked_as_long_as_it_lives() {
    let (app, first) = TestApp::with_ann_in().await;
    app.advance(DAY - 120);
    let long = app.refresh(&first.refresh).await;
    app.advance(60);
    let short = app.refresh(&first.refresh).await;
    let exp = |tokens: &Tokens| claims(&tokens.access)["exp"].as_u64().unwrap();
    assert_eq!(exp(&short) + 30 * 60 - 120, exp(&long));
    app.call("POST", "/api/logout/").bearer(&short.access).await;
    app.advance(29 * 60 - 2);
    let revoked = app.app.store.find_revocations(app.clock.read().wall).unwrap();
    assert_eq!(revoked.digests.len(), 1);
}

#[tokio::test]
async fn a_token_ahead_of_the_database_is_refused_and_the_session_lives_on() {
    let (app, first) = TestApp::with_ann_in().await;
    let backup = app.disk.image();
    let second = app.refresh(&first.refresh).await;
    let app = app.restart_on(&backup).await;
    assert_eq!(app.refreshing(&second.refresh).await.told(), bad_refresh(BAD_TOKEN));
    assert_eq!(events(&app), [EventKind::RefreshTokenAhead]);
    app.refresh(&first.refresh).await;
}

#[tokio::test]
async fn a_refresh_token_lives_a_day_from_its_rotation() {
    let (app, first) = TestApp::with_ann_in().await;
    app.advance(DAY - 2);
    let second = app.refresh(&first.refresh).await;
    app.advance(DAY);
    assert_refused(&app, &second.refresh, BAD_TOKEN).await;
    // A refresh token that has expired is no wrong type of access token either.
    assert!(app.profile(&second.refresh).await.text().contains("invalid or expired"));
}

#[tokio::test]
async fn no_token_outlives_its_session_however_often_it_rotates() {
    let (app, mut tokens) = TestApp::with_ann_in().await;
    let begin = claims(&tokens.refresh)["iat"].as_u64().unwrap();
    let end = begin + 30 * DAY;
    for _ in 0..59 {
        app.advance(DAY / 2);
        tokens = app.refresh(&tokens.refresh).await;
        assert!(claims(&tokens.refresh)["exp"].as_u64().unwrap() <= end);
    }
    app.advance(DAY / 2 - 60);
    tokens = app.refresh(&tokens.refresh).await;
    assert_eq!(claims(&tokens.refresh)["exp"], end);
    assert_eq!(claims(&tokens.access)["exp"], end);
    assert_eq!(app.profile(&tokens.access).await.status, 200);
    app.advance(60);
    assert_eq!(app.profile(&tokens.access).await.status, 401);
    assert_refused(&app, &tokens.refresh, BAD_TOKEN).await;
}

#[tokio::test]
async fn two_tabs_that_ask_before_the_commit_get_the_one_successor_that_it_has() {
    let (app, tokens) = TestApp::with_ann_in().await;
    app.disk.set_held(true);
    let first = tokio::spawn(app.refreshing(&tokens.refresh).into_future());
    tokio::task::yield_now().await;
    app.advance(1);
    let second = tokio::spawn(app.refreshing(&tokens.refresh).into_future());
    tokio::task::yield_now().await;
    app.disk.set_held(false);
    let [first, second] = [first.await.unwrap(), second.await.unwrap()];
    assert_eq!(first.field("refresh"), second.field("refresh"));
    assert_eq!(claims(&first.field("refresh"))["iat"], START.unix_seconds());
    app.refresh(&second.field("refresh")).await;
}
