//! Frames on their way out.

use std::net::SocketAddr;

use crate::aggregate::count::Share;
use crate::aggregate::gauge::Holding;
use crate::coordinates::Coordinate;
use crate::frame::{self, Accusation, Neighbour, ONE_WAY, SketchHead, Space};
use crate::identity::NodeId;
use crate::io::QueryId;
use crate::overlay::Peer;
use crate::returns::Return;
use crate::sketch::Symbol;
use crate::time::Seconds;
use crate::update::UpdateId;
use crate::wire::{HEADER_BYTES, Header, PACKET_BYTES_MAX, Put, VERSION};

/// Frames on their way out: into one datagram, or one packet of a stream.
///
/// Each `put` writes a whole frame; [`room`](Self::room) tells what is left. Nothing is written or allocated before
/// the first frame: most replies stay empty.
#[derive(Debug)]
pub(crate) struct Packet {
    head: Head,
    bytes: Vec<u8>,
    limit: usize,
}

/// What stands before the first frame.
#[derive(Clone, Copy, Debug)]
enum Head {
    Datagram(Header),
    /// A packet on a stream begins with its length, which is written when it is finished.
    Length,
}

impl Head {
    const fn bytes(self) -> usize {
        match self {
            Self::Datagram(_) => HEADER_BYTES + 1,
            Self::Length => 4,
        }
    }
}

/// Room for most datagrams of a calm cluster, so that they are written without growing.
const USUAL_BYTES: usize = 256;
/// The longest frame whose length takes one byte.
const PADDING_MAX: usize = 129;

impl Packet {
    /// A datagram of at most `limit` bytes.
    pub(crate) const fn datagram(header: Header, limit: usize) -> Self {
        Self { head: Head::Datagram(header), bytes: Vec::new(), limit }
    }

    /// A packet on a stream.
    pub(crate) const fn stream() -> Self {
        Self { head: Head::Length, bytes: Vec::new(), limit: 4 + PACKET_BYTES_MAX }
    }

    /// Whether no frame is in it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many more bytes fit.
    pub(crate) const fn room(&self) -> usize {
        let written = if self.is_empty() { self.head.bytes() } else { self.bytes.len() };
        self.limit.saturating_sub(written)
    }

    /// More may go out than was thought.
    pub(crate) fn raise_limit(&mut self, limit: usize) {
        self.limit = self.limit.max(limit);
    }

    /// All of it, if a frame is in it.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        if let (Head::Length, Some((len, frames))) = (self.head, self.bytes.split_first_chunk_mut()) {
            *len = u32::try_from(frames.len()).expect("a packet is capped far below 4 GiB").to_le_bytes();
        }
        self.bytes
    }

    /// The head comes with the first frame.
    fn begin(&mut self) {
        if !self.bytes.is_empty() {
            return;
        }
        self.bytes = Vec::with_capacity(self.limit.min(USUAL_BYTES));
        match self.head {
            Head::Datagram(header) => {
                header.write(&mut self.bytes);
                self.bytes.push(VERSION.to_byte());
            }
            Head::Length => self.bytes.extend_from_slice(&[0; 4]),
        }
    }

    pub(crate) fn ping(&mut self, number: u16, root: u64) {
        self.fixed(frame::KIND_PING, number, root);
    }

    pub(crate) fn ack(&mut self, number: u16, root: u64) {
        self.fixed(frame::KIND_ACK, number, root);
    }

    pub(crate) fn ping_req(&mut self, number: u16, target: NodeId, address: SocketAddr) {
        self.sized(frame::KIND_PING_REQ, |to| {
            to.extend_from_slice(&number.to_le_bytes());
            to.extend_from_slice(&target.0.to_le_bytes());
            to.put_address(address);
        });
    }

    pub(crate) fn nack(&mut self, number: u16) {
        self.sized(frame::KIND_NACK, |to| to.extend_from_slice(&number.to_le_bytes()));
    }

    /// Items as [`item`] wrote them.
    pub(crate) fn updates(&mut self, packet: u16, asks: bool, items: &[u8]) {
        self.begin();
        self.bytes.push(frame::KIND_UPDATES);
        self.bytes.put_size(3 + items.len());
        self.bytes.extend_from_slice(&packet.to_le_bytes());
        self.bytes.push(asks.into());
        self.bytes.extend_from_slice(items);
    }

    pub(crate) fn feedback(&mut self, packet: u16, known: u64) {
        self.sized(frame::KIND_FEEDBACK, |to| {
            to.extend_from_slice(&packet.to_le_bytes());
            to.extend_from_slice(&known.to_le_bytes());
        });
    }

    pub(crate) fn accusations(&mut self, accusations: &[Accusation]) {
        self.sized(frame::KIND_ACCUSATIONS, |to| {
            for accusation in accusations {
                to.extend_from_slice(&accusation.member.0.to_le_bytes());
                to.extend_from_slice(&accusation.incarnation.to_le_bytes());
                to.extend_from_slice(&accusation.accuser.0.to_le_bytes());
            }
        });
    }

    pub(crate) fn announce(&mut self, updates: &[(UpdateId, u32)]) {
        self.sized(frame::KIND_ANNOUNCE, |to| {
            for (id, size) in updates {
                to.extend_from_slice(&id.0.to_le_bytes());
                to.extend_from_slice(&size.to_le_bytes());
            }
        });
    }

    pub(crate) fn request(&mut self, ids: &[UpdateId]) {
        self.sized(frame::KIND_REQUEST, |to| {
            for id in ids {
                to.extend_from_slice(&id.0.to_le_bytes()[..frame::SHORT_ID_BYTES]);
            }
        });
    }

    pub(crate) fn sketch(&mut self, head: &SketchHead, symbols: &[Symbol]) {
        self.sized(frame::KIND_SKETCH, |to| {
            to.push(head.space as u8 | if head.one_way { ONE_WAY } else { 0 });
            to.extend_from_slice(&head.exchange.to_le_bytes());
            to.extend_from_slice(&head.offset.to_le_bytes());
            if head.offset == 0 {
                to.extend_from_slice(&head.as_of.0.to_le_bytes());
                to.extend_from_slice(&head.count.to_le_bytes());
            }
            for symbol in symbols {
                to.extend_from_slice(&symbol.to_bytes());
            }
        });
    }

    pub(crate) fn more(&mut self, exchange: u64, from: u16, until: u16) {
        self.sized(frame::KIND_MORE, |to| {
            to.extend_from_slice(&exchange.to_le_bytes());
            to.extend_from_slice(&from.to_le_bytes());
            to.extend_from_slice(&until.to_le_bytes());
        });
    }

    pub(crate) fn settled(&mut self, exchange: u64, differences: u32) {
        self.sized(frame::KIND_SETTLED, |to| {
            to.extend_from_slice(&exchange.to_le_bytes());
            to.extend_from_slice(&differences.to_le_bytes());
        });
    }

    pub(crate) fn bulk(&mut self, space: Space, exchange: u64) {
        self.sized(frame::KIND_BULK, |to| {
            to.push(space as u8);
            to.extend_from_slice(&exchange.to_le_bytes());
        });
    }

    pub(crate) fn walk(&mut self, ttl: u8, joiner: Peer) {
        self.sized(frame::KIND_WALK, |to| {
            to.push(ttl);
            put_peer(to, joiner);
        });
    }

    pub(crate) fn neighbour(&mut self, word: Neighbour) {
        self.sized(frame::KIND_NEIGHBOUR, |to| to.push(word as u8));
    }

    pub(crate) fn shuffle(&mut self, ttl: u8, origin: Peer, peers: &[Peer]) {
        self.sized(frame::KIND_SHUFFLE, |to| {
            to.push(ttl);
            put_peer(to, origin);
            for peer in peers {
                put_peer(to, *peer);
            }
        });
    }

    pub(crate) fn peers(&mut self, peers: &[Peer]) {
        self.sized(frame::KIND_PEERS, |to| {
            for peer in peers {
                put_peer(to, *peer);
            }
        });
    }

    /// Items as [`item`](frame::item) wrote them.
    pub(crate) fn payload(&mut self, items: &[u8]) {
        self.sized(frame::KIND_PAYLOAD, |to| to.extend_from_slice(items));
    }

    pub(crate) fn ihave(&mut self, messages: &[(UpdateId, u8)]) {
        self.sized(frame::KIND_IHAVE, |to| {
            for (id, hop) in messages {
                to.extend_from_slice(&id.0.to_le_bytes());
                to.push(*hop);
            }
        });
    }

    pub(crate) fn graft(&mut self, lacks: bool, messages: &[UpdateId]) {
        self.sized(frame::KIND_GRAFT, |to| {
            to.push(lacks.into());
            for id in messages {
                to.extend_from_slice(&id.0.to_le_bytes());
            }
        });
    }

    pub(crate) fn prune(&mut self, origins: &[NodeId]) {
        self.sized(frame::KIND_PRUNE, |to| {
            for origin in origins {
                to.extend_from_slice(&origin.0.to_le_bytes());
            }
        });
    }

    pub(crate) fn average(&mut self, epoch: u32, number: u16, offered: &[Share]) {
        self.shares(frame::KIND_AVERAGE, epoch, number, offered);
    }

    pub(crate) fn averaged(&mut self, epoch: u32, number: u16, flows: &[Share]) {
        self.shares(frame::KIND_AVERAGED, epoch, number, flows);
    }

    fn shares(&mut self, kind: u8, epoch: u32, number: u16, shares: &[Share]) {
        self.sized(kind, |to| {
            to.extend_from_slice(&epoch.to_le_bytes());
            to.extend_from_slice(&number.to_le_bytes());
            for share in shares {
                to.extend_from_slice(&share.key.to_le_bytes());
                to.extend_from_slice(&share.value.to_le_bytes());
            }
        });
    }

    pub(crate) fn gauge(&mut self, epoch: QueryId, number: u16, offered: &Holding) {
        self.holding(frame::KIND_GAUGE, epoch, number, offered);
    }

    pub(crate) fn gauged(&mut self, epoch: QueryId, number: u16, flows: &Holding) {
        self.holding(frame::KIND_GAUGED, epoch, number, flows);
    }

    fn holding(&mut self, kind: u8, epoch: QueryId, number: u16, holding: &Holding) {
        self.sized(kind, |to| {
            to.extend_from_slice(&epoch.origin.0.to_le_bytes());
            to.extend_from_slice(&epoch.sequence.0.to_le_bytes());
            to.extend_from_slice(&number.to_le_bytes());
            holding.write(to);
        });
    }

    pub(crate) fn size(&mut self, nodes: f32) {
        self.sized(frame::KIND_SIZE, |to| to.extend_from_slice(&nodes.to_le_bytes()));
    }

    pub(crate) fn locate(&mut self) {
        self.sized(frame::KIND_LOCATE, |_| ());
    }

    pub(crate) fn located(&mut self, coordinate: &Coordinate) {
        self.sized(frame::KIND_LOCATED, |to| coordinate.write(to));
    }

    /// A frame of the agreement space, of that kind.
    pub(crate) fn agreement(&mut self, kind: u8, content: &[u8]) {
        self.sized(kind, |to| to.extend_from_slice(content));
    }

    /// Makes the frames so many bytes longer, from 2 to 129: a question that is as long as its answer is answered by who does not
    /// know the asker.
    /// So many bytes of nothing, in as many frames as it takes; less than the two that a frame has are left out.
    pub(crate) fn pad(&mut self, bytes: usize) {
        for _ in 0..bytes / PADDING_MAX {
            self.padding(PADDING_MAX);
        }
        let left = bytes % PADDING_MAX;
        if left >= 2 {
            self.padding(left);
        }
    }

    fn padding(&mut self, bytes: usize) {
        assert!((2..=PADDING_MAX).contains(&bytes), "a frame whose length takes one byte");
        self.sized(frame::KIND_PADDING, |to| to.resize(to.len() + bytes - 2, 0));
    }

    pub(crate) fn challenge(&mut self, token: u64) {
        self.sized(frame::KIND_CHALLENGE, |to| to.extend_from_slice(&token.to_le_bytes()));
    }

    pub(crate) fn echo(&mut self, token: u64) {
        self.sized(frame::KIND_ECHO, |to| to.extend_from_slice(&token.to_le_bytes()));
    }

    pub(crate) fn join(&mut self) {
        self.sized(frame::KIND_JOIN, |_| ());
    }

    pub(crate) fn welcome(&mut self, complete: bool) {
        self.sized(frame::KIND_WELCOME, |to| to.push(complete.into()));
    }

    pub(crate) fn refused(&mut self) {
        self.sized(frame::KIND_REFUSED, |_| {});
    }

    pub(crate) fn answer(&mut self, sequence: u64, payload: &[u8]) {
        self.sized(frame::KIND_ANSWER, |to| {
            to.extend_from_slice(&sequence.to_le_bytes());
            to.extend_from_slice(payload);
        });
    }

    pub(crate) fn answered(&mut self, sequence: u64) {
        self.sized(frame::KIND_ANSWERED, |to| to.extend_from_slice(&sequence.to_le_bytes()));
    }

    pub(crate) fn return_answer(&mut self, number: u32, answer: &Return) {
        self.sized(frame::KIND_RETURN, |to| {
            to.extend_from_slice(&number.to_le_bytes());
            to.push(answer.hops.saturating_add(1));
            to.extend_from_slice(&answer.query.origin.0.to_le_bytes());
            to.extend_from_slice(&answer.query.sequence.0.to_le_bytes());
            to.extend_from_slice(&answer.by.0.to_le_bytes());
            to.put_short_block(answer.name.as_bytes());
            to.extend_from_slice(&answer.payload);
        });
    }

    pub(crate) fn returned(&mut self, number: u32) {
        self.sized(frame::KIND_RETURNED, |to| to.extend_from_slice(&number.to_le_bytes()));
    }

    pub(crate) fn hold(&mut self, number: u64, items: &[u8]) {
        self.sized(frame::KIND_HOLD, |to| {
            to.extend_from_slice(&number.to_le_bytes());
            to.extend_from_slice(items);
        });
    }

    pub(crate) fn reunion(&mut self, since: Seconds, root: u64, answers: bool) {
        self.sized(frame::KIND_REUNION, |to| {
            to.extend_from_slice(&since.0.to_le_bytes());
            to.extend_from_slice(&root.to_le_bytes());
            to.push(answers.into());
        });
    }

    pub(crate) fn roll(&mut self, total: u32, keys: &[u64]) {
        self.sized(frame::KIND_ROLL, |to| {
            to.extend_from_slice(&total.to_le_bytes());
            for key in keys {
                to.extend_from_slice(&key.to_le_bytes());
            }
        });
    }

    pub(crate) fn held(&mut self, number: u64, durable: bool) {
        self.sized(frame::KIND_HELD, |to| {
            to.extend_from_slice(&number.to_le_bytes());
            to.push(durable.into());
        });
    }

    fn fixed(&mut self, kind: u8, number: u16, root: u64) {
        self.begin();
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self.bytes.extend_from_slice(&root.to_le_bytes());
    }

    /// Writes kind, length and content. The length takes one byte where the content is short, as it mostly is; a
    /// longer content moves up to make room.
    fn sized(&mut self, kind: u8, content: impl FnOnce(&mut Vec<u8>)) {
        self.begin();
        self.bytes.push(kind);
        let start = self.bytes.len();
        self.bytes.push(0);
        content(&mut self.bytes);
        let len = self.bytes.len() - start - 1;
        if len < 0x80 {
            self.bytes[start] = len.to_le_bytes()[0];
            return;
        }
        let end = self.bytes.len();
        self.bytes.put_size(len);
        let prefix = self.bytes.len() - end;
        self.bytes[start + 1..].rotate_right(prefix);
        self.bytes.remove(start);
    }
}

fn put_peer(to: &mut Vec<u8>, peer: Peer) {
    to.extend_from_slice(&peer.id.0.to_le_bytes());
    to.put_address(peer.address);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HEADER_BYTES;

    fn header() -> Header {
        let (sender, target) = (NodeId(0x1111_1111_1111_1111), NodeId(0x2222_2222_2222_2222));
        Header { cluster: 0xaabb_ccdd, sender, target, session: 0x3333_3333_3333_3333, clock: 0 }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// The frames of a datagram, in hex, without its envelope of 31 bytes.
    fn frames(write: impl FnOnce(&mut Packet)) -> String {
        let mut packet = Packet::datagram(header(), 1_200);
        write(&mut packet);
        hex(&packet.into_bytes()[HEADER_BYTES + 1..])
    }

    #[test]
    fn a_ping_with_nothing_to_say_leaves_room_for_the_seal_in_46_bytes() {
        let mut packet = Packet::datagram(header(), 1_200);
        packet.ping(7, 0x0102_0304_0506_0708);
        let bytes = packet.into_bytes();
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
        frame::item(&mut items, 2, b"abc");
        assert_eq!(frames(|to| to.updates(9, true, &items)), "12080900010402616263");
        assert_eq!(frames(|to| to.feedback(9, 5)), "130a09000500000000000000");
        let accusation = Accusation { member: NodeId(1), incarnation: 2, accuser: NodeId(3) };
        assert_eq!(frames(|to| to.accusations(&[accusation])), "1418010000000000000002000000000000000300000000000000");
        assert_eq!(frames(|to| to.announce(&[(UpdateId(3), 5_000)])), "150c030000000000000088130000");
        assert_eq!(frames(|to| to.request(&[UpdateId(3)])), "1606030000000000");
        let head =
            SketchHead { space: Space::Messages, exchange: 4, as_of: Seconds(10), count: 3, offset: 1, one_way: false };
        assert_eq!(
            frames(|to| to.sketch(&head, &[Symbol { ids: 6, checks: 7 }])),
            "17170204000000000000000100060000000000000007000000"
        );
        assert_eq!(frames(|to| to.more(4, 8, 32)), "180c040000000000000008002000");
        assert_eq!(frames(|to| to.settled(4, 2)), "190c040000000000000002000000");
        assert_eq!(frames(|to| to.bulk(Space::Members, 4)), "1a09000400000000000000");
        assert_eq!(frames(|to| to.challenge(4)), "1b080400000000000000");
        assert_eq!(frames(|to| to.echo(4)), "1c080400000000000000");
        assert_eq!(frames(Packet::join), "1d00");
        assert_eq!(frames(|to| to.welcome(true)), "1e0101");
        assert_eq!(frames(|to| to.answer(4, b"hi")), "1f0a04000000000000006869");
        assert_eq!(frames(|to| to.answered(4)), "20080400000000000000");
        assert_eq!(frames(|to| to.hold(4, &items)), "210d0400000000000000 0402616263".replace(' ', ""));
        assert_eq!(frames(|to| to.held(4, true)), "2209040000000000000001");
        assert_eq!(frames(|to| to.reunion(Seconds(5), 4, true)), "230d05000000040000000000000001");
        assert_eq!(frames(|to| to.roll(1, &[4])), "240c010000000400000000000000");
        let share = Share { key: 3, value: 0.5 };
        assert_eq!(frames(|to| to.average(1, 2, &[share])), "2d0e010000000200030000000000003f");
        assert_eq!(frames(|to| to.averaged(1, 2, &[share])), "2e0e010000000200030000000000003f");
        assert_eq!(frames(|to| to.size(2.0)), "2f0400000040");
    }
}
