//! How soon anybody notices a crash: SWIM's first detection (Das, Gupta and Motivala, DSN 2002, §3), on bare numbers.
//!
//! One of `n` members crashes at the beginning of a period. In each period every other member probes one member, and a
//! probe of the crashed one always fails. Detection is at the end of the period in which the first such probe is
//! made, as in the paper; the time is counted in whole periods. Periods are in step.
//!
//! Beside it: how often the probe of a live member fails because messages get lost.

use std::fmt;

use rumormill_core::rng::Rng;
use serde::{Deserialize, Serialize};

use crate::chart::{Axis, Chart, Series};
use crate::jobs::{self, Watch};
use crate::summary::count;
use crate::{Error, Summary, memory, theory};

mod expected;

pub use expected::{first_detection, late};

/// In which order a member probes the others.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Each time a random one (SWIM §3.1).
    Random,
    /// One after the other through a list that is put into random order at each pass (SWIM §4.3), as a node here does.
    RoundRobin,
}

impl Order {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round-robin",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameters {
    /// How many members, the crashed one included.
    pub nodes: usize,
    /// How long a period is, in seconds.
    pub period: f64,
    /// How many runs.
    pub runs: usize,
    /// The seed of the first run; others follow from it.
    pub seed: u64,
    /// In which order members are probed.
    pub order: Order,
    /// The share of messages that gets lost.
    pub loss: f64,
    /// How many others are asked to try when a ping is not answered.
    pub indirect_probes: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { nodes: 100, period: 1.0, order: Order::Random, loss: 0.0, indirect_probes: 3, runs: 1_000, seed: 1 }
    }
}

impl Parameters {
    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// [`Error::Value`], naming the parameter.
    pub fn check(&self) -> Result<(), Error> {
        let nodes = (2..=10_000_000).contains(&self.nodes);
        Error::unless(nodes, "nodes", self.nodes, "from 2 to 10000000: one crashes, another notices")?;
        let period = self.period > 0.0 && self.period <= 3_600.0;
        Error::unless(period, "period", self.period, "above 0, at most 3600 seconds")?;
        let loss = (0.0..1.0).contains(&self.loss);
        Error::unless(loss, "loss", self.loss, "from 0 to below 1")?;
        Error::unless(self.indirect_probes <= 16, "indirect-probes", self.indirect_probes, "from 0 to 16")?;
        Error::unless((1..=10_000_000).contains(&self.runs), "runs", self.runs, "from 1 to 10000000")?;
        memory::check(self.bytes())
    }

    /// The memory that it takes: some numbers for each run, however many are on at the same time.
    pub fn bytes(&self) -> u64 {
        self.runs as u64 * 12 * size_of::<usize>() as u64
    }
}

/// The document of `rumor lab detection`; times are in periods.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// What was run, and how many runs were done.
    #[serde(flatten)]
    pub parameters: Parameters,
    /// Until the first member notices.
    pub first_detection: Summary,
    /// The same by theory.
    pub theory: f64,
    /// The most periods until every single observer has noticed by its own probes; `None` where there is no such bound.
    pub bound: Option<usize>,
    /// How often the probe of a live member failed.
    pub false_positives: FalsePositives,
    /// The share of runs in which nobody had noticed after so many periods, from 0.
    pub late: Vec<f64>,
    /// How long it took, in seconds; set by whoever measures.
    pub elapsed: Option<f64>,
}

/// Probes of live members that failed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FalsePositives {
    /// How many probes were made.
    pub probes: usize,
    /// The share that failed.
    pub per_probe: f64,
    /// The same by theory.
    pub theory: f64,
}

/// Runs it.
///
/// # Errors
/// A parameter that breaks its rule.
pub fn run(parameters: &Parameters, watch: &dyn Watch) -> Result<Outcome, Error> {
    parameters.check()?;
    let numbers: Vec<u64> = (0..parameters.runs as u64).collect();
    let one = |number: &u64| {
        let rng = &mut Rng::new(jobs::seed_of_run(parameters.seed, *number));
        let failed =
            (0..parameters.nodes).filter(|_| probe_fails(parameters.loss, parameters.indirect_probes, rng)).count();
        (periods_to_detection(parameters, rng), failed)
    };
    let runs: Vec<(usize, usize)> = jobs::first_done(jobs::run_each(&numbers, watch, one));
    Outcome::of(parameters, &runs).ok_or(Error::Stopped)
}

fn periods_to_detection(parameters: &Parameters, rng: &mut Rng) -> usize {
    let others = parameters.nodes - 1;
    match parameters.order {
        Order::Random => {
            let mut periods = 1;
            // In each period the others probe one by one until somebody hits it.
            while (0..others).all(|_| rng.below(others) != 0) {
                periods += 1;
            }
            periods
        }
        Order::RoundRobin => (0..others).map(|_| periods_to_turn(others, rng)).min().expect("there is another"),
    }
}

/// When an observer next probes the crashed member. Somewhere in a pass through its list it has come to a random place;
/// the member is at a random place of this list, and if that lies behind, at one of the next.
fn periods_to_turn(places: usize, rng: &mut Rng) -> usize {
    let (passed, place) = (rng.below(places), rng.below(places));
    if place >= passed { place - passed + 1 } else { places - passed + rng.below(places) + 1 }
}

/// Whether the probe of a live member fails: ping and ack, then for each relay `ping_req`, ping, ack and ack.
fn probe_fails(loss: f64, indirect_probes: u32, rng: &mut Rng) -> bool {
    let mut arrive = |messages: usize| (0..messages).all(|_| !rng.chance(loss));
    !arrive(2) && (0..indirect_probes).all(|_| !arrive(4))
}

impl Outcome {
    fn of(parameters: &Parameters, runs: &[(usize, usize)]) -> Option<Self> {
        let periods: Vec<f64> = runs.iter().map(|(periods, _)| count(*periods)).collect();
        let probes = runs.len() * parameters.nodes;
        let failed: usize = runs.iter().map(|(_, failed)| failed).sum();
        let first_detection = Summary::of(&periods)?;
        let longest = runs.iter().map(|(periods, _)| *periods).max()?;
        let late = |after: usize| runs.iter().filter(|(periods, _)| *periods > after).count();
        Some(Self {
            parameters: Parameters { runs: runs.len(), ..parameters.clone() },
            first_detection,
            theory: self::first_detection(parameters.order, parameters.nodes),
            bound: (parameters.order == Order::RoundRobin).then(|| 2 * (parameters.nodes - 1) - 1),
            false_positives: FalsePositives {
                probes,
                per_probe: count(failed) / count(probes),
                theory: theory::probe_failure(parameters.loss, parameters.indirect_probes),
            },
            late: (0..=longest).map(|after| count(late(after)) / count(runs.len())).collect(),
            elapsed: None,
        })
    }

    /// The share of crashes that somebody has noticed, against time.
    pub fn chart(&self) -> Chart {
        let Parameters { nodes, period, order, .. } = self.parameters;
        let at = |periods: usize| count(periods) * period;
        let noticed = self.late.iter().enumerate().map(|(after, late)| (at(after), 1.0 - late)).collect();
        let expected = (0..self.late.len()).map(|after| (at(after), 1.0 - late(order, nodes, after)));
        Chart {
            title: format!("First detection among {nodes} members, {order} order"),
            x: Axis::linear("time since the crash (s)"),
            y: Axis::linear("crashes that somebody noticed (share)"),
            series: vec![Series::measured("bare model", noticed), Series::theory("theory", expected.collect())],
        }
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
            (Parameters { nodes: 1, ..sound.clone() }, "nodes is 1, must be"),
            (Parameters { period: 0.0, ..sound.clone() }, "period is 0, must be"),
            (Parameters { period: f64::NAN, ..sound.clone() }, "period is NaN, must be"),
            (Parameters { loss: 1.0, ..sound.clone() }, "loss is 1, must be"),
            (Parameters { loss: -0.1, ..sound.clone() }, "loss is -0.1, must be"),
            (Parameters { loss: f64::NAN, ..sound.clone() }, "loss is NaN, must be"),
            (Parameters { indirect_probes: 17, ..sound.clone() }, "indirect-probes is 17, must be"),
            (Parameters { runs: 0, ..sound }, "runs is 0, must be"),
        ];
        for (parameters, rule) in wrong {
            let error = run(&parameters, &Unwatched).unwrap_err().to_string();
            assert!(error.starts_with(rule), "{error}");
        }
    }

    #[test]
    fn of_two_the_other_notices_in_the_first_period() {
        for order in [Order::Random, Order::RoundRobin] {
            let outcome = run(&Parameters { nodes: 2, order, ..Parameters::default() }, &Unwatched).unwrap();
            assert_eq!((outcome.first_detection.max, outcome.theory, outcome.bound.unwrap_or(1)), (1.0, 1.0, 1));
        }
    }

    #[test]
    fn no_probe_fails_where_nothing_gets_lost() {
        let outcome = run(&Parameters::default(), &Unwatched).unwrap();
        assert_eq!((outcome.false_positives.probes, outcome.false_positives.per_probe), (100_000, 0.0));
    }

    #[test]
    fn an_observer_comes_round_within_the_bound_and_needs_all_of_it() {
        let rng = &mut Rng::new(1);
        let turns: Vec<usize> = (0..10_000).map(|_| periods_to_turn(5, rng)).collect();
        assert_eq!((turns.iter().min(), turns.iter().max()), (Some(&1), Some(&9)), "2 m − 1 for a list of 5");
    }
}
