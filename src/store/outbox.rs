//! Sentences about mail that waits.

use std::time::Duration;

use redb::{ReadableTable, ReadableTableMetadata, TableHandle};

use super::records::{
    FailedMailRecord, MailRecord, TicketRecord, decode, encode, find_over, load, readable, require,
};
use super::tables::{OUTBOX, OUTBOX_BY_DUE, TICKETS, Write, meta};
use super::{Fault, Store, StoreError};
use crate::clock::{Moment, Timestamp};
use crate::domain::{Email, MailId, MailKind, MessageId, QueuedMail, Ticket, UserId};

/// A notice that cannot be delivered within this time is given up.
const NOTICE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The most mails that were given up and are kept; the oldest goes.
const MAX_FAILED_MAIL: u64 = 10_000;

/// A mail to be queued.
#[derive(Clone, Debug)]
pub struct NewMail {
    /// What it says.
    pub kind: MailKind,
    /// Whose account it concerns.
    pub user: UserId,
    /// Where it goes.
    pub to: Email,
    /// The random part of its `Message-ID`.
    pub message_id: MessageId,
    /// After this it is of no use.
    pub give_up_at: Timestamp,
}

/// A mail that is to be sent, with what it needs to be rendered.
#[derive(Clone, Debug)]
pub struct MailToSend {
    /// The mail.
    pub mail: QueuedMail,
    /// The ticket whose link it carries, if it carries one and that ticket still counts.
    pub ticket: Option<Ticket>,
}

/// What a search for the next mail came upon.
#[derive(Debug, Default)]
pub struct FoundMail {
    /// The mail; none if there is no further one.
    pub mail: Option<MailToSend>,
    /// The mails on the way to it that cannot be read.
    pub unreadable: Vec<UnreadableMail>,
}

/// A mail whose record, or whose ticket's, cannot be read.
#[derive(Debug)]
pub struct UnreadableMail {
    /// Its place.
    pub id: MailId,
    fault: Fault,
}

impl FoundMail {
    /// The last mail that was come upon, readable or not; searching goes on after it.
    pub fn last(&self) -> Option<MailId> {
        let mail = self.mail.as_ref().map(|item| item.mail.id);
        mail.or_else(|| self.unreadable.last().map(|unreadable| unreadable.id))
    }

    /// Notes what a record held; says whether that is a mail. Only a failure of storage itself
    /// ends the search.
    fn note(&mut self, id: MailId, read: Result<MailToSend, Fault>) -> Result<bool, Fault> {
        match read {
            Ok(item) => self.mail = Some(item),
            Err(fault @ Fault::Corrupt { .. }) => {
                self.unreadable.push(UnreadableMail { id, fault });
            }
            Err(fault @ Fault::Storage(_)) => return Err(fault),
        }
        Ok(self.mail.is_some())
    }
}

impl UnreadableMail {
    /// Tells the log which record it is.
    pub fn report(self) {
        self.fault.report();
    }
}

impl Store {
    /// The mail that is longest due by `now`, but for those that are `out`. A mail that is due
    /// more than `latest` after `now` counts as due, after the others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_due_mail(
        &self,
        now: Timestamp,
        latest: Duration,
        is_out: impl Fn(MailId) -> bool,
    ) -> Result<FoundMail, StoreError> {
        self.read(|read| {
            let (outbox, tickets) = (read.open(OUTBOX)?, read.open(TICKETS)?);
            let by_due = read.open(OUTBOX_BY_DUE)?;
            let latest = now.saturating_add(latest);
            let due = by_due.range((0, 0)..=(now.as_micros(), u64::MAX))?;
            let far_off = by_due.range((latest.as_micros().saturating_add(1), 0)..)?;
            let mut found = FoundMail::default();
            for entry in due.chain(far_off) {
                let id = MailId(entry?.0.value().1);
                if is_out(id) {
                    continue;
                }
                let record = require(&outbox, id.0);
                if found.note(id, record.and_then(|record| to_send(&tickets, id, record)))? {
                    break;
                }
            }
            Ok(found)
        })
    }

    /// The first mail after `after`, due or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_mail_after(&self, after: Option<MailId>) -> Result<FoundMail, StoreError> {
        self.read(|read| {
            let (outbox, tickets) = (read.open(OUTBOX)?, read.open(TICKETS)?);
            let first = after.map_or(0, |id| id.0.saturating_add(1));
            let mut found = FoundMail::default();
            for entry in outbox.range(first..)? {
                let (number, bytes) = entry?;
                let id = MailId(number.value());
                let record = decode(outbox.name(), &id.0, bytes.value());
                if found.note(id, record.and_then(|record| to_send(&tickets, id, record)))? {
                    break;
                }
            }
            Ok(found)
        })
    }

    /// The mail that was queued last of those that wait; none while nothing waits.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_last_mail(&self) -> Result<Option<MailId>, StoreError> {
        self.read(|read| Ok(read.open(OUTBOX)?.last()?.map(|(key, _)| MailId(key.value()))))
    }

    /// When the next mail after `now` is due; none while none is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(|read| {
            let by_due = read.open(OUTBOX_BY_DUE)?;
            let first = by_due.range((now.as_micros().saturating_add(1), 0)..)?.next();
            Ok(first.transpose()?.map(|(key, _)| Timestamp::from_micros(key.value().0)))
        })
    }

    /// Takes a mail that was delivered, or has become pointless, out of the outbox.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finish_mail(&self, id: MailId, at: Moment) -> Result<(), StoreError> {
        self.write(move |write| {
            if take(write, id)?.is_some() {
                write.change(at);
            }
            Ok(())
        })
        .await
    }

    /// Puts a mail off until `due_at` after another attempt.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn defer_mail(
        &self,
        id: MailId,
        due_at: Timestamp,
        at: Moment,
    ) -> Result<(), StoreError> {
        self.write(move |write| {
            let Some(mut record) = take(write, id)? else { return Ok(()) };
            write.change(at);
            record.attempts = record.attempts.saturating_add(1);
            record.due_at = due_at;
            put(write, id, &record)
        })
        .await
    }

    /// Gives a mail up: it leaves the outbox and is kept among the failed ones for a while.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fail_mail(
        &self,
        id: MailId,
        reason: String,
        at: Moment,
    ) -> Result<(), StoreError> {
        self.write(move |write| {
            let Some(mail) = take(write, id)? else { return Ok(()) };
            write.change(at);
            let number = write.next_number(meta::NEXT_FAILED_MAIL)?;
            let record = FailedMailRecord { mail, failed_at: at.now, reason: reason.clone() };
            let failed = write.failed_mail.open()?;
            failed.insert(number, encode(&record)?.as_slice())?;
            if failed.len()? > MAX_FAILED_MAIL {
                failed.pop_first()?;
            }
            Ok(())
        })
        .await
    }

    /// How many mails wait.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count_mail(&self) -> Result<u64, StoreError> {
        self.read(|read| Ok(read.open(OUTBOX)?.len()?))
    }
}

fn to_send(
    tickets: &impl TicketTable,
    id: MailId,
    record: MailRecord,
) -> Result<MailToSend, Fault> {
    let mail = record.mail(id);
    let ticket = match mail.kind.ticket() {
        Some(ticket) => tickets.find(ticket)?,
        None => None,
    };
    Ok(MailToSend { mail, ticket })
}

/// The tickets as this module looks at them.
trait TicketTable {
    fn find(&self, id: crate::domain::TicketId) -> Result<Option<Ticket>, Fault>;
}

impl TicketTable for redb::ReadOnlyTable<super::tables::Id, super::tables::Record> {
    fn find(&self, id: crate::domain::TicketId) -> Result<Option<Ticket>, Fault> {
        let record = load::<_, TicketRecord>(self, id.as_bytes())?;
        Ok(record.map(|record| record.ticket(id)))
    }
}

/// When a notice that is queued `now` is given up.
pub(super) fn notice_expiry(now: Timestamp) -> Timestamp {
    now.saturating_add(NOTICE_LIFETIME)
}

/// Queues a mail, due at once.
pub(super) fn queue(write: &mut Write<'_>, mail: NewMail, now: Timestamp) -> Result<(), Fault> {
    let id = MailId(write.next_number(meta::NEXT_MAIL)?);
    let record = MailRecord {
        mail: mail.kind,
        user: mail.user,
        to: mail.to,
        message_id: mail.message_id,
        queued_at: now,
        give_up_at: mail.give_up_at,
        attempts: 0,
        due_at: now,
    };
    write.has_mail = true;
    put(write, id, &record)
}

/// Removes every mail that waits for `user`.
pub(super) fn remove_all(write: &mut Write<'_>, user: UserId) -> Result<(), Fault> {
    let ids: Vec<MailId> = write
        .outbox_by_user
        .open()?
        .range((user.0, 0)..=(user.0, u64::MAX))?
        .map(|entry| Ok(MailId(entry?.0.value().1)))
        .collect::<Result<_, Fault>>()?;
    for id in ids {
        if readable(take(write, id))?.is_none() {
            // It does not say when it is due.
            write.outbox.open()?.remove(id.0)?;
            write.outbox_by_due.open()?.retain(|(_, other), ()| other != id.0)?;
            write.outbox_by_user.open()?.remove((user.0, id.0))?;
        }
    }
    Ok(())
}

fn put(write: &mut Write<'_>, id: MailId, record: &MailRecord) -> Result<(), Fault> {
    write.outbox.open()?.insert(id.0, encode(record)?.as_slice())?;
    write.outbox_by_due.open()?.insert((record.due_at.as_micros(), id.0), ())?;
    write.outbox_by_user.open()?.insert((record.user.0, id.0), ())?;
    Ok(())
}

fn take(write: &mut Write<'_>, id: MailId) -> Result<Option<MailRecord>, Fault> {
    let Some(record) = load::<u64, MailRecord>(write.outbox.open()?, id.0)? else {
        return Ok(None);
    };
    write.outbox.open()?.remove(id.0)?;
    write.outbox_by_due.open()?.remove((record.due_at.as_micros(), id.0))?;
    write.outbox_by_user.open()?.remove((record.user.0, id.0))?;
    Ok(Some(record))
}

/// Removes up to `batch` mails that were given up before `before`; says how many.
pub(super) fn sweep(
    write: &mut Write<'_>,
    at: Moment,
    before: Timestamp,
    batch: usize,
) -> Result<usize, Fault> {
    let failed = write.failed_mail.open()?;
    let failed_at = |mail: &FailedMailRecord| mail.failed_at;
    let Some(last) = find_over(failed, failed_at, at.now, before, batch)? else { return Ok(0) };
    let due: Vec<u64> = failed
        .range(..=last)?
        .take(batch)
        .map(|entry| Ok(entry?.0.value()))
        .collect::<Result<_, Fault>>()?;
    for number in &due {
        readable(load::<u64, FailedMailRecord>(failed, *number))?;
        failed.remove(*number)?;
    }
    write.change(at);
    Ok(due.len())
}
