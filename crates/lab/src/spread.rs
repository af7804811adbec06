//! The textbook epidemics on bare arrays: how one update spreads among n nodes that all know each other.
//!
//! No messages, no addresses, no time outs: a node is a few bits. The rules are those under which the published tables
//! come out (Demers et al. 1987; Karp et al. 2000). In a round every caller calls `fanout` partners, drawn
//! uniformly from the n − 1 others; what a node knows is judged as of the start of the round, and who learns the update
//! is active from the next one.
//!
//! - **push**: who is infective calls and sends. **pull**: callers ask, and a partner that is infective answers.
//!   **push-pull**: everybody calls, and the update crosses a contact either way.
//! - Under [`StopRule::Never`] those who know the update do not ask for it (so in pull they do not call, and in push-pull
//!   nobody answers them): this is the SI epidemic of the literature on rounds. Under every other rule nodes cannot know
//!   that there is nothing else to ask for: everybody calls, and every infective answers whoever calls.
//! - Traffic counts update messages, lost ones too; requests that find nothing are free. A contact that is lost
//!   carries nothing either way and gives no feedback.
//!
//! Where the papers are silent: with a fanout above 1 each contact counts alone, and who loses interest sends no more in
//! that round.

mod bits;
mod partners;
mod population;
mod prediction;
mod record;

use rumormill_core::StopRule;
use rumormill_core::config::Mode;
use serde::{Deserialize, Serialize, Serializer};

use crate::chart::{Axis, Chart, Series};
use crate::jobs::{self, Watch};
use crate::summary::count;
use crate::{Error, Summary, memory};

use partners::Partners;

/// How many partners a caller calls.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// As many as the fanout says, drawn with replacement.
    Fixed,
    /// As many as the fanout says, all different.
    Distinct,
    /// A Poisson number with the fanout as its mean, drawn anew each time, with replacement.
    Poisson,
}

/// When nodes call.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timing {
    /// All at once, in rounds.
    Rounds,
    /// Each at the ticks of its own Poisson clock of rate 1; times are in its mean periods.
    Async,
}

/// What is run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// How many nodes, one of which knows the update at the start.
    pub nodes: usize,
    /// Who sends in a contact.
    pub mode: Mode,
    /// How many partners a caller calls; a mean under [`Distribution::Poisson`], otherwise whole.
    #[serde(serialize_with = "whole_where_it_is")]
    pub fanout: f64,
    /// How the fanout is meant.
    pub fanout_distribution: Distribution,
    /// The share of contacts that carry nothing.
    pub loss: f64,
    /// When a node loses interest.
    pub stop: StopRule,
    /// When nodes call.
    pub timing: Timing,
    /// How many calls a node accepts in a round; `None` for all.
    pub connection_limit: Option<u16>,
    /// How many further partners a refused caller tries in the same round.
    pub hunt: u32,
    /// How many independent runs.
    pub runs: usize,
    /// What all draws derive from.
    pub seed: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            nodes: 1_000,
            mode: Mode::PushPull,
            fanout: 1.0,
            fanout_distribution: Distribution::Fixed,
            loss: 0.0,
            stop: StopRule::Never,
            timing: Timing::Rounds,
            connection_limit: None,
            hunt: 0,
            runs: 1,
            seed: 1,
        }
    }
}

/// `2` rather than `2.0`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was found to be whole and in range")]
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn whole_where_it_is<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && (0.0..1e15).contains(number) {
        serializer.serialize_u64(*number as u64)
    } else {
        serializer.serialize_f64(*number)
    }
}

/// What the runs showed: the document of `rumor lab spread`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// What was run.
    #[serde(flatten)]
    pub parameters: Parameters,
    /// The share of nodes that never knew.
    pub residue: Summary,
    /// Update messages for each node.
    pub traffic: Summary,
    /// When nodes learned it on average, those that did, the first included at 0.
    pub time_average: Summary,
    /// When the last node learned it of those that did.
    pub time_last: Summary,
    /// When nobody passed it on any more; where everybody keeps going, when the last node learned it. Not in the document.
    #[serde(skip)]
    pub time_quiet: Summary,
    /// The share of nodes that knew in the end.
    pub coverage: Summary,
    /// The share of runs in which every node knew in the end.
    pub atomic: f64,
    /// The mean share of nodes that knew, by round from 0.
    pub curve: Vec<f64>,
    /// The same by formula, where there is one.
    pub theory: Option<Vec<f64>>,
    /// How long it took, in seconds; for whoever measures to fill in.
    pub elapsed: Option<f64>,
}

/// What one run showed.
#[derive(Clone, Debug, PartialEq)]
struct Run {
    messages: u64,
    /// The sum over all nodes that learned it of when they did.
    time_sum: f64,
    time_last: f64,
    /// When nobody was interested any more.
    time_quiet: f64,
    /// How many knew, by round from 0.
    informed: Vec<usize>,
}

impl Parameters {
    /// Refuses what cannot be run.
    pub fn check(&self) -> Result<(), Error> {
        Error::unless(
            (2..=NODES_MAX).contains(&self.nodes),
            "nodes",
            self.nodes,
            &format!("from 2, so that there is somebody to call, to {NODES_MAX}"),
        )?;
        self.check_fanout()?;
        Error::unless(
            (0.0..=LOSS_MAX).contains(&self.loss),
            "loss",
            self.loss,
            &format!("from 0 to {LOSS_MAX}: where nearly everything is lost a run takes next to for ever"),
        )?;
        Error::unless(self.stop.breach().is_none(), "stop", self.stop, self.stop.breach().unwrap_or_default())?;
        let crosses_both_ways = self.mode == Mode::PushPull || !matches!(self.stop, StopRule::MedianCounter { .. });
        Error::unless(
            crosses_both_ways,
            "stop",
            self.stop,
            "used in mode push-pull: its players hear each other's counters in both directions",
        )?;
        Error::unless(self.connection_limit != Some(0), "connection-limit", 0, "at least 1, or left out for no limit")?;
        Error::unless(
            self.hunt == 0 || self.connection_limit.is_some(),
            "hunt",
            self.hunt,
            "0 without a connection-limit: nobody is refused, so nobody hunts",
        )?;
        Error::unless(self.hunt <= HUNT_MAX, "hunt", self.hunt, &format!("at most {HUNT_MAX}"))?;
        Error::unless((1..=RUNS_MAX).contains(&self.runs), "runs", self.runs, &format!("from 1 to {RUNS_MAX}"))?;
        memory::check(self.bytes(jobs::at_once()))
    }

    /// Whether two bits for each node are enough.
    fn is_plain(&self) -> bool {
        self.stop == StopRule::Never && self.timing == Timing::Rounds && self.connection_limit.is_none()
    }

    /// The memory that the runs take if so many go on at the same time.
    pub fn bytes(&self, at_once: usize) -> u64 {
        let at_once = self.runs.min(at_once) as u64;
        let nodes = self.nodes as u64;
        let state = if self.is_plain() { nodes / 4 } else { nodes * population::BYTES_PER_NODE };
        at_once * (state + nodes * Partners::bytes_per_node(self))
    }

    fn check_fanout(&self) -> Result<(), Error> {
        let most = count(self.nodes - 1);
        let (holds, rule) = match self.fanout_distribution {
            Distribution::Fixed | Distribution::Distinct => (
                self.fanout.fract() == 0.0 && (1.0..=most).contains(&self.fanout),
                format!(
                    "a whole number from 1 to nodes - 1 ({most}); with --fanout-distribution poisson it may be fractional"
                ),
            ),
            Distribution::Poisson => (
                (FANOUT_MEAN_MIN..=most).contains(&self.fanout),
                format!("a mean from {FANOUT_MEAN_MIN} to nodes - 1 ({most})"),
            ),
        };
        Error::unless(holds, "fanout", self.fanout, &rule)
    }
}

/// Indices of nodes are 32 bits.
const NODES_MAX: usize = 1 << 31;
/// With less a round would mean little.
const FANOUT_MEAN_MIN: f64 = 0.01;
/// A thousand contacts for one that arrives.
const LOSS_MAX: f64 = 0.999;
const HUNT_MAX: u32 = 1_000;
const RUNS_MAX: usize = 1_000_000;

/// Who looks on while runs go on, several of them perhaps at the same time.
pub trait Observer: Sync {
    /// So many know at the end of that round, or mean period; the first is 1. Whether the run shall go on: one that does not
    /// is left out, and what comes after it.
    fn on_round(&self, run: usize, round: usize, known: usize) -> bool;
}

/// Nobody looks on.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn on_round(&self, _: usize, _: usize, _: usize) -> bool {
        true
    }
}

/// Lets one update spread, as often as `parameters` say. Runs that the watch kept from beginning are left out.
pub fn run(parameters: &Parameters, watch: &dyn Watch) -> Result<Outcome, Error> {
    run_observed(parameters, watch, &Unobserved)
}

/// The same, for who wants to see the rounds as they come, or end a run before its end.
pub fn run_observed(parameters: &Parameters, watch: &dyn Watch, observer: &dyn Observer) -> Result<Outcome, Error> {
    parameters.check()?;
    let runs: Vec<usize> = (0..parameters.runs).collect();
    let once = |&run: &usize| {
        let seed = jobs::seed_of_run(parameters.seed, run as u64);
        run_once(parameters, seed, &|round, known| observer.on_round(run, round, known))
    };
    let runs = jobs::run_each(&runs, watch, once).into_iter().map(Option::flatten);
    let runs: Vec<Run> = jobs::first_done(runs.collect());
    Outcome::of(Parameters { runs: runs.len(), ..parameters.clone() }, &runs).ok_or(Error::Stopped)
}

/// Told each round of a run and how many know then; says whether the run goes on.
type Look<'a> = &'a dyn Fn(usize, usize) -> bool;

/// `None` if it did not go on to its end.
fn run_once(parameters: &Parameters, seed: u64, look: Look<'_>) -> Option<Run> {
    if parameters.is_plain() { bits::run(parameters, seed, look) } else { population::run(parameters, seed, look) }
}

impl Outcome {
    fn of(parameters: Parameters, runs: &[Run]) -> Option<Self> {
        let nodes = count(parameters.nodes);
        let known = |run: &Run| run.informed.last().copied().expect("the first node knows");
        let summary = |value: &dyn Fn(&Run) -> f64| Summary::of(&runs.iter().map(value).collect::<Vec<_>>());
        let atomic = runs.iter().filter(|run| known(run) == parameters.nodes).count();
        let rounds = runs.iter().map(|run| run.informed.len()).max().unwrap_or_default();
        let informed = |round: usize| -> f64 {
            runs.iter().map(|run| count(run.informed.get(round).copied().unwrap_or_else(|| known(run)))).sum()
        };
        Some(Self {
            residue: summary(&|run| 1.0 - count(known(run)) / nodes)?,
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            traffic: summary(&|run| run.messages as f64 / nodes)?,
            time_average: summary(&|run| run.time_sum / count(known(run)))?,
            time_last: summary(&|run| run.time_last)?,
            time_quiet: summary(&|run| run.time_quiet)?,
            coverage: summary(&|run| count(known(run)) / nodes)?,
            atomic: count(atomic) / count(runs.len()),
            curve: (0..rounds).map(|round| informed(round) / nodes / count(runs.len())).collect(),
            theory: parameters.curve_predicted(rounds.saturating_sub(1)),
            elapsed: None,
            parameters,
        })
    }

    /// The curve, beside the formula's where there is one.
    pub fn chart(&self) -> Chart {
        let Parameters { nodes, mode, fanout, timing, .. } = &self.parameters;
        let time = match timing {
            Timing::Rounds => "rounds",
            Timing::Async => "time (mean periods)",
        };
        let points = |curve: &[f64]| curve.iter().enumerate().map(|(round, share)| (count(round), *share)).collect();
        let mut series = vec![Series::measured(mode_name(*mode), points(&self.curve))];
        series.extend(self.theory.as_ref().map(|theory| Series::theory("theory", points(theory))));
        Chart {
            title: format!("{nodes} nodes, {}, fanout {fanout}", mode_name(*mode)),
            x: Axis::linear(time),
            y: Axis::linear("share of nodes that know"),
            series,
        }
    }
}

/// As it is written.
pub const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Push => "push",
        Mode::Pull => "pull",
        Mode::PushPull => "push-pull",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Unwatched;

    fn refused(parameters: Parameters) -> String {
        match parameters.check() {
            Err(Error::Value { field, value, rule }) => {
                assert!(!value.is_empty() && !rule.is_empty());
                field
            }
            other => panic!("{parameters:?}: {other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused_before_anything_runs() {
        let base = Parameters::default;
        let poisson = || Parameters { fanout_distribution: Distribution::Poisson, ..base() };
        for (parameters, field) in [
            (Parameters { nodes: 1, ..base() }, "nodes"),
            (Parameters { nodes: usize::MAX, ..base() }, "nodes"),
            (Parameters { fanout: 0.0, ..base() }, "fanout"),
            (Parameters { fanout: 1.5, ..base() }, "fanout"),
            (Parameters { fanout: f64::NAN, ..base() }, "fanout"),
            (Parameters { fanout: 1_000.0, ..base() }, "fanout"),
            (Parameters { fanout: 0.0, ..poisson() }, "fanout"),
            (Parameters { fanout: f64::NAN, ..poisson() }, "fanout"),
            (Parameters { loss: 1.0, ..base() }, "loss"),
            (Parameters { loss: 0.999_999_999_9, ..base() }, "loss"),
            (Parameters { loss: -0.1, ..base() }, "loss"),
            (Parameters { loss: f64::NAN, ..base() }, "loss"),
            (Parameters { stop: StopRule::FeedbackCounter { k: 0 }, ..base() }, "stop"),
            (Parameters { stop: StopRule::MedianCounter { k: 3 }, mode: Mode::Push, ..base() }, "stop"),
            (Parameters { connection_limit: Some(0), ..base() }, "connection-limit"),
            (Parameters { hunt: 1, ..base() }, "hunt"),
            (Parameters { runs: 0, ..base() }, "runs"),
        ] {
            assert_eq!(refused(parameters), field);
        }
    }

    #[test]
    fn what_does_not_fit_in_memory_is_refused_with_the_estimate() {
        let stop = StopRule::BlindCoin { k: 2 };
        let large = Parameters { nodes: NODES_MAX, stop, runs: RUNS_MAX, ..Parameters::default() };
        let needed = (jobs::at_once() as u64) * (16 << 31);
        // Only a machine with 32 GiB for each of its cores may run this.
        if memory::available().is_some_and(|free| free < needed) {
            assert!(matches!(large.check(), Err(Error::Memory { needed: told, .. }) if told == needed));
        }
        let alone = |parameters: Parameters| parameters.bytes(1);
        assert_eq!(alone(Parameters { nodes: 1 << 20, ..Parameters::default() }), 1 << 18, "two bits for each node");
        let distinct = |fanout| Parameters { fanout, fanout_distribution: Distribution::Distinct, ..large.clone() };
        assert_eq!(alone(distinct(16.0)), 16 << 31);
        assert_eq!(alone(distinct(17.0)), 20 << 31);
    }

    #[test]
    fn a_run_alone_is_what_it_is_among_others() {
        for stop in [StopRule::Never, StopRule::BlindCoin { k: 3 }] {
            let parameters = Parameters { stop, runs: 8, ..Parameters::default() };
            let together = run(&parameters, &Unwatched).unwrap();
            let alone: Vec<Run> =
                (0..8).filter_map(|n| run_once(&parameters, jobs::seed_of_run(1, n), &|_, _| true)).collect();
            assert_eq!(Some(together), Outcome::of(parameters, &alone));
        }
    }

    /// What an observer was told, by run.
    #[derive(Default)]
    struct Told {
        rounds: std::sync::Mutex<std::collections::BTreeMap<usize, Vec<(usize, usize)>>>,
        rounds_max: Option<usize>,
    }

    impl Observer for Told {
        fn on_round(&self, run: usize, round: usize, known: usize) -> bool {
            self.rounds.lock().unwrap().entry(run).or_default().push((round, known));
            self.rounds_max.is_none_or(|most| run == 0 || round < most)
        }
    }

    #[test]
    fn who_looks_on_is_told_the_curve_round_by_round_and_changes_nothing() {
        let stops = [StopRule::Never, StopRule::FeedbackCoin { k: 3 }];
        for (stop, timing) in stops.into_iter().zip([Timing::Rounds, Timing::Async]) {
            let parameters = Parameters { stop, timing, mode: Mode::Push, ..Parameters::default() };
            let told = Told::default();
            let outcome = run_observed(&parameters, &Unwatched, &told).unwrap();
            assert_eq!(outcome, run(&parameters, &Unwatched).unwrap());
            let rounds = told.rounds.into_inner().unwrap().remove(&0).unwrap();
            assert!(rounds.len() + 1 >= outcome.curve.len(), "{rounds:?} {:?}", outcome.curve);
            for (nth, (round, known)) in rounds.into_iter().enumerate() {
                let share = outcome.curve.get(round).or_else(|| outcome.curve.last()).unwrap();
                assert_eq!((round, count(known) / 1_000.0), (nth + 1, *share));
            }
        }
    }

    #[test]
    fn a_run_that_is_ended_within_is_left_out_with_those_behind_it() {
        for stop in [StopRule::Never, StopRule::BlindCounter { k: 3 }] {
            for timing in [Timing::Rounds, Timing::Async] {
                let parameters = Parameters { stop, timing, runs: 3, ..Parameters::default() };
                let told = Told { rounds_max: Some(2), ..Told::default() };
                let outcome = run_observed(&parameters, &Unwatched, &told).unwrap();
                assert_eq!(outcome, run(&Parameters { runs: 1, ..parameters }, &Unwatched).unwrap());
                let rounds = told.rounds.into_inner().unwrap();
                assert!(rounds[&0].len() > 2 && rounds[&1].len() == 2, "{rounds:?}");
            }
        }
    }

    /// The fast path and the general one are the same model: both draw, so their means agree but for chance.
    #[test]
    fn two_bits_and_sixteen_bytes_tell_the_same_story() {
        for mode in [Mode::Push, Mode::Pull, Mode::PushPull] {
            for distribution in [Distribution::Fixed, Distribution::Distinct, Distribution::Poisson] {
                let fanout_distribution = distribution;
                let parameters = Parameters {
                    mode,
                    fanout: 2.0,
                    fanout_distribution,
                    loss: 0.2,
                    nodes: 300,
                    ..Parameters::default()
                };
                let outcome = |once: fn(&Parameters, u64, Look<'_>) -> Option<Run>| {
                    let runs: Vec<Run> = (0..500).filter_map(|seed| once(&parameters, seed, &|_, _| true)).collect();
                    Outcome::of(parameters.clone(), &runs).unwrap()
                };
                let (bits, bytes) = (outcome(bits::run), outcome(population::run));
                for (a, b) in [(bits.time_last, bytes.time_last), (bits.traffic, bytes.traffic)] {
                    let error = 4.0 * (a.error_of_mean(500).powi(2) + b.error_of_mean(500).powi(2)).sqrt();
                    assert!((a.mean - b.mean).abs() < error, "{mode:?} {distribution:?}: {a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn every_rule_ends_in_every_mode_and_timing() {
        let rules = [
            StopRule::BlindCounter { k: 2 },
            StopRule::BlindCoin { k: 2 },
            StopRule::FeedbackCounter { k: 2 },
            StopRule::FeedbackCoin { k: 2 },
            StopRule::ForwardOnce,
            StopRule::MedianCounter { k: 2 },
            StopRule::TransmitLimit { lambda: 1.0 },
        ];
        for stop in rules {
            for mode in [Mode::Push, Mode::Pull, Mode::PushPull] {
                for timing in [Timing::Rounds, Timing::Async] {
                    for connection_limit in [None, Some(1)] {
                        let parameters =
                            Parameters { nodes: 60, mode, stop, timing, connection_limit, ..Parameters::default() };
                        if parameters.check().is_err() {
                            continue;
                        }
                        let outcome = run(&Parameters { loss: 0.1, runs: 20, ..parameters }, &Unwatched).unwrap();
                        assert!(outcome.traffic.mean > 0.0 && outcome.curve.is_sorted(), "{outcome:?}");
                    }
                }
            }
        }
    }
}
