//! Updates in the order of their subjects: all of one key together, its head first, keys by their bytes.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

use serde::ser::SerializeSeq as _;

use super::entry::Summary;
use super::ordered::Ordered;
use super::parts::Parts;
use crate::datum::{Part, Subject};
use crate::map::{Fold, Map, Set};
use crate::time::Seconds;
use crate::update::Update;

/// The head of a key, found by the key.
#[derive(Debug)]
struct HeadOf(Arc<Update>);

impl Borrow<[u8]> for HeadOf {
    fn borrow(&self) -> &[u8] {
        self.0.subject().key
    }
}

impl Hash for HeadOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.subject().key.hash(state);
    }
}

impl PartialEq for HeadOf {
    fn eq(&self, other: &Self) -> bool {
        self.0.subject().key == other.0.subject().key
    }
}

impl Eq for HeadOf {}

/// One update for each subject: in order, and the heads also by key, because most keys are registers and reads of one
/// key are many.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(from = "Vec<Arc<Update>>")]
pub(crate) struct Index {
    ordered: Ordered,
    heads: Set<HeadOf>,
    /// How many parts there are, by the hash of their key.
    parts: Map<u64, u32>,
    /// What keys of many parts add up to, so that not all have to be looked at for each one that comes.
    large: BTreeMap<Vec<u8>, Parts>,
}

/// All else follows from the updates.
impl serde::Serialize for Index {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut updates = to.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|update| updates.serialize_element(update))?;
        updates.end()
    }
}

impl From<Vec<Arc<Update>>> for Index {
    fn from(updates: Vec<Arc<Update>>) -> Self {
        let mut index = Self::new();
        for update in updates {
            index.put(update);
        }
        index
    }
}

/// From so many parts on what they add up to is kept.
const LARGE: usize = 64;

impl Index {
    pub(crate) const fn new() -> Self {
        Self {
            ordered: Ordered::new(),
            heads: Set::with_hasher(BuildHasherDefault::new()),
            parts: Map::with_hasher(BuildHasherDefault::new()),
            large: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ordered.len()
    }

    pub(crate) fn get(&self, subject: &Subject<'_>) -> Option<&Arc<Update>> {
        match subject.part {
            Part::Head => self.head(subject.key),
            Part::Sums(_) | Part::Element(_) => self.ordered.get(subject),
        }
    }

    /// The head of a key.
    pub(crate) fn head(&self, key: &[u8]) -> Option<&Arc<Update>> {
        self.heads.get(key).map(|head| &head.0)
    }

    /// Whether there are updates about a key beside its head. Rarely said of one that has none.
    pub(crate) fn has_parts(&self, key: &[u8]) -> bool {
        !self.parts.is_empty() && self.parts.contains_key(&hash(key))
    }

    /// Puts an update into its place; returns what was there.
    pub(crate) fn put(&mut self, update: Arc<Update>) -> Option<Arc<Update>> {
        let before = self.ordered.replace(Arc::clone(&update));
        let Subject { key, part } = update.subject();
        match part {
            Part::Head => self.put_head(Arc::clone(&update)),
            Part::Sums(_) | Part::Element(_) => {
                let count = self.parts.entry(hash(key)).or_default();
                *count += u32::from(before.is_none());
                let may_be_large = *count as usize >= LARGE;
                self.sum_up(key, before.as_deref(), Some(&update), may_be_large);
            }
        }
        before
    }

    fn put_head(&mut self, head: Arc<Update>) {
        if self.heads.len() == self.heads.capacity() {
            // Filled in the order of keys, as updates often lie in memory, it grows faster than in its own.
            let heads = self.ordered.iter().filter(|held| held.subject().part == Part::Head).cloned();
            let mut larger = Set::with_capacity_and_hasher(2 * self.heads.len(), BuildHasherDefault::default());
            larger.extend(heads.map(HeadOf));
            self.heads = larger;
        }
        self.heads.replace(HeadOf(head));
    }

    pub(crate) fn remove(&mut self, subject: &Subject<'_>) {
        let Some(removed) = self.ordered.take(subject) else { return };
        match subject.part {
            Part::Head => drop(self.heads.take(subject.key)),
            Part::Sums(_) | Part::Element(_) => {
                let hash = hash(subject.key);
                let count = self.parts.get_mut(&hash).expect("it was counted when it came");
                *count -= 1;
                if *count == 0 {
                    self.parts.remove(&hash);
                }
                self.sum_up(subject.key, Some(&removed), None, false);
            }
        }
    }

    /// One part of a key was put into the place of another, or of none.
    fn sum_up(&mut self, key: &[u8], before: Option<&Update>, after: Option<&Update>, may_be_large: bool) {
        if let Some(parts) = self.large.get_mut(key) {
            if let Some(before) = before {
                parts.take(before);
            }
            if let Some(after) = after {
                parts.put(after);
            }
            if parts.count() < LARGE / 2 {
                self.large.remove(key);
            }
        } else if may_be_large {
            let parts = Parts::of(self.of_key(key).map(|update| &**update));
            // Keys whose hashes are the same are counted together.
            if parts.count() >= LARGE {
                self.large.insert(key.to_vec(), parts);
            }
        }
    }

    /// What the parts of a key add up to, as fast for many as for few.
    pub(crate) fn parts_of(&self, key: &[u8]) -> Parts {
        if !self.has_parts(key) {
            return Parts::default();
        }
        let known = self.large.get(key).copied();
        known.unwrap_or_else(|| Parts::of(self.of_key(key).map(|update| &**update)))
    }

    /// Whether there are many parts of a key.
    pub(crate) fn is_large(&self, key: &[u8]) -> bool {
        self.large.contains_key(key)
    }

    /// What is to be said of a key, as fast for many parts as for few.
    pub(crate) fn summary(&self, key: &[u8], now: Seconds) -> Option<Summary> {
        Summary::of(self.head(key).map(|head| &**head), &self.parts_of(key), now)
    }

    /// Everything, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Update>> {
        self.ordered.iter()
    }

    /// Everything from the head of `key` on.
    pub(crate) fn starting_at<'a>(&'a self, key: &[u8]) -> impl Iterator<Item = &'a Arc<Update>> + use<'a> {
        self.ordered.starting_at(Bound::Included(&Subject::head(key)))
    }

    /// Everything after a subject.
    pub(crate) fn after(&self, subject: &Subject<'_>) -> impl Iterator<Item = &Arc<Update>> + use<'_> {
        self.ordered.starting_at(Bound::Excluded(subject))
    }

    /// All updates about one key, its head first.
    pub(crate) fn of_key<'a, 'k>(&'a self, key: &'k [u8]) -> impl Iterator<Item = &'a Arc<Update>> + use<'a, 'k> {
        let parts =
            self.has_parts(key).then(|| self.starting_at(key).take_while(move |held| held.subject().key == key));
        let alone = if parts.is_none() { self.head(key) } else { None };
        alone.into_iter().chain(parts.into_iter().flatten())
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = Fold::default();
    key.hash(&mut hasher);
    hasher.finish()
}
