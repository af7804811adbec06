//! What a node keeps: bytes under bytes, in an embedded database, behind this one seam.
//!
//! All records are in memory while the node runs and are read from here only at its start. So the database is used as a
//! log: what one commit writes becomes a group at its end, under a number, whatever the keys are, and the newest record
//! of a key counts. A commit then costs hardly more than the disk's own time, and [`Tidying`] keeps the log from growing.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use redb::{Database, Error, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use rumormill_core::{Record, Stored};

use crate::backing::{Backing, FORMAT, Place};
use crate::groups::{self, Entry};
use crate::tail::{Extent, GROUPS, Tail, malformed};
use crate::tidying::{Seen, Tidying};

/// Where format 1 kept its records.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// Little of the database is looked at twice; its own default of a gigabyte is for other users.
const CACHE_BYTES: usize = 256 << 10;

/// Tidying begins when more than half of all groups, and this much, may have been superseded.
const TIDY_SLACK: u64 = 1 << 20;

/// How much tidying looks at for each byte that is written, so that it ends before the log has grown by half.
const TIDY_SHARE: u64 = 4;

/// How much it looks at with each commit, at least.
const TIDY_BYTES_MIN: u64 = 64 << 10;

/// How much it looks at when nothing is to be written.
const TIDY_BYTES_IDLE: u64 = 1 << 20;

/// An open database of records.
#[derive(Debug)]
pub(crate) struct Store {
    place: Place,
    /// `None` after a failed commit, which the database does not survive: it is opened again for the next one.
    database: Option<Database>,
    extent: Extent,
    tidying: Option<Tidying>,
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
        let (backing, is_first_format) = Backing::open(&place)?;
        if is_first_format {
            convert(path, backing)?;
            return Self::open(path);
        }
        let database = check(backing)?;
        let (stored, extent) = read(&database)?;
        Ok((Self { place, database: Some(database), extent, tidying: None }, stored))
    }

    /// A store that takes no writes.
    #[cfg(test)]
    pub(crate) fn broken() -> Self {
        let (database, extent, tidying) = (None, Extent::default(), None);
        Self { place: Place::new(Path::new("")), database, extent, tidying }
    }

    /// Beyond this length its disk is full.
    #[cfg(test)]
    pub(crate) fn room(&self) -> std::sync::Arc<std::sync::atomic::AtomicU64> {
        std::sync::Arc::clone(&self.place.room)
    }

    /// Makes records durable, all or none.
    pub(crate) fn commit<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<(), StoreError> {
        self.write(records, TIDY_BYTES_MIN)
    }

    /// Whether there is something to [`tidy`](Self::tidy).
    pub(crate) fn is_untidy(&self) -> bool {
        self.tidying.is_some()
    }

    /// Uses a pause to free what is no longer needed.
    pub(crate) fn tidy(&mut self) -> Result<(), StoreError> {
        self.write(std::iter::empty(), TIDY_BYTES_IDLE)
    }

    fn write<'a>(&mut self, records: impl Iterator<Item = &'a Record>, tidy_bytes_min: u64) -> Result<(), StoreError> {
        let (kept, mut extent) = (self.database.take(), self.extent);
        let is_reopened = kept.is_none();
        let database = kept.map_or_else(|| check(Backing::open(&self.place)?.0), Ok)?;
        let is_due = extent.bytes > 2 * extent.needed + TIDY_SLACK;
        let mut tidying = self.tidying.take().or_else(|| is_due.then(|| Tidying::begin(extent)));
        let transaction = database.begin_write().map_err(Error::from)?;
        {
            let mut tail = Tail::new(transaction.open_table(GROUPS).map_err(Error::from)?, &mut extent);
            if is_reopened {
                tail.cut()?;
            }
            for entry in records.map(Entry::from) {
                if let Some(tidying) = &mut tidying {
                    tidying.note(&entry);
                }
                tail.push(&entry)?;
            }
            let budget = tidy_bytes_min.max(tail.flush()? * TIDY_SHARE);
            tidying = tidying.map(|tidying| tidying.step(&mut tail, budget)).transpose()?.flatten();
            tail.flush()?;
        }
        transaction.commit().map_err(Error::from)?;
        (self.database, self.extent, self.tidying) = (Some(database), extent, tidying);
        Ok(())
    }
}

/// Opens the database in a file. Every page is checked, so that what was changed by anybody else is found here, and
/// nothing later has to doubt what it reads.
fn check(backing: Backing) -> Result<Database, StoreError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(backing).map_err(Error::from)?)
}

/// Reads all records, the newest first: of each key the first one counts.
fn read(database: &Database) -> Result<(Stored, Extent), Error> {
    let (mut stored, mut extent, mut seen) = (Stored::default(), Extent::default(), Seen::default());
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(GROUPS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok((stored, extent)),
        table => table?,
    };
    for group in table.iter()?.rev() {
        let (number, group) = group?;
        let (number, group) = (number.value(), group.value());
        let next = number.checked_add(1).ok_or_else(|| malformed(number))?;
        extent.next = extent.next.max(next);
        extent.bytes += group.len() as u64;
        for entry in groups::entries(group).ok_or_else(|| malformed(number))?.iter().rev() {
            if let (true, Some(value)) = (seen.meet(entry.key), entry.value) {
                extent.needed += entry.size() as u64;
                stored.add(entry.key, value);
            }
        }
    }
    Ok((stored, extent))
}

/// Makes a store of today's format out of one of the first, which is replaced when the new one is complete.
fn convert(path: &Path, backing: Backing) -> Result<(), StoreError> {
    let records = read_first_format(&check(backing)?)?;
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

fn read_first_format(database: &Database) -> Result<Vec<Record>, Error> {
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
pub(crate) mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;
    use std::sync::atomic::Ordering;

    use tempfile::TempDir;

    use super::*;
    use crate::backing::tests::UNSYNCED;

    type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

    fn record(key: &str, value: Option<&str>) -> Record {
        Record { key: key.into(), value: value.map(Into::into) }
    }

    /// What a node would be given, without what it makes of it.
    pub(crate) fn contents(store: &Store) -> Contents {
        let transaction = store.database.as_ref().unwrap().begin_read().unwrap();
        let mut contents = Contents::new();
        let Ok(table) = transaction.open_table(GROUPS) else { return contents };
        for group in table.iter().unwrap() {
            for Entry { key, value } in groups::entries(group.unwrap().1.value()).unwrap() {
                match value {
                    Some(value) => contents.insert(key.to_vec(), value.to_vec()),
                    None => contents.remove(key),
                };
            }
        }
        contents
    }

    fn place() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        (directory, path)
    }

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    #[test]
    fn records_survive_and_removed_ones_do_not() {
        let (_directory, path) = place();
        {
            let (mut store, _) = Store::open(&path).unwrap();
            store.commit([record("a", Some("1")), record("b", Some("2"))].iter()).unwrap();
            store.commit([record("a", None), record("b", Some("3"))].iter()).unwrap();
        }
        let (store, _) = Store::open(&path).unwrap();
        assert_eq!(contents(&store), [(b"b".to_vec(), b"3".to_vec())].into());
    }

    #[test]
    fn what_is_read_at_the_start_is_what_was_written_last() {
        let (_directory, path) = place();
        {
            let (mut store, _) = Store::open(&path).unwrap();
            for boot in 1..=7_u64 {
                let boot = boot.to_le_bytes().to_vec();
                store.commit([Record { key: b"boot".to_vec(), value: Some(boot) }].iter()).unwrap();
            }
            store.commit([record("data/a", Some("old")), record("data/b", Some("kept"))].iter()).unwrap();
            store.commit([record("data/c", Some("short")), record("data/a", Some("new"))].iter()).unwrap();
            store.commit([record("data/c", None)].iter()).unwrap();
        }
        let (_, mut stored) = Store::open(&path).unwrap();
        assert_eq!(stored.boot, 7);
        stored.data.sort();
        assert_eq!(stored.data, [b"kept".as_slice().into(), b"new".as_slice().into()]);
    }

    /// Random writes and removals of few keys, with restarts and failed commits, against a map.
    #[test]
    fn tidying_frees_what_is_superseded_and_nothing_else() {
        for seed in 0..4 {
            let mut state = seed;
            let (_directory, path) = place();
            let (mut store, _) = Store::open(&path).unwrap();
            let mut expected = Contents::new();
            let (mut written, mut tidied) = (0, 0);
            for step in 0..400_u64 {
                let mut records = Vec::new();
                for _ in 0..random(&mut state) % 40 {
                    let key = format!("key-{}", random(&mut state) % 300).into_bytes();
                    let length = usize::try_from(random(&mut state) % 3_000).unwrap();
                    let value = vec![step.to_le_bytes()[0]; length];
                    let is_removed = random(&mut state).is_multiple_of(3);
                    records.push(Record { key, value: (!is_removed).then_some(value) });
                }
                if random(&mut state).is_multiple_of(20) {
                    fail_once(&mut store, &records, if step % 2 == 0 { 1 } else { UNSYNCED });
                    assert!(contents(&store) == expected, "seed {seed}, step {step}");
                } else {
                    written += records.iter().map(|record| Entry::from(record).size()).sum::<usize>();
                    store.commit(records.iter()).unwrap();
                    for Record { key, value } in records {
                        match value {
                            Some(value) => expected.insert(key, value),
                            None => expected.remove(&key),
                        };
                    }
                }
                tidied += usize::from(store.is_untidy());
                if random(&mut state).is_multiple_of(30) {
                    drop(store);
                    store = Store::open(&path).unwrap().0;
                    assert!(contents(&store) == expected, "seed {seed}, step {step}");
                }
                if random(&mut state).is_multiple_of(5) && store.is_untidy() {
                    store.tidy().unwrap();
                }
            }
            while store.is_untidy() {
                store.tidy().unwrap();
            }
            assert!(contents(&store) == expected, "seed {seed}");
            let needed: usize = expected.iter().map(|(key, value)| 8 + key.len() + value.len()).sum();
            assert!(tidied > 0 && written > 10 * needed, "{tidied} {written} {needed}");
            assert!(store.extent.bytes < 3 * needed as u64 + TIDY_SLACK, "{:?} {needed}", store.extent);
        }
    }

    /// A commit that does not get through, and the next one, which finds what it left.
    fn fail_once(store: &mut Store, records: &[Record], room: u64) {
        store.place.room.store(room, Ordering::Relaxed);
        store.commit(records.iter()).unwrap_err();
        store.place.room.store(u64::MAX, Ordering::Relaxed);
        store.commit([].iter()).unwrap();
    }

    #[test]
    fn removals_are_forgotten_when_nothing_is_left_that_they_removed() {
        let (_directory, path) = place();
        let (mut store, _) = Store::open(&path).unwrap();
        for round in 0..60 {
            let key = |number: usize| format!("key-{round}-{number}");
            let value = "x".repeat(1_000);
            let written: Vec<Record> = (0..100).map(|number| record(&key(number), Some(&value))).collect();
            let removed: Vec<Record> = (0..100).map(|number| record(&key(number), None)).collect();
            store.commit(written.iter()).unwrap();
            store.commit(removed.iter()).unwrap();
        }
        while store.is_untidy() {
            store.tidy().unwrap();
        }
        assert_eq!(contents(&store), Contents::new());
        assert!(store.extent.bytes < 2 * TIDY_SLACK, "{:?}", store.extent);
    }

    #[test]
    fn a_disk_that_is_full_says_so_and_takes_writes_again_when_it_is_not() {
        let (_directory, path) = place();
        let (mut store, _) = Store::open(&path).unwrap();
        store.commit([record("a", Some("1"))].iter()).unwrap();
        let full = fs::metadata(&path).unwrap().len();
        store.place.room.store(full, Ordering::Relaxed);
        let long = "x".repeat(200_000);
        for _ in 0..3 {
            let error = store.commit([record("b", Some(&long))].iter()).unwrap_err();
            assert_eq!(error.to_string(), "no storage space");
            assert!(matches!(error, StoreError::Io(error) if error.kind() == io::ErrorKind::StorageFull));
        }
        store.place.room.store(u64::MAX, Ordering::Relaxed);
        store.commit([record("c", Some("2"))].iter()).unwrap();
        let expected: Contents = [(b"a".to_vec(), b"1".to_vec()), (b"c".to_vec(), b"2".to_vec())].into();
        assert_eq!(contents(&store), expected);
        drop(store);
        assert_eq!(contents(&Store::open(&path).unwrap().0), expected);
    }

    #[test]
    fn a_file_that_is_no_store_is_damaged() {
        let (_directory, path) = place();
        for bytes in [vec![7; 5_000], vec![7; 100], b"redb, but not really".to_vec()] {
            fs::write(&path, &bytes).unwrap();
            assert!(matches!(Store::open(&path), Err(StoreError::Damaged(_))));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_store_of_a_newer_format_is_refused_and_not_touched() {
        let (_directory, path) = place();
        {
            let (mut store, _) = Store::open(&path).unwrap();
            store.commit([record("a", Some("1"))].iter()).unwrap();
        }
        let mut newer = fs::read(&path).unwrap();
        newer[16..20].copy_from_slice(&9_u32.to_le_bytes());
        fs::write(&path, &newer).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Damaged(_))), "the number stands there twice");
        newer[20..24].copy_from_slice(&(!9_u32).to_le_bytes());
        fs::write(&path, &newer).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Newer { found: 9 })));
        assert_eq!(fs::read(&path).unwrap(), newer);
    }

    #[test]
    fn a_store_of_the_first_format_is_taken_over() {
        let (_directory, path) = place();
        {
            let database = Database::create(&path).unwrap();
            let transaction = database.begin_write().unwrap();
            let mut table = transaction.open_table(RECORDS).unwrap();
            table.insert(b"boot".as_slice(), 5_u64.to_le_bytes().as_slice()).unwrap();
            table.insert(b"data/a".as_slice(), b"1".as_slice()).unwrap();
            drop(table);
            transaction.commit().unwrap();
        }
        for _ in 0..2 {
            let (mut store, stored) = Store::open(&path).unwrap();
            assert_eq!((stored.boot, stored.data), (5, vec![b"1".as_slice().into()]));
            store.commit([record("other", Some("2"))].iter()).unwrap();
        }
    }

    /// A store of several thousand records, some of them long, some superseded.
    fn big(path: &Path) -> Contents {
        let (mut store, _) = Store::open(path).unwrap();
        let mut state = 1;
        for group in 0..60 {
            let records: Vec<Record> = (0..100)
                .map(|number| {
                    let length = if number == 0 { 20_000 } else { 30 + random(&mut state) % 200 };
                    let key = format!("data/{}", random(&mut state) % 5_000).into_bytes();
                    let value = (0..length).map(|_| random(&mut state).to_le_bytes()[0]).collect();
                    Record { key, value: Some(value) }
                })
                .collect();
            store.commit(records.iter()).unwrap();
            if group % 10 == 0 {
                store.commit(records[..3].iter()).unwrap();
            }
        }
        contents(&store)
    }

    /// Either the damage is reported, or all is there.
    fn is_whole_or_damaged(path: &Path, expected: &Contents) -> Result<bool, String> {
        match Store::open(path) {
            Err(StoreError::Damaged(_)) => Ok(false),
            Err(error) => Err(error.to_string()),
            Ok((store, stored)) => {
                let all: BTreeSet<_> = expected.values().map(Vec::as_slice).collect();
                let read: BTreeSet<_> = stored.data.iter().map(AsRef::as_ref).collect();
                let is_whole = contents(&store) == *expected && all == read && stored.data.len() == expected.len();
                if is_whole { Ok(true) } else { Err(format!("{} of {} records", stored.data.len(), expected.len())) }
            }
        }
    }

    #[test]
    fn a_store_that_was_cut_short_is_damaged() {
        let (_directory, path) = place();
        big(&path);
        let whole = fs::read(&path).unwrap();
        for length in (1..whole.len()).step_by(whole.len() / 50) {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(Store::open(&path), Err(StoreError::Damaged(_))), "{length} bytes");
        }
    }

    /// The last commit before a kill may be taken for one that did not get through, and nothing else.
    #[test]
    fn a_store_that_was_not_closed_and_in_which_bytes_changed_is_damaged_or_whole() {
        let (directory, path) = place();
        let mut older = big(&path);
        let mut store = Store::open(&path).unwrap().0;
        store.commit([record("data/last but one", Some("1"))].iter()).unwrap();
        older.insert(b"data/last but one".to_vec(), b"1".to_vec());
        store.commit([record("data/last", Some("2"))].iter()).unwrap();
        let newer = contents(&store);
        let whole = fs::read(&path).unwrap();
        let changed = directory.path().join("changed");
        let (mut state, mut found) = (3, 0);
        for turn in 0..120 {
            let mut bytes = whole.clone();
            let among = if turn % 3 == 0 { 16_384 } else { bytes.len() as u64 };
            let at = usize::try_from(random(&mut state) % among).unwrap();
            bytes[at] ^= 1 << (random(&mut state) % 8);
            fs::write(&changed, &bytes).unwrap();
            let is_whole = is_whole_or_damaged(&changed, &newer);
            if is_whole.is_err() {
                // The check has written to it.
                fs::write(&changed, &bytes).unwrap();
                assert_eq!(is_whole_or_damaged(&changed, &older), Ok(true), "byte {at}");
            }
            found += u32::from(is_whole != Ok(true));
        }
        assert!(found > 40, "only {found} of 120 changes were found");
    }

    #[test]
    fn a_store_in_which_bytes_changed_is_damaged_or_whole() {
        let (directory, path) = place();
        let expected = big(&path);
        assert!(expected.len() > 3_000);
        let whole = fs::read(&path).unwrap();
        let changed = directory.path().join("changed");
        let (mut state, mut found) = (2, 0);
        for turn in 0..120 {
            let mut bytes = whole.clone();
            // Headers and trees are small among all that data, so every third change is made near the front.
            let among = if turn % 3 == 0 { 16_384 } else { bytes.len() as u64 };
            let at = usize::try_from(random(&mut state) % among).unwrap();
            bytes[at] ^= 1 << (random(&mut state) % 8);
            fs::write(&changed, &bytes).unwrap();
            let is_whole = is_whole_or_damaged(&changed, &expected);
            assert!(is_whole.is_ok(), "{} byte {at}", is_whole.unwrap_err());
            found += u32::from(is_whole == Ok(false));
        }
        assert!(found > 40, "only {found} of 120 changes were found");
    }
}
