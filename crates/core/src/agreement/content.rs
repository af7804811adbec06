//! What a register holds, and how operations change it.

use std::collections::VecDeque;
use std::sync::Arc;

/// The bytes of a register, shared by all votes that hold them.
pub type Value = Arc<[u8]>;

/// The largest value of a register.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// So many of the last operations are known by id in each content: a proposer that was overtaken finds its own there unless
/// more have gone by (decision 0014).
pub const APPLIED_MAX: usize = 16;

/// Versions end here, so that the next one always is a number.
pub(super) const VERSION_MAX: u64 = 1 << 56;

/// What an operation is known by, in contents and between nodes: random, so that no two of a register have the same.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct OperationId(pub u64);

/// What a register holds.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Content {
    /// How many operations have changed it.
    pub version: u64,
    /// Nothing before the first operation and after a deletion.
    pub value: Option<Value>,
    /// Which operations made the last versions, the present one last.
    pub applied: VecDeque<OperationId>,
}

/// What a register must hold for an operation to change it.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Expected {
    /// Anything, or nothing.
    Anything,
    /// Nothing.
    Absent,
    /// This value.
    Value(Value),
    /// What that version left there.
    Version(u64),
}

impl Expected {
    fn is_met_by(&self, content: &Content) -> bool {
        match self {
            Self::Anything => true,
            Self::Absent => content.value.is_none(),
            Self::Value(value) => content.value.as_ref() == Some(value),
            Self::Version(version) => content.version == *version,
        }
    }
}

/// What an operation does.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Change {
    /// Nothing: it reads.
    Read,
    /// It gives the register a value, or takes it away, if the register holds what is expected.
    Swap {
        /// What must be there.
        expected: Expected,
        /// What is there afterwards; `None` deletes.
        value: Option<Value>,
    },
}

impl Change {
    /// One that sets a value, whatever was there.
    pub const fn set(value: Value) -> Self {
        Self::Swap { expected: Expected::Anything, value: Some(value) }
    }
}

impl Content {
    /// Which version that operation made, if it is one of the last.
    pub fn version_of(&self, id: OperationId) -> Option<u64> {
        let from_last = self.applied.iter().rev().position(|applied| *applied == id)?;
        self.version.checked_sub(from_last as u64)
    }

    /// Whether any operation that was applied after `base` would be found in it.
    pub const fn remembers_since(&self, base: u64) -> bool {
        base <= self.version && self.version - base <= APPLIED_MAX as u64
    }

    /// Applies a change; whether it was as expected. A read always is.
    pub fn apply(&mut self, id: OperationId, change: &Change) -> bool {
        let Change::Swap { expected, value } = change else { return true };
        if !expected.is_met_by(self) {
            return false;
        }
        // Nobody counts so far but a liar, whose registers stay there.
        self.version = (self.version + 1).min(VERSION_MAX);
        self.value.clone_from(value);
        if self.applied.len() == APPLIED_MAX {
            self.applied.pop_front();
        }
        self.applied.push_back(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        text.as_bytes().into()
    }

    fn cas(expected: Expected, new: &str) -> Change {
        Change::Swap { expected, value: Some(value(new)) }
    }

    #[test]
    fn a_change_that_finds_something_else_changes_nothing() {
        let mut content = Content::default();
        assert!(content.apply(OperationId(1), &cas(Expected::Absent, "a")));
        let before = content.clone();
        for expected in [Expected::Absent, Expected::Value(value("b")), Expected::Version(0)] {
            assert!(!content.apply(OperationId(2), &cas(expected, "c")));
        }
        assert_eq!(content, before);
        assert!(content.apply(OperationId(2), &cas(Expected::Value(value("a")), "b")));
        assert!(content.apply(OperationId(3), &cas(Expected::Version(2), "c")));
        assert_eq!((content.version, content.value), (3, Some(value("c"))));
    }

    #[test]
    fn a_deletion_leaves_no_value_and_counts_as_a_version() {
        let mut content = Content::default();
        content.apply(OperationId(1), &Change::set(value("a")));
        content.apply(OperationId(2), &Change::Swap { expected: Expected::Anything, value: None });
        assert_eq!((content.version, content.value), (2, None));
    }

    #[test]
    fn the_last_sixteen_operations_are_found_with_the_versions_that_they_made() {
        let mut content = Content::default();
        for id in 1..=20 {
            content.apply(OperationId(id), &Change::set(value("a")));
            content.apply(OperationId(100 + id), &Change::Read);
        }
        for id in 1..=20 {
            let expected = (id > 4).then_some(id);
            assert_eq!(content.version_of(OperationId(id)), expected);
            assert_eq!(content.version_of(OperationId(100 + id)), None, "a read leaves nothing behind");
        }
        assert!(content.remembers_since(4) && !content.remembers_since(3));
        assert!(!content.remembers_since(21), "it is another content's version");
    }
}
