//! A node's disk: what is durable, what is under way, and what a crash leaves.

use std::collections::{BTreeMap, VecDeque};

use rumormill_core::io::Token;
use rumormill_core::rng::Rng;
use rumormill_core::{Record, Stored};

/// Why writes fail where they do.
pub(super) const FAILURE: &str = "no space left on device";

/// Records by key, and the groups that were asked for and not yet answered, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    waiting: VecDeque<(Token, Vec<Record>)>,
    /// When the last group under way will be done: groups complete in order.
    done_at: u64,
    failing: bool,
    /// There is none: nothing outlives the process.
    missing: bool,
}

impl Disk {
    /// Takes a group of records; returns when it will be done if a write alone takes `delay`.
    pub(crate) fn write(&mut self, now: u64, delay: u64, token: Token, records: Vec<Record>) -> u64 {
        self.waiting.push_back((token, records));
        self.done_at = self.done_at.max(now + delay);
        self.done_at
    }

    /// Completes the oldest group; whether it is durable now.
    pub(crate) fn complete(&mut self) -> Option<(Token, bool)> {
        let (token, records) = self.waiting.pop_front()?;
        if self.failing {
            return Some((token, false));
        }
        self.apply(records);
        Some((token, true))
    }

    /// The process or the machine dies. Of the groups that were under way a random number, the oldest ones, had
    /// reached the disk although nobody was told so.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        let reached = rng.below(self.waiting.len() + 1);
        for (_, records) in std::mem::take(&mut self.waiting).into_iter().take(reached) {
            if !self.failing {
                self.apply(records);
            }
        }
        self.done_at = 0;
    }

    /// From now on writes fail, or work again.
    pub(crate) fn set_failing(&mut self, failing: bool) {
        self.failing = failing;
    }

    /// A machine without one.
    pub(crate) fn missing() -> Self {
        Self { missing: true, ..Self::default() }
    }

    /// Another one in its place, with nothing on it.
    pub(crate) fn emptied(&self) -> Self {
        Self { missing: self.missing, ..Self::default() }
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.missing
    }

    /// The disk without what is under way.
    pub(crate) fn image(&self) -> Self {
        Self { records: self.records.clone(), ..self.emptied() }
    }

    /// How many records of data there are.
    pub(crate) fn data_records(&self) -> usize {
        self.records.keys().filter(|key| key.starts_with(b"data/")).count()
    }

    /// What a new life of the node finds.
    pub(crate) fn stored(&self) -> Stored {
        Stored::from_records(self.records.iter().map(|(key, value)| (key.as_slice(), value.as_slice())))
    }

    fn apply(&mut self, records: Vec<Record>) {
        for Record { key, value } in records {
            match value {
                Some(value) => self.records.insert(key, value),
                None => self.records.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &[u8]) -> Vec<Record> {
        vec![Record { key: key.to_vec(), value: Some(vec![1]) }]
    }

    #[test]
    fn groups_complete_in_order_even_if_a_later_one_is_faster() {
        let mut disk = Disk::default();
        let slow = disk.write(0, 100, Token(1), record(b"a"));
        let fast = disk.write(1, 5, Token(2), record(b"b"));
        assert!(fast >= slow);
        assert_eq!(disk.complete(), Some((Token(1), true)));
        assert_eq!(disk.complete(), Some((Token(2), true)));
        assert_eq!(disk.complete(), None);
    }

    #[test]
    fn a_crash_keeps_what_was_completed_and_at_most_a_first_part_of_the_rest() {
        let mut kept_nothing = false;
        let mut kept_something = false;
        for seed in 0..32 {
            let mut disk = Disk::default();
            disk.write(0, 1, Token(1), record(b"a"));
            disk.complete();
            disk.write(2, 1, Token(2), record(b"b"));
            disk.write(2, 1, Token(3), record(b"c"));
            disk.crash(&mut Rng::new(seed));
            let kept: Vec<_> = disk.records.keys().map(Vec::as_slice).collect();
            assert!([b"a".as_slice(), b"b", b"c"].starts_with(&kept) && !kept.is_empty(), "{kept:?}");
            kept_nothing |= kept.len() == 1;
            kept_something |= kept.len() == 3;
            assert_eq!(disk.complete(), None);
        }
        assert!(kept_nothing && kept_something);
    }

    #[test]
    fn a_failing_disk_changes_nothing_and_says_so() {
        let mut disk = Disk::default();
        disk.set_failing(true);
        disk.write(0, 1, Token(1), record(b"a"));
        assert_eq!(disk.complete(), Some((Token(1), false)));
        assert!(disk.records.is_empty());
    }
}
