//! What happens when: a priority queue over virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Who comes first of those that are due in one microsecond: the core's contract asks for input before a timeout.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Turn {
    /// Something that a node takes as input.
    Input,
    /// The deadline of a node.
    Timeout,
}

/// Things to come in the order of (time, turn, insertion). The keys are sorted apart from the things, which stay
/// where they are, so that a swap inside the heap moves 16 bytes and a comparison is one of numbers.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Key>>,
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    inserted: u64,
}

/// Time, turn, number of the insertion and slot, from the highest bit down: 64, 1, 39 and 24 bits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key(u128);

impl Key {
    const SLOT_BITS: u32 = 24;
    const INSERTED_BITS: u32 = 39;

    fn new(at: u64, turn: Turn, inserted: u64, slot: usize) -> Self {
        assert!(slot < 1 << Self::SLOT_BITS, "fewer than 16 million things wait");
        assert!(inserted < 1 << Self::INSERTED_BITS, "fewer than 500 billion things were ever put in");
        let low = (turn as u64) << 63 | inserted << Self::SLOT_BITS | slot as u64;
        Self(u128::from(at) << 64 | u128::from(low))
    }

    const fn at(self) -> u64 {
        (self.0 >> 64) as u64
    }

    const fn slot(self) -> usize {
        (self.0 & ((1 << Self::SLOT_BITS) - 1)) as usize
    }
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), inserted: 0 }
    }

    /// Adds a thing that is due `at` a virtual microsecond.
    pub(crate) fn push(&mut self, at: u64, turn: Turn, thing: T) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(thing);
        self.inserted += 1;
        self.heap.push(Reverse(Key::new(at, turn, self.inserted, slot)));
    }

    /// When the next thing is due.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(key)| key.at())
    }

    /// Takes the next thing and the time at which it is due.
    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse(key) = self.heap.pop()?;
        self.free.push(key.slot());
        let thing = self.slots[key.slot()].take().expect("a key belongs to one full slot");
        Some((key.at(), thing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_comes_before_a_timeout_of_the_same_instant_and_otherwise_in_order_of_insertion() {
        let mut queue = Queue::new();
        queue.push(5, Turn::Timeout, "timeout");
        queue.push(5, Turn::Input, "first");
        queue.push(5, Turn::Input, "second");
        queue.push(4, Turn::Timeout, "earlier");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [(4, "earlier"), (5, "first"), (5, "second"), (5, "timeout")]);
    }

    #[test]
    fn slots_are_used_again() {
        let mut queue = Queue::new();
        for at in 0..1_000 {
            queue.push(at, Turn::Input, at);
            assert_eq!(queue.pop(), Some((at, at)));
        }
        assert_eq!(queue.slots.len(), 1);
    }
}
