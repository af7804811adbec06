//! An index from hashes to slots of a dense table: four bytes an entry, keys stay in the table.
//!
//! Open addressing with linear probing and backward-shift deletion (Knuth 6.4, algorithm R), at most four fifths
//! full. Several slots may share a hash. A node keeps three of these over ten thousand members, so their size
//! counts: a `HashMap` would take four times the bytes.

/// A place in a dense table.
pub(crate) type Slot = u32;

const FREE: Slot = Slot::MAX;

/// Finds slots by hash; the owner of the table tells whether a candidate is the one.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct SlotIndex {
    /// A power of two of places, or none.
    places: Vec<Slot>,
    used: usize,
}

impl SlotIndex {
    /// The slots that may have this hash; the caller compares keys.
    pub(crate) fn candidates(&self, hash: u64) -> impl Iterator<Item = Slot> + '_ {
        let start = self.home(hash);
        let len = self.places.len();
        (0..len).map(move |step| self.places[(start + step) & (len - 1)]).take_while(|slot| *slot != FREE)
    }

    /// Adds a slot; `hash_of` gives the hash of each slot that is in the index.
    pub(crate) fn insert(&mut self, hash: u64, slot: Slot, hash_of: impl Fn(Slot) -> u64) {
        assert_ne!(slot, FREE, "the last slot number marks free places");
        if (self.used + 1) * 5 > self.places.len() * 4 {
            self.grow(hash_of);
        }
        self.place(hash, slot);
        self.used += 1;
    }

    /// Removes a slot that is in the index.
    pub(crate) fn remove(&mut self, hash: u64, slot: Slot, hash_of: impl Fn(Slot) -> u64) {
        let mask = self.places.len() - 1;
        let mut hole = self.find(hash, slot);
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let moved = self.places[next];
            if moved == FREE {
                break;
            }
            // An entry may fill the hole unless its home lies behind the hole, cyclically.
            let home = self.home(hash_of(moved));
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.places[hole] = moved;
                hole = next;
            }
        }
        self.places[hole] = FREE;
        self.used -= 1;
    }

    /// The table moved an entry from slot `from` to slot `to`.
    pub(crate) fn moved(&mut self, hash: u64, from: Slot, to: Slot) {
        let place = self.find(hash, from);
        self.places[place] = to;
    }

    fn home(&self, hash: u64) -> usize {
        // The multiplication spreads hashes that differ in a few bits only, such as small ids in tests.
        let spread = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        spread as usize & self.places.len().wrapping_sub(1)
    }

    fn find(&self, hash: u64, slot: Slot) -> usize {
        let mask = self.places.len() - 1;
        let mut place = self.home(hash);
        while self.places[place] != slot {
            assert_ne!(self.places[place], FREE, "the slot is in the index");
            place = (place + 1) & mask;
        }
        place
    }

    fn place(&mut self, hash: u64, slot: Slot) {
        let mask = self.places.len() - 1;
        let mut place = self.home(hash);
        while self.places[place] != FREE {
            place = (place + 1) & mask;
        }
        self.places[place] = slot;
    }

    fn grow(&mut self, hash_of: impl Fn(Slot) -> u64) {
        let larger = (self.places.len() * 2).max(8);
        let mut old = std::mem::replace(&mut self.places, vec![FREE; larger]);
        old.retain(|slot| *slot != FREE);
        // In the order of the table, whose entries are read for it: any other order misses the caches.
        old.sort_unstable();
        for slot in old {
            self.place(hash_of(slot), slot);
        }
    }
}

/// Makes room for one more entry, or a sixteenth more: a table of ten thousand must not reserve twice its size, nor one
/// of a few entries.
pub(crate) fn reserve_one<T>(table: &mut Vec<T>) {
    if table.len() == table.capacity() {
        table.reserve_exact((table.len() / 16).max(1));
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "tables of a few hundred entries")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_plain_list_under_any_inserts_removes_and_moves(
            steps in proptest::collection::vec((0_u64..40, any::<bool>()), 1..300)
        ) {
            // The table: hash by slot. Hashes repeat on purpose.
            let mut table: Vec<u64> = Vec::new();
            let mut index = SlotIndex::default();
            for (hash, insert) in steps {
                if insert || table.is_empty() {
                    table.push(hash);
                    index.insert(hash, table.len() as Slot - 1, |slot| table[slot as usize]);
                } else {
                    let slot = hash as usize % table.len();
                    index.remove(table[slot], slot as Slot, |slot| table[slot as usize]);
                    let last = table.len() - 1;
                    if slot != last {
                        index.moved(table[last], last as Slot, slot as Slot);
                    }
                    table.swap_remove(slot);
                }
                for (slot, hash) in table.iter().enumerate() {
                    prop_assert!(index.candidates(*hash).any(|found| found == slot as Slot));
                }
                prop_assert_eq!(index.used, table.len());
            }
        }
    }
}
