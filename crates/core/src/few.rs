//! A map for few entries: a sorted array, which takes memory only while something is in it.
//!
//! A node with a partial view has many maps that hold one entry or none, and a `BTreeMap` makes room for eleven with the
//! first and keeps it when the last is gone. Beyond some thousands of entries that come in no order this is the wrong map.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

/// Values by key, in the order of the keys.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Few<K, V> {
    entries: VecDeque<(K, V)>,
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Few<K, V> {
    pub(crate) const fn new() -> Self {
        Self { entries: VecDeque::new() }
    }
}

impl<K: Ord, V> Few<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, key: &K) -> Result<usize, usize> {
        // What comes in order, as messages do, goes behind all others.
        if self.entries.back().is_none_or(|(last, _)| last < key) {
            return Err(self.entries.len());
        }
        self.entries.binary_search_by(|(own, _)| own.cmp(key))
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.find(key).ok().map(|place| &self.entries[place].1)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).ok().map(|place| &mut self.entries[place].1)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    /// Puts a value under a key; returns what was there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(place) => Some(std::mem::replace(&mut self.entries[place].1, value)),
            Err(place) => {
                self.put(place, key, value);
                None
            }
        }
    }

    /// What is under a key, put there if nothing was.
    pub(crate) fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let place = match self.find(&key) {
            Ok(place) => place,
            Err(place) => {
                self.put(place, key, V::default());
                place
            }
        };
        &mut self.entries[place].1
    }

    fn put(&mut self, place: usize, key: K, value: V) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact((self.entries.len() / 2).max(1));
        }
        self.entries.insert(place, (key, value));
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.find(key).ok()?;
        let taken = self.entries.remove(place);
        self.release();
        taken.map(|(_, value)| value)
    }

    /// Takes out the entry of the lowest key.
    pub(crate) fn pop_first(&mut self) -> Option<(K, V)> {
        let first = self.entries.pop_front();
        self.release();
        first
    }

    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|(key, value)| stays(key, value));
        self.release();
    }

    fn release(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// The value of the highest key.
    pub(crate) fn last(&self) -> Option<&V> {
        self.entries.back().map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// The entries whose keys lie in a range that does not end before it begins.
    pub(crate) fn range(&self, range: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &V)> {
        let behind = |key: &K| self.entries.partition_point(|(own, _)| own <= key);
        let before = |key: &K| self.entries.partition_point(|(own, _)| own < key);
        let from = match range.start_bound() {
            Bound::Included(key) => before(key),
            Bound::Excluded(key) => behind(key),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(key) => behind(key),
            Bound::Excluded(key) => before(key),
            Bound::Unbounded => self.entries.len(),
        };
        self.entries.range(from..to).map(|(key, value)| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_large_map_and_takes_nothing_while_empty(
            steps in proptest::collection::vec((0_u8..6, 0_u8..12, any::<u8>()), 1..120)
        ) {
            let (mut few, mut model) = (Few::default(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 => prop_assert_eq!(few.remove(&key), model.remove(&key)),
                    1 => prop_assert_eq!(few.pop_first(), model.pop_first()),
                    2 => prop_assert_eq!(*few.get_or_default(key), *model.entry(key).or_default()),
                    3 => {
                        few.retain(|own, _| own % 3 != key % 3);
                        model.retain(|own, _| own % 3 != key % 3);
                    }
                    _ => prop_assert_eq!(few.insert(key, value), model.insert(key, value)),
                }
                prop_assert!(few.iter().eq(model.iter()));
                prop_assert_eq!(few.get(&key), model.get(&key));
                let (low, high) = (key.min(value % 12), key.max(value % 12));
                prop_assert!(few.range(low..=high).eq(model.range(low..=high)));
                prop_assert!(few.range((Bound::Excluded(low), Bound::Unbounded))
                    .eq(model.range((Bound::Excluded(low), Bound::Unbounded))));
                prop_assert!(few.range(..high).eq(model.range(..high)));
                prop_assert!(!few.is_empty() || few.entries.capacity() == 0);
            }
        }
    }
}
