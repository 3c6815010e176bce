//! The people in a seeded data directory: made with the store's own sentences, in the order in
//! which a server would say them, so that every record and index entry is what it would be.
//!
//! Each has registered, been sent the mail, followed its link and logged in. Two days have passed
//! since they registered, so that tickets have been swept. They all have the same password, and
//! so the same hash: hashing a million would take hours.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use latchkey::clock::{Clock, Moment, Timestamp};
use latchkey::config::Config;
use latchkey::domain::{
    Authentication, Client, Email, Factor, MessageId, NewPassword, PasswordHash, Session,
    SessionId, TicketId, UserId, Username,
};
use latchkey::hasher::Hasher;
use latchkey::jwt::{TokenSettings, Tokens};
use latchkey::keys::{AccessSigning, Keys, LiveKeys};
use latchkey::random::Random;
use latchkey::secret::Secret;
use latchkey::store::{
    DataDirectory, EngineSettings, NewSession, NewTicket, NewUser, Policy, RedeemOutcome,
    RegisterOutcome, Store, WriterThread,
};
use tokio::task::JoinSet;

use crate::Result;
use crate::seed::{Dataset, Sessions};
use crate::server::PUBLIC_URL;

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// So many do the same thing at once: as many as share a commit at most.
const AT_ONCE: u64 = 1024;
/// So many of the last users have sessions that can be used where the others' are over.
const STILL_LIVE: u64 = 1000;
/// The most audit events that are left, so that what a user takes can be told from them.
const MAX_EVENTS: u64 = 1000;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// One of the people, and what it takes to act as them.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) email: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// The address of the person with this number; users' own numbers are in another order.
fn email(number: u64) -> String {
    format!("person.{number:07}@example.com")
}

/// Makes a data directory with keys, a database, and everybody.
pub(crate) fn fill(directory: &Path, dataset: Dataset) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (filling, writer) = Filling::begin(directory, dataset).await?;
        let mut first = 1;
        while first <= dataset.users {
            let last = (first + AT_ONCE - 1).min(dataset.users);
            filling.batch(first..=last).await?;
            first = last + 1;
        }
        drop(filling);
        tokio::task::spawn_blocking(|| writer.join()).await?;
        Ok(())
    })
}

/// `count` of `users`: the last, and every `step`th before.
pub(crate) fn people(directory: &Path, users: u64, count: u64, step: u64) -> Result<Vec<Person>> {
    let config = defaults()?;
    let keys = keys(directory, &config)?;
    let (store, writer) = open(directory, &config)?;
    let issuer = PUBLIC_URL.to_owned();
    let access_lifetime = config.tokens.access_lifetime;
    let settings = TokenSettings {
        access_lifetime,
        issuer,
        audience: config.tokens.audience,
        simplejwt: config.compatibility.simplejwt,
    };
    let tokens = Tokens::new(LiveKeys::new(keys), settings);
    let (now, random) = (now(), Random::system());
    let mut people = Vec::new();
    for nth in 0..count.min(users) {
        let user = UserId(users - nth * step);
        let found = store.find_sessions(user, now)?;
        let session = found.first().ok_or_else(|| format!("user {user} has no session"))?;
        let account = store.find_user(user)?.ok_or_else(|| format!("there is no user {user}"))?;
        people.push(Person {
            email: account.email.as_str().to_owned(),
            access: tokens.access(session, now, random.bytes()).expose().clone(),
            refresh: tokens.refresh(session).expose().clone(),
        });
    }
    drop(store);
    writer.join();
    Ok(people)
}

/// A database while it is being filled.
struct Filling {
    store: Store,
    random: Random,
    config: Config,
    dataset: Dataset,
    password: PasswordHash,
}

impl Filling {
    async fn begin(directory: &Path, dataset: Dataset) -> Result<(Self, WriterThread)> {
        let config = defaults()?;
        let (store, writer) = open(directory, &config)?;
        keys(directory, &config)?;
        let random = Random::system();
        let password = hash(&config, &random).await?;
        Ok((Self { store, random, config, dataset, password }, writer))
    }

    /// Takes people from registering to their session.
    async fn batch(&self, numbers: std::ops::RangeInclusive<u64>) -> Result<()> {
        let registering = at(now(), 50 * HOUR);
        let mut registered = JoinSet::new();
        for number in numbers {
            let new = self.new_user(number, registering.now)?;
            let store = self.store.clone();
            registered.spawn(async move {
                let (ticket, client) = (new.ticket.id, new.client.clone());
                let RegisterOutcome::Registered(user) =
                    store.register_user(new, registering).await?
                else {
                    return Err("a seeded address is taken".into());
                };
                match store.redeem_verification(ticket, client.clone(), registering).await? {
                    RedeemOutcome::Verified(_) => Ok((user.id, client)),
                    other => Err(format!("a seeded ticket is {other:?}").into()),
                }
            });
        }
        let registered: Vec<Result<(UserId, Client)>> = registered.join_all().await;
        self.deliver(registering).await?;
        let mut opened = JoinSet::new();
        for person in registered {
            let (user, client) = person?;
            let (opening, at) = self.new_session(user, client);
            let store = self.store.clone();
            opened.spawn(async move { store.open_session(opening, at).await });
        }
        for is_open in opened.join_all().await {
            if !is_open? {
                return Err("a seeded session was refused".into());
            }
        }
        self.sweep().await
    }

    fn new_user(&self, number: u64, now: Timestamp) -> Result<NewUser> {
        let [a, b, c] = self.random.bytes();
        let address = std::net::Ipv4Addr::new(10, a, b, c).into();
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";
        let lifetime = self.config.registration.ticket_lifetime;
        Ok(NewUser {
            email: Email::parse(&email(number)).map_err(|problem| format!("{problem:?}"))?,
            username: Some(
                Username::parse(&format!("person{number}"))
                    .map_err(|problem| format!("{problem:?}"))?,
            ),
            password: self.password.clone(),
            ticket: NewTicket {
                id: TicketId::from_bytes(self.random.bytes()),
                expires_at: now.saturating_add(lifetime),
            },
            message_id: MessageId::from_bytes(self.random.bytes()),
            client: Client::new(address, agent),
        })
    }

    /// Says of all mail that it was delivered.
    async fn deliver(&self, at: Moment) -> Result<()> {
        let mut delivered = JoinSet::new();
        let mut last = None;
        while let Some(id) = self.store.find_mail_after(last)?.last() {
            last = Some(id);
            let store = self.store.clone();
            delivered.spawn(async move { store.finish_mail(id, at).await });
        }
        Ok(delivered.join_all().await.into_iter().collect::<std::result::Result<(), _>>()?)
    }

    fn new_session(&self, user: UserId, client: Client) -> (NewSession, Moment) {
        let is_over = self.dataset.sessions == Sessions::Expired
            && user.0.saturating_add(STILL_LIVE) <= self.dataset.users;
        // A refresh token, and so its session, is good for a day.
        let at = at(now(), if is_over { 25 * HOUR } else { Duration::ZERO });
        let id = SessionId::new(at.now, self.random.bytes());
        let lifetimes = self.config.tokens.sessions;
        let session = Session::open(id, user, client, at.now, lifetimes);
        let factors = vec![Factor::Password];
        let authentication = Authentication { user, credential_version: 0, factors };
        (NewSession { session, authentication, former: Vec::new() }, at)
    }

    /// Sweeps what is over a day after it was registered, and so no session.
    async fn sweep(&self) -> Result<()> {
        self.store.sweep(usize::try_from(AT_ONCE)?, at(now(), 25 * HOUR)).await?;
        Ok(())
    }
}

fn defaults() -> Result<Config> {
    Ok(Config::load(None, &[])?.config)
}

/// Opens storage as the server does, but with memory enough to fill it fast.
fn open(directory: &Path, config: &Config) -> Result<(Store, WriterThread)> {
    let settings = EngineSettings {
        cache: 1 << 30,
        write_queue: NonZeroUsize::MIN.saturating_add(usize::try_from(4 * AT_ONCE)?),
        ..EngineSettings::from(&config.storage)
    };
    let policy = Policy { max_events: MAX_EVENTS, ..Policy::from(config) };
    Ok(Store::open(DataDirectory::open(directory)?, settings, policy)?)
}

fn keys(directory: &Path, config: &Config) -> Result<Keys> {
    let directory = directory.join("keys");
    let random = Random::system();
    let signing = AccessSigning::of(&config.tokens, &directory)?;
    Ok(Keys::load_or_create(&directory, signing, now(), &random)?)
}

async fn hash(config: &Config, random: &Random) -> Result<PasswordHash> {
    let password = Secret::new(PASSWORD.to_owned());
    let policy = &config.passwords.policy;
    let password = NewPassword::check(&password, policy, None, None)
        .map_err(|problems| format!("the password of all is refused: {problems:?}"))?;
    let hasher = Hasher::start(&config.passwords, Clock::system())?;
    let from = Client::new(std::net::Ipv4Addr::LOCALHOST.into(), "").block();
    let hash = hasher.hash(password, random.bytes(), from).await;
    hash.map_err(|busy| format!("{busy:?}").into())
}

fn now() -> Timestamp {
    Clock::system().read().wall
}

/// So long before `now`.
fn at(now: Timestamp, before: Duration) -> Moment {
    Moment { now: now.saturating_sub(before), confirmed: true }
}
