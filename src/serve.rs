//! Serving: from a configuration and a listener to a running server, and back to nothing.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::app::App;
use crate::clock::{Clock, ClockGuard, Timestamp};
use crate::config::{Config, MailTransport, PublicUrl};
use crate::flows::supervise::{supervise, until_stopped};
use crate::flows::{delivery, key_watch, upkeep};
use crate::hasher::Hasher;
use crate::http::Router;
use crate::http::pages::Pages;
use crate::jwt::{TokenSettings, Tokens};
use crate::keys::{self, AccessSigning, Keys, KeysError, LiveKeys, Schedule};
use crate::mail::Mailer;
use crate::random::Random;
use crate::server::{self, Handler};
use crate::store::{DataDirectory, EngineSettings, Policy, Store, WriterThread};
use crate::throttle::Throttle;

mod dumps;
mod error;
mod stop;

pub use dumps::forgo_core_dumps;
pub use error::StartError;
pub use stop::block_on;

/// Checks what a start would, as far as that touches nothing: the mail templates, the mail
/// transport and the pages.
pub fn check(config: &Config) -> Result<(), StartError> {
    // The port may not be known before the server listens.
    let public_url = public_url(config, config.server.listen);
    Mailer::check(&config.mail, &public_url)?;
    pages(config, &public_url).map(|_| ())
}

fn pages(config: &Config, public_url: &PublicUrl) -> Result<Pages, StartError> {
    Ok(Pages::new(public_url, config.server.frontend_url.as_ref())?)
}

/// The base of mailed links, for a server that listens on `address`.
fn public_url(config: &Config, address: SocketAddr) -> PublicUrl {
    config.server.public_url.clone().unwrap_or_else(|| PublicUrl::of_listener(address))
}

/// Whether a start may begin with an empty database where only the operator can tell that none was
/// lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewDatabase {
    /// It may: the operator said so, with `--new-database`.
    Allowed,
    /// It may not.
    Refused,
}

/// A server that has everything it needs and listens, but does not answer yet.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    mailer: Arc<Mailer>,
    router: Arc<Router>,
    listener: TcpListener,
    address: SocketAddr,
    writer: WriterThread,
}

impl Server {
    /// Checks the mail templates and makes the pages, listens, takes the data directory, makes the
    /// one for mails, and opens keys and database, in this order, so that what fails early leaves
    /// the data untouched.
    pub async fn start(config: Config, new_database: NewDatabase) -> Result<Self, StartError> {
        let mut config = config;
        let random = Random::system();
        random.check()?;
        check(&config)?;

        server::raise_open_file_limit(&mut config.server);
        let address = config.server.listen;
        let listen_error = |error| StartError::Listen { address, error };
        let listener = server::listen(address).map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let public_url = public_url(&config, address);
        let pages = pages(&config, &public_url)?;

        let directory = DataDirectory::open(&config.storage.directory)?;
        let mailer = Mailer::new(&config.mail, &public_url)?;
        let clock = Clock::system();
        let keys = open_keys(&config, new_database, clock.read().wall, &random)?;
        let (settings, policy) = (EngineSettings::from(&config.storage), Policy::from(&config));
        let (store, writer) = Store::open(directory, settings, policy)?;
        let hasher =
            Hasher::start(&config.passwords, clock.clone()).map_err(StartError::Threads)?;
        let issuer = config.tokens.issuer.clone().unwrap_or_else(|| public_url.to_string());
        let token_settings = TokenSettings {
            access_lifetime: config.tokens.access_lifetime,
            issuer,
            audience: config.tokens.audience.clone(),
            simplejwt: config.compatibility.simplejwt,
        };
        let app = App {
            throttle: Throttle::new(&config.login, &config.registration, random.bytes()),
            tokens: Tokens::new(keys.clone(), token_settings),
            keys,
            // Only the database knows what the time was before this start.
            guard: ClockGuard::new(clock.read(), store.last_commit(), store.clock_trial()),
            public_url,
            config,
            clock,
            random,
            store,
            hasher,
        };
        if matches!(app.config.mail.transport, MailTransport::Log) {
            info!("mails are printed to this log (mail.transport = \"log\"), links included");
        }
        let app = Arc::new(app);
        let router = Arc::new(Router::new(Arc::clone(&app), pages));
        Ok(Self { app, mailer: Arc::new(mailer), router, listener, address, writer })
    }

    /// The address that is listened on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, and goes down then within `server.shutdown_timeout`: it accepts
    /// nobody new, lets requests and mails under way finish, and closes the database. What takes
    /// longer is cut off with a warning; nothing that was answered is lost.
    ///
    /// On a runtime of one's own, [`block_on`] keeps to that time as well.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { app, mailer, router, listener, writer, .. } = self;
        let mut settings = app.config.server.clone();
        let limit = settings.shutdown_timeout;
        settings.shutdown_timeout = stop::time_to_finish(limit);
        let (stop, stopped) = watch::channel(());
        let (for_upkeep, for_keys) = (Arc::clone(&app), Arc::clone(&app));
        let for_mail = (Arc::clone(&app), mailer);
        let mut background = JoinSet::new();
        background.spawn(supervise("delivery", for_mail, stopped.clone(), deliver));
        background.spawn(supervise("upkeep", for_upkeep, stopped.clone(), keep_up));
        background.spawn(supervise("key watch", for_keys, stopped, watch_keys));
        drop(app);

        let (told, is_told) = oneshot::channel();
        let stopping = Arc::clone(&router);
        let shutdown = async move {
            shutdown.await;
            let _ = told.send(Instant::now());
            stopping.stop();
            // Requests and mails under way are finished side by side.
            drop(stop);
        };
        let handler: Handler =
            Arc::new(move |incoming| Box::pin(Arc::clone(&router).answer(incoming)));
        let serving = server::run(listener, settings, handler, shutdown);
        stop::within(limit, is_told, serving, background, writer).await;
    }
}

async fn deliver((app, mailer): (Arc<App>, Arc<Mailer>), stopped: watch::Receiver<()>) {
    let grace = app.config.server.shutdown_timeout;
    delivery::run(&app, &mailer, until_stopped(stopped), grace).await;
}

async fn keep_up(app: Arc<App>, stopped: watch::Receiver<()>) {
    upkeep::run(&app, until_stopped(stopped)).await;
}

async fn watch_keys(app: Arc<App>, stopped: watch::Receiver<()>) {
    key_watch::run(&app, until_stopped(stopped)).await;
}

/// Opens the keys, and makes those that a first start lacks.
///
/// Beside a database it makes none of a use that has none at all: a directory that is not mounted
/// would otherwise end all sessions and void all mailed links without a word. With a shared secret
/// no new database is begun without the operator's word: tokens of the accounts of a lost one would
/// count for the new accounts of the same numbers.
fn open_keys(
    config: &Config,
    new_database: NewDatabase,
    now: Timestamp,
    random: &Random,
) -> Result<LiveKeys, StartError> {
    let directory = &config.storage.keys;
    let signing = AccessSigning::of(&config.tokens, directory)?;
    if DataDirectory::holds_database(&config.storage.directory) {
        if new_database == NewDatabase::Allowed {
            warn!(
                "--new-database is not needed: there is a database; without it a loss is noticed"
            );
        }
        let schedule = Schedule::of(&config.tokens, &signing);
        let present = match keys::list(directory, schedule, now) {
            Ok(keys) => keys.iter().map(|(id, _)| id.kind().purpose()).collect(),
            Err(KeysError::NoKeys { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut missing: Vec<&str> = signing.needed().iter().map(|kind| kind.purpose()).collect();
        missing.retain(|purpose| !present.contains(purpose));
        if !missing.is_empty() {
            return Err(StartError::KeysGone {
                data: config.storage.directory.clone(),
                keys: directory.clone(),
                missing,
            });
        }
    } else if signing.is_shared() && new_database == NewDatabase::Refused {
        return Err(StartError::NoDatabase(config.storage.directory.clone()));
    }
    Ok(LiveKeys::new(Keys::load_or_create(directory, signing, now, random)?))
}

#[cfg(test)]
mod tests;
