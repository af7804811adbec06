//! Frees the groups of which little is still needed, a little with every commit.
//!
//! Groups are looked at from the newest to the oldest: the first record of a key that is met is the one that counts. A
//! group of which more than a quarter has been superseded is emptied: what counts in it is written again at the end.
//! Emptied groups are removed from the oldest to the newest, and only in commits after that in which the last copy was
//! written. So at every moment the newest record of each key is the one that counts, whatever a crash leaves undone.
//!
//! That a key was removed has to be known as long as an older record of it exists. Groups that say so are emptied, and
//! with them all older groups with a record of such a key; then it need not be said any more.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use redb::Error;

use crate::store::group::{self, Entry};
use crate::store::log::{Extent, Log, malformed};

/// A group is emptied when more than this part of it has been superseded.
const SUPERSEDED_PART: usize = 4;

/// A group counts as at least so many bytes of work.
const GROUP_COST: u64 = 512;

/// Stands for a key. 96 bits under two keys of the process's own: two keys of a million share one with a probability
/// of 2^-57, and nobody outside can look for such a pair.
type Fingerprint = [u32; 3];

/// Which keys have been met, in 12 bytes each.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    hashers: [RandomState; 2],
    keys: HashSet<Fingerprint>,
}

impl Seen {
    /// Whether the key is met for the first time.
    pub(crate) fn meet(&mut self, key: &[u8]) -> bool {
        self.keys.insert(self.fingerprint(key))
    }

    fn fingerprint(&self, key: &[u8]) -> Fingerprint {
        let [a, b] = self.hashers.each_ref().map(|hasher| hasher.hash_one(key).to_le_bytes());
        let word =
            |bytes: &[u8; 8], at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        [word(&a, 0), word(&a, 4), word(&b, 0)]
    }
}

/// How far it has come.
#[derive(Debug)]
pub(crate) enum Compaction {
    /// Some groups are still to be looked at.
    Looking(Look),
    /// What was emptied is being removed.
    Removing(Remove),
}

impl Compaction {
    /// Of all groups so far.
    pub(crate) fn begin(extent: Extent) -> Self {
        let (seen, removed) = (Seen::default(), HashSet::new());
        let remove = Remove { emptied: Vec::new(), needed: 0 };
        Self::Looking(Look { below: extent.next, seen, removed, remove })
    }

    /// A record was written after the groups that are looked at.
    pub(crate) fn note(&mut self, entry: &Entry<'_>) {
        if let Self::Looking(look) = self {
            look.seen.meet(entry.key);
        }
    }

    /// Looks at about `budget` bytes, or removes them. `None` when all is done.
    pub(crate) fn step(self, log: &mut Log<'_, '_>, budget: u64) -> Result<Option<Self>, Error> {
        match self {
            Self::Looking(mut look) => {
                let is_done = look.step(log, budget)?;
                Ok(Some(if is_done { Self::Removing(look.remove) } else { Self::Looking(look) }))
            }
            Self::Removing(mut remove) => {
                let is_done = remove.step(log, budget)?;
                Ok((!is_done).then_some(Self::Removing(remove)))
            }
        }
    }
}

/// The first half: finds out what counts, and writes it again where it has to move.
#[derive(Debug)]
pub(crate) struct Look {
    /// The groups below this number are still to be looked at.
    below: u64,
    seen: Seen,
    /// Keys that were removed, of which nothing has to be known any more at the end.
    removed: HashSet<Fingerprint>,
    /// For the second half.
    remove: Remove,
}

impl Look {
    /// Whether nothing is left to look at.
    fn step(&mut self, log: &mut Log<'_, '_>, budget: u64) -> Result<bool, Error> {
        let mut looked_at = 0;
        while looked_at < budget {
            let Some((number, group)) = log.last_below(self.below)? else { return Ok(true) };
            self.below = number;
            looked_at += (group.len() as u64).max(GROUP_COST);
            let entries = group::entries(&group).ok_or_else(|| malformed(number))?;
            let (needed, is_tainted) = self.sort(&entries);
            let needed_bytes: usize = needed.iter().map(Entry::size).sum();
            if is_tainted || (group.len() - needed_bytes) * SUPERSEDED_PART > group.len() {
                for entry in &needed {
                    log.push(entry)?;
                }
                self.remove.emptied.push((number, group.len() as u64));
                self.remove.needed += needed_bytes as u64;
            } else {
                self.remove.needed += group.len() as u64;
            }
        }
        Ok(false)
    }

    /// The records of a group that count, and whether it names a key whose removal is to be forgotten.
    fn sort<'a>(&mut self, entries: &[Entry<'a>]) -> (Vec<Entry<'a>>, bool) {
        let (mut needed, mut is_tainted) = (Vec::new(), false);
        for entry in entries.iter().rev() {
            let fingerprint = self.seen.fingerprint(entry.key);
            let is_first = self.seen.keys.insert(fingerprint);
            if is_first && entry.value.is_some() {
                needed.push(*entry);
            } else if is_first {
                self.removed.insert(fingerprint);
            }
            is_tainted |= self.removed.contains(&fingerprint);
        }
        (needed, is_tainted)
    }
}

/// The second half.
#[derive(Debug)]
pub(crate) struct Remove {
    /// Numbers and lengths, the oldest last. A group goes only when all older ones are gone.
    emptied: Vec<(u64, u64)>,
    /// How much of what was looked at is kept. What was written since is not known.
    needed: u64,
}

impl Remove {
    /// Whether all are gone.
    fn step(&mut self, log: &mut Log<'_, '_>, budget: u64) -> Result<bool, Error> {
        let mut removed = 0;
        while removed < budget {
            let Some((number, length)) = self.emptied.pop() else {
                log.set_needed(self.needed);
                return Ok(true);
            };
            log.remove(number, length)?;
            removed += length.max(GROUP_COST);
        }
        Ok(false)
    }
}
