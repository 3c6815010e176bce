//! Sweeping: what is over leaves the file.

use crate::clock::Moment;
use crate::store::{Store, StoreError};

/// How a sweep went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Whether there may be more to sweep already.
    pub is_unfinished: bool,
}

impl Store {
    /// Removes what is over, up to `batch` entries of each kind: sessions, tickets, mailboxes that
    /// need no more counting, revoked sessions, failed mail and events. While the clock's jump is
    /// unconfirmed it removes nothing.
    pub async fn sweep(&self, batch: usize, at: Moment) -> Result<Swept, StoreError> {
        if !at.confirmed {
            return Ok(Swept { is_unfinished: false });
        }
        let mail_before = at.now.saturating_sub(self.shared.policy.keep_failed_mail);
        let events_before = at.now.saturating_sub(self.shared.policy.keep_events);
        // Each kind by itself, so that what is wrong with one leaves the others in order.
        let swept = [
            self.write(at, move |tx| tx.sweep_sessions(batch)).await,
            self.write(at, move |tx| tx.sweep_tickets(batch)).await,
            self.write(at, move |tx| tx.sweep_mailboxes(batch)).await,
            self.write(at, move |tx| tx.sweep_revocations(batch)).await,
            self.write(at, move |tx| tx.sweep_failed_mail(mail_before, batch)).await,
            self.write(at, move |tx| tx.sweep_events(events_before, batch)).await,
        ];
        let mut is_unfinished = false;
        for count in swept {
            is_unfinished |= count? >= batch;
        }
        Ok(Swept { is_unfinished })
    }
}
