//! What a run showed, in numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use rumormill_core::io::Ticket;
use rumormill_core::{Event, MemberChange, NodeId, Sequence};

use super::link::SEGMENT_BYTES;

/// What one node sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Datagrams.
    pub datagrams: u64,
    /// Their payload, in bytes.
    pub datagram_bytes: u64,
    /// TCP segments with payload.
    pub segments: u64,
    /// Bytes written to streams.
    pub stream_bytes: u64,
}

impl Traffic {
    /// An IPv4 and a UDP header.
    const DATAGRAM_HEADER_BYTES: u64 = 28;
    /// An IPv4 and a TCP header without options.
    const SEGMENT_HEADER_BYTES: u64 = 40;

    /// Payload of datagrams and streams, in bytes.
    pub fn payload_bytes(&self) -> u64 {
        self.datagram_bytes + self.stream_bytes
    }

    /// Bytes with IPv4, UDP and TCP headers; without TCP's handshakes and bare acknowledgements.
    pub fn wire_bytes(&self) -> u64 {
        self.payload_bytes() + self.datagrams * Self::DATAGRAM_HEADER_BYTES + self.segments * Self::SEGMENT_HEADER_BYTES
    }

    pub(crate) fn count_datagram(&mut self, bytes: usize) {
        self.datagrams += 1;
        self.datagram_bytes += bytes as u64;
    }

    pub(crate) fn count_piece(&mut self, bytes: usize) {
        self.segments += bytes.div_ceil(SEGMENT_BYTES) as u64;
        self.stream_bytes += bytes as u64;
    }
}

/// A message, by what names it in the whole cluster.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct MessageKey {
    /// Who published it.
    pub origin: NodeId,
    /// Which of its messages on the topic.
    pub sequence: Sequence,
    /// Where.
    pub topic: String,
}

/// How a message spread.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// When its node was told that it is published; `None` if it never was.
    pub acknowledged: Option<Duration>,
    /// Who got it, in the order of time.
    pub arrivals: Vec<Arrival>,
}

/// A message came to a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// The node's number.
    pub node: usize,
    /// Which of the node's lives, from 1.
    pub life: u64,
    /// When.
    pub at: Duration,
    /// How many nodes it had gone through.
    pub hops: u8,
}

/// A change that a node saw in another, except that one joined or was updated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Change {
    /// When.
    pub at: Duration,
    /// Who saw it.
    pub observer: usize,
    /// Whom it is about.
    pub member: NodeId,
    /// What.
    pub change: MemberChange,
    /// A suspicion or death that is an error: the member ran at that moment, and no cut was between the two.
    pub mistaken: bool,
    /// That member was not healthy: its process stood still at that moment, or is [slow](crate::Network::slow) or
    /// [stalled](crate::Network::stall).
    pub unwell: bool,
}

/// A message that a plan had published.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Publication {
    /// When the node was told to.
    pub at: Duration,
    /// Which.
    pub node: usize,
    /// How large its payload is.
    pub bytes: usize,
    /// See [`published`](crate::Network::published).
    pub ticket: Ticket,
}

/// A process of a node, from start to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Life {
    /// The node's number.
    pub node: usize,
    /// The id that it had.
    pub id: NodeId,
    /// Which of its lives, from 1.
    pub life: u64,
    /// When it started.
    pub from: Duration,
    /// When and how it ended, if it has.
    pub end: Option<(Duration, End)>,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Its machine lost power, or it was killed: others have to find out.
    Failed,
    /// By its own decision.
    Stopped,
}

/// An event that is neither about a member nor a message.
#[derive(Clone, Debug)]
pub struct Note {
    /// When.
    pub at: Duration,
    /// At which node.
    pub node: usize,
    /// What.
    pub event: Event,
}

/// Everything measured since the start, or since the last [`reset`](crate::Network::reset_measurements).
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Since when.
    pub since: Duration,
    /// By the number of the node.
    pub traffic: Vec<Traffic>,
    /// Inputs given to nodes.
    pub inputs: u64,
    /// Every message that was published or came anywhere.
    pub messages: BTreeMap<MessageKey, Spread>,
    /// Messages that the plan had published, by time.
    pub publications: Vec<Publication>,
    /// Suspicions, refutations, failures, departures, removals and replacements, as each node saw them.
    pub changes: Vec<Change>,
    /// All other events.
    pub notes: Vec<Note>,
}

impl Measured {
    /// How often a node saw another become suspect.
    pub fn suspicions(&self) -> usize {
        self.changes.iter().filter(|change| change.change == MemberChange::Suspected).count()
    }

    /// How often a node saw a live member as dead.
    pub fn false_deaths(&self) -> usize {
        self.changes.iter().filter(|change| change.change == MemberChange::Failed && change.mistaken).count()
    }

    /// The sum over all nodes.
    pub fn total(&self) -> Traffic {
        self.traffic.iter().fold(Traffic::default(), |sum, node| Traffic {
            datagrams: sum.datagrams + node.datagrams,
            datagram_bytes: sum.datagram_bytes + node.datagram_bytes,
            segments: sum.segments + node.segments,
            stream_bytes: sum.stream_bytes + node.stream_bytes,
        })
    }

    pub(crate) fn reset(&mut self, now: Duration) {
        let nodes = self.traffic.len();
        *self = Self { since: now, traffic: vec![Traffic::default(); nodes], ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_bytes_count_headers_of_datagrams_and_of_segments() {
        let mut traffic = Traffic::default();
        traffic.count_datagram(100);
        traffic.count_piece(SEGMENT_BYTES + 1);
        assert_eq!(traffic.payload_bytes(), 100 + SEGMENT_BYTES as u64 + 1);
        assert_eq!(traffic.wire_bytes(), traffic.payload_bytes() + 28 + 80);
    }
}
