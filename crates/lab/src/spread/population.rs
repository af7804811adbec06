//! Nodes that lose interest, refuse calls or keep their own time: each with the few bytes that it remembers.
//!
//! The rules are those under which the tables of Demers et al. 1987 come out:
//!
//! - In rounds, who learned the update in this round counts as not knowing it: two senders that hit the same node were
//!   both useful. With clocks of their own nodes judge what is so at the moment of the contact; only a caller, whose calls
//!   of one tick are made at once, learns from them when all are made.
//! - **push**: a sender counts each contact.
//! - **pull**: a source counts rounds, not requests: a round in which somebody needed the update resets, one in which
//!   only such asked that knew it counts one. Blind rules count the rounds in which anybody asked. A transmit limit counts
//!   answers. With clocks of their own a node's round ends at its own tick.
//! - **push-pull**: each side counts each contact in which it sent. Where both know the update and both count, only the
//!   smaller counter rises, both on a tie (minimization).
//! - **transmit-limit**: a bound on sends and nothing else. Deviation: a running node also halves what is left of it when it
//!   is told that a receiver knew more than half of a packet; here each contact carries one update, so there are no packets.
//! - **forward-once**: in push a node makes the calls of one turn; in push-pull it is active for one round; in pull until the
//!   end of the first round in which it was asked.
//! - **median-counter** (Karp et al. 2000): whom a node met, and how far they had counted, is judged at the end of the
//!   round. One that is silent already (D) counts as ahead: otherwise the last ones in B, who meet nobody else, would
//!   never end.
//! - With a **connection limit** callers come in random order; a call that is accepted and then lost has used its place.

use rumormill_core::config::Mode;
use rumormill_core::rng::Rng;
use rumormill_core::{Interest, StopRule};

use super::partners::Partners;
use super::record::Record;
use super::{Look, Parameters, Run, Timing};
use crate::summary::count;

/// One run, until nobody is interested any more or, where everybody keeps going, until all know.
pub(super) fn run(parameters: &Parameters, seed: u64, look: Look<'_>) -> Option<Run> {
    let mut population = Population::new(parameters, Rng::new(seed));
    let is_at_its_end = match parameters.timing {
        Timing::Rounds => population.run_in_rounds(look),
        Timing::Async => population.run_by_clocks(look),
    };
    is_at_its_end.then(|| Run { time_quiet: population.now, ..population.record.into_run() })
}

/// The most bytes that a node takes here; the pool of different partners comes on top ([`Partners::bytes_per_node`]).
pub(super) const BYTES_PER_NODE: u64 = 16;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Does not know it.
    Susceptible,
    /// Learned it in this round.
    Fresh,
    /// Passes it on.
    Infective,
    /// Knows it and has lost interest.
    Removed,
}

/// What a source heard in pull since its round began.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// Somebody asked.
    by_any: bool,
    /// Somebody asked who needed it.
    usefully: bool,
}

#[derive(Debug)]
struct Population {
    mode: Mode,
    rule: StopRule,
    rounds: bool,
    /// How many calls a node accepts in a round.
    limit: Option<u16>,
    /// How often a refused caller tries further.
    hunt: u32,
    partners: Partners,
    rng: Rng,
    phase: Vec<Phase>,
    /// Where the rule needs it.
    interest: Vec<Interest>,
    asked: Vec<Asked>,
    /// How many more each met that were ahead of it than others.
    ahead: Vec<i32>,
    accepted: Vec<u16>,
    /// The infective nodes in push without a limit, or else all, if in random order.
    order: Vec<u32>,
    /// How many are fresh or infective.
    interested: usize,
    now: f64,
    /// Whose turn it is.
    caller: usize,
    record: Record,
}

impl Population {
    fn new(parameters: &Parameters, mut rng: Rng) -> Self {
        let Parameters { nodes, mode, stop, timing, connection_limit, hunt, .. } = *parameters;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked: below the number of nodes"
        )]
        let first_interest = stop.begin(nodes, parameters.fanout.ceil() as usize);
        let where_if = |needed: bool| if needed { nodes } else { 0 };
        let counts = matches!(
            stop,
            StopRule::BlindCounter { .. }
                | StopRule::FeedbackCounter { .. }
                | StopRule::MedianCounter { .. }
                | StopRule::TransmitLimit { .. }
        );
        let median = matches!(stop, StopRule::MedianCounter { .. });
        let mut population = Self {
            mode,
            rule: stop,
            rounds: timing == Timing::Rounds,
            limit: connection_limit,
            hunt,
            partners: Partners::new(parameters, Rng::new(rng.bits())),
            rng,
            phase: vec![Phase::Susceptible; nodes],
            interest: vec![first_interest; where_if(counts)],
            asked: vec![Asked::default(); where_if(mode == Mode::Pull)],
            ahead: vec![0; where_if(median)],
            accepted: vec![0; where_if(connection_limit.is_some())],
            order: Vec::new(),
            interested: 1,
            now: 0.0,
            caller: 0,
            record: Record::default(),
        };
        population.phase[0] = Phase::Infective;
        if population.follows_infective() {
            population.order = vec![0];
        } else if population.limit.is_some() && population.rounds {
            population.order = (0..u32::try_from(nodes).expect("checked")).collect();
        }
        population
    }

    /// Whether only infective nodes do anything, so that `order` lists them.
    fn follows_infective(&self) -> bool {
        self.mode == Mode::Push && (self.rounds || self.limit.is_none())
    }

    fn goes_on(&self) -> bool {
        match self.rule {
            StopRule::Never => self.record.known() < self.phase.len(),
            StopRule::BlindCounter { .. }
            | StopRule::BlindCoin { .. }
            | StopRule::FeedbackCounter { .. }
            | StopRule::FeedbackCoin { .. }
            | StopRule::ForwardOnce
            | StopRule::MedianCounter { .. }
            | StopRule::TransmitLimit { .. } => self.interested > 0,
        }
    }

    /// Whether it came to its end.
    fn run_in_rounds(&mut self, look: Look<'_>) -> bool {
        for round in 1.. {
            if !self.goes_on() {
                break;
            }
            self.now = count(round);
            if self.limit.is_some() {
                self.rng.shuffle(&mut self.order);
            }
            if self.order.is_empty() {
                (0..self.phase.len()).for_each(|node| self.take_turn(node));
            } else {
                for place in 0..self.order.len() {
                    self.take_turn(self.order[place] as usize);
                }
            }
            self.end_round();
            if !look(round, self.record.known()) {
                return false;
            }
        }
        true
    }

    /// Nodes take their turns at the ticks of one Poisson clock for all whose turns matter, each time a random one.
    /// Whether it came to its end.
    fn run_by_clocks(&mut self, look: Look<'_>) -> bool {
        let mut period = 1;
        while self.goes_on() {
            let follows = self.follows_infective();
            let ticking = if follows { self.order.len() } else { self.phase.len() };
            self.now -= (1.0 - self.rng.fraction()).ln() / count(ticking);
            while self.now > count(period) {
                if !look(period, self.record.known()) {
                    return false;
                }
                period += 1;
            }
            let place = self.rng.below(ticking);
            let node = if follows { self.order[place] as usize } else { place };
            if let Some(accepted) = self.accepted.get_mut(node) {
                *accepted = 0;
            }
            self.close_round_of(node);
            self.take_turn(node);
            if self.phase[node] == Phase::Fresh {
                self.phase[node] = Phase::Infective;
            }
            if follows && self.phase[node] != Phase::Infective {
                self.order.swap_remove(place);
            }
        }
        look(period, self.record.known());
        true
    }

    /// A node makes its calls.
    fn take_turn(&mut self, caller: usize) {
        self.caller = caller;
        let active = self.phase[caller] == Phase::Infective;
        let calls = match self.mode {
            Mode::Push => active,
            // Who knows it and will never stop has nothing to ask for.
            Mode::Pull => self.rule != StopRule::Never || self.phase[caller] == Phase::Susceptible,
            Mode::PushPull => true,
        };
        if !calls {
            return;
        }
        for _ in 0..self.partners.begin() {
            if self.mode == Mode::Push && self.phase[caller] != Phase::Infective {
                break;
            }
            if let Some(partner) = self.find_partner(caller) {
                self.meet(caller, partner);
            }
        }
        let dies = self.rule == StopRule::ForwardOnce && active;
        if dies && (self.mode == Mode::Push || self.mode == Mode::PushPull && !self.rounds) {
            self.remove(caller);
        }
    }

    /// Somebody who accepts the call, if need be after some hunting.
    fn find_partner(&mut self, caller: usize) -> Option<usize> {
        let caller = u32::try_from(caller).expect("nodes fit 32 bits");
        let Some(limit) = self.limit else { return self.partners.next(caller).map(|partner| partner as usize) };
        for _ in 0..=self.hunt {
            let partner = self.partners.next(caller)? as usize;
            if self.accepted[partner] < limit {
                self.accepted[partner] += 1;
                return Some(partner);
            }
        }
        None
    }

    /// One contact: the update crosses it as the mode lets it, then both learn what the rule tells them.
    fn meet(&mut self, caller: usize, partner: usize) {
        let knew = [caller, partner].map(|node| matches!(self.phase[node], Phase::Infective | Phase::Removed));
        let active = [caller, partner].map(|node| self.phase[node] == Phase::Infective);
        // Under `never` those who know it do not ask for it.
        let asks = self.mode != Mode::Push && !(self.rule == StopRule::Never && knew[0]);
        let sends = [self.mode != Mode::Pull && active[0], asks && active[1]];
        self.record.messages += u64::from(sends[0]) + u64::from(sends[1]);
        let arrives = self.partners.arrives();
        if arrives {
            if let StopRule::MedianCounter { .. } = self.rule {
                self.compare([caller, partner], active);
            }
            if sends[0] {
                self.learn(partner, caller);
            }
            if sends[1] {
                self.learn(caller, partner);
            }
        }
        self.judge([caller, partner], sends, knew, arrives);
    }

    /// `node` hears the update from `source`, perhaps not for the first time.
    fn learn(&mut self, node: usize, source: usize) {
        let late = !self.interest.is_empty() && self.rule.is_late(self.interest[source]);
        if late && matches!(self.phase[node], Phase::Susceptible | Phase::Fresh) {
            self.interest[node] = self.rule.begin_late(self.interest[node]);
        }
        if self.phase[node] != Phase::Susceptible {
            return;
        }
        self.interested += 1;
        self.record.learn(self.now, 1);
        self.phase[node] = if self.rounds || node == self.caller { Phase::Fresh } else { Phase::Infective };
        if self.follows_infective() {
            self.order.push(u32::try_from(node).expect("nodes fit 32 bits"));
        }
    }

    /// Who sent learns what its rule wants to know of the contact.
    fn judge(&mut self, nodes: [usize; 2], sends: [bool; 2], knew: [bool; 2], arrives: bool) {
        if self.mode == Mode::Pull {
            if sends[1] {
                self.note_request(nodes[1], knew[0], arrives);
            }
            return;
        }
        let counts = if self.rule.asks_feedback() && arrives { self.minimized(nodes, sends) } else { sends };
        for (side, node) in nodes.into_iter().enumerate() {
            if !counts[side] || self.phase[node] != Phase::Infective {
                continue;
            }
            let mut unused = Interest::default();
            let interest = self.interest.get_mut(node).unwrap_or(&mut unused);
            let loses = match self.rule {
                StopRule::BlindCounter { .. } | StopRule::BlindCoin { .. } | StopRule::TransmitLimit { .. } => {
                    self.rule.on_sent(interest, &mut self.rng)
                }
                StopRule::FeedbackCounter { .. } | StopRule::FeedbackCoin { .. } => {
                    arrives && self.rule.on_heard(interest, knew[1 - side], &mut self.rng)
                }
                StopRule::Never | StopRule::ForwardOnce | StopRule::MedianCounter { .. } => false,
            };
            if loses {
                self.remove(node);
            }
        }
    }

    /// Of two that sent each other what both knew only the one with the smaller counter counts it, both on a tie.
    fn minimized(&self, nodes: [usize; 2], sends: [bool; 2]) -> [bool; 2] {
        if self.interest.is_empty() || sends != [true; 2] {
            return sends;
        }
        let [caller, partner] = nodes.map(|node| self.interest[node]);
        [caller <= partner, partner <= caller]
    }

    /// In pull a source waits for the end of its round, but a bound on sends binds at once.
    fn note_request(&mut self, source: usize, knew: bool, arrives: bool) {
        if let StopRule::TransmitLimit { .. } = self.rule {
            if self.rule.on_sent(&mut self.interest[source], &mut self.rng) {
                self.remove(source);
            }
        } else if arrives || !self.rule.asks_feedback() {
            self.asked[source].by_any = true;
            self.asked[source].usefully |= !knew;
        }
    }

    /// Two players of the median counter hear how far the other has counted.
    fn compare(&mut self, nodes: [usize; 2], active: [bool; 2]) {
        for (side, node) in nodes.into_iter().enumerate() {
            let other = nodes[1 - side];
            if !active[side] {
                continue;
            }
            let counts = active[1 - side] || self.phase[other] == Phase::Removed;
            let is_ahead = counts && self.interest[other] >= self.interest[node];
            self.ahead[node] += if is_ahead { 1 } else { -1 };
        }
    }

    fn end_round(&mut self) {
        if self.follows_infective() {
            for place in 0..self.order.len() {
                self.close_round_of(self.order[place] as usize);
            }
            let phase = &self.phase;
            self.order.retain(|node| phase[*node as usize] == Phase::Infective);
        } else {
            (0..self.phase.len()).for_each(|node| self.close_round_of(node));
        }
        self.accepted.fill(0);
    }

    /// What a node decides at the end of its round.
    fn close_round_of(&mut self, node: usize) {
        match self.phase[node] {
            Phase::Susceptible | Phase::Removed => return,
            Phase::Fresh => return self.phase[node] = Phase::Infective,
            Phase::Infective => {}
        }
        let loses = match self.mode {
            Mode::Push => false,
            Mode::Pull => self.loses_after_requests(node),
            Mode::PushPull if self.rule == StopRule::ForwardOnce => self.rounds,
            Mode::PushPull => self.loses_after_meetings(node),
        };
        if loses {
            self.remove(node);
        }
    }

    fn loses_after_requests(&mut self, node: usize) -> bool {
        let Asked { by_any, usefully } = std::mem::take(&mut self.asked[node]);
        if !by_any {
            return false;
        }
        let mut unused = Interest::default();
        let interest = self.interest.get_mut(node).unwrap_or(&mut unused);
        match self.rule {
            StopRule::ForwardOnce => true,
            StopRule::BlindCounter { .. } | StopRule::BlindCoin { .. } => self.rule.on_sent(interest, &mut self.rng),
            StopRule::FeedbackCounter { .. } | StopRule::FeedbackCoin { .. } => {
                self.rule.on_heard(interest, !usefully, &mut self.rng)
            }
            StopRule::Never | StopRule::MedianCounter { .. } | StopRule::TransmitLimit { .. } => false,
        }
    }

    fn loses_after_meetings(&mut self, node: usize) -> bool {
        let Some(ahead) = self.ahead.get_mut(node) else { return false };
        self.rule.on_round(&mut self.interest[node], std::mem::take(ahead))
    }

    fn remove(&mut self, node: usize) {
        if self.phase[node] == Phase::Infective {
            self.phase[node] = Phase::Removed;
            self.interested -= 1;
        }
    }
}
