//! Records that were decoded before. Taking the JSON of a user and a session apart is a good part
//! of what an authenticated request or a refresh costs, and most find the records of the one
//! before.
//!
//! Nothing is believed to be unchanged: the record is read from the database again, unless it was
//! read from the very same [`Edition`], since when nothing at all was committed; and only one that
//! is byte for byte what was decoded before is not decoded again.
//! The bytes that are kept for that, a user's hash among them, are in the database's own cache as
//! well.

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard};

use redb::{Key, ReadableTable, TableHandle};
use serde::de::DeserializeOwned;

use super::fault::{Fault, lock};
use super::table::{Record, decode};

/// How many records are kept: one for each place that a key can lead to. With their two texts of
/// some hundred bytes each they take about a megabyte.
const PLACES: usize = 1_024;

/// A state of the database that was committed: whatever is read from it, it stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edition(u64);

impl Edition {
    /// What a transaction is writing, which is no edition yet and may never be one.
    pub(super) const UNCOMMITTED: Self = Self(0);

    /// The one after this.
    pub(super) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// What records came to, each with the bytes that it was decoded from.
pub(crate) struct Decoded<T> {
    places: Box<[Place<T>]>,
}

type Place<T> = Mutex<Option<Box<Known<T>>>>;

struct Known<T> {
    /// The key, as a number.
    number: u128,
    bytes: Box<[u8]>,
    value: T,
    /// The edition that it was read from last.
    edition: Edition,
}

impl<T> Decoded<T> {
    /// Reads the record under `key`, if there is one, turns it into a value, and takes what is
    /// wanted of that. `number` is the key once more, with the part that differs the most at its
    /// end.
    pub(crate) fn load<'k, K, R, W>(
        &self,
        table: &(impl ReadableTable<K, Record> + TableHandle),
        key: K::SelfType<'k>,
        number: u128,
        edition: Edition,
        turn: impl FnOnce(R) -> T,
        take: impl Fn(&T) -> W,
    ) -> Result<Option<W>, Fault>
    where
        K: Key + 'static,
        K::SelfType<'k>: Debug,
        R: DeserializeOwned,
    {
        if let Some(wanted) = self.known(number, edition, &take) {
            return Ok(Some(wanted));
        }
        let Some(bytes) = table.get(&key)? else { return Ok(None) };
        self.of(table.name(), &key, number, edition, bytes.value(), turn, take).map(Some)
    }

    /// The same as a transaction sees it.
    pub(crate) fn load_uncommitted<'k, K, R, W>(
        &self,
        table: &(impl ReadableTable<K, Record> + TableHandle),
        key: K::SelfType<'k>,
        number: u128,
        turn: impl FnOnce(R) -> T,
        take: impl Fn(&T) -> W,
    ) -> Result<Option<W>, Fault>
    where
        K: Key + 'static,
        K::SelfType<'k>: Debug,
        R: DeserializeOwned,
    {
        self.load(table, key, number, Edition::UNCOMMITTED, turn, take)
    }

    /// Remembers what a transaction writes, whether or not it will be committed.
    pub(crate) fn keep_uncommitted(&self, number: u128, bytes: &[u8], value: T) {
        self.keep(number, Edition::UNCOMMITTED, bytes, value);
    }

    /// What was read from this very edition before, if that is remembered.
    pub(crate) fn known<W>(
        &self,
        number: u128,
        edition: Edition,
        take: impl Fn(&T) -> W,
    ) -> Option<W> {
        let known = self.place(number);
        let is_it = |known: &&Known<T>| {
            known.number == number && known.edition == edition && edition != Edition::UNCOMMITTED
        };
        known.as_deref().filter(is_it).map(|known| take(&known.value))
    }

    /// What is wanted of a record that was just read.
    #[expect(clippy::too_many_arguments, reason = "which record, what it is, what to do with it")]
    pub(super) fn of<R, W>(
        &self,
        table: &str,
        key: &dyn Debug,
        number: u128,
        edition: Edition,
        bytes: &[u8],
        turn: impl FnOnce(R) -> T,
        take: impl Fn(&T) -> W,
    ) -> Result<W, Fault>
    where
        R: DeserializeOwned,
    {
        if let Some(wanted) = self.recall(number, edition, bytes, &take) {
            return Ok(wanted);
        }
        let value = turn(decode(table, key, bytes)?);
        let wanted = take(&value);
        self.keep(number, edition, bytes, value);
        Ok(wanted)
    }

    /// What `bytes` that were just read came to, if that is remembered.
    pub(super) fn recall<W>(
        &self,
        number: u128,
        edition: Edition,
        bytes: &[u8],
        take: impl Fn(&T) -> W,
    ) -> Option<W> {
        let mut known = self.place(number);
        let is_it = |known: &&mut Known<T>| known.number == number && *known.bytes == *bytes;
        let known = known.as_deref_mut().filter(is_it)?;
        known.edition = edition;
        Some(take(&known.value))
    }

    /// Remembers what `bytes` come to, whether or not they will be what is stored.
    fn keep(&self, number: u128, edition: Edition, bytes: &[u8], value: T) {
        let known = Box::new(Known { number, bytes: bytes.into(), value, edition });
        // The one before is dropped when the place is free again.
        let _former = self.place(number).replace(known);
    }

    #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of places")]
    fn place(&self, number: u128) -> MutexGuard<'_, Option<Box<Known<T>>>> {
        let index = usize::try_from(number % PLACES as u128).unwrap_or_default();
        lock(&self.places[index])
    }
}

impl<T> Default for Decoded<T> {
    fn default() -> Self {
        Self { places: std::iter::repeat_with(Mutex::default).take(PLACES).collect() }
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableDatabase, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, u64, Record> = TableDefinition::new("numbers");

    #[test]
    fn a_record_that_has_changed_is_read_anew_and_keys_of_one_place_are_kept_apart() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let decoded = Decoded::<u64>::default();
        let turns = std::cell::Cell::new(0);
        let write = |key: u64, record: &[u8]| {
            let transaction = database.begin_write().unwrap();
            transaction.open_table(TABLE).unwrap().insert(key, record).unwrap();
            transaction.commit().unwrap();
        };
        let load_in = |edition: Edition, key: u64| {
            let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
            let turn = |number: u64| {
                turns.set(turns.get() + 1);
                number
            };
            decoded
                .load(&table, key, key.into(), edition, turn, |number| *number)
                .map_err(|_| "corrupt")
        };
        let load = |key| load_in(Edition::UNCOMMITTED, key);
        let other = 7 + PLACES as u64;
        write(7, b"70");
        write(other, b"70");
        assert_eq!((load(7), load(7), turns.get()), (Ok(Some(70)), Ok(Some(70)), 1));
        write(7, b"71");
        assert_eq!((load(7), turns.get()), (Ok(Some(71)), 2));
        write(other, b"71");
        assert_eq!((load(other), load(7), turns.get()), (Ok(Some(71)), Ok(Some(71)), 4));
        assert_eq!(load(8), Ok(None));
        decoded.keep(7, Edition::UNCOMMITTED, b"72", 72);
        assert_eq!((load(7), turns.get()), (Ok(Some(71)), 5), "what is stored is something else");
        decoded.keep(7, Edition::UNCOMMITTED, b"72", 72);
        write(7, b"72");
        assert_eq!((load(7), turns.get()), (Ok(Some(72)), 5), "it is known by now");
        write(7, b"no number");
        assert_eq!(load(7), Err("corrupt"));
        write(7, b"71");
        assert_eq!(load(7), Ok(Some(71)));

        let first = Edition::UNCOMMITTED.next();
        assert_eq!(load_in(first, 7), Ok(Some(71)));
        write(7, b"73");
        assert_eq!(load_in(first, 7), Ok(Some(71)), "of one edition it is not read again");
        assert_eq!(load_in(first, other), Ok(Some(71)), "that was read from none");
        assert_eq!(load_in(first, 7), Ok(Some(73)), "and took its place");
        write(7, b"74");
        assert_eq!(load_in(first.next(), 7), Ok(Some(74)));
        write(7, b"75");
        assert_eq!(load(7), Ok(Some(75)), "what is uncommitted is always read");
        write(7, b"76");
        assert_eq!((load(7), load_in(first.next(), 7)), (Ok(Some(76)), Ok(Some(76))));
    }
}
