//! Where this node is, found out from the round trips of its pings, and what it knows of where others are.

use std::time::Duration;

use super::Node;
use super::commands::invalid;
use super::letters::Letter;
use crate::coordinates::{COORDINATE_BYTES_MAX, Coordinate, SETTLING_PINGS};
use crate::identity::NodeId;
use crate::io::{QueryId, Refusal, Reply, Ticket};
use crate::queries::{self, Collects, Question, Sought};

/// Of so many pings of a node that has found its place one asks for a coordinate.
const ASKING_PART: u16 = 4;
/// The longest frame of a coordinate.
const LOCATED_FRAME_BYTES_MAX: usize = 2 + COORDINATE_BYTES_MAX;

impl Node {
    /// Where this node is, by the round trips that it has measured; `None` while it knows nothing.
    pub fn coordinate(&self) -> Option<Coordinate> {
        Some(*self.place.own()).filter(Coordinate::is_known)
    }

    /// With a ping goes the question where its target is: always while this node looks for its own place, later seldom.
    pub(super) fn put_locate(&self, number: u16, letter: &mut Letter) {
        let seeks = self.place.is_settling();
        if seeks || number.is_multiple_of(ASKING_PART) {
            letter.packet.locate();
            if seeks || !self.members.is_proven(letter.peer, letter.to) {
                // Whoever has not proven this node's address sends back no more than came.
                letter.packet.pad(LOCATED_FRAME_BYTES_MAX - 2);
            }
        }
    }

    /// While this node looks for its place, it pings some more members than it probes. Nobody is judged by what comes of it.
    pub(super) fn measure_more(&mut self) {
        self.place.note_interval();
        if !self.place.is_settling() || self.budget.is_limited() {
            if !self.whereabouts.is_empty() {
                self.whereabouts.end_asking();
            }
            return;
        }
        self.whereabouts.ask_anew();
        for target in self.members.pick(&mut self.fx.rng, SETTLING_PINGS, None) {
            let Some(address) = self.members.address(target) else { continue };
            let number = self.detector.next_number();
            self.whereabouts.note_asked(number, target, self.fx.now.instant);
            let mut letter = self.letter(target, address).urgent();
            letter.packet.ping(number, self.root());
            self.put_locate(number, &mut letter);
            self.put_challenge(&mut letter);
            self.post(letter);
        }
    }

    /// An ack to a ping that was no probe: whether it was one.
    pub(super) fn on_measured(&mut self, number: u16, letter: &mut Letter) -> bool {
        if letter.is_stream() || self.whereabouts.is_empty() {
            return false;
        }
        let Some(took) = self.whereabouts.on_ack(number, letter.peer, self.fx.now.instant) else { return false };
        letter.measured = Some(took);
        self.members.note_rtt(letter.peer, took);
        true
    }

    /// Also a node that knows nothing yet says so: where nobody does, all begin at one point and part from there.
    pub(super) fn on_locate(&self, letter: &mut Letter) {
        if letter.packet.room() >= LOCATED_FRAME_BYTES_MAX {
            letter.packet.located(self.place.own());
        }
    }

    /// A peer says where it is. Only what comes with the ack to a ping of this node counts.
    pub(super) fn on_located(&mut self, coordinate: Coordinate, letter: &mut Letter) {
        let Some(took) = letter.measured.take() else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        self.place.sample(&coordinate, took, &mut self.fx.rng);
        if coordinate.is_known() && !self.is_partial() && self.members.is_live(letter.peer) {
            self.whereabouts.note(letter.peer, coordinate, self.place.own());
        }
    }

    pub(super) fn forget_place_of(&mut self, id: NodeId) {
        if !self.whereabouts.is_empty() {
            self.whereabouts.forget(id);
        }
    }

    /// How long it takes between two nodes: known at once, or once those have answered of whom it is not known where they are.
    pub(super) fn round_trip(&mut self, ticket: Ticket, from: NodeId, to: NodeId, timeout: Duration) {
        let ends = [from, to];
        if from == to {
            return self.done(ticket, Err(invalid("to", to.to_string(), "another node")));
        }
        let is_known = |id: &NodeId| self.is_partial() || self.members.member(*id).is_some();
        if let Some(stranger) = ends.into_iter().find(|id| !is_known(id)) {
            return self.done(ticket, Err(Refusal::Unknown { what: "member", name: stranger.to_string() }));
        }
        if let Some(rtt) = self.measured_round_trip(from, to) {
            return self.done(ticket, Ok(Reply::RoundTrip { rtt, measured: true }));
        }
        let sought = Sought { ends, at: ends.map(|id| self.coordinate_of(id)) };
        let missing: Vec<NodeId> = sought.missing().collect();
        if missing.is_empty() || missing.contains(&self.identity.id) {
            return self.done(ticket, sought.round_trip());
        }
        match self.question(queries::LOCATE, Vec::new(), timeout) {
            Ok(question) => {
                let question = Question { named: missing, ..question };
                self.ask(ticket, &question, Collects::Coordinates(Box::new(sought)), timeout);
            }
            Err(refusal) => self.done(ticket, Err(refusal)),
        }
    }

    fn measured_round_trip(&self, from: NodeId, to: NodeId) -> Option<Duration> {
        let other = match self.identity.id {
            own if own == from => to,
            own if own == to => from,
            _ => return None,
        };
        self.members.rtt(other)
    }

    fn coordinate_of(&self, id: NodeId) -> Option<Coordinate> {
        if id == self.identity.id { self.coordinate() } else { self.whereabouts.of(id).copied() }
    }

    /// Somebody wants to know where this node is.
    pub(super) fn say_place(&mut self, query: QueryId) {
        let mut said = Vec::new();
        self.place.own().write(&mut said);
        self.send_answer(query, said);
    }

    /// Up to `count` others of those that a question is for, the nearest first; those of whom nothing is known come last.
    pub(super) fn nearest(&self, count: usize, question: &Question) -> Vec<NodeId> {
        let own = self.coordinate();
        let others = self.members.iter().filter(|member| !member.is_self && member.state.is_live());
        let mut ranked: Vec<(Duration, NodeId)> = others
            .filter(|member| question.has_tags(&member.tags))
            .map(|member| {
                let estimated = || Some(own?.round_trip_to(self.whereabouts.of(member.id)?));
                (member.rtt.or_else(estimated).unwrap_or(Duration::MAX), member.id)
            })
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().take(count).map(|(_, id)| id).collect()
    }
}
