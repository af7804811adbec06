//! A run of the virtual network: what it consists of, as values, as a file and as a command line; and its report.
//!
//! A [`Scenario`] names a network, the settings of its nodes, what befalls them and what they publish. Shares of nodes
//! are drawn from the seed by a generator of their own, before anything runs, so that a scenario with every node spelt
//! out takes the same course: that one is the command line that replays the run.

pub mod draft;
pub mod failures;
pub mod fault;
pub mod library;
pub mod plan;
mod prediction;
pub mod replay;
pub mod report;
pub mod run;
mod suspicions;

use std::ops::RangeInclusive;
use std::time::Duration;

use rumormill_core::config::View;
use rumormill_core::{ConfigBuilder, duration};
use serde::{Deserialize, Serialize};

pub use draft::Draft;
pub use fault::{Fault, Publishers, What, Whom, Work};
pub use report::Outcome;
pub use run::Run;

use crate::jobs::Watch;
use crate::network::options::Options;
use crate::settings::Preset;
use crate::{Error, Link};

/// How nodes start.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Each is told one contact and joins through it.
    #[default]
    Cold,
    /// All begin with complete views.
    Joined,
}

/// What a run consists of. Together with the version of this program it determines the run, bit by bit.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct Scenario {
    /// How many nodes there are at the start.
    pub nodes: usize,
    /// How they start.
    pub start: Start,
    /// They start at random moments within this span; the contacts of a cold start at once.
    #[serde(with = "duration::text")]
    pub start_within: Duration,
    /// How many nodes, from the first, are contacts of a cold start: each other node is told one of them.
    pub contacts: usize,
    /// For how long the run goes on in virtual time; of a joined start, since all have joined.
    #[serde(with = "duration::text")]
    pub duration: Duration,
    /// What everything random comes from.
    #[serde(deserialize_with = "draft::seed")]
    pub seed: u64,
    /// How long a datagram takes at least, one way.
    #[serde(with = "duration::text")]
    pub latency: Duration,
    /// How much longer it may take.
    #[serde(with = "duration::text")]
    pub jitter: Duration,
    /// The side of the square in which machines lie, as a round trip.
    #[serde(with = "duration::text")]
    pub span: Duration,
    /// The round trip over the line that leads to a machine, in the mean.
    #[serde(with = "duration::text")]
    pub height: Duration,
    /// The share of datagrams that is lost.
    pub loss: f64,
    /// The share that arrives twice.
    pub duplication: f64,
    /// The share that others overtake.
    pub reordering: f64,
    /// What a stream carries, in bytes per second and direction.
    #[serde(deserialize_with = "draft::stream_speed")]
    pub stream_speed: u64,
    /// By how much a node's time of day may be wrong, either way.
    #[serde(with = "duration::text")]
    pub clock_skew: Duration,
    /// By how many millionths it may run too fast or too slow.
    pub clock_drift: u32,
    /// How long a write to disk takes at most; a tenth of it at least.
    #[serde(with = "duration::text")]
    pub disk_delay: Duration,
    /// Whether nodes are without a data directory.
    pub diskless: bool,
    /// What the settings start from.
    pub preset: Preset,
    /// What befalls the nodes.
    pub fault: Vec<Fault>,
    /// What they publish.
    pub publish: Vec<Work>,
    /// If not zero: after `duration` everything heals and who is down restarts; then all must agree and have everything
    /// within this time, and a message from each node must reach all within half of it.
    #[serde(with = "duration::text")]
    pub settle: Duration,
    /// Whether the checkers look at every step.
    pub check: bool,
    /// The settings of every node.
    #[serde(skip)]
    pub config: ConfigBuilder,
}

impl Default for Scenario {
    /// A hundred nodes on a quiet local network that start cold and are left alone for half a minute.
    fn default() -> Self {
        Self::on(Options { nodes: 100, ..Options::default() })
    }
}

/// Runs a scenario. The outcome is a function of the scenario alone; what depends on the machine is left out, see
/// [`Run`].
///
/// # Errors
/// What is impossible, before anything runs; a broken rule where checkers look; what did not settle.
pub fn run(scenario: &Scenario, watch: &dyn Watch) -> Result<Outcome, Error> {
    let mut run = Run::start(scenario)?;
    run.go(watch)?;
    Ok(run.outcome())
}

/// Times are counted in microseconds and printed exactly up to here.
const TIME_MAX: Duration = Duration::from_hours(30 * 24);

/// With partial views nodes know few members, however many there are.
const NODES_MAX: usize = 10_000_000;

/// What a stream can carry, in bytes per second, and that as a rule.
const STREAM_SPEED: RangeInclusive<u64> = 1_000..=1_000_000_000_000;
const STREAM_SPEED_RULE: &str = "from 1000 to 1000000000000 bytes per second";

impl Scenario {
    /// A run of everything at once, drawn from a seed: options, settings, a minute of faults and work, then half a
    /// minute in which their ends fall, and peace. 2 minutes for that: some 60 tries at dead or former addresses, one a
    /// second for the whole cluster, then the exchange of what each side lacks at the bandwidth drawn.
    pub fn drawn(seed: u64) -> Self {
        Self {
            duration: Duration::from_secs(90),
            seed,
            settle: Duration::from_mins(2),
            check: true,
            ..Self::on(Options::drawn(seed))
        }
    }

    /// Refuses what is impossible.
    ///
    /// # Errors
    /// The first value that breaks its rule, or that the run would not fit into memory.
    pub fn check(&self) -> Result<(), Error> {
        self.config.clone().build()?;
        self.check_size()?;
        self.check_start()?;
        self.check_network()?;
        self.check_times()?;
        plan::check(self)?;
        self.check_memory()
    }

    pub(super) fn lies_apart(&self) -> bool {
        !self.span.is_zero() || !self.height.is_zero()
    }

    pub(super) fn is_partial(&self) -> bool {
        self.config.view == View::Partial
    }

    /// How many nodes it has in the end, those that are added among them.
    pub fn nodes_in_all(&self) -> usize {
        plan::nodes_in_all(self)
    }

    fn check_size(&self) -> Result<(), Error> {
        if self.is_partial() {
            return Error::unless((2..=NODES_MAX).contains(&self.nodes), "nodes", self.nodes, "from 2 to 10000000");
        }
        let most = self.config.members_max;
        let rule = format!("from 2 to {most} (members_max)");
        Error::unless((2..=most).contains(&self.nodes), "nodes", self.nodes, &rule)
    }

    fn check_start(&self) -> Result<(), Error> {
        let rule = "cold with view = partial: only complete views can be given to nodes";
        Error::unless(self.start == Start::Cold || !self.is_partial(), "start", "joined", rule)?;
        let rule = format!("from 1 to {} (nodes)", self.nodes);
        Error::unless((1..=self.nodes).contains(&self.contacts), "contacts", self.contacts, &rule)
    }

    fn check_network(&self) -> Result<(), Error> {
        let below_one = "a share from 0 to below 1";
        Error::unless((0.0..1.0).contains(&self.loss), "loss", self.loss, below_one)?;
        for (field, share) in [("duplication", self.duplication), ("reordering", self.reordering)] {
            Error::unless((0.0..=1.0).contains(&share), field, share, "a share from 0 to 1")?;
        }
        let speed = self.stream_speed;
        Error::unless(STREAM_SPEED.contains(&speed), "stream_speed", speed, STREAM_SPEED_RULE)?;
        let drift = self.clock_drift;
        Error::unless(drift <= 100_000, "clock_drift", drift, "at most 100000 millionths")
    }

    fn check_times(&self) -> Result<(), Error> {
        let most = |field: &str, time: Duration, most: Duration| {
            let rule = format!("at most {}", duration::format(most));
            Error::unless(time <= most, field, duration::format(time), &rule)
        };
        let minute = Duration::from_mins(1);
        most("latency", self.latency, minute)?;
        most("jitter", self.jitter, minute)?;
        most("span", self.span, minute)?;
        most("height", self.height, minute)?;
        most("disk_delay", self.disk_delay, minute)?;
        most("clock_skew", self.clock_skew, TIME_MAX)?;
        most("settle", self.settle, TIME_MAX)?;
        most("duration", self.duration, TIME_MAX)?;
        Error::unless(!self.duration.is_zero(), "duration", duration::format(self.duration), "above 0")?;
        most("start_within", self.start_within, TIME_MAX)
    }

    /// A cold start on such a network, and half a minute.
    fn on(options: Options) -> Self {
        let Options {
            nodes,
            contacts,
            link: Link { latency, jitter, span, height, loss, duplication, reordering },
            stream_bytes_per_second,
            clock_skew,
            clock_drift_ppm,
            // Scenarios run on monotonic clocks that are right.
            rate_drift_ppm: _,
            disk_delay,
            durable,
            config,
            plan,
        } = options;
        Self {
            nodes,
            start: Start::default(),
            start_within: Duration::from_secs(1),
            contacts,
            duration: Duration::from_secs(30),
            seed: 1,
            latency,
            jitter,
            span,
            height,
            loss,
            duplication,
            reordering,
            stream_speed: stream_bytes_per_second,
            clock_skew,
            clock_drift: clock_drift_ppm,
            disk_delay,
            diskless: !durable,
            preset: Preset::default(),
            fault: plan.into_iter().map(Fault::from).collect(),
            publish: Vec::new(),
            settle: Duration::ZERO,
            check: false,
            config,
        }
    }

    /// The options of the network that a scenario without shares runs on.
    fn options(&self) -> Options {
        Options {
            nodes: self.nodes,
            contacts: self.contacts,
            link: Link {
                latency: self.latency,
                jitter: self.jitter,
                span: self.span,
                height: self.height,
                loss: self.loss,
                duplication: self.duplication,
                reordering: self.reordering,
            },
            stream_bytes_per_second: self.stream_speed,
            clock_skew: self.clock_skew,
            clock_drift_ppm: self.clock_drift,
            rate_drift_ppm: 0,
            disk_delay: self.disk_delay,
            durable: !self.diskless,
            config: self.config.clone(),
            plan: plan::acts(self),
        }
    }
}

/// What a node takes that knows nobody, in bytes.
const NODE_BYTES: u64 = 12 * 1_024;
/// What it takes for each member that it knows.
const MEMBER_BYTES: u64 = 64;
/// What the checkers remember for each member that it knows.
const CHECKED_BYTES: u64 = 48;
/// What it takes for each message, the payload left out: 583 measured (200 nodes, 1,000 messages of a byte).
const MESSAGE_BYTES: u64 = 600;
/// Nodes share the bytes of payloads, but copies of those that are announced are on their way over streams: of each byte
/// a node takes this part, 0.31 measured (200 nodes, 1,000 messages of 5,000 bytes at once).
const ANNOUNCED_PART: u64 = 3;

impl Scenario {
    fn check_memory(&self) -> Result<(), Error> {
        crate::memory::check(self.bytes())
    }

    /// The memory that its nodes take.
    pub fn bytes(&self) -> u64 {
        let nodes = plan::nodes_in_all(self) as u64;
        let member = MEMBER_BYTES + if self.check { CHECKED_BYTES } else { 0 };
        let messages = plan::messages(self);
        let news = if self.settle.is_zero() { 0 } else { nodes };
        let announced = messages
            .iter()
            .map(|&(count, bytes)| if bytes > self.config.announce_bytes { count * bytes as u64 } else { 0 });
        let payload = messages.iter().map(|&(count, bytes)| count * bytes as u64).sum::<u64>();
        let count = news + messages.iter().map(|&(count, _)| count).sum::<u64>();
        let known = if self.is_partial() { (self.config.active_view + self.config.passive_view) as u64 } else { nodes };
        let node = NODE_BYTES + known * member + count * MESSAGE_BYTES + announced.sum::<u64>() / ANNOUNCED_PART;
        (nodes * node).saturating_add(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_at_a_bound_is_taken_and_what_lies_beyond_is_refused_by_name() {
        for (key, within, beyond) in [
            ("nodes", "2", "1"),
            ("loss", "0.999", "1.0"),
            ("duplication", "1.0", "1.001"),
            ("reordering", "1.0", "1.001"),
            ("stream_speed", "1000", "999"),
            ("stream_speed", "1000000000000", "1000000000001"),
            ("clock_drift", "100000", "100001"),
            ("latency", "1m", "61s"),
            ("jitter", "1m", "61s"),
            ("span", "1m", "61s"),
            ("height", "1m", "61s"),
            ("disk_delay", "1m", "61s"),
            ("clock_skew", "720h", "721h"),
            ("settle", "720h", "721h"),
            ("duration", "1us", "0s"),
            ("duration", "720h", "721h"),
            ("start_within", "720h", "721h"),
            ("contacts", "100", "101"),
            ("contacts", "1", "0"),
        ] {
            let checked = |value| {
                let mut draft = Draft::default();
                draft.set(key, value).unwrap();
                draft.scenario().unwrap().check().map_err(|error| error.to_string())
            };
            assert_eq!(checked(within), Ok(()), "{key} {within}");
            let said = checked(beyond).unwrap_err();
            assert!(said.starts_with(&format!("{key} is ")) && said.contains("must be"), "{said}");
        }
    }

    #[test]
    fn the_estimate_of_memory_counts_members_messages_and_copies_on_their_way() {
        let quiet = Scenario { nodes: 1_000, ..Scenario::default() };
        let of = |changes: fn(&mut Scenario)| {
            let mut changed = quiet.clone();
            changes(&mut changed);
            changed.bytes() - quiet.bytes()
        };
        assert_eq!(quiet.bytes(), 1_000 * (12_288 + 64 * 1_000));
        assert_eq!(of(|scenario| scenario.check = true), 1_000 * 48 * 1_000);
        assert_eq!(of(|scenario| scenario.settle = Duration::from_secs(1)), 1_000 * 600 * 1_000);
        assert_eq!(of(|scenario| scenario.publish = vec!["7:1@1s".parse().unwrap()]), 1_000 * 7 * 600 + 7);
        assert_eq!(of(|scenario| scenario.fault = vec!["publish:n1,n2:1@1s".parse().unwrap()]), 1_000 * 2 * 600 + 2);
        assert!(quiet.config.announce_bytes < 30_000);
        assert_eq!(
            of(|scenario| scenario.publish = vec!["1:30000@1s".parse().unwrap()]),
            1_000 * (600 + 10_000) + 30_000,
            "a third of what is announced is on its way to each"
        );
        let partial =
            Scenario { config: ConfigBuilder { view: View::Partial, ..quiet.config.clone() }, ..quiet.clone() };
        assert_eq!(partial.bytes(), 1_000 * (12_288 + 64 * (5 + 30)), "it knows few, however many there are");
        let grown = of(|scenario| scenario.fault = vec!["add:1000@1s".parse().unwrap()]);
        assert_eq!(grown + quiet.bytes(), 2_000 * (12_288 + 64 * 2_000));
    }
}
