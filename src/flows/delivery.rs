//! Delivery: taking mail out of the outbox and to its transport, at least once.
//!
//! [`run`] keeps a few attempts going side by side and gives each slot that comes free to the mail
//! whose turn it is (`lineup`). `attempt` is one attempt and the report of what became of it;
//! `memory` has what storage cannot be asked about; `link` makes the link that a mail carries.

mod attempt;
mod lineup;
mod link;
mod memory;

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tracing::{error, warn};

use crate::app::App;
use crate::clock::Moment;
use crate::domain::MailId;
use crate::mail::Mailer;
use crate::store::{Health, MailToSend, StoreError};
use attempt::{Ended, attempt};
use lineup::{Lane, Lineup, Turn};

/// The most mails under way at one time.
const PARALLEL: usize = 8;
/// The most of them that have been tried before, or have waited since before the start: a mail
/// that was just queued finds a free slot although a mail server keeps all of these waiting.
const PARALLEL_BACKLOG: usize = 6;
/// The longest wait before the outbox is looked at again.
const PERIOD: Duration = Duration::from_secs(30);
/// The wait before storage or the clock is asked again after it could not be relied on.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a mail is left alone whose attempt panicked, or whose report storage cannot take.
const REST: Duration = Duration::from_secs(10 * 60);

/// Delivers mail until `stop`: everything that waits, since whatever kept it may be over after a
/// restart, and meanwhile what is queued or comes due. On `stop` it begins nothing more, and gives
/// the attempts under way up to `grace` to end and to be recorded: a mail that is sent without
/// that is sent again.
pub async fn run(
    app: &Arc<App>,
    mailer: &Arc<Mailer>,
    stop: impl Future<Output = ()>,
    grace: Duration,
) {
    let mut stop = pin!(stop);
    let lineup = tokio::select! {
        () = &mut stop => return,
        lineup = line_up(app) => lineup,
    };
    let mut desk = Desk::new(app, mailer, lineup);
    loop {
        let wait = desk.top_up();
        desk.rest_if_idle();
        tokio::select! {
            biased;
            () = &mut stop => break,
            _ = desk.end_one(), if desk.is_busy() => {}
            () = app.store.mail_queued() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    desk.close(grace).await;
}

/// Tries every mail in the outbox once, due or not. What hinders it (the clock, storage) leaves
/// the rest to others.
pub async fn deliver_all(app: &Arc<App>, mailer: &Arc<Mailer>) {
    if let Ok(last) = app.store.find_last_mail() {
        Desk::new(app, mailer, Lineup::everything(last)).work_off().await;
    }
}

/// Tries every mail that is due. What hinders it (the clock, storage) leaves the rest to others.
pub async fn deliver_due(app: &Arc<App>, mailer: &Arc<Mailer>) {
    Desk::new(app, mailer, Lineup::due()).work_off().await;
}

/// Waits until storage says what is left from before the start.
async fn line_up(app: &App) -> Lineup {
    loop {
        match app.store.find_last_mail() {
            Ok(last) => return Lineup::serving(last),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Where attempts are begun and their ends are noted.
struct Desk<'a> {
    app: &'a Arc<App>,
    mailer: &'a Arc<Mailer>,
    lineup: Lineup,
    under_way: JoinSet<Ended>,
    /// What each attempt under way is about.
    mails: HashMap<Id, (MailId, Lane)>,
    /// Whether anything was begun since the mailer was last told to rest.
    is_warm: bool,
}

impl<'a> Desk<'a> {
    fn new(app: &'a Arc<App>, mailer: &'a Arc<Mailer>, lineup: Lineup) -> Self {
        Self {
            app,
            mailer,
            lineup,
            under_way: JoinSet::new(),
            mails: HashMap::new(),
            is_warm: false,
        }
    }

    fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Goes on until nobody's turn is left.
    async fn work_off(mut self) {
        loop {
            self.top_up();
            if !self.end_one().await {
                return;
            }
        }
    }

    /// Begins attempts while there are free slots and mails whose turn it is. Says when to look
    /// again, unless an attempt ends or mail is queued before.
    fn top_up(&mut self) -> Duration {
        while self.under_way.len() < PARALLEL {
            // Nothing is sent that could not be recorded: it would be sent again.
            let Ok(at) = self.app.moment() else { return PAUSE };
            if self.app.store.health() != Health::Fine {
                return PAUSE;
            }
            match self.next(at) {
                Ok(Some((lane, item))) => self.begin(lane, item, at),
                Ok(None) => return self.wait_until_due(at),
                Err(_) => return PAUSE,
            }
        }
        PERIOD
    }

    fn next(&mut self, at: Moment) -> Result<Option<(Lane, MailToSend)>, StoreError> {
        let backlog = self.mails.values().filter(|(_, lane)| lane.is_backlog()).count();
        let turn = Turn {
            now: at.now,
            monotonic: self.app.clock.monotonic(),
            has_room_for_backlog: backlog < PARALLEL_BACKLOG,
        };
        let mails = &self.mails;
        let is_under_way = |id| mails.values().any(|(other, _)| *other == id);
        self.lineup.next(&self.app.store, turn, is_under_way)
    }

    fn wait_until_due(&self, at: Moment) -> Duration {
        match self.app.store.find_next_due(at.now) {
            Ok(Some(due)) => due.saturating_since(at.now).clamp(Duration::from_millis(1), PERIOD),
            Ok(None) => PERIOD,
            Err(_) => PAUSE,
        }
    }

    fn begin(&mut self, lane: Lane, item: MailToSend, at: Moment) {
        let id = item.mail.id;
        let owed = self.lineup.memory.take_owed(id);
        let (app, mailer) = (Arc::clone(self.app), Arc::clone(self.mailer));
        let task = self.under_way.spawn(attempt(app, mailer, item, at, owed));
        self.mails.insert(task.id(), (id, lane));
        self.is_warm = true;
    }

    /// Waits until one attempt has ended, and notes how; says at once if none is under way.
    async fn end_one(&mut self) -> bool {
        let Some(ended) = self.under_way.join_next_with_id().await else { return false };
        self.note(ended);
        true
    }

    fn note(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let task = match &ended {
            Ok((task, _)) => *task,
            Err(error) => error.id(),
        };
        let Some((id, _)) = self.mails.remove(&task) else { return };
        let owed = match ended {
            Ok((_, Ended::Recorded)) => return,
            Ok((_, Ended::Unrecorded(report))) => {
                error!(
                    mail = id.0, again_in = ?REST,
                    "the outcome of a mail cannot be stored; trying again"
                );
                Some(report)
            }
            // The panic itself has been reported where it happened.
            Err(_) => {
                error!(
                    mail = id.0, again_in = ?REST,
                    "an attempt at a mail panicked; it will be tried again"
                );
                None
            }
        };
        let until = self.app.clock.monotonic().saturating_add(REST);
        self.lineup.memory.rest(id, until, owed);
    }

    /// Lets the mailer end its connection when there is nothing to do; nobody waits for that.
    fn rest_if_idle(&mut self) {
        if self.is_warm && !self.is_busy() {
            self.is_warm = false;
            let mailer = Arc::clone(self.mailer);
            tokio::spawn(async move { mailer.rest().await });
        }
    }

    /// Waits until everything under way has ended, but not longer than `grace`.
    async fn close(mut self, grace: Duration) {
        let ends = async {
            while self.end_one().await {}
            self.mailer.rest().await;
        };
        let is_late = tokio::time::timeout(grace, ends).await.is_err();
        if is_late && self.is_busy() {
            warn!(
                mails = self.under_way.len(),
                "a mail was interrupted by the shutdown; it is tried again after the next start"
            );
        }
    }
}
