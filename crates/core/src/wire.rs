//! The byte layout of datagrams and streams. `docs/protocol.md` draws what stands here.
//!
//! A datagram is a header of 30 bytes, which is what the seal will take, then a version byte, then frames. A
//! stream is the same header with a version and a fingerprint of the shared settings, once each way, then
//! packets: a length and frames. Integers are little-endian; `varint` is LEB128 of at most ten bytes.
//!
//! **Invariant:** nothing here allocates more than the bytes at hand justify, and nothing panics on them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::identity::NodeId;
use crate::sketch::{SYMBOL_BYTES, Symbol};
use crate::time::Seconds;
use crate::update::UpdateId;

/// What the seal will take of each datagram, and what an unsealed header takes today.
pub const HEADER_BYTES: usize = 30;
/// The protocol version that this node speaks: another major version is refused, an unknown minor one is fine.
pub const VERSION: Version = Version { major: 1, minor: 0 };
/// The first bytes of a stream, each way: header, version, fingerprint of the shared settings.
pub(crate) const HELLO_BYTES: usize = HEADER_BYTES + 1 + 8;
/// The largest packet on a stream: the largest message with room for its head.
pub(crate) const PACKET_BYTES_MAX: usize = (1 << 20) + 4_096;

/// A protocol version; both parts are below 16, so that it fits a byte.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version {
    /// Another one is refused.
    pub major: u8,
    /// A newer one adds frames and fields that are skipped.
    pub minor: u8,
}

impl Version {
    pub(crate) const fn to_byte(self) -> u8 {
        self.major << 4 | self.minor
    }

    pub(crate) const fn from_byte(byte: u8) -> Self {
        Self { major: byte >> 4, minor: byte & 0xf }
    }
}

/// Who sends to whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    /// A hash of the cluster's name: strangers are dropped by it.
    pub(crate) cluster: u32,
    pub(crate) sender: NodeId,
    /// [`NodeId::NONE`] while it is not known who lives at the address.
    pub(crate) target: NodeId,
    /// Of the sender's start.
    pub(crate) session: u64,
}

impl Header {
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.cluster.to_le_bytes());
        to.extend_from_slice(&self.sender.0.to_le_bytes());
        to.extend_from_slice(&self.target.0.to_le_bytes());
        to.extend_from_slice(&self.session.to_le_bytes());
        to.extend_from_slice(&[0; 2]);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let header = Self {
            cluster: from.u32()?,
            sender: NodeId(from.u64()?),
            target: NodeId(from.u64()?),
            session: from.u64()?,
        };
        from.take(2)?;
        Some(header)
    }
}

/// Takes bytes apart from the front. `None` means that there are too few, or that they make no sense.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return None;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A varint that counts bytes or things at hand.
    pub(crate) fn size(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    /// Bytes behind their length as a varint.
    pub(crate) fn block(&mut self) -> Option<&'a [u8]> {
        let len = self.size()?;
        self.take(len)
    }

    /// Bytes behind their length in one byte.
    pub(crate) fn short_block(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }

    /// UTF-8 behind its length in one byte.
    pub(crate) fn short_text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.short_block()?).ok()
    }

    pub(crate) fn address(&mut self) -> Option<SocketAddr> {
        let ip = match self.u8()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, self.u16()?))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*taken)
    }
}

/// Puts bytes together; the counterpart of [`Reader`].
pub(crate) trait Put {
    fn put_varint(&mut self, value: u64);
    fn put_size(&mut self, size: usize);
    fn put_short_block(&mut self, bytes: &[u8]);
    fn put_address(&mut self, address: SocketAddr);
}

impl Put for Vec<u8> {
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.push(value.to_le_bytes()[0]);
    }

    fn put_size(&mut self, size: usize) {
        self.put_varint(size as u64);
    }

    fn put_short_block(&mut self, bytes: &[u8]) {
        self.push(u8::try_from(bytes.len()).expect("checked where the text entered"));
        self.extend_from_slice(bytes);
    }

    fn put_address(&mut self, address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) => {
                self.push(4);
                self.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.push(6);
                self.extend_from_slice(&ip.octets());
            }
        }
        self.extend_from_slice(&address.port().to_le_bytes());
    }
}

/// How many bytes `value` takes as a varint.
pub(crate) const fn varint_bytes(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Frames below this kind have a fixed length and none written; all others can be skipped unread.
const KIND_SIZED: u8 = 0x10;
const KIND_PING: u8 = 0x01;
const KIND_ACK: u8 = 0x02;
const KIND_PING_REQ: u8 = 0x10;
const KIND_NACK: u8 = 0x11;
const KIND_UPDATES: u8 = 0x12;
const KIND_FEEDBACK: u8 = 0x13;
const KIND_ACCUSATIONS: u8 = 0x14;
const KIND_ANNOUNCE: u8 = 0x15;
const KIND_REQUEST: u8 = 0x16;
const KIND_SKETCH: u8 = 0x17;
const KIND_MORE: u8 = 0x18;
const KIND_SETTLED: u8 = 0x19;
const KIND_BULK: u8 = 0x1a;
const KIND_CHALLENGE: u8 = 0x1b;
const KIND_ECHO: u8 = 0x1c;
const KIND_JOIN: u8 = 0x1d;
const KIND_WELCOME: u8 = 0x1e;
const KIND_ANSWER: u8 = 0x1f;
const KIND_ANSWERED: u8 = 0x20;

/// Which set of updates a frame is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Space {
    Members = 0,
    Messages = 2,
}

impl Space {
    pub(crate) const ALL: [Self; 2] = [Self::Members, Self::Messages];

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Members),
            2 => Some(Self::Messages),
            _ => None,
        }
    }
}

/// Somebody could not reach a suspect either: a line passed on while hot, not an update.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
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
    /// Only updates that are forgotten later than this count.
    pub(crate) as_of: Seconds,
    /// How many ids the sketch holds.
    pub(crate) count: u32,
    /// Which symbol comes first in this batch.
    pub(crate) offset: u16,
}

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
    /// That did not decode: send symbols from here on.
    More { exchange: u64, from: u16 },
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
    /// An answer to a query.
    Answer { sequence: u64, payload: &'a [u8] },
    /// The answer came.
    Answered { sequence: u64 },
    /// Of a newer minor version, or about a space that this version does not have.
    Unknown,
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

    pub(crate) fn ids(self) -> impl Iterator<Item = UpdateId> + 'a {
        self.0.chunks_exact(8).filter_map(|entry| Reader::new(entry).u64().map(UpdateId))
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
        KIND_REQUEST => Frame::Request(List::new(content.rest(), 8)?),
        KIND_SKETCH => return read_sketch(content),
        KIND_MORE => Frame::More { exchange: content.u64()?, from: content.u16()? },
        KIND_SETTLED => Frame::Settled { exchange: content.u64()?, differences: content.u32()? },
        KIND_BULK => match Space::from_byte(content.u8()?) {
            Some(space) => Frame::Bulk { space, exchange: content.u64()? },
            None => Frame::Unknown,
        },
        KIND_CHALLENGE => Frame::Challenge { token: content.u64()? },
        KIND_ECHO => Frame::Echo { token: content.u64()? },
        KIND_JOIN => Frame::Join,
        KIND_WELCOME => Frame::Welcome { complete: content.u8()? & 1 != 0 },
        KIND_ANSWER => Frame::Answer { sequence: content.u64()?, payload: content.rest() },
        KIND_ANSWERED => Frame::Answered { sequence: content.u64()? },
        _ => Frame::Unknown,
    };
    Some(frame)
}

fn read_sketch(mut content: Reader<'_>) -> Option<Frame<'_>> {
    let Some(space) = Space::from_byte(content.u8()?) else { return Some(Frame::Unknown) };
    let head = SketchHead {
        space,
        exchange: content.u64()?,
        as_of: Seconds(content.u32()?),
        count: content.u32()?,
        offset: content.u16()?,
    };
    Some(Frame::Sketch { head, symbols: List::new(content.rest(), SYMBOL_BYTES)? })
}

/// Frames on their way out: into one datagram, or one packet of a stream.
///
/// Each `put` writes a whole frame; [`room`](Self::room) tells what is left.
#[derive(Debug)]
pub(crate) struct Packet {
    bytes: Vec<u8>,
    /// Bytes before the first frame.
    empty: usize,
    limit: usize,
}

impl Packet {
    /// A datagram of at most `limit` bytes.
    pub(crate) fn datagram(header: Header, limit: usize) -> Self {
        let mut bytes = Vec::with_capacity(64);
        header.write(&mut bytes);
        bytes.push(VERSION.to_byte());
        Self { empty: bytes.len(), bytes, limit }
    }

    /// A packet on a stream; its length is written when it is finished.
    pub(crate) fn stream() -> Self {
        Self { bytes: vec![0; 4], empty: 4, limit: 4 + PACKET_BYTES_MAX }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.len() == self.empty
    }

    /// How many more bytes fit.
    pub(crate) const fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    /// More may go out than was thought.
    pub(crate) fn raise_limit(&mut self, limit: usize) {
        self.limit = self.limit.max(limit);
    }

    pub(crate) fn into_datagram(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn into_stream(mut self) -> Vec<u8> {
        let len = u32::try_from(self.bytes.len() - 4).expect("a packet is capped far below 4 GiB");
        self.bytes[..4].copy_from_slice(&len.to_le_bytes());
        self.bytes
    }

    pub(crate) fn ping(&mut self, number: u16, root: u64) {
        self.fixed(KIND_PING, number, root);
    }

    pub(crate) fn ack(&mut self, number: u16, root: u64) {
        self.fixed(KIND_ACK, number, root);
    }

    pub(crate) fn ping_req(&mut self, number: u16, target: NodeId, address: SocketAddr) {
        self.sized(KIND_PING_REQ, |to| {
            to.extend_from_slice(&number.to_le_bytes());
            to.extend_from_slice(&target.0.to_le_bytes());
            to.put_address(address);
        });
    }

    pub(crate) fn nack(&mut self, number: u16) {
        self.sized(KIND_NACK, |to| to.extend_from_slice(&number.to_le_bytes()));
    }

    /// Items as [`item`] wrote them.
    pub(crate) fn updates(&mut self, packet: u16, asks: bool, items: &[u8]) {
        self.sized(KIND_UPDATES, |to| {
            to.extend_from_slice(&packet.to_le_bytes());
            to.push(asks.into());
            to.extend_from_slice(items);
        });
    }

    pub(crate) fn feedback(&mut self, packet: u16, known: u64) {
        self.sized(KIND_FEEDBACK, |to| {
            to.extend_from_slice(&packet.to_le_bytes());
            to.extend_from_slice(&known.to_le_bytes());
        });
    }

    pub(crate) fn accusations(&mut self, accusations: &[Accusation]) {
        self.sized(KIND_ACCUSATIONS, |to| {
            for accusation in accusations {
                to.extend_from_slice(&accusation.member.0.to_le_bytes());
                to.extend_from_slice(&accusation.incarnation.to_le_bytes());
                to.extend_from_slice(&accusation.accuser.0.to_le_bytes());
            }
        });
    }

    pub(crate) fn announce(&mut self, updates: &[(UpdateId, u32)]) {
        self.sized(KIND_ANNOUNCE, |to| {
            for (id, size) in updates {
                to.extend_from_slice(&id.0.to_le_bytes());
                to.extend_from_slice(&size.to_le_bytes());
            }
        });
    }

    pub(crate) fn request(&mut self, ids: &[UpdateId]) {
        self.sized(KIND_REQUEST, |to| {
            for id in ids {
                to.extend_from_slice(&id.0.to_le_bytes());
            }
        });
    }

    pub(crate) fn sketch(&mut self, head: &SketchHead, symbols: &[Symbol]) {
        self.sized(KIND_SKETCH, |to| {
            to.push(head.space as u8);
            to.extend_from_slice(&head.exchange.to_le_bytes());
            to.extend_from_slice(&head.as_of.0.to_le_bytes());
            to.extend_from_slice(&head.count.to_le_bytes());
            to.extend_from_slice(&head.offset.to_le_bytes());
            for symbol in symbols {
                to.extend_from_slice(&symbol.to_bytes());
            }
        });
    }

    pub(crate) fn more(&mut self, exchange: u64, from: u16) {
        self.sized(KIND_MORE, |to| {
            to.extend_from_slice(&exchange.to_le_bytes());
            to.extend_from_slice(&from.to_le_bytes());
        });
    }

    pub(crate) fn settled(&mut self, exchange: u64, differences: u32) {
        self.sized(KIND_SETTLED, |to| {
            to.extend_from_slice(&exchange.to_le_bytes());
            to.extend_from_slice(&differences.to_le_bytes());
        });
    }

    pub(crate) fn bulk(&mut self, space: Space, exchange: u64) {
        self.sized(KIND_BULK, |to| {
            to.push(space as u8);
            to.extend_from_slice(&exchange.to_le_bytes());
        });
    }

    pub(crate) fn challenge(&mut self, token: u64) {
        self.sized(KIND_CHALLENGE, |to| to.extend_from_slice(&token.to_le_bytes()));
    }

    pub(crate) fn echo(&mut self, token: u64) {
        self.sized(KIND_ECHO, |to| to.extend_from_slice(&token.to_le_bytes()));
    }

    pub(crate) fn join(&mut self) {
        self.sized(KIND_JOIN, |_| ());
    }

    pub(crate) fn welcome(&mut self, complete: bool) {
        self.sized(KIND_WELCOME, |to| to.push(complete.into()));
    }

    pub(crate) fn answer(&mut self, sequence: u64, payload: &[u8]) {
        self.sized(KIND_ANSWER, |to| {
            to.extend_from_slice(&sequence.to_le_bytes());
            to.extend_from_slice(payload);
        });
    }

    pub(crate) fn answered(&mut self, sequence: u64) {
        self.sized(KIND_ANSWERED, |to| to.extend_from_slice(&sequence.to_le_bytes()));
    }

    fn fixed(&mut self, kind: u8, number: u16, root: u64) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self.bytes.extend_from_slice(&root.to_le_bytes());
    }

    /// Writes kind, length and content. The length takes one byte where the content is short, as it mostly is; a
    /// longer content moves up to make room.
    fn sized(&mut self, kind: u8, content: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.push(kind);
        let start = self.bytes.len();
        self.bytes.push(0);
        content(&mut self.bytes);
        let len = self.bytes.len() - start - 1;
        if len < 0x80 {
            self.bytes[start] = len.to_le_bytes()[0];
            return;
        }
        let mut prefix = Vec::with_capacity(4);
        prefix.put_size(len);
        self.bytes.splice(start..=start, prefix);
    }
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

    fn header() -> Header {
        let (sender, target) = (NodeId(0x1111_1111_1111_1111), NodeId(0x2222_2222_2222_2222));
        Header { cluster: 0xaabb_ccdd, sender, target, session: 0x3333_3333_3333_3333 }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The frames of a datagram, in hex, without its envelope of 31 bytes.
    fn frames(write: impl FnOnce(&mut Packet)) -> String {
        let mut packet = Packet::datagram(header(), 1_200);
        write(&mut packet);
        hex(&packet.into_datagram()[HEADER_BYTES + 1..])
    }

    #[test]
    fn a_ping_with_nothing_to_say_leaves_room_for_the_seal_in_46_bytes() {
        let mut packet = Packet::datagram(header(), 1_200);
        packet.ping(7, 0x0102_0304_0506_0708);
        let bytes = packet.into_datagram();
        let golden = "ddccbbaa1111111111111111222222222222222233333333333333330000\
                      10\
                      0107000807060504030201";
        assert_eq!(hex(&bytes), golden);
        // The four bytes of the cluster stay outside the seal's thirty.
        assert!(bytes.len() - HEADER_BYTES + 4 + 30 <= 46, "{} bytes", bytes.len());
    }

    #[test]
    fn golden_frames() {
        let address = "10.0.0.1:4747".parse().unwrap();
        let six = "[::1]:4747".parse().unwrap();
        assert_eq!(frames(|to| to.ack(7, 1)), "0207000100000000000000");
        assert_eq!(frames(|to| to.ping_req(7, NodeId(5), address)), "101107000500000000000000040a0000018b12");
        assert_eq!(
            frames(|to| to.ping_req(7, NodeId(5), six)),
            "101d0700050000000000000006000000000000000000000000000000018b12"
        );
        assert_eq!(frames(|to| to.nack(7)), "11020700");
        let mut items = Vec::new();
        item(&mut items, 2, b"abc");
        assert_eq!(frames(|to| to.updates(9, true, &items)), "12080900010402616263");
        assert_eq!(frames(|to| to.feedback(9, 5)), "130a09000500000000000000");
        assert_eq!(frames(|to| to.request(&[UpdateId(3)])), "16080300000000000000");
        let head = SketchHead { space: Space::Messages, exchange: 4, as_of: Seconds(10), count: 3, offset: 1 };
        assert_eq!(
            frames(|to| to.sketch(&head, &[Symbol { ids: 6, checks: 7 }])),
            "171f0204000000000000000a000000030000000100060000000000000007000000"
        );
        assert_eq!(frames(|to| to.more(4, 8)), "180a04000000000000000800");
        assert_eq!(frames(|to| to.settled(4, 2)), "190c040000000000000002000000");
        assert_eq!(frames(|to| to.bulk(Space::Members, 4)), "1a09000400000000000000");
        assert_eq!(frames(|to| to.challenge(4)), "1b080400000000000000");
        assert_eq!(frames(|to| to.echo(4)), "1c080400000000000000");
        assert_eq!(frames(Packet::join), "1d00");
        assert_eq!(frames(|to| to.welcome(true)), "1e0101");
        assert_eq!(frames(|to| to.answer(4, b"hi")), "1f0a04000000000000006869");
        assert_eq!(frames(|to| to.answered(4)), "20080400000000000000");
    }

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
                    Ok(Frame::Updates { items, .. }) => drop(items.collect::<Vec<_>>()),
                    Ok(Frame::Accusations(list)) => drop(list.accusations().collect::<Vec<_>>()),
                    Ok(Frame::Announce(list)) => drop(list.announced().collect::<Vec<_>>()),
                    Ok(Frame::Request(list)) => drop(list.ids().collect::<Vec<_>>()),
                    Ok(Frame::Sketch { symbols, .. }) => drop(symbols.symbols().collect::<Vec<_>>()),
                    Ok(_) | Err(Malformed) => {}
                }
            }
        }

        #[test]
        fn a_varint_reads_back(value: u64) {
            let mut bytes = Vec::new();
            bytes.put_varint(value);
            prop_assert_eq!(Reader::new(&bytes).varint(), Some(value));
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
