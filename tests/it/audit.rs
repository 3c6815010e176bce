//! What is done to an account: by whom and when, says the audit log; all of it, whatever crashes; and
//! none of it while the disk is full.

use std::num::NonZeroUsize;

use latchkey::domain::{Event, EventKind, EventKind::*};
use serde_json::json;

use crate::support::messages::unavailable;
use crate::support::{
    ANN, BOB, Call, ELSEWHERE, NEW_PASSWORD, NOBODY, PASSWORD, Reply, TestApp, Tokens, WRONG,
    assert_page, until,
};
use crate::well_known::{list, mark};

const NEW: &str = "new@example.com";
const AGENT: &str = "Audit/1.0";

/// All that an act of the table below may need.
pub(crate) struct Scene {
    pub(crate) app: TestApp,
    pub(crate) here: Tokens,
    there: Tokens,
    pub(crate) verification: String,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let app = TestApp::start_with(|config| {
            config.tokens.sessions_per_user = NonZeroUsize::new(2).unwrap();
            config.cookies.is_enabled = true;
        });
        let verification = app.invited(ANN).await;
        let here = app.log_in(ANN).await;
        app.advance(60);
        let there = app.log_in(ANN).await;
        app.advance(60);
        Self { app, here, there, verification }
    }

    /// Sends a call from where nobody has been, and returns the answer and the events it left.
    async fn seen(&self, call: Call) -> (Reply, Vec<Event>) {
        let before = self.app.events().len();
        let reply = call.from(ELSEWHERE).header("user-agent", AGENT).await;
        (reply, self.app.events().split_off(before))
    }
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

/// Whose session an event names.
#[derive(Clone, Copy)]
enum Named {
    None,
    Here,
    There,
    New,
}

/// What is done, with the events that it leaves, and whose session each of them names, if one.
const ACTS: [(&str, &[(EventKind, Named)]); 29] = [
    ("register", &[(Registered, Named::None)]),
    ("confirm", &[(EmailVerified, Named::None)]),
    ("disown", &[(AccountDisowned, Named::None)]),
    ("log in", &[(SessionDisplaced, Named::Here), (LoggedIn, Named::New)]),
    ("rename", &[(UsernameChanged, Named::Here)]),
    ("respell", &[(EmailChanged, Named::Here)]),
    ("ask for an address", &[(EmailChangeRequested, Named::Here)]),
    ("ask for an address by PUT", &[(EmailChangeRequested, Named::Here)]),
    ("confirm an address", &[(EmailChanged, Named::None)]),
    ("confirm a taken address", &[(EmailChangeCancelled, Named::None)]),
    ("cancel from the old address", &[(EmailChangeCancelled, Named::None)]),
    ("cancel from the new address", &[(EmailChangeCancelled, Named::None)]),
    ("forget", &[(PasswordResetRequested, Named::None)]),
    ("reset", &[(PasswordReset, Named::None)]),
    ("reset by the page", &[(PasswordReset, Named::None)]),
    ("change the password", &[(PasswordChanged, Named::Here)]),
    ("log out by bearer", &[(SessionEnded, Named::Here)]),
    ("log out by an expired bearer", &[(SessionEnded, Named::Here)]),
    ("log out by refresh token", &[(SessionEnded, Named::Here)]),
    ("log out by cookie", &[(SessionEnded, Named::Here)]),
    ("blacklist", &[(SessionEnded, Named::Here)]),
    ("end another session", &[(SessionEnded, Named::There)]),
    ("log out everywhere", &[(AllSessionsEnded, Named::Here)]),
    ("delete", &[(AccountDeleted, Named::Here)]),
    // What leaves an account as it was is not noted.
    ("refresh", &[]),
    ("forget nobody", &[]),
    ("resend", &[]),
    ("become one that resets", &[]),
    ("list sessions", &[]),
];

/// The request by which something is done, after all that comes before it.
pub(crate) async fn act(scene: &Scene, act: &str) -> Call {
    let Scene { app, here, there, verification } = scene;
    match act {
        "register" => app.registration(BOB),
        "confirm" => app.confirming(verification),
        "disown" => app.press("disown_confirmed", verification),
        "log in" => app.login(ANN, PASSWORD),
        "rename" => app.patch(here, &json!({"username": "Ann"})),
        "respell" => app.patch(here, &json!({"email": "ANN@example.com"})),
        "ask for an address" => app.moving(here, NEW),
        "ask for an address by PUT" => {
            let body = json!({"email": NEW, "current_password": PASSWORD});
            app.call("PUT", "/api/profile/").bearer(&here.access).json(&body)
        }
        "confirm an address" => {
            let change = app.change_address(here, NEW).await;
            app.confirming(&change.confirm)
        }
        "confirm a taken address" => {
            let change = app.change_address(here, NEW).await;
            app.register(NEW).await;
            app.press("confirm", &change.confirm)
        }
        "cancel from the old address" => {
            let change = app.change_address(here, NEW).await;
            app.press("cancel", &change.cancel)
        }
        "cancel from the new address" => {
            let change = app.change_address(here, NEW).await;
            app.press("cancel", &change.confirm)
        }
        "forget" => app.forgetting(ANN),
        "reset" => {
            let token = app.reset_token(ANN).await;
            app.resetting(&token, NEW_PASSWORD)
        }
        "reset by the page" => {
            let token = app.reset_token(ANN).await;
            app.resetting_by_page(&token, NEW_PASSWORD, NEW_PASSWORD)
        }
        "become one that resets" => app.press("reset", verification),
        "change the password" => app.changing_password(here, NEW_PASSWORD),
        "log out by bearer" => app.call("POST", "/api/logout/").bearer(&here.access),
        "log out by an expired bearer" => {
            app.advance(30 * 60);
            app.call("POST", "/api/logout/").bearer(&here.access)
        }
        "log out by refresh token" => app.logging_out(&here.refresh),
        "log out by cookie" => {
            app.call("POST", "/api/logout/").cookie(&here.refresh, "https://accounts.example.com")
        }
        "blacklist" => app.blacklisting(&here.refresh),
        "end another session" => {
            app.call("DELETE", &format!("/api/sessions/{}/", there.sid())).bearer(&here.access)
        }
        "log out everywhere" => app.logging_out_everywhere(here),
        "delete" => app.deleting(here, PASSWORD),
        "refresh" => app.refreshing(&here.refresh),
        "forget nobody" => app.forgetting(NOBODY),
        "resend" => app.resending(ANN),
        "list sessions" => app.get("/api/sessions/").bearer(&here.access),
        _ => panic!("{act}"),
    }
}

/// And all of it is there after a power cut right after the answer, the list of ended sessions too.
#[tokio::test]
async fn what_is_done_is_noted_with_time_address_and_user_agent_in_its_transaction() {
    for (what, expected) in ACTS {
        let scene = Scene::new().await;
        let (reply, events) = scene.seen(act(&scene, what).await).await;
        // What a crash right after the answer would leave.
        let left_behind = scene.app.disk.image();
        let is_refused = what == "confirm a taken address";
        assert_eq!(reply.status >= 300, is_refused, "{what}: {reply:?}");
        let kinds_expected: Vec<EventKind> = expected.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds(&events), kinds_expected, "{what}");
        let now = scene.app.clock.read().wall;
        for (event, (_, session)) in events.iter().zip(expected) {
            let session = match session {
                Named::None => None,
                Named::Here => Some(scene.here.sid()),
                Named::There => Some(scene.there.sid()),
                Named::New => Some(Tokens::of(&reply).sid()),
            };
            assert_eq!(event.session.map(|id| id.to_string()), session, "{what}");
            assert_eq!((event.at, event.last_at, event.count), (now, now, 1), "{what}");
            assert_eq!(event.by.client().unwrap().address.to_string(), ELSEWHERE, "{what}");
            assert_eq!(event.by.client().unwrap().user_agent, AGENT, "{what}");
            let user = if what == "register" { 2 } else { 1 };
            assert_eq!(event.user.0, user, "{what}");
        }
        let state = scene.app.state();
        let app = scene.app.restart_on(&left_behind).await;
        assert!(app.state().was_left_by(&state), "{what}: {state:?}, {:?}", app.state());
        // Services that follow logouts hear of each session that has ended.
        let listed = list(&app).await["sessions"].clone();
        for tokens in [&scene.here, &scene.there] {
            let has_ended = app.refreshing(&tokens.refresh).await.status == 401;
            let is_listed = listed.as_array().unwrap().contains(&mark(tokens));
            assert_eq!(is_listed, has_ended, "{what}");
        }
    }
}

#[tokio::test]
async fn while_the_disk_is_full_every_change_is_refused_and_none_is_made() {
    for (what, _) in ACTS {
        let scene = Scene::new().await;
        let (app, call) = (&scene.app, act(&scene, what).await);
        app.disk.set_full(true);
        let reply = app.unchanged(async || call.await).await;
        if what == "list sessions" {
            assert_eq!(reply.status, 200, "it is no change");
            continue;
        }
        assert!(reply.retry_after().is_some(), "{what}");
        if reply.header("content-type") == Some("application/json") {
            assert_eq!(reply.told(), unavailable(), "{what}");
        } else {
            assert_page(&reply, 503, "Please try again in a moment");
        }
        assert_eq!((app.get("/healthz").await.status, app.get("/readyz").await.status), (200, 503));
        app.disk.set_full(false);
        app.refresh(&scene.here.refresh).await;
        assert_eq!(app.get("/readyz").await.status, 200);
    }
}

#[tokio::test]
async fn misused_refresh_tokens_are_noted_with_who_showed_them() {
    let noted = async |act: EventKind| {
        let scene = Scene::new().await;
        let app = &scene.app;
        let second = app.refresh(&scene.here.refresh).await;
        if matches!(act, RefreshTokenReused | RefreshTokenStale) {
            app.refresh(&second.refresh).await;
        }
        if matches!(act, RefreshTokenStale | FirstTokenUsedElsewhere) {
            app.advance(31);
        }
        let misused = if act == RefreshTokenStale { &second } else { &scene.here };
        let (reply, events) = scene.seen(app.refreshing(&misused.refresh)).await;
        let left_behind = app.disk.image();
        for event in &events {
            assert_eq!(event.session.map(|id| id.to_string()), Some(scene.here.sid()));
            assert_eq!(event.at, app.clock.read().wall);
            assert_eq!(event.by.client().unwrap().address.to_string(), ELSEWHERE);
            assert_eq!(event.by.client().unwrap().user_agent, AGENT);
        }
        let app = scene.app.restart_on(&left_behind).await;
        assert_eq!(app.events().split_off(app.events().len() - events.len()), events);
        (reply.status, kinds(&events))
    };
    assert_eq!(noted(RefreshTokenReused).await, (401, vec![RefreshTokenReused]));
    assert_eq!(noted(RefreshTokenStale).await, (401, vec![RefreshTokenStale]));
    assert_eq!(noted(GraceUsedElsewhere).await, (200, vec![GraceUsedElsewhere]));
    let kept = noted(FirstTokenUsedElsewhere).await;
    assert_eq!(kept, (200, vec![FirstTokenUsedElsewhere]));
    // From where it was rotated, the grace is an ordinary thing.
    let scene = Scene::new().await;
    let before = scene.app.events();
    let first = scene.app.refresh(&scene.here.refresh).await;
    assert_eq!(scene.app.refresh(&scene.here.refresh).await.refresh, first.refresh);
    assert_eq!(scene.app.events(), before);
}

#[tokio::test]
async fn wrong_passwords_are_merged_and_a_lockout_is_noted_once() {
    let app = TestApp::with_ann().await;
    for count in 1..=4 {
        app.advance(1);
        let call = app.login(ANN, WRONG).from(ELSEWHERE).header("user-agent", AGENT);
        assert_eq!(call.await.status, 401);
        app.until_failures(&[(LoginFailed, count)]).await;
    }
    let call = app.login(ANN, WRONG).from(ELSEWHERE).header("user-agent", AGENT);
    assert_eq!(call.await.status, 401);
    app.until_failures(&[(LoginFailed, 5), (LockedOut, 1)]).await;
    for event in app.events().split_off(1) {
        assert_eq!(event.by.client().unwrap().address.to_string(), ELSEWHERE);
        assert_eq!(event.by.client().unwrap().user_agent, AGENT);
        assert_eq!((event.user.0, event.last_at), (1, app.clock.read().wall));
    }
    // Whatever is refused from then on is not looked at, and not noted.
    for password in [WRONG, PASSWORD].iter().cycle().take(20) {
        assert_eq!(app.login(ANN, password).from(ELSEWHERE).await.status, 429);
    }
    // The next lockout from there is one more within the hour, and an event of its own later.
    app.advance(15 * 60);
    for _ in 0..5 {
        assert_eq!(app.login(ANN, WRONG).from(ELSEWHERE).await.status, 401);
    }
    app.until_failures(&[(LoginFailed, 10), (LockedOut, 2)]).await;
    app.advance(61 * 60);
    for _ in 0..5 {
        assert_eq!(app.login(ANN, WRONG).from(ELSEWHERE).await.status, 401);
    }
    let expected = [(LoginFailed, 10), (LockedOut, 2), (LoginFailed, 5), (LockedOut, 1)];
    app.until_failures(&expected).await;
}

#[tokio::test]
async fn a_wrong_password_costs_one_durable_write_with_an_account_and_without_one() {
    let app = TestApp::with_ann().await;
    let before = app.events();
    for email in [NOBODY, ANN] {
        for _ in 0..6 {
            app.advance(1);
            let is_looked_at = app.login(email, WRONG).await.status == 401;
            let now = app.clock.read().wall;
            // It is written after the answer, so that nobody waits for it.
            if is_looked_at {
                until(|| app.app.store.last_commit() == now).await;
            }
        }
        if email != ANN {
            assert_eq!(app.events(), before, "of nobody nothing is noted");
        }
    }
    app.until_failures(&[(LoginFailed, 5), (LockedOut, 1)]).await;
}
