//! A whole node written and read: where recordings begin.
//!
//! What it consists of is written by what `serde` derives, so that no field can be forgotten; what follows from other fields, or is
//! shared among them, is made again.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Node;

/// A node between two inputs, as something that can be written.
#[derive(Debug)]
pub struct Snapshot<'a>(&'a Node);

impl Serialize for Snapshot<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Node::serialize(self.0, to)
    }
}

/// A node that was read, in a new process: it goes on as the one that was written would have.
#[derive(Debug)]
pub struct Restored(pub Node);

impl<'de> Deserialize<'de> for Restored {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut node = Node::deserialize(from)?;
        node.data.relink();
        node.writing.relink(node.data.shelf());
        Ok(Self(node))
    }
}

impl Node {
    /// This node as something that can be written. It holds what the node knows of its cluster, and the secret of the ids of updates;
    /// the node does not have other keys.
    ///
    /// # Panics
    /// If outputs of the last input are still waiting.
    pub fn snapshot(&self) -> Snapshot<'_> {
        assert!(self.fx.outputs.is_empty(), "a node is written between two inputs");
        Snapshot(self)
    }
}
