//! One attempt at one mail, and the report to storage of what became of it.

use std::sync::Arc;

use tracing::{debug, info, warn};

use super::PAUSE;
use super::link::{Pointless, link};
use crate::app::App;
use crate::clock::{Moment, Timestamp};
use crate::config::MailTransport;
use crate::domain::{MailId, QueuedMail};
use crate::mail::{Delivery, Mailer, next_attempt};
use crate::store::{MailToSend, StoreError};

/// What is to be reported to storage of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// It was sent, or has become pointless.
    Finished,
    /// It is to be tried again then.
    Deferred(Timestamp),
    /// It is given up, and why.
    Failed(String),
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Storage knows what became of the mail.
    Recorded,
    /// Storage cannot take this: the mail must not be tried again before it has.
    Unrecorded(Report),
}

/// Makes one attempt at a mail at `at` and reports it; only reports if the report of an earlier
/// one is `owed`.
pub(super) async fn attempt(
    app: Arc<App>,
    mailer: Arc<Mailer>,
    item: MailToSend,
    at: Moment,
    owed: Option<Report>,
) -> Ended {
    let report = match owed {
        Some(report) => report,
        None => deliver(&app, &mailer, &item, at).await,
    };
    match tell_storage(&app, item.mail.id, &report).await {
        true => Ended::Recorded,
        false => Ended::Unrecorded(report),
    }
}

async fn deliver(app: &App, mailer: &Mailer, item: &MailToSend, at: Moment) -> Report {
    let mail = &item.mail;
    let link = match link(app, item) {
        Ok(link) => link,
        Err(Pointless) => return Report::Finished,
    };
    if at.now >= mail.give_up_at {
        if at.confirmed {
            return give_up(mail, "it could not be delivered in time".to_owned());
        }
        // Perhaps the clock is wrong: nothing is lost by it, and no dead link is sent.
        debug!(mail = mail.id.0, "mail appears to have expired, but the clock is not confirmed");
        return Report::Deferred(next_due(app, mail, at));
    }
    match mailer.deliver(mail, link.as_ref()).await {
        Delivery::Sent => {
            if matches!(app.config.mail.transport, MailTransport::Log) {
                debug!(mail = mail.id.0, user = %mail.user, "mail printed to the log");
            } else {
                info!(mail = mail.id.0, user = %mail.user, "mail delivered");
            }
            Report::Finished
        }
        Delivery::Failed { reason } => give_up(mail, reason),
        Delivery::Deferred { reason } => {
            // The attempt may have taken minutes; the wait counts from its end.
            let at = app.moment().unwrap_or(at);
            let due = next_due(app, mail, at);
            if at.confirmed && due >= mail.give_up_at {
                return give_up(mail, reason);
            }
            warn!(
                mail = mail.id.0, user = %mail.user, attempts = mail.attempts.saturating_add(1),
                reason, next = %due,
                "mail not delivered; it will be tried again"
            );
            Report::Deferred(due)
        }
    }
}

fn next_due(app: &App, mail: &QueuedMail, at: Moment) -> Timestamp {
    let jitter = u64::from_be_bytes(app.random.bytes());
    next_attempt(mail.attempts.saturating_add(1), at.now, jitter)
}

fn give_up(mail: &QueuedMail, reason: String) -> Report {
    warn!(
        mail = mail.id.0, user = %mail.user, reason,
        "mail given up; it is kept among the failed mail for mail.keep_failed"
    );
    Report::Failed(reason)
}

/// Reports an attempt until storage has taken it: a mail that was sent must not be sent again
/// because a disk was away for a moment. Says whether storage could take it at all.
async fn tell_storage(app: &App, id: MailId, report: &Report) -> bool {
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
            Ok(()) => return true,
            Err(StoreError::Corrupt) => return false,
            Err(StoreError::Unavailable) => tokio::time::sleep(PAUSE).await,
        }
    }
}
