//! Opening a database: its schema, and the last commit time in it.

use redb::{Database, ReadableTable};
use thiserror::Error;

use super::fault::Fault;
use super::tables::{OLDEST_SCHEMA, SCHEMA, Settling, TABLES, Write, meta};
use crate::clock::Timestamp;

/// Whether a database is opened at start, or again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// At start.
    First,
    /// After a failure.
    Again,
}

/// Why the database could not be opened at start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("another process is using the database")]
    InUse,
    /// It was written by another version of Latchkey.
    #[error(
        "the database has schema {0}, and this program reads {OLDEST_SCHEMA} to {SCHEMA}; start \
         the version that wrote it"
    )]
    OtherSchema(u64),
    /// Anything else, in the engine's words.
    #[error("the database cannot be opened: {0}")]
    Other(String),
}

/// Makes the tables in a new database, checks the schema of an old one, and reads the last commit
/// time.
pub(crate) fn prepare(database: &Database, opening: Opening) -> Result<Timestamp, OpenError> {
    let prepared = || -> Result<Result<Timestamp, Option<u64>>, Fault> {
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        let lacks_tables = transaction.list_tables()?.count() < TABLES;
        let settling = Settling::new(0);
        let mut write = Write::new(&transaction, &settling);
        let table = write.meta.open()?;
        let schema = table.get(meta::SCHEMA)?.map(|value| value.value());
        let last_commit = table.get(meta::LAST_COMMIT)?.map_or(0, |value| value.value());
        match schema {
            Some(SCHEMA) => {}
            // What was open before is of this schema: anything else was put in its place.
            None | Some(OLDEST_SCHEMA..SCHEMA) if opening == Opening::First => {}
            other => return Ok(Err(other)),
        }
        if lacks_tables || schema != Some(SCHEMA) {
            // All of them at first; later those that a newer version has added.
            write.create_all()?;
            write.meta.open()?.insert(meta::SCHEMA, SCHEMA)?;
        }
        let has_changes = write.has_changes;
        drop(write);
        if has_changes {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(Ok(Timestamp::from_micros(last_commit)))
    };
    match prepared() {
        Ok(Ok(last_commit)) => Ok(last_commit),
        Ok(Err(Some(other))) => Err(OpenError::OtherSchema(other)),
        Ok(Err(None)) => Err(OpenError::Other("it is empty".to_owned())),
        Err(fault) => Err(OpenError::Other(fault.into_storage().to_string())),
    }
}
