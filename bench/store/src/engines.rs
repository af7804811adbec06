//! The engines that were not chosen, and a bare file.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use rumormill_core::Record;

use crate::VALUE_BYTES;
use crate::contestant::Values;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const CACHE_BYTES: usize = 256 << 10;

/// What a thread that commits needs of a store.
pub(crate) trait Engine: Send {
    fn commit(&mut self, records: &[Record]);
    fn read(&self) -> Values;
}

pub(crate) struct Bare {
    path: PathBuf,
    file: File,
}

impl Bare {
    pub(crate) fn open(path: &Path) -> Self {
        let path = path.join("file");
        let file = OpenOptions::new().create(true).append(true).open(&path).expect("it opens");
        Self { path, file }
    }
}

impl Engine for Bare {
    fn commit(&mut self, records: &[Record]) {
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend(&record.key);
            bytes.extend(value_of(record));
        }
        self.file.write_all(&bytes).and_then(|()| self.file.sync_data()).expect("it is stored");
    }

    /// Records that were written twice count twice: it is no store.
    fn read(&self) -> Values {
        let mut file = BufReader::with_capacity(1 << 20, File::open(&self.path).expect("it opens"));
        let (mut values, mut record) = (Values::new(), [0; 16 + VALUE_BYTES]);
        while file.read_exact(&mut record).is_ok() {
            values.push(record[16..].into());
        }
        values
    }
}

pub(crate) struct Redb(Database);

impl Redb {
    pub(crate) fn open(path: &Path) -> Self {
        let mut builder = Database::builder();
        Self(builder.set_cache_size(CACHE_BYTES).create(path.join("redb")).expect("it opens"))
    }
}

impl Engine for Redb {
    fn commit(&mut self, records: &[Record]) {
        let transaction = self.0.begin_write().expect("it takes writes");
        {
            let mut table = transaction.open_table(TABLE).expect("the table is there");
            for record in records {
                table.insert(record.key.as_slice(), value_of(record)).expect("it takes writes");
            }
        }
        transaction.commit().expect("it is stored");
    }

    fn read(&self) -> Values {
        let table = self.0.begin_read().expect("it can be read").open_table(TABLE).expect("the table is there");
        let mut values = Values::new();
        for entry in table.iter().expect("it can be read") {
            values.push(entry.expect("it can be read").1.value().into());
        }
        values
    }
}

pub(crate) struct Fjall {
    database: fjall::Database,
    records: fjall::Keyspace,
}

impl Fjall {
    pub(crate) fn open(path: &Path) -> Self {
        let builder = fjall::Database::builder(path.join("fjall")).cache_size(CACHE_BYTES as u64).worker_threads(1);
        let database = builder.open().expect("it opens");
        let records = database.keyspace("records", fjall::KeyspaceCreateOptions::default).expect("it opens");
        Self { database, records }
    }
}

impl Engine for Fjall {
    fn commit(&mut self, records: &[Record]) {
        let mut batch = self.database.batch().durability(Some(fjall::PersistMode::SyncData));
        for record in records {
            batch.insert(&self.records, record.key.as_slice(), value_of(record));
        }
        batch.commit().expect("it is stored");
    }

    fn read(&self) -> Values {
        let mut values = Values::new();
        for entry in self.records.iter() {
            values.push(entry.into_inner().expect("it can be read").1.as_ref().into());
        }
        values
    }
}

fn value_of(record: &Record) -> &[u8] {
    record.value.as_deref().expect("the benchmark removes nothing")
}
