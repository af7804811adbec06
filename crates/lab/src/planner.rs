//! Settings for a goal: proposed from formulas, predicted, and verified at once by simulation.
//!
//! A plan asks in which time a message shall reach all of so many nodes, at a given loss, and what a node may send. The
//! model says what a node of given settings does; the search takes the cheapest settings that reach the goal;
//! then real nodes on the virtual network do it, and prediction stands beside measurement. Where they show that the goal is
//! missed, a tighter one is planned for. A goal that cannot be reached is said to be so, with what can be.
//!
//! Pull is not proposed: news would wait for the next question, which a quiet node rarely asks.

mod model;
mod search;
mod verify;

use std::time::Duration;

use rumormill_core::{ConfigBuilder, duration};
use serde::{Serialize, Serializer};
use toml::Value;

pub use model::Figures;
pub use verify::{Measured, Rounds};

use self::model::Model;
use self::search::Proposal;
use crate::chart::{Axis, Chart, Series};
use crate::jobs::Watch;
use crate::{Error, percent, settings};

/// What the cluster will have to live with.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// The share of datagrams that gets lost.
    pub loss: f64,
    /// How long a datagram takes at least, one way.
    pub latency: Duration,
    /// How much longer it may take.
    pub jitter: Duration,
    /// How many messages are published in a second, by all nodes together.
    pub rate: f64,
    /// How large the payload of a message is.
    pub payload: usize,
}

impl Default for Conditions {
    /// A quiet local network, on which somebody says a little every second.
    fn default() -> Self {
        let crate::Link { latency, jitter, .. } = crate::Link::default();
        Self { loss: 0.0, latency, jitter, rate: 1.0, payload: 100 }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// How many nodes.
    pub nodes: usize,
    /// By when 99 of 100 messages shall have reached all of them.
    pub deadline: Duration,
    /// What a node may send in any second, in bytes with headers; `None` for no bound.
    pub bandwidth: Option<u64>,
    /// What they will have to live with.
    pub conditions: Conditions,
    /// What all draws of the simulation derive from.
    pub seed: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            nodes: 100,
            deadline: Duration::from_secs(1),
            bandwidth: None,
            conditions: Conditions::default(),
            seed: 1,
        }
    }
}

/// The longest payload that is pushed rather than announced, with room for its header.
const PAYLOAD_MAX: usize = 900;

impl Parameters {
    /// Refuses what cannot be planned for.
    ///
    /// # Errors
    /// [`Error::Value`], naming the parameter.
    pub fn check(&self) -> Result<(), Error> {
        let Conditions { loss, latency, jitter, rate, payload } = self.conditions;
        let most = ConfigBuilder::lan().members_max;
        let rule = format!("from 2 to {most}, the most members that a full view holds");
        Error::unless((2..=most).contains(&self.nodes), "nodes", self.nodes, &rule)?;
        Error::unless((0.0..1.0).contains(&loss), "loss", loss, "a share from 0 to below 1")?;
        let deadline = !self.deadline.is_zero() && self.deadline <= Duration::from_hours(1);
        Error::unless(deadline, "deadline", duration::format(self.deadline), "above 0, at most 1h")?;
        for (field, time) in [("latency", latency), ("jitter", jitter)] {
            Error::unless(time <= Duration::from_secs(1), field, duration::format(time), "at most 1s")?;
        }
        Error::unless((0.0..=100.0).contains(&rate), "rate", rate, "from 0 to 100 messages per second")?;
        let rule = format!("at most {PAYLOAD_MAX} bytes: what is larger is announced, which is not modelled");
        Error::unless(payload <= PAYLOAD_MAX, "payload", payload, &rule)?;
        self.check_bandwidth()
    }

    /// A node has a least bandwidth of its own.
    fn check_bandwidth(&self) -> Result<(), Error> {
        let Some(bandwidth) = self.bandwidth else { return Ok(()) };
        let above_zero = "above 0; leave it out for no bound";
        Error::unless(bandwidth > 0, "bandwidth", bandwidth, above_zero)?;
        let bounded = ConfigBuilder { bandwidth_max: bandwidth, ..ConfigBuilder::lan() };
        match bounded.build() {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::value("bandwidth", error.value, error.rule)),
        }
    }
}

/// The settings that a plan decides about, in the order in which they are written.
const PLANNED: [&str; 18] = [
    "mode",
    "fanout",
    "gossip_interval",
    "gossip_interval_max",
    "repair_interval",
    "stop",
    "forward",
    "bandwidth_max",
    "probe_interval",
    "probe_timeout",
    "probe_timeout_min",
    "probe_resends",
    "indirect_probes",
    "suspicion_timeout_min",
    "suspicion_timeout_log",
    "suspicion_timeout_factor",
    "confirmations",
    "members_max",
];

/// What is proposed, as a config file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings(Vec<(&'static str, Value)>);

impl Settings {
    fn of(config: &ConfigBuilder) -> Self {
        let table = settings::table_of(config);
        Self(PLANNED.into_iter().filter_map(|key| Some((key, table.get(key)?.clone()))).collect())
    }

    /// Keys and values as they would be written on a command line.
    pub fn shown(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        self.0.iter().map(|(key, value)| (*key, settings::shown(value)))
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// What can be had where not all can.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Alternative {
    /// A deadline that the simulation of these settings met within the bandwidth, in seconds: above the one asked for.
    pub deadline: Option<f64>,
    /// The least bandwidth with which the deadline asked for can be met: predicted, and not simulated.
    pub bandwidth: Option<u64>,
}

/// The document of `rumor lab plan`; times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// How many nodes.
    pub nodes: usize,
    /// The share of datagrams lost.
    pub loss: f64,
    /// The deadline asked for.
    pub deadline: f64,
    /// The bound asked for.
    pub bandwidth: Option<u64>,
    /// How long a datagram takes at least.
    pub latency: f64,
    /// How much longer it may take.
    pub jitter: f64,
    /// Messages in a second.
    pub rate: f64,
    /// Bytes of a payload.
    pub payload: usize,
    /// The seed.
    pub seed: u64,
    /// Whether formulas and simulation say that the goal is met.
    pub feasible: bool,
    /// What can be had instead; only where the goal cannot be met.
    pub alternative: Option<Alternative>,
    /// The settings, of the alternative where there is one.
    pub settings: Settings,
    /// What they will do.
    pub predicted: Figures,
    /// How many nodes the simulation had.
    pub verified_nodes: usize,
    /// What was predicted for so many, and for the simulation's rate of messages.
    pub predicted_there: Figures,
    /// What they did.
    pub measured: Measured,
    /// The bare model with all nodes, where the simulation had fewer.
    pub rounds: Option<Rounds>,
    /// How long it took; set by whoever measures.
    pub elapsed: Option<f64>,
    #[serde(skip)]
    config: ConfigBuilder,
    #[serde(skip)]
    curves: Curves,
}

/// Share of nodes informed, by time.
#[derive(Clone, Debug, Default, PartialEq)]
struct Curves {
    predicted: Vec<(f64, f64)>,
    measured: Vec<(f64, f64)>,
}

/// The goal is planned for again, tighter, where the simulation missed it.
const TRIES: [f64; 3] = [1.0, 0.7, 0.5];

/// Plans, predicts and verifies.
///
/// # Errors
/// A parameter that breaks its rule; that somebody said stop.
pub fn run(parameters: &Parameters, watch: &dyn Watch) -> Result<Outcome, Error> {
    parameters.check()?;
    let proposals = search::proposals(parameters, watch)?;
    let deadline = parameters.deadline.as_secs_f64();
    // Where formulas already say no, the least deadline that they think possible is planned for.
    let outcome = match tried(parameters, &proposals, watch)? {
        Some(outcome) if outcome.is_met() => return Ok(Outcome { feasible: true, ..outcome }),
        Some(outcome) => outcome,
        None => {
            let fastest = search::fastest(&proposals);
            let least = Duration::from_secs_f64(fastest.time * search::ROUNDING_UP).max(parameters.deadline);
            let relaxed = Parameters { deadline: least, ..parameters.clone() };
            match tried(&relaxed, &proposals, watch)? {
                Some(outcome) => outcome,
                None => verified(&relaxed, fastest, watch)?,
            }
        }
    };
    // An answer that asks for no more than was granted would contradict that it cannot be done.
    let needed = search::bandwidth_needed(&proposals, deadline);
    let alternative = Alternative {
        deadline: outcome.deadline_met().filter(|met| *met > deadline),
        bandwidth: needed.filter(|needed| parameters.bandwidth.is_some_and(|granted| *needed > granted)),
    };
    Ok(Outcome { deadline, alternative: Some(alternative), ..outcome })
}

/// The cheapest settings that the simulation found to meet the goal; if none did, the last that were tried. `None` where
/// formulas know of none.
fn tried(parameters: &Parameters, proposals: &[Proposal], watch: &dyn Watch) -> Result<Option<Outcome>, Error> {
    let mut last = None;
    for part in TRIES {
        let goal = parameters.deadline.as_secs_f64() * part;
        let Some(chosen) = search::cheapest(proposals, goal) else { break };
        let outcome = verified(parameters, chosen, watch)?;
        let is_met = outcome.is_met();
        last = Some(outcome);
        if is_met {
            break;
        }
    }
    Ok(last)
}

fn verified(parameters: &Parameters, proposal: &Proposal, watch: &dyn Watch) -> Result<Outcome, Error> {
    let config = &proposal.config;
    let predicted = Model::new(parameters.nodes, &parameters.conditions, config).figures();
    let verification = verify::run(parameters, config, &predicted, watch)?;
    let model = Model::new(verification.nodes, &verification.conditions, config);
    Ok(Outcome {
        nodes: parameters.nodes,
        loss: parameters.conditions.loss,
        deadline: parameters.deadline.as_secs_f64(),
        bandwidth: parameters.bandwidth,
        latency: parameters.conditions.latency.as_secs_f64(),
        jitter: parameters.conditions.jitter.as_secs_f64(),
        rate: parameters.conditions.rate,
        payload: parameters.conditions.payload,
        seed: parameters.seed,
        feasible: false,
        alternative: None,
        settings: Settings::of(config),
        predicted,
        verified_nodes: verification.nodes,
        predicted_there: model.figures(),
        measured: verification.measured,
        rounds: verify::rounds(parameters, config, verification.nodes, watch)?,
        elapsed: None,
        config: config.clone(),
        curves: Curves { predicted: model.curve().points(), measured: verification.curve },
    })
}

impl Outcome {
    /// Whether the simulation reached the goal: of its messages at most as many were late as chance allows one of 100.
    fn is_met(&self) -> bool {
        self.measured.late <= verify::LATE_MAX && self.is_within_bandwidth()
    }

    /// Whether the node that sent most stayed within the bandwidth over the whole run; that it does so in any second is
    /// what its `bandwidth_max` sees to.
    fn is_within_bandwidth(&self) -> bool {
        let most = self.measured.bytes_per_second.max;
        self.bandwidth.is_none_or(|bandwidth| most <= model::bytes(bandwidth))
    }

    /// A deadline that these settings met: the one that they were chosen for, or else that of the slowest message,
    /// provided that none was left behind.
    fn deadline_met(&self) -> Option<f64> {
        let Measured { messages, complete, time_to_all_max, .. } = self.measured;
        let slowest = time_to_all_max.filter(|_| complete == messages && self.is_within_bandwidth());
        if self.is_met() { Some(self.deadline) } else { slowest }
    }

    /// The proposal as a config file that `rumor agent --config` reads.
    pub fn to_toml(&self) -> String {
        let Self { nodes, loss, bandwidth, rate, payload, seed, .. } = self;
        let [deadline, latency, jitter] =
            [self.deadline, self.latency, self.jitter].map(|time| duration::format(Duration::from_secs_f64(time)));
        let bandwidth = bandwidth.map(|bytes| format!(" --bandwidth {bytes}")).unwrap_or_default();
        let mut text = format!(
            "# rumor lab plan --nodes {nodes} --loss {loss} --deadline {deadline}{bandwidth} --rate {rate} \
             --payload {payload} --latency {latency} --jitter {jitter} --seed {seed}\n"
        );
        if !self.feasible {
            text.push_str("# These settings do not reach that goal; they come as near as was found.\n");
        }
        let lines = self.settings.0.iter().map(|(key, value)| format!("{key} = {value}\n"));
        text.extend(lines);
        text
    }

    /// The settings themselves.
    pub fn config(&self) -> &ConfigBuilder {
        &self.config
    }

    /// How a message spread, predicted and measured.
    pub fn chart(&self) -> Chart {
        Chart {
            title: format!("A message among {} nodes, loss {} %", self.verified_nodes, percent(self.loss)),
            x: Axis::linear("time since publication (s)"),
            y: Axis::linear("nodes that have it (share)"),
            series: vec![
                Series::measured("virtual network", self.curves.measured.clone()),
                Series::theory("predicted", self.curves.predicted.clone()),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Unwatched;

    #[test]
    fn what_cannot_be_planned_for_is_refused_by_field_value_and_rule() {
        let conditions = |loss: f64| Conditions { loss, ..Conditions::default() };
        let sound = Parameters::default();
        let wrong = [
            (Parameters { nodes: 1, ..sound.clone() }, "nodes is 1, must be from 2 to 65536"),
            (Parameters { nodes: 65_537, ..sound.clone() }, "nodes is 65537, must be"),
            (Parameters { conditions: conditions(1.0), ..sound.clone() }, "loss is 1, must be"),
            (Parameters { conditions: conditions(-0.1), ..sound.clone() }, "loss is -0.1, must be"),
            (Parameters { conditions: conditions(f64::NAN), ..sound.clone() }, "loss is NaN, must be"),
            (Parameters { deadline: Duration::ZERO, ..sound.clone() }, "deadline is 0s, must be above 0"),
            (Parameters { bandwidth: Some(0), ..sound.clone() }, "bandwidth is 0, must be above 0"),
            (
                Parameters { bandwidth: Some(6_911), ..sound.clone() },
                "bandwidth is 6911, must be 0 for no bound, or at least 6912",
            ),
            (
                Parameters { conditions: Conditions { payload: 901, ..Conditions::default() }, ..sound.clone() },
                "payload is 901, must be at most 900",
            ),
            (
                Parameters { conditions: Conditions { rate: f64::INFINITY, ..Conditions::default() }, ..sound },
                "rate is inf, must be",
            ),
        ];
        for (parameters, rule) in wrong {
            let error = run(&parameters, &Unwatched).unwrap_err().to_string();
            assert!(error.starts_with(rule), "{error}");
        }
    }

    #[test]
    fn a_plan_is_kept_by_real_nodes_and_its_file_holds_its_settings() {
        let outcome = run(&Parameters { nodes: 30, ..Parameters::default() }, &Unwatched).unwrap();
        assert!(outcome.feasible && outcome.alternative.is_none() && outcome.measured.late <= verify::LATE_MAX);
        let (there, measured) = (outcome.predicted_there, &outcome.measured);
        // What docs/planner.md promises of the formulas.
        for (predicted, measured) in [
            (there.time_to_all, measured.time_to_all.unwrap()),
            (there.bytes_per_second, measured.bytes_per_second.mean),
            (there.detection_first, measured.detection_first.unwrap().mean),
        ] {
            assert!((0.5..=2.0).contains(&(predicted / measured)), "{predicted} predicted, {measured} measured");
        }
        let read: ConfigBuilder = toml::from_str(&outcome.to_toml()).unwrap();
        assert_eq!(&read, outcome.config());
        read.build().unwrap();
    }

    #[test]
    fn what_cannot_be_done_is_said_with_what_can() {
        let conditions = Conditions { rate: 5.0, ..Conditions::default() };
        let parameters = Parameters {
            nodes: 30,
            deadline: Duration::from_millis(100),
            bandwidth: Some(7_000),
            conditions,
            ..Parameters::default()
        };
        let outcome = run(&parameters, &Unwatched).unwrap();
        assert!(!outcome.feasible);
        let Some(Alternative { deadline: Some(deadline), bandwidth: Some(bandwidth) }) = outcome.alternative else {
            panic!("{:?}", outcome.alternative)
        };
        assert!(deadline > 0.1 && bandwidth > 7_000, "{deadline}, {bandwidth}");
        // The deadline was met by these very settings; the bandwidth is the formulas' word.
        assert!(outcome.measured.late <= verify::LATE_MAX || outcome.measured.time_to_all_max == Some(deadline));
        let wider = Parameters { bandwidth: Some(bandwidth), ..parameters };
        let proposals = search::proposals(&wider, &Unwatched).unwrap();
        assert!(search::cheapest(&proposals, 0.1).is_some(), "{bandwidth} bytes are not enough");
    }
}
