//! Records that were decoded before. Taking the JSON of a user and a session apart is a good part
//! of what an authenticated request or a refresh costs, and most find the records of the one
//! before.
//!
//! Nothing is believed to be unchanged: the record is read from the database as ever, and only
//! one that is byte for byte what was decoded before is not decoded again. The bytes that are kept
//! for that, a user's hash among them, are in the database's own cache as well.

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Key, ReadableTable, TableHandle};
use serde::de::DeserializeOwned;

use super::Fault;
use super::records::decode;
use super::tables::Record;

/// How many records are kept: one for each place that a key can lead to. With their two texts of
/// some hundred bytes each they take about a megabyte.
const PLACES: usize = 1_024;

/// What records came to, each with the bytes that it was decoded from.
pub(super) struct Decoded<T> {
    places: Box<[Place<T>]>,
}

type Place<T> = Mutex<Option<Box<Known<T>>>>;

struct Known<T> {
    /// The key, as a number.
    number: u128,
    bytes: Box<[u8]>,
    value: T,
}

impl<T> Decoded<T> {
    /// Reads the record under `key`, if there is one, turns it into a value, and takes what is
    /// wanted of that. `number` is the key once more, with the part that differs the most at its
    /// end.
    pub(super) fn load<'k, K, R, W>(
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
        let Some(bytes) = table.get(&key)? else { return Ok(None) };
        self.of(table.name(), &key, number, bytes.value(), turn, take).map(Some)
    }

    /// The same of a record that was read already.
    pub(super) fn of<R, W>(
        &self,
        table: &str,
        key: &dyn Debug,
        number: u128,
        bytes: &[u8],
        turn: impl FnOnce(R) -> T,
        take: impl Fn(&T) -> W,
    ) -> Result<W, Fault>
    where
        R: DeserializeOwned,
    {
        if let Some(wanted) = self.recall(number, bytes, &take) {
            return Ok(wanted);
        }
        let value = turn(decode(table, key, bytes)?);
        let wanted = take(&value);
        self.keep(number, bytes, value);
        Ok(wanted)
    }

    /// What `bytes` came to, if that is remembered.
    pub(super) fn recall<W>(
        &self,
        number: u128,
        bytes: &[u8],
        take: impl Fn(&T) -> W,
    ) -> Option<W> {
        let known = self.place(number);
        let is_it = |known: &&Known<T>| known.number == number && *known.bytes == *bytes;
        known.as_deref().filter(is_it).map(|known| take(&known.value))
    }

    /// Remembers what `bytes` come to, whether or not they will be what is stored.
    pub(super) fn keep(&self, number: u128, bytes: &[u8], value: T) {
        let known = Box::new(Known { number, bytes: bytes.into(), value });
        // The one before is dropped when the place is free again.
        let _former = self.place(number).replace(known);
    }

    #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of places")]
    fn place(&self, number: u128) -> MutexGuard<'_, Option<Box<Known<T>>>> {
        let index = usize::try_from(number % PLACES as u128).unwrap_or_default();
        self.places[index].lock().unwrap_or_else(PoisonError::into_inner)
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
        let load = |key: u64| {
            let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
            let turn = |number: u64| {
                turns.set(turns.get() + 1);
                number
            };
            decoded.load(&table, key, key.into(), turn, |number| *number).map_err(|_| "corrupt")
        };
        let other = 7 + PLACES as u64;
        write(7, b"70");
        write(other, b"70");
        assert_eq!((load(7), load(7), turns.get()), (Ok(Some(70)), Ok(Some(70)), 1));
        write(7, b"71");
        assert_eq!((load(7), turns.get()), (Ok(Some(71)), 2));
        write(other, b"71");
        assert_eq!((load(other), load(7), turns.get()), (Ok(Some(71)), Ok(Some(71)), 4));
        assert_eq!(load(8), Ok(None));
        decoded.keep(7, b"72", 72);
        assert_eq!((load(7), turns.get()), (Ok(Some(71)), 5), "what is stored is something else");
        decoded.keep(7, b"72", 72);
        write(7, b"72");
        assert_eq!((load(7), turns.get()), (Ok(Some(72)), 5), "it is known by now");
        write(7, b"no number");
        assert_eq!(load(7), Err("corrupt"));
        write(7, b"71");
        assert_eq!(load(7), Ok(Some(71)));
    }
}
