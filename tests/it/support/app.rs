//! The harness: the whole server in this process, without its sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey::app::App;
use latchkey::clock::{Clock, ClockGuard, Timestamp};
use latchkey::config::{Config, PublicUrl};
use latchkey::domain::{Event, EventKind, User, UserId};
use latchkey::flows::delivery;
use latchkey::hasher::Hasher;
use latchkey::http::Router;
use latchkey::http::pages::Pages;
use latchkey::jwt::{TokenSettings, Tokens as TokenMaker};
use latchkey::keys::{AccessSigning, Keys, LiveKeys};
use latchkey::mail::{Collector, Mailer};
use latchkey::random::Random;
use latchkey::store::{EngineSettings, Policy, Store, WriterThread};
use latchkey::throttle::Throttle;
use serde_json::{Value, json};

use super::{Call, Disk, Reply};

/// When a test begins: 2024-12-06T10:00:00.123456Z.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_733_479_200_123_456);

/// So few sessions are kept apart since they were rotated that whatever a test plays out goes past
/// them.
pub(crate) const MAX_ROTATED: u64 = 2;

/// Everybody's password, unless a test is about another.
pub(crate) const PASSWORD: &str = "tide-Lamp 7 orchard";

/// Where mailed links lead.
pub(crate) const CONFIRM: &str = "/api/verify-email/confirm/";

/// The server in this process: on a disk in memory, with a clock that stands still until it is
/// moved and mail that is kept.
pub(crate) struct TestApp {
    pub(crate) app: Arc<App>,
    pub(crate) router: Arc<Router>,
    pub(crate) mailer: Arc<Mailer>,
    /// What was mailed, and what is to become of the next mails.
    pub(crate) mails: Collector,
    /// Moves time.
    pub(crate) clock: Clock,
    /// What everything is stored on.
    pub(crate) disk: Disk,
    writer: WriterThread,
    keys: Keys,
    config: Config,
    /// How often it was started: no start repeats the randomness of the one before.
    starts: u64,
}

/// What a login or a refresh gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    pub(crate) fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{reply:?}");
        Self { access: reply.field("access"), refresh: reply.field("refresh") }
    }

    /// The identifier of their session.
    pub(crate) fn sid(&self) -> String {
        claims(&self.access)["sid"].as_str().unwrap().to_owned()
    }
}

/// Everything that a refused request must leave as it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    users: Vec<User>,
    user_count: u64,
    sessions: u64,
    waiting_mails: u64,
    delivery_attempts: usize,
    events: Vec<Event>,
}

impl State {
    /// What concerns the user who registered first, and nobody who did later.
    pub(crate) fn of_the_first_user(&self) -> (Option<&User>, u64) {
        (self.users.first(), self.sessions)
    }

    /// Whether the same is there, whatever was delivered since the start.
    pub(crate) fn was_left_by(mut self, other: &Self) -> bool {
        self.delivery_attempts = other.delivery_attempts;
        self == *other
    }
}

impl TestApp {
    /// One with the defaults, but for cheap passwords and no limits for each address.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// One whose configuration is changed first.
    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(Disk::default(), change)
    }

    /// One on a disk of the test's, whose configuration is changed first.
    pub(crate) fn start_on(disk: Disk, change: impl FnOnce(&mut Config)) -> Self {
        let config = test_config(change);
        let keys = ephemeral_keys(&config, 0);
        Self::on(disk, Clock::manual(START), keys, config, 1)
    }

    /// One whose keys are others than everybody else's.
    pub(crate) fn start_as_stranger() -> Self {
        let keys = ephemeral_keys(&test_config(|_| {}), 7);
        Self::start_on_keys(keys, |_| {})
    }

    /// One whose keys these are, and whose configuration is changed first.
    pub(crate) fn start_on_keys(keys: Keys, change: impl FnOnce(&mut Config)) -> Self {
        Self::on(Disk::default(), Clock::manual(START), keys, test_config(change), 1)
    }

    /// The same once more beside this one, on another disk: with its keys, its configuration and
    /// its clock.
    pub(crate) fn beside(&self, disk: Disk) -> Self {
        let (clock, keys, config) = (self.clock.clone(), self.keys.clone(), self.config.clone());
        Self::on(disk, clock, keys, config, self.starts + 1)
    }

    /// The same again, as after a stop and a start: only what is on the disk and the keys are
    /// kept.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// The same again with another configuration.
    pub(crate) async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        let disk = self.disk.clone();
        self.move_to(disk).await
    }

    /// The same again after an older copy of the disk was put back.
    pub(crate) async fn restart_on(self, image: &[u8]) -> Self {
        self.move_to(Disk::holding(image)).await
    }

    /// The same again on another disk.
    pub(crate) async fn move_to(self, disk: Disk) -> Self {
        let (clock, keys, starts) = (self.clock.clone(), self.keys.clone(), self.starts);
        let config = self.config.clone();
        self.stop().await;
        Self::on(disk, clock, keys, config, starts + 1)
    }

    /// Stops it: the database is closed afterwards.
    pub(crate) async fn stop(self) {
        let Self { app, router, mailer, writer, .. } = self;
        drop((app, router, mailer));
        tokio::task::spawn_blocking(move || writer.join()).await.unwrap();
    }

    fn on(disk: Disk, clock: Clock, keys: Keys, config: Config, starts: u64) -> Self {
        let random = Random::seeded(starts);
        let settings =
            EngineSettings { max_rotated: MAX_ROTATED, ..EngineSettings::from(&config.storage) };
        let policy = Policy::from(&config);
        let (store, writer) = Store::open(disk.clone(), settings, policy).unwrap();
        let public_url = config.server.public_url.clone().unwrap();
        let mails = Collector::new();
        let mailer = Mailer::collecting(&config.mail, &public_url, mails.clone()).unwrap();
        let live = LiveKeys::from(keys.clone());
        let token_settings = TokenSettings {
            access_lifetime: config.tokens.access_lifetime,
            issuer: config.tokens.issuer.clone().unwrap_or_else(|| public_url.to_string()),
            audience: config.tokens.audience.clone(),
            simplejwt: config.compatibility.simplejwt,
        };
        let app = Arc::new(App {
            throttle: Throttle::new(&config.login, &config.registration, random.bytes()),
            tokens: TokenMaker::new(live.clone(), token_settings),
            keys: live,
            guard: ClockGuard::new(clock.read(), store.last_commit(), store.clock_trial()),
            public_url,
            config: config.clone(),
            clock: clock.clone(),
            random,
            store,
            hasher: Hasher::start(&config.passwords, clock.clone()).unwrap(),
        });
        let pages = Pages::new(&app.public_url, config.server.frontend_url.as_ref()).unwrap();
        let router = Arc::new(Router::new(Arc::clone(&app), pages));
        let mailer = Arc::new(mailer);
        Self { app, router, mailer, mails, clock, disk, writer, keys, config, starts }
    }

    pub(crate) fn call(&self, method: &str, target: &str) -> Call {
        Call::new(&self.router, method, target)
    }

    pub(crate) fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    pub(crate) fn post(&self, target: &str, body: &Value) -> Call {
        self.call("POST", target).json(body)
    }

    /// Carries out both so that each has read what it reads before either writes, and the first one
    /// writes first, however long anything takes: while the disk is held nothing is written.
    pub(crate) async fn neck_and_neck<A, B>(
        &self,
        first: impl Future<Output = A>,
        second: impl Future<Output = B>,
    ) -> (A, B) {
        self.disk.set_held(true);
        let letting_go = async { self.disk.set_held(false) };
        let (first, second, ()) = tokio::join!(biased; first, second, letting_go);
        (first, second)
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Does something, and asserts that it left nobody and nothing behind.
    pub(crate) async fn unchanged<T>(&self, act: impl AsyncFnOnce() -> T) -> T {
        let before = self.state();
        let outcome = act().await;
        assert_eq!(self.state(), before, "what was refused left something behind");
        outcome
    }

    /// The audit log, oldest events first.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.app.store.events(0, 1_000).unwrap()
    }

    /// What it says about refresh tokens.
    pub(crate) fn token_events(&self) -> Vec<Event> {
        use EventKind::*;
        let mut events = self.events();
        events.retain(|event| {
            let on_use = matches!(event.kind, RefreshTokenAhead | RefreshTokenReused);
            let late = matches!(event.kind, RefreshTokenStale | FirstTokenUsedElsewhere);
            on_use || late || event.kind == GraceUsedElsewhere
        });
        events
    }

    pub(crate) fn state(&self) -> State {
        let store = &self.app.store;
        let user_count = store.count_users().unwrap();
        let ids = (1..user_count + 20).map(UserId);
        State {
            users: ids.filter_map(|id| store.find_user(id).unwrap()).collect(),
            user_count,
            sessions: store.count_sessions().unwrap(),
            waiting_mails: self.waiting_mails(),
            delivery_attempts: self.mails.attempts(),
            // But for those that say of an attempt that it was refused.
            events: (self.events().into_iter())
                .filter(|event| {
                    !matches!(event.kind, EventKind::LoginFailed | EventKind::LockedOut)
                })
                .collect(),
        }
    }

    /// Sends what must be refused so, and asserts that it left nobody and nothing behind.
    pub(crate) async fn refuses(&self, call: Call, expected: (u16, Value)) -> Reply {
        let sent = format!("{call:?}");
        let reply = self.unchanged(async || call.await).await;
        assert_eq!(reply.told(), expected, "{sent}");
        reply
    }

    /// What is asked of registration.
    pub(crate) fn registration(&self, email: &str) -> Call {
        self.registering(email, "", PASSWORD)
    }

    /// The same with a user name, or none if that is empty, and any password.
    pub(crate) fn registering(&self, email: &str, username: &str, password: &str) -> Call {
        let body = json!({
            "email": email, "username": username, "password": password, "password_confirm": password,
        });
        self.post("/api/register/", &body)
    }

    pub(crate) async fn register(&self, email: &str) {
        let reply = self.registration(email).await;
        assert_eq!(reply.status, 201, "{reply:?}");
    }

    /// Registers someone with a user name and logs them in.
    pub(crate) async fn named(&self, email: &str, username: &str) -> Tokens {
        assert_eq!(self.registering(email, username, PASSWORD).await.status, 201);
        self.log_in(email).await
    }

    pub(crate) fn login(&self, email: &str, password: &str) -> Call {
        self.post("/api/login/", &json!({"email": email, "password": password}))
    }

    pub(crate) async fn log_in(&self, email: &str) -> Tokens {
        Tokens::of(&self.login(email, PASSWORD).await)
    }

    pub(crate) async fn newcomer(&self, email: &str) -> Tokens {
        self.register(email).await;
        self.log_in(email).await
    }

    pub(crate) fn refreshing(&self, refresh: &str) -> Call {
        self.post("/api/token/refresh/", &json!({"refresh": refresh}))
    }

    pub(crate) async fn refresh(&self, refresh: &str) -> Tokens {
        Tokens::of(&self.refreshing(refresh).await)
    }

    pub(crate) async fn profile(&self, access: &str) -> Reply {
        self.get("/api/profile/").bearer(access).await
    }

    /// Tries to deliver all mail that waits, due or not.
    pub(crate) async fn deliver(&self) {
        delivery::deliver_all(&self.app, &self.mailer).await;
    }

    /// Tries the mail that is due, and returns how many attempts that were.
    pub(crate) async fn attempts_now(&self) -> usize {
        let before = self.mails.attempts();
        delivery::deliver_due(&self.app, &self.mailer).await;
        self.mails.attempts() - before
    }

    pub(crate) fn waiting_mails(&self) -> u64 {
        self.app.store.count_mail().unwrap()
    }

    /// Delivers the mail, and takes the ticket's token out of the last link.
    pub(crate) async fn mailed_token(&self) -> String {
        self.deliver().await;
        let link = self.mails.sent().last().unwrap().link.clone().unwrap();
        let (_, token) = link.split_once("?token=").unwrap();
        token.to_owned()
    }

    /// Registers someone and returns the token that was mailed to them.
    pub(crate) async fn invited(&self, email: &str) -> String {
        self.register(email).await;
        self.mailed_token().await
    }

    /// Confirms an address as programs do.
    pub(crate) async fn confirm(&self, token: &str) {
        let reply = self.post(CONFIRM, &json!({"token": token})).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    /// Presses a button of the page behind a link.
    pub(crate) fn press(&self, action: &str, token: &str) -> Call {
        self.call("POST", CONFIRM).form(&[("token", token), ("action", action)])
    }

    /// Removes an account, as the owner of its address.
    pub(crate) async fn disown(&self, token: &str) {
        let reply = self.press("disown_confirmed", token).await;
        assert!(reply.text().contains("The account is removed"), "{reply:?}");
    }

    /// Whether the address of the bearer is confirmed.
    pub(crate) async fn is_verified(&self, access: &str) -> bool {
        self.profile(access).await.json()["is_email_verified"] == true
    }
}

/// Keys as in a new directory.
fn ephemeral_keys(config: &Config, seed: u64) -> Keys {
    let signing = AccessSigning::of(&config.tokens, Path::new("there is no such directory"));
    Keys::ephemeral(signing.unwrap(), &Random::seeded(seed)).unwrap()
}

fn test_config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::load(None, &[]).unwrap().config;
    config.server.public_url = PublicUrl::parse("https://accounts.example.com");
    config.passwords.memory_kib = 256;
    config.passwords.iterations = 1;
    config.registration.per_address_per_hour = None;
    config.login.per_address_per_minute = None;
    change(&mut config);
    config
}

/// What a token says, unchecked.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
