//! Streams from greeting to end, and how a node gets to know the cluster over them.

use std::net::SocketAddr;
use std::sync::Arc;

use super::commands::invalid;
use super::letters::Letter;
use super::{Node, Phase, Worry};
use crate::effects::Timer;
use crate::identity::NodeId;
use crate::io::{ContactError, Event, Output, Reply, StreamId, Warning};
use crate::limits::Limits;
use crate::streams::{self, Greeting, Purpose, Received};
use crate::time::Instant;
use crate::update::Update;
use crate::wire::VERSION;

/// What a contact hands out to joiners: so many bytes at once, so many a second. Beyond that they get a sample, and
/// the rest from those whom it names: a contact must not carry a cluster's cold start alone.
const WELCOME_BYTES_AT_ONCE: usize = 256 << 10;
const WELCOME_BYTES_PER_SECOND: usize = 64 << 10;
/// Members in a sample.
const SAMPLE: usize = 16;

/// How much a node has handed out to joiners lately.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Hospitality {
    left: usize,
    at: Instant,
}

impl Hospitality {
    pub(super) const fn new(now: Instant) -> Self {
        Self { left: WELCOME_BYTES_AT_ONCE, at: now }
    }

    /// Whether so many bytes may be handed out now.
    fn affords(&mut self, bytes: usize, now: Instant) -> bool {
        let passed = usize::try_from(now.since(self.at).as_millis()).unwrap_or(usize::MAX);
        let regained = passed.saturating_mul(WELCOME_BYTES_PER_SECOND) / 1_000;
        if regained > 0 {
            self.at = now;
            self.left = self.left.saturating_add(regained).min(WELCOME_BYTES_AT_ONCE);
        }
        let affords = self.left >= bytes || self.left == WELCOME_BYTES_AT_ONCE;
        if affords {
            self.left = self.left.saturating_sub(bytes);
        }
        affords
    }

    /// What is bounded here: bytes of welcomes that were handed out when it was last asked.
    pub(super) fn limits(&self, to: &mut Limits) {
        let Self { left, at: _ } = self;
        to.bytes("welcomes", WELCOME_BYTES_AT_ONCE - left, WELCOME_BYTES_AT_ONCE);
    }
}

impl Node {
    /// Opens a stream and greets.
    pub(super) fn open_stream(&mut self, peer: NodeId, to: SocketAddr, purpose: Purpose) -> Option<StreamId> {
        let greeting = streams::greeting(self.header(peer), self.settings);
        let opened = self.streams.open(to, purpose, greeting, &mut self.fx, &mut self.budget);
        if opened.is_none() {
            self.fx.counters.dropped.streams += 1;
        }
        opened
    }

    pub(super) fn on_stream_opened(&mut self, stream: StreamId, from: SocketAddr) {
        if let Some(crowding) = self.streams.crowding(from) {
            self.fx.counters.dropped.streams += 1;
            self.streams.close(crowding, &mut self.fx);
            self.servings.note_end(crowding);
        }
        if !self.streams.accept(stream, from, &mut self.fx) {
            self.fx.counters.dropped.streams += 1;
            self.fx.outputs.push_back(Output::Close { stream });
        }
    }

    pub(super) fn on_stream_bytes(&mut self, stream: StreamId, bytes: &[u8]) {
        self.fx.counters.bytes_received += bytes.len() as u64;
        if self.streams.on_bytes(stream, bytes, &mut self.fx) {
            self.servings.note_headway(stream, self.fx.now.instant);
        }
        while let Some(received) = self.streams.next(stream, &mut self.fx) {
            match received {
                Received::Greeting(greeting) => self.on_greeting(stream, &greeting),
                Received::Packet(packet) => self.on_packet(stream, &packet),
                Received::Oversized => {
                    self.fx.counters.dropped.oversized += 1;
                    self.streams.close(stream, &mut self.fx);
                }
            }
        }
    }

    fn on_packet(&mut self, stream: StreamId, packet: &[u8]) {
        let Some(open) = self.streams.get(stream) else { return };
        let (Some(peer), to, purpose) = (open.peer, open.address, open.purpose) else { return };
        let mut letter = Letter::on_stream(stream, peer, to);
        if purpose == Purpose::Accepted {
            // The port of a stream that came in says nothing: another stream has another.
            self.note_source(SocketAddr::new(to.ip(), 0), false);
        } else {
            self.note_source(to, true);
        }
        self.on_frames(packet, &mut letter);
        self.prove_over_stream(peer, to);
        self.post_reply(letter);
    }

    /// Who speaks over a stream receives at that address; the port of a stream that came in says nothing.
    fn prove_over_stream(&mut self, peer: NodeId, to: SocketAddr) {
        let claimed = self.members.address(peer);
        if let Some(claimed) = claimed.filter(|claimed| claimed.ip() == to.ip()) {
            self.members.prove(peer, claimed);
        }
    }

    fn on_greeting(&mut self, stream: StreamId, greeting: &Greeting) {
        let Some((to, purpose)) = self.streams.get(stream).map(|open| (open.address, open.purpose)) else { return };
        let peer = greeting.header.sender;
        if purpose == Purpose::Accepted {
            // Also to strangers, so that both sides can say why it does not work.
            let reply = streams::greeting(self.header(peer), self.settings);
            self.streams.send(stream, reply, &mut self.fx, &mut self.budget);
        }
        if let Err(error) = self.accepts(greeting, to) {
            if error == ContactError::Revoked && purpose == Purpose::Accepted {
                self.show_revocation(stream, peer, to);
            }
            self.streams.close_after(stream, &mut self.fx);
            if purpose == Purpose::Join {
                self.on_contact_failed(to, error);
            }
            return;
        }
        self.streams.set_peer(stream, peer);
        if purpose != Purpose::Accepted {
            // It was asked for a moment ago.
            self.hear_clock(peer, greeting.header.clock);
        }
    }

    /// Whether a greeting is one of this cluster, in a version and with settings that fit.
    fn accepts(&mut self, greeting: &Greeting, from: SocketAddr) -> Result<(), ContactError> {
        let Greeting { header, version, settings } = *greeting;
        if self.is_revoked(header.sender) {
            return Err(ContactError::Revoked);
        }
        if !self.admits(from, &header, version) {
            return Err(if header.cluster != self.cluster {
                ContactError::ForeignCluster
            } else if version.major != VERSION.major {
                ContactError::Version { major: version.major, ours: VERSION.major }
            } else {
                ContactError::Myself
            });
        }
        if settings != self.settings {
            self.fx.counters.dropped.refused += 1;
            if self.verifier.is_some() {
                let (peer, reason) = (header.sender, ContactError::Settings);
                self.warn(Worry::NotAdmitted, Warning::NotAdmitted { from, peer, reason });
            }
            return Err(ContactError::Settings);
        }
        Ok(())
    }

    pub(super) fn on_stream_closed(&mut self, stream: StreamId, reason: ContactError) {
        if let Some(closed) = self.streams.on_closed(stream, &mut self.fx) {
            self.on_stream_ended(stream, closed.purpose, closed.address, reason);
        }
    }

    /// Nothing came or went for too long; waiting for this node's own bandwidth contract is no idleness.
    pub(super) fn on_stream_idle(&mut self, stream: StreamId) {
        let Some((purpose, address)) = self.streams.get(stream).map(|open| (open.purpose, open.address)) else {
            return;
        };
        if self.streams.close_idle(stream, &mut self.fx) {
            self.on_stream_ended(stream, purpose, address, ContactError::Unreachable);
        }
    }

    fn on_stream_ended(&mut self, stream: StreamId, purpose: Purpose, address: SocketAddr, reason: ContactError) {
        self.servings.note_end(stream);
        match purpose {
            Purpose::Join => self.on_contact_failed(address, reason),
            Purpose::Probe(number) => self.on_probe_stream_closed(number, stream),
            Purpose::Exchange | Purpose::Reunion | Purpose::Accepted => {}
        }
    }

    /// Ends a stream once the reply that is being written has gone out.
    pub(super) fn close_after_reply(&mut self, stream: StreamId, letter: &mut Letter) {
        let reply = std::mem::replace(letter, Letter::on_stream(stream, letter.peer, letter.to));
        self.post(reply);
        self.streams.close_after(stream, &mut self.fx);
    }

    /// Opens a stream to a contact and asks for the members.
    pub(super) fn try_contact(&mut self, address: SocketAddr) {
        if self.streams.find(address, Purpose::Join).is_some() {
            return;
        }
        let Some(stream) = self.open_stream(NodeId::NONE, address, Purpose::Join) else {
            return self.on_contact_failed(address, ContactError::Unreachable);
        };
        let mut letter = Letter::on_stream(stream, NodeId::NONE, address);
        // Who asks is known before what it asks for.
        self.put_own_claim(&mut letter);
        letter.packet.join();
        self.post(letter);
    }

    pub(super) fn on_contact_due(&mut self, address: SocketAddr) {
        if self.contacts.is_waiting(address) {
            self.try_contact(address);
        }
    }

    pub(super) fn on_contact_failed(&mut self, contact: SocketAddr, reason: ContactError) {
        if reason == ContactError::Myself {
            return self.forget_contact(contact, "another node; this is the node itself");
        }
        let (min, max) = (self.config.join_retry_min, self.config.join_retry_max);
        if let Some(retry_after) = self.contacts.failed(contact, min, max, &mut self.fx.rng) {
            self.fx.arm(retry_after, Timer::Contact(contact));
            self.fx.event(Event::ContactFailed { contact, reason, retry_after });
        }
    }

    /// A contact is tried no more; `rule` is what whoever waits for nobody else is told.
    pub(super) fn forget_contact(&mut self, contact: SocketAddr, rule: &str) {
        self.fx.cancel(Timer::Contact(contact));
        for ticket in self.contacts.forget(contact) {
            self.done(ticket, Err(invalid("contacts", contact.to_string(), rule)));
        }
    }

    /// Somebody wants to know who is there.
    pub(super) fn on_join(&mut self, letter: &mut Letter) {
        if !letter.is_stream() {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        if !self.admits_joiner(letter) {
            return self.turn_away(letter);
        }
        if self.is_partial() {
            return self.welcome_joiner(letter);
        }
        let bytes: usize = self.members.replica().iter().map(|claim| claim.bytes().len() + 3).sum();
        let complete = self.hospitality.affords(bytes, self.fx.now.instant);
        let claims: Vec<Arc<Update>> = if complete {
            self.members.replica().iter().cloned().collect()
        } else {
            let mut sample = self.members.pick(&mut self.fx.rng, SAMPLE, None);
            sample.push(self.identity.id);
            sample.into_iter().filter_map(|id| self.members.claim(id).cloned()).collect()
        };
        self.send_updates(&claims, letter);
        if self.makes_room(letter, 3) {
            letter.packet.welcome(complete);
        }
    }

    /// A contact has told who is there, or whom to ask.
    pub(super) fn on_welcome(&mut self, complete: bool, letter: &mut Letter) {
        let Some(stream) = letter.stream() else { return };
        if self.streams.get(stream).is_none_or(|open| open.purpose != Purpose::Join) {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        let contact = letter.to;
        self.streams.close_after(stream, &mut self.fx);
        for ticket in self.contacts.answered(contact) {
            self.done(ticket, Ok(Reply::Joined { contact }));
        }
        self.remember();
        if self.is_partial() {
            return self.on_welcomed(complete, letter);
        }
        self.announce_self();
        let peer = if complete {
            Some(letter.peer)
        } else {
            self.members.pick(&mut self.fx.rng, 1, Some(letter.peer)).first().copied()
        };
        if let Some(peer) = peer {
            self.compare_with(peer);
        }
        self.hurry();
    }

    /// This node's claim is news to those whom it has just got to know.
    fn announce_self(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        if let Some(claim) = self.members.claim(self.identity.id).cloned() {
            self.rumors.cool(claim.id);
            self.heat(claim, 0, None);
        }
    }

    /// Tries somebody who died, left or never answered: a partition looks the same (design §2).
    pub(super) fn on_rejoin_due(&mut self) {
        if self.is_partial() && self.fx.rng.chance(0.5) {
            self.ask_stranger();
            // Contacts are seldom neighbours; who is none is not lost.
            if !self.contacts.former().is_empty() {
                self.arm_rejoin();
            }
            return;
        }
        let live: std::collections::BTreeSet<SocketAddr> = self.members.live_addresses().collect();
        let own = self.identity.addresses.clone();
        let is_live = |address: SocketAddr| live.contains(&address) || own.contains(&address);
        if let Some(address) = self.contacts.pick_lost(&mut self.fx.rng, is_live) {
            self.try_contact(address);
        }
        let has_lost =
            if self.is_partial() { !self.contacts.former().is_empty() } else { self.contacts.has_lost(is_live) };
        if has_lost {
            self.arm_rejoin();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn welcomes_are_handed_out_up_to_their_cap_and_then_in_samples() {
        let now = Instant::from_micros(1);
        let mut hospitality = Hospitality::new(now);
        let handed_out = (0..300).filter(|_| hospitality.affords(1 << 10, now)).count();
        assert_eq!(handed_out, 256);
        let mut limits = Limits::new();
        hospitality.limits(&mut limits);
        let limit = limits.iter().next().expect("welcomes");
        assert_eq!((limit.what, limit.held, limit.most), ("welcomes", 256 << 10, 256 << 10));
    }
}
