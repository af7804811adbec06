//! What an application asks to have written, and what it is told.

use std::time::Duration;

use super::entry::{Entry, Revision, Summary, Value};
use crate::time::Seconds;

/// One change to one key.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Write {
    /// 1 to 512 bytes.
    pub key: String,
    /// What to do.
    pub edit: Edit,
    /// Only if this holds, on this node.
    pub condition: Condition,
}

impl Write {
    /// A write without a condition.
    pub fn new(key: impl Into<String>, edit: Edit) -> Self {
        Self { key: key.into(), edit, condition: Condition::None }
    }

    /// Makes a key hold again what it held when it was read, and nothing else.
    pub fn restore(entry: Entry) -> Self {
        let Entry { key, value, expires, .. } = entry;
        Self::new(key, Edit::Restore { value, expires })
    }
}

/// What is to be done to a key.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Edit {
    /// Give a register a value.
    Put {
        /// Up to `value_bytes_max`.
        value: Vec<u8>,
        /// How long it is served, to the second, rounded up; for ever if there is none.
        ttl: Option<Duration>,
    },
    /// Delete what this node sees of the key, of whatever kind. What others write at the same time stays.
    Delete,
    /// Add to a counter, which is made if there is none.
    Add {
        /// How much; may be negative.
        amount: i64,
    },
    /// Add an element to a set, which is made if there is none.
    Insert {
        /// 1 to 512 bytes.
        element: Vec<u8>,
    },
    /// Take an element out of a set.
    RemoveElement {
        /// 1 to 512 bytes.
        element: Vec<u8>,
    },
    /// Make the key hold this value and no other, as an import does.
    Restore {
        /// What it is to hold.
        value: Value,
        /// When the value of a register runs out; one that has already is left out.
        expires: Option<Seconds>,
    },
}

/// What must hold, on this node, for a write to be made. Other nodes are not asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The key holds nothing.
    Absent,
    /// The key is at this revision.
    Revision(Revision),
}

/// A write was made: it is durable here, unless nothing is on this node.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Written {
    /// What the last key that was written holds now, as this node sees it.
    pub holds: Option<Summary>,
    /// Whether it outlives this process.
    pub durable: bool,
    /// How many other nodes have confirmed that they hold it as durably as this one: where nothing is durable on this
    /// node, memory counts.
    pub replicas: usize,
    /// How many others have confirmed that they hold it, in memory only, having no disk.
    pub in_memory: usize,
    /// How many were asked for. Where fewer confirmed, the time was over; it goes on spreading.
    pub wanted: usize,
}
