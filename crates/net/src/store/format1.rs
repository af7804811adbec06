//! The first format of the store: one table of records by key, and no header before it.

use std::path::Path;
use std::{fs, io};

use redb::{Database, Error, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use rumormill_core::Record;

use super::file::StoreFile;
use super::{Store, StoreError, check, sync_directory};

pub(super) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// Makes a store of today's format out of one of the first, which is replaced when the new one is complete.
pub(super) fn convert(path: &Path, file: StoreFile) -> Result<(), StoreError> {
    let records = read(&check(file)?)?;
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let (mut store, _) = Store::open(&new)?;
    store.commit(records.iter())?;
    drop(store);
    fs::rename(&new, path)?;
    Ok(sync_directory(path)?)
}

fn read(database: &Database) -> Result<Vec<Record>, Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(RECORDS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        records.push(Record { key: key.value().to_vec(), value: Some(value.value().to_vec()) });
    }
    Ok(records)
}
