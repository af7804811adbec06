//! Recordings of virtual nodes, as the flight recorder makes them of real ones, to be run again by [`recording`](crate::recording).

use std::sync::Arc;

use rumormill_core::recording::{Fingerprint, Heading, Kind, Notes};
use rumormill_core::{Input, Node, Now, Output, Signatures};
use serde::Serialize;

use super::Network;

/// What happens to a node, from a snapshot on. It is never full.
#[derive(Debug)]
pub(crate) struct Tape {
    heading: Heading,
    bytes: Vec<u8>,
    /// What happens to a later life of the process is not on it.
    life: u64,
    /// The step that the node is in.
    step: Vec<u8>,
    outputs: Fingerprint,
    notes: Arc<Notes>,
}

impl Tape {
    fn begin(node: &mut Node, life: u64, signatures: Option<Arc<dyn Signatures>>) -> Self {
        let notes = Arc::new(Notes::default());
        if let Some(signatures) = signatures {
            node.sign_with(notes.of(signatures));
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let heading = Heading { version, half_bytes: u64::MAX, number: 1, steps: 0 };
        let bytes = [heading.to_bytes(), heading.part(Kind::Birth, &encoded(&node.snapshot()))].concat();
        Self { heading, bytes, life, step: Vec::new(), outputs: Fingerprint::default(), notes }
    }

    pub(crate) fn on_input(&mut self, life: u64, at: Now, input: &Input<'_>) {
        if life == self.life {
            self.step = encoded(&(at, input));
        }
    }

    pub(crate) fn on_output(&mut self, output: &Output) {
        if !self.step.is_empty() {
            self.outputs.note(&encoded(output));
        }
    }

    pub(crate) fn on_settled(&mut self) {
        if self.step.is_empty() {
            return;
        }
        let testimony = self.notes.take();
        testimony.note(&mut self.outputs);
        self.step.extend(encoded(&(testimony.answers(), self.outputs.get())));
        self.bytes.extend(self.heading.part(Kind::Steps, &self.step));
        self.step.clear();
    }
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("what the core has can be encoded")
}

impl Network {
    /// Begins a recording of a node, which ends with its process.
    ///
    /// # Panics
    /// If the node is down.
    pub fn record(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let machine = host.node.as_deref_mut().expect("a node that runs is recorded");
        let signatures = host.pair.clone().map(|pair| Arc::new(pair) as Arc<dyn Signatures>);
        host.tape = Some(Box::new(Tape::begin(machine, host.life, signatures)));
    }

    /// What was recorded of a node, as a file has it.
    pub fn recorded(&self, node: usize) -> Option<&[u8]> {
        self.hosts[node].tape.as_ref().map(|tape| &tape.bytes[..])
    }
}
