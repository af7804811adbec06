//! A whole node written and read: where recordings begin.
//!
//! What it consists of is written by what `serde` derives, so that no field can be forgotten; what follows from other fields, or is
//! shared among them, is made again.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Node;
use crate::credentials::Signatures;

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
    /// other keys are behind its [`Signatures`], which are not written.
    ///
    /// # Panics
    /// If outputs of the last input are still waiting.
    pub fn snapshot(&self) -> Snapshot<'_> {
        assert!(self.fx.outputs.is_empty(), "a node is written between two inputs");
        Snapshot(self)
    }

    /// Gives a node that was read what it signs and checks with, where it does; it has nothing of that kind before.
    pub fn sign_with(&mut self, signatures: Arc<dyn Signatures>) {
        if let Some(verifier) = &mut self.verifier {
            verifier.signer.signatures = signatures;
            self.data.sign_with(verifier.signer.clone());
        }
    }
}
