use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use super::format1::RECORDS;
use super::*;
use crate::store::file::tests::UNSYNCED;

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
        for Entry { key, value } in group::entries(group.unwrap().1.value()).unwrap() {
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
fn compaction_frees_what_is_superseded_and_nothing_else() {
    for seed in 0..4 {
        let mut state = seed;
        let (_directory, path) = place();
        let (mut store, _) = Store::open(&path).unwrap();
        let mut expected = Contents::new();
        let (mut written, mut compacted) = (0, 0);
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
            compacted += usize::from(store.is_compacting());
            if random(&mut state).is_multiple_of(30) {
                drop(store);
                store = Store::open(&path).unwrap().0;
                assert!(contents(&store) == expected, "seed {seed}, step {step}");
            }
            if random(&mut state).is_multiple_of(5) && store.is_compacting() {
                store.compact().unwrap();
            }
        }
        while store.is_compacting() {
            store.compact().unwrap();
        }
        assert!(contents(&store) == expected, "seed {seed}");
        let needed: usize = expected.iter().map(|(key, value)| 8 + key.len() + value.len()).sum();
        assert!(compacted > 0 && written > 10 * needed, "{compacted} {written} {needed}");
        assert!(store.extent.bytes < 3 * needed as u64 + COMPACT_SLACK, "{:?} {needed}", store.extent);
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
    while store.is_compacting() {
        store.compact().unwrap();
    }
    assert_eq!(contents(&store), Contents::new());
    assert!(store.extent.bytes < 2 * COMPACT_SLACK, "{:?}", store.extent);
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

/// Nothing else follows: not even a restart may find what was refused.
#[test]
fn what_a_failed_commit_left_in_the_file_is_taken_out_at_once() {
    let (_directory, path) = place();
    {
        let (mut store, _) = Store::open(&path).unwrap();
        store.commit([record("a", Some("1"))].iter()).unwrap();
        store.place.fail_next_sync();
        store.commit([record("b", Some("2"))].iter()).unwrap_err();
    }
    assert_eq!(contents(&Store::open(&path).unwrap().0), [(b"a".to_vec(), b"1".to_vec())].into());
}

#[test]
fn a_store_whose_file_went_away_takes_no_writes() {
    let (_directory, path) = place();
    let (mut store, _) = Store::open(&path).unwrap();
    store.commit([record("a", Some("1"))].iter()).unwrap();
    store.place.room.store(1, Ordering::Relaxed);
    store.commit([record("b", Some("2"))].iter()).unwrap_err();
    store.place.room.store(u64::MAX, Ordering::Relaxed);
    for replacement in [None, Some(&b""[..]), Some(&[0; 4_096])] {
        fs::remove_file(&path).unwrap_or_default();
        if let Some(bytes) = replacement {
            fs::write(&path, bytes).unwrap();
        }
        store.database = None;
        store.commit([record("c", Some("3"))].iter()).unwrap_err();
        assert_eq!(fs::read(&path).ok().as_deref(), replacement);
    }
    fs::remove_file(&path).unwrap();
    drop(Store::open(&path).unwrap());
    store.commit([record("c", Some("3"))].iter()).unwrap_err();
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

/// A copy of a file with one bit changed, and the byte in which. Headers and trees are small among all that data, so every
/// third change is made near the front.
fn with_a_bit_changed(whole: &[u8], turn: u32, state: &mut u64) -> (Vec<u8>, usize) {
    let mut bytes = whole.to_vec();
    let among = if turn.is_multiple_of(3) { 16_384 } else { bytes.len() as u64 };
    let at = usize::try_from(random(state) % among).unwrap();
    bytes[at] ^= 1 << (random(state) % 8);
    (bytes, at)
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
        let (bytes, at) = with_a_bit_changed(&whole, turn, &mut state);
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
        let (bytes, at) = with_a_bit_changed(&whole, turn, &mut state);
        fs::write(&changed, &bytes).unwrap();
        let is_whole = is_whole_or_damaged(&changed, &expected);
        assert!(is_whole.is_ok(), "{} byte {at}", is_whole.unwrap_err());
        found += u32::from(is_whole == Ok(false));
    }
    assert!(found > 40, "only {found} of 120 changes were found");
}
