//! What goes out: datagrams and packets of streams, filled with what is due to their receiver.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{ENVELOPE_BYTES, Node, Phase};
use crate::budget::Class;
use crate::config::Mode;
use crate::frame::{self, Space};
use crate::hash;
use crate::identity::NodeId;
use crate::io::{Channel, Output, State, StreamId};
use crate::packet::Packet;
use crate::rumors::Filling;

/// Bytes of a frame that carries a token.
const TOKEN_FRAME_BYTES: usize = 10;
/// Bytes of a frame of feedback.
const FEEDBACK_FRAME_BYTES: usize = 12;
/// Accusations in one datagram.
const ACCUSATIONS_MAX: usize = 8;

/// How a letter travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Via {
    Datagram,
    Stream(StreamId),
}

/// A datagram or a packet of a stream that is being written.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) to: SocketAddr,
    pub(super) peer: NodeId,
    pub(super) via: Via,
    pub(super) packet: Packet,
    /// What may go out in reply to an address that is not proven: no more than came in.
    allowance: Option<usize>,
    /// Something did not fit the allowance.
    held_back: bool,
    /// What this answers carried the peer's own claim, and that counts.
    pub(super) is_introduced: bool,
    /// This node was taken for somebody else: its claim goes along.
    pub(super) shows_self: bool,
    /// What the datagram that this answers told of its sender's clock.
    pub(super) clock: u16,
    /// The round trip that an ack in the datagram that this answers ended.
    pub(super) measured: Option<Duration>,
    class: Class,
}

impl Letter {
    /// A packet on a stream.
    pub(super) fn on_stream(stream: StreamId, peer: NodeId, to: SocketAddr) -> Self {
        Self::new(peer, to, Via::Stream(stream), Packet::stream())
    }

    const fn new(peer: NodeId, to: SocketAddr, via: Via, packet: Packet) -> Self {
        Self {
            to,
            peer,
            via,
            packet,
            allowance: None,
            held_back: false,
            is_introduced: false,
            shows_self: false,
            clock: 0,
            measured: None,
            class: Class::Other,
        }
    }

    pub(super) const fn stream(&self) -> Option<StreamId> {
        match self.via {
            Via::Stream(stream) => Some(stream),
            Via::Datagram => None,
        }
    }

    pub(super) const fn is_stream(&self) -> bool {
        self.stream().is_some()
    }

    /// One claim that no feedback is wanted about, if it fits.
    pub(super) fn put_claim(&mut self, claim: &[u8]) {
        if self.packet.room() >= frame::UPDATES_HEAD_BYTES + frame::item_bytes(claim.len()) {
            let mut items = Vec::with_capacity(claim.len() + 4);
            frame::item(&mut items, 0, claim);
            self.packet.updates(0, false, &items);
        }
    }

    pub(super) const fn urgent(mut self) -> Self {
        self.class = Class::Urgent;
        self
    }

    pub(super) const fn make_urgent(&mut self) {
        self.class = Class::Urgent;
    }

    /// Something does not fit what may be sent to an address that is not proven: it is asked to prove itself.
    pub(super) const fn hold_back(&mut self) {
        self.held_back = true;
    }

    pub(super) const fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// Whether more may be sent to its address than came from there.
    pub(super) const fn is_proven(&self) -> bool {
        self.allowance.is_none()
    }
}

impl Node {
    /// A datagram of this node's own accord.
    ///
    /// Deviation from "no more bytes than came" (design §6): a member's claimed address may be written to by this
    /// node's own schedule before it is proven, because the claim came from inside the cluster; replies may not.
    pub(super) fn letter(&mut self, peer: NodeId, to: SocketAddr) -> Letter {
        let packet = self.datagram(peer, self.datagram_max());
        Letter::new(peer, to, Via::Datagram, packet)
    }

    /// A datagram in reply to one of `received` bytes.
    pub(super) fn reply_to(&mut self, peer: NodeId, to: SocketAddr, received: usize) -> Letter {
        let proven = self.members.is_proven(peer, to);
        let limit = if proven { self.datagram_max() } else { self.datagram_max().min(received) };
        let packet = self.datagram(peer, limit);
        let allowance = (!proven).then_some(received);
        Letter { allowance, ..Letter::new(peer, to, Via::Datagram, packet) }
    }

    fn datagram(&self, peer: NodeId, limit: usize) -> Packet {
        Packet::datagram(self.header(peer), limit)
    }

    /// Whether `bytes` of frames fit; a full datagram to a proven address goes out and a new one begins.
    pub(super) fn makes_room(&mut self, letter: &mut Letter, bytes: usize) -> bool {
        if letter.packet.room() >= bytes {
            return true;
        }
        if !letter.is_proven() {
            letter.held_back = true;
            return false;
        }
        let fresh = match letter.via {
            Via::Datagram => self.datagram(letter.peer, self.datagram_max()),
            Via::Stream(_) => Packet::stream(),
        };
        let full = std::mem::replace(&mut letter.packet, fresh);
        self.dispatch(letter.to, letter.via, letter.class, full);
        letter.packet.room() >= bytes
    }

    /// Sends a reply, if there is one.
    pub(super) fn post_reply(&mut self, mut letter: Letter) {
        if letter.shows_self {
            self.put_own_claim(&mut letter);
        }
        if letter.held_back {
            self.fx.counters.dropped.unproven += 1;
            let token = self.token_for(letter.to);
            if letter.packet.room() >= TOKEN_FRAME_BYTES {
                letter.packet.challenge(token);
            }
        }
        let purposeful = !letter.packet.is_empty();
        if purposeful && letter.class == Class::Urgent && letter.via == Via::Datagram && letter.is_proven() {
            self.fill(&mut letter);
        }
        self.post(letter);
    }

    /// Sends a letter as it is, unless nothing is in it.
    pub(super) fn post(&mut self, letter: Letter) {
        self.dispatch(letter.to, letter.via, letter.class, letter.packet);
    }

    fn dispatch(&mut self, to: SocketAddr, via: Via, class: Class, packet: Packet) {
        if packet.is_empty() || self.phase == Phase::Stopped {
            return;
        }
        let bytes = packet.into_bytes();
        match via {
            Via::Datagram => {
                if self.budget.pay_datagram(class, bytes.len(), self.fx.now.instant) {
                    self.fx.counters.datagrams_sent += 1;
                    self.fx.counters.bytes_sent += bytes.len() as u64;
                    self.fx.outputs.push_back(Output::Transmit { to, channel: Channel::Datagram, bytes });
                }
            }
            Via::Stream(stream) => {
                self.streams.send(stream, bytes, &mut self.fx, &mut self.budget);
            }
        }
    }

    /// Adds what is due to the receiver beside the purpose of the letter: feedback, what is said about it, and
    /// hot news as far as the mode sends any unasked.
    pub(super) fn fill(&mut self, letter: &mut Letter) {
        if letter.packet.room() >= FEEDBACK_FRAME_BYTES
            && let Some((packet, known)) = self.gossip.feedback.take(letter.peer)
        {
            letter.packet.feedback(packet, known);
        }
        self.put_suspicion(letter);
        // Under a contract, rounds carry the news: acks and probes must not use up their own share on it.
        let saves = letter.class == Class::Urgent && self.budget.is_limited();
        if self.config.mode == Mode::Pull || saves {
            return;
        }
        self.put_accusations(letter);
        let withheld = self.withholds_data(letter.peer).then_some(Space::Data);
        let filling = self.rumors.fill(letter.peer, letter.packet.room(), withheld, &mut self.fx.rng);
        self.put_filling(letter, &filling);
    }

    fn put_filling(&self, letter: &mut Letter, filling: &Filling) {
        if !filling.items.is_empty() {
            letter.packet.updates(filling.packet, self.config.stop.asks_feedback(), &filling.items);
        }
        if !filling.announced.is_empty() {
            letter.packet.announce(&filling.announced);
        }
    }

    /// Lifeguard's buddy rule: who writes to a suspect says so, that it may contradict.
    fn put_suspicion(&self, letter: &mut Letter) {
        let suspect = self.members.state(letter.peer) == Some(State::Suspect);
        if suspect && let Some(claim) = self.members.claim(letter.peer) {
            letter.put_claim(claim.bytes());
        }
    }

    /// This node's own claim, as an update.
    pub(super) fn put_own_claim(&self, letter: &mut Letter) {
        if let Some(claim) = self.members.claim(self.identity.id) {
            letter.put_claim(claim.bytes());
        }
    }

    fn put_accusations(&mut self, letter: &mut Letter) {
        let fit = letter.packet.room().saturating_sub(4) / 24;
        let said = self.gossip.take_accusations(fit.min(ACCUSATIONS_MAX));
        if !said.is_empty() {
            letter.packet.accusations(&said);
        }
    }

    /// The token that proves `address`: only who receives there can return it.
    pub(super) fn token_for(&self, address: SocketAddr) -> u64 {
        let mut bytes = [0; 18];
        match address.ip() {
            IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes[..16].copy_from_slice(&ip.octets()),
        }
        bytes[16..].copy_from_slice(&address.port().to_le_bytes());
        hash::keyed(&self.token_key, &bytes)
    }

    /// Asks a member to prove its address, once it is not proven.
    pub(super) fn put_challenge(&self, letter: &mut Letter) {
        if !self.members.is_proven(letter.peer, letter.to) && letter.packet.room() >= TOKEN_FRAME_BYTES {
            letter.packet.challenge(self.token_for(letter.to));
        }
    }

    pub(super) fn on_challenge(&mut self, token: u64, letter: &mut Letter) {
        if self.repeat_ask(token, letter.peer) {
            return;
        }
        if letter.packet.room() >= TOKEN_FRAME_BYTES {
            letter.packet.echo(token);
        }
        self.repeat_sketches(letter);
        self.repeat_requests(letter);
    }

    pub(super) fn on_echo(&mut self, token: u64, letter: &mut Letter) {
        if token != self.token_for(letter.to) {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        self.prove(letter);
    }

    /// What is sent to the address of this letter arrives at its peer.
    pub(super) fn prove(&mut self, letter: &mut Letter) {
        self.members.prove(letter.peer, letter.to);
        if letter.allowance.take().is_some() && letter.via == Via::Datagram {
            letter.packet.raise_limit(self.datagram_max());
        }
    }

    /// The longest datagram, before the driver adds to it.
    pub(super) fn datagram_max(&self) -> usize {
        self.config.mtu_bytes - self.identity.overhead.datagram
    }

    /// The room that a datagram has for frames.
    pub(super) fn frames_max(&self) -> usize {
        self.datagram_max() - ENVELOPE_BYTES
    }
}
