//! What can be seen of a virtual network.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rumormill_core::config::View;
use rumormill_core::io::Ticket;
use rumormill_core::{Config, Event, Node, NodeId, Refusal, Reply, State};

use super::Network;
use super::check::{Breach, agreement, delivery};
use super::host::address;
use super::link::Link;
use super::measure::{Change, Life, Measured, MessageKey};
use crate::Failure;
use crate::overlay::Graph;

/// One link of so many nodes may be known to one end only.
const ONE_SIDED_PART: usize = 50;

/// Getters and questions; none changes the course of the run.
impl Network {
    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    /// How many machines there are, up or down.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there are no machines.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// How the network treats datagrams.
    pub fn link(&self) -> Link {
        self.options.link
    }

    /// A running node.
    pub fn node(&self, node: usize) -> Option<&Node> {
        self.hosts[node].node.as_deref()
    }

    /// The id of a node; one that lost its disk has a new one from its next start on.
    pub fn id(&self, node: usize) -> NodeId {
        self.hosts[node].id
    }

    /// Which life of a node this is, from 1; 0 before its first.
    pub fn life(&self, node: usize) -> u64 {
        self.hosts[node].life
    }

    /// Where a node is reached.
    pub fn address(&self, node: usize) -> SocketAddr {
        address(node)
    }

    /// Whether a node's process runs, or stands still.
    pub fn is_up(&self, node: usize) -> bool {
        self.hosts[node].node.is_some()
    }

    /// Whether a node's process runs.
    pub fn takes_commands(&self, node: usize) -> bool {
        self.is_up(node) && self.hosts[node].paused_until.is_none_or(|until| until <= self.now)
    }

    /// Whether the last life of a node ended by its own decision.
    pub fn has_left(&self, node: usize) -> bool {
        self.hosts[node].left
    }

    /// The numbers of the nodes that are up.
    pub fn up(&self) -> impl Iterator<Item = usize> {
        (0..self.hosts.len()).filter(|&node| self.is_up(node))
    }

    /// The numbers of the nodes that have an id now: one, or more if it was copied.
    pub fn numbers_of(&self, id: NodeId) -> impl Iterator<Item = usize> {
        let numbers = self.by_id.get(&id).map(Vec::as_slice).unwrap_or_default();
        numbers.iter().copied().filter(move |&number| self.hosts[number].id == id)
    }

    /// How a command ended, once it has.
    pub fn result(&self, ticket: Ticket) -> Option<&Result<Reply, Refusal>> {
        self.results.get(&ticket)
    }

    /// The message that a command published, once it is acknowledged.
    pub fn published(&self, ticket: Ticket) -> Option<&MessageKey> {
        self.published.get(&ticket)
    }

    /// Whether a message is acknowledged and came to every node that is up, in its present life.
    pub fn reached_all(&self, ticket: Ticket) -> bool {
        let Some(spread) = self.published(ticket).and_then(|key| self.measured.messages.get(key)) else { return false };
        // Cheap first: the exact question is asked once enough have it.
        if spread.arrivals.len() < self.up().count() {
            return false;
        }
        let mut has_it = vec![false; self.hosts.len()];
        for arrival in &spread.arrivals {
            has_it[arrival.node] |= arrival.life == self.life(arrival.node);
        }
        self.up().all(|node| has_it[node])
    }

    /// What a node thinks of a member; `None` if it does not list it.
    pub fn opinion(&self, node: usize, member: NodeId) -> Option<State> {
        let (_, _, state) = self.node(node)?.claims().find(|&(id, ..)| id == member)?;
        (state != State::Removed).then_some(state)
    }

    /// Whether every node that is up, other than the member itself, sees a member in a state.
    pub fn everyone_thinks(&self, member: NodeId, state: State) -> bool {
        self.up().filter(|&node| self.id(node) != member).all(|node| self.opinion(node, member) == Some(state))
    }

    /// Whether every node that is up sees exactly those alive that are up, by count.
    pub fn everyone_knows_everyone(&self) -> bool {
        let up = self.up().count();
        self.up().filter_map(|node| self.node(node)).all(|node| {
            let counts = node.member_counts();
            counts.alive == up && counts.suspect == 0
        })
    }

    /// Whether nodes have partial views, unless some have settings of their own.
    pub fn is_partial(&self) -> bool {
        self.config.view == View::Partial
    }

    /// Whether every node that is up knows all that are up; with partial views, whether all hang together.
    pub fn everyone_has_joined(&self) -> bool {
        if self.is_partial() { Graph::of(self).is_connected() } else { self.everyone_knows_everyone() }
    }

    /// Whether all nodes that are up list the same members in the same states, see exactly those alive that are up,
    /// and hold the same updates. With partial views: whether they hold the same messages and data, and hang together by
    /// links that both ends know of, but for one in fifty that is being made or ended.
    pub fn everyone_agrees(&self) -> bool {
        if self.is_partial() {
            return self.agreement().is_ok() && {
                let graph = Graph::of(self);
                graph.is_connected() && graph.one_sided() * ONE_SIDED_PART <= graph.len()
            };
        }
        self.everyone_knows_everyone() && self.agreement().is_ok()
    }

    /// The first difference between nodes that are up.
    pub(crate) fn agreement(&self) -> Result<(), Breach> {
        let nodes = self.up().filter_map(|node| self.node(node));
        if self.is_partial() { agreement::check_roots(nodes) } else { agreement::check(nodes) }
    }

    /// Whether every acknowledged message that a node still holds came to every node that was up when it was
    /// published and still is.
    pub fn everything_delivered(&self) -> bool {
        self.delivery().is_ok()
    }

    fn delivery(&self) -> Result<(), Breach> {
        let mut missed = vec![BTreeSet::new(); self.hosts.len()];
        for note in &self.measured.notes {
            if let Event::Missed { topic, origin, .. } = &note.event
                && note.at >= Duration::from_micros(self.hosts[note.node].started_at)
            {
                missed[note.node].insert((topic.clone(), *origin));
            }
        }
        let lives: Vec<_> = self.up().map(|node| self.present_life(node, std::mem::take(&mut missed[node]))).collect();
        delivery::check(&self.measured.messages, &lives)
    }

    fn present_life(&self, node: usize, missed: BTreeSet<(String, NodeId)>) -> delivery::Life {
        let since = Duration::from_micros(self.hosts[node].started_at);
        delivery::Life { node, life: self.life(node), since, missed }
    }

    /// The settings of nodes that have none of their own.
    pub fn settings(&self) -> &Config {
        &self.config
    }

    /// What was measured.
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    /// Takes out the changes that nodes saw in each other since the last time: where whoever looks on sums them up, they
    /// need not pile up.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.measured.changes)
    }

    /// Every life that a process had, by its start.
    pub fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// Those of them that ended by a failure, from the nth on, by time.
    pub fn failures(&self, from: usize) -> impl Iterator<Item = Life> {
        self.failed.iter().skip(from).map(|&life| self.lives[life])
    }

    /// A hash over all inputs that nodes were given: equal for equal runs.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// The line that replays this run.
    pub fn replay_line(&self) -> &str {
        &self.replay
    }

    /// What a reader of a failure asks first.
    pub(crate) fn summary(&self) -> String {
        let up = self.up().count();
        let lonely = Graph::of(self).lonely();
        let partial: Vec<_> = self
            .up()
            .filter(|_| !self.is_partial())
            .filter_map(|node| {
                let counts = self.node(node)?.member_counts();
                (counts.alive != up || counts.suspect > 0).then(|| {
                    format!("n{node} sees {} alive, {} suspect, {} dead", counts.alive, counts.suspect, counts.dead)
                })
            })
            .take(5)
            .collect();
        let differences = [self.agreement(), self.delivery(), self.same_data()].into_iter().filter_map(Result::err);
        let lonely = (self.is_partial() && lonely > 0).then(|| format!("{lonely} have no neighbour"));
        let details: Vec<_> = differences.map(|breach| breach.detail).chain(partial).chain(lonely).collect();
        format!("{up} of {} up; {}", self.hosts.len(), details.join("; "))
    }

    pub(crate) fn failure(&self, node: Option<usize>, breach: Breach) -> Failure {
        Failure { at: self.now(), node, breach, trace_hash: self.trace_hash(), replay: self.replay.clone() }
    }
}
