//! One number that stands for a whole run.

use rumormill_core::Input;

/// A running 64-bit hash over every input that any node was given, with its time and its node. Two runs with the same
/// hash took the same course; it is no protection against anybody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace(u64);

impl Trace {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn hash(self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    /// A node was started, for the `life`th time.
    pub(crate) fn started(&mut self, at: u64, node: usize, life: u64) {
        self.head(at, node, 0);
        self.word(life);
    }

    /// A node is given an input.
    pub(crate) fn given(&mut self, at: u64, node: usize, input: &Input<'_>) {
        match input {
            Input::Datagram { from, bytes } => {
                self.head(at, node, 1);
                self.word(u64::from(from.port()));
                self.bytes(bytes);
            }
            Input::StreamOpened { stream, .. } => self.pair(at, node, 2, stream.0),
            Input::StreamBytes { stream, bytes } => {
                self.pair(at, node, 3, stream.0);
                self.bytes(bytes);
            }
            Input::StreamWritten { stream } => self.pair(at, node, 4, stream.0),
            Input::StreamClosed { stream } => self.pair(at, node, 5, stream.0),
            Input::StreamRefused { stream } => self.pair(at, node, 10, stream.0),
            Input::Timeout => self.head(at, node, 6),
            Input::Persisted { token } => self.pair(at, node, 7, token.0),
            Input::PersistFailed { token, reason } => {
                self.pair(at, node, 8, token.0);
                self.bytes(reason.as_bytes());
            }
            Input::Command { ticket, command } => {
                self.pair(at, node, 9, ticket.0);
                self.bytes(format!("{command:?}").as_bytes());
            }
            Input::Abandoned { ticket } => self.pair(at, node, 10, ticket.0),
        }
    }

    fn head(&mut self, at: u64, node: usize, kind: u64) {
        self.word(at);
        self.word((node as u64) << 8 | kind);
    }

    fn pair(&mut self, at: u64, node: usize, kind: u64, value: u64) {
        self.head(at, node, kind);
        self.word(value);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for &word in words {
            self.word(u64::from_le_bytes(word));
        }
        for &byte in rest {
            self.word(u64::from(byte));
        }
    }

    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A 64-bit fingerprint of `bytes`.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    let mut trace = Trace::new(0);
    trace.bytes(bytes);
    trace.hash()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_one_microsecond_or_one_node_makes_another_hash() {
        let from = "10.0.0.1:4747".parse().unwrap();
        let hash = |at, node, bytes: &[u8]| {
            let mut trace = Trace::new(1);
            trace.given(at, node, &Input::Datagram { from, bytes });
            trace.hash()
        };
        let base = hash(1, 2, b"rumor has it");
        assert_eq!(base, hash(1, 2, b"rumor has it"));
        assert_ne!(base, hash(2, 2, b"rumor has it"));
        assert_ne!(base, hash(1, 3, b"rumor has it"));
        assert_ne!(base, hash(1, 2, b"rumor has iu"));
        assert_ne!(base, hash(1, 2, b"rumor has it "));
    }
}
