//! Streams between two nodes: greeting, packets, pacing and time-outs. What packets say is not known here.
//!
//! Each side first sends a greeting of fixed length, then packets: a length in four bytes, then frames. What is
//! sent goes out in pieces of at most 16 KiB, one at a time, so that a large transfer never holds up the node nor
//! breaks the bandwidth contract.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::budget::Budget;
use crate::effects::{Effects, Timer};
use crate::few::Few;
use crate::identity::NodeId;
use crate::io::{Channel, Output, StreamId};
use crate::limits::Limits;
use crate::update::UpdateId;
use crate::wire::{HELLO_BYTES, Header, PACKET_BYTES_MAX, Reader, VERSION, Version};

/// The largest piece (design §2, starvation).
const PIECE_BYTES: usize = 16 << 10;
/// A stream that made no headway for this long ends.
const IDLE: Duration = Duration::from_secs(15);
/// So many bytes are headway, as a whole greeting or packet is: a large packet may take long, a few bytes now and then hold no
/// place. The slowest link that streams work over has 273 bytes a second.
const HEADWAY_BYTES: usize = 4 << 10;
/// What has come in of a packet that is not whole: its length, and all of the largest but a byte.
const INBOX_BYTES_MAX: usize = 4 + PACKET_BYTES_MAX - 1;
/// Bytes that may wait on all streams together; a transfer beyond that is cut short and repair finishes it.
const OUTBOXES_BYTES_MAX: usize = 64 << 20;

/// Why this node opened a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) enum Purpose {
    /// To get to know the cluster through this contact.
    Join,
    /// To ping somebody who does not answer datagrams; the number is the ping's.
    Probe(u16),
    /// To reconcile data after a long separation.
    Reunion,
    /// To compare replicas, or send what a datagram does not hold.
    Exchange,
    /// Another node opened it.
    Accepted,
}

/// The greeting of the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    pub(crate) header: Header,
    pub(crate) version: Version,
    pub(crate) settings: u64,
}

/// What came out of bytes that came in.
#[derive(Debug)]
pub(crate) enum Received {
    /// The other end introduced itself; whatever else is in the buffer waits for [`Streams::next`].
    Greeting(Greeting),
    /// A whole packet of frames.
    Packet(Vec<u8>),
    /// A packet larger than any node sends.
    Oversized,
}

#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Stream {
    pub(crate) address: SocketAddr,
    pub(crate) purpose: Purpose,
    /// Whom the other end said to be.
    pub(crate) peer: Option<NodeId>,
    inbound: Vec<u8>,
    /// Bytes that came since the last headway.
    came: usize,
    outbox: VecDeque<Vec<u8>>,
    waiting: usize,
    writing: bool,
    closing: bool,
    /// Updates in the outbox that were asked for: they are not sent twice.
    sending: BTreeSet<UpdateId>,
    /// Nothing was sent yet.
    greets: bool,
}

/// All streams of one node.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Streams {
    open: Few<StreamId, Stream>,
    /// Those whose next piece has to wait for the bandwidth contract.
    blocked: BTreeSet<StreamId>,
    /// More will be queued on them: they do not end before that.
    held: BTreeSet<StreamId>,
    next: u64,
    limit: usize,
}

impl Streams {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { open: Few::new(), blocked: BTreeSet::new(), held: BTreeSet::new(), next: 2, limit }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.open.get(&id)
    }

    /// Bytes that wait to be sent, on all streams.
    pub(crate) fn waiting(&self) -> usize {
        self.open.values().map(|stream| stream.waiting).sum()
    }

    /// How many streams have something to send that is not written.
    pub(crate) fn sending(&self) -> usize {
        self.open.values().filter(|stream| stream.writing || stream.waiting > 0).count()
    }

    /// Whether that peer has a stream open to this node: it sends, or will.
    pub(crate) fn is_expecting(&self, peer: NodeId) -> bool {
        self.open.values().any(|stream| stream.peer == Some(peer) && stream.purpose == Purpose::Accepted)
    }

    /// Whether an update is not on its way on that stream yet; from now on it is.
    pub(crate) fn begin(&mut self, id: StreamId, update: UpdateId) -> bool {
        self.open.get_mut(&id).is_some_and(|stream| stream.sending.insert(update))
    }

    /// The streams with a peer.
    pub(crate) fn with(&self, peer: NodeId) -> Vec<StreamId> {
        self.open.iter().filter(|(_, stream)| stream.peer == Some(peer)).map(|(id, _)| *id).collect()
    }

    /// The stream that this node opened to an address for a purpose.
    pub(crate) fn find(&self, address: SocketAddr, purpose: Purpose) -> Option<StreamId> {
        self.open.iter().find(|(_, stream)| stream.address == address && stream.purpose == purpose).map(|(id, _)| *id)
    }

    /// Whether this node has opened a stream for a purpose that is still open.
    pub(crate) fn serves(&self, purpose: Purpose) -> bool {
        self.open.values().any(|stream| stream.purpose == purpose)
    }

    /// The stream that has to end for another from that machine to be accepted: where all places are taken the oldest of the machine
    /// that opened most, if it has more of them than the newcomer's will.
    pub(crate) fn crowding(&self, from: SocketAddr) -> Option<StreamId> {
        if self.open.len() < self.limit {
            return None;
        }
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::from([(from.ip(), 1)]);
        let accepted = || self.open.iter().filter(|(_, stream)| stream.purpose == Purpose::Accepted);
        for (_, stream) in accepted() {
            *counts.entry(stream.address.ip()).or_default() += 1;
        }
        let most =
            counts.values().copied().max().filter(|most| counts.get(&from.ip()).is_some_and(|own| own < most))?;
        accepted().find(|(_, stream)| counts.get(&stream.address.ip()) == Some(&most)).map(|(id, _)| *id)
    }

    /// Takes in a stream that another node opened; `false` if there are too many.
    pub(crate) fn accept(&mut self, id: StreamId, from: SocketAddr, fx: &mut Effects) -> bool {
        assert!(id.0 % 2 == 1, "streams that are accepted have odd numbers");
        if self.open.len() >= self.limit {
            return false;
        }
        let old = self.open.insert(id, Stream::new(from, Purpose::Accepted));
        assert!(old.is_none(), "stream numbers are used once");
        fx.arm(IDLE, Timer::Stream(id));
        true
    }

    /// Opens a stream; `None` if there are too many.
    pub(crate) fn open(
        &mut self,
        to: SocketAddr,
        purpose: Purpose,
        greeting: Vec<u8>,
        fx: &mut Effects,
        budget: &mut Budget,
    ) -> Option<StreamId> {
        if self.open.len() >= self.limit {
            return None;
        }
        let id = StreamId(self.next);
        self.next += 2;
        self.open.insert(id, Stream::new(to, purpose));
        self.send(id, greeting, fx, budget);
        Some(id)
    }

    pub(crate) fn set_peer(&mut self, id: StreamId, peer: NodeId) {
        if let Some(stream) = self.open.get_mut(&id) {
            stream.peer = Some(peer);
        }
    }

    /// Queues bytes; `false` if too much waits already, on this stream and others.
    pub(crate) fn send(&mut self, id: StreamId, bytes: Vec<u8>, fx: &mut Effects, budget: &mut Budget) -> bool {
        let total: usize = self.open.values().map(|stream| stream.waiting).sum();
        let Some(stream) = self.open.get_mut(&id) else { return false };
        if total + bytes.len() > OUTBOXES_BYTES_MAX {
            return false;
        }
        stream.waiting += bytes.len();
        stream.outbox.push_back(bytes);
        fx.arm(IDLE, Timer::Stream(id));
        self.pump(id, fx, budget);
        true
    }

    /// Ends a stream once everything queued is sent.
    pub(crate) fn close_after(&mut self, id: StreamId, fx: &mut Effects) {
        let Some(stream) = self.open.get_mut(&id) else { return };
        stream.closing = true;
        if stream.outbox.is_empty() && !stream.writing && !self.held.contains(&id) {
            self.close(id, fx);
        }
    }

    /// An answer is expected on a stream that was to end.
    pub(crate) fn keep_open(&mut self, id: StreamId) {
        if let Some(stream) = self.open.get_mut(&id) {
            stream.closing = false;
        }
    }

    /// More will be queued: a stream that is to end waits for it.
    pub(crate) fn hold(&mut self, id: StreamId) {
        if self.open.contains_key(&id) {
            self.held.insert(id);
        }
    }

    /// No more will be queued.
    pub(crate) fn release(&mut self, id: StreamId, fx: &mut Effects) {
        self.held.remove(&id);
        if self.open.get(&id).is_some_and(|stream| stream.closing) {
            self.close_after(id, fx);
        }
    }

    /// Ends a stream now.
    pub(crate) fn close(&mut self, id: StreamId, fx: &mut Effects) {
        self.blocked.remove(&id);
        self.held.remove(&id);
        if self.open.remove(&id).is_some() {
            fx.cancel(Timer::Stream(id));
            fx.outputs.push_back(Output::Close { stream: id });
        }
    }

    /// Ends a stream that was silent for too long, unless it is this node that may not send yet.
    pub(crate) fn close_idle(&mut self, id: StreamId, fx: &mut Effects) -> bool {
        if self.blocked.contains(&id) {
            fx.arm(IDLE, Timer::Stream(id));
            return false;
        }
        self.close(id, fx);
        true
    }

    /// The stream ended by itself.
    pub(crate) fn on_closed(&mut self, id: StreamId, fx: &mut Effects) -> Option<Stream> {
        fx.cancel(Timer::Stream(id));
        self.blocked.remove(&id);
        self.held.remove(&id);
        self.open.remove(&id)
    }

    /// The last piece is on its way; the next may follow.
    pub(crate) fn on_written(&mut self, id: StreamId, fx: &mut Effects, budget: &mut Budget) {
        if let Some(stream) = self.open.get_mut(&id) {
            stream.writing = false;
            fx.arm(IDLE, Timer::Stream(id));
            self.pump(id, fx, budget);
        }
    }

    /// The bandwidth contract may allow more now.
    pub(crate) fn on_pace_due(&mut self, fx: &mut Effects, budget: &mut Budget) {
        for id in std::mem::take(&mut self.blocked) {
            self.pump(id, fx, budget);
        }
        if self.blocked.is_empty() {
            budget.release();
        }
    }

    /// Bytes came in; [`next`](Self::next) takes them apart. Returns whether so many have come that this is headway.
    pub(crate) fn on_bytes(&mut self, id: StreamId, bytes: &[u8], fx: &mut Effects) -> bool {
        let Some(stream) = self.open.get_mut(&id) else { return false };
        stream.inbound.extend_from_slice(bytes);
        stream.came += bytes.len();
        let is_headway = stream.came >= HEADWAY_BYTES;
        if is_headway {
            stream.came = 0;
            fx.arm(IDLE, Timer::Stream(id));
        }
        is_headway
    }

    /// The next thing that is complete in what came in.
    pub(crate) fn next(&mut self, id: StreamId, fx: &mut Effects) -> Option<Received> {
        let stream = self.open.get_mut(&id)?;
        let received = stream.take_next()?;
        stream.came = 0;
        fx.arm(IDLE, Timer::Stream(id));
        Some(received)
    }

    /// Sends the next piece, if none is on its way and the contract allows it.
    fn pump(&mut self, id: StreamId, fx: &mut Effects, budget: &mut Budget) {
        let Some(stream) = self.open.get_mut(&id) else { return };
        if stream.writing {
            return;
        }
        let Some(first) = stream.outbox.front() else {
            stream.sending.clear();
            if stream.closing && !self.held.contains(&id) {
                self.close(id, fx);
            }
            return;
        };
        let size = first.len().min(budget.piece_max(PIECE_BYTES));
        // The oldest is served first: if all shared what there is, none would end in time.
        let waits = self.blocked.first().is_some_and(|oldest| *oldest < id);
        // But the greeting of one goes out at once: it says that more will come.
        let greets = std::mem::take(&mut stream.greets) && budget.pay_opening(size, fx.now.instant);
        if !greets && (waits || !budget.pay_stream(size, fx.now.instant)) {
            self.blocked.insert(id);
            fx.arm_once(budget.wait_for(size), Timer::Pace);
            return;
        }
        self.blocked.remove(&id);
        let bytes = stream.take_piece(size);
        stream.writing = true;
        fx.counters.bytes_sent += bytes.len() as u64;
        fx.outputs.push_back(Output::Transmit { to: stream.address, channel: Channel::Stream(id), bytes });
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        // Those that wait for their turn or for room are open.
        let Self { open, blocked: _, held: _, next: _, limit } = self;
        to.entries("streams", open.len(), *limit);
        to.bytes("stream_outboxes", self.waiting(), OUTBOXES_BYTES_MAX);
        let inboxes = open.values().map(|stream| stream.inbound.len()).sum();
        to.bytes("stream_inboxes", inboxes, limit * INBOX_BYTES_MAX);
    }
}

impl Stream {
    /// Bytes that wait to be sent.
    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }

    fn new(address: SocketAddr, purpose: Purpose) -> Self {
        Self {
            address,
            purpose,
            peer: None,
            inbound: Vec::new(),
            came: 0,
            outbox: VecDeque::new(),
            waiting: 0,
            writing: false,
            closing: false,
            sending: BTreeSet::new(),
            greets: true,
        }
    }

    fn take_next(&mut self) -> Option<Received> {
        if self.peer.is_none() {
            return self.take_greeting().map(Received::Greeting);
        }
        let length = u32::from_le_bytes(*self.inbound.first_chunk::<4>()?) as usize;
        if length > PACKET_BYTES_MAX {
            return Some(Received::Oversized);
        }
        let packet = self.inbound.get(4..4 + length)?.to_vec();
        self.inbound.drain(..4 + length);
        Some(Received::Packet(packet))
    }

    fn take_greeting(&mut self) -> Option<Greeting> {
        let mut reader = Reader::new(self.inbound.get(..HELLO_BYTES)?);
        let greeting = Greeting {
            header: Header::read(&mut reader)?,
            version: Version::from_byte(reader.u8()?),
            settings: reader.u64()?,
        };
        self.inbound.drain(..HELLO_BYTES);
        Some(greeting)
    }

    /// The front of the outbox, whole buffers joined while they fit, the first cut if it does not.
    fn take_piece(&mut self, size: usize) -> Vec<u8> {
        let mut piece = self.outbox.pop_front().expect("something waits");
        if piece.len() > size {
            let rest = piece.split_off(size);
            self.outbox.push_front(rest);
        }
        self.waiting -= piece.len();
        piece
    }
}

/// The first bytes of a stream.
pub(crate) fn greeting(header: Header, settings: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HELLO_BYTES);
    header.write(&mut bytes);
    bytes.push(VERSION.to_byte());
    bytes.extend_from_slice(&settings.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Overhead;
    use crate::time::{Instant, Now};

    #[test]
    fn what_waits_on_all_streams_together_has_its_cap() {
        let (mut fx, mut budget) =
            (Effects::new(Now::default(), 1), Budget::new(0, Overhead::default(), Now::default().instant));
        let mut streams = Streams::new(4);
        let to = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut open = || streams.open(to, Purpose::Exchange, vec![1], &mut fx, &mut budget).unwrap();
        let ids = [open(), open(), open(), open()];
        let mut taken = vec![0; 4];
        for turn in 0..2 * OUTBOXES_BYTES_MAX / PACKET_BYTES_MAX {
            let piece = vec![0; OUTBOXES_BYTES_MAX / 64];
            taken[turn % 4] += usize::from(streams.send(ids[turn % 4], piece, &mut fx, &mut budget));
            let mut limits = Limits::new();
            streams.limits(&mut limits);
            let limit = limits.iter().find(|limit| limit.what == "stream_outboxes").unwrap();
            assert!(limit.held <= limit.most && limit.most == OUTBOXES_BYTES_MAX as u64, "{limit:?}");
        }
        // Greetings are on their way; the first piece of each waits.
        assert_eq!((streams.waiting(), taken), (OUTBOXES_BYTES_MAX, vec![16; 4]));
        assert!(!streams.send(ids[0], vec![1], &mut fx, &mut budget), "not a byte more");
    }

    #[test]
    fn a_stream_that_is_to_end_waits_for_what_is_still_to_be_queued() {
        let (mut fx, mut budget) =
            (Effects::new(Now::default(), 1), Budget::new(0, Overhead::default(), Now::default().instant));
        let mut streams = Streams::new(1);
        let to = SocketAddr::from(([127, 0, 0, 1], 1));
        let id = streams.open(to, Purpose::Exchange, vec![1], &mut fx, &mut budget).unwrap();
        streams.hold(id);
        streams.close_after(id, &mut fx);
        streams.on_written(id, &mut fx, &mut budget);
        assert!(streams.get(id).is_some(), "more was promised");
        assert!(streams.send(id, vec![2], &mut fx, &mut budget));
        streams.release(id, &mut fx);
        assert!(streams.get(id).is_some(), "the last of it is on its way");
        streams.on_written(id, &mut fx, &mut budget);
        assert!(streams.get(id).is_none());
    }

    /// Whether a stream is still open after so many seconds, in each of which so many bytes of one packet came.
    fn outlasts(seconds: u64, bytes: usize) -> bool {
        let (mut fx, id) = (Effects::new(Now::default(), 1), StreamId(1));
        let mut streams = Streams::new(1);
        assert!(streams.accept(id, from(1), &mut fx));
        streams.set_peer(id, NodeId(1));
        let mut packet = u32::try_from(PACKET_BYTES_MAX).unwrap().to_le_bytes().to_vec();
        packet.resize(bytes, 0);
        for second in 1..=seconds {
            fx.now.instant = Instant::from_micros(second * 1_000_000);
            if fx.timers.expire(fx.now.instant).is_some() {
                return false;
            }
            streams.on_bytes(id, &packet, &mut fx);
            assert!(streams.next(id, &mut fx).is_none(), "it does not come to its end");
            packet.fill(0);
        }
        true
    }

    #[test]
    fn a_few_bytes_now_and_then_hold_no_place_and_a_slow_link_does() {
        assert!(!outlasts(20, 4));
        assert!(outlasts(200, 300));
    }

    fn from(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 4747))
    }

    #[test]
    fn where_all_places_are_taken_the_machine_that_has_most_gives_one_up() {
        let mut fx = Effects::new(Now::default(), 1);
        let mut streams = Streams::new(4);
        for (number, host) in [(1, 2), (3, 1), (5, 1), (7, 1)] {
            assert_eq!(streams.crowding(from(host)), None, "there is room");
            assert!(streams.accept(StreamId(number), from(host), &mut fx));
        }
        assert_eq!(streams.crowding(from(3)), Some(StreamId(3)));
        assert_eq!(streams.crowding(from(2)), Some(StreamId(3)));
        assert_eq!(streams.crowding(from(1)), None, "it would only take its own");
    }
}
