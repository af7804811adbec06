//! What the parts of a key add up to: kept as one comes and another goes, where there are many.

use crate::datum::{Kind, Part, Statement, Sums};
use crate::hash;
use crate::identity::NodeId;
use crate::update::Update;

/// Tells what an author contributes; no secret, as nothing is hidden by it.
const MARK_KEY: &[u8; 16] = b"rumormill-counts";

/// The parts of one key, without its head.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Parts {
    /// How many there are, tombstones included.
    count: usize,
    /// Authors of whose sums something is left.
    authors: usize,
    counter: i128,
    elements: usize,
    /// By which two states of what is left are told apart: of the sums, and of the elements.
    marks: [u64; 2],
}

impl Parts {
    /// What these updates about one key add up to.
    pub(crate) fn of<'a>(updates: impl Iterator<Item = &'a Update>) -> Self {
        let mut parts = Self::default();
        updates.for_each(|update| parts.put(update));
        parts
    }

    /// How many parts there are, tombstones included.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// One came.
    pub(crate) fn put(&mut self, update: &Update) {
        #[cfg(test)]
        LOOKED_AT.with(|count| count.set(count.get() + 1));
        let datum = update.datum();
        if datum.subject.part == Part::Head {
            return;
        }
        self.count += 1;
        if datum.is_tombstone() {
            return;
        }
        if let Statement::Sums(sums) = datum.statement {
            self.authors += 1;
            self.counter += sums.value();
            self.marks[0] ^= mark(datum.author(), &sums);
        } else {
            self.elements += 1;
            self.marks[1] ^= update.id.0;
        }
    }

    /// One that had come went.
    pub(crate) fn take(&mut self, update: &Update) {
        let gone = Self::of(std::iter::once(update));
        self.count -= gone.count;
        self.authors -= gone.authors;
        self.counter -= gone.counter;
        self.elements -= gone.elements;
        self.marks = [self.marks[0] ^ gone.marks[0], self.marks[1] ^ gone.marks[1]];
    }

    /// Whether something of that kind is left.
    pub(crate) const fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Register => false,
            Kind::Counter => self.authors > 0,
            Kind::Set => self.elements > 0,
        }
    }

    /// What all authors added, and was not deleted.
    pub(crate) const fn counter(&self) -> i128 {
        self.counter
    }

    /// Another one whenever what is left of that kind is.
    pub(crate) const fn mark(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Register => 0,
            Kind::Counter => self.marks[0],
            Kind::Set => self.marks[1],
        }
    }
}

/// What an author contributes. Until when a deletion is remembered is no part of it: a join that changes no more than that is
/// nothing that a reader sees.
fn mark(author: NodeId, Sums { added, cleared, epoch, .. }: &Sums) -> u64 {
    let words = [author.0, added.plus, added.minus, cleared.plus, cleared.minus, epoch.0];
    hash::keyed(MARK_KEY, words.map(u64::to_le_bytes).as_flattened())
}

#[cfg(test)]
thread_local! {
    static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many updates this thread has added up so far.
#[cfg(test)]
pub(crate) fn looked_at() -> usize {
    LOOKED_AT.with(std::cell::Cell::get)
}
