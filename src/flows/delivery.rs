//! Delivery: taking mail out of the outbox and to its transport, at least once.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::{MailId, MailKind, Ticket};
use crate::mail::{Delivery, MailContent, Mailer, next_attempt, verify_link};
use crate::store::{MailToSend, StoreError};

/// The most mails under way at one time.
const PARALLEL: usize = 4;
/// The most mails looked up at one time.
const BATCH: usize = 64;
/// The longest wait before the outbox is looked at again.
const PERIOD: Duration = Duration::from_secs(30);
/// The wait before a result is reported to storage again, or before storage is asked again.
const STORAGE_PAUSE: Duration = Duration::from_secs(1);

/// Delivers mail until `stop`: first everything that waits, since whatever kept it may be over
/// after a restart; then each mail when it is due.
pub async fn run(app: &Arc<App>, mailer: &Arc<Mailer>, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    tokio::select! {
        () = &mut stop => return,
        () = deliver_all(app, mailer) => {}
    }
    loop {
        let wait = match deliver_due(app, mailer, stop.as_mut()).await {
            Err(_) => STORAGE_PAUSE,
            Ok(Round::Stopped) => return,
            Ok(Round::Done) => {
                mailer.rest().await;
                wait_until_due(app)
            }
        };
        tokio::select! {
            () = &mut stop => return,
            () = app.store.mail_queued() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Tries every mail in the outbox once, due or not.
pub async fn deliver_all(app: &Arc<App>, mailer: &Arc<Mailer>) {
    let mut after = None;
    // A mail that storage cannot give now is found by the rounds that follow.
    while let Ok(batch) = app.store.find_mail_after(after, BATCH)
        && let Some(last) = batch.last()
    {
        after = Some(last.mail.id);
        deliver(app, mailer, batch).await;
    }
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Nothing is due any more.
    Done,
    /// The server is stopping.
    Stopped,
}

/// Tries every mail that is due.
///
/// # Errors
/// [`StoreError`], if storage cannot say what is due.
pub async fn deliver_due(
    app: &Arc<App>,
    mailer: &Arc<Mailer>,
    mut stop: impl Future<Output = ()> + Unpin,
) -> Result<Round, StoreError> {
    loop {
        let now = app.clock.read().wall;
        let batch = app.store.find_due_mail(now, BATCH)?;
        if batch.is_empty() {
            return Ok(Round::Done);
        }
        tokio::select! {
            () = &mut stop => return Ok(Round::Stopped),
            () = deliver(app, mailer, batch) => {}
        }
    }
}

fn wait_until_due(app: &App) -> Duration {
    let now = app.clock.read().wall;
    match app.store.find_next_due() {
        Ok(Some(due)) => due.saturating_since(now).clamp(Duration::from_millis(1), PERIOD),
        _ => PERIOD,
    }
}

async fn deliver(app: &Arc<App>, mailer: &Arc<Mailer>, batch: Vec<MailToSend>) {
    let mut under_way = JoinSet::new();
    for item in batch {
        if under_way.len() >= PARALLEL {
            under_way.join_next().await;
        }
        let (app, mailer) = (Arc::clone(app), Arc::clone(mailer));
        under_way.spawn(async move { deliver_one(&app, &mailer, item).await });
    }
    while under_way.join_next().await.is_some() {}
}

/// What is to be reported to storage of an attempt.
enum Report {
    Finished,
    Deferred(Timestamp),
    Failed(String),
}

async fn deliver_one(app: &App, mailer: &Mailer, item: MailToSend) {
    let now = app.clock.read().wall;
    let id = item.mail.id;
    let report = match content(app, &item) {
        // Its ticket is void: the account is gone, or the address confirmed.
        None => Report::Finished,
        Some(_) if now >= item.mail.give_up_at => {
            Report::Failed("it could not be delivered in time".to_owned())
        }
        Some(content) => match mailer.deliver(&item.mail, &content).await {
            Delivery::Sent => {
                info!(mail = id.0, user = %item.mail.user, "mail delivered");
                Report::Finished
            }
            Delivery::Deferred { reason } => {
                let attempts = item.mail.attempts.saturating_add(1);
                let due = next_attempt(attempts, now, u64::from_be_bytes(app.random.bytes()));
                if due >= item.mail.give_up_at {
                    Report::Failed(reason)
                } else {
                    warn!(
                        mail = id.0, user = %item.mail.user, attempts, reason, next = %due,
                        "mail not delivered; it will be tried again"
                    );
                    Report::Deferred(due)
                }
            }
            Delivery::Failed { reason } => Report::Failed(reason),
        },
    };
    if let Report::Failed(reason) = &report {
        warn!(
            mail = id.0, user = %item.mail.user, reason,
            "mail given up; it is kept among the failed mail for mail.keep_failed"
        );
    }
    tell_storage(app, id, &report).await;
}

/// Reports an attempt until storage has taken it: a mail that was sent must not be sent again
/// because a disk was away for a moment.
async fn tell_storage(app: &App, id: MailId, report: &Report) {
    loop {
        let told = match app.moment() {
            Err(_) => Err(StoreError::Unavailable),
            Ok(at) => match report {
                Report::Finished => app.store.finish_mail(id, at).await,
                Report::Deferred(due) => app.store.defer_mail(id, *due, at).await,
                Report::Failed(reason) => app.store.fail_mail(id, reason.clone(), at).await,
            },
        };
        match told {
            Ok(()) | Err(StoreError::Corrupt) => return,
            Err(StoreError::Unavailable) => tokio::time::sleep(STORAGE_PAUSE).await,
        }
    }
}

/// What a mail says; none if it has become pointless. The link is made here, and lives no longer
/// than the attempt.
fn content(app: &App, item: &MailToSend) -> Option<MailContent> {
    match item.mail.kind {
        MailKind::VerifyEmail { .. } => {
            let is_open = |ticket: &&Ticket| ticket.redeemed_at.is_none();
            let ticket = item.ticket.as_ref().filter(is_open)?;
            let token = app.keys.ticket().seal(ticket.purpose, ticket.id);
            Some(MailContent::VerifyEmail {
                link: verify_link(&app.public_url, &token),
                created_at: ticket.created_at,
                expires_at: ticket.expires_at,
            })
        }
        _ => None,
    }
}
