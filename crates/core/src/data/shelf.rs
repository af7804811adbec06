//! The data of a node for readers on any thread: a read waits for no more than one update to be put into its place.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::entry::{Entry, compose, compose_head};
use super::index::Index;
use crate::datum::Subject;
use crate::time::Wall;

/// What a node's database holds now. Clones share it, and outlive the node with what it held last.
#[derive(Clone, Debug, Default)]
pub struct Shelf(Arc<RwLock<Index>>);

impl Shelf {
    /// What a key holds at the time `now`, which hides what ran out.
    pub fn get(&self, key: &str, now: Wall) -> Option<Entry> {
        let index = self.read();
        if index.has_parts(key.as_bytes()) {
            compose(index.of_key(key.as_bytes()), now.seconds())
        } else {
            compose_head(index.head(key.as_bytes())?, now.seconds())
        }
    }

    /// Up to `limit` keys that begin with `prefix` and come after `after`, with what they hold, in the order of their bytes.
    pub fn page(&self, prefix: &str, after: Option<&str>, limit: usize, now: Wall) -> Vec<Entry> {
        let index = self.read();
        let start = after.filter(|after| *after >= prefix).unwrap_or(prefix);
        let mut updates = index.starting_at(start.as_bytes()).peekable();
        let mut entries = Vec::new();
        while let Some(first) = updates.peek().copied()
            && entries.len() < limit
        {
            let Subject { key, .. } = first.subject();
            if !key.starts_with(prefix.as_bytes()) {
                break;
            }
            let of_key = std::iter::from_fn(|| updates.next_if(|update| update.subject().key == key));
            if after.is_some_and(|after| key <= after.as_bytes()) {
                of_key.for_each(drop);
            } else {
                entries.extend(compose(of_key, now.seconds()));
            }
        }
        entries
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
