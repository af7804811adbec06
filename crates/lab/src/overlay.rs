//! What a crash of many at once leaves of an overlay, and what it makes of it: partial views of real nodes on the virtual
//! network (HyParView: Leitao, Pereira and Rodrigues, DSN 2007, §5).
//!
//! Nodes start cold within `START_WITHIN` and are left alone for `REST` shuffle intervals. Then a share of them loses
//! power in one instant, and each of `MESSAGES` random survivors publishes a message in that instant: how many survivors
//! have it a probe interval later, before any neighbour can be replaced, is the reliability *before* repair. The survivors
//! get `REPAIR` shuffle intervals, or as long as it takes until they hang together again, up to `PATIENCE`; the same
//! measurement then gives the reliability *after* repair.

use std::time::Duration;

use rumormill_core::ConfigBuilder;
use rumormill_core::config::View;
use rumormill_core::io::Ticket;
use rumormill_core::rng::Rng;
use serde::Serialize;

use crate::chart::{Axis, Chart, Series};
use crate::jobs::{self, Watch, Within};
use crate::summary::count;
use crate::{Error, Network, Summary, memory, percent};

mod graph;

pub use graph::{Graph, Paths};

/// Nodes start at random moments within this span.
const START_WITHIN: Duration = Duration::from_secs(20);
/// For so many shuffle intervals the overlay settles before the crash.
pub const REST: u32 = 20;
/// For so many shuffle intervals survivors mend it, even if it hangs together sooner.
pub const REPAIR: u32 = 5;
/// After so many shuffle intervals nobody waits any longer for it to hang together.
pub const PATIENCE: u32 = 20;
/// How many messages a reliability is the mean of.
pub const MESSAGES: usize = 10;
/// From so many nodes shortest paths are looked for.
pub const PATHS_FROM: usize = 100;
/// How often one looks whether survivors hang together.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Sets the draws of a run apart from those of the network of the same seed.
const APART: u64 = 0x6f76_6572_6c61_7921;
/// What a node takes with such views, in bytes, disks left out.
const NODE_BYTES: u64 = 12 * 1_024;

/// What to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameters {
    /// How many nodes.
    pub nodes: usize,
    /// How many neighbours a node has at most; 0 for log10 of the number of nodes, and one.
    pub active: usize,
    /// How many others it keeps in mind.
    pub passive: usize,
    /// The share of the nodes that loses power at once.
    pub crash: f64,
    /// What everything random comes from.
    pub seed: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { nodes: 1_000, active: 5, passive: 30, crash: 0.5, seed: 1 }
    }
}

impl Parameters {
    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// [`Error::Value`], naming the parameter; [`Error::Memory`].
    pub fn check(&self) -> Result<(), Error> {
        let Self { nodes, active, passive, crash, .. } = *self;
        Error::unless((3..=10_000_000).contains(&nodes), "nodes", nodes, "from 3 to 10000000")?;
        let sound = active == 0 || (2..=16).contains(&active);
        Error::unless(sound, "active", active, "from 2 to 16, or 0 for log10 of the nodes, and one")?;
        let least = active.max(8);
        let rule = format!("from {least} to 1000, and at least active");
        Error::unless((least..=1_000).contains(&passive), "passive", passive, &rule)?;
        Error::unless((0.0..1.0).contains(&crash), "crash", crash, "a share from 0 to below 1")?;
        let leaves_two = nodes - self.crashed() >= 2;
        Error::unless(leaves_two, "crash", crash, "a share that leaves two nodes")?;
        memory::check(self.bytes())
    }

    /// The memory that its nodes take.
    pub fn bytes(&self) -> u64 {
        self.nodes as u64 * NODE_BYTES
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count, below that count")]
    fn crashed(&self) -> usize {
        (self.crash * count(self.nodes)).round() as usize
    }

    fn network(&self) -> Network {
        let config = ConfigBuilder {
            view: View::Partial,
            active_view: self.active,
            passive_view: self.passive,
            ..ConfigBuilder::lan()
        };
        let Self { nodes, active, passive, crash, seed } = self;
        let line = format!(
            "rumor lab overlay --nodes {nodes} --active {active} --passive {passive} --crash {crash} --seed {seed}"
        );
        Network::new(*seed).nodes(*nodes).config(config).without_disks().unchecked().replay(line)
    }
}

/// The document of `rumor lab overlay`: of the survivors, after they mended their overlay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// What was run.
    #[serde(flatten)]
    pub parameters: Parameters,
    /// Whether every survivor reaches every other over links that both ends know of.
    pub connected: bool,
    /// How many survivors the largest part has whose nodes reach each other.
    pub largest_component: usize,
    /// How many neighbours a survivor has.
    pub degree: Summary,
    /// The share of the pairs of a node's neighbours that are neighbours themselves.
    pub clustering: f64,
    /// Hops on the shortest path between two survivors, from [`PATHS_FROM`] of them; absent if nobody reaches anybody.
    pub path_average: Option<f64>,
    /// The most of them.
    pub path_max: Option<usize>,
    /// The share of survivors that got a message of another within a probe interval, published at the crash.
    pub reliability_before: f64,
    /// The same of messages published after repair.
    pub reliability_after: f64,
    /// After how many shuffle intervals survivors hung together again; absent if they did not.
    pub healing_shuffles: Option<f64>,
    /// Real time in seconds. Filled in by who measures.
    pub elapsed: Option<f64>,
}

/// Runs it once.
///
/// # Errors
/// A parameter that breaks its rule; [`Error::Stopped`].
pub fn run(parameters: &Parameters, watch: &dyn Watch) -> Result<Outcome, Error> {
    parameters.check()?;
    Trial::start(parameters).go(watch)
}

/// Runs it for each of several, on all cores; what is done when the watch says stop is kept, without a gap.
///
/// # Errors
/// A parameter that breaks its rule; [`Error::Stopped`] if none was done.
pub fn run_each(all: &[Parameters], watch: &dyn Watch) -> Result<Vec<Outcome>, Error> {
    all.iter().try_for_each(Parameters::check)?;
    memory::check(all.iter().map(Parameters::bytes).max().unwrap_or(0) * all.len().min(jobs::at_once()) as u64)?;
    let within = Within::new(watch);
    let done = jobs::first_done(jobs::run_each(all, watch, |parameters| run(parameters, &within)));
    let outcomes: Vec<Outcome> = done.into_iter().map_while(Result::ok).collect();
    if outcomes.is_empty() { Err(Error::Stopped) } else { Ok(outcomes) }
}

/// A run on its way.
struct Trial<'a> {
    parameters: &'a Parameters,
    net: Network,
    rng: Rng,
    shuffle: Duration,
    probe: Duration,
}

impl<'a> Trial<'a> {
    fn start(parameters: &'a Parameters) -> Self {
        let net = parameters.network().start_cold(0, START_WITHIN);
        let (shuffle, probe) = (net.settings().shuffle_interval, net.settings().probe_interval);
        Self { parameters, net, rng: Rng::new(parameters.seed ^ APART), shuffle, probe }
    }

    fn go(mut self, watch: &dyn Watch) -> Result<Outcome, Error> {
        self.rest(START_WITHIN + self.shuffle * REST, watch)?;
        self.crash();
        let at_once = self.publish();
        let crashed_at = self.net.now();
        self.rest(self.probe, watch)?;
        let reliability_before = self.reliability(&at_once);
        let healed_at = self.mend(crashed_at, watch)?;
        let later = self.publish();
        self.rest(self.probe, watch)?;
        let reliability_after = self.reliability(&later);
        let graph = Graph::of(&self.net);
        let paths = graph.paths(PATHS_FROM, &mut self.rng);
        let shuffles = |healed: Duration| healed.saturating_sub(crashed_at).as_secs_f64() / self.shuffle.as_secs_f64();
        Ok(Outcome {
            parameters: self.parameters.clone(),
            connected: graph.is_connected(),
            largest_component: graph.largest_component(),
            degree: graph.degree().expect("some survive"),
            clustering: graph.clustering(),
            path_average: paths.map(|paths| paths.average),
            path_max: paths.map(|paths| paths.max),
            reliability_before,
            reliability_after,
            healing_shuffles: healed_at.map(shuffles),
            elapsed: None,
        })
    }

    /// Lets time pass, unless the watch says stop.
    fn rest(&mut self, span: Duration, watch: &dyn Watch) -> Result<(), Error> {
        let end = self.net.now() + span;
        while self.net.now() < end {
            if !watch.goes_on() {
                return Err(Error::Stopped);
            }
            self.net.run_for(LOOK_EVERY.min(end.saturating_sub(self.net.now())))?;
        }
        Ok(())
    }

    fn crash(&mut self) {
        let mut nodes: Vec<usize> = (0..self.net.len()).collect();
        self.rng.shuffle(&mut nodes);
        for &node in &nodes[..self.parameters.crashed()] {
            self.net.crash(node);
        }
    }

    /// Time for repair. Returns when the survivors first hung together.
    fn mend(&mut self, crashed_at: Duration, watch: &dyn Watch) -> Result<Option<Duration>, Error> {
        let (least, most) = (crashed_at + self.shuffle * REPAIR, crashed_at + self.shuffle * PATIENCE);
        let mut healed_at = None;
        while self.net.now() < least || (healed_at.is_none() && self.net.now() < most) {
            if healed_at.is_none() && Graph::of(&self.net).is_connected() {
                healed_at = Some(self.net.now());
            }
            self.rest(LOOK_EVERY, watch)?;
        }
        Ok(healed_at)
    }

    /// Has random survivors publish a message each.
    fn publish(&mut self) -> Vec<(usize, Ticket)> {
        let mut up: Vec<usize> = self.net.up().collect();
        self.rng.shuffle(&mut up);
        up.truncate(MESSAGES);
        up.into_iter().map(|node| (node, self.net.publish(node, "overlay", vec![1; 100]))).collect()
    }

    /// The share of pairs of a message and another survivor in which the message arrived.
    fn reliability(&self, published: &[(usize, Ticket)]) -> f64 {
        let others = self.net.up().count() - 1;
        let arrived = published.iter().map(|&(node, ticket)| {
            let spread = self.net.published(ticket).and_then(|key| self.net.measured().messages.get(key));
            spread.map_or(0, |spread| spread.arrivals.iter().filter(|arrival| arrival.node != node).count())
        });
        count(arrived.sum()) / count(published.len() * others)
    }
}

/// Reliability against the share that crashed, without repair and with it.
pub fn chart(outcomes: &[Outcome]) -> Chart {
    let Parameters { nodes, active, passive, .. } =
        outcomes.first().map(|first| first.parameters.clone()).unwrap_or_default();
    let points = |of: &dyn Fn(&Outcome) -> f64| {
        let mut points: Vec<(f64, f64)> =
            outcomes.iter().map(|outcome| (percent(outcome.parameters.crash), of(outcome))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    Chart {
        title: format!("{nodes} nodes, active view {active}, passive view {passive}: messages after a crash"),
        x: Axis::linear("nodes that crashed at once (%)"),
        y: Axis::share("survivors that got a message"),
        series: vec![
            Series::measured("without repair", points(&|outcome| outcome.reliability_before)),
            Series::measured("with repair", points(&|outcome| outcome.reliability_after)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Unwatched;

    #[test]
    fn what_cannot_be_run_is_refused_by_field_value_and_rule() {
        let sound = Parameters::default();
        let wrong = [
            (Parameters { nodes: 2, ..sound.clone() }, "nodes is 2, must be"),
            (Parameters { active: 1, ..sound.clone() }, "active is 1, must be"),
            (Parameters { active: 17, ..sound.clone() }, "active is 17, must be"),
            (Parameters { passive: 7, ..sound.clone() }, "passive is 7, must be from 8"),
            (Parameters { active: 10, passive: 9, ..sound.clone() }, "passive is 9, must be from 10"),
            (Parameters { passive: 1_001, ..sound.clone() }, "passive is 1001, must be"),
            (Parameters { crash: 1.0, ..sound.clone() }, "crash is 1, must be"),
            (Parameters { crash: f64::NAN, ..sound.clone() }, "crash is NaN, must be"),
            (Parameters { crash: -0.5, ..sound.clone() }, "crash is -0.5, must be"),
            (Parameters { nodes: 10, crash: 0.9, ..sound }, "crash is 0.9, must be a share that leaves two nodes"),
        ];
        for (parameters, rule) in wrong {
            let error = run(&parameters, &Unwatched).unwrap_err().to_string();
            assert!(error.starts_with(rule), "{error}");
        }
    }

    #[test]
    fn where_nobody_crashes_every_message_arrives_and_nothing_has_to_heal() {
        let outcome = run(&Parameters { nodes: 60, crash: 0.0, ..Parameters::default() }, &Unwatched).unwrap();
        assert!(outcome.connected);
        let Outcome { largest_component, reliability_before, reliability_after, healing_shuffles, .. } = outcome;
        assert_eq!((largest_component, reliability_before, reliability_after), (60, 1.0, 1.0));
        assert!(healing_shuffles.is_some_and(|shuffles| shuffles < 0.1), "{healing_shuffles:?}");
    }

    #[test]
    fn one_seed_gives_one_outcome_alone_or_beside_others() {
        let all = [0.3, 0.6].map(|crash| Parameters { nodes: 40, crash, seed: 9, ..Parameters::default() });
        let together = run_each(&all, &Unwatched).unwrap();
        assert_eq!(together[1], run(&all[1], &Unwatched).unwrap());
    }

    #[test]
    fn who_says_stop_before_anything_is_done_gets_nothing() {
        struct Never;
        impl Watch for Never {
            fn on_progress(&self, _: usize, _: usize) {}
            fn goes_on(&self) -> bool {
                false
            }
        }
        assert!(matches!(run(&Parameters::default(), &Never), Err(Error::Stopped)));
        assert!(matches!(run_each(&[Parameters::default()], &Never), Err(Error::Stopped)));
    }
}
