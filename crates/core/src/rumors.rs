//! Hot updates: what is still being pushed, and when it stops (rumor mongering, Demers et al. 1987 §1.4).
//!
//! Least-sent first, the newest first among equals, as many as fit. The spaces share each datagram by weighted
//! fair queueing, so that a storm of news about members does not starve messages (design §2, starvation). What a
//! stop rule ends is not forgotten, only cold: anti-entropy still carries it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::config::Config;
use crate::frame::{self, Space};
use crate::identity::NodeId;
use crate::limits::Limits;
use crate::map::Map;
use crate::rng::Rng;
use crate::stop::{Interest, StopRule};
use crate::update::{Update, UpdateId};

/// Packets whose contents are remembered, so that feedback about them can be understood.
const PACKETS_MAX: usize = 64;
/// Peers that are remembered to know an update.
pub(crate) const KNOWERS_MAX: usize = 16;
/// Own announced updates of which it is known that nobody has taken them; beyond that the one of the lowest id is taken for taken.
const UNTAKEN_MAX: usize = 64;
/// What an announcement takes, its share of the frame's head included.
const ANNOUNCED_BYTES: usize = 12 + 3;
/// Updates that are looked at for one datagram.
const LOOK_MAX: usize = 128;
/// When announcements of a large update end, under a rule that lives on feedback.
const ANNOUNCE_RULE: StopRule = StopRule::TransmitLimit { lambda: 4.0 };

#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Hot {
    update: Arc<Update>,
    hop: u8,
    /// Who brought it, first or again: they need not be told.
    knowers: Vec<NodeId>,
    sent: u32,
    interest: Interest,
    age: u64,
}

/// What goes into a datagram.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    /// Names the packet in feedback.
    pub(crate) packet: u16,
    /// Items of a frame of updates.
    pub(crate) items: Vec<u8>,
    /// Updates too large to push: their ids and sizes.
    pub(crate) announced: Vec<(UpdateId, u32)>,
}

/// The hot updates of one node, in all spaces.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Rumors {
    /// When an update stops being hot.
    stop: StopRule,
    /// To how many peers a round sends.
    fanout: usize,
    /// Larger updates are announced.
    announce_bytes: usize,
    hot_max: usize,
    hot: Map<UpdateId, Hot>,
    /// By space: (sent, newest first, id).
    queues: [BTreeSet<(u32, u64, UpdateId)>; Space::COUNT],
    /// Bytes sent of each space, for fairness.
    spent: [u64; Space::COUNT],
    born: u64,
    packet: u16,
    /// What the last packets held, in their order: each update with the packet's number.
    packets: VecDeque<(u16, UpdateId)>,
    packets_held: usize,
    /// Updates of this node that are announced, hot or not any more, whose bytes nobody has got yet.
    untaken: BTreeSet<UpdateId>,
}

impl Rumors {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            stop: config.stop,
            fanout: config.fanout,
            announce_bytes: config.announce_bytes,
            hot_max: config.hot_max,
            hot: Map::default(),
            queues: [const { BTreeSet::new() }; Space::COUNT],
            spent: [0; Space::COUNT],
            born: 0,
            packet: 0,
            packets: VecDeque::new(),
            packets_held: 0,
            untaken: BTreeSet::new(),
        }
    }

    /// What becomes hot from now on goes to so many peers at each round.
    pub(crate) const fn set_fanout(&mut self, fanout: usize) {
        self.fanout = fanout;
    }

    pub(crate) fn len(&self) -> usize {
        self.hot.len()
    }

    /// How many updates of a space are hot.
    pub(crate) fn of(&self, space: Space) -> usize {
        self.queues[space.place()].len()
    }

    /// Whether no space has more hot updates than this one.
    pub(crate) fn is_largest(&self, space: Space) -> bool {
        Space::ALL.into_iter().all(|other| self.of(other) <= self.of(space))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hot.is_empty()
    }

    pub(crate) fn is_hot(&self, id: UpdateId) -> bool {
        self.hot.contains_key(&id)
    }

    /// How many were sent to fewer than so many peers.
    pub(crate) fn told_to_fewer(&self, peers: u32) -> usize {
        let of = |queue: &BTreeSet<(u32, u64, UpdateId)>| queue.iter().take_while(|(sent, ..)| *sent < peers).count();
        self.queues.iter().map(of).sum()
    }

    /// Makes an update hot in a cluster of `members`. Beyond `hot_max` the one that was sent most cools, of the space that has
    /// most of them.
    pub(crate) fn heat(&mut self, update: Arc<Update>, hop: u8, from: Option<NodeId>, members: usize) {
        let queue = queue_of(&update);
        if self.queues[queue].is_empty() {
            // A space that had nothing to send does not save up its share.
            let busy = (0..Space::COUNT).filter(|other| !self.queues[*other].is_empty());
            let least = busy.map(|other| self.spent[other]).min();
            let floor = least.or_else(|| self.spent.iter().copied().max()).unwrap_or(0);
            self.spent[queue] = self.spent[queue].max(floor);
        }
        if self.hot.len() >= self.hot_max
            && let Some(most) =
                self.queues.iter().max_by_key(|queue| queue.len()).and_then(|queue| queue.last().copied())
        {
            // Of the space that has most: a storm in one takes no room from another.
            self.retire(most.2);
        }
        self.born += 1;
        let (id, age) = (update.id, u64::MAX - self.born);
        if from.is_none() && update.bytes().len() > self.announce_bytes {
            self.untaken.insert(id);
            if self.untaken.len() > UNTAKEN_MAX {
                self.untaken.pop_first();
            }
        }
        let interest = rule_of(&update, self.stop, self.announce_bytes).begin(members, self.fanout);
        let mut knowers = Vec::with_capacity(KNOWERS_MAX / 2);
        knowers.extend(from);
        let old = self.hot.insert(id, Hot { update, hop, knowers, sent: 0, interest, age });
        assert!(old.is_none(), "an update becomes hot once");
        self.queues[queue].insert((0, age, id));
    }

    /// An update is superseded, or has gone for another reason.
    pub(crate) fn cool(&mut self, id: UpdateId) {
        self.untaken.remove(&id);
        self.retire(id);
    }

    /// An update's rule says stop, or there is no room: others may ask for it.
    fn retire(&mut self, id: UpdateId) {
        let Some(hot) = self.hot.remove(&id) else { return };
        let queue = &mut self.queues[queue_of(&hot.update)];
        queue.remove(&(hot.sent, hot.age, id));
        if queue.is_empty() {
            *queue = BTreeSet::new();
        }
        if self.hot.is_empty() {
            self.hot = Map::default();
        }
    }

    /// Chooses what to tell `peer`, nothing of the space that is withheld from it, within `room` bytes of items, and counts it as sent.
    pub(crate) fn fill(&mut self, peer: NodeId, room: usize, withheld: Option<Space>, rng: &mut Rng) -> Filling {
        let mut filling = Filling::default();
        if self.hot.is_empty() {
            return filling;
        }
        let room = room.saturating_sub(frame::UPDATES_HEAD_BYTES);
        let mut chosen = self.choose(peer, room, withheld, &mut filling);
        for id in &chosen {
            self.count_sent(*id, rng);
        }
        if !filling.announced.is_empty() {
            chosen.retain(|id| filling.announced.iter().all(|(announced, _)| announced != id));
        }
        if !chosen.is_empty() {
            filling.packet = self.remember(&chosen);
        }
        filling
    }

    /// Numbers a packet of these updates.
    fn remember(&mut self, ids: &[UpdateId]) -> u16 {
        if self.packets_held == PACKETS_MAX
            && let Some(&(oldest, _)) = self.packets.front()
        {
            while self.packets.pop_front_if(|(packet, _)| *packet == oldest).is_some() {}
            self.packets_held -= 1;
        }
        self.packet = self.packet.wrapping_add(1);
        self.packets.extend(ids.iter().map(|id| (self.packet, *id)));
        self.packets_held += 1;
        self.packet
    }

    /// Writes down updates that `peer` may want and that fit, each from the space that has had less; they are paid for.
    fn choose(
        &mut self,
        peer: NodeId,
        mut room: usize,
        withheld: Option<Space>,
        filling: &mut Filling,
    ) -> Vec<UpdateId> {
        let mut chosen = Vec::new();
        let hot = |id: UpdateId| (id, &self.hot[&id]);
        let mut looks = self.queues.each_ref().map(|queue| {
            let least_sent = queue.iter().take(LOOK_MAX).map(|(_, _, id)| hot(*id));
            least_sent.filter(|(_, hot)| !hot.knowers.contains(&peer)).peekable()
        });
        loop {
            let more = looks.each_mut().map(|look| look.peek().is_some());
            let offered = |queue: &usize| more[*queue] && withheld.is_none_or(|space| space.place() != *queue);
            let Some(queue) = (0..Space::COUNT).filter(offered).min_by_key(|queue| self.spent[*queue]) else {
                return chosen;
            };
            if let Some(space) = withheld {
                // What is withheld does not save up its share.
                self.spent[space.place()] = self.spent[space.place()].max(self.spent[queue]);
            }
            let (id, hot) = looks[queue].next().expect("there is more");
            let size = hot.update.bytes().len();
            let is_large = size > self.announce_bytes;
            let cost = if is_large { ANNOUNCED_BYTES } else { frame::item_bytes(size) };
            if cost > room {
                continue;
            }
            room -= cost;
            self.spent[queue] += cost as u64;
            chosen.push(id);
            if is_large {
                filling.announced.push((id, u32::try_from(size).unwrap_or(u32::MAX)));
            } else {
                filling.items.reserve(cost);
                frame::item(&mut filling.items, hot.hop, hot.update.bytes());
            }
        }
    }

    fn count_sent(&mut self, id: UpdateId, rng: &mut Rng) {
        let hot = self.hot.get_mut(&id).expect("what was sent is hot");
        let rule = rule_of(&hot.update, self.stop, self.announce_bytes);
        let queue = &mut self.queues[queue_of(&hot.update)];
        queue.remove(&(hot.sent, hot.age, id));
        hot.sent += 1;
        queue.insert((hot.sent, hot.age, id));
        if rule.on_sent(&mut hot.interest, rng) {
            self.retire(id);
        }
    }

    /// `peer` sent an update that is held already.
    pub(crate) fn note_knower(&mut self, id: UpdateId, peer: NodeId) {
        self.untaken.remove(&id);
        if let Some(hot) = self.hot.get_mut(&id)
            && hot.knowers.len() < KNOWERS_MAX
            && !hot.knowers.contains(&peer)
        {
            hot.knowers.push(peer);
        }
    }

    /// The bytes of an update go to somebody.
    pub(crate) fn note_taken(&mut self, id: UpdateId) {
        self.untaken.remove(&id);
    }

    /// Updates of this node whose bytes nobody has got yet.
    pub(crate) const fn untaken(&self) -> &BTreeSet<UpdateId> {
        &self.untaken
    }

    /// All `peers`, everybody there is to tell, are known to have some updates: nobody is left to end their rule, so they
    /// cool here. Under a rule that never ends they stay hot.
    pub(crate) fn cool_what_all_know(&mut self, peers: &[NodeId]) {
        if self.stop == StopRule::Never {
            return;
        }
        let known = self.hot.iter().filter(|(_, hot)| peers.iter().all(|peer| hot.knowers.contains(peer)));
        for id in known.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.cool(id);
        }
    }

    /// A receiver says which updates of a packet it knew.
    pub(crate) fn feedback(&mut self, packet: u16, known: u64, rng: &mut Rng) {
        // The latest are asked about most. Numbers wrap around: they are compared for equality only.
        let Some(last) = self.packets.iter().rposition(|(number, _)| *number == packet) else { return };
        let held = self.packets.range(..=last).rev().take_while(|(number, _)| *number == packet).count();
        let ids: Vec<UpdateId> = self.packets.drain(last + 1 - held..=last).map(|(_, id)| id).collect();
        self.packets_held -= 1;
        for (place, id) in ids.into_iter().enumerate() {
            let knew = place < 64 && known >> place & 1 != 0;
            let Some(hot) = self.hot.get_mut(&id) else { continue };
            if self.stop.on_heard(&mut hot.interest, knew, rng) {
                self.retire(id);
            }
        }
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        // What waits in queues is hot, and so is what was spent on it.
        let Self {
            stop: _,
            fanout: _,
            announce_bytes: _,
            hot_max,
            hot,
            queues: _,
            spent: _,
            born: _,
            packet: _,
            packets: _,
            packets_held,
            untaken,
        } = self;
        to.entries("hot_updates", hot.len(), *hot_max);
        to.entries("packets_for_feedback", *packets_held, PACKETS_MAX);
        to.entries("updates_untaken", untaken.len(), UNTAKEN_MAX);
    }
}

/// Nobody tells what it knew of an announcement: a rule that lives on feedback would never end it.
fn rule_of(update: &Update, stop: StopRule, announce_bytes: usize) -> StopRule {
    let large = update.bytes().len() > announce_bytes;
    if large && stop.asks_feedback() { ANNOUNCE_RULE } else { stop }
}

/// Whether an update is a claim about a member.
pub(crate) fn is_claim(update: &Update) -> bool {
    queue_of(update) == Space::Members.place()
}

fn queue_of(update: &Update) -> usize {
    Space::from_byte(update.bytes()[0] & 0xf).expect("only known spaces are kept").place()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigBuilder;
    use crate::identity::Sequence;
    use crate::time::Seconds;
    use crate::update::{MessageBody, UpdateRef, message_bytes};

    fn message(count: u32, payload: usize) -> Arc<Update> {
        let sequence = Sequence::new(1, count);
        let bytes = message_bytes(NodeId(1), sequence, "t", Seconds(9), &MessageBody::test(&vec![0; payload]));
        Arc::new(Update::new(&UpdateRef::read(&bytes).unwrap(), &[0; 16]))
    }

    /// Nothing hot yet.
    fn none(stop: StopRule) -> Rumors {
        Rumors::new(&ConfigBuilder { stop, ..ConfigBuilder::lan() }.build().unwrap())
    }

    fn rumors(stop: StopRule, count: u32) -> Rumors {
        let mut rumors = none(stop);
        (1..=count).for_each(|n| rumors.heat(message(n, 10), 0, None, 99));
        rumors
    }

    /// How often the first is sent before it cools.
    fn sends(rumors: &mut Rumors) -> usize {
        let mut rng = Rng::new(1);
        let mut sends = || {
            let filling = rumors.fill(NodeId(2), 1_000, None, &mut rng);
            !filling.items.is_empty() || !filling.announced.is_empty()
        };
        (0..100).take_while(|_| sends()).count()
    }

    #[test]
    fn an_update_is_sent_as_often_as_its_limit_says_and_then_cools() {
        let mut rumors = rumors(StopRule::TransmitLimit { lambda: 4.0 }, 1);
        assert_eq!(sends(&mut rumors), 8, "4 log10(100)");
    }

    #[test]
    fn blind_rules_end_after_their_sends() {
        assert_eq!(sends(&mut rumors(StopRule::BlindCounter { k: 5 }, 1)), 5);
        assert_eq!(sends(&mut rumors(StopRule::ForwardOnce, 1)), ConfigBuilder::lan().fanout);
        assert!(sends(&mut rumors(StopRule::BlindCoin { k: 2 }, 1)) < 60, "2^-60 would be bad luck");
    }

    #[test]
    fn a_coin_under_feedback_falls_only_after_unnecessary_contacts() {
        let mut rumors = rumors(StopRule::FeedbackCoin { k: 1 }, 2);
        let packet = rumors.fill(NodeId(2), 1_000, None, &mut Rng::new(1)).packet;
        rumors.feedback(packet, 0b10, &mut Rng::new(1));
        assert_eq!(rumors.len(), 1);
    }

    #[test]
    fn the_least_sent_go_first() {
        let mut rumors = rumors(StopRule::Never, 2);
        let room = frame::UPDATES_HEAD_BYTES + frame::item_bytes(message(1, 10).bytes().len());
        let first = rumors.fill(NodeId(2), room, None, &mut Rng::new(1)).items;
        let second = rumors.fill(NodeId(2), room, None, &mut Rng::new(1)).items;
        assert_ne!(first, second);
        assert_eq!(rumors.fill(NodeId(2), room, None, &mut Rng::new(1)).items, first);
    }

    #[test]
    fn being_told_that_most_were_known_halves_what_is_left() {
        let stop = StopRule::TransmitLimit { lambda: 4.0 };
        let mut rumors = rumors(stop, 1);
        let packet = rumors.fill(NodeId(2), 1_000, None, &mut Rng::new(1)).packet;
        rumors.feedback(packet, 1, &mut Rng::new(1));
        assert_eq!(sends(&mut rumors), 3, "7 were left");
    }

    #[test]
    fn a_counter_ends_after_k_unnecessary_contacts_in_a_row() {
        let stop = StopRule::FeedbackCounter { k: 2 };
        let mut rumors = rumors(stop, 1);
        for known in [1, 0, 1, 1] {
            let packet = rumors.fill(NodeId(2), 1_000, None, &mut Rng::new(1)).packet;
            rumors.feedback(packet, known, &mut Rng::new(1));
        }
        assert!(rumors.is_empty());
    }

    #[test]
    fn feedback_is_understood_about_the_last_packets() {
        let mut rumors = rumors(StopRule::FeedbackCounter { k: 1 }, 2);
        let packets: Vec<u16> =
            (0..=PACKETS_MAX).map(|_| rumors.fill(NodeId(2), 1_000, None, &mut Rng::new(1)).packet).collect();
        rumors.feedback(packets[0], 0b11, &mut Rng::new(1));
        assert_eq!(rumors.len(), 2, "it was too long ago");
        rumors.feedback(packets[2], 0b00, &mut Rng::new(1));
        rumors.feedback(packets[2], 0b11, &mut Rng::new(1));
        assert_eq!(rumors.len(), 2, "each packet has one answer");
        rumors.feedback(packets[1], 0b01, &mut Rng::new(1));
        assert_eq!(rumors.len(), 1);
        rumors.feedback(packets[PACKETS_MAX], 0b11, &mut Rng::new(1));
        assert!(rumors.is_empty());
    }

    #[test]
    fn a_storm_of_claims_leaves_messages_half_of_each_datagram() {
        let mut rumors = none(StopRule::Never);
        for member in 1..=200 {
            let address = "10.0.0.1:4747".parse().unwrap();
            rumors.heat(crate::update::tests::claim_of(NodeId(member), address), 0, None, 99);
        }
        (1..=20).for_each(|n| rumors.heat(message(n, 100), 0, None, 99));
        let bytes: usize = (0..4)
            .flat_map(|_| frame::Items::of(&rumors.fill(NodeId(2), 1_100, None, &mut Rng::new(1)).items))
            .filter(|update| {
                UpdateRef::read(update).is_some_and(|u| matches!(u.head, crate::update::Head::Message { .. }))
            })
            .map(|update| update.len())
            .sum();
        assert!((1_800..=2_600).contains(&bytes), "{bytes} of some 4,300 bytes");
    }

    #[test]
    fn an_own_update_that_was_announced_is_untaken_until_somebody_has_it_however_cold_it_is() {
        let mut rumors = none(StopRule::ForwardOnce);
        let large = |n: u32| message(n, 2_000);
        rumors.heat(large(1), 0, None, 99);
        rumors.heat(large(2), 1, Some(NodeId(3)), 99);
        rumors.heat(message(3, 10), 0, None, 99);
        sends(&mut rumors);
        assert!(rumors.is_empty() && rumors.untaken().iter().eq([&large(1).id]), "{rumors:?}");
        rumors.note_taken(large(1).id);
        assert!(rumors.untaken().is_empty());
        for n in 4..=6 {
            rumors.heat(large(n), 0, None, 99);
        }
        rumors.note_knower(large(4).id, NodeId(3));
        rumors.cool(large(5).id);
        assert!(rumors.untaken().iter().eq([&large(6).id]), "others are had by somebody, or gone");
        (7..100).for_each(|n| rumors.heat(large(n), 0, None, 99));
        assert_eq!(rumors.untaken().len(), UNTAKEN_MAX);
    }

    #[test]
    fn who_sent_an_update_is_not_told_of_it() {
        let mut rumors = rumors(StopRule::Never, 1);
        rumors.note_knower(message(1, 10).id, NodeId(3));
        assert!(rumors.fill(NodeId(3), 1_000, None, &mut Rng::new(1)).items.is_empty());
        assert!(!rumors.fill(NodeId(2), 1_000, None, &mut Rng::new(1)).items.is_empty());
    }

    #[test]
    fn what_all_are_known_to_have_cools_except_under_a_rule_that_never_ends() {
        for (stop, left) in [(StopRule::TransmitLimit { lambda: 4.0 }, 1), (StopRule::Never, 2)] {
            let mut rumors = rumors(stop, 2);
            rumors.note_knower(message(1, 10).id, NodeId(3));
            rumors.cool_what_all_know(&[NodeId(2), NodeId(3)]);
            assert_eq!(rumors.len(), 2, "one of them may not have it");
            rumors.note_knower(message(1, 10).id, NodeId(2));
            rumors.cool_what_all_know(&[NodeId(2), NodeId(3)]);
            assert_eq!(rumors.len(), left, "{stop}");
        }
    }

    #[test]
    fn feedback_is_understood_after_the_numbers_of_packets_wrapped_around() {
        let mut rumors = rumors(StopRule::FeedbackCounter { k: 1 }, 1);
        let first = rumors.fill(NodeId(2), 1_000, None, &mut Rng::new(1)).packet;
        // An update that is sent and cools again and again: one packet of old stays in front while numbers go round.
        let packets = std::mem::take(&mut rumors.packets);
        rumors.packet = first.wrapping_sub(3);
        for _ in 0..2 {
            rumors.fill(NodeId(2), 1_000, None, &mut Rng::new(1));
        }
        packets.into_iter().rev().for_each(|packet| rumors.packets.push_front(packet));
        rumors.feedback(rumors.packet, 1, &mut Rng::new(1));
        assert!(rumors.is_empty());
    }

    #[test]
    fn a_large_update_is_announced() {
        let mut rumors = none(StopRule::Never);
        rumors.heat(message(1, 5_000), 0, None, 9);
        let filling = rumors.fill(NodeId(2), 1_000, None, &mut Rng::new(1));
        assert!(filling.items.is_empty());
        assert_eq!(filling.announced.len(), 1);
    }

    #[test]
    fn announcements_end_although_nobody_gives_feedback_about_them() {
        let mut rumors = none(StopRule::FeedbackCounter { k: 2 });
        rumors.heat(message(1, 5_000), 0, None, 99);
        assert_eq!(sends(&mut rumors), 8, "4 log10(100)");
    }
}
