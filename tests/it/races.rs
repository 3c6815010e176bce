//! What was checked outside a transaction may have changed when it is written: every pair of a
//! request that takes its time over a password and a change that overtakes it, and of a mailed
//! link and what happens before it is opened.

use std::future::{Future, IntoFuture};

use latchkey::clock::Moment;
use latchkey::domain::{
    Actor, Authorised, Client, Email, EventKind, MessageId, NewPassword, PasswordHash, Purpose,
    SessionId, TicketId, UserId, Username,
};
use latchkey::flows::credentials::{PasswordRefused, check_password};
use latchkey::secret::Secret;
use latchkey::store::{
    NewPasswordHash, NewTicket, NewUser, PasswordChange, RegisterOutcome, Store,
};
use serde_json::{Value, json};

use crate::audit;
use crate::support::messages::{BAD_RESET_TOKEN, BAD_TOKEN, bad_access, wrong_credentials};
use crate::support::{ANN, BOB, Call, NEW_PASSWORD, PASSWORD, Reply, START, TestApp, Tokens};

const NEW: &str = "new@example.com";
const NEWEST: &str = "newest@example.com";

/// The password that the overtaking request has set.
const OVERTAKING: &str = "third-Sail 9 meadow";

/// A change that is written meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fast {
    Reset,
    ChangePassword,
    ConfirmAddress,
    Delete,
    EndAllSessions,
}

/// Someone with two devices, a change of address under way and a link that resets the password.
struct Scene {
    app: TestApp,
    here: Tokens,
    there: Tokens,
    reset: String,
    confirm: String,
    /// The hash of [`OVERTAKING`], made beforehand so that setting it is one step.
    hash: PasswordHash,
}

impl Scene {
    async fn new() -> Self {
        let app = TestApp::start();
        let (here, there) = (app.newcomer(ANN).await, app.log_in(ANN).await);
        let confirm = app.change_address(&here, NEW).await.confirm;
        let reset = app.reset_token(ANN).await;
        let password = Secret::new(OVERTAKING.to_owned());
        let policy = &app.app.config.passwords.policy;
        let password = NewPassword::check(&password, policy, None, None).unwrap();
        let block = client().block();
        let hash = app.app.hasher.hash(password, [7; 16], block).await.unwrap();
        Self { app, here, there, reset, confirm, hash }
    }

    /// The requests that hash a password between what they read and what they write, and how each
    /// is refused when it was overtaken.
    fn slow(&self) -> [(&'static str, Call, (u16, Value)); 5] {
        let app = &self.app;
        let bad_link = (400, json!({"non_field_errors": [BAD_RESET_TOKEN]}));
        let refused = bad_access(BAD_TOKEN);
        [
            ("log in", app.login(ANN, PASSWORD), wrong_credentials()),
            ("reset", app.resetting(&self.reset, NEW_PASSWORD), bad_link),
            ("change", app.changing_password(&self.here, NEW_PASSWORD), refused.clone()),
            ("move", app.moving(&self.here, NEWEST), refused.clone()),
            ("delete", app.deleting(&self.here, PASSWORD), refused),
        ]
    }

    /// One operation on the store, and so one step, by the other device or by a mailed link.
    async fn overtake(&self, fast: Fast) {
        let store: &Store = &self.app.app.store;
        let at = Moment { now: self.app.clock.read().wall, confirmed: true };
        let message_id = MessageId::from_bytes([9; 16]);
        let new = NewPasswordHash { password: self.hash.clone(), message_id };
        let user = UserId(1);
        let by = Actor::User(Authorised {
            user,
            session: SessionId::parse(&self.there.sid()).unwrap(),
            client: client(),
        });
        let is_done = match fast {
            Fast::Reset => {
                let ticket = self.ticket(Purpose::ResetPassword, &self.reset);
                store.reset_password(ticket, new, client(), at).await.is_ok()
            }
            Fast::ChangePassword => {
                let change = PasswordChange { by, user, credential_version: 0, new };
                store.change_password(change, at).await.unwrap()
            }
            Fast::ConfirmAddress => {
                let ticket = self.ticket(Purpose::ChangeEmail, &self.confirm);
                store.confirm_email_change(ticket, message_id, client(), at).await.is_ok()
            }
            Fast::Delete => store.delete_user(by, user, 0, message_id, at).await.unwrap(),
            Fast::EndAllSessions => store.end_all_sessions(by, user, at).await.unwrap(),
        };
        assert!(is_done, "{fast:?}");
    }

    fn ticket(&self, purpose: Purpose, token: &str) -> TicketId {
        self.app.app.keys.ticket().open(&[purpose], token).unwrap().1
    }
}

fn client() -> Client {
    Client::new([192, 0, 2, 1].into(), "")
}

/// Sends a request, and has something reach the store after the request has read there and before
/// it writes.
async fn overtaken(app: &TestApp, call: Call, overtaking: impl Future<Output = ()>) -> Reply {
    app.neck_and_neck(overtaking, call.into_future()).await.1
}

#[tokio::test]
async fn what_was_checked_and_then_overtaken_is_refused_and_leaves_nothing() {
    use Fast::{ConfirmAddress, EndAllSessions};
    for fast in [Fast::Reset, Fast::ChangePassword, ConfirmAddress, Fast::Delete, EndAllSessions] {
        // Logging out everywhere is nothing to who logs in or resets.
        for slow in if fast == EndAllSessions { 2..5 } else { 0..5 } {
            let alone = Scene::new().await;
            alone.overtake(fast).await;
            let scene = Scene::new().await;
            let (slow, call, expected) = scene.slow().into_iter().nth(slow).unwrap();
            let reply = overtaken(&scene.app, call, scene.overtake(fast)).await;
            assert_eq!(reply.told(), expected, "{slow} overtaken by {fast:?}");
            let app = &scene.app;
            assert_eq!(app.state(), alone.app.state(), "{slow} overtaken by {fast:?}");
            // And no password is any other than it would be.
            let email = if fast == Fast::ConfirmAddress { NEW } else { ANN };
            let password = match fast {
                Fast::Reset | Fast::ChangePassword => Some(OVERTAKING),
                Fast::ConfirmAddress | Fast::EndAllSessions => Some(PASSWORD),
                Fast::Delete => None,
            };
            for candidate in [PASSWORD, NEW_PASSWORD, OVERTAKING] {
                let status = app.login(email, candidate).await.status;
                let is_it = password == Some(candidate);
                assert_eq!(status, if is_it { 200 } else { 401 }, "{slow} {fast:?} {candidate}");
            }
        }
    }
}

#[tokio::test]
async fn a_right_password_that_was_overtaken_is_no_failure_of_its_owner() {
    // Nothing shows more plainly that the password had been checked before it was changed.
    let scene = Scene::new().await;
    for _ in 0..3 {
        let reply = overtaken(&scene.app, scene.app.login(ANN, PASSWORD), async {}).await;
        assert_eq!(reply.status, 200);
    }
    let events = || scene.app.events();
    let reply =
        overtaken(&scene.app, scene.app.login(ANN, PASSWORD), scene.overtake(Fast::Reset)).await;
    assert_eq!(reply.status, 401);
    assert!(events().iter().all(|event| event.kind != EventKind::LoginFailed));
}

#[tokio::test]
async fn logging_out_everywhere_is_nothing_to_who_logs_in_or_resets_meanwhile() {
    let scene = Scene::new().await;
    let reply =
        overtaken(&scene.app, scene.app.login(ANN, PASSWORD), scene.overtake(Fast::EndAllSessions))
            .await;
    let tokens = Tokens::of(&reply);
    assert!(scene.app.is_live(&tokens).await && !scene.app.is_live(&scene.here).await);

    let scene = Scene::new().await;
    let reply = overtaken(
        &scene.app,
        scene.app.resetting(&scene.reset, NEW_PASSWORD),
        scene.overtake(Fast::EndAllSessions),
    )
    .await;
    assert_eq!(reply.status, 200);
    assert_eq!(scene.app.login(ANN, NEW_PASSWORD).await.status, 200);
}

#[tokio::test]
async fn an_account_that_has_gone_or_moved_is_no_wrong_password() {
    for fast in [Fast::Delete, Fast::ConfirmAddress] {
        let scene = Scene::new().await;
        let app = &scene.app;
        // As who acts was looked up just before.
        let user = app.app.store.find_user(UserId(1)).unwrap().unwrap();
        scene.overtake(fast).await;
        for _ in 0..10 {
            let password = Secret::new(PASSWORD.to_owned());
            let checked = check_password(&app.app, &user, password, &client()).await;
            assert_eq!(checked, Err(PasswordRefused::NotAuthorised), "and nobody is locked out");
        }
        let events = app.events();
        assert!(events.iter().all(|event| event.kind != EventKind::LoginFailed));
    }
}

#[tokio::test]
async fn a_hash_that_is_renewed_late_brings_no_old_password_back() {
    for fast in [Fast::Reset, Fast::ChangePassword] {
        let scene = Scene::new().await;
        let store = &scene.app.app.store;
        let at = Moment { now: scene.app.clock.read().wall, confirmed: true };
        let email = Email::parse(ANN).unwrap();
        let login = store.find_login(&email, client().block()).unwrap().unwrap();
        scene.overtake(fast).await;
        let version = login.user.credential_version;
        store.rehash_password(UserId(1), version, login.password, at).await.unwrap();
        assert_eq!(scene.app.login(ANN, PASSWORD).await.status, 401);
        assert_eq!(scene.app.login(ANN, OVERTAKING).await.status, 200);
    }
}

#[tokio::test]
async fn a_registration_overtaken_by_another_is_told_what_is_taken() {
    let scene = Scene::new().await;
    for (email, name, errors) in [
        ("Ann@example.com", "", json!({"email": ["user with this email already exists."]})),
        (BOB, "ANN", json!({"username": ["A user with that username already exists."]})),
    ] {
        let app = TestApp::start();
        let new = NewUser {
            email: Email::parse(ANN).unwrap(),
            username: Some(Username::parse("ann").unwrap()),
            password: scene.hash.clone(),
            ticket: NewTicket { id: TicketId::from_bytes([9; 16]), expires_at: START },
            message_id: MessageId::from_bytes([9; 16]),
            client: client(),
        };
        let at = Moment { now: START, confirmed: true };
        let overtaking = async {
            let outcome = app.app.store.register_user(new, at).await.unwrap();
            assert!(matches!(outcome, RegisterOutcome::Registered(_)));
        };
        let call = app.registering(email, name, PASSWORD);
        let reply = overtaken(&app, call, overtaking).await;
        assert_eq!(reply.told(), (400, errors));
        assert_eq!(app.app.store.count_users(), Ok(1));
        assert_eq!(app.app.store.count_mail(), Ok(1));
    }
}

#[tokio::test]
async fn a_link_is_good_after_what_leaves_it_so_and_void_after_the_rest() {
    let all = &["verify", "reset", "confirm a change", "cancel a change"][..];
    let table = [
        ("rename", all),
        ("respell", all),
        ("log out everywhere", all),
        ("resend", all),
        ("forget", all),
        ("ask for an address", all),
        // One that was confirmed, or has cancelled a change, says so again.
        ("confirm", all),
        ("reset", &[]),
        ("change the password", &[]),
        ("confirm an address", &["confirm a change"]),
        ("cancel from the old address", &["verify", "reset", "cancel a change"]),
        ("ask for another address", &["verify", "reset"]),
        ("delete", &[]),
        ("disown", &[]),
    ];
    for (before, good) in table {
        for link in all {
            let scene = audit::Scene::new().await;
            let audit::Scene { app, here, verification, .. } = &scene;
            let change = app.change_address(here, NEW).await;
            let reset = app.reset_token(ANN).await;
            let call = match before {
                "ask for another address" => app.moving(here, NEWEST),
                _ => audit::act(&scene, before).await,
            };
            let reply = call.await;
            assert!([200, 204].contains(&reply.status), "{before}: {reply:?}");
            let open = async || match *link {
                "verify" => app.confirming(verification).await,
                "reset" => app.resetting(&reset, OVERTAKING).await,
                "confirm a change" => app.confirming(&change.confirm).await,
                _ => app.press("cancel", &change.cancel).await,
            };
            if good.contains(link) {
                assert_eq!(open().await.status, 200, "{link} after {before}");
            } else {
                let reply = app.unchanged(open).await;
                assert_eq!(reply.status, 400, "{link} after {before}");
            }
        }
    }
}
