//! The audit log: what is done to an account, by whom and when.

use std::num::{NonZeroU32, NonZeroUsize};

use latchkey::domain::{Event, EventKind, EventKind::*};
use serde_json::json;

use crate::support::{
    ANN, BOB, Call, ELSEWHERE, NEW_PASSWORD, NOBODY, PASSWORD, Reply, TestApp, Tokens, WRONG, until,
};

const NEW: &str = "new@example.com";
const AGENT: &str = "Audit/1.0";

/// All that an act of the table below may need.
struct Scene {
    app: TestApp,
    here: Tokens,
    there: Tokens,
    verification: String,
}

impl Scene {
    async fn new() -> Self {
        let app = TestApp::start_with(|config| {
            config.tokens.sessions_per_user = NonZeroUsize::new(2).unwrap();
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
        let before = all(&self.app).len();
        let reply = call.from(ELSEWHERE).header("user-agent", AGENT).await;
        (reply, all(&self.app).split_off(before))
    }
}

fn all(app: &TestApp) -> Vec<Event> {
    app.events()
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

fn sid(tokens: &Tokens) -> String {
    tokens.sid()
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Register,
    Confirm,
    Disown,
    LogIn,
    Rename,
    Respell,
    AskForAddress,
    ConfirmAddress,
    ConfirmTakenAddress,
    CancelFromOld,
    CancelFromNew,
    Forget,
    Reset,
    ChangePassword,
    LogOutByBearer,
    LogOutByRefresh,
    Blacklist,
    EndOther,
    LogOutEverywhere,
    Delete,
    Refresh,
    ForgetNobody,
    Resend,
    ListSessions,
}

/// Does it, and returns what was answered and noted.
async fn act(scene: &Scene, act: Act) -> (Reply, Vec<Event>) {
    let Scene { app, here, there, verification } = scene;
    let call = match act {
        Act::Register => app.registration(BOB),
        Act::Confirm => app.confirming(verification),
        Act::Disown => app.press("disown_confirmed", verification),
        Act::LogIn => app.login(ANN, PASSWORD),
        Act::Rename => app.patch(here, &json!({"username": "Ann"})),
        Act::Respell => app.patch(here, &json!({"email": "ANN@example.com"})),
        Act::AskForAddress => app.moving(here, NEW),
        Act::ConfirmAddress => {
            let change = app.change_address(here, NEW).await;
            app.confirming(&change.confirm)
        }
        Act::ConfirmTakenAddress => {
            let change = app.change_address(here, NEW).await;
            app.register(NEW).await;
            app.press("confirm", &change.confirm)
        }
        Act::CancelFromOld => {
            let change = app.change_address(here, NEW).await;
            app.press("cancel", &change.cancel)
        }
        Act::CancelFromNew => {
            let change = app.change_address(here, NEW).await;
            app.press("cancel", &change.confirm)
        }
        Act::Forget => app.forgetting(ANN),
        Act::Reset => {
            let token = app.reset_token(ANN).await;
            app.resetting(&token, NEW_PASSWORD)
        }
        Act::ChangePassword => app.changing_password(here, NEW_PASSWORD),
        Act::LogOutByBearer => app.call("POST", "/api/logout/").bearer(&here.access),
        Act::LogOutByRefresh => app.logging_out(&here.refresh),
        Act::Blacklist => app.blacklisting(&here.refresh),
        Act::EndOther => {
            app.call("DELETE", &format!("/api/sessions/{}/", sid(there))).bearer(&here.access)
        }
        Act::LogOutEverywhere => app.logging_out_everywhere(here),
        Act::Delete => app.deleting(here, PASSWORD),
        Act::Refresh => app.refreshing(&here.refresh),
        Act::ForgetNobody => app.forgetting(NOBODY),
        Act::Resend => app.resending(ANN),
        Act::ListSessions => app.get("/api/sessions/").bearer(&here.access),
    };
    scene.seen(call).await
}

#[tokio::test]
async fn what_is_done_is_noted_with_time_address_and_user_agent_in_its_transaction() {
    use Act::*;
    // With whose session each event names, where it names one.
    let (none, here, there) = (0, 1, 2);
    let table: [(Act, &[(EventKind, u8)]); 24] = [
        (Register, &[(Registered, none)]),
        (Confirm, &[(EmailVerified, none)]),
        (Disown, &[(AccountDisowned, none)]),
        (LogIn, &[(SessionDisplaced, here), (LoggedIn, 3)]),
        (Rename, &[(UsernameChanged, here)]),
        (Respell, &[(EmailChanged, here)]),
        (AskForAddress, &[(EmailChangeRequested, here)]),
        (ConfirmAddress, &[(EmailChanged, none)]),
        (ConfirmTakenAddress, &[(EmailChangeCancelled, none)]),
        (CancelFromOld, &[(EmailChangeCancelled, none)]),
        (CancelFromNew, &[(EmailChangeCancelled, none)]),
        (Forget, &[(PasswordResetRequested, none)]),
        (Reset, &[(PasswordReset, none)]),
        (ChangePassword, &[(PasswordChanged, here)]),
        (LogOutByBearer, &[(SessionEnded, here)]),
        (LogOutByRefresh, &[(SessionEnded, here)]),
        (Blacklist, &[(SessionEnded, here)]),
        (EndOther, &[(SessionEnded, there)]),
        (LogOutEverywhere, &[(AllSessionsEnded, here)]),
        (Delete, &[(AccountDeleted, here)]),
        // What leaves an account as it was is not noted.
        (Refresh, &[]),
        (ForgetNobody, &[]),
        (Resend, &[]),
        (ListSessions, &[]),
    ];
    for (what, expected) in table {
        let scene = Scene::new().await;
        let (reply, events) = act(&scene, what).await;
        // What a crash right after the answer would leave.
        let left_behind = scene.app.disk.image();
        let is_refused = matches!(what, ConfirmTakenAddress);
        assert_eq!(reply.status >= 300, is_refused, "{what:?}: {reply:?}");
        let kinds_expected: Vec<EventKind> = expected.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds(&events), kinds_expected, "{what:?}");
        let now = scene.app.clock.read().wall;
        for (event, (_, session)) in events.iter().zip(expected) {
            let session = match *session {
                0 => None,
                1 => Some(sid(&scene.here)),
                2 => Some(sid(&scene.there)),
                _ => Some(sid(&Tokens::of(&reply))),
            };
            assert_eq!(event.session.map(|id| id.to_string()), session, "{what:?}");
            assert_eq!((event.at, event.last_at, event.count), (now, now, 1), "{what:?}");
            assert_eq!(event.by.client().unwrap().address.to_string(), ELSEWHERE, "{what:?}");
            assert_eq!(event.by.client().unwrap().user_agent, AGENT, "{what:?}");
            let user = if matches!(what, Register) { 2 } else { 1 };
            assert_eq!(event.user.0, user, "{what:?}");
        }
        let noted = all(&scene.app);
        let app = scene.app.restart_on(&left_behind).await;
        assert_eq!(all(&app), noted, "{what:?}");
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
            assert_eq!(event.session.map(|id| id.to_string()), Some(sid(&scene.here)));
            assert_eq!(event.at, app.clock.read().wall);
            assert_eq!(event.by.client().unwrap().address.to_string(), ELSEWHERE);
            assert_eq!(event.by.client().unwrap().user_agent, AGENT);
        }
        let app = scene.app.restart_on(&left_behind).await;
        assert_eq!(all(&app).split_off(all(&app).len() - events.len()), events);
        (reply.status, kinds(&events))
    };
    assert_eq!(noted(RefreshTokenReused).await, (401, vec![RefreshTokenReused]));
    assert_eq!(noted(RefreshTokenStale).await, (401, vec![RefreshTokenStale]));
    assert_eq!(noted(GraceUsedElsewhere).await, (200, vec![GraceUsedElsewhere]));
    let kept = noted(FirstTokenUsedElsewhere).await;
    assert_eq!(kept, (200, vec![FirstTokenUsedElsewhere]));
    // From where it was rotated, the grace is an ordinary thing.
    let scene = Scene::new().await;
    let before = all(&scene.app);
    let first = scene.app.refresh(&scene.here.refresh).await;
    assert_eq!(scene.app.refresh(&scene.here.refresh).await.refresh, first.refresh);
    assert_eq!(all(&scene.app), before);
}

/// Waits until events of failures, written after their answers, are these, with their counts.
async fn until_failures(app: &TestApp, expected: &[(EventKind, u64)]) {
    let failures = || {
        let events = all(app).into_iter();
        let failures = events.filter(|event| matches!(event.kind, LoginFailed | LockedOut));
        failures.map(|event| (event.kind, event.count)).collect::<Vec<_>>()
    };
    until(|| failures() == expected).await;
}

#[tokio::test]
async fn wrong_passwords_are_merged_and_a_lockout_is_noted_once() {
    let app = TestApp::start();
    app.register(ANN).await;
    for count in 1..=4 {
        app.advance(1);
        let call = app.login(ANN, WRONG).from(ELSEWHERE).header("user-agent", AGENT);
        assert_eq!(call.await.status, 401);
        until_failures(&app, &[(LoginFailed, count)]).await;
    }
    let call = app.login(ANN, WRONG).from(ELSEWHERE).header("user-agent", AGENT);
    assert_eq!(call.await.status, 401);
    until_failures(&app, &[(LoginFailed, 5), (LockedOut, 1)]).await;
    for event in all(&app).split_off(1) {
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
    until_failures(&app, &[(LoginFailed, 10), (LockedOut, 2)]).await;
    app.advance(61 * 60);
    for _ in 0..5 {
        assert_eq!(app.login(ANN, WRONG).from(ELSEWHERE).await.status, 401);
    }
    let expected = [(LoginFailed, 10), (LockedOut, 2), (LoginFailed, 5), (LockedOut, 1)];
    until_failures(&app, &expected).await;
}

#[tokio::test]
async fn wrong_passwords_in_parallel_begin_one_lockout() {
    let app = TestApp::start();
    app.register(ANN).await;
    let guesses = (0..40).map(|n| app.login(ANN, &format!("guess number {n}")));
    let replies = crate::support::at_once(guesses).await;
    let tried = replies.iter().filter(|reply| reply.status == 401).count();
    for _ in tried..5 {
        assert_eq!(app.login(ANN, WRONG).await.status, 401);
    }
    until_failures(&app, &[(LoginFailed, 5), (LockedOut, 1)]).await;
}

#[tokio::test]
async fn the_days_failures_of_an_account_slow_strangers_down_and_that_is_noted_once() {
    let app = TestApp::start_with(|config| {
        config.login.max_failures_per_email = NonZeroU32::new(3);
        config.login.slowed_per_hour = NonZeroU32::MIN;
    });
    app.newcomer(ANN).await;
    for host in 1..=2 {
        let from = format!("203.0.113.{host}");
        assert_eq!(app.login(ANN, WRONG).from(&from).await.status, 401);
    }
    until_failures(&app, &[(LoginFailed, 1), (LoginFailed, 1)]).await;
    assert_eq!(app.login(ANN, WRONG).from(ELSEWHERE).await.status, 401);
    let mut expected = vec![(LoginFailed, 1), (LoginFailed, 1), (LoginFailed, 1), (LockedOut, 1)];
    until_failures(&app, &expected).await;
    assert_eq!(all(&app).last().unwrap().by.client().unwrap().address.to_string(), ELSEWHERE);
    assert_eq!(app.login(ANN, WRONG).from("203.0.113.99").await.status, 401);
    expected.push((LoginFailed, 1));
    until_failures(&app, &expected).await;
    for host in 1..=20 {
        let from = format!("203.0.113.{host}");
        assert_eq!(app.login(ANN, WRONG).from(&from).await.status, 429);
    }
    // Addresses that may continue fail on their own account, until they are locked out.
    for count in 1..=4 {
        assert_eq!(app.login(ANN, WRONG).await.status, 401);
        expected.truncate(5);
        expected.push((LoginFailed, count));
        until_failures(&app, &expected).await;
    }
    assert_eq!(app.login(ANN, WRONG).await.status, 401);
    expected.truncate(5);
    expected.extend([(LoginFailed, 5), (LockedOut, 1)]);
    until_failures(&app, &expected).await;
}

#[tokio::test]
async fn a_wrong_current_password_is_noted_wherever_it_is_asked_for() {
    let wrong = json!({"email": NEW, "current_password": WRONG});
    let change = json!({
        "current_password": WRONG, "new_password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD,
    });
    for place in 0..3 {
        let Scene { app, here, .. } = Scene::new().await;
        let calling = || match place {
            0 => app.patch(&here, &wrong),
            1 => app.post("/api/change-password/", &change).bearer(&here.access),
            _ => app.deleting(&here, WRONG),
        };
        for _ in 0..5 {
            assert_eq!(calling().await.status, 400);
        }
        until_failures(&app, &[(LoginFailed, 5), (LockedOut, 1)]).await;
        assert_eq!(calling().await.status, 429);
    }
}

#[tokio::test]
async fn a_wrong_password_costs_one_durable_write_with_an_account_and_without_one() {
    let app = TestApp::start();
    app.register(ANN).await;
    let before = all(&app);
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
            assert_eq!(all(&app), before, "of nobody nothing is noted");
        }
    }
    until_failures(&app, &[(LoginFailed, 5), (LockedOut, 1)]).await;
}
