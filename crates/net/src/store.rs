//! What a node keeps: bytes under bytes, in an embedded database, behind this one seam.
//!
//! All records are in memory while the node runs and are read from here only at its start. So the database is used as a
//! log: what one commit writes becomes a group at its end, under a number, whatever the keys are, and the newest record
//! of a key counts. A commit then costs hardly more than the disk's own time, and [`Compaction`] keeps the log from growing.

use std::fs::File;
use std::io;
use std::path::Path;

use redb::{Database, Error, ReadableDatabase, ReadableTable, TableError};
use rumormill_core::{Record, Stored};

use self::compaction::{Compaction, Seen};
use self::file::{FORMAT, Place, StoreFile};
use self::group::Entry;
use self::log::{Extent, GROUPS, Log, malformed};

mod compaction;
pub(crate) mod file;
mod format1;
mod group;
mod log;

/// Little of the database is looked at twice; its own default of a gigabyte is for other users.
const CACHE_BYTES: usize = 256 << 10;

/// Compaction begins when more than half of all groups, and this much, may have been superseded.
const COMPACT_SLACK: u64 = 1 << 20;

/// How much compaction looks at for each byte that is written, so that it ends before the log has grown by half.
const COMPACT_SHARE: u64 = 4;

/// How much it looks at with each commit, at least.
const COMPACT_BYTES_MIN: u64 = 64 << 10;

/// How much it looks at when nothing is to be written.
const COMPACT_BYTES_IDLE: u64 = 1 << 20;

/// An open database of records.
#[derive(Debug)]
pub(crate) struct Store {
    place: Place,
    /// `None` after a failed commit, which the database does not survive: it is opened again for the next one.
    database: Option<Database>,
    extent: Extent,
    compaction: Option<Compaction>,
}

/// Why a store did not open, or did not take records.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file is there but makes no sense.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A later version of this program wrote it.
    #[error("the store has format {found}, newer than {FORMAT}")]
    Newer { found: u32 },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Store {
    /// Opens a store, made anew where there is none, checks it, and reads all records.
    pub(crate) fn open(path: &Path) -> Result<(Self, Stored), StoreError> {
        let place = Place::new(path);
        let (file, is_first_format) = StoreFile::open(&place)?;
        if is_first_format {
            format1::convert(path, file)?;
            return Self::open(path);
        }
        let database = check(file)?;
        let (stored, extent) = read(&database)?;
        Ok((Self { place, database: Some(database), extent, compaction: None }, stored))
    }

    /// A store that takes no writes.
    #[cfg(test)]
    pub(crate) fn broken() -> Self {
        let (database, extent, compaction) = (None, Extent::default(), None);
        Self { place: Place::new(Path::new("")), database, extent, compaction }
    }

    /// Beyond this length its disk is full.
    #[cfg(test)]
    pub(crate) fn room(&self) -> std::sync::Arc<std::sync::atomic::AtomicU64> {
        std::sync::Arc::clone(&self.place.room)
    }

    /// Makes records durable, all or none.
    pub(crate) fn commit<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<(), StoreError> {
        self.write(records, COMPACT_BYTES_MIN)
    }

    /// Whether there is something to [`compact`](Self::compact).
    pub(crate) fn is_compacting(&self) -> bool {
        self.compaction.is_some()
    }

    /// Uses a pause to free what is no longer needed.
    pub(crate) fn compact(&mut self) -> Result<(), StoreError> {
        self.write(std::iter::empty(), COMPACT_BYTES_IDLE)
    }

    fn write<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
        compact_bytes_min: u64,
    ) -> Result<(), StoreError> {
        let database = self.database.take().map_or_else(|| self.reopen(), Ok)?;
        let result = self.append(&database, records, compact_bytes_min);
        // A commit that failed may have reached the file nevertheless. Without another it would be there after a restart.
        self.database = if result.is_ok() {
            Some(database)
        } else {
            drop(database);
            self.reopen().ok()
        };
        result
    }

    /// Opens the database again after a commit that failed, and takes out what that may have left.
    fn reopen(&mut self) -> Result<Database, StoreError> {
        let database = check(StoreFile::reopen(&self.place)?)?;
        let transaction = database.begin_write().map_err(Error::from)?;
        {
            let mut extent = self.extent;
            Log::new(transaction.open_table(GROUPS).map_err(Error::from)?, &mut extent).cut()?;
        }
        transaction.commit().map_err(Error::from)?;
        let extent = walk(&database, |_, _| ())?;
        if extent.bytes == 0 && self.extent.bytes > 0 {
            return Err(StoreError::Damaged("another file is in its place".to_owned()));
        }
        // What was not needed any more may be gone already.
        self.extent = Extent { next: self.extent.next, ..extent };
        Ok(database)
    }

    fn append<'a>(
        &mut self,
        database: &Database,
        records: impl Iterator<Item = &'a Record>,
        compact_bytes_min: u64,
    ) -> Result<(), StoreError> {
        let mut extent = self.extent;
        let is_due = extent.bytes > 2 * extent.needed + COMPACT_SLACK;
        let mut compaction = self.compaction.take().or_else(|| is_due.then(|| Compaction::begin(extent)));
        let transaction = database.begin_write().map_err(Error::from)?;
        {
            let mut log = Log::new(transaction.open_table(GROUPS).map_err(Error::from)?, &mut extent);
            for entry in records.map(Entry::from) {
                if let Some(compaction) = &mut compaction {
                    compaction.note(&entry);
                }
                log.push(&entry)?;
            }
            let budget = compact_bytes_min.max(log.flush()? * COMPACT_SHARE);
            compaction = compaction.map(|compaction| compaction.step(&mut log, budget)).transpose()?.flatten();
            log.flush()?;
        }
        transaction.commit().map_err(Error::from)?;
        (self.extent, self.compaction) = (extent, compaction);
        Ok(())
    }
}

/// Opens the database in a file. Every page is checked, so that what was changed by anybody else is found here, and
/// nothing later has to doubt what it reads.
fn check(file: StoreFile) -> Result<Database, StoreError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(file).map_err(Error::from)?)
}

/// Reads all records.
fn read(database: &Database) -> Result<(Stored, Extent), Error> {
    let mut stored = Stored::default();
    let extent = walk(database, |key, value| stored.add(key, value))?;
    Ok((stored, extent))
}

/// Goes through all records, the newest first: of each key the first one counts.
fn walk(database: &Database, mut found: impl FnMut(&[u8], &[u8])) -> Result<Extent, Error> {
    let (mut extent, mut seen) = (Extent::default(), Seen::default());
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(GROUPS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(extent),
        table => table?,
    };
    for group in table.iter()?.rev() {
        let (number, group) = group?;
        let (number, group) = (number.value(), group.value());
        let next = number.checked_add(1).ok_or_else(|| malformed(number))?;
        extent.next = extent.next.max(next);
        extent.bytes += group.len() as u64;
        for entry in group::entries(group).ok_or_else(|| malformed(number))?.iter().rev() {
            if let (true, Some(value)) = (seen.meet(entry.key), entry.value) {
                extent.needed += entry.size() as u64;
                found(entry.key, value);
            }
        }
    }
    Ok(extent)
}

/// Makes durable that a file is in its directory.
pub(crate) fn sync_directory(file: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
        File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

impl From<Error> for StoreError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the database may add kinds, and only these do not speak of it")]
    fn from(error: Error) -> Self {
        match error {
            // So the database reports a file that is none, or that was cut short.
            Error::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                Self::Damaged(error.to_string())
            }
            Error::Io(error) => Self::Io(error),
            Error::Corrupted(reason) => Self::Damaged(reason),
            error @ (Error::PreviousIo | Error::DatabaseClosed | Error::LockPoisoned(_)) => {
                Self::Io(io::Error::other(error.to_string()))
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
