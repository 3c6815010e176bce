//! What each mailbox was sent, so that nobody can use Latchkey to fill another's. It is kept for
//! addresses without an account just the same, or the difference would tell.

use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use redb::{ReadableTable, ReadableTableMetadata};

use super::Fault;
use super::records::{encode, load, readable};
use super::tables::Write;
use crate::clock::{BEHIND_TOLERANCE, Moment};
use crate::domain::{Email, Mailbox, Purpose};

/// The most mailboxes that are remembered; the one whose window ends first is forgotten. Filling
/// it takes as many durable writes, which the limits by address make slow.
const MAX_MAILBOXES: u64 = 100_000;

/// The limit on mail to one mailbox, of one purpose; none where it is switched off.
#[derive(Clone, Copy, Debug)]
pub struct MailLimit(pub Option<NonZeroU32>);

/// Counts one more mail to a mailbox, if there is room for it.
pub(super) fn count(
    write: &mut Write<'_>,
    to: &Email,
    purpose: Purpose,
    limit: MailLimit,
    at: Moment,
) -> Result<Result<(), Duration>, Fault> {
    let Some(per_day) = limit.0 else { return Ok(Ok(())) };
    let key = &digest(to, purpose);
    let before: Option<Mailbox> = readable(load(write.mailboxes.open()?, key))?;
    let after = match Mailbox::send(before, at.now, per_day) {
        Ok(after) => after,
        Err(wait) => return Ok(Err(wait)),
    };
    write.change(at);
    let by_expiry = write.mailboxes_by_expiry.open()?;
    if let Some(before) = before {
        by_expiry.remove((before.expires_at().as_micros(), key))?;
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

/// What a mailbox is found by: half a SHA-256 of its purpose and address.
fn digest(to: &Email, purpose: Purpose) -> [u8; 16] {
    let mut digest = Context::new(&SHA256);
    digest.update(&[purpose.code()]);
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
