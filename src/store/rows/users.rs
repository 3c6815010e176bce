//! Users, found by number, by address and by name; and where they have logged in from.

use std::sync::Arc;
use std::time::Duration;

use super::records::{Account, UserRecord};
use super::{Tx, View};
use crate::clock::Timestamp;
use crate::domain::{AddressBlock, Email, User, UserId, Username};
use crate::store::engine::{Fault, Numbers, ReadableTable, ReadableTableMetadata, Records, meta};

/// The most address blocks that are remembered of a user; the one unused for longest goes.
const MAX_KNOWN_ADDRESSES: usize = 16;
/// The time of an address block's last use is kept to the day, so that most logins write none.
const KNOWN_ADDRESS_STEP: Duration = Duration::from_secs(24 * 60 * 60);

impl View<'_> {
    pub(crate) fn account(self, id: UserId) -> Result<Option<Account>, Fault> {
        let record: Option<UserRecord> = self.tables.users()?.load(id.0)?;
        Ok(record.map(|record| record.account(id)))
    }

    /// The account that an index points to.
    pub(crate) fn indexed_account(self, id: UserId) -> Result<Account, Fault> {
        Ok(self.tables.users()?.require::<UserRecord>(id.0)?.account(id))
    }

    /// The user, who may be known from before.
    pub(crate) fn known_user(self, id: UserId) -> Result<Option<Arc<User>>, Fault> {
        let turn = |record: UserRecord| Arc::new(record.account(id).user);
        let (users, edition) = (self.tables.users()?, self.tables.edition);
        self.cache.users.load(users, id.0, id.0.into(), edition, turn, Arc::clone)
    }

    pub(crate) fn user_with_email(self, email: &Email) -> Result<Option<UserId>, Fault> {
        Ok(self.tables.users_by_email()?.number(email.key())?.map(UserId))
    }

    pub(crate) fn user_with_name(self, name: &Username) -> Result<Option<UserId>, Fault> {
        Ok(self.tables.users_by_username()?.number(name.key())?.map(UserId))
    }

    /// Whether somebody has logged in to `user` from there before.
    pub(crate) fn knows_address(self, user: UserId, from: AddressBlock) -> Result<bool, Fault> {
        let block = from.to_string();
        Ok(self.tables.known_addresses()?.get((user.0, block.as_str()))?.is_some())
    }

    pub(crate) fn count_users(self) -> Result<u64, Fault> {
        Ok(self.tables.users()?.len()?)
    }
}

impl Tx<'_, '_> {
    pub(crate) fn account(&mut self, id: UserId) -> Result<Option<Account>, Fault> {
        let record: Option<UserRecord> = self.tables.users.open()?.load(id.0)?;
        Ok(record.map(|record| record.account(id)))
    }

    /// Whether a user, who may be known from before, is disabled.
    pub(crate) fn is_disabled(&mut self, id: UserId) -> Result<Option<bool>, Fault> {
        let turn = |record: UserRecord| Arc::new(record.account(id).user);
        let users = self.tables.users.open()?;
        self.cache.users.load_uncommitted(users, id.0, id.0.into(), turn, |user| user.is_disabled)
    }

    pub(crate) fn user_with_email(&mut self, email: &Email) -> Result<Option<UserId>, Fault> {
        Ok(self.tables.users_by_email.open()?.number(email.key())?.map(UserId))
    }

    pub(crate) fn user_with_name(&mut self, name: &Username) -> Result<Option<UserId>, Fault> {
        Ok(self.tables.users_by_username.open()?.number(name.key())?.map(UserId))
    }

    /// The number of a new user.
    pub(crate) fn next_user(&mut self) -> Result<UserId, Fault> {
        self.write().next_number(meta::NEXT_USER).map(UserId)
    }

    /// Writes a user as they are now, new or changed, with their index entries.
    pub(crate) fn save_user(&mut self, account: Account) -> Result<User, Fault> {
        let id = account.user.id;
        let record = UserRecord::from(account);
        let tables = self.write();
        let former: Option<UserRecord> = tables.users.open()?.load(id.0)?;
        tables.users.save(id.0, &record)?;
        let former_email = former.as_ref().map(|former| former.email.key());
        if former_email != Some(record.email.key()) {
            let by_email = tables.users_by_email.open()?;
            if let Some(former) = former_email {
                by_email.remove(former)?;
            }
            by_email.insert(record.email.key(), id.0)?;
        }
        let key = |record: &UserRecord| record.username.as_ref().map(|it| it.key().to_owned());
        let (former_name, name) = (former.as_ref().and_then(key), key(&record));
        if former_name != name {
            let by_name = tables.users_by_username.open()?;
            if let Some(former) = former_name {
                by_name.remove(former.as_str())?;
            }
            if let Some(name) = name {
                by_name.insert(name.as_str(), id.0)?;
            }
        }
        Ok(record.account(id).user)
    }

    /// Removes a user with their index entries and known addresses.
    pub(crate) fn remove_user(&mut self, user: &User) -> Result<(), Fault> {
        let (id, tables) = (user.id.0, self.write());
        let known = tables.known_addresses.open()?;
        known.retain_in((id, "")..(id.saturating_add(1), ""), |_, _| false)?;
        tables.users_by_email.open()?.remove(user.email.key())?;
        if let Some(username) = &user.username {
            tables.users_by_username.open()?.remove(username.key())?;
        }
        tables.users.open()?.remove(id)?;
        Ok(())
    }

    /// Remembers that somebody logged in to `user` from `from`.
    pub(crate) fn remember_address(
        &mut self,
        user: UserId,
        from: AddressBlock,
    ) -> Result<(), Fault> {
        let now = self.now();
        let known = self.tables.known_addresses.open()?;
        let block = from.to_string();
        let key = (user.0, block.as_str());
        let last = known.number(key)?.map(Timestamp::from_micros);
        let is_recent = |last| last <= now && now.saturating_since(last) < KNOWN_ADDRESS_STEP;
        if last.is_some_and(is_recent) {
            return Ok(());
        }
        let known = self.write().known_addresses.open()?;
        known.insert(key, now.as_micros())?;
        let mut oldest: Option<(u64, String)> = None;
        let mut count = 0_usize;
        for entry in known.range((user.0, "")..(user.0.saturating_add(1), ""))? {
            let (key, last) = entry?;
            count = count.saturating_add(1);
            // A time ahead was told by a clock that was wrong, and does not keep its block for ever.
            let last = if last.value() > now.as_micros() { 0 } else { last.value() };
            if oldest.as_ref().is_none_or(|(time, _)| last < *time) {
                oldest = Some((last, key.value().1.to_owned()));
            }
        }
        if count > MAX_KNOWN_ADDRESSES
            && let Some((_, block)) = oldest
        {
            known.remove((user.0, block.as_str()))?;
        }
        Ok(())
    }
}
