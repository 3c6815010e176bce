//! Serving: from a configuration and a listener to a running server, and back to nothing.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::app::App;
use crate::clock::{Clock, ClockGuard};
use crate::config::{Config, MailTransport};
use crate::flows::supervise::{supervise, until_stopped};
use crate::flows::{delivery, key_watch, upkeep};
use crate::hasher::Hasher;
use crate::http::Router;
use crate::http::pages::{Pages, PagesError};
use crate::jwt::{TokenSettings, Tokens};
use crate::keys::{Keys, KeysError, LiveKeys};
use crate::mail::{Collector, MailSetupError, Mailer};
use crate::random::Random;
use crate::server::{self, Handler};
use crate::store::{
    DataDirectory, DirectoryProblem, OpenError, Store, StoreSettings, WriterThread,
};
use crate::throttle::Throttle;

/// Why the server does not start. Each says what to do in one line.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The mail templates or the transport.
    Mail(MailSetupError),
    /// The pages.
    Pages(PagesError),
    /// The data directory.
    Directory(DirectoryProblem),
    /// The keys.
    Keys(KeysError),
    /// The database.
    Store(OpenError),
    /// The hashing threads or the runtime.
    Threads(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error } => {
                write!(f, "cannot listen on {address} (server.listen): {error}")
            }
            Self::Mail(error) => error.fmt(f),
            Self::Pages(error) => error.fmt(f),
            Self::Directory(problem) => problem.fmt(f),
            Self::Keys(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Threads(error) => write!(f, "cannot start threads: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Checks what a start would, as far as that touches nothing: the mail templates and the pages.
///
/// # Errors
/// [`StartError`].
pub fn check(config: &Config) -> Result<(), StartError> {
    let public_url = config.server.public_url.as_deref().unwrap_or("http://127.0.0.1");
    Mailer::collecting(&config.mail, public_url, Collector::new()).map_err(StartError::Mail)?;
    Pages::new(config.server.frontend_url.as_deref()).map_err(StartError::Pages)?;
    Ok(())
}

/// A server that has everything it needs and listens, but does not answer yet.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    mailer: Arc<Mailer>,
    router: Arc<Router>,
    listener: TcpListener,
    writer: WriterThread,
}

impl Server {
    /// Checks the mail templates, listens, takes the data directory, and opens keys and database,
    /// in this order, so that what fails early leaves the data untouched.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let mut config = config;
        server::raise_open_file_limit(&mut config.server);
        let address = config.server.listen;
        let listen_error = |error| StartError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let public_url =
            config.server.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let mailer = Mailer::new(&config.mail, &public_url).map_err(StartError::Mail)?;

        let directory =
            DataDirectory::open(&config.storage.directory).map_err(StartError::Directory)?;
        let clock = Clock::system();
        let random = Random::system();
        let start = clock.read();
        let algorithm = config.tokens.algorithm;
        let keys = Keys::load_or_create(&config.storage.keys, algorithm, start.wall, &random)
            .map(LiveKeys::new)
            .map_err(StartError::Keys)?;
        let settings = StoreSettings {
            cache: config.storage.cache,
            min_free: config.storage.min_free,
            write_queue: config.storage.write_queue,
            max_events: config.audit.max_events,
            access_lifetime: config.tokens.access_lifetime,
        };
        let (store, writer) = Store::open(directory, settings).map_err(StartError::Store)?;
        let hasher =
            Hasher::start(&config.passwords, clock.clone()).map_err(StartError::Threads)?;
        let issuer = config.tokens.issuer.clone().unwrap_or_else(|| public_url.clone());
        let token_settings =
            TokenSettings { access_lifetime: config.tokens.access_lifetime, issuer };
        let app = App {
            throttle: Throttle::new(&config.login, &config.registration, random.bytes()),
            tokens: Tokens::new(keys.clone(), token_settings),
            keys,
            guard: ClockGuard::new(start),
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
        let router = Arc::new(Router::new(Arc::clone(&app)).map_err(StartError::Pages)?);
        Ok(Self { app, mailer: Arc::new(mailer), router, listener, writer })
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// What the system said.
    pub fn address(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, then stops accepting, lets requests under way finish, and closes
    /// the database.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { app, mailer, router, listener, writer } = self;
        let timeout = app.config.server.shutdown_timeout;
        let (stop, stopped) = watch::channel(());
        let (for_upkeep, for_keys) = (Arc::clone(&app), Arc::clone(&app));
        let for_mail = (Arc::clone(&app), mailer);
        let background = [
            tokio::spawn(supervise("delivery", for_mail, stopped.clone(), deliver)),
            tokio::spawn(supervise("upkeep", for_upkeep, stopped.clone(), keep_up)),
            tokio::spawn(supervise("key watch", for_keys, stopped, watch_keys)),
        ];
        let settings = app.config.server.clone();
        drop(app);
        let stopping = Arc::clone(&router);
        let shutdown = async move {
            shutdown.await;
            // Mail under way ends beside the requests under way, not after them.
            drop(stop);
            stopping.stop();
        };
        let handler: Handler = Arc::new(move |incoming| {
            let router = Arc::clone(&router);
            Box::pin(async move { router.answer(incoming).await })
        });
        server::run(listener, settings, handler, shutdown).await;

        for task in background {
            // Their panics are caught and reported within.
            let _ = task.await;
        }
        close(writer, timeout).await;
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

/// Waits until the writer has closed the database; everything answered is durable already, so
/// waiting longer than `timeout` is not worth it.
async fn close(writer: WriterThread, timeout: Duration) {
    let closed = tokio::task::spawn_blocking(move || writer.join());
    if tokio::time::timeout(timeout, closed).await.is_err() {
        warn!("the database was still closing; nothing that was answered is lost");
    }
}
