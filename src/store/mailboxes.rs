//! What each mailbox was sent, so that nobody can use Latchkey to fill another's. It is kept for
//! addresses without an account just the same, or the difference would tell.

use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use redb::{ReadableTable, ReadableTableMetadata};

use super::Fault;
use super::records::{UserRecord, encode, load, readable};
use super::tables::Write;
use crate::clock::{BEHIND_TOLERANCE, Moment};
use crate::domain::{Email, Mailbox, MessageId, Purpose};

/// The most mailboxes that are remembered; the one whose window ends first is forgotten. Filling
/// it takes as many durable writes, which the limits by address make slow.
const MAX_MAILBOXES: u64 = 100_000;

/// The limit on mail to one mailbox, of one purpose; none where it is switched off.
#[derive(Clone, Copy, Debug)]
pub struct MailLimit(pub Option<NonZeroU32>);

/// A notice: a mail that tells an owner what has happened.
#[derive(Clone, Copy, Debug)]
pub struct NewNotice {
    /// The random part of its `Message-ID`.
    pub message_id: MessageId,
    /// How much mail a mailbox is sent.
    pub mail_limit: MailLimit,
}

/// The notices whose number is limited.
#[derive(Clone, Copy)]
pub(super) enum Notice {
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

/// Counts one more mail to a mailbox, if there is room for it; or says how long to wait.
pub(super) fn count(
    write: &mut Write<'_>,
    to: &Email,
    purpose: Purpose,
    limit: MailLimit,
    at: Moment,
) -> Result<Result<(), Duration>, Fault> {
    count_as(write, to, purpose.code(), limit, at)
}

/// How long to wait until there is room for one more mail to a mailbox, if there is none now.
pub(super) fn wait(
    write: &mut Write<'_>,
    to: &Email,
    purpose: Purpose,
    limit: MailLimit,
    at: Moment,
) -> Result<Option<Duration>, Fault> {
    let Some(per_day) = limit.0 else { return Ok(None) };
    let before = find(write, &digest(to, purpose.code()))?;
    Ok(Mailbox::send(before, at.now, per_day).err())
}

/// Whether a notice goes to a user. Always where the address is confirmed; another may be that of
/// somebody who knows nothing of the account, and has the same limit as any mailbox.
pub(super) fn may_notify(
    write: &mut Write<'_>,
    notice: Notice,
    user: &UserRecord,
    limit: MailLimit,
    at: Moment,
) -> Result<bool, Fault> {
    Ok(user.is_email_verified || count_as(write, &user.email, notice.code(), limit, at)?.is_ok())
}

fn count_as(
    write: &mut Write<'_>,
    to: &Email,
    code: u8,
    limit: MailLimit,
    at: Moment,
) -> Result<Result<(), Duration>, Fault> {
    let Some(per_day) = limit.0 else { return Ok(Ok(())) };
    let key = &digest(to, code);
    let before = find(write, key)?;
    let after = match Mailbox::send(before, at.now, per_day) {
        Ok(after) => after,
        Err(wait) => return Ok(Err(wait)),
    };
    write.change(at);
    let is_spoilt = before.is_none() && write.mailboxes.open()?.get(key)?.is_some();
    let by_expiry = write.mailboxes_by_expiry.open()?;
    if let Some(before) = before {
        by_expiry.remove((before.expires_at().as_micros(), key))?;
    } else if is_spoilt {
        // It does not say when it was to be forgotten, which would be the new one's end as well.
        by_expiry.retain(|(_, other), ()| other != key)?;
    }
    by_expiry.insert((after.expires_at().as_micros(), key), ())?;
    write.mailboxes.open()?.insert(key, encode(&after)?.as_slice())?;
    if write.mailboxes.open()?.len()? > MAX_MAILBOXES {
        let soonest = write.mailboxes_by_expiry.open()?.pop_first()?;
        if let Some(soonest) = soonest.map(|(key, _)| *key.value().1) {
            write.mailboxes.open()?.remove(&soonest)?;
        }
    }
    Ok(Ok(()))
}

fn find(write: &mut Write<'_>, key: &[u8; 16]) -> Result<Option<Mailbox>, Fault> {
    readable(load(write.mailboxes.open()?, key))
}

/// What a mailbox is found by: half a SHA-256 of what it is sent and of its address.
fn digest(to: &Email, code: u8) -> [u8; 16] {
    let mut digest = Context::new(&SHA256);
    digest.update(&[code]);
    digest.update(to.key().as_bytes());
    digest.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// Forgets up to `batch` mailboxes whose window is over by `at`, or was opened in a time ahead by a
/// clock that was wrong; says how many.
pub(super) fn sweep(write: &mut Write<'_>, at: Moment, batch: usize) -> Result<usize, Fault> {
    let by_expiry = write.mailboxes_by_expiry.open()?;
    let latest = at.now.saturating_add(Mailbox::WINDOW).saturating_add(BEHIND_TOLERANCE);
    let over = by_expiry.range(..=(at.now.as_micros(), &[0; 16]))?;
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
        write.mailboxes_by_expiry.open()?.remove((*expires_at, digest))?;
        write.mailboxes.open()?.remove(digest)?;
    }
    if !over.is_empty() {
        write.change(at);
    }
    Ok(over.len())
}
