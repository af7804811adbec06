//! Updates in the order of their subjects, in sorted blocks of a few hundred.
//!
//! A comparison reads two updates, each somewhere else in memory, so what counts is how few there are: both among the
//! blocks and within one the search halves, and what comes in order, as a database on its way to a new node does, is put
//! behind what came last after two comparisons. A block is an array of pointers and, filled in order, a full one.

use std::ops::Bound;
use std::sync::Arc;

use crate::datum::Subject;
use crate::update::Update;

/// Updates of one block at most.
const BLOCK: usize = 256;

/// Where an update is, or would be: in which block, and at which place there.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    block: usize,
    at: usize,
}

/// One update for each subject, in order.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    /// None is empty, none has more than [`BLOCK`].
    blocks: Vec<Vec<Arc<Update>>>,
    len: usize,
    /// Where the last one was put; by now something else may be there.
    last: Place,
}

impl Ordered {
    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new(), len: 0, last: Place { block: 0, at: 0 } }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, subject: &Subject<'_>) -> Option<&Arc<Update>> {
        self.find(subject).ok().map(|place| &self.blocks[place.block][place.at])
    }

    /// Puts an update into its place; returns what was there.
    pub(crate) fn replace(&mut self, update: Arc<Update>) -> Option<Arc<Update>> {
        let place = {
            let subject = update.subject();
            self.behind_last(&subject).map_or_else(|| self.find(&subject), Err)
        };
        match place {
            Ok(place) => Some(std::mem::replace(&mut self.blocks[place.block][place.at], update)),
            Err(place) => {
                self.insert(place, update);
                None
            }
        }
    }

    /// Takes one out.
    pub(crate) fn take(&mut self, subject: &Subject<'_>) -> Option<Arc<Update>> {
        let Place { block, at } = self.find(subject).ok()?;
        let taken = self.blocks[block].remove(at);
        self.len -= 1;
        if self.blocks[block].is_empty() {
            self.blocks.remove(block);
        } else {
            self.merge(block);
            self.merge(block.wrapping_sub(1));
        }
        Some(taken)
    }

    /// Everything, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Update>> + use<'_> {
        self.blocks.iter().flatten()
    }

    /// Everything from there on.
    pub(crate) fn starting_at(&self, start: Bound<&Subject<'_>>) -> impl Iterator<Item = &Arc<Update>> + use<'_> {
        let place = match start {
            Bound::Unbounded => Place::default(),
            Bound::Included(subject) => self.find(subject).unwrap_or_else(|place| place),
            Bound::Excluded(subject) => {
                self.find(subject).map_or_else(|place| place, |Place { block, at }| Place { block, at: at + 1 })
            }
        };
        self.blocks.iter().skip(place.block).flatten().skip(place.at)
    }

    /// Where a subject is, or where it would be.
    fn find(&self, subject: &Subject<'_>) -> Result<Place, Place> {
        let block = self.blocks.partition_point(|block| block[0].subject() <= *subject).saturating_sub(1);
        let Some(updates) = self.blocks.get(block) else { return Err(Place::default()) };
        let found = updates.binary_search_by(|held| held.subject().cmp(subject));
        found.map(|at| Place { block, at }).map_err(|at| Place { block, at })
    }

    /// The place behind what was put in last, if the subject belongs there.
    fn behind_last(&self, subject: &Subject<'_>) -> Option<Place> {
        let Place { block, at } = self.last;
        let updates = self.blocks.get(block)?;
        if updates.get(at)?.subject() >= *subject {
            return None;
        }
        let next = updates.get(at + 1).or_else(|| self.blocks.get(block + 1)?.first());
        next.is_none_or(|next| *subject < next.subject()).then_some(Place { block, at: at + 1 })
    }

    fn insert(&mut self, Place { mut block, mut at }: Place, update: Arc<Update>) {
        if self.blocks.is_empty() {
            self.blocks.push(Vec::new());
        }
        if at == BLOCK && self.blocks.get(block + 1).is_some_and(|next| next.len() < BLOCK) {
            // Behind a full block, also of what comes in falling order.
            (block, at) = (block + 1, 0);
        }
        if self.blocks[block].len() == BLOCK {
            // What comes in order leaves full blocks behind.
            let kept = if at == BLOCK { BLOCK } else { BLOCK / 2 };
            let rest = self.blocks[block].split_off(kept);
            self.blocks.insert(block + 1, rest);
            if at >= kept {
                (block, at) = (block + 1, at - kept);
            }
        }
        self.blocks[block].insert(at, update);
        self.last = Place { block, at };
        self.len += 1;
    }

    /// Puts two neighbouring blocks together if what they hold fits half of one.
    fn merge(&mut self, block: usize) {
        let Some([left, right]) = self.blocks.get_mut(block..).and_then(<[_]>::first_chunk_mut) else { return };
        if left.len() + right.len() <= BLOCK / 2 {
            left.append(right);
            self.blocks.remove(block + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Stamp;
    use crate::datum::{Datum, Kind, Statement, Version};
    use crate::identity::NodeId;
    use crate::time::Seconds;
    use crate::update::{UpdateRef, data_bytes};

    fn update(key: u32, value: u32) -> Arc<Update> {
        let key = format!("{key:03}");
        let version = Version { stamp: Stamp(1), author: NodeId(1) };
        let statement = Statement::Head { version, kind: Kind::Register, is_deleted: false };
        let datum = Datum { subject: Subject::head(key.as_bytes()), statement };
        let bytes = data_bytes(&datum, Seconds::NEVER, Seconds::NEVER, &value.to_le_bytes());
        Arc::new(Update::new(&UpdateRef::read(&bytes).unwrap(), &[0; 16]))
    }

    fn number(update: &Update) -> u32 {
        std::str::from_utf8(update.subject().key).unwrap().parse().unwrap()
    }

    /// What somebody does to it.
    #[derive(Clone, Debug)]
    enum Step {
        Put(u32, u32),
        /// So many, one behind the other.
        PutRow(u32, u32),
        Remove(u32),
        RemoveRow(u32, u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..999_u32, any::<u32>()).prop_map(|(key, value)| Step::Put(key, value)),
            (0..999_u32, 1..600_u32).prop_map(|(key, count)| Step::PutRow(key, count)),
            (0..999_u32).prop_map(Step::Remove),
            (0..999_u32, 1..600_u32).prop_map(|(key, count)| Step::RemoveRow(key, count)),
        ];
        proptest::collection::vec(step, 1..40)
    }

    proptest! {
        #[test]
        fn it_is_what_a_map_of_the_standard_library_is(steps in steps(), start in 0..999_u32) {
            let (mut ordered, mut map) = (Ordered::default(), BTreeMap::new());
            let subject_of = |key: u32| format!("{key:03}");
            for step in steps {
                let (keys, value) = match step {
                    Step::Put(key, value) => (key..=key, Some(value)),
                    Step::PutRow(key, count) => (key..=(key + count).min(999), Some(count)),
                    Step::Remove(key) => (key..=key, None),
                    Step::RemoveRow(key, count) => (key..=(key + count).min(999), None),
                };
                for key in keys {
                    let text = subject_of(key);
                    if let Some(value) = value {
                        let new = update(key, value);
                        let before = ordered.replace(Arc::clone(&new)).map(|old| old.id);
                        prop_assert_eq!(before, map.insert(key, new.id));
                    } else {
                        let taken = ordered.take(&Subject::head(text.as_bytes()));
                        prop_assert_eq!(taken.map(|taken| taken.id), map.remove(&key));
                    }
                }
                prop_assert!(ordered.blocks.iter().all(|block| (1..=BLOCK).contains(&block.len())));
            }
            prop_assert_eq!(ordered.len(), map.len());
            prop_assert!(ordered.iter().map(|held| (number(held), held.id)).eq(map.clone()));
            let text = subject_of(start);
            let subject = Subject::head(text.as_bytes());
            prop_assert_eq!(ordered.get(&subject).map(|held| held.id), map.get(&start).copied());
            let after = ordered.starting_at(Bound::Included(&subject)).map(|held| number(held));
            prop_assert!(after.eq(map.range(start..).map(|(key, _)| *key)));
            let after = ordered.starting_at(Bound::Excluded(&subject)).map(|held| number(held));
            prop_assert!(after.eq(map.range(start + 1..).map(|(key, _)| *key)));
        }
    }

    #[test]
    fn blocks_filled_in_order_are_full_and_those_emptied_are_put_together() {
        let mut ordered = Ordered::default();
        for key in 0..1_000 {
            ordered.replace(update(key, 0));
        }
        let lengths: Vec<usize> = ordered.blocks.iter().map(Vec::len).collect();
        assert_eq!(lengths, [BLOCK, BLOCK, BLOCK, 1_000 - 3 * BLOCK]);
        for key in (0..1_000).filter(|key| key % 20 > 0) {
            ordered.take(&Subject::head(format!("{key:03}").as_bytes()));
        }
        assert_eq!(ordered.len(), 50);
        assert_eq!(ordered.blocks.len(), 1);
    }

    #[test]
    fn what_comes_in_falling_order_behind_a_full_block_fills_blocks_too() {
        let mut ordered = Ordered::default();
        for key in (0..256).chain((256..1_000).rev()) {
            ordered.replace(update(key, 0));
        }
        assert_eq!(ordered.blocks.len(), 4);
    }
}
