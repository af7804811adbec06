//! What a node counts about itself.

/// Counters that only rise, from the start of the process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Counters {
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams that came in, dropped ones included.
    pub datagrams_received: u64,
    /// Bytes sent as payload of datagrams and on streams.
    pub bytes_sent: u64,
    /// Bytes received likewise.
    pub bytes_received: u64,
    /// Payloads of messages received, duplicates included.
    pub payloads_received: u64,
    /// Updates received that were known already.
    pub updates_known: u64,
    /// Updates received that were new.
    pub updates_new: u64,
    /// Suspicions that this node raised by its own probes.
    pub suspicions: u64,
    /// Claims about this node that it contradicted.
    pub refutations: u64,
    /// What was dropped, by cause.
    pub dropped: Dropped,
}

/// Input that was dropped, by cause; nothing else happened because of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Dropped {
    /// Of another cluster.
    pub foreign: u64,
    /// Too short, or with a length that points beyond the end, or otherwise without sense.
    pub malformed: u64,
    /// Longer than this node accepts.
    pub oversized: u64,
    /// Of a major version that this node does not speak.
    pub version: u64,
    /// Meant for another node.
    pub misdirected: u64,
    /// Acks, answers and pieces of exchanges that nobody waits for: late, repeated or forged.
    pub unexpected: u64,
    /// Updates past their `forget`, or too far ahead of the clock, or beyond a cap.
    pub refused: u64,
    /// Replies held back because the address is not proven and more would go out than came in.
    pub unproven: u64,
    /// Streams refused because `streams_max` are open.
    pub streams: u64,
    /// Walks and shuffles of a partial view that did not come from a neighbour, were longer than any honest one, or too many.
    pub walks: u64,
    /// Updates that carry no signature, where they must.
    pub unsigned: u64,
    /// Updates whose signature or certificate is not valid, or has run out.
    pub forged: u64,
    /// What came from nodes whose certificate was revoked, and updates that such a node signed.
    pub revoked: u64,
    /// Updates that were not checked: too much of their sender was invalid within a second.
    pub unchecked: u64,
}

impl Dropped {
    /// The causes by name, for documents and metrics.
    pub const fn by_cause(&self) -> [(&'static str, u64); 14] {
        [
            ("foreign", self.foreign),
            ("malformed", self.malformed),
            ("oversized", self.oversized),
            ("version", self.version),
            ("misdirected", self.misdirected),
            ("unexpected", self.unexpected),
            ("refused", self.refused),
            ("unproven", self.unproven),
            ("streams", self.streams),
            ("walks", self.walks),
            ("unsigned", self.unsigned),
            ("forged", self.forged),
            ("revoked", self.revoked),
            ("unchecked", self.unchecked),
        ]
    }
}

/// How many members a node knows, by state, itself included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MemberCounts {
    /// Alive.
    pub alive: usize,
    /// Suspect.
    pub suspect: usize,
    /// Dead and still listed.
    pub dead: usize,
    /// Left and still listed.
    pub left: usize,
}
