//! What delivery asks of the outbox, and what it reports back.

use std::time::Duration;

use crate::clock::{Moment, Timestamp};
use crate::domain::MailId;
use crate::store::{FoundMail, Store, StoreError};

impl Store {
    /// The mail that is longest due by `now`, except those that are `out`. A mail that is due more
    /// than `latest` after `now` counts as due, after the others.
    pub fn find_due_mail(
        &self,
        now: Timestamp,
        latest: Duration,
        is_out: impl Fn(MailId) -> bool,
    ) -> Result<FoundMail, StoreError> {
        self.read(|view| view.due_mail(now, latest, is_out))
    }

    /// The first mail after `after`, due or not.
    pub fn find_mail_after(&self, after: Option<MailId>) -> Result<FoundMail, StoreError> {
        self.read(|view| view.mail_after(after))
    }

    /// The mail that was queued last of those that wait; `None` while nothing waits.
    pub fn find_last_mail(&self) -> Result<Option<MailId>, StoreError> {
        self.read(|view| view.last_mail())
    }

    /// When the next mail after `now` is due; `None` while none is.
    pub fn find_next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(|view| view.next_due_mail(now))
    }

    /// Takes a mail that was delivered, or has become pointless, out of the outbox.
    pub async fn finish_mail(&self, id: MailId, at: Moment) -> Result<(), StoreError> {
        self.write(at, move |tx| tx.remove_mail(id).map(drop)).await
    }

    /// Puts a mail off until `due_at` after another attempt.
    pub async fn defer_mail(
        &self,
        id: MailId,
        due_at: Timestamp,
        at: Moment,
    ) -> Result<(), StoreError> {
        self.write(at, move |tx| tx.defer_mail(id, due_at)).await
    }

    /// Gives a mail up: it leaves the outbox and is kept among the failed ones for a while.
    pub async fn fail_mail(
        &self,
        id: MailId,
        reason: String,
        at: Moment,
    ) -> Result<(), StoreError> {
        self.write(at, move |tx| tx.fail_mail(id, reason.clone())).await
    }

    /// How many mails wait.
    pub fn count_mail(&self) -> Result<u64, StoreError> {
        self.read(|view| view.count_mail())
    }
}
