//! Frames: what datagrams and packets of streams say.
//!
//! Each has a kind; all but the two smallest have a length, so that what a newer minor version adds can be skipped.

use std::net::SocketAddr;

use crate::aggregate::count::Share;
use crate::config::is_name;
use crate::coordinates::Coordinate;
use crate::identity::{NodeId, Sequence};
use crate::io::QueryId;
use crate::overlay::Peer;
use crate::sketch::{SYMBOL_BYTES, Symbol};
use crate::time::Seconds;
use crate::update::UpdateId;
use crate::wire::{Put, Reader, varint_bytes};

/// Frames below this kind have a fixed length and none written; all others can be skipped unread.
const KIND_SIZED: u8 = 0x10;
pub(crate) const KIND_PING: u8 = 0x01;
pub(crate) const KIND_ACK: u8 = 0x02;
pub(crate) const KIND_PING_REQ: u8 = 0x10;
pub(crate) const KIND_NACK: u8 = 0x11;
pub(crate) const KIND_UPDATES: u8 = 0x12;
pub(crate) const KIND_FEEDBACK: u8 = 0x13;
pub(crate) const KIND_ACCUSATIONS: u8 = 0x14;
pub(crate) const KIND_ANNOUNCE: u8 = 0x15;
pub(crate) const KIND_REQUEST: u8 = 0x16;
pub(crate) const KIND_SKETCH: u8 = 0x17;
pub(crate) const KIND_MORE: u8 = 0x18;
pub(crate) const KIND_SETTLED: u8 = 0x19;
pub(crate) const KIND_BULK: u8 = 0x1a;
pub(crate) const KIND_CHALLENGE: u8 = 0x1b;
pub(crate) const KIND_ECHO: u8 = 0x1c;
pub(crate) const KIND_JOIN: u8 = 0x1d;
pub(crate) const KIND_WELCOME: u8 = 0x1e;
pub(crate) const KIND_ANSWER: u8 = 0x1f;
pub(crate) const KIND_ANSWERED: u8 = 0x20;
pub(crate) const KIND_HOLD: u8 = 0x21;
pub(crate) const KIND_HELD: u8 = 0x22;
pub(crate) const KIND_REUNION: u8 = 0x23;
pub(crate) const KIND_ROLL: u8 = 0x24;
pub(crate) const KIND_WALK: u8 = 0x25;
pub(crate) const KIND_NEIGHBOUR: u8 = 0x26;
pub(crate) const KIND_SHUFFLE: u8 = 0x27;
pub(crate) const KIND_PEERS: u8 = 0x28;
pub(crate) const KIND_PAYLOAD: u8 = 0x29;
pub(crate) const KIND_IHAVE: u8 = 0x2a;
pub(crate) const KIND_GRAFT: u8 = 0x2b;
pub(crate) const KIND_PRUNE: u8 = 0x2c;
pub(crate) const KIND_AVERAGE: u8 = 0x2d;
pub(crate) const KIND_AVERAGED: u8 = 0x2e;
pub(crate) const KIND_SIZE: u8 = 0x2f;
pub(crate) const KIND_RETURN: u8 = 0x30;
pub(crate) const KIND_RETURNED: u8 = 0x31;
pub(crate) const KIND_PADDING: u8 = 0x32;
pub(crate) const KIND_PROPOSE: u8 = 0x33;
pub(crate) const KIND_VOTE: u8 = 0x34;
pub(crate) const KIND_FORWARD: u8 = 0x35;
pub(crate) const KIND_OUTCOME: u8 = 0x36;
pub(crate) const KIND_LOCATE: u8 = 0x37;
pub(crate) const KIND_GAUGE: u8 = 0x38;
pub(crate) const KIND_GAUGED: u8 = 0x39;
pub(crate) const KIND_LOCATED: u8 = 0x3a;
pub(crate) const KIND_REFUSED: u8 = 0x40;

/// Which set of updates a frame is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub(crate) enum Space {
    Members = 0,
    Data = 1,
    Messages = 2,
    Agreement = 3,
}

impl Space {
    pub(crate) const COUNT: usize = 4;
    pub(crate) const ALL: [Self; Self::COUNT] = [Self::Members, Self::Data, Self::Messages, Self::Agreement];

    /// Its place among all spaces.
    pub(crate) const fn place(self) -> usize {
        self as usize
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Members),
            1 => Some(Self::Data),
            2 => Some(Self::Messages),
            3 => Some(Self::Agreement),
            _ => None,
        }
    }
}

/// Somebody could not reach a suspect either: a line passed on while hot, not an update.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub(crate) struct Accusation {
    pub(crate) member: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) accuser: NodeId,
}

/// A batch of symbols of a sketch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SketchHead {
    pub(crate) space: Space,
    /// Random; returning it proves the address of the answerer.
    pub(crate) exchange: u64,
    /// Only updates that are forgotten later than this count. Said by the first batch only, as is the count.
    pub(crate) as_of: Seconds,
    /// How many ids the sketch holds.
    pub(crate) count: u32,
    /// Which symbol comes first in this batch.
    pub(crate) offset: u16,
    /// The asker only asks: the answerer does not ask back for what it lacks itself. So it is in `pull`.
    pub(crate) one_way: bool,
}

/// How much of the id of an update that is asked for is said.
pub(crate) const SHORT_ID_BYTES: usize = 6;

/// Set beside the space of a sketch that only asks.
pub(crate) const ONE_WAY: u8 = 0x80;

/// One frame, with its contents still where they came in.
#[derive(Clone, Debug)]
pub(crate) enum Frame<'a> {
    /// Are you there? `root` says what the sender has.
    Ping { number: u16, root: u64 },
    /// Yes.
    Ack { number: u16, root: u64 },
    /// Please ping that member for me.
    PingReq { number: u16, target: NodeId, address: SocketAddr },
    /// It did not answer me either.
    Nack { number: u16 },
    /// News. `packet` names it for feedback; `asks` wants feedback in any case.
    Updates { packet: u16, asks: bool, items: Items<'a> },
    /// Of the updates of that packet, these were known (bit i for the ith, the first 64).
    Feedback { packet: u16, known: u64 },
    /// Suspicions shared.
    Accusations(List<'a>),
    /// I have these, ask for them.
    Announce(List<'a>),
    /// Send me these.
    Request(List<'a>),
    /// Part of a sketch of what I have.
    Sketch { head: SketchHead, symbols: List<'a> },
    /// That did not decode: send symbols from here on, up to there.
    More { exchange: u64, from: u16, until: u16 },
    /// That decoded: `differences` ids differed, what you lack follows or preceded.
    Settled { exchange: u64, differences: u32 },
    /// Too much differs: let us send each other everything.
    Bulk { space: Space, exchange: u64 },
    /// Return this token, so that I know that you get what I send to your address.
    Challenge { token: u64 },
    /// The token.
    Echo { token: u64 },
    /// I am new or was away: tell me who is there.
    Join,
    /// That was all I send (`complete`), or a sample: ask one of them for the rest.
    Welcome { complete: bool },
    /// You are no member here: your claim does not count.
    Refused,
    /// An answer to a query.
    Answer { sequence: u64, payload: &'a [u8] },
    /// The answer came.
    Answered { sequence: u64 },
    /// Tell me when you hold these durably.
    Hold { number: u64, items: Items<'a> },
    /// I hold the updates of that number, or what supersedes them: `durable`, or in memory only.
    Held { number: u64, durable: bool },
    /// We were apart since then, and this is the root of my data; `NEVER` if I do not know that we were.
    Reunion { since: Seconds, root: u64, answers: bool },
    /// Part of what I hold, of so many updates in all.
    Roll { total: u32, list: List<'a> },
    /// That node joins: be its neighbour, or pass this on while `ttl` lasts.
    Walk { ttl: u8, joiner: Peer },
    /// About the two of us.
    Neighbour(Neighbour),
    /// Some whom I know: tell its origin some whom you know, or pass this on while `ttl` lasts.
    Shuffle { ttl: u8, origin: Peer, peers: Peers<'a> },
    /// Some whom I know, to a joiner or in answer to a shuffle.
    Peers(Peers<'a>),
    /// Messages on an eager link of their origins' trees.
    Payload(Items<'a>),
    /// I have these, by so many hops: they come to you by another way, or ask me.
    Ihave(List<'a>),
    /// Send me what the origins of these say; these too, if I lack them.
    Graft { lacks: bool, ids: List<'a> },
    /// Do not send me what these origins say.
    Prune(List<'a>),
    /// In that epoch I hold this of these instances: let us hold the same.
    Average { epoch: u32, number: u16, offered: Shares<'a> },
    /// This flows to you, or from you.
    Averaged { epoch: u32, number: u16, flows: Shares<'a> },
    /// So many nodes there are, by what I know; 0: tell me.
    Size(f32),
    /// A proposal, straight to a voter.
    Propose(Items<'a>),
    /// A vote, straight to a proposer; or what the proposer must know before it goes on.
    Vote(Items<'a>),
    /// Do this operation for me.
    Forward(Reader<'a>),
    /// It ended like this.
    Outcome(Reader<'a>),
    /// In that epoch of a gauge I hold this: let us hold the same.
    Gauge { epoch: QueryId, number: u16, offered: Reader<'a> },
    /// This flows to you, or from you.
    Gauged { epoch: QueryId, number: u16, flows: Reader<'a> },
    /// An answer on its way back to who asked.
    Return { number: u32, answer: ReturnRef<'a> },
    /// I take that one further.
    Returned { number: u32 },
    /// Tell me where you are, with the ack to the ping before this.
    Locate,
    /// Here.
    Located(Coordinate),
    /// Of a newer minor version, or about a space that this version does not have; or padding.
    Unknown,
}

/// What two nodes with a partial view say to each other about being neighbours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Neighbour {
    /// Will you be mine, if you have room?
    Ask = 0,
    /// Will you? I have none.
    AskUrgently = 1,
    /// Yes.
    Accept = 2,
    /// No room.
    Refuse = 3,
    /// We are not neighbours, or not any more.
    Part = 4,
}

impl Neighbour {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Ask),
            1 => Some(Self::AskUrgently),
            2 => Some(Self::Accept),
            3 => Some(Self::Refuse),
            4 => Some(Self::Part),
            _ => None,
        }
    }
}

/// Peers behind each other: no more of them than a shuffle names.
#[derive(Clone, Debug)]
pub(crate) struct Peers<'a>(Reader<'a>);

impl Iterator for Peers<'_> {
    type Item = Peer;

    fn next(&mut self) -> Option<Peer> {
        read_peer(&mut self.0)
    }
}

/// Shares of instances behind each other.
#[derive(Clone, Debug)]
pub(crate) struct Shares<'a>(Reader<'a>);

impl<'a> Shares<'a> {
    fn new(mut content: Reader<'a>) -> Option<Self> {
        let bytes = content.rest();
        bytes.len().is_multiple_of(8).then_some(Self(Reader::new(bytes)))
    }
}

impl Iterator for Shares<'_> {
    type Item = Share;

    fn next(&mut self) -> Option<Share> {
        Some(Share { key: self.0.u32()?, value: f32::from_bits(self.0.u32()?) })
    }
}

fn read_query(content: &mut Reader<'_>) -> Option<QueryId> {
    Some(QueryId { origin: NodeId(content.u64()?), sequence: Sequence(content.u64()?) })
}

/// An answer that neighbours hand to each other, where it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReturnRef<'a> {
    /// How many nodes it will have gone through.
    pub(crate) hops: u8,
    pub(crate) query: QueryId,
    /// Whose it is.
    pub(crate) by: NodeId,
    pub(crate) name: &'a str,
    pub(crate) payload: &'a [u8],
}

impl<'a> ReturnRef<'a> {
    fn read(mut content: Reader<'a>) -> Option<Self> {
        let hops = content.u8()?;
        let query = read_query(&mut content)?;
        let (by, name) = (NodeId(content.u64()?), content.short_text()?);
        is_name(name).then(|| Self { hops, query, by, name, payload: content.rest() })
    }
}

/// How many bytes a frame of [`Frame::Return`] has at most.
pub(crate) const fn return_bytes(name: usize, payload: usize) -> usize {
    1 + 3 + 4 + 1 + 8 + 8 + 8 + 1 + name + payload
}

fn read_peer(content: &mut Reader<'_>) -> Option<Peer> {
    Some(Peer { id: NodeId(content.u64()?), address: content.address()? })
}

/// Fixed-size entries behind each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<'a>(&'a [u8]);

impl<'a> List<'a> {
    fn new(bytes: &'a [u8], entry: usize) -> Option<Self> {
        bytes.len().is_multiple_of(entry).then_some(Self(bytes))
    }

    pub(crate) fn accusations(self) -> impl Iterator<Item = Accusation> + 'a {
        self.0.chunks_exact(24).filter_map(|entry| {
            let mut entry = Reader::new(entry);
            let member = NodeId(entry.u64()?);
            Some(Accusation { member, incarnation: entry.u64()?, accuser: NodeId(entry.u64()?) })
        })
    }

    /// Ids with the sizes of their updates.
    pub(crate) fn announced(self) -> impl Iterator<Item = (UpdateId, u32)> + 'a {
        self.0.chunks_exact(12).filter_map(|entry| {
            let mut entry = Reader::new(entry);
            Some((UpdateId(entry.u64()?), entry.u32()?))
        })
    }

    /// Ids with hop counts.
    pub(crate) fn with_hops(self) -> impl Iterator<Item = (UpdateId, u8)> + 'a {
        self.0.chunks_exact(9).filter_map(|entry| {
            let mut entry = Reader::new(entry);
            Some((UpdateId(entry.u64()?), entry.u8()?))
        })
    }

    pub(crate) fn ids(self) -> impl Iterator<Item = UpdateId> + 'a {
        self.0.chunks_exact(8).filter_map(|entry| Reader::new(entry).u64().map(UpdateId))
    }

    /// Of updates that are asked for.
    pub(crate) fn short_ids(self) -> impl Iterator<Item = u64> + 'a {
        self.0.chunks_exact(SHORT_ID_BYTES).map(|entry| {
            let mut word = [0; 8];
            word[..SHORT_ID_BYTES].copy_from_slice(entry);
            u64::from_le_bytes(word)
        })
    }

    pub(crate) fn symbols(self) -> impl Iterator<Item = Symbol> + 'a {
        self.0.chunks_exact(SYMBOL_BYTES).filter_map(|entry| Some(Symbol::from_bytes(entry.try_into().ok()?)))
    }
}

/// Updates behind each other, each with its length and its hop count.
#[derive(Clone, Debug)]
pub(crate) struct Items<'a>(Reader<'a>);

impl<'a> Items<'a> {
    const fn new(items: Reader<'a>) -> Self {
        Self(items)
    }

    /// The updates alone, as owned bytes.
    #[cfg(test)]
    pub(crate) fn of(items: &'a [u8]) -> Vec<Vec<u8>> {
        Self(Reader::new(items)).map(|(_, update)| update.to_vec()).collect()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = self.0;
        let item = reader.block().and_then(|item| item.split_first());
        self.0 = if item.is_some() { reader } else { Reader::new(&[]) };
        item.map(|(hop, bytes)| (*hop, bytes))
    }
}

/// How many bytes an update takes among the items of a frame.
pub(crate) const fn item_bytes(update: usize) -> usize {
    varint_bytes(update + 1) + 1 + update
}

/// The largest head of a frame of updates: kind, length, packet, flags.
pub(crate) const UPDATES_HEAD_BYTES: usize = 1 + 3 + 2 + 1;

/// Bytes that make no sense.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

/// Reads frames until the bytes end or make no sense, which is said once.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    reader: Reader<'a>,
}

impl<'a> Frames<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes) }
    }

    fn read(&mut self) -> Option<Frame<'a>> {
        let kind = self.reader.u8()?;
        if kind < KIND_SIZED {
            let (number, root) = (self.reader.u16()?, self.reader.u64()?);
            return match kind {
                KIND_PING => Some(Frame::Ping { number, root }),
                KIND_ACK => Some(Frame::Ack { number, root }),
                _ => None,
            };
        }
        let content = self.reader.block()?;
        read_sized(kind, Reader::new(content))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let frame = self.read();
        if frame.is_none() {
            self.reader = Reader::new(&[]);
        }
        Some(frame.ok_or(Malformed))
    }
}

/// `None` where the content makes no sense. Bytes behind the known fields are a newer version's and are not looked at.
fn read_sized(kind: u8, mut content: Reader<'_>) -> Option<Frame<'_>> {
    let frame = match kind {
        KIND_PING_REQ => {
            Frame::PingReq { number: content.u16()?, target: NodeId(content.u64()?), address: content.address()? }
        }
        KIND_NACK => Frame::Nack { number: content.u16()? },
        KIND_UPDATES => {
            Frame::Updates { packet: content.u16()?, asks: content.u8()? & 1 != 0, items: Items::new(content) }
        }
        KIND_FEEDBACK => Frame::Feedback { packet: content.u16()?, known: content.u64()? },
        KIND_ACCUSATIONS => Frame::Accusations(List::new(content.rest(), 24)?),
        KIND_ANNOUNCE => Frame::Announce(List::new(content.rest(), 12)?),
        KIND_REQUEST => Frame::Request(List::new(content.rest(), SHORT_ID_BYTES)?),
        KIND_SKETCH => return read_sketch(content),
        KIND_MORE => Frame::More { exchange: content.u64()?, from: content.u16()?, until: content.u16()? },
        KIND_SETTLED => Frame::Settled { exchange: content.u64()?, differences: content.u32()? },
        KIND_BULK => match Space::from_byte(content.u8()?) {
            Some(space) => Frame::Bulk { space, exchange: content.u64()? },
            None => Frame::Unknown,
        },
        KIND_CHALLENGE => Frame::Challenge { token: content.u64()? },
        KIND_ECHO => Frame::Echo { token: content.u64()? },
        KIND_JOIN => Frame::Join,
        KIND_REFUSED => Frame::Refused,
        KIND_WELCOME => Frame::Welcome { complete: content.u8()? & 1 != 0 },
        KIND_ANSWER => Frame::Answer { sequence: content.u64()?, payload: content.rest() },
        KIND_ANSWERED => Frame::Answered { sequence: content.u64()? },
        KIND_HOLD => Frame::Hold { number: content.u64()?, items: Items::new(content) },
        KIND_REUNION => {
            Frame::Reunion { since: Seconds(content.u32()?), root: content.u64()?, answers: content.u8()? & 1 != 0 }
        }
        KIND_ROLL => Frame::Roll { total: content.u32()?, list: List::new(content.rest(), 8)? },
        KIND_HELD => Frame::Held { number: content.u64()?, durable: content.u8()? & 1 != 0 },
        KIND_WALK => Frame::Walk { ttl: content.u8()?, joiner: read_peer(&mut content)? },
        KIND_NEIGHBOUR => Neighbour::from_byte(content.u8()?).map_or(Frame::Unknown, Frame::Neighbour),
        KIND_SHUFFLE => {
            let (ttl, origin) = (content.u8()?, read_peer(&mut content)?);
            Frame::Shuffle { ttl, origin, peers: Peers(content) }
        }
        KIND_PEERS => Frame::Peers(Peers(content)),
        KIND_PAYLOAD => Frame::Payload(Items::new(content)),
        KIND_IHAVE => Frame::Ihave(List::new(content.rest(), 9)?),
        KIND_GRAFT => Frame::Graft { lacks: content.u8()? & 1 != 0, ids: List::new(content.rest(), 8)? },
        KIND_PRUNE => Frame::Prune(List::new(content.rest(), 8)?),
        KIND_AVERAGE => {
            Frame::Average { epoch: content.u32()?, number: content.u16()?, offered: Shares::new(content)? }
        }
        KIND_AVERAGED => {
            Frame::Averaged { epoch: content.u32()?, number: content.u16()?, flows: Shares::new(content)? }
        }
        KIND_PROPOSE => Frame::Propose(Items::new(content)),
        KIND_VOTE => Frame::Vote(Items::new(content)),
        KIND_FORWARD => Frame::Forward(content),
        KIND_OUTCOME => Frame::Outcome(content),
        KIND_GAUGE => Frame::Gauge { epoch: read_query(&mut content)?, number: content.u16()?, offered: content },
        KIND_GAUGED => Frame::Gauged { epoch: read_query(&mut content)?, number: content.u16()?, flows: content },
        KIND_SIZE => Frame::Size(f32::from_bits(content.u32()?)),
        KIND_RETURN => Frame::Return { number: content.u32()?, answer: ReturnRef::read(content)? },
        KIND_LOCATE => Frame::Locate,
        KIND_LOCATED => Frame::Located(Coordinate::read(&mut content)?),
        KIND_RETURNED => Frame::Returned { number: content.u32()? },
        _ => Frame::Unknown,
    };
    Some(frame)
}

fn read_sketch(mut content: Reader<'_>) -> Option<Frame<'_>> {
    let kind = content.u8()?;
    let Some(space) = Space::from_byte(kind & !ONE_WAY) else { return Some(Frame::Unknown) };
    let (exchange, offset) = (content.u64()?, content.u16()?);
    // The first batch says what holds for all.
    let (as_of, count) = if offset == 0 { (Seconds(content.u32()?), content.u32()?) } else { Default::default() };
    let head = SketchHead { space, exchange, as_of, count, offset, one_way: kind & ONE_WAY != 0 };
    Some(Frame::Sketch { head, symbols: List::new(content.rest(), SYMBOL_BYTES)? })
}

/// Appends an update to the items of a frame.
pub(crate) fn item(items: &mut Vec<u8>, hop: u8, update: &[u8]) {
    items.put_size(update.len() + 1);
    items.push(hop);
    items.extend_from_slice(update);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_and_fields_of_a_newer_minor_version_are_skipped() {
        // An unknown kind, then a nack with two more bytes than this version knows, then a ping.
        let bytes = [&[0x7f, 3, 1, 2, 3][..], &[0x11, 4, 7, 0, 9, 9], &[1, 7, 0, 1, 0, 0, 0, 0, 0, 0, 0]].concat();
        let read: Vec<_> = Frames::new(&bytes).collect();
        assert!(
            matches!(
                read[..],
                [Ok(Frame::Unknown), Ok(Frame::Nack { number: 7 }), Ok(Frame::Ping { number: 7, root: 1 })]
            ),
            "{read:?}"
        );
    }

    #[test]
    fn a_length_beyond_the_end_is_malformed_and_said_once() {
        let read: Vec<_> = Frames::new(&[0x12, 200, 1, 0, 0, 0]).collect();
        assert!(matches!(read[..], [Err(Malformed)]), "{read:?}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            for frame in Frames::new(&bytes) {
                match frame {
                    Ok(Frame::Updates { items, .. } | Frame::Hold { items, .. } | Frame::Payload(items) | Frame::Propose(items) | Frame::Vote(items)) => drop(items.collect::<Vec<_>>()),
                    Ok(Frame::Accusations(list)) => drop(list.accusations().collect::<Vec<_>>()),
                    Ok(Frame::Announce(list)) => drop(list.announced().collect::<Vec<_>>()),
                    Ok(Frame::Request(list)) => drop(list.short_ids().collect::<Vec<_>>()),
                    Ok(Frame::Ihave(list)) => drop(list.with_hops().collect::<Vec<_>>()),
                    Ok(Frame::Roll { list, .. } | Frame::Graft { ids: list, .. } | Frame::Prune(list)) => drop(list.ids().collect::<Vec<_>>()),
                    Ok(Frame::Sketch { symbols, .. }) => drop(symbols.symbols().collect::<Vec<_>>()),
                    Ok(Frame::Average { offered: shares, .. } | Frame::Averaged { flows: shares, .. }) => drop(shares.collect::<Vec<_>>()),
                    Ok(Frame::Shuffle { peers, .. } | Frame::Peers(peers)) => drop(peers.collect::<Vec<_>>()),
                    Ok(_) | Err(Malformed) => {}
                }
            }
        }

        #[test]
        fn items_read_back(items in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..9)) {
            let mut bytes = Vec::new();
            for (hop, update) in &items {
                let before = bytes.len();
                item(&mut bytes, *hop, update);
                prop_assert_eq!(bytes.len() - before, item_bytes(update.len()));
            }
            let read: Vec<_> = Items::new(Reader::new(&bytes)).map(|(hop, update)| (hop, update.to_vec())).collect();
            prop_assert_eq!(read, items);
        }
    }
}
