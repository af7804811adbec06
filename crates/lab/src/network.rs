//! The virtual network: how it is set up and what can be done to it. What can be seen of it is in `observe`.

pub(crate) mod act;
mod agree;
pub mod check;
mod clock;
pub(crate) mod data;
mod disk;
pub(crate) mod failure;
mod host;
pub(crate) mod link;
pub(crate) mod measure;
mod observe;
pub(crate) mod options;
pub(crate) mod place;
mod queue;
mod run;
mod signing;
mod streams;
mod tape;
mod trace;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rumormill_core::config::{ConfigBuilder, IdentityKind};
use rumormill_core::io::Ticket;
use rumormill_core::rng::Rng;
use rumormill_core::{Command, Config, FullView, Identity, Interner, Node, NodeId, Overhead, Refusal, Reply, Tags};

use self::act::{Act, DiskFate, Planned};
use self::check::Checkers;
use self::clock::Clock;
use self::host::{Host, Stalls, address, derived_seed};
use self::link::{Cuts, Link};
use self::measure::{End, Life, Measured, MessageKey, Publication, Traffic};
use self::options::Options;
use self::place::Place;
use self::queue::{Queue, Turn};
use self::run::Due;
use self::signing::Pair;
use self::streams::Connections;
use self::trace::Trace;
use self::work::Work;
use crate::{Failure, micros, settings};

/// Nodes, numbered from 0, on a virtual network. See the [crate's documentation](crate).
#[derive(Debug)]
pub struct Network {
    seed: u64,
    pub(crate) options: Options,
    config: Arc<Config>,
    /// Microseconds since the start.
    pub(crate) now: u64,
    /// Nodes of one process share the bytes of what they all hold.
    interner: Interner,
    pub(crate) queue: Queue<Due>,
    pub(crate) rng: Rng,
    pub(crate) hosts: Vec<Host>,
    pub(crate) by_id: BTreeMap<NodeId, Vec<usize>>,
    pub(crate) cuts: Cuts,
    pub(crate) connections: Connections,
    pub(crate) checkers: Option<Checkers>,
    pub(crate) measured: Measured,
    /// Every life that a process had, by its start.
    pub(crate) lives: Vec<Life>,
    /// Which of them failed, by time.
    pub(crate) failed: Vec<usize>,
    pub(crate) trace: Trace,
    pub(crate) tickets: u64,
    pub(crate) results: BTreeMap<Ticket, Result<Reply, Refusal>>,
    pub(crate) publishing: BTreeMap<Ticket, String>,
    pub(crate) published: BTreeMap<Ticket, MessageKey>,
    pub(crate) work: Work,
    pub(crate) broken: Option<Failure>,
    /// Where inputs go instead of to the nodes, in tests of the network itself.
    #[cfg(test)]
    pub(crate) tap: Option<Vec<(u64, usize, String)>>,
    pub(crate) replay: String,
}

/// Setting up: chained, then one of the starts.
impl Network {
    /// A network of one node on a quiet local network; a run is a function of the seed and of what is set here.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            options: Options::default(),
            config: Arc::default(),
            now: 0,
            interner: Interner::shared(),
            queue: Queue::new(),
            rng: Rng::new(seed),
            hosts: Vec::new(),
            by_id: BTreeMap::new(),
            cuts: Cuts::default(),
            connections: Connections::default(),
            checkers: None,
            measured: Measured::default(),
            lives: Vec::new(),
            failed: Vec::new(),
            trace: Trace::new(seed),
            tickets: 0,
            results: BTreeMap::new(),
            publishing: BTreeMap::new(),
            published: BTreeMap::new(),
            work: Work::default(),
            broken: None,
            #[cfg(test)]
            tap: None,
            replay: format!("seed {seed}"),
        }
        .checked()
    }

    /// All options at once.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// How many nodes there are at the start.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.options.nodes = nodes;
        self
    }

    /// How many nodes are contacts of a cold start.
    #[must_use]
    pub fn contacts(mut self, contacts: usize) -> Self {
        self.options.contacts = contacts;
        self
    }

    /// How long a datagram takes at least, one way.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.options.link.latency = latency;
        self
    }

    /// How much longer a datagram may take.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.options.link.jitter = jitter;
        self
    }

    /// The share of datagrams that is lost.
    #[must_use]
    pub fn loss(mut self, share: f64) -> Self {
        self.options.link.loss = share;
        self
    }

    /// The share of datagrams that arrives twice.
    #[must_use]
    pub fn duplication(mut self, share: f64) -> Self {
        self.options.link.duplication = share;
        self
    }

    /// The share of datagrams that others overtake.
    #[must_use]
    pub fn reordering(mut self, share: f64) -> Self {
        self.options.link.reordering = share;
        self
    }

    /// What a stream carries, in bytes per second and direction.
    #[must_use]
    pub fn stream_speed(mut self, bytes_per_second: u64) -> Self {
        self.options.stream_bytes_per_second = bytes_per_second;
        self
    }

    /// By how much a node's time of day may be wrong.
    #[must_use]
    pub fn clock_skew(mut self, skew: Duration) -> Self {
        self.options.clock_skew = skew;
        self
    }

    /// The settings of every node.
    #[must_use]
    pub fn config(mut self, config: ConfigBuilder) -> Self {
        self.options.config = config;
        self
    }

    /// Nodes without a data directory.
    #[must_use]
    pub fn without_disks(mut self) -> Self {
        self.options.durable = false;
        self
    }

    /// The line that a failure prints for replaying the run.
    #[must_use]
    pub fn replay(mut self, line: String) -> Self {
        self.replay = line;
        self
    }

    /// No checkers: for measuring speed.
    #[must_use]
    pub fn unchecked(mut self) -> Self {
        self.checkers = None;
        self
    }

    fn checked(mut self) -> Self {
        self.checkers = Some(Checkers::default());
        self
    }

    /// Starts all nodes at random moments `within` a span, each told only the address of one contact. The contacts, as many
    /// as the options say, start first and know each other through the first of them, `contact`.
    ///
    /// # Panics
    /// If a setting breaks its rule.
    #[must_use]
    pub fn start_cold(mut self, contact: usize, within: Duration) -> Self {
        let Options { nodes, contacts, .. } = self.options;
        assert!(
            contacts > 0 && contact + contacts <= nodes,
            "{contacts} contacts from n{contact} are of {nodes} nodes"
        );
        self.set_config(self.options.config.clone());
        self.follow_plan();
        self.hosts.reserve_exact(nodes);
        let all = contact..contact + contacts;
        for node in 0..nodes {
            if all.contains(&node) {
                self.add_machine(Some(contact), Duration::ZERO);
            } else {
                self.add_machine(Some(contact + node % contacts), within);
            }
        }
        self
    }

    /// Starts all nodes within a second and gives them complete views, as if they had joined a while ago; measurements
    /// and the plan begin then. For the way there see [`start_cold`](Self::start_cold).
    ///
    /// # Errors
    /// The first rule that was broken.
    ///
    /// # Panics
    /// If a setting breaks its rule, or `members_max` is below the number of nodes.
    pub fn start_joined(self) -> Result<Self, Failure> {
        self.start_joined_within(Duration::from_secs(1))
    }

    /// The same with nodes that start at random moments `within` a span: rounds of a node lie on multiples of the
    /// interval since its start, so that those of nodes that start in one instant are in step.
    ///
    /// # Errors
    /// The first rule that was broken.
    ///
    /// # Panics
    /// As [`start_joined`](Self::start_joined).
    pub fn start_joined_within(mut self, within: Duration) -> Result<Self, Failure> {
        self.set_config(self.options.config.clone());
        for _ in 0..self.options.nodes {
            self.add_machine(None, within);
        }
        self.run_for(within + Duration::from_micros(self.longest_write()))?;
        self.acquaint();
        self.reset_measurements();
        self.follow_plan();
        Ok(self)
    }

    /// The plan's times count from now.
    fn follow_plan(&mut self) {
        let plan = std::mem::take(&mut self.options.plan);
        self.schedule(plan);
    }

    /// Gives each node a complete view.
    fn acquaint(&mut self) {
        let now = Clock::default().read(self.now);
        let view = FullView::of(self.hosts.iter().filter_map(|host| host.node.as_deref()), now);
        for node in 0..self.hosts.len() {
            let host = &mut self.hosts[node];
            if let Some(machine) = &mut host.node {
                machine.acquaint(host.clock.read(self.now), &view);
                self.drain(node);
            }
        }
        assert!(self.everyone_knows_everyone(), "each was given a complete view");
    }
}

/// What can be done to it.
impl Network {
    /// Has a plan carried out, by time from now on; what is planned for one moment happens in the order of the plan.
    pub fn schedule(&mut self, plan: impl IntoIterator<Item = Planned>) {
        for Planned { at, act } in plan {
            self.queue.push(self.now + micros(at), Turn::Input, Due::Act(Box::new(act)));
        }
    }

    /// Adds machines whose nodes start at random moments `within` a span and join through `contact`. A contact
    /// that is new itself starts at once.
    pub fn add(&mut self, nodes: usize, contact: usize, within: Duration) {
        self.hosts.reserve_exact(nodes);
        for _ in 0..nodes {
            self.add_machine(Some(contact), within);
        }
    }

    /// Adds a machine whose node starts `within` a span and joins through `contact`, unless it is that contact itself.
    fn add_machine(&mut self, contact: Option<usize>, within: Duration) {
        let node = self.hosts.len();
        let clock = Clock::drawn(
            self.options.clock_skew,
            self.options.clock_drift_ppm,
            self.options.rate_drift_ppm,
            &mut self.rng,
        );
        let place = Place::drawn(self.seed, node);
        self.hosts.push(Host::new(NodeId::NONE, format!("n{node}"), place, clock));
        self.take_new_id(node);
        self.measured.traffic.push(Traffic::default());
        let delay = self.below(micros(within) + 1);
        let is_contact = contact == Some(node);
        let start_after = if is_contact { 0 } else { delay };
        let contact = contact.filter(|_| !is_contact);
        self.queue.push(self.now + start_after, Turn::Input, Due::Start { node, contact });
    }

    /// Adds a machine with a copy of a node's disk, name and identity, as a careless operator would.
    pub fn copy(&mut self, node: usize, contact: usize) -> usize {
        let copy = self.hosts.len();
        let Host { id, ref name, clock, ref disk, ref pair, .. } = self.hosts[node];
        let host = Host {
            disk: disk.clone(),
            pair: pair.clone(),
            ..Host::new(id, name.clone(), Place::drawn(self.seed, copy), clock)
        };
        self.hosts.push(host);
        self.by_id.entry(id).or_default().push(copy);
        self.measured.traffic.push(Traffic::default());
        self.queue.push(self.now, Turn::Input, Due::Start { node: copy, contact: Some(contact) });
        copy
    }

    /// Gives a node that is not running another name for its next start.
    pub fn rename(&mut self, node: usize, name: &str) {
        assert!(!self.is_up(node), "a running node keeps its name");
        name.clone_into(&mut self.hosts[node].name);
    }

    /// The machine of a node loses power: nothing answers any more, its streams hang.
    pub fn crash(&mut self, node: usize) {
        self.end_of_life(node, End::Failed);
        self.wake(node);
        self.hosts[node].powered = false;
        self.hosts[node].end_life(&mut self.rng);
        self.watch_stalled_streams();
    }

    /// The process of a node is killed: its machine closes its streams and refuses new ones.
    pub fn kill(&mut self, node: usize) {
        self.end_of_life(node, End::Failed);
        self.end_process(node);
    }

    /// Starts a node that is down; one that finds nobody to rejoin through is told a running one. Does nothing to one
    /// that is up.
    pub fn restart(&mut self, node: usize, disk: DiskFate) {
        if self.is_up(node) {
            return;
        }
        if disk == DiskFate::Lost {
            self.hosts[node].disk = self.hosts[node].disk.emptied();
            self.take_new_id(node);
        }
        let alone = self.hosts[node].disk.stored().members.is_empty();
        let contact = (0..self.hosts.len()).find(|&other| other != node && self.is_up(other)).filter(|_| alone);
        self.start(node, contact);
    }

    /// The process of a node stands still for a while; what comes in meanwhile waits.
    pub fn pause(&mut self, node: usize, length: Duration) {
        self.stand_until(node, self.now + micros(length));
    }

    /// A process stands still until a moment, or as long as it would anyway.
    fn stand_until(&mut self, node: usize, until: u64) {
        let paused_until = &mut self.hosts[node].paused_until;
        *paused_until = Some(paused_until.map_or(until, |already| already.max(until)));
        self.queue.push(until, Turn::Input, Due::Wake { node });
    }

    /// A process goes on, and finds what came in meanwhile.
    pub(crate) fn wake(&mut self, node: usize) {
        self.hosts[node].paused_until = None;
        for due in std::mem::take(&mut self.hosts[node].waiting) {
            self.queue.push(self.now, Turn::Input, due);
        }
        self.arm(node);
    }

    /// From now on the process of a node stands still for a time, runs for as long, and so on; zero ends it.
    pub fn slow(&mut self, node: usize, length: Duration) {
        self.hosts[node].slow = micros(length);
        self.hosts[node].slow_due = self.now;
        self.on_slow(node);
    }

    /// A slow node stands still once more, unless that was settled anew meanwhile.
    pub(crate) fn on_slow(&mut self, node: usize) {
        let host = &self.hosts[node];
        let length = host.slow;
        if length == 0 || host.slow_due != self.now {
            return;
        }
        if self.takes_commands(node) {
            self.pause(node, Duration::from_micros(length));
        }
        let again = self.now + 2 * length;
        self.hosts[node].slow_due = again;
        self.queue.push(again, Turn::Input, Due::Slow { node });
    }

    /// From now on what a node sends and is sent waits for a time, passes for as long, and so on, while its timers run; zero
    /// ends it.
    pub fn stall(&mut self, node: usize, length: Duration) {
        self.hosts[node].stalls = Stalls::new(self.now, micros(length));
    }

    /// Cuts each group off from all others; nodes in no group stay together.
    pub fn partition(&mut self, groups: &[Vec<usize>]) {
        self.cuts.partition(self.hosts.len(), groups);
        self.watch_stalled_streams();
    }

    /// Nothing gets from one node to another any more; the way back works.
    pub fn oneway(&mut self, from: usize, to: usize) {
        self.cuts.oneway(from, to);
        self.watch_stalled_streams();
    }

    /// Ends all cuts.
    pub fn heal(&mut self) {
        self.cuts.heal();
    }

    /// The settings of nodes that start from now on.
    ///
    /// # Panics
    /// If a setting breaks its rule.
    pub fn set_config(&mut self, config: ConfigBuilder) {
        self.config = config.build().unwrap_or_else(|error| panic!("failed to read config: {error}")).into();
    }

    /// Gives a node another setting from its next start on.
    ///
    /// # Panics
    /// If there is no such setting, or it breaks its rule.
    pub fn set_setting(&mut self, node: usize, key: &str, value: &str) {
        let present = self.hosts[node].config.as_ref().unwrap_or(&self.config);
        let config = settings::with(present, key, value).and_then(|builder| Ok(builder.build()?));
        let config = config.unwrap_or_else(|error| panic!("failed to read config: {error}"));
        self.hosts[node].config = Some(Arc::new(config));
    }

    /// All cuts end, nothing is lost any more, disks work, nobody is slow or stands still, and who is down starts again,
    /// unless it left for good. Who never knew anybody but a contact that left for good is told another, as by an operator.
    pub fn make_peace(&mut self) {
        self.heal();
        self.set_link(self.link().healed());
        for node in 0..self.len() {
            self.set_disk_failing(node, false);
            self.slow(node, Duration::ZERO);
            self.stall(node, Duration::ZERO);
            self.wake(node);
            if !self.has_left(node) {
                self.restart(node, DiskFate::Kept);
            }
        }
        if self.has_left(0) {
            let others: Vec<_> = self.up().filter(|&node| self.takes_commands(node)).collect();
            for pair in others.windows(2) {
                self.join(pair[1], pair[0]);
            }
        }
    }

    /// Takes away the data directory of a node that does not run: it starts as a new one and keeps nothing.
    ///
    /// # Panics
    /// If the node runs.
    pub fn take_disk(&mut self, node: usize) {
        assert!(!self.is_up(node), "a running node keeps its disk");
        self.hosts[node].disk = disk::Disk::missing();
        self.take_new_id(node);
    }

    /// Changes how the network treats datagrams.
    pub fn set_link(&mut self, link: Link) {
        self.options.link = link;
    }

    /// Sets a node's time of day ahead of the true one.
    pub fn set_clock_ahead(&mut self, node: usize, ahead: Duration) {
        self.hosts[node].clock.set_ahead(ahead);
        let wall = self.wall(node);
        if let Some(checkers) = &mut self.checkers {
            checkers.data.clock_set(node, wall);
        }
    }

    /// From now on writes to a node's disk fail, or work again.
    pub fn set_disk_failing(&mut self, node: usize, failing: bool) {
        self.hosts[node].disk.set_failing(failing);
    }

    /// Does one thing of a plan. What makes no sense for the node's state, as stopping one that is down, does nothing.
    pub fn act(&mut self, act: Act) {
        match act {
            Act::Crash(node) => self.crash(node),
            Act::Kill(node) => self.kill(node),
            Act::Restart(node, disk) => self.restart(node, disk),
            Act::Pause(node, length) if self.is_up(node) => self.pause(node, length),
            Act::Slow(node, length) => self.slow(node, length),
            Act::Stall(node, length) => self.stall(node, length),
            Act::Partition(groups) => self.partition(&groups),
            Act::OneWay(from, to) => self.oneway(from, to),
            Act::Heal => self.heal(),
            Act::DiskFails(node) => self.set_disk_failing(node, true),
            Act::DiskWorks(node) => self.set_disk_failing(node, false),
            Act::Clock(node, ahead) => self.set_clock_ahead(node, ahead),
            Act::Set(node, key, value) => self.set_setting(node, &key, &value),
            Act::Add(nodes, within) => {
                let contact = self.up().next().unwrap_or(0);
                self.add(nodes, contact, within);
            }
            Act::Leave(node) if self.takes_commands(node) => {
                self.leave(node);
            }
            Act::Publish(node, bytes) if self.takes_commands(node) => {
                let payload = (0..bytes).map(|_| self.rng.bits().to_le_bytes()[0]).collect();
                let (at, ticket) = (self.now(), self.publish(node, "chaos", payload));
                self.measured.publications.push(Publication { at, node, bytes, ticket });
            }
            Act::Write(node) if self.takes_commands(node) => {
                self.work(node);
            }
            Act::Pause(..) | Act::Leave(_) | Act::Publish(..) | Act::Write(_) => {}
        }
    }

    /// Tells a node to join through another.
    pub fn join(&mut self, node: usize, contact: usize) -> Ticket {
        self.command(node, Command::Join { contacts: vec![address(contact)] })
    }

    /// Tells a node to leave for good.
    pub fn leave(&mut self, node: usize) -> Ticket {
        self.command(node, Command::Leave)
    }

    /// Tells a node to strike a member from the list.
    pub fn remove(&mut self, node: usize, member: NodeId, force: bool) -> Ticket {
        self.command(node, Command::Remove { member, force })
    }

    /// Replaces a node's tags.
    pub fn set_tags(&mut self, node: usize, tags: Tags) -> Ticket {
        self.command(node, Command::SetTags { tags })
    }

    /// Tells a node to publish a message.
    pub fn publish(&mut self, node: usize, topic: &str, payload: Vec<u8>) -> Ticket {
        self.command(node, Command::Publish { topic: topic.to_owned(), payload })
    }

    /// Tells a node to ask those that have all of `filter`'s tags.
    pub fn query(&mut self, node: usize, name: &str, filter: Tags, timeout: Duration) -> Ticket {
        self.command(
            node,
            Command::Query { name: name.to_owned(), payload: Vec::new(), filter, nearest: None, timeout },
        )
    }

    /// Forgets what was measured so far.
    pub fn reset_measurements(&mut self) {
        self.measured.reset(Duration::from_micros(self.now));
    }

    /// Starts the process of a node.
    pub(crate) fn start(&mut self, node: usize, contact: Option<usize>) {
        let session = self.rng.bits();
        let signing = self.signing(node);
        let host = &mut self.hosts[node];
        host.life += 1;
        host.started_at = self.now;
        let config = Arc::clone(host.config.as_ref().unwrap_or(&self.config));
        self.lives.push(Life { node, id: host.id, life: host.life, from: Duration::from_micros(self.now), end: None });
        host.life_index = self.lives.len() - 1;
        host.powered = true;
        host.left = false;
        self.trace.started(self.now, node, host.life);
        let durable = self.options.durable && !host.disk.is_missing();
        let identity = Identity {
            id: host.id,
            name: host.name.clone(),
            addresses: vec![address(node)],
            tags: host.tags.clone(),
            session,
            secret: None,
            stored: host.disk.stored(),
            durable,
            overhead: Overhead::default(),
            signing,
        };
        let seed = derived_seed(self.seed, node, host.life);
        let now = host.clock.read(self.now);
        if let Some(checkers) = &mut self.checkers {
            checkers.started(node, durable, &config);
        }
        host.node = Some(Box::new(Node::sharing(identity, config, seed, now, self.interner.clone())));
        self.note_start(node);
        self.drain(node);
        if let Some(contact) = contact
            && self.is_up(node)
        {
            self.join(node, contact);
        }
        // On a slow machine it stands still in step with the others.
        let Host { slow, slow_due, .. } = self.hosts[node];
        if slow > 0 && slow_due - slow > self.now {
            self.stand_until(node, slow_due - slow);
        }
    }

    /// Notes how a life ends, if the node is up.
    pub(crate) fn end_of_life(&mut self, node: usize, end: End) {
        if self.is_up(node) {
            if let Some((checkers, latest)) = self.checkers_now() {
                checkers.data.clock(latest);
                checkers.data.ended(node);
            }
            let life = self.hosts[node].life_index;
            self.lives[life].end = Some((Duration::from_micros(self.now), end));
            if end == End::Failed {
                self.failed.push(life);
            }
        }
    }

    pub(crate) fn end_process(&mut self, node: usize) {
        self.close_all_streams(node);
        self.wake(node);
        self.hosts[node].end_life(&mut self.rng);
    }

    fn take_new_id(&mut self, node: usize) {
        let mut id = NodeId(derived_seed(self.rng.bits(), node, 0).max(1));
        if self.options.config.identity == IdentityKind::Signed {
            let pair = Pair::new(id.0);
            id = pair.id();
            self.hosts[node].pair = Some(pair);
        }
        self.hosts[node].id = id;
        self.by_id.entry(id).or_default().push(node);
    }

    /// How long a write to disk takes at most, in microseconds.
    pub(crate) fn longest_write(&self) -> u64 {
        micros(self.options.disk_delay).max(10)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(usize::try_from(bound).expect("64-bit machines")) as u64
    }
}

/// A test that panics while it watches a network prints how to replay it, whatever it was that failed.
impl Drop for Network {
    #[expect(clippy::print_stderr, reason = "the only place where a panicking test can still say something")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay: {}", self.replay);
        }
    }
}
