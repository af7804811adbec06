//! The few records that a node keeps: bytes under bytes, in an embedded database, behind this one seam.

use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, Error, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use rumormill_core::{Record, Stored};

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// The records of a node are a few kilobytes; the database's own default of a gigabyte is for other users.
const CACHE_BYTES: usize = 256 << 10;

/// An open database of records.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    /// `None` after a failed commit, which the database does not survive: it is opened again for the next one.
    database: Option<Database>,
}

/// Why a database did not open.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The file is there but makes no sense.
    Damaged(String),
    /// The system refused.
    Io(io::Error),
}

impl Store {
    /// Opens a database, made anew where there is none, checks it, and reads all records.
    pub(crate) fn open(path: &Path) -> Result<(Self, Stored), OpenError> {
        let database = open(path)?;
        let records = read(&database)?;
        let stored = Stored::from_records(records.iter().map(|(key, value)| (key.as_slice(), value.as_slice())));
        Ok((Self { path: path.to_owned(), database: Some(database) }, stored))
    }

    /// A store that takes no writes.
    #[cfg(test)]
    pub(crate) fn broken() -> Self {
        Self { path: PathBuf::new(), database: None }
    }

    /// Makes records durable, all or none.
    pub(crate) fn commit<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<(), Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open(&self.path)?,
        };
        write(&database, records)?;
        self.database = Some(database);
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    Ok(builder.create(path)?)
}

/// Keys and values as they were read.
type Contents = Vec<(Vec<u8>, Vec<u8>)>;

fn read(database: &Database) -> Result<Contents, Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(RECORDS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        records.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(records)
}

fn write<'a>(database: &Database, records: impl Iterator<Item = &'a Record>) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for Record { key, value } in records {
            match value {
                Some(value) => table.insert(key.as_slice(), value.as_slice())?,
                None => table.remove(key.as_slice())?,
            };
        }
    }
    Ok(transaction.commit()?)
}

impl From<Error> for OpenError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the database may add kinds, and only one does not speak of it")]
    fn from(error: Error) -> Self {
        match error {
            // So the database reports a file that is none, or that was cut short.
            Error::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                Self::Damaged(error.to_string())
            }
            Error::Io(error) => Self::Io(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: Option<&str>) -> Record {
        Record { key: key.into(), value: value.map(Into::into) }
    }

    fn contents(store: &Store) -> Contents {
        read(store.database.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn records_survive_and_removed_ones_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        {
            let (mut store, _) = Store::open(&path).unwrap();
            store.commit([record("a", Some("1")), record("b", Some("2"))].iter()).unwrap();
            store.commit([record("a", None), record("b", Some("3"))].iter()).unwrap();
        }
        let (store, _) = Store::open(&path).unwrap();
        assert_eq!(contents(&store), [(b"b".to_vec(), b"3".to_vec())]);
    }

    #[test]
    fn a_file_that_is_no_database_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        std::fs::write(&path, [7; 5_000]).unwrap();
        assert!(matches!(Store::open(&path), Err(OpenError::Damaged(_))));
    }

    #[test]
    fn a_store_that_was_cut_short_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        {
            let (mut store, _) = Store::open(&path).unwrap();
            store.commit([record("a", Some("1"))].iter()).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        for length in (1..whole.len()).step_by(1_000) {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(Store::open(&path), Err(OpenError::Damaged(_))), "{length} bytes");
        }
    }

    #[test]
    fn a_store_takes_writes_again_after_a_failed_one() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(&directory.path().join("store")).unwrap();
        // What a failed commit leaves behind.
        store.database = None;
        store.commit([record("a", Some("1"))].iter()).unwrap();
        assert_eq!(contents(&store).len(), 1);
    }
}
