//! The outbox: mail that waits, found by number, by when it is due and by user; and mail that was
//! given up.

use std::time::Duration;

use super::records::{FailedMailRecord, MailRecord, find_over};
use super::{Tx, View};
use crate::clock::Timestamp;
use crate::domain::{Email, MailId, MailKind, MessageId, QueuedMail, Ticket, UserId};
use crate::store::engine::{
    CorruptRecord, Fault, ReadableTable, ReadableTableMetadata, Records, TableHandle, decode, meta,
    readable,
};

/// A notice that cannot be delivered within this time is given up.
const NOTICE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The most mails that were given up and are kept; the oldest goes.
const MAX_FAILED_MAIL: u64 = 10_000;

/// A mail to be queued.
pub(crate) struct NewMail {
    /// What it says.
    pub(crate) kind: MailKind,
    /// Whose account it concerns.
    pub(crate) user: UserId,
    /// Where it goes.
    pub(crate) to: Email,
    /// The random part of its `Message-ID`.
    pub(crate) message_id: MessageId,
}

/// A mail that is to be sent, with what it needs to be rendered.
#[derive(Clone, Debug)]
pub struct MailToSend {
    /// The mail.
    pub mail: QueuedMail,
    /// The ticket whose link it carries, if it carries one and that ticket still exists.
    pub ticket: Option<Ticket>,
}

/// What a search for the next mail found.
#[derive(Debug, Default)]
pub struct FoundMail {
    /// The mail; `None` if there is no further one.
    pub mail: Option<MailToSend>,
    /// The mails on the way to it that cannot be read.
    pub unreadable: Vec<UnreadableMail>,
}

/// A mail whose record, or whose ticket's, cannot be read.
#[derive(Debug)]
pub struct UnreadableMail {
    /// Its place.
    pub id: MailId,
    record: CorruptRecord,
}

impl FoundMail {
    /// The last mail that was found, readable or not; searching goes on after it.
    pub fn last(&self) -> Option<MailId> {
        let mail = self.mail.as_ref().map(|item| item.mail.id);
        mail.or_else(|| self.unreadable.last().map(|unreadable| unreadable.id))
    }

    /// Notes what a record held; says whether that is a mail. Only a failure of storage itself
    /// ends the search.
    fn note(&mut self, id: MailId, read: Result<MailToSend, Fault>) -> Result<bool, Fault> {
        match read {
            Ok(item) => self.mail = Some(item),
            Err(Fault::Corrupt(record)) => self.unreadable.push(UnreadableMail { id, record }),
            Err(fault @ Fault::Storage(_)) => return Err(fault),
        }
        Ok(self.mail.is_some())
    }
}

impl UnreadableMail {
    /// Tells the log which record it is.
    pub fn report(self) {
        self.record.report();
    }
}

impl View<'_> {
    /// The mail that is longest due by `now`, except those that are `out`. A mail that is due more
    /// than `latest` after `now` counts as due, after the others.
    pub(crate) fn due_mail(
        self,
        now: Timestamp,
        latest: Duration,
        is_out: impl Fn(MailId) -> bool,
    ) -> Result<FoundMail, Fault> {
        let (outbox, by_due) = (self.tables.outbox()?, self.tables.outbox_by_due()?);
        let latest = now.saturating_add(latest);
        let due = by_due.range((0, 0)..=(now.as_micros(), u64::MAX))?;
        let far_off = by_due.range((latest.as_micros().saturating_add(1), 0)..)?;
        let mut found = FoundMail::default();
        for entry in due.chain(far_off) {
            let id = MailId(entry?.0.value().1);
            if is_out(id) {
                continue;
            }
            let record = outbox.require(id.0);
            if found.note(id, record.and_then(|record| self.to_send(id, record)))? {
                break;
            }
        }
        Ok(found)
    }

    /// The first mail after `after`, due or not.
    pub(crate) fn mail_after(self, after: Option<MailId>) -> Result<FoundMail, Fault> {
        let outbox = self.tables.outbox()?;
        let first = after.map_or(0, |id| id.0.saturating_add(1));
        let mut found = FoundMail::default();
        for entry in outbox.range(first..)? {
            let (number, bytes) = entry?;
            let id = MailId(number.value());
            let record = decode(outbox.name(), &id.0, bytes.value());
            if found.note(id, record.and_then(|record| self.to_send(id, record)))? {
                break;
            }
        }
        Ok(found)
    }

    /// The mail that was queued last of those that wait.
    pub(crate) fn last_mail(self) -> Result<Option<MailId>, Fault> {
        Ok(self.tables.outbox()?.last()?.map(|(key, _)| MailId(key.value())))
    }

    /// When the next mail after `now` is due.
    pub(crate) fn next_due_mail(self, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
        let by_due = self.tables.outbox_by_due()?;
        let first = by_due.range((now.as_micros().saturating_add(1), 0)..)?.next();
        Ok(first.transpose()?.map(|(key, _)| Timestamp::from_micros(key.value().0)))
    }

    pub(crate) fn count_mail(self) -> Result<u64, Fault> {
        Ok(self.tables.outbox()?.len()?)
    }

    fn to_send(self, id: MailId, record: MailRecord) -> Result<MailToSend, Fault> {
        let mail = record.mail(id);
        let ticket = mail.kind.ticket().map(|ticket| self.ticket(ticket)).transpose()?.flatten();
        Ok(MailToSend { mail, ticket })
    }
}

impl Tx<'_, '_> {
    /// Queues the mail that carries a ticket's link, due at once.
    pub(crate) fn queue_link(
        &mut self,
        kind: MailKind,
        ticket: &Ticket,
        message_id: MessageId,
    ) -> Result<(), Fault> {
        let mail = NewMail { kind, user: ticket.user, to: ticket.email.clone(), message_id };
        self.queue(mail, ticket.expires_at)
    }

    /// Queues a mail that tells an owner what has happened, due at once.
    pub(crate) fn queue_notice(&mut self, notice: NewMail) -> Result<(), Fault> {
        let give_up_at = self.now().saturating_add(NOTICE_LIFETIME);
        self.queue(notice, give_up_at)
    }

    fn queue(&mut self, mail: NewMail, give_up_at: Timestamp) -> Result<(), Fault> {
        let now = self.now();
        let tables = self.write();
        tables.has_mail = true;
        let id = MailId(tables.next_number(meta::NEXT_MAIL)?);
        let record = MailRecord {
            mail: mail.kind,
            user: mail.user,
            to: mail.to,
            message_id: mail.message_id,
            queued_at: now,
            give_up_at,
            attempts: 0,
            due_at: now,
        };
        self.put_mail(id, &record)
    }

    /// Removes a mail from the outbox; says whether it was there.
    pub(crate) fn remove_mail(&mut self, id: MailId) -> Result<bool, Fault> {
        Ok(self.take_mail(id)?.is_some())
    }

    /// Puts a mail off until `due_at` after another attempt.
    pub(crate) fn defer_mail(&mut self, id: MailId, due_at: Timestamp) -> Result<(), Fault> {
        let Some(mut record) = self.take_mail(id)? else { return Ok(()) };
        record.attempts = record.attempts.saturating_add(1);
        record.due_at = due_at;
        self.put_mail(id, &record)
    }

    /// Gives a mail up: it leaves the outbox and is kept among the failed ones for a while.
    pub(crate) fn fail_mail(&mut self, id: MailId, reason: String) -> Result<(), Fault> {
        let Some(mail) = self.take_mail(id)? else { return Ok(()) };
        let record = FailedMailRecord { mail, failed_at: self.now(), reason };
        let tables = self.write();
        let number = tables.next_number(meta::NEXT_FAILED_MAIL)?;
        tables.failed_mail.save(number, &record)?;
        let failed = tables.failed_mail.open()?;
        if failed.len()? > MAX_FAILED_MAIL {
            failed.pop_first()?;
        }
        Ok(())
    }

    /// Removes every mail that waits for `user`.
    pub(crate) fn remove_mail_of(&mut self, user: UserId) -> Result<(), Fault> {
        let by_user = self.tables.outbox_by_user.open()?;
        let ids: Vec<MailId> = by_user
            .range((user.0, 0)..=(user.0, u64::MAX))?
            .map(|entry| Ok(MailId(entry?.0.value().1)))
            .collect::<Result<_, Fault>>()?;
        for id in ids {
            if readable(self.take_mail(id))?.is_none() {
                // It does not say when it is due.
                let tables = self.write();
                tables.outbox.open()?.remove(id.0)?;
                tables.outbox_by_due.open()?.retain(|(_, other), ()| other != id.0)?;
                tables.outbox_by_user.open()?.remove((user.0, id.0))?;
            }
        }
        Ok(())
    }

    /// Removes up to `batch` mails that were given up before `before`; says how many.
    pub(crate) fn sweep_failed_mail(
        &mut self,
        before: Timestamp,
        batch: usize,
    ) -> Result<usize, Fault> {
        let failed = self.tables.failed_mail.open()?;
        let failed_at = |mail: &FailedMailRecord| mail.failed_at;
        let over = find_over(failed, failed_at, self.at.now, before, batch)?;
        let Some(last) = over else { return Ok(0) };
        let due: Vec<u64> = failed
            .range(..=last)?
            .take(batch)
            .map(|entry| Ok(entry?.0.value()))
            .collect::<Result<_, Fault>>()?;
        let failed = self.write().failed_mail.open()?;
        for number in &due {
            readable(failed.load::<FailedMailRecord>(*number))?;
            failed.remove(*number)?;
        }
        Ok(due.len())
    }

    fn put_mail(&mut self, id: MailId, record: &MailRecord) -> Result<(), Fault> {
        let tables = self.write();
        tables.outbox.save(id.0, record)?;
        tables.outbox_by_due.open()?.insert((record.due_at.as_micros(), id.0), ())?;
        tables.outbox_by_user.open()?.insert((record.user.0, id.0), ())?;
        Ok(())
    }

    fn take_mail(&mut self, id: MailId) -> Result<Option<MailRecord>, Fault> {
        let record: Option<MailRecord> = self.tables.outbox.open()?.load(id.0)?;
        let Some(record) = record else { return Ok(None) };
        let tables = self.write();
        tables.outbox.open()?.remove(id.0)?;
        tables.outbox_by_due.open()?.remove((record.due_at.as_micros(), id.0))?;
        tables.outbox_by_user.open()?.remove((record.user.0, id.0))?;
        Ok(Some(record))
    }
}
