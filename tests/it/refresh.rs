//! `POST /api/token/refresh/`

use latchkey::domain::{EventKind, UserId};
use serde_json::{Value, json};

use crate::support::{ANN, DAY, ELSEWHERE, Reply, START, TestApp, Tokens, claims};

fn invalid() -> (u16, Value) {
    (401, json!({"detail": "Token is invalid or expired", "code": "token_not_valid"}))
}

fn assert_refused(reply: &Reply, expected: &(u16, Value), what: &str) {
    assert_eq!(&reply.told(), expected, "{what}");
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"api\""), "{what}");
}

/// The kinds of all events there are, oldest first.
fn events(app: &TestApp) -> Vec<EventKind> {
    app.token_events().iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused_and_touches_nothing() {
    let app = TestApp::start();
    let tokens = app.newcomer(ANN).await;
    for (body, message) in [
        (json!({}), "This field is required."),
        (json!({"refresh": null}), "This field may not be null."),
        (json!({"refresh": ""}), "This field may not be blank."),
        (json!({"refresh": "  "}), "This field may not be blank."),
        (json!({"refresh": 7}), "Not a valid string."),
        (json!({"refresh": [tokens.refresh]}), "Not a valid string."),
        (json!({"refresh": "a\u{0}b"}), "Null characters are not allowed."),
    ] {
        let reply = app.unchanged(async || app.post("/api/token/refresh/", &body).await).await;
        assert_eq!(reply.told(), (400, json!({"refresh": [message]})), "{body}");
    }

    let reply = app.unchanged(async || app.refreshing(&tokens.access).await).await;
    let wrong_type = json!({"detail": "Token has wrong type", "code": "token_not_valid"});
    assert_refused(&reply, &(401, wrong_type), "an access token");
    app.refresh(&tokens.refresh).await;
}

#[tokio::test]
async fn another_servers_tokens_are_forged_ones() {
    let app = TestApp::start();
    app.register(ANN).await;
    let stranger = TestApp::start_with_keys(7);
    let tokens = stranger.newcomer(ANN).await;
    let reply = app.unchanged(async || app.refreshing(&tokens.refresh).await).await;
    assert_refused(&reply, &invalid(), "a stranger's");
    assert_eq!(app.profile(&tokens.access).await.status, 401);
}

#[tokio::test]
async fn a_refresh_gives_both_tokens_in_the_order_clients_see() {
    let app = TestApp::start();
    let first = app.newcomer(ANN).await;
    app.advance(60);
    let reply = app.refreshing(&first.refresh).await;
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
}

#[tokio::test]
async fn a_token_is_trimmed_and_may_come_in_a_form() {
    let app = TestApp::start();
    let first = app.newcomer(ANN).await;
    let second = app.refresh(&format!("  {}\n", first.refresh)).await;
    let form = [("refresh", second.refresh.as_str())];
    let third = Tokens::of(&app.call("POST", "/api/token/refresh").form(&form).await);
    assert_eq!(claims(&third.refresh)["gen"], 2);
}

/// What a refresh token has of its own.
fn name(tokens: &Tokens) -> Value {
    claims(&tokens.refresh)["jti"].clone()
}

/// One line of the design's table: what was done before, and what the token shown then leads to.
struct Row {
    what: &'static str,
    keep_first: bool,
    /// Which generations are presented beforehand, and how many seconds after the one before.
    before: &'static [(usize, u64)],
    /// Which generation is presented, and how many seconds later.
    presented: (usize, u64),
    /// The generation it leads to.
    leads_to: Option<u64>,
    /// Whether the session is alive afterwards.
    is_alive: bool,
    event: Option<EventKind>,
}

#[tokio::test]
async fn every_case_of_the_designs_table() {
    use EventKind::{RefreshTokenReused, RefreshTokenStale};
    let table = [
        Row {
            what: "the current token",
            keep_first: true,
            before: &[],
            presented: (0, 0),
            leads_to: Some(1),
            is_alive: true,
            event: None,
        },
        Row {
            what: "the current token, after many rotations and much time",
            keep_first: true,
            before: &[(0, 40), (1, 0), (2, 3 * 60 * 60)],
            presented: (3, 20 * 60 * 60),
            leads_to: Some(4),
            is_alive: true,
            event: None,
        },
        Row {
            what: "the one before, at the same time",
            keep_first: true,
            before: &[(0, 0)],
            presented: (0, 0),
            leads_to: Some(1),
            is_alive: true,
            event: None,
        },
        Row {
            what: "the one before, at the end of its grace",
            keep_first: true,
            before: &[(0, 0)],
            presented: (0, 30),
            leads_to: Some(1),
            is_alive: true,
            event: None,
        },
        Row {
            what: "the one before, again and again within its grace",
            keep_first: true,
            before: &[(0, 0), (0, 10), (0, 10)],
            presented: (0, 10),
            leads_to: Some(1),
            is_alive: true,
            event: None,
        },
        Row {
            what: "the one before, after its grace, however often it was used within",
            keep_first: false,
            before: &[(0, 0), (0, 29)],
            presented: (0, 2),
            leads_to: None,
            is_alive: false,
            event: Some(RefreshTokenStale),
        },
        Row {
            what: "the one before, hours later",
            keep_first: false,
            before: &[(0, 0)],
            presented: (0, 20 * 60 * 60),
            leads_to: None,
            is_alive: false,
            event: Some(RefreshTokenStale),
        },
        Row {
            what: "one whose successor was used, at the same time",
            keep_first: true,
            before: &[(0, 0), (1, 0)],
            presented: (0, 0),
            leads_to: None,
            is_alive: false,
            event: Some(RefreshTokenReused),
        },
        Row {
            what: "the one after that still has its grace",
            keep_first: true,
            before: &[(0, 0), (1, 0)],
            presented: (1, 30),
            leads_to: Some(2),
            is_alive: true,
            event: None,
        },
        Row {
            what: "the very first one, much later",
            keep_first: true,
            before: &[(0, 100), (1, 100), (2, 100)],
            presented: (0, 100),
            leads_to: None,
            is_alive: false,
            event: Some(RefreshTokenReused),
        },
        Row {
            what: "a later one, after its grace",
            keep_first: true,
            before: &[(0, 0), (1, 0)],
            presented: (1, 31),
            leads_to: None,
            is_alive: false,
            event: Some(RefreshTokenStale),
        },
        Row {
            what: "the first one, after its grace, however often it was used within",
            keep_first: true,
            before: &[(0, 0), (0, 29)],
            presented: (0, 2),
            leads_to: Some(1),
            is_alive: true,
            event: None,
        },
        Row {
            what: "the first one, again and again for hours",
            keep_first: true,
            before: &[(0, 0), (0, 31), (0, 60 * 60)],
            presented: (0, 20 * 60 * 60),
            leads_to: Some(1),
            is_alive: true,
            event: None,
        },
        Row {
            what: "the successor of a first one that was kept",
            keep_first: true,
            before: &[(0, 0), (0, 31)],
            presented: (1, 60 * 60),
            leads_to: Some(2),
            is_alive: true,
            event: None,
        },
        Row {
            what: "a first one that was kept, once its successor was used",
            keep_first: true,
            before: &[(0, 0), (0, 31), (1, 0)],
            presented: (0, 0),
            leads_to: None,
            is_alive: false,
            event: Some(RefreshTokenReused),
        },
    ];
    for Row { what, keep_first, before, presented, leads_to, is_alive, event } in table {
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
        app.advance(presented.1);
        let reply = app.refreshing(&line[presented.0].refresh).await;
        match leads_to {
            Some(generation) => {
                let tokens = Tokens::of(&reply);
                assert_eq!(claims(&tokens.refresh)["gen"], json!(generation), "{what}");
                if let Some(known) = line.get(usize::try_from(generation).unwrap()) {
                    assert_eq!(name(known), name(&tokens), "{what}: the same successor");
                    assert_ne!(known.access, tokens.access, "{what}: a fresh access token");
                }
                assert_eq!(app.profile(&tokens.access).await.status, 200, "{what}");
                line.push(tokens);
            }
            None => assert_refused(&reply, &invalid(), what),
        }
        assert_eq!(events(&app), Vec::from_iter(event), "{what}");
        // The end shows at once, at every endpoint, and after a restart.
        let app = app.restart().await;
        let last = line.last().unwrap();
        if !is_alive {
            let reply = app.unchanged(async || app.refreshing(&last.refresh).await).await;
            assert_refused(&reply, &invalid(), what);
            assert_eq!(app.profile(&last.access).await.status, 401, "{what}");
        }
        assert_eq!(app.app.store.count_sessions(), Ok(if is_alive { 2 } else { 1 }), "{what}");
        // Nobody else's session is touched, not even another one of the same person.
        app.refresh(&bystander.refresh).await;
    }
}

/// Clients that keep the refresh token of the login were logged out an hour after it.
#[tokio::test]
async fn a_client_that_never_stores_a_refresh_token_stays_logged_in_until_its_first_expires() {
    let app = TestApp::start();
    let first = app.newcomer(ANN).await;
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
        let reply = app.unchanged(async || app.refreshing(refresh).await).await;
        assert_refused(&reply, &invalid(), "over");
    }
    assert_eq!(events(&app), []);
}

#[tokio::test]
async fn a_first_token_is_kept_by_one_write_and_from_elsewhere_it_is_an_event() {
    let app = TestApp::start();
    let first = app.newcomer(ANN).await;
    app.refresh(&first.refresh).await;
    app.advance(31);
    let verify = app.post("/api/token/verify/", &json!({"token": first.refresh}));
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
    let app = TestApp::start();
    let first = app.newcomer(ANN).await;
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
    let app = TestApp::start();
    let first = app.newcomer(ANN).await;
    let backup = app.disk.image();
    let second = app.refresh(&first.refresh).await;
    let app = app.restart_on(&backup).await;
    let reply = app.refreshing(&second.refresh).await;
    assert_refused(&reply, &invalid(), "a generation that was never issued");
    assert_eq!(events(&app), [EventKind::RefreshTokenAhead]);
    app.refresh(&first.refresh).await;
}

#[tokio::test]
async fn the_grace_used_from_another_address_is_an_event() {
    let app = TestApp::start();
    let first = app.newcomer(ANN).await;
    let second = app.refresh(&first.refresh).await;
    app.refresh(&first.refresh).await;
    assert_eq!(events(&app), []);
    let again = Tokens::of(&app.refreshing(&first.refresh).from(ELSEWHERE).await);
    assert_eq!(again.refresh, second.refresh);
    assert_eq!(events(&app), [EventKind::GraceUsedElsewhere]);
    let event = app.token_events().remove(0);
    assert_eq!(event.by.client().unwrap().address.to_string(), ELSEWHERE);
}

#[tokio::test]
async fn a_refresh_token_lives_a_day_from_its_rotation() {
    let app = TestApp::start();
    let first = app.newcomer(ANN).await;
    app.advance(DAY - 2);
    let second = app.refresh(&first.refresh).await;
    app.advance(DAY);
    let reply = app.unchanged(async || app.refreshing(&second.refresh).await).await;
    assert_refused(&reply, &invalid(), "expired");
    // A refresh token that has expired is no wrong type of access token either.
    assert!(app.profile(&second.refresh).await.text().contains("invalid or expired"));
}

#[tokio::test]
async fn no_token_outlives_its_session_however_often_it_rotates() {
    let app = TestApp::start();
    let mut tokens = app.newcomer(ANN).await;
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
    let reply = app.unchanged(async || app.refreshing(&tokens.refresh).await).await;
    assert_refused(&reply, &invalid(), "the session is over");
}

#[tokio::test]
async fn a_removed_users_tokens_are_refused() {
    let app = TestApp::start();
    let token = app.invited(ANN).await;
    let tokens = app.log_in(ANN).await;
    app.disown(&token).await;
    let reply = app.unchanged(async || app.refreshing(&tokens.refresh).await).await;
    assert_refused(&reply, &invalid(), "the user is gone");
}

#[tokio::test]
async fn two_tabs_that_ask_before_the_commit_get_the_one_successor_that_it_has() {
    let app = TestApp::start();
    let tokens = app.newcomer(ANN).await;
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
