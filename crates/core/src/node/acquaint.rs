//! A complete view, made once and given to many nodes: how a laboratory begins with a cluster that has joined.

use super::claims::REMEMBER_AFTER;
use super::{Node, Phase};
use crate::effects::Timer;
use crate::identity::NodeId;
use crate::io::InView;
use crate::membership::Members;
use crate::rng::Rng;
use crate::time::Now;

/// What each of some nodes knows once all have joined: the claims that they made themselves, merged by the rules of
/// every merge.
///
/// A cluster of ten thousand nodes takes a hundred million merges to join. Of one table in the end, these are ten
/// thousand, and as many copies.
#[derive(Debug)]
pub struct FullView(Members);

impl FullView {
    /// The view that running nodes have of each other.
    ///
    /// # Panics
    /// If one of them has no boot yet, or two share an id.
    pub fn of<'a>(nodes: impl IntoIterator<Item = &'a Node>, now: Now) -> Self {
        let mut members = Members::new(NodeId::NONE, InView::Full, now.wall);
        // The order in which this view would probe is nobody's: each node draws its own.
        let mut rng = Rng::new(0);
        for node in nodes {
            let claim = node.members.claim(node.identity.id).expect("a running node has claimed itself");
            let address = claim.claim_address().expect("own claims make sense");
            members.merge(claim.clone(), &mut rng, now.wall.seconds());
            members.prove(node.identity.id, address);
        }
        assert_eq!(members.len(), members.live(), "whoever runs is live");
        Self(members)
    }

    /// How many members it lists.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it lists nobody.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The xor of the ids of the claims: what [`Node::root`] is at a node that holds these and no messages.
    pub const fn root(&self) -> u64 {
        self.0.replica().root()
    }
}

impl Node {
    /// Gives a node that knows nobody a view of which it is part, as if it had joined a while ago: addresses are proven,
    /// nothing is hot, probes begin at a random part of their interval and in an order of this node's own, rounds are
    /// as far apart as they become in a quiet cluster, and nobody pings others only to find its place. No event tells of it. Poll outputs after this as after an input.
    ///
    /// # Panics
    /// If the node does not run, knows anybody, or is not in the view by its present claim, if outputs of the last
    /// input are still waiting, or if time runs back.
    pub fn acquaint(&mut self, now: Now, view: &FullView) {
        assert!(self.fx.outputs.is_empty(), "outputs are drained before the next input");
        assert!(now.instant >= self.fx.now.instant, "the monotonic clock does not run back");
        assert_eq!(self.phase, Phase::Running, "only a running node has claimed itself");
        assert_eq!(self.members.len(), 1, "a node that knows others learns of more by merging");
        assert!(view.len() <= self.config.members_max, "{} members are more than members_max", view.len());
        let me = self.identity.id;
        let own = self.members.claim(me).expect("a running node has claimed itself").id;
        assert_eq!(view.0.claim(me).map(|claim| claim.id), Some(own), "the view has this node's present claim");
        self.fx.now = now;
        self.members = view.0.seen_by(me, &mut self.fx.rng);
        self.rumors.cool(own);
        self.settle_rounds();
        self.place.settle();
        self.trust_own_clock();
        if self.members.live() > 0 {
            self.arm_probing();
        }
        self.fx.arm_once(REMEMBER_AFTER, Timer::Remember);
        assert_eq!(self.members.replica().root(), view.root(), "who holds the same has the same root");
        assert_eq!(
            (self.members.alive(), self.members.live() + 1),
            (view.len(), view.len()),
            "all but itself are peers"
        );
    }
}
