//! What each mailbox was sent, so that nobody can use Latchkey to fill another's. It is kept for
//! addresses without an account just the same, or the difference would tell.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

use super::Tx;
use crate::clock::BEHIND_TOLERANCE;
use crate::domain::{Email, Mailbox, Purpose, User};
use crate::store::engine::{Fault, ReadableTable, ReadableTableMetadata, Records, readable};

/// The most mailboxes that are remembered; the one whose window ends first is forgotten. Filling
/// it takes as many durable writes, which the limits by address make slow.
const MAX_MAILBOXES: u64 = 100_000;

/// The notices whose number is limited.
#[derive(Clone, Copy)]
pub(crate) enum Notice {
    PasswordChanged,
    AccountDeleted,
}

impl Notice {
    /// What stands for it where a purpose's code stands for mailed links.
    const fn code(self) -> u8 {
        match self {
            Self::PasswordChanged => 128,
            Self::AccountDeleted => 129,
        }
    }
}

impl Tx<'_, '_> {
    /// Counts one more mail to a mailbox, if there is room for it; or says how long to wait.
    pub(crate) fn count_mail(
        &mut self,
        to: &Email,
        purpose: Purpose,
    ) -> Result<Result<(), Duration>, Fault> {
        self.count_mail_as(to, purpose.code())
    }

    /// How long to wait until there is room for one more mail to a mailbox, if there is none now.
    pub(crate) fn mail_wait(
        &mut self,
        to: &Email,
        purpose: Purpose,
    ) -> Result<Option<Duration>, Fault> {
        let Some(per_day) = self.policy.mails_per_mailbox else { return Ok(None) };
        let before = self.mailbox(&digest(to, purpose.code()))?;
        Ok(Mailbox::send(before, self.now(), per_day).err())
    }

    /// Whether a notice goes to a user. Always where the address is confirmed; another may be that
    /// of somebody who knows nothing of the account, and has the same limit as any mailbox.
    pub(crate) fn may_notify(&mut self, user: &User, notice: Notice) -> Result<bool, Fault> {
        Ok(user.is_email_verified || self.count_mail_as(&user.email, notice.code())?.is_ok())
    }

    fn count_mail_as(&mut self, to: &Email, code: u8) -> Result<Result<(), Duration>, Fault> {
        let Some(per_day) = self.policy.mails_per_mailbox else { return Ok(Ok(())) };
        let key = &digest(to, code);
        let before = self.mailbox(key)?;
        let after = match Mailbox::send(before, self.now(), per_day) {
            Ok(after) => after,
            Err(wait) => return Ok(Err(wait)),
        };
        let tables = self.write();
        let is_corrupt = before.is_none() && tables.mailboxes.open()?.get(key)?.is_some();
        let by_expiry = tables.mailboxes_by_expiry.open()?;
        if let Some(before) = before {
            by_expiry.remove((before.expires_at().as_micros(), key))?;
        } else if is_corrupt {
            // It does not say when it was to be forgotten, which would be the new one's end as well.
            by_expiry.retain(|(_, other), ()| other != key)?;
        }
        by_expiry.insert((after.expires_at().as_micros(), key), ())?;
        tables.mailboxes.save(key, &after)?;
        if tables.mailboxes.open()?.len()? > MAX_MAILBOXES {
            let soonest = tables.mailboxes_by_expiry.open()?.pop_first()?;
            if let Some(soonest) = soonest.map(|(key, _)| *key.value().1) {
                tables.mailboxes.open()?.remove(&soonest)?;
            }
        }
        Ok(Ok(()))
    }

    /// Forgets up to `batch` mailboxes whose window is over, or was opened in a time ahead by a
    /// clock that was wrong; says how many.
    pub(crate) fn sweep_mailboxes(&mut self, batch: usize) -> Result<usize, Fault> {
        let now = self.now();
        let latest = now.saturating_add(Mailbox::WINDOW).saturating_add(BEHIND_TOLERANCE);
        let by_expiry = self.tables.mailboxes_by_expiry.open()?;
        let over = by_expiry.range(..=(now.as_micros(), &[0; 16]))?;
        let far_off = by_expiry.range((latest.as_micros(), &[u8::MAX; 16])..)?;
        let over: Vec<(u64, [u8; 16])> = over
            .chain(far_off)
            .take(batch)
            .map(|entry| {
                let (key, _) = entry?;
                let (expires_at, digest) = key.value();
                Ok((expires_at, *digest))
            })
            .collect::<Result<_, Fault>>()?;
        for (expires_at, digest) in &over {
            let tables = self.write();
            tables.mailboxes_by_expiry.open()?.remove((*expires_at, digest))?;
            tables.mailboxes.open()?.remove(digest)?;
        }
        Ok(over.len())
    }

    fn mailbox(&mut self, key: &[u8; 16]) -> Result<Option<Mailbox>, Fault> {
        readable(self.tables.mailboxes.open()?.load(key))
    }
}

/// What a mailbox is found by: half a SHA-256 of what it is sent and of its address.
fn digest(to: &Email, code: u8) -> [u8; 16] {
    let mut digest = Context::new(&SHA256);
    digest.update(&[code]);
    digest.update(to.key().as_bytes());
    digest.finish().as_ref().first_chunk().copied().unwrap_or_default()
}
