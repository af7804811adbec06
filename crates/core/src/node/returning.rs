//! Answers on their way back between neighbours, with a partial view ([`Returns`](crate::returns::Returns)).

use std::time::Duration;

use super::Node;
use super::letters::Letter;
use crate::effects::Timer;
use crate::frame::{ReturnRef, return_bytes};
use crate::identity::NodeId;
use crate::io::QueryId;
use crate::queries::{ANSWER_BYTES_MAX, Question};
use crate::returns::{HOPS_MAX, Return, Sending};
use crate::streams::Purpose;
use crate::time::Wall;

/// Answers wait for this part of the interval between rounds, so that one datagram carries many.
const RETURN_PART: u32 = 16;
/// Answers that come later than this after the end of their question are not carried.
const LATE: Duration = Duration::from_secs(1);

impl Node {
    /// A question came in: whoever brought it gets the answers of this node, and of those who have the question from here.
    pub(super) fn note_way(&mut self, query: QueryId, question: &Question, from: Option<NodeId>) {
        let latest = self.fx.now.wall + super::questions::TIMEOUT_MAX;
        self.queries.returns.note_question(query, from, question.until.min(latest) + LATE);
        self.arm_returns();
    }

    /// An answer of this node goes on its way.
    pub(super) fn return_own(&mut self, query: QueryId, payload: Vec<u8>) {
        let (by, name) = (self.identity.id, self.identity.name.clone());
        self.carry(Return { query, by, name, hops: 0, payload }, None);
    }

    /// Takes an answer over, if there is room for it.
    fn carry(&mut self, answer: Return, from: Option<NodeId>) -> bool {
        let due = self.fx.now.instant + self.config.gossip_interval / RETURN_PART;
        let is_taken = self.queries.returns.take(answer, from, due);
        self.arm_returns();
        is_taken
    }

    /// A neighbour hands over an answer. What is not confirmed to it comes again, by it or by another.
    pub(super) fn on_return(&mut self, number: u32, answer: &ReturnRef<'_>, letter: &mut Letter) {
        let ReturnRef { hops, query, by, name, payload } = *answer;
        let is_wanted = self.is_partial() && self.members.is_live(letter.peer) && self.queries.returns.knows(query);
        if !is_wanted || hops > HOPS_MAX || payload.len() > ANSWER_BYTES_MAX || by == self.identity.id {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        let is_taken = query.origin == self.identity.id || {
            let (name, payload) = (name.to_owned(), payload.to_vec());
            self.carry(Return { query, by, name, hops, payload }, Some(letter.peer))
        };
        if is_taken {
            self.confirm_return(number, letter);
        }
        if query.origin == self.identity.id {
            self.hear_answer(by, name.to_owned(), query.sequence, payload);
        }
    }

    /// A stream ends when it is read, so what came over one is confirmed by a datagram.
    fn confirm_return(&mut self, number: u32, letter: &mut Letter) {
        if !letter.is_stream() {
            if self.makes_room(letter, 6) {
                letter.packet.returned(number);
            }
            return;
        }
        if let Some(address) = self.members.address(letter.peer) {
            let mut confirmation = self.letter(letter.peer, address);
            confirmation.packet.returned(number);
            self.post(confirmation);
        }
    }

    pub(super) fn on_returned(&mut self, number: u32, from: NodeId) {
        if !self.queries.returns.confirmed(number, from) {
            self.fx.counters.dropped.unexpected += 1;
        }
        self.arm_returns();
    }

    /// Sends on what is due, all that one neighbour gets together.
    pub(super) fn on_return_due(&mut self) {
        self.queries.returns.fade(self.fx.now.wall);
        let neighbours: Vec<NodeId> = self.members.live_ids().collect();
        let mut sendings = self.queries.returns.take_due(self.fx.now.instant, &neighbours, &mut self.fx.rng);
        sendings.sort_by_key(|(to, number, _)| (*to, *number));
        for sendings in sendings.chunk_by(|(a, ..), (b, ..)| a == b) {
            self.send_returns(sendings);
        }
        self.arm_returns();
    }

    fn send_returns(&mut self, sendings: &[Sending]) {
        let to = sendings[0].0;
        let Some(address) = self.members.address(to) else { return };
        let bytes = |answer: &Return| return_bytes(answer.name.len(), answer.payload.len());
        let (small, large): (Vec<&Sending>, Vec<&Sending>) =
            sendings.iter().partition(|(_, _, answer)| bytes(answer) <= self.frames_max());
        let mut letter = self.letter(to, address);
        for (_, number, answer) in small {
            if self.makes_room(&mut letter, bytes(answer)) {
                letter.packet.return_answer(*number, answer);
            }
        }
        self.post(letter);
        if large.is_empty() {
            return;
        }
        let Some(stream) = self.open_stream(to, address, Purpose::Exchange) else { return };
        for (_, number, answer) in large {
            let mut letter = Letter::on_stream(stream, to, address);
            letter.packet.return_answer(*number, answer);
            self.post(letter);
        }
        self.streams.close_after(stream, &mut self.fx);
    }

    /// Comes back when the next answer is due, or a question ends.
    fn arm_returns(&mut self) {
        let now = self.fx.now;
        let until =
            |end: Wall| now.instant + Duration::from_micros((end.as_micros() + 1).saturating_sub(now.wall.as_micros()));
        let returns = &self.queries.returns;
        let next = returns.next_due().into_iter().chain(returns.next_end().map(until)).min();
        match next {
            Some(next) => self.fx.arm(next.since(now.instant), Timer::Return),
            None => self.fx.cancel(Timer::Return),
        }
    }
}
