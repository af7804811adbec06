//! The epidemic loop: whom to tell and ask, and when (design §2 Push, Push-pull).
//!
//! News goes on at once, then at rounds while it is hot. Rounds that ask back off while roots agree, down to the
//! repair interval, which compares with one random peer in every mode: an idle cluster is nearly silent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::letters::Letter;
use crate::config::{Config, Forward, Mode};
use crate::effects::Timer;
use crate::frame::{Accusation, Space};
use crate::identity::NodeId;
use crate::rumors;
use crate::stop::StopRule;
use crate::time::Instant;
use crate::update::Update;

/// Times within one interval that news is passed on at once; a storm waits for the round and fills its datagrams.
const FORWARDS_MAX: u32 = 3;
/// With this many hot claims, about a datagram's worth, those of others that come in are left to comparisons.
const STORM_CLAIMS: usize = 16;
/// Fresh news goes out a second time after this part of the interval between rounds.
const ECHO_PART: u32 = 8;
/// Accusations that are hot at once.
const ACCUSATIONS_MAX: usize = 256;
/// Peers for whom feedback waits.
const FEEDBACK_MAX: usize = 64;
/// Intervals after which differences that nothing has changed about are left to repair: what is refused cannot be had.
const FUTILE_INTERVALS: u32 = 16;
/// Roots of peers that are remembered meanwhile.
const FOREIGN_ROOTS_MAX: usize = 256;

/// The state of the loop.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Gossip {
    /// Rounds lie on multiples of the interval since this moment.
    origin: Instant,
    /// The present time between rounds.
    interval: Duration,
    /// Something is to be passed on at once.
    pub(super) fresh: bool,
    /// To whom news went at once a moment ago.
    told: Vec<NodeId>,
    /// How often that was done since `forwards_since`.
    forwards: u32,
    forwards_since: Instant,
    /// A peer whose root differed.
    differs: Option<NodeId>,
    /// Roots that peers have shown since this node's own was another.
    foreign: BTreeSet<u64>,
    /// When a root was new, of this node or of a peer.
    news_at: Instant,
    /// When a peer last had the same root.
    agreed_at: Option<Instant>,
    /// When the spaces last changed.
    changed_at: [Option<Instant>; Space::COUNT],
    pub(super) feedback: Feedback,
    accusations: Vec<(Accusation, Option<u32>)>,
}

impl Gossip {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            origin: now,
            interval: config.gossip_interval,
            fresh: false,
            told: Vec::new(),
            forwards: 0,
            forwards_since: now,
            differs: None,
            foreign: BTreeSet::new(),
            news_at: now,
            agreed_at: None,
            changed_at: [None; Space::COUNT],
            feedback: Feedback::default(),
            accusations: Vec::new(),
        }
    }

    /// Makes an accusation hot.
    pub(super) fn accuse(&mut self, accusation: Accusation, config: &Config, members: usize) {
        if self.accusations.len() == ACCUSATIONS_MAX {
            self.accusations.remove(0);
        }
        // Under a rule without a bound accusations still have one: they are lines, not updates.
        let sends_max = |stop: StopRule| stop.sends_max(members, config.fanout);
        let left = sends_max(config.stop).or_else(|| sends_max(StopRule::TransmitLimit { lambda: 4.0 }));
        self.accusations.push((accusation, left));
    }

    /// Accusations for one datagram, counted as sent.
    pub(super) fn take_accusations(&mut self, count: usize) -> Vec<Accusation> {
        let count = count.min(self.accusations.len());
        let mut said = Vec::with_capacity(count);
        for (accusation, left) in self.accusations.iter_mut().take(count) {
            *left = left.map(|left| left.saturating_sub(1));
            said.push(*accusation);
        }
        self.accusations.retain(|(_, left)| *left != Some(0));
        // The next datagram begins with others.
        if count < self.accusations.len() {
            self.accusations.rotate_left(count);
        }
        said
    }

    /// This node's own root is another one now.
    fn note_own_root(&mut self, now: Instant) {
        self.foreign.clear();
        self.news_at = now;
    }

    /// A peer's root differs.
    fn note_foreign_root(&mut self, root: u64, now: Instant) {
        if self.foreign.len() == FOREIGN_ROOTS_MAX {
            self.foreign.clear();
        }
        if self.foreign.insert(root) {
            self.news_at = now;
        }
    }

    /// Whether comparisons have changed nothing for a while, although roots differ.
    fn is_futile(&self, now: Instant, config: &Config) -> bool {
        now.since(self.news_at) > config.gossip_interval * FUTILE_INTERVALS
    }

    /// When a space last changed.
    pub(super) const fn changed_at(&self, space: Space) -> Option<Instant> {
        self.changed_at[space.place()]
    }

    fn changed_lately(&self, space: Space, now: Instant, config: &Config) -> bool {
        self.changed_at[space.place()].is_some_and(|at| now.since(at) < config.repair_interval)
    }
}

/// Feedback that waits for the next letter to its peer. Nearly every letter looks for some, so peers lie close together.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(super) struct Feedback {
    peers: Vec<NodeId>,
    /// For each of them a packet, and which of its updates were known.
    packets: Vec<(u16, u64)>,
}

impl Feedback {
    /// Puts feedback for a peer in the place of what waits for it. Where there is no room, that of the lowest id goes.
    fn put(&mut self, peer: NodeId, packet: (u16, u64)) {
        if self.peers.len() >= FEEDBACK_MAX
            && let Some(lowest) = self.peers.iter().min().copied()
        {
            self.take(lowest);
        }
        if let Some(place) = self.peers.iter().position(|waiting| *waiting == peer) {
            self.packets[place] = packet;
        } else {
            self.peers.push(peer);
            self.packets.push(packet);
        }
    }

    /// Takes out what waits for a peer.
    pub(super) fn take(&mut self, peer: NodeId) -> Option<(u16, u64)> {
        let place = self.peers.iter().position(|waiting| *waiting == peer)?;
        self.peers.swap_remove(place);
        Some(self.packets.swap_remove(place))
    }
}

impl Node {
    /// Makes an update hot: it goes on at once, then at rounds.
    pub(super) fn heat(&mut self, update: Arc<Update>, hop: u8, from: Option<NodeId>) {
        // In a storm of claims comparisons are cheaper than pushes: they send nobody what it knows.
        let storms = self.rumors.of(Space::Members) >= STORM_CLAIMS && self.config.mode != Mode::Push;
        if storms && from.is_some_and(|from| from != self.identity.id) && rumors::is_claim(&update) {
            return;
        }
        let members = self.size();
        self.rumors.heat(update, hop, from, members);
        self.gossip.fresh = true;
    }

    /// The replica changed: rounds follow quickly again.
    pub(super) fn note_change(&mut self, space: Space) {
        let now = self.fx.now.instant;
        self.gossip.changed_at[space.place()] = Some(now);
        self.gossip.note_own_root(now);
        self.hurry();
    }

    /// There is something to tell or ask: the next round comes after one interval.
    pub(super) fn hurry(&mut self) {
        self.gossip.interval = self.config.gossip_interval;
        self.arm_round();
    }

    /// Rounds as they are once nothing has changed for long, and nothing to pass on.
    pub(super) fn settle_rounds(&mut self) {
        self.gossip.fresh = false;
        self.fx.cancel(Timer::Echo);
        self.gossip.interval = self.config.gossip_interval_max;
        if self.goes_on_asking() {
            self.arm_round();
        }
    }

    /// Whether the next round follows although there is nothing to tell: beyond the repair interval it would only do
    /// what repair does.
    fn goes_on_asking(&self) -> bool {
        self.config.mode != Mode::Push && self.gossip.interval < self.config.repair_interval
    }

    /// The same, unless that has led nowhere for a while.
    pub(super) fn hurry_unless_futile(&mut self) {
        if !self.gossip.is_futile(self.fx.now.instant, &self.config) {
            self.hurry();
        }
    }

    /// On a multiple of the interval, so that a laboratory can run rounds in step.
    fn arm_round(&mut self) {
        if self.members.live() == 0 {
            // Nobody to tell or ask; whoever comes is a change.
            return;
        }
        let step = self.config.gossip_interval;
        let passed = self.fx.now.instant.since(self.gossip.origin).as_micros() % step.as_micros();
        let passed = Duration::from_micros(u64::try_from(passed).expect("below an interval"));
        let at = self.fx.now.instant + step.saturating_sub(passed) + self.gossip.interval.saturating_sub(step);
        if self.fx.timers.due(Timer::Round).is_none_or(|due| due > at) {
            self.fx.timers.set(Timer::Round, at);
        }
    }

    /// Passes fresh news on at once, unless a storm rages.
    pub(super) fn forward_fresh(&mut self) {
        if !std::mem::take(&mut self.gossip.fresh) || self.config.forward == Forward::AtRounds {
            return;
        }
        let now = self.fx.now.instant;
        if now.since(self.gossip.forwards_since) >= self.config.gossip_interval {
            self.gossip.forwards_since = now;
            self.gossip.forwards = 0;
        }
        self.gossip.forwards += 1;
        if self.gossip.forwards <= FORWARDS_MAX && self.config.mode != Mode::Pull {
            self.gossip.told.clear();
            self.push_to_some();
            self.fx.arm_once(self.config.gossip_interval / ECHO_PART, Timer::Echo);
        }
    }

    /// Fresh news goes to others once more before the round, because one wave misses some: at fanout 3 it reaches
    /// 94 % of the nodes, two reach 99.8 % (Kermarrec, Massoulie, Ganesh 2003). The sends are those of the stop rule,
    /// only sooner.
    pub(super) fn on_echo_due(&mut self) {
        self.push_to_some();
    }

    fn push_to_some(&mut self) {
        let already = std::mem::take(&mut self.gossip.told);
        // Few neighbours are all told, as HyParView has it (§4.1).
        let fanout = if self.is_partial() { self.members.live() } else { self.config.fanout };
        let picked = self.members.pick(&mut self.fx.rng, fanout + already.len(), None);
        let others = picked.into_iter().filter(|peer| !already.contains(peer)).take(fanout);
        for peer in others {
            self.push_to(peer);
            self.gossip.told.push(peer);
        }
    }

    fn push_to(&mut self, peer: NodeId) {
        let Some(address) = self.members.address(peer) else { return };
        let mut letter = self.letter(peer, address);
        self.fill(&mut letter);
        self.post(letter);
    }

    pub(super) fn on_round_due(&mut self) {
        let hot = !self.rumors.is_empty() || !self.gossip.accusations.is_empty();
        let (pushes, pulls) = (self.config.mode != Mode::Pull && hot, self.config.mode != Mode::Push);
        if pushes || pulls {
            let peers = self.members.pick(&mut self.fx.rng, self.config.fanout, None);
            for (place, peer) in peers.into_iter().enumerate() {
                // Push-pull asks one of those that it tells; pull asks them all.
                let asks = pulls && (place == 0 || self.config.mode == Mode::Pull);
                let peer = if asks && place == 0 { self.gossip.differs.take().unwrap_or(peer) } else { peer };
                self.visit(peer, pushes, asks);
            }
        }
        if self.members.live() <= rumors::KNOWERS_MAX {
            self.rumors.cool_what_all_know(&self.members.live_ids().collect::<Vec<_>>());
        }
        self.gossip.interval = (self.gossip.interval * 2).min(self.config.gossip_interval_max);
        let still_hot = !self.rumors.is_empty() || !self.gossip.accusations.is_empty();
        if still_hot && self.config.mode != Mode::Pull {
            self.gossip.interval = self.config.gossip_interval;
        }
        if self.goes_on_asking() || self.gossip.interval == self.config.gossip_interval {
            self.arm_round();
        }
    }

    /// One contact of a round.
    fn visit(&mut self, peer: NodeId, pushes: bool, asks: bool) {
        let Some(address) = self.members.address(peer) else { return };
        let mut letter = self.letter(peer, address);
        if asks {
            self.put_sketches(&mut letter, self.config.mode == Mode::Pull);
            if self.config.mode == Mode::Pull {
                self.fx.arm(self.config.gossip_interval / 2, Timer::Ask(peer));
            }
        }
        if pushes {
            self.fill(&mut letter);
        }
        self.post(letter);
    }

    /// Question or answer got lost: the question is put once more, within the round. Asking takes two datagrams, and
    /// without this a loss of p would cost pull as much as a loss of 2p costs push. In push-pull the push makes up for
    /// it (decision 0007).
    pub(super) fn on_ask_due(&mut self, peer: NodeId) {
        if !self.exchanges.is_unanswered(peer) {
            return;
        }
        let Some(address) = self.members.address(peer) else { return };
        let mut letter = self.letter(peer, address);
        self.repeat_sketches(&mut letter);
        self.post(letter);
    }

    /// Compares with one random peer, unless a probe has just shown that roots agree.
    pub(super) fn on_repair_due(&mut self) {
        self.fx.arm(self.config.repair_interval, Timer::Repair);
        self.note_heard();
        let now = self.fx.now.instant;
        let agrees = self.gossip.agreed_at.is_some_and(|at| now.since(at) < self.config.repair_interval);
        if agrees && self.gossip.differs.is_none() {
            return;
        }
        let random = self.members.pick(&mut self.fx.rng, 1, None).first().copied();
        if let Some(peer) = self.gossip.differs.take().filter(|peer| self.members.is_live(*peer)).or(random) {
            self.compare_with(peer);
        }
    }

    /// Sends a peer sketches of everything.
    pub(super) fn compare_with(&mut self, peer: NodeId) {
        let Some(address) = self.members.address(peer) else { return };
        let mut letter = self.letter(peer, address);
        self.put_sketches(&mut letter, false);
        self.post(letter);
    }

    /// Whether a few symbols should go out at once, because differences are likely.
    pub(super) fn is_lively(&self, space: Space) -> bool {
        self.gossip.changed_lately(space, self.fx.now.instant, &self.config)
    }

    /// A ping or ack said what its sender has.
    pub(super) fn hear_root(&mut self, peer: NodeId, root: u64) {
        if root == self.root() {
            self.gossip.agreed_at = Some(self.fx.now.instant);
            self.note_complete();
            self.note_agreement(peer);
            return;
        }
        self.gossip.note_foreign_root(root, self.fx.now.instant);
        self.gossip.differs = Some(peer);
        if self.config.mode != Mode::Push {
            self.hurry_unless_futile();
        }
    }

    /// What a receiver knew of a packet: told when it was more than half, or when the sender asks.
    pub(super) fn note_feedback(&mut self, letter: &mut Letter, packet: u16, asks: bool, known: u64, items: u32) {
        if packet == 0 || !asks && known.count_ones() * 2 <= items {
            return;
        }
        // A large packet, or a rule that lives on feedback, gets its answer now; others with the next ack.
        if (asks || items >= 8) && letter.packet.room() >= 12 {
            letter.packet.feedback(packet, known);
        } else if self.members.is_live(letter.peer) {
            self.gossip.feedback.put(letter.peer, (packet, known));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_waits_once_for_each_peer_and_where_it_is_full_the_lowest_goes() {
        let mut feedback = Feedback::default();
        (1..=64).for_each(|peer| feedback.put(NodeId(peer), (1, peer)));
        feedback.put(NodeId(65), (1, 65));
        assert_eq!(feedback.take(NodeId(1)), None);
        feedback.put(NodeId(65), (2, 65));
        assert_eq!(feedback.take(NodeId(65)), Some((2, 65)));
        assert_eq!(feedback.take(NodeId(65)), None);
    }
}
