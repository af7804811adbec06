//! Averages without a collector: how fast the estimates of all nodes come together.
//!
//! Push-pull averaging (Jelasity, Montresor and Babaoglu 2005) and push-sum (Kempe, Dobra and Gehrke 2003) on bare arrays,
//! with core's own steps (`rumormill_core::aggregate`), on a complete graph. Each node begins with a random
//! number in [0, 1).
//!
//! **What is compared with theory** is by how much the variance of the estimates falls in one cycle. The expectation
//! that papers compute is that of the variance itself, so the factor is a ratio of variances that were averaged over
//! runs; a mean of logarithms would be smaller.

use std::fmt;

use rumormill_core::aggregate::{Mass, average};
use rumormill_core::rng::Rng;
use serde::{Deserialize, Serialize};

use crate::chart::{Axis, Chart, Series};
use crate::jobs::{self, Watch};
use crate::summary::count;
use crate::{Error, Summary, memory};

mod theory;

pub use theory::factors;

/// Below this share of its beginning a variance is mostly rounding: no ratio is taken of it.
const ROUNDING: f64 = 1e-24;
/// The relative errors whose rounds are counted.
const ERRORS: [f64; 4] = [0.01, 1e-4, 1e-6, 1e-8];

/// Who meets whom in a cycle of push-pull averaging: `n` exchanges among `n` nodes (Jelasity et al. 2005, GETPAIR).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pairing {
    /// Every node begins one exchange with a random other one, in an order that is new in each cycle: `GETPAIR_SEQ`.
    Permuted,
    /// Each exchange is between two random nodes: `GETPAIR_RAND`.
    RandomEdges,
    /// Two perfect matchings that share no pair: `GETPAIR_PM`. Needs a global plan, and is the best that is possible.
    PerfectMatching,
    /// Every node begins one exchange with a random other one, in the same order in each cycle.
    FixedOrder,
}

impl Pairing {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Permuted => "permuted",
            Self::RandomEdges => "random-edges",
            Self::PerfectMatching => "perfect-matching",
            Self::FixedOrder => "fixed-order",
        }
    }
}

impl fmt::Display for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How estimates are brought together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// Two nodes that meet both take the mean.
    PushPull(Pairing),
    /// Every node gives half of its mass to a random other one, all in step.
    PushSum,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// How many nodes.
    pub nodes: usize,
    /// How.
    pub method: Method,
    /// How many cycles: `n` exchanges each, or one gift of each node.
    pub cycles: usize,
    /// How many runs.
    pub runs: usize,
    /// The seed of the first run; others follow from it.
    pub seed: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { nodes: 10_000, method: Method::PushPull(Pairing::Permuted), cycles: 20, runs: 10, seed: 1 }
    }
}

impl Parameters {
    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// [`Error::Value`], naming the parameter.
    pub fn check(&self) -> Result<(), Error> {
        let nodes = (2..=100_000_000).contains(&self.nodes);
        Error::unless(nodes, "nodes", self.nodes, "from 2 to 100000000: one node has nobody to average with")?;
        if self.method == Method::PushPull(Pairing::PerfectMatching) {
            let fits = self.nodes.is_multiple_of(2) && self.nodes >= 4;
            let rule = "even and at least 4 for perfect-matching, so that two matchings share no pair";
            Error::unless(fits, "nodes", self.nodes, rule)?;
        }
        Error::unless((1..=1_000).contains(&self.cycles), "cycles", self.cycles, "from 1 to 1000")?;
        Error::unless((1..=1_000_000).contains(&self.runs), "runs", self.runs, "from 1 to 1000000")?;
        memory::check(self.bytes(jobs::at_once()))
    }

    /// The memory that it takes if so many runs are on at the same time: for each node its estimate, and its place in the
    /// order and two partners, or its mass and what it gives away; and of each run two numbers for each cycle.
    pub fn bytes(&self, at_once: usize) -> u64 {
        let (number, mass) = (size_of::<f64>() as u64, size_of::<Mass>() as u64);
        let (nodes, cycles, runs) = (self.nodes as u64, self.cycles as u64, self.runs as u64);
        let node = match self.method {
            Method::PushPull(Pairing::PerfectMatching) => 4 * number,
            Method::PushPull(Pairing::Permuted | Pairing::RandomEdges | Pairing::FixedOrder) => 2 * number,
            Method::PushSum => number + 2 * mass,
        };
        self.runs.min(at_once) as u64 * nodes * node + runs * (2 * number * (cycles + 1) + 8 * number)
    }

    const fn pairing(&self) -> Option<Pairing> {
        match self.method {
            Method::PushPull(pairing) => Some(pairing),
            Method::PushSum => None,
        }
    }
}

/// The document of `rumor lab average`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// How many nodes.
    pub nodes: usize,
    /// `push-pull` or `push-sum`.
    pub method: &'static str,
    /// Who met whom; `None` for push-sum.
    pub pairing: Option<Pairing>,
    /// How many cycles.
    pub cycles: usize,
    /// How many runs were done.
    pub runs: usize,
    /// The seed.
    pub seed: u64,
    /// By what the variance is multiplied in a cycle.
    pub variance_factor: Factor,
    /// The same by theory.
    pub theory: f64,
    /// The variance after each cycle, from 0, as a share of that at the beginning; the mean over runs.
    pub variance: Vec<f64>,
    /// After how many cycles every node's estimate was within an error.
    pub within: Vec<Within>,
    /// How long it took, in seconds; set by whoever measures.
    pub elapsed: Option<f64>,
}

/// By what the variance is multiplied in a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Factor {
    /// The ratio of variances averaged over runs, averaged over cycles.
    pub mean: f64,
    /// The deviation between runs of a run's own mean ratio.
    pub sd: f64,
}

/// After how many cycles every node was that near to the average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Within {
    /// The error of the worst estimate, as a share of the average.
    pub error: f64,
    /// The cycles; `None` unless every run came that far.
    pub cycles: Option<Summary>,
}

/// One run: variances from cycle 0, and the error of the worst estimate likewise.
#[derive(Debug)]
struct Run {
    variances: Vec<f64>,
    worst: Vec<f64>,
}

/// Runs it.
///
/// # Errors
/// A parameter that breaks its rule.
pub fn run(parameters: &Parameters, watch: &dyn Watch) -> Result<Outcome, Error> {
    parameters.check()?;
    let numbers: Vec<u64> = (0..parameters.runs as u64).collect();
    let one = |number: &u64| one_run(parameters, jobs::seed_of_run(parameters.seed, *number));
    let runs: Vec<Run> = jobs::first_done(jobs::run_each(&numbers, watch, one));
    if runs.is_empty() { Err(Error::Stopped) } else { Ok(Outcome::of(parameters, &runs)) }
}

fn one_run(parameters: &Parameters, seed: u64) -> Run {
    let rng = &mut Rng::new(seed);
    let values: Vec<f64> = (0..parameters.nodes).map(|_| rng.fraction()).collect();
    match parameters.method {
        Method::PushPull(pairing) => push_pull(values, pairing, parameters.cycles, rng),
        Method::PushSum => push_sum(&values, parameters.cycles, rng),
    }
}

fn push_pull(mut values: Vec<f64>, pairing: Pairing, cycles: usize, rng: &mut Rng) -> Run {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let truth = mean(&values);
    let mut run = Run { variances: vec![variance(&values)], worst: vec![worst(values.iter().copied(), truth)] };
    for _ in 0..cycles {
        cycle(&mut values, pairing, &mut order, rng);
        run.variances.push(variance(&values));
        run.worst.push(worst(values.iter().copied(), truth));
    }
    run
}

/// `n` exchanges.
fn cycle(values: &mut [f64], pairing: Pairing, order: &mut [usize], rng: &mut Rng) {
    match pairing {
        Pairing::Permuted | Pairing::FixedOrder => {
            if pairing == Pairing::Permuted {
                rng.shuffle(order);
            }
            for &node in &*order {
                let peer = other(node, values.len(), rng);
                meet(values, node, peer);
            }
        }
        Pairing::RandomEdges => {
            for _ in 0..values.len() {
                let node = rng.below(values.len());
                let peer = other(node, values.len(), rng);
                meet(values, node, peer);
            }
        }
        Pairing::PerfectMatching => {
            rng.shuffle(order);
            let first = matching(order);
            first.iter().enumerate().filter(|&(a, &b)| a < b).for_each(|(a, &b)| meet(values, a, b));
            // Of two random matchings e^-1/2 share no pair, so that two tries are enough more often than not.
            let second = loop {
                rng.shuffle(order);
                let second = matching(order);
                if first.iter().zip(&second).all(|(a, b)| a != b) {
                    break second;
                }
            };
            second.iter().enumerate().filter(|&(a, &b)| a < b).for_each(|(a, &b)| meet(values, a, b));
        }
    }
}

/// Whom each node is matched with when neighbours in `order` are.
fn matching(order: &[usize]) -> Vec<usize> {
    let mut partners = vec![0; order.len()];
    for pair in order.chunks_exact(2) {
        partners[pair[0]] = pair[1];
        partners[pair[1]] = pair[0];
    }
    partners
}

/// A random node that is not `node`.
fn other(node: usize, nodes: usize, rng: &mut Rng) -> usize {
    let peer = rng.below(nodes - 1);
    if peer >= node { peer + 1 } else { peer }
}

fn meet(values: &mut [f64], a: usize, b: usize) {
    let mean = average(values[a], values[b]);
    (values[a], values[b]) = (mean, mean);
}

/// Push-sum (Kempe et al. 2003, §2). Deviation: a node does not give to itself, as the paper's may once in `n` times.
fn push_sum(values: &[f64], cycles: usize, rng: &mut Rng) -> Run {
    let truth = mean(values);
    let mut masses: Vec<Mass> = values.iter().copied().map(Mass::of).collect();
    let mut run = Run { variances: vec![potential(&masses, truth)], worst: vec![worst(estimates(&masses), truth)] };
    for _ in 0..cycles {
        let given: Vec<Mass> = masses.iter_mut().map(Mass::split).collect();
        for (giver, given) in given.into_iter().enumerate() {
            let taker = other(giver, masses.len(), rng);
            masses[taker].absorb(given);
        }
        run.variances.push(potential(&masses, truth));
        run.worst.push(worst(estimates(&masses), truth));
    }
    run
}

fn estimates(masses: &[Mass]) -> impl Iterator<Item = f64> {
    masses.iter().map(|mass| mass.estimate().expect("weights are halved, never taken away"))
}

/// How far the masses are from their shares of the truth: of this, the expectation is what the paper computes (its
/// potential, for one vector of values), and not of the variance of the estimates.
fn potential(masses: &[Mass], truth: f64) -> f64 {
    masses.iter().map(|mass| (mass.sum - mass.weight * truth).powi(2)).sum::<f64>() / count(masses.len())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count(values.len())
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count(values.len())
}

/// The error of the worst estimate as a share of the truth.
fn worst(estimates: impl Iterator<Item = f64>, truth: f64) -> f64 {
    estimates.map(|estimate| (estimate / truth - 1.0).abs()).fold(0.0, f64::max)
}

impl Outcome {
    fn of(parameters: &Parameters, runs: &[Run]) -> Self {
        let mean_at = |cycle: usize| runs.iter().map(|run| run.variances[cycle]).sum::<f64>() / count(runs.len());
        let variances: Vec<f64> = (0..=parameters.cycles).map(mean_at).collect();
        let ratios = ratios(&variances);
        let own: Vec<f64> = runs.iter().map(|run| mean_of(&self::ratios(&run.variances))).collect();
        let theory = factors(parameters.method, parameters.nodes, ratios.len());
        Self {
            nodes: parameters.nodes,
            method: if parameters.pairing().is_some() { "push-pull" } else { "push-sum" },
            pairing: parameters.pairing(),
            cycles: parameters.cycles,
            runs: runs.len(),
            seed: parameters.seed,
            variance_factor: Factor { mean: mean_of(&ratios), sd: Summary::of(&own).map_or(0.0, |own| own.sd) },
            theory: mean_of(&theory),
            variance: variances.iter().map(|variance| variance / variances[0]).collect(),
            within: ERRORS.into_iter().map(|error| Within { error, cycles: cycles_to(error, runs) }).collect(),
            elapsed: None,
        }
    }

    /// Variance against cycles.
    pub fn chart(&self) -> Chart {
        let points = |variances: &[f64]| (0..).map(f64::from).zip(variances.iter().copied()).collect::<Vec<_>>();
        let name = self.pairing.map_or_else(|| self.method.to_owned(), |pairing| pairing.to_string());
        let mut expected = vec![1.0];
        for factor in factors(self.method(), self.nodes, self.cycles) {
            expected.push(expected[expected.len() - 1] * factor);
        }
        Chart {
            title: format!("Averaging among {} nodes, {name}", self.nodes),
            x: Axis::linear("cycles"),
            y: Axis::logarithmic("variance of the estimates (share of the first)"),
            series: vec![Series::measured(name, points(&self.variance)), Series::theory("theory", points(&expected))],
        }
    }

    fn method(&self) -> Method {
        self.pairing.map_or(Method::PushSum, Method::PushPull)
    }
}

/// By what each variance is multiplied to give the next, as long as they are more than rounding.
fn ratios(variances: &[f64]) -> Vec<f64> {
    let least = variances[0] * ROUNDING;
    variances.windows(2).take_while(|pair| pair[0] > least).map(|pair| pair[1] / pair[0]).collect()
}

fn mean_of(values: &[f64]) -> f64 {
    Summary::of(values).map_or(0.0, |summary| summary.mean)
}

fn cycles_to(error: f64, runs: &[Run]) -> Option<Summary> {
    let first = |run: &Run| run.worst.iter().position(|worst| *worst <= error).map(count);
    let cycles: Option<Vec<f64>> = runs.iter().map(first).collect();
    Summary::of(&cycles?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Unwatched;

    fn parameters(method: Method, nodes: usize) -> Parameters {
        Parameters { nodes, method, cycles: 5, runs: 3, seed: 7 }
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_field_value_and_rule() {
        let sound = Parameters::default();
        let odd = Method::PushPull(Pairing::PerfectMatching);
        let wrong = [
            (Parameters { nodes: 1, ..sound.clone() }, "nodes is 1, must be from 2"),
            (Parameters { nodes: 7, method: odd, ..sound.clone() }, "nodes is 7, must be even"),
            (Parameters { nodes: 2, method: odd, ..sound.clone() }, "nodes is 2, must be even"),
            (Parameters { cycles: 0, ..sound.clone() }, "cycles is 0, must be from 1"),
            (Parameters { runs: 0, ..sound }, "runs is 0, must be from 1"),
        ];
        for (parameters, rule) in wrong {
            let error = run(&parameters, &Unwatched).unwrap_err().to_string();
            assert!(error.starts_with(rule), "{error}");
        }
    }

    #[test]
    fn two_matchings_share_no_pair_and_make_four_nodes_equal() {
        let mut values = vec![0.0, 4.0, 8.0, 12.0];
        let mut order = vec![0, 1, 2, 3];
        cycle(&mut values, Pairing::PerfectMatching, &mut order, &mut Rng::new(1));
        assert_eq!(values, [6.0; 4]);
    }

    #[test]
    fn the_average_stays_whatever_the_method() {
        for pairing in [Pairing::Permuted, Pairing::RandomEdges, Pairing::PerfectMatching, Pairing::FixedOrder] {
            let mut values: Vec<f64> = (0..100).map(f64::from).collect();
            let mut order: Vec<usize> = (0..100).collect();
            cycle(&mut values, pairing, &mut order, &mut Rng::new(3));
            assert!((mean(&values) - 49.5).abs() < 1e-12, "{pairing}");
        }
    }

    #[test]
    fn variance_that_is_only_rounding_counts_for_nothing() {
        let outcome = run(&parameters(Method::PushPull(Pairing::PerfectMatching), 4), &Unwatched).unwrap();
        assert!(outcome.variance_factor.mean < 1e-24, "{:?}", outcome.variance_factor);
    }

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let parameters = parameters(Method::PushSum, 50);
        assert_eq!(run(&parameters, &Unwatched).unwrap(), run(&parameters, &Unwatched).unwrap());
    }
    #[test]
    fn what_does_not_fit_in_memory_is_refused_with_the_estimate() {
        let large = |method| Parameters { nodes: 100_000_000, method, ..Parameters::default() };
        let per_node = |method| large(method).bytes(2) / 200_000_000;
        assert_eq!([Method::PushSum, Method::PushPull(Pairing::Permuted)].map(per_node), [40, 16]);
        let kept = Parameters { cycles: 1_000, runs: 1_000_000, ..Parameters::default() };
        assert!(kept.bytes(1) > 16_000_000_000, "two numbers for each cycle of each run");
        // With 64 runs at a time it is more than nearly every machine has; on one that has it, it is not refused.
        let both = Parameters { cycles: 1_000, runs: 1_000_000, ..large(Method::PushSum) };
        let needs = both.bytes(64);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(64).build().unwrap();
        let refused = matches!(pool.install(|| both.check()), Err(Error::Memory { needed, .. }) if needed == needs);
        assert_eq!(refused, memory::available().is_some_and(|available| available < needs));
    }
}
