//! Payload trees (Plumtree: Leitao, Pereira and Rodrigues, SRDS 2007): each message goes along a tree to every node once,
//! and is announced on the other links between neighbours.
//!
//! A link is *eager* until a payload came over it that was here already; then both ends make it *lazy*. What is announced
//! on a lazy link and does not come is asked for there, which makes the link eager again.
//!
//! There is a tree for each origin. That of an origin which was not heard of lately begins as a copy of another's: links
//! are pruned on both ends, so that what is left of any tree reaches everybody from anywhere. From there it gets shorter,
//! where an announcement came with fewer hops than the payload (§3.8).

use std::collections::BTreeMap;

use crate::identity::NodeId;
use crate::time::Instant;
use crate::update::UpdateId;

/// Origins whose trees are remembered; the one that was not used for longest gives way.
const TREES_MAX: usize = 128;
/// Lazy links of one tree, of which the oldest becomes eager beyond it: more than any node has neighbours, and former neighbours
/// on rings of a full view may be among them.
const LAZY_MAX: usize = 32;
/// Messages that are announced and waited for.
const MISSING_MAX: usize = 1_024;
/// Announcers that are remembered for each of them.
const ANNOUNCERS_MAX: usize = 5;
/// Messages that wait to be announced.
const UNTOLD_MAX: usize = 4_096;

/// What this node knows of the tree of one origin.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
struct Tree {
    /// Neighbours to whom payloads are announced only.
    lazy: Vec<NodeId>,
    /// Who sent the last payload, or announced it with fewer hops.
    parent: Option<NodeId>,
    /// How many hops it takes by way of that one.
    hop: u8,
    /// When it was used last.
    used: Instant,
}

impl Tree {
    fn make_lazy(&mut self, peer: NodeId) {
        if self.lazy.contains(&peer) {
            return;
        }
        if self.lazy.len() >= LAZY_MAX {
            self.lazy.remove(0);
        }
        self.lazy.push(peer);
    }
}

/// A message to be announced on lazy links.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
struct Untold {
    id: UpdateId,
    origin: NodeId,
    hop: u8,
    from: Option<NodeId>,
}

/// The trees of one node.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct Trees {
    by_origin: BTreeMap<NodeId, Tree>,
    untold: Vec<Untold>,
    /// Announced and not here: who has it, the first announcer first.
    missing: BTreeMap<UpdateId, Vec<NodeId>>,
}

/// What an announcement leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// Nothing: it is here, by a way that is short enough, or is waited for already.
    Nothing,
    /// It is not here: it is waited for from now on.
    Missing,
    /// It came here by a longer way: the announcer is to be the parent, and the old one is not.
    Shorter(Option<NodeId>),
}

impl Trees {
    fn tree(&mut self, origin: NodeId, now: Instant) -> &mut Tree {
        if !self.by_origin.contains_key(&origin) {
            // All nodes copy the same one, as far as they remember the same origins.
            let lazy = self.by_origin.first_key_value().map(|(_, tree)| tree.lazy.clone()).unwrap_or_default();
            if self.by_origin.len() >= TREES_MAX
                && let Some(oldest) = self.by_origin.iter().min_by_key(|(_, tree)| tree.used).map(|(id, _)| *id)
            {
                self.by_origin.remove(&oldest);
            }
            self.by_origin.insert(origin, Tree { lazy, parent: None, hop: 0, used: now });
        }
        let tree = self.by_origin.get_mut(&origin).expect("it was just put there");
        tree.used = now;
        tree
    }

    /// A payload of an origin that is news came from a neighbour, or was made here. Returns to which of the `neighbours` it
    /// goes on; to the others it will be announced.
    pub(crate) fn plant(
        &mut self,
        (id, origin, hop): (UpdateId, NodeId, u8),
        from: Option<NodeId>,
        neighbours: &[NodeId],
        now: Instant,
    ) -> Vec<NodeId> {
        let tree = self.tree(origin, now);
        (tree.parent, tree.hop) = (from, hop.saturating_sub(1));
        tree.lazy.retain(|lazy| Some(*lazy) != from);
        let eager =
            neighbours.iter().copied().filter(|peer| Some(*peer) != from && !tree.lazy.contains(peer)).collect();
        if self.untold.len() < UNTOLD_MAX {
            self.untold.push(Untold { id, origin, hop, from });
        }
        eager
    }

    /// A payload came from a neighbour and was here already: unless it is the one from whom it came first, and the network
    /// has made two of one datagram, the link becomes lazy. Returns whether it does: where there is no tree it is for the
    /// other side to say so.
    pub(crate) fn prune(&mut self, origin: NodeId, peer: NodeId, now: Instant) -> bool {
        let Some(tree) = self.by_origin.get_mut(&origin) else { return true };
        tree.used = now;
        let is_parent = tree.parent == Some(peer);
        if !is_parent {
            tree.make_lazy(peer);
        }
        !is_parent
    }

    /// A link becomes lazy, in a tree that there is.
    pub(crate) fn make_lazy(&mut self, origin: NodeId, peer: NodeId) {
        if let Some(tree) = self.by_origin.get_mut(&origin) {
            tree.make_lazy(peer);
        }
    }

    /// A link becomes eager.
    pub(crate) fn graft(&mut self, origin: NodeId, peer: NodeId, now: Instant) {
        self.tree(origin, now).lazy.retain(|lazy| *lazy != peer);
    }

    /// A message was announced; `held` says by which origin it is and how many hops it took, if it is here.
    pub(crate) fn hear(
        &mut self,
        id: UpdateId,
        hop: u8,
        from: NodeId,
        held: Option<(NodeId, u8)>,
        now: Instant,
    ) -> Heard {
        if let Some((origin, taken)) = held {
            let tree = self.tree(origin, now);
            // Whoever announces has fewer hops than this node: however many change their parents at once, no circle comes of
            // it. (§3.8 asks for 7 hops less, as one tree serves many origins there.)
            let is_shorter = tree.parent.is_some_and(|parent| parent != from) && hop < taken.min(tree.hop);
            if !is_shorter {
                return Heard::Nothing;
            }
            let parent = tree.parent.replace(from);
            tree.hop = hop;
            tree.lazy.retain(|lazy| *lazy != from && Some(*lazy) != parent);
            if let Some(parent) = parent {
                tree.make_lazy(parent);
            }
            return Heard::Shorter(parent);
        }
        if let Some(announcers) = self.missing.get_mut(&id) {
            if announcers.len() < ANNOUNCERS_MAX && !announcers.contains(&from) {
                announcers.push(from);
            }
            return Heard::Nothing;
        }
        if self.missing.len() >= MISSING_MAX {
            return Heard::Nothing;
        }
        self.missing.insert(id, vec![from]);
        Heard::Missing
    }

    /// A message that was announced has not come: whom to ask for it. `None` when all were asked.
    pub(crate) fn announcer(&mut self, id: UpdateId) -> Option<NodeId> {
        let announcers = self.missing.get_mut(&id)?;
        if announcers.is_empty() {
            self.missing.remove(&id);
            return None;
        }
        Some(announcers.remove(0))
    }

    /// A message is here, on whatever way it came. Returns whether it was announced before.
    pub(crate) fn note_arrival(&mut self, id: UpdateId) -> bool {
        self.missing.remove(&id).is_some()
    }

    /// What is to be announced, with the neighbours to whom.
    pub(crate) fn announcements(&mut self, neighbours: &[NodeId]) -> Vec<(NodeId, Vec<(UpdateId, u8)>)> {
        let untold = std::mem::take(&mut self.untold);
        let is_told = |told: &Untold, peer: NodeId| {
            told.from != Some(peer) && self.by_origin.get(&told.origin).is_some_and(|tree| tree.lazy.contains(&peer))
        };
        let to = |peer: NodeId| untold.iter().filter(move |told| is_told(told, peer)).map(|told| (told.id, told.hop));
        let announced = neighbours.iter().map(|peer| (*peer, to(*peer).collect::<Vec<_>>()));
        announced.filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// A neighbour is none any more.
    pub(crate) fn forget(&mut self, peer: NodeId) {
        for tree in self.by_origin.values_mut() {
            tree.lazy.retain(|lazy| *lazy != peer);
            tree.parent = tree.parent.filter(|parent| *parent != peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: NodeId = NodeId(9);
    const NOW: Instant = Instant::from_micros(1);
    const NEIGHBOURS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn planted() -> Trees {
        let mut trees = Trees::default();
        let eager = trees.plant((UpdateId(1), ORIGIN, 2), Some(NodeId(1)), &NEIGHBOURS, NOW);
        assert_eq!(eager, NEIGHBOURS[1..], "all but the one it came from");
        trees
    }

    #[test]
    fn what_is_said_about_an_origin_that_nobody_heard_of_makes_no_tree() {
        let mut trees = planted();
        for origin in 100..10_000 {
            trees.make_lazy(NodeId(origin), NodeId(1));
            assert!(trees.prune(NodeId(origin), NodeId(1), Instant::default()), "the other side is told");
        }
        assert_eq!(trees.by_origin.len(), 1);
    }

    #[test]
    fn the_lazy_links_of_a_tree_are_bounded_and_the_last_ones_count() {
        let mut trees = planted();
        for peer in 100..1_000 {
            trees.make_lazy(ORIGIN, NodeId(peer));
        }
        trees.make_lazy(ORIGIN, NodeId(2));
        assert_eq!(trees.by_origin[&ORIGIN].lazy.len(), LAZY_MAX);
        let eager = trees.plant((UpdateId(2), ORIGIN, 2), Some(NodeId(1)), &NEIGHBOURS, NOW);
        assert_eq!(eager, [NodeId(3)]);
    }
}
