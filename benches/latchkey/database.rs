//! The database's file, looked into past the server, while none uses it. This is the one place in
//! the bench that knows how the server stores things.

use std::path::Path;

use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};

use crate::Result;

/// Sessions by identifier.
pub(crate) const SESSIONS: TableDefinition<'_, &[u8; 16], &[u8]> =
    TableDefinition::new("sessions_1");

/// So many records are copied in one transaction.
const BATCH: usize = 1024;

/// Makes a database that holds the sessions of another, and nothing else.
pub(crate) fn copy_sessions(from: &Path, to: &Path) -> Result<()> {
    let source = Database::open(from)?;
    let reading = source.begin_read()?;
    let sessions = reading.open_table(SESSIONS)?;
    let target = Builder::new().set_cache_size(1 << 30).create(to)?;
    let mut entries = sessions.iter()?.peekable();
    while entries.peek().is_some() {
        let mut transaction = target.begin_write()?;
        transaction.set_quick_repair(true);
        let mut table = transaction.open_table(SESSIONS)?;
        for entry in entries.by_ref().take(BATCH) {
            let (key, value) = entry?;
            table.insert(key.value(), value.value())?;
        }
        drop(table);
        transaction.commit()?;
    }
    Ok(())
}

/// How many sessions there are.
pub(crate) fn count_sessions(file: &Path) -> Result<u64> {
    let database = Database::open(file)?;
    Ok(database.begin_read()?.open_table(SESSIONS)?.len()?)
}

/// How many bytes of the file are keys, records and what leads to them: the least it could be.
pub(crate) fn stored_bytes(file: &Path) -> Result<u64> {
    let transaction = Database::open(file)?.begin_write()?;
    let statistics = transaction.stats()?;
    transaction.abort()?;
    Ok(statistics.stored_bytes() + statistics.metadata_bytes())
}
