//! Messages on their way along trees: payloads at once on eager links, announcements a little later on lazy ones, and what
//! is asked for when a payload does not come (Plumtree, §3).

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::letters::Letter;
use crate::config::TreeUse;
use crate::effects::Timer;
use crate::frame::{self, Items, List, Space};
use crate::identity::NodeId;
use crate::io::TraceStep;
use crate::time::Instant;
use crate::tree::{Heard, Trees};
use crate::update::{Head, Update, UpdateId, UpdateRef};

/// Announcements wait for this part of the interval between rounds, so that one datagram carries many, and payloads are
/// first.
const LAZY_PART: u32 = 4;
/// For this part of the interval a payload may still come that was announced.
const GRAFT_PART: u32 = 2;
/// From so many messages of one origin in a second on, trees carry them with a full view too: from there on what a tree
/// costs to keep is less than what rumors send twice.
const FREQUENT: u32 = 8;

/// Origins whose messages are counted in one second; further ones count as quiet.
const COUNTED_MAX: usize = 128;
/// With a full view each node has a neighbour on either side on so many rings.
const RINGS: u64 = 3;

/// Trees, and what goes out on them once an input is handled.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(super) struct Planting {
    pub(super) trees: Trees,
    /// Payloads, each with the neighbour that it goes to.
    outbox: Vec<(NodeId, Arc<Update>)>,
    /// Origins whose messages were counted in the present second.
    counted: Vec<(NodeId, u32)>,
    since: Instant,
    /// Neighbours on rings, as of the last change of members.
    rings: Vec<NodeId>,
    rings_at: Option<Instant>,
}

impl Planting {
    /// Counts a message. Returns how many came of its origin within the present second.
    fn count(&mut self, origin: NodeId, now: Instant) -> u32 {
        if now.since(self.since) >= Duration::from_secs(1) {
            self.counted.clear();
            self.since = now;
        }
        if let Some((_, count)) = self.counted.iter_mut().find(|(counted, _)| *counted == origin) {
            *count += 1;
            return *count;
        }
        if self.counted.len() < COUNTED_MAX {
            self.counted.push((origin, 1));
        }
        1
    }
}

impl Node {
    /// Whether trees carry a message of that origin.
    pub(super) fn uses_trees(&mut self, origin: NodeId) -> bool {
        match self.config.tree {
            TreeUse::Never => false,
            TreeUse::Always => true,
            TreeUse::Auto => self.is_partial() || self.planting.count(origin, self.fx.now.instant) >= FREQUENT,
        }
    }

    /// Between whom trees grow: the neighbours of a partial view, or on rings of a full one.
    fn tree_neighbours(&mut self) -> Vec<NodeId> {
        if self.is_partial() {
            return self.members.live_ids().collect();
        }
        let changed_at = self.gossip.changed_at(Space::Members);
        if changed_at.is_none() || self.planting.rings_at != changed_at {
            self.planting.rings = self.members.ring_neighbours(RINGS);
            self.planting.rings_at = changed_at;
        }
        self.planting.rings.clone()
    }

    /// A message that is news goes on along its origin's tree.
    pub(super) fn plant(&mut self, update: &Arc<Update>, origin: NodeId, step: &TraceStep) {
        let neighbours = self.tree_neighbours();
        let hop = step.hop.saturating_add(1);
        let planted = (update.id, origin, hop);
        for peer in self.planting.trees.plant(planted, step.from, &neighbours, self.fx.now.instant) {
            self.planting.outbox.push((peer, Arc::clone(update)));
        }
        self.fx.arm_once(self.config.gossip_interval / LAZY_PART, Timer::Lazy);
    }

    /// Sends payloads on: several to one neighbour in one datagram.
    pub(super) fn send_planted(&mut self) {
        if self.planting.outbox.is_empty() {
            return;
        }
        let mut outbox = std::mem::take(&mut self.planting.outbox);
        outbox.sort_by_key(|(peer, _)| *peer);
        for planted in outbox.chunk_by(|(a, _), (b, _)| a == b) {
            let peer = planted[0].0;
            let Some(address) = self.members.address(peer) else { continue };
            let mut letter = self.letter(peer, address);
            for (_, update) in planted {
                self.put_planted(update, &mut letter);
            }
            self.post(letter);
        }
    }

    /// A small payload itself; a large one is announced, and asked for by who has not asked elsewhere.
    fn put_planted(&mut self, update: &Arc<Update>, letter: &mut Letter) {
        let bytes = update.bytes();
        if bytes.len() > self.config.announce_bytes {
            if self.makes_room(letter, 3 + 12) {
                letter.packet.announce(&[(update.id, u32::try_from(bytes.len()).unwrap_or(u32::MAX))]);
            }
            return;
        }
        let mut items = Vec::with_capacity(frame::item_bytes(bytes.len()));
        frame::item(&mut items, self.hop_of(update), bytes);
        if self.makes_room(letter, 3 + items.len()) {
            letter.packet.payload(&items);
        }
    }

    /// Payloads on an eager link. One that was here already makes the link lazy.
    pub(super) fn on_payload(&mut self, items: Items<'_>, letter: &mut Letter) {
        let is_neighbour = self.members.is_live(letter.peer);
        let mut pruned: Vec<NodeId> = Vec::new();
        for (hop, bytes) in items {
            let origin = UpdateRef::read(bytes).and_then(|update| origin_of(&update));
            let known = self.take_update(hop, bytes, letter.peer, true);
            if let Some(origin) = origin.filter(|_| known && is_neighbour)
                && self.planting.trees.prune(origin, letter.peer, self.fx.now.instant)
                && !pruned.contains(&origin)
            {
                pruned.push(origin);
            }
        }
        if !pruned.is_empty() && self.makes_room(letter, 3 + pruned.len() * 8) {
            letter.packet.prune(&pruned);
        }
    }

    pub(super) fn on_prune(&mut self, origins: List<'_>, letter: &Letter) {
        if !self.members.is_live(letter.peer) {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        for origin in origins.ids() {
            self.planting.trees.make_lazy(NodeId(origin.0), letter.peer);
        }
    }

    /// Announces on lazy links what came since.
    pub(super) fn on_lazy_due(&mut self) {
        let neighbours = self.tree_neighbours();
        for (peer, announced) in self.planting.trees.announcements(&neighbours) {
            let Some(address) = self.members.address(peer) else { continue };
            let mut letter = self.letter(peer, address);
            for part in announced.chunks((self.frames_max() - 4) / 9) {
                if self.makes_room(&mut letter, 4 + part.len() * 9) {
                    letter.packet.ihave(part);
                }
            }
            self.post(letter);
        }
    }

    pub(super) fn on_ihave(&mut self, list: List<'_>, letter: &mut Letter) {
        if !self.members.is_live(letter.peer) {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        for (id, hop) in list.with_hops() {
            if self.messages.replica().is_refused(id) {
                continue;
            }
            let held = self.messages.replica().get(id).map(|update| {
                let parts = update.parts();
                (origin_of(&parts).expect("a message is held"), self.messages.hop(&parts))
            });
            match self.planting.trees.hear(id, hop, letter.peer, held, self.fx.now.instant) {
                Heard::Nothing => {}
                Heard::Missing => self.fx.arm(self.config.gossip_interval / GRAFT_PART, Timer::Graft(id)),
                Heard::Shorter(parent) => {
                    let (origin, _) = held.expect("what is here came by a way");
                    letter.packet.graft(false, &[id]);
                    self.say_prune(origin, parent);
                }
            }
        }
    }

    fn say_prune(&mut self, origin: NodeId, peer: Option<NodeId>) {
        let Some((peer, address)) = peer.and_then(|peer| Some((peer, self.members.address(peer)?))) else { return };
        let mut letter = self.letter(peer, address);
        letter.packet.prune(&[origin]);
        self.post(letter);
    }

    /// A payload that was announced has not come: its announcer is asked for it, and becomes eager.
    pub(super) fn on_graft_due(&mut self, id: UpdateId) {
        let Some(peer) = self.planting.trees.announcer(id) else { return };
        self.fx.arm(self.config.gossip_interval / GRAFT_PART, Timer::Graft(id));
        let Some(address) = self.members.address(peer) else { return };
        let mut letter = self.letter(peer, address);
        letter.packet.graft(true, &[id]);
        self.post(letter);
    }

    /// A neighbour wants payloads again of the origins of these messages, and lacks these themselves if it says so.
    pub(super) fn on_graft(&mut self, lacks: bool, ids: List<'_>, letter: &mut Letter) {
        if !self.members.is_live(letter.peer) {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        for id in ids.ids() {
            let Some(update) = self.messages.replica().get(id).cloned() else { continue };
            let origin = origin_of(&update.parts()).expect("a message is held");
            self.planting.trees.graft(origin, letter.peer, self.fx.now.instant);
            if lacks {
                self.put_planted(&update, letter);
            }
        }
    }
}

fn origin_of(update: &UpdateRef<'_>) -> Option<NodeId> {
    match update.head {
        Head::Message { origin, .. } => Some(origin),
        Head::Claim { .. } | Head::Data(_) | Head::Agreement(_) => None,
    }
}
