//! The one hash map of the core: a fixed hasher, and nothing that depends on its order.
#![expect(clippy::disallowed_types, reason = "these are the aliases behind which hash tables are allowed")]

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A hash map for keys that are random already, such as ids. **Never iterated** where the order could be seen.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fold>>;

/// The set of the same kind; likewise never iterated where the order could be seen.
pub(crate) type Set<K> = HashSet<K, BuildHasherDefault<Fold>>;

/// Folds words by multiplication (as rustc's `FxHash` does): keys here are hashes or small numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_isize(&mut self, word: isize) {
        // The place of a variant in an enum.
        self.write_u64(word.cast_unsigned() as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0xf135_7aea_2e62_a9c5);
    }
}
