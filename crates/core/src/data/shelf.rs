//! The data of a node for readers on any thread: a read waits for no more than one update to be put into its place.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::entry::{self, Entry, compose};
use super::index::Index;
use super::is_reserved;
use crate::datum::Subject;
use crate::time::Wall;

/// No page holds more entries,
const PAGE_ENTRIES_MAX: usize = 1_000;
/// nor many more bytes of keys and values than this, as one key is always taken whole,
const PAGE_BYTES_MAX: usize = 256 << 10;
/// nor is the result of looking at more updates, tombstones included.
const PAGE_UPDATES_MAX: usize = 4_096;

/// A piece of what a database holds, in the order of the keys' bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    /// Keys with what they hold; may be none although more follow, where much was deleted.
    pub entries: Vec<Entry>,
    /// After which key to read on; none at the end.
    pub next: Option<String>,
}

/// What a node's database holds now. Clones share it, and outlive the node with what it held last.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
pub struct Shelf(#[serde(skip)] Arc<RwLock<Index>>);

/// Whether it is the same node's.
impl PartialEq for Shelf {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Shelf {}

impl Shelf {
    /// What a key holds at the time `now`, which hides what ran out.
    pub fn get(&self, key: &str, now: Wall) -> Option<Entry> {
        if is_reserved(key.as_bytes()) {
            return None;
        }
        entry::of_key(&self.read(), key.as_bytes(), now.seconds())
    }

    /// Keys that begin with `prefix` and come after `after`, with what they hold, in the order of their bytes: as many as
    /// are read without anybody having to wait for it.
    pub fn page(&self, prefix: &str, after: Option<&str>, now: Wall) -> Page {
        let index = self.read();
        let start = after.filter(|after| *after >= prefix).unwrap_or(prefix);
        let mut updates = index.starting_at(start.as_bytes()).peekable();
        let mut page = Page::default();
        let (mut bytes, mut seen) = (0, 0);
        while let Some(first) = updates.peek().copied() {
            let Subject { key, .. } = first.subject();
            if !key.starts_with(prefix.as_bytes()) {
                break;
            }
            let of_key = std::iter::from_fn(|| updates.next_if(|update| update.subject().key == key));
            let of_key = of_key.inspect(|_| seen += 1);
            if after.is_some_and(|after| key <= after.as_bytes()) || is_reserved(key) {
                of_key.for_each(drop);
            } else if let Some(entry) = compose(of_key, now.seconds()) {
                bytes += entry.key.len() + entry.value.size();
                page.entries.push(entry);
            }
            if page.entries.len() >= PAGE_ENTRIES_MAX || bytes >= PAGE_BYTES_MAX || seen >= PAGE_UPDATES_MAX {
                page.next = Some(String::from_utf8(key.to_vec()).expect("keys are text: checked when they were read"));
                break;
            }
        }
        page
    }

    /// Every update as bytes, in the order of what they are about: the same on nodes that have seen the same, except that
    /// clocks differ on when a value runs out.
    pub fn contents(&self) -> Vec<Vec<u8>> {
        self.read().iter().map(|update| update.bytes().to_vec()).collect()
    }

    /// How many updates there are, tombstones and parts of counters and sets included.
    pub fn updates(&self) -> usize {
        self.read().len()
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
