//! The node: one input in, outputs and a deadline out.

use std::sync::Arc;

use crate::config::Config;
use crate::identity::{Identity, Incarnation, NodeId};
use crate::io::{Input, Member, Message, Output, State};
use crate::stats::{Counters, MemberCounts};
use crate::time::{Instant, Now};

/// A node of the cluster, as a deterministic state machine.
///
/// Contract: one input, then [`poll_output`](Self::poll_output) until it is empty, then
/// [`poll_timeout`](Self::poll_timeout). The same identity, config, seed and inputs give the same outputs.
#[derive(Debug)]
pub struct Node {
    identity: Identity,
    config: Config,
    counters: Counters,
}

impl Node {
    /// A node that has not spoken yet. It asks to persist its boot first, or starts at once if it is not durable.
    /// Poll outputs after this as after an input.
    ///
    /// # Panics
    /// If the name or the addresses of `identity` break their rules: check with [`Identity::check`] first.
    pub fn new(identity: Identity, config: Config, _seed: u64, _now: Now) -> Self {
        Self { identity, config, counters: Counters::default() }
    }

    /// Takes one input.
    ///
    /// # Panics
    /// If outputs of the last input are still waiting, or if time runs back.
    pub fn handle_input(&mut self, _now: Now, _input: Input<'_>) {}

    /// The next thing to do for the driver, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.identity.id
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// This node's present incarnation.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation::default()
    }

    /// Every member that is listed, this node included, in no particular order.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        std::iter::empty()
    }

    /// The bare claims of every member that is listed: cheap enough to check after each input.
    pub fn claims(&self) -> impl Iterator<Item = (NodeId, Incarnation, State)> {
        std::iter::empty()
    }

    /// One member.
    pub fn member(&self, _id: NodeId) -> Option<Member> {
        None
    }

    /// How many members are in which state.
    pub fn member_counts(&self) -> MemberCounts {
        MemberCounts::default()
    }

    /// The last `count` messages kept on a topic, by time of publication.
    pub fn history(&self, _topic: &str, _count: usize) -> Vec<Arc<Message>> {
        Vec::new()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Lifeguard's score of this node's own health: 0 is best.
    pub fn health(&self) -> u32 {
        0
    }

    /// The xor of the ids of all updates held: equal on nodes that hold the same.
    pub fn root(&self) -> u64 {
        0
    }

    /// Whether updates had to be refused for which no room was left, so that this node may differ from others.
    pub fn is_degraded(&self) -> bool {
        false
    }
}
