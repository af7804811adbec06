//! Pings, acks and what follows when none comes: the detector's decisions as bytes.

use std::net::SocketAddr;

use super::Node;
use super::letters::Letter;
use crate::detector::{Acked, Missed, Purpose, Relay, Step};
use crate::effects::Timer;
use crate::identity::NodeId;
use crate::io::{MemberChange, State, StreamId};
use crate::story::Happening;
use crate::streams;
use crate::time::Instant;

impl Node {
    pub(super) fn on_probe_interval(&mut self) {
        if self.members.live() == 0 {
            return;
        }
        self.fx.arm(self.detector.interval(&self.config), Timer::ProbeInterval);
        if self.is_partial() {
            self.probe_neighbour();
        } else {
            self.probe_next();
            self.measure_more();
        }
    }

    /// Probes those whose turn it is: one, or more while many fail.
    fn probe_next(&mut self) {
        let openings = self.detector.openings().min(self.members.live());
        for _ in 0..openings {
            let Some(target) = self.members.next_probe(&mut self.fx.rng) else { return };
            if !self.detector.is_probing(target) {
                self.probe(target, Purpose::Turn);
            }
        }
    }

    pub(super) fn probe(&mut self, target: NodeId, purpose: Purpose) {
        let Some(address) = self.members.address(target) else { return };
        let timeout = self.detector.timeout(&self.config, self.members.rtt(target));
        if let Some(number) = self.detector.start(target, address, purpose, timeout, &mut self.fx) {
            self.ping(number, target, address);
        }
    }

    fn ping(&mut self, number: u16, target: NodeId, address: SocketAddr) {
        let mut letter = self.letter(target, address).urgent();
        letter.packet.ping(number, self.root());
        self.put_locate(number, &mut letter);
        self.put_averaging(&mut letter);
        self.put_challenge(&mut letter);
        if let Some(claim) = self.doubted_claim(target).cloned() {
            letter.put_claim(claim.bytes());
        }
        self.fill(&mut letter);
        self.post(letter);
    }

    pub(super) fn on_ping(&mut self, number: u16, root: u64, letter: &mut Letter) {
        letter.make_urgent();
        if self.is_partial() && !self.neighbourhood.overlay.note_heard(letter.peer, self.fx.now.instant) {
            return self.on_ping_of_stranger(letter);
        }
        letter.packet.ack(number, self.root());
        self.hear_root(letter.peer, root);
    }

    pub(super) fn on_ack(&mut self, number: u16, root: u64, letter: &mut Letter) {
        if let Some(acked) = self.detector.on_ack(number, letter.peer, &mut self.fx) {
            letter.measured = acked.rtt;
            self.on_acked(&acked);
            if letter.is_stream() {
                self.end_probe_stream(letter);
            } else {
                self.hear_clock(letter.peer, letter.clock);
            }
        } else if let Some(relay) = self.detector.on_relayed_ack(number, letter.peer, &mut self.fx) {
            self.answer_for(&relay, root);
        } else if !self.on_measured(number, letter) {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        self.hear_root(letter.peer, root);
    }

    fn on_acked(&mut self, acked: &Acked) {
        if let Some(rtt) = acked.rtt {
            self.members.note_rtt(acked.target, rtt);
        }
        self.neighbourhood.overlay.note_heard(acked.target, self.fx.now.instant);
        if self.is_suspect(acked.target) {
            self.note_own(acked.target, Happening::Answered);
        }
        match acked.purpose {
            Purpose::LastChance => {
                // It answers, so it has heard the suspicion with the ping and will contradict.
                self.fx.cancel(Timer::Verdict(acked.target));
                if self.is_suspect(acked.target) {
                    self.fx.arm(self.config.suspicion_timeout_min, Timer::Suspicion(acked.target));
                }
            }
            Purpose::Doubt => self.dismiss_doubt(acked.target),
            Purpose::Turn | Purpose::Hearsay => {}
        }
    }

    fn end_probe_stream(&mut self, letter: &Letter) {
        if let Some(stream) = letter.stream() {
            self.streams.close_after(stream, &mut self.fx);
        }
    }

    pub(super) fn on_probe_due(&mut self, number: u16, due: Instant) {
        let step = self.detector.on_probe_due(number, due, &self.config, &mut self.fx);
        self.on_step(number, step);
    }

    fn on_step(&mut self, number: u16, step: Step) {
        match step {
            Step::Wait => {}
            Step::Ping { target, address } => self.ping(number, target, address),
            Step::Indirect { target, address } => self.probe_indirectly(number, target, address),
            Step::Failed { target, purpose, missed } => self.on_probe_failed(target, purpose, missed),
        }
    }

    fn on_probe_failed(&mut self, target: NodeId, purpose: Purpose, missed: Missed) {
        self.note_missed(target, missed);
        if self.is_partial() {
            return self.part_from(target, MemberChange::Failed);
        }
        match purpose {
            Purpose::Turn => {
                self.suspect(target);
                self.probe_next();
            }
            Purpose::Hearsay => self.suspect(target),
            Purpose::Doubt => self.believe_doubted(target),
            Purpose::LastChance => {}
        }
    }

    /// Asks others to ping the target, those first who answered lately, and tries a stream.
    fn probe_indirectly(&mut self, number: u16, target: NodeId, address: SocketAddr) {
        // Others know a neighbour of this node only by chance.
        let wanted = if self.is_partial() { 0 } else { self.config.indirect_probes };
        let mut relays: Vec<NodeId> =
            self.detector.heard().filter(|id| *id != target && self.members.is_live(*id)).take(wanted).collect();
        for id in self.members.pick(&mut self.fx.rng, wanted, Some(target)) {
            if relays.len() < wanted && !relays.contains(&id) {
                relays.push(id);
            }
        }
        for relay in &relays {
            let Some(to) = self.members.address(*relay) else { continue };
            let mut letter = self.letter(*relay, to).urgent();
            letter.packet.ping_req(number, target, address);
            self.post(letter);
        }
        let stream = if self.config.stream_probe { self.probe_by_stream(number, target, address) } else { None };
        self.detector.asked(number, relays, stream);
        let step = self.detector.conclude(number, &self.config, &mut self.fx);
        self.on_step(number, step);
    }

    fn probe_by_stream(&mut self, number: u16, target: NodeId, address: SocketAddr) -> Option<StreamId> {
        let stream = self.open_stream(target, address, streams::Purpose::Probe(number))?;
        let mut letter = Letter::on_stream(stream, target, address);
        letter.packet.ping(number, self.root());
        self.post(letter);
        Some(stream)
    }

    pub(super) fn on_ping_req(&mut self, number: u16, target: NodeId, address: SocketAddr, letter: &Letter) {
        // Only members are pinged for others, at the address that they claim: nobody aims this node elsewhere.
        if self.members.address(target) != Some(address) || target == self.identity.id {
            self.fx.counters.dropped.misdirected += 1;
            return;
        }
        let asker = (letter.peer, letter.to, number);
        let Some(own) = self.detector.relay(asker, (target, address), &self.config, &mut self.fx) else { return };
        self.ping_for_other(own, target, address);
    }

    fn ping_for_other(&mut self, number: u16, target: NodeId, address: SocketAddr) {
        let mut letter = self.letter(target, address).urgent();
        letter.packet.ping(number, self.root());
        self.fill(&mut letter);
        self.post(letter);
    }

    pub(super) fn on_relay_due(&mut self, number: u16) {
        match self.detector.on_relay_due(number, &self.config, &mut self.fx) {
            Some(Ok((target, address))) => self.ping_for_other(number, target, address),
            Some(Err(relay)) => {
                let mut letter = self.letter(relay.asker_id, relay.asker).urgent();
                letter.packet.nack(relay.asker_number);
                self.post(letter);
            }
            None => {}
        }
    }

    /// The target answered a ping for somebody else, who is told.
    fn answer_for(&mut self, relay: &Relay, root: u64) {
        let mut letter = self.letter(relay.asker_id, relay.asker).urgent();
        letter.packet.ack(relay.asker_number, root);
        self.fill(&mut letter);
        self.post(letter);
    }

    pub(super) fn on_nack(&mut self, number: u16, from: NodeId) {
        let step = self.detector.on_nack(number, from, &self.config, &mut self.fx);
        self.on_step(number, step);
    }

    /// The stream over which a target was tried ended.
    pub(super) fn on_probe_stream_closed(&mut self, number: u16, stream: StreamId) {
        let step = self.detector.on_stream_closed(stream, &self.config, &mut self.fx);
        self.on_step(number, step);
    }

    /// A suspect had its time: it gets a last chance, and one more peer is asked what it knows.
    pub(super) fn on_suspicion_due(&mut self, member: NodeId, due: Instant) {
        if !self.is_suspect(member) {
            return;
        }
        let timeout = self.detector.timeout(&self.config, self.members.rtt(member));
        if self.fx.now.instant.since(due) > timeout / 2 {
            self.detector.worsen(1, &self.config);
        }
        self.note_own(member, Happening::LastProbe);
        self.probe(member, Purpose::LastChance);
        if let Some(peer) = self.members.pick(&mut self.fx.rng, 1, Some(member)).first() {
            self.compare_with(*peer);
        }
        self.fx.arm(timeout * 2 * (self.detector.health() + 1), Timer::Verdict(member));
    }

    pub(super) fn on_verdict_due(&mut self, member: NodeId, due: Instant) {
        let timeout = self.detector.timeout(&self.config, self.members.rtt(member));
        if self.fx.now.instant.since(due) > timeout / 2 {
            // This node was away itself: whatever it missed may still be in its sockets.
            return self.on_suspicion_due(member, due);
        }
        if self.is_suspect(member) {
            self.declare_dead(member);
        }
    }

    fn is_suspect(&self, member: NodeId) -> bool {
        self.members.state(member) == Some(State::Suspect)
    }
}
