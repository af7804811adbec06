//! Comparisons with peers: who sent which symbols of which sketch (design §2 Pull).
//!
//! The asker sends symbols of what it has, more of them as long as they do not decode; the answerer keeps them as
//! received and decodes against its own replica as it is at that moment. Beyond 254 symbols the exchange
//! moves to a stream, beyond 4,096 the two send each other everything.
//!
//! **Invariant:** at most one open exchange for each peer and space, each way; a new one replaces the old.

use crate::few::Few;
use crate::frame::{SketchHead, Space};
use crate::identity::NodeId;
use crate::sketch::{SYMBOLS_MAX, Symbol};
use crate::time::{Instant, Seconds};

/// Symbols of the first batch where the space has changed lately: decodes up to about four differences.
pub(crate) const FIRST_SYMBOLS: usize = 8;
/// How many symbols there are after the second batch if the first told something: that few differ.
const FEW_SYMBOLS: usize = 32;
/// How many symbols there are after each further batch. The first fills a datagram; the next decodes a hundred differences
/// in 98 of 100 cases (`rumor lab sketch --difference 100`).
const STEPS: [usize; 12] = [95, 173, 254, 330, 420, 640, 1_024, 1_536, 2_304, 3_200, 3_600, SYMBOLS_MAX];
/// Symbols that fit the smallest datagram.
const DATAGRAM_SYMBOLS: usize = 95;
/// Where the exchange moves to a stream.
const STREAM_FROM: usize = 254;
/// Exchanges kept in each direction; the oldest gives way.
const EXCHANGES_MAX: usize = 256;

/// A sketch that this node sends, batch by batch.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Asked {
    pub(crate) exchange: u64,
    /// The change number that all its symbols are as of.
    pub(crate) change: u64,
    pub(crate) as_of: Seconds,
    pub(crate) count: u32,
    /// Symbols sent so far.
    pub(crate) sent: usize,
    /// Whether the answerer must not ask back.
    pub(crate) one_way: bool,
    started: Instant,
}

/// A sketch that a peer sends.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Answering {
    exchange: u64,
    pub(crate) as_of: Seconds,
    pub(crate) count: u32,
    pub(crate) symbols: Vec<Symbol>,
    started: Instant,
}

/// What follows symbols that did not decode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// Send up to so many, in a datagram.
    Datagram(usize),
    /// Send up to so many, on a stream.
    Stream(usize),
    /// Send everything.
    Bulk,
}

/// All comparisons of one node.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct Exchanges {
    asked: Few<(NodeId, Space), Asked>,
    answering: Few<(NodeId, Space), Answering>,
}

impl Exchanges {
    /// Starts to send a sketch to `peer`, as of the given change number, moment and count.
    pub(crate) fn ask(
        &mut self,
        peer: NodeId,
        space: Space,
        exchange: u64,
        as_of: (u64, Seconds, u32),
        one_way: bool,
        now: Instant,
    ) -> Asked {
        let (change, as_of, count) = as_of;
        let asked = Asked { exchange, change, as_of, count, sent: 0, one_way, started: now };
        make_room(&mut self.asked, |asked| asked.started);
        self.asked.insert((peer, space), asked);
        asked
    }

    pub(crate) fn asked(&self, peer: NodeId, space: Space) -> Option<&Asked> {
        self.asked.get(&(peer, space))
    }

    /// The open exchange of that number with a peer; returning its number proves the peer's address.
    pub(crate) fn asked_by_number(&self, peer: NodeId, exchange: u64) -> Option<(Space, Asked)> {
        Space::ALL.into_iter().find_map(|space| {
            let asked = self.asked(peer, space)?;
            (asked.exchange == exchange).then_some((space, *asked))
        })
    }

    /// Whether a peer has not reacted at all to the first symbols of some sketch.
    pub(crate) fn is_unanswered(&self, peer: NodeId) -> bool {
        Space::ALL.into_iter().any(|space| self.asked(peer, space).is_some_and(|asked| asked.sent <= FIRST_SYMBOLS))
    }

    /// Symbols up to `sent` are on their way.
    pub(crate) fn note_sent(&mut self, peer: NodeId, space: Space, sent: usize) {
        if let Some(asked) = self.asked.get_mut(&(peer, space)) {
            asked.sent = sent;
        }
    }

    /// The exchange is over.
    pub(crate) fn end_asked(&mut self, peer: NodeId, space: Space) {
        self.asked.remove(&(peer, space));
    }

    /// Takes in a batch of a peer's symbols. Returns the sketch so far if the batch continues it; to be
    /// [kept](Self::keep) if it does not decode yet, as it mostly does.
    pub(crate) fn take_in(
        &mut self,
        peer: NodeId,
        head: &SketchHead,
        symbols: impl Iterator<Item = Symbol>,
        now: Instant,
    ) -> Option<Answering> {
        let key = (peer, head.space);
        let begun = self.answering.remove(&key);
        let mut answering = if head.offset == 0 {
            let SketchHead { exchange, as_of, count, .. } = *head;
            Answering { exchange, as_of, count, symbols: Vec::new(), started: now }
        } else {
            begun?
        };
        let continues = answering.exchange == head.exchange && answering.symbols.len() == usize::from(head.offset);
        if continues {
            let room = SYMBOLS_MAX - answering.symbols.len();
            answering.symbols.reserve_exact(symbols.size_hint().1.unwrap_or(0).min(room));
            answering.symbols.extend(symbols.take(room));
        }
        if !continues || answering.symbols.is_empty() {
            self.keep(peer, head.space, answering);
            return None;
        }
        Some(answering)
    }

    /// More symbols of this sketch are to come.
    pub(crate) fn keep(&mut self, peer: NodeId, space: Space, answering: Answering) {
        make_room(&mut self.answering, |answering| answering.started);
        self.answering.insert((peer, space), answering);
    }

    /// Whether a comparison of that number is open with a peer, either way.
    pub(crate) fn is_open(&self, peer: NodeId, space: Space, exchange: u64) -> bool {
        let asked = self.asked(peer, space).is_some_and(|asked| asked.exchange == exchange);
        asked || self.answering.get(&(peer, space)).is_some_and(|answering| answering.exchange == exchange)
    }

    /// The comparison with that peer is over.
    pub(crate) fn end_answering(&mut self, peer: NodeId, space: Space) {
        self.answering.remove(&(peer, space));
    }
}

/// How many symbols to ask for after `have` did not decode and `found` ids came out of them.
pub(crate) fn wanted_symbols(have: usize, found: usize) -> usize {
    if have < FEW_SYMBOLS && found > 0 {
        return FEW_SYMBOLS;
    }
    STEPS.into_iter().find(|step| *step > have).unwrap_or(SYMBOLS_MAX)
}

/// How to go on after symbols up to `from` did not decode, and the peer asks for those up to `until`.
pub(crate) fn next_batch(from: usize, until: usize) -> Next {
    let until = until.min(SYMBOLS_MAX);
    if until <= from {
        return Next::Bulk;
    }
    if until <= STREAM_FROM && until - from <= DATAGRAM_SYMBOLS { Next::Datagram(until) } else { Next::Stream(until) }
}

fn make_room<K: Ord + Copy, V>(exchanges: &mut Few<K, V>, started: impl Fn(&V) -> Instant) {
    if exchanges.len() >= EXCHANGES_MAX
        && let Some(oldest) = exchanges.iter().min_by_key(|(_, exchange)| started(exchange)).map(|(key, _)| *key)
    {
        exchanges.remove(&oldest);
    }
}
