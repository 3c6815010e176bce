//! One table: how a transaction opens it, and how its records are read and written.
//!
//! The engine is compiled anew for every pair of types of key and record, so a table takes a pair
//! that another has where one fits.

use std::collections::HashSet;
use std::fmt::Debug;

use redb::{Key, Table, TableDefinition, Value, WriteTransaction};
pub(crate) use redb::{ReadableTable, ReadableTableMetadata, TableHandle};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::Fault;

/// A record, as JSON.
pub(crate) type Record = &'static [u8];
/// A session's or ticket's identifier, or a digest.
pub(crate) type Id = &'static [u8; 16];

/// One table within a write transaction, opened when first asked for.
pub(crate) struct Slot<'t, K: Key + 'static, V: Value + 'static> {
    transaction: &'t WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: Option<Table<'t, K, V>>,
}

impl<'t, K: Key + 'static, V: Value + 'static> Slot<'t, K, V> {
    pub(super) const fn new(
        transaction: &'t WriteTransaction,
        definition: TableDefinition<'static, K, V>,
    ) -> Self {
        Self { transaction, definition, table: None }
    }

    /// The table.
    pub(crate) fn open(&mut self) -> Result<&mut Table<'t, K, V>, Fault> {
        let table = match self.table.take() {
            Some(table) => table,
            None => self.transaction.open_table(self.definition)?,
        };
        Ok(self.table.insert(table))
    }
}

impl<K: Key + 'static> Slot<'_, K, Record> {
    /// Writes a record.
    pub(crate) fn save<'k>(
        &mut self,
        key: K::SelfType<'k>,
        record: &impl Serialize,
    ) -> Result<(), Fault> {
        self.open()?.insert(key, encode(record)?.as_slice())?;
        Ok(())
    }
}

/// Reading the records of a table, in a snapshot or in a transaction.
pub(crate) trait Records<K: Key + 'static>: ReadableTable<K, Record> + TableHandle {
    /// The record under `key`, if there is one.
    fn load<'k, R: DeserializeOwned>(&self, key: K::SelfType<'k>) -> Result<Option<R>, Fault>
    where
        K::SelfType<'k>: Debug,
    {
        let Some(bytes) = self.get(&key)? else { return Ok(None) };
        decode(self.name(), &key, bytes.value()).map(Some)
    }

    /// The record under `key`, to which an index points.
    fn require<'k, R: DeserializeOwned>(&self, key: K::SelfType<'k>) -> Result<R, Fault>
    where
        K::SelfType<'k>: Debug,
    {
        let Some(bytes) = self.get(&key)? else { return Err(missing(self.name(), &key)) };
        decode(self.name(), &key, bytes.value())
    }
}

impl<K: Key + 'static, T: ReadableTable<K, Record> + TableHandle> Records<K> for T {}

/// Reading a table of numbers.
pub(crate) trait Numbers<K: Key + 'static>: ReadableTable<K, u64> {
    /// The number under `key`.
    fn number<'k>(&self, key: K::SelfType<'k>) -> Result<Option<u64>, Fault> {
        Ok(self.get(&key)?.map(|number| number.value()))
    }
}

impl<K: Key + 'static, T: ReadableTable<K, u64>> Numbers<K> for T {}

/// Reading an index: identifiers in the order of a number, which is a user's or a time.
pub(crate) trait Index: ReadableTable<(u64, Id), ()> {
    /// The identifiers under `number`, in their order.
    fn under(&self, number: u64) -> Result<Vec<[u8; 16]>, Fault> {
        self.range((number, &[0; 16])..=(number, &[u8::MAX; 16]))?
            .map(|entry| Ok(*entry?.0.value().1))
            .collect()
    }

    /// Up to `limit` entries with a number up to `last`, the lowest first.
    fn until(&self, last: u64, limit: usize) -> Result<Vec<(u64, [u8; 16])>, Fault> {
        self.range((0, &[0; 16])..=(last, &[u8::MAX; 16]))?
            .take(limit)
            .map(|entry| {
                let (key, _) = entry?;
                let (number, id) = key.value();
                Ok((number, *id))
            })
            .collect()
    }
}

impl<T: ReadableTable<(u64, Id), ()>> Index for T {}

/// What is wrong where an index points to nothing.
pub(crate) fn missing(table: &str, key: &dyn Debug) -> Fault {
    Fault::corrupt(table, key, "an index points to a record that is missing")
}

/// Reads a record.
pub(crate) fn decode<R: DeserializeOwned>(
    table: &str,
    key: &dyn Debug,
    bytes: &[u8],
) -> Result<R, Fault> {
    // The error's own text may quote the record, which holds addresses and hashes: its place is
    // enough.
    serde_json::from_slice(bytes).map_err(|error| {
        Fault::corrupt(table, key, &format!("unreadable at byte {}", error.column()))
    })
}

/// Writes a record.
pub(crate) fn encode(record: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(record).map_err(|error| Fault::corrupt("", &"", &error.to_string()))
}

/// Removes records that cannot be read, and so do not say under what their indexes have them:
/// those are searched from end to end.
pub(crate) fn discard(
    records: &mut Slot<'_, Id, Record>,
    indexes: [&mut Slot<'_, (u64, Id), ()>; 2],
    unreadable: &HashSet<[u8; 16]>,
) -> Result<(), Fault> {
    if unreadable.is_empty() {
        return Ok(());
    }
    for id in unreadable {
        records.open()?.remove(id)?;
    }
    for index in indexes {
        index.open()?.retain(|(_, id), ()| !unreadable.contains(id))?;
    }
    Ok(())
}
