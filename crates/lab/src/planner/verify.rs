//! Real nodes do what was planned, on the virtual network.

use std::time::Duration;

use rumormill_core::ConfigBuilder;
use rumormill_core::rng::Rng;
use serde::Serialize;

use super::model::Figures;
use super::{Conditions, Parameters};
use crate::jobs::{self, Watch, Within};
use crate::scenario::report::Extent;
use crate::scenario::{Fault, Publishers, Run, Start, What, Whom, Work};
use crate::spread::{self, Parameters as Spread};
use crate::summary::count;
use crate::{Error, Network, Scenario, Summary, theory};

/// The most nodes of the virtual network that are quick enough to wait for.
const NODES_MAX: usize = 1_000;
/// Messages whose spread is measured.
const MESSAGES: usize = 50;
/// Of them may be late by chance where one of 100 is: more are, once in 70 times.
pub(super) const LATE_MAX: usize = 2;
/// Nodes that crash, one after the other.
const CRASHES: usize = 5;
/// Messages come at least so often in a simulation, that it ends soon.
const RATE_MIN: f64 = 0.2;
/// How long nodes are left alone until they have measured round trips.
const SETTLED: Duration = Duration::from_secs(30);
/// Runs of the bare model.
const MODEL_RUNS: usize = 20;

/// What real nodes did; times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Messages published.
    pub messages: usize,
    /// Of them, those that reached all before the simulation ended.
    pub complete: usize,
    /// Those that had not reached all by the deadline; where that cannot be met, by that of the alternative.
    pub late: usize,
    /// Until half of the messages had reached all; `None` if fewer did.
    pub time_to_all: Option<f64>,
    /// Until the last of those had that did.
    pub time_to_all_max: Option<f64>,
    /// Nodes that crashed.
    pub crashes: usize,
    /// Until the first had declared it dead.
    pub detection_first: Option<Summary>,
    /// Until all had.
    pub detection_all: Option<Summary>,
    /// The virtual time of all nodes together, in hours.
    pub node_hours: f64,
    /// Suspicions of live members, in a node's hour.
    pub suspicions_per_node_hour: f64,
    /// Live members that a node declared dead, in its hour.
    pub false_deaths_per_node_hour: f64,
    /// What a node sent while messages were published, headers included: mean, and the one that sent most.
    pub bytes_per_second: Extent,
    /// The commands that repeat the two runs.
    pub replay: Vec<String>,
}

/// The bare model with the same fanout, stop rule and loss, in rounds; nodes that forward at once are faster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rounds {
    /// How many nodes it had.
    pub nodes: usize,
    /// Until the last that got it, in the mean.
    pub mean: f64,
    /// The formula's, where everybody keeps going.
    pub theory: f64,
    /// The share of nodes that the push alone reached.
    pub coverage: f64,
}

/// What the simulation had and showed.
#[derive(Debug)]
pub(super) struct Verification {
    pub(super) nodes: usize,
    /// As asked for, but for the rate of messages.
    pub(super) conditions: Conditions,
    pub(super) measured: Measured,
    pub(super) curve: Vec<(f64, f64)>,
}

/// Publishes messages in one cluster, and crashes nodes of another.
pub(super) fn run(
    parameters: &Parameters,
    config: &ConfigBuilder,
    predicted: &Figures,
    watch: &dyn Watch,
) -> Result<Verification, Error> {
    let nodes = parameters.nodes.min(NODES_MAX);
    let base = scenario(parameters, config, nodes);
    let plans = [publishing(&base, parameters, predicted), crashing(&base, predicted)];
    let runs = jobs::run_each(&plans, watch, |scenario| {
        let mut run = Run::start(scenario)?;
        run.go(&Within::new(watch))?;
        if run.ended_early().is_some() { Err(Error::Stopped) } else { Ok(run) }
    });
    let mut runs = runs.into_iter().flatten().collect::<Result<Vec<Run>, Error>>()?.into_iter();
    let (Some(publishing), Some(crashing)) = (runs.next(), runs.next()) else { return Err(Error::Stopped) };
    let rate = count(MESSAGES) / publishing.elapsed().as_secs_f64();
    Ok(Verification {
        nodes,
        conditions: Conditions { rate, ..parameters.conditions.clone() },
        measured: measured(parameters, &publishing, &crashing),
        curve: curve(publishing.network()),
    })
}

fn scenario(parameters: &Parameters, config: &ConfigBuilder, nodes: usize) -> Scenario {
    let Conditions { loss, latency, jitter, .. } = parameters.conditions;
    let (seed, config) = (parameters.seed, config.clone());
    Scenario { nodes, start: Start::Joined, seed, latency, jitter, loss, config, ..Scenario::default() }
}

/// Messages at random moments, so many in a second as asked for, and time for the last.
fn publishing(base: &Scenario, parameters: &Parameters, predicted: &Figures) -> Scenario {
    let each = 1.0 / parameters.conditions.rate.max(RATE_MIN);
    let rng = &mut Rng::new(parameters.seed);
    let moments = (0..MESSAGES).map(|message| Duration::from_secs_f64((count(message) + rng.fraction()) * each));
    let work = |at: Duration| {
        let at = Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        Work { at, by: Publishers::Count(1), bytes: parameters.conditions.payload }
    };
    let rest = (2.0 * predicted.time_to_all_p99).max(parameters.deadline.as_secs_f64()).clamp(1.0, 60.0);
    let duration = whole_seconds(count(MESSAGES) * each + rest);
    Scenario { duration, publish: moments.map(work).collect(), ..base.clone() }
}

/// Crashes far enough apart that each is over before the next.
fn crashing(base: &Scenario, predicted: &Figures) -> Scenario {
    let apart = whole_seconds(2.0 * predicted.detection_all + 2.0);
    let crashes = CRASHES.min(base.nodes / 4).max(1);
    let crash = |number: usize| {
        let at = SETTLED + apart * u32::try_from(number).unwrap_or(u32::MAX);
        Fault { at, what: What::Crash(Whom::Nodes(vec![base.nodes - 1 - number])) }
    };
    let duration = SETTLED + apart * u32::try_from(crashes + 1).unwrap_or(u32::MAX);
    Scenario { duration, fault: (0..crashes).map(crash).collect(), ..base.clone() }
}

fn whole_seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.ceil())
}

fn measured(parameters: &Parameters, publishing: &Run, crashing: &Run) -> Measured {
    let (spread, crashed) = (publishing.outcome(), crashing.outcome());
    let complete = spread.messages.iter().filter(|message| message.reached == message.alive);
    let mut times: Vec<f64> = complete.filter_map(|message| message.last).collect();
    times.sort_by(f64::total_cmp);
    let in_time = times.iter().filter(|time| **time <= parameters.deadline.as_secs_f64()).count();
    let of_crashes = |time: fn(&crate::scenario::report::Failure) -> Option<f64>| {
        Summary::of(&crashed.failures.iter().filter_map(time).collect::<Vec<_>>())
    };
    let runs = [publishing, crashing];
    let node_hours: f64 =
        runs.iter().map(|run| count(run.network().len()) * run.elapsed().as_secs_f64() / 3_600.0).sum();
    Measured {
        messages: spread.messages.len(),
        complete: times.len(),
        late: spread.messages.len() - in_time,
        time_to_all: times.get(spread.messages.len() / 2).copied(),
        time_to_all_max: times.last().copied(),
        crashes: crashed.failures.len(),
        detection_first: of_crashes(|failure| failure.first),
        detection_all: of_crashes(|failure| failure.last),
        node_hours,
        suspicions_per_node_hour: count(spread.suspected_wrongly + crashed.suspected_wrongly) / node_hours,
        false_deaths_per_node_hour: count(spread.false_positives + crashed.false_positives) / node_hours,
        bytes_per_second: spread.per_node.bytes_per_second,
        replay: vec![spread.replay, crashed.replay],
    }
}

/// The share of nodes that had a message, by time since it was published, over all messages.
fn curve(net: &Network) -> Vec<(f64, f64)> {
    let measured = net.measured();
    let mut delays: Vec<f64> = Vec::new();
    let mut published = 0;
    for publication in &measured.publications {
        let Some(spread) = net.published(publication.ticket).and_then(|key| measured.messages.get(key)) else {
            continue;
        };
        published += 1;
        delays.extend(spread.arrivals.iter().map(|arrival| arrival.at.saturating_sub(publication.at).as_secs_f64()));
    }
    delays.sort_by(f64::total_cmp);
    let all = count(net.len() * published).max(1.0);
    let each = delays.len().div_ceil(400).max(1);
    let last = delays.len().saturating_sub(1);
    let places = (0..delays.len()).step_by(each).chain((last > 0).then_some(last));
    places.map(|place| (delays[place], count(place + 1) / all)).collect()
}

/// The bare model with all nodes, if the virtual network had fewer.
pub(super) fn rounds(
    parameters: &Parameters,
    config: &ConfigBuilder,
    verified: usize,
    watch: &dyn Watch,
) -> Result<Option<Rounds>, Error> {
    if verified == parameters.nodes {
        return Ok(None);
    }
    let (nodes, loss, fanout) = (parameters.nodes, parameters.conditions.loss, count(config.fanout));
    let spread = Spread {
        nodes,
        mode: config.mode,
        fanout,
        loss,
        stop: config.stop,
        runs: MODEL_RUNS,
        seed: parameters.seed,
        ..Spread::default()
    };
    let outcome = spread::run(&spread, &Within::new(watch))?;
    if outcome.parameters.runs < MODEL_RUNS {
        return Err(Error::Stopped);
    }
    Ok(Some(Rounds {
        nodes,
        mean: outcome.time_last.mean,
        theory: theory::rounds_to_all(config.mode, nodes, fanout, loss).value,
        coverage: 1.0 - outcome.residue.mean,
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::model::Model;
    use super::*;
    use crate::jobs::Unwatched;

    fn measured(loss: f64, config: &ConfigBuilder, watch: &dyn Watch) -> Result<Measured, Error> {
        let conditions = Conditions { loss, ..Conditions::default() };
        let parameters = Parameters { nodes: 20, conditions, ..Parameters::default() };
        let predicted = Model::new(parameters.nodes, &parameters.conditions, config).figures();
        Ok(run(&parameters, config, &predicted, watch)?.measured)
    }

    #[test]
    fn suspicions_of_the_living_are_measured_where_probes_are_bad() {
        let bad = ConfigBuilder { probe_resends: 0, indirect_probes: 0, stream_probe: false, ..ConfigBuilder::lan() };
        let measured = measured(0.3, &bad, &Unwatched).unwrap();
        // Half of the probes fail, one a second and node; a member has thousands an hour, of which many fall together.
        assert!(measured.suspicions_per_node_hour > 100.0, "{measured:?}");
    }

    #[test]
    fn who_says_stop_does_not_wait_for_the_simulation() {
        struct Soon(AtomicUsize);
        impl Watch for Soon {
            fn on_progress(&self, _: usize, _: usize) {}
            fn goes_on(&self) -> bool {
                self.0.fetch_add(1, Ordering::Relaxed) < 10
            }
        }
        let asked = Soon(AtomicUsize::new(0));
        assert!(matches!(measured(0.0, &ConfigBuilder::lan(), &asked), Err(Error::Stopped)));
        assert!(asked.0.into_inner() < 15, "it went on after it had been told to stop");
    }
}
