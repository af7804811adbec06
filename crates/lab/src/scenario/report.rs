//! What a run of the virtual network showed: the document, and its curves.

use rumormill_core::config::{Mode, View};
use serde::Serialize;

use super::failures::Fate;
use super::run::Run;
use crate::chart::{Axis, Chart, Series};
use crate::summary::count;
use crate::{EstimateError, Life, Network, Publication, Spread, Summary};

/// What a run showed. Times are seconds; moments count from the start of the run, of a joined start from when all had
/// joined.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// How many nodes there were at the start.
    pub nodes: usize,
    /// Whom each knows.
    pub view: View,
    /// How fresh news travels.
    pub mode: Mode,
    /// What everything random came from.
    pub seed: u64,
    /// When every node that was up knew all that were up, and nobody else, or with partial views all hung together, in
    /// steps of 100 ms; absent if that did not come, or the start was a joined one.
    pub joined_after: Option<f64>,
    /// Every message that the plan had published.
    pub messages: Vec<Message>,
    /// Every node that lost power or was killed, by time.
    pub failures: Vec<Failure>,
    /// How often a node declared another dead that was healthy: it ran, did not stand still, was not slow or stalled, and was not
    /// cut off from it.
    pub false_positives: usize,
    /// How often a node saw another become suspect: each observer counts.
    pub suspicions: usize,
    /// What a node sent.
    pub per_node: PerNode,
    /// By which part round trips between any two nodes are estimated wrong at the end; absent where machines lie in one place.
    pub estimate_error: Option<EstimateError>,
    /// Inputs that nodes handled: datagrams, pieces of streams, timeouts, commands, writes done.
    pub events: u64,
    /// Of them in a second of real time. Filled in by who measures.
    pub events_per_second: Option<f64>,
    /// Real time. Filled in by who measures.
    pub elapsed: Option<f64>,
    /// By how much the process grew, for each node, in bytes. Filled in by who measures.
    pub memory_per_node: Option<f64>,
    /// Stands for every input of every node: 16 hex digits.
    pub trace_hash: String,
    /// The command that repeats the run.
    pub replay: String,
    /// How often a node declared another dead that ran but stood still just then, or was slow or stalled.
    #[serde(skip)]
    pub deaths_of_unwell: usize,
    /// Messages of the plan that were not published: their nodes were told to, and refused or did not acknowledge.
    #[serde(skip)]
    pub unpublished: usize,
    /// How often a member became suspect, however many saw it.
    #[serde(skip)]
    pub suspected: usize,
    /// Of them, members that ran and were not cut off from who saw it.
    #[serde(skip)]
    pub suspected_wrongly: usize,
    /// What is drawn.
    #[serde(skip)]
    pub curves: Curves,
}

/// How messages and failures became known, all of a run together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Seconds since publication, and the share of those that were to get a message and had it.
    pub heard: Vec<(f64, f64)>,
    /// The same of failures.
    pub known: Vec<(f64, f64)>,
    /// The share of those that were to get a message and had it after so many hops, from none, its origin.
    pub hops: Vec<f64>,
}

/// How a message spread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// Who published it, and which of its messages it is: `n3:1`.
    pub id: String,
    /// When.
    pub at: f64,
    /// How large it is.
    pub bytes: usize,
    /// How many of `alive` got it.
    pub reached: usize,
    /// How many nodes ran from then until the end, its origin among them.
    pub alive: usize,
    /// When the last of `reached` got it, since `at`.
    pub last: Option<f64>,
    /// When they got it in the mean, since `at`, its origin left out.
    pub average: Option<f64>,
    /// Through how many nodes it went to them.
    pub hops: Option<Extent>,
    /// How many copies came to nodes for each of them but the origin, less the one that it needs (relative message
    /// redundancy; Plumtree, SRDS 2007, §4).
    pub redundancy: Option<f64>,
}

/// How a failure became known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// Who failed.
    pub node: String,
    /// When.
    pub at: f64,
    /// When the first knew of those that ran from then until the end, or until it was back; since `at`.
    pub first: Option<f64>,
    /// When the last did; absent unless all did.
    pub last: Option<f64>,
}

/// What a node sent in each second of virtual time, over all that there were at the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PerNode {
    /// Datagrams.
    pub datagrams_per_second: Extent,
    /// Bytes of datagrams and streams, with headers of IPv4, UDP and TCP.
    pub bytes_per_second: Extent,
}

/// Mean and maximum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Extent {
    /// The arithmetic mean.
    pub mean: f64,
    /// The greatest value.
    pub max: f64,
}

impl Extent {
    fn of(values: &[f64]) -> Option<Self> {
        Summary::of(values).map(|Summary { mean, max, .. }| Self { mean, max })
    }
}

/// More points than this are not drawn.
const POINTS_MAX: usize = 400;

impl Outcome {
    /// How messages and failures became known over time, all of the run together.
    pub fn chart(&self) -> Chart {
        let series = [("had the message", &self.curves.heard), ("knew of the failure", &self.curves.known)];
        Chart {
            title: format!("{} nodes, {} messages, {} failures", self.nodes, self.messages.len(), self.failures.len()),
            x: Axis::logarithmic("time since publication or failure (s)"),
            y: Axis::share("nodes"),
            series: series
                .into_iter()
                .filter(|(_, points)| !points.is_empty())
                .map(|(name, points)| Series::measured(name, points.clone()))
                .collect(),
        }
    }
}

/// The outcome of a run as far as it is.
pub(super) fn of(run: &Run) -> Outcome {
    let Run { scenario, net, begun, joined_after, failures, suspicions, false_positives, deaths_of_unwell, .. } = run;
    let span = run.elapsed().as_secs_f64();
    let mut heard = Curve::default();
    let mut known = Curve::default();
    let mut hops = Hops::default();
    let messages = net.measured().publications.iter().filter_map(|publication| {
        let spreading = Spreading::of(net, publication)?;
        spreading.after.iter().for_each(|&after| heard.reached(after));
        heard.of += spreading.alive - usize::from(spreading.origin_lives);
        hops.add(&spreading);
        Some(spreading.message(publication.at.saturating_sub(*begun).as_secs_f64()))
    });
    let messages: Vec<_> = messages.collect();
    let unpublished = net.measured().publications.len() - messages.len();
    let failures = failures.fates(net).map(|fate| {
        fate.knew.iter().for_each(|&after| known.reached(after));
        known.of += fate.survivors;
        Failure::of(fate, begun.as_secs_f64())
    });
    let failures = failures.collect();
    Outcome {
        nodes: scenario.nodes,
        view: scenario.config.view,
        mode: scenario.config.mode,
        seed: scenario.seed,
        joined_after: joined_after.map(|after| after.as_secs_f64()),
        messages,
        failures,
        false_positives: *false_positives,
        suspicions: suspicions.sightings,
        per_node: per_node(net, span),
        estimate_error: scenario.lies_apart().then(|| net.estimate_error()).flatten(),
        events: net.measured().inputs,
        events_per_second: None,
        elapsed: None,
        memory_per_node: None,
        trace_hash: format!("{:016x}", net.trace_hash()),
        replay: run.replay(),
        deaths_of_unwell: *deaths_of_unwell,
        unpublished,
        suspected: suspicions.all.count,
        suspected_wrongly: suspicions.mistaken.count,
        curves: Curves { heard: heard.points(), known: known.points(), hops: hops.shares() },
    }
}

impl Failure {
    fn of(fate: Fate, begun: f64) -> Self {
        let all_knew = fate.knew.len() == fate.survivors;
        Self {
            node: format!("n{}", fate.node),
            at: fate.at.as_secs_f64() - begun,
            first: fate.knew.first().copied(),
            last: fate.knew.last().copied().filter(|_| all_knew),
        }
    }
}

/// A message and those that were to get it: all that ran from its publication until now.
struct Spreading {
    id: String,
    bytes: usize,
    alive: usize,
    /// Whether the origin is among them.
    origin_lives: bool,
    /// When each other of them got it, in seconds since it was published.
    after: Vec<f64>,
    hops: Vec<usize>,
    /// Copies that came to those of which this is known, and how many those are.
    copies: usize,
    traced: usize,
}

impl Spreading {
    /// `None` if it was never published: its node failed before, or refused.
    fn of(net: &Network, publication: &Publication) -> Option<Self> {
        let key = net.published(publication.ticket)?;
        let Spread { arrivals, .. } = net.measured().messages.get(key)?;
        let mut lives = vec![0; net.len()];
        let ran = |life: &&Life| life.from <= publication.at && life.end.is_none();
        net.lives().iter().filter(ran).for_each(|life| lives[life.node] = life.life);
        let mut spreading = Self {
            id: format!("n{}:{}", publication.node, key.sequence),
            bytes: publication.bytes,
            alive: lives.iter().filter(|&&life| life > 0).count(),
            origin_lives: lives[publication.node] > 0,
            after: Vec::new(),
            hops: Vec::new(),
            copies: 0,
            traced: 0,
        };
        for arrival in arrivals {
            if lives[arrival.node] != arrival.life {
                continue;
            }
            let is_origin = arrival.node == publication.node;
            let step = net.node(arrival.node).and_then(|node| node.trace_step(&key.topic, key.origin, key.sequence));
            if let Some(step) = step {
                spreading.traced += usize::from(!is_origin);
                spreading.copies += step.payloads as usize;
            }
            if !is_origin {
                spreading.after.push(arrival.at.saturating_sub(publication.at).as_secs_f64());
                spreading.hops.push(arrival.hops as usize);
            }
        }
        Some(spreading)
    }

    fn message(self, at: f64) -> Message {
        let Self { id, bytes, alive, origin_lives, after, hops, copies, traced } = self;
        let times = Summary::of(&after);
        Message {
            id,
            at,
            bytes,
            reached: after.len() + usize::from(origin_lives),
            alive,
            last: times.map(|times| times.max),
            average: times.map(|times| times.mean),
            hops: Extent::of(&hops.into_iter().map(count).collect::<Vec<_>>()),
            redundancy: (traced > 0).then(|| count(copies) / count(traced) - 1.0),
        }
    }
}

fn per_node(net: &Network, span: f64) -> PerNode {
    let rates = |amount: &dyn Fn(&crate::Traffic) -> u64| {
        let rates: Vec<_> = net.measured().traffic.iter().map(|sent| number(amount(sent)) / span.max(1e-6)).collect();
        Extent::of(&rates).expect("a network has nodes")
    };
    PerNode {
        datagrams_per_second: rates(&|sent| sent.datagrams),
        bytes_per_second: rates(&crate::Traffic::wire_bytes),
    }
}

fn number(amount: u64) -> f64 {
    count(usize::try_from(amount).expect("64-bit machines"))
}

/// How something became known, of several times that it did.
#[derive(Default)]
struct Curve {
    after: Vec<f64>,
    of: usize,
}

impl Curve {
    fn reached(&mut self, after: f64) {
        self.after.push(after);
    }

    /// The share that knew, at up to [`POINTS_MAX`] moments.
    fn points(mut self) -> Vec<(f64, f64)> {
        self.after.sort_by(f64::total_cmp);
        let last = self.after.len().saturating_sub(1);
        let every = self.after.len().div_ceil(POINTS_MAX).max(1);
        let drawn = self.after.iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last);
        drawn.map(|(i, &after)| (after, count(i + 1) / count(self.of.max(1)))).collect()
    }
}

/// Through how many nodes messages came, of all that were to get them.
#[derive(Default)]
struct Hops {
    /// How many got one after so many hops.
    after: Vec<usize>,
    of: usize,
}

impl Hops {
    fn add(&mut self, spreading: &Spreading) {
        let origin = spreading.origin_lives.then_some(0);
        for hops in spreading.hops.iter().copied().chain(origin) {
            if self.after.len() <= hops {
                self.after.resize(hops + 1, 0);
            }
            self.after[hops] += 1;
        }
        self.of += spreading.alive;
    }

    fn shares(self) -> Vec<f64> {
        let mut reached = 0;
        let add = |fresh: &usize| {
            reached += fresh;
            count(reached) / count(self.of.max(1))
        };
        self.after.iter().map(add).collect()
    }
}
