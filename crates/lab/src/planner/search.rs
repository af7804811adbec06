//! Which settings are worth a thought, and which of them is the cheapest that does.

use std::time::Duration;

use rumormill_core::config::Mode;
use rumormill_core::{ConfigBuilder, StopRule};

use super::model::{Bill, Model};
use super::{Conditions, Parameters};
use crate::Error;
use crate::jobs::{self, Watch, Within};

/// From this latency on settings start from those for several regions.
const FAR: Duration = Duration::from_millis(20);
/// Suspicions of live members that a node may raise in an hour: one a day.
const SUSPICIONS_MAX: f64 = 1.0 / 24.0;
/// What is said to be possible has at most so much more time than the fastest.
pub(super) const ROUNDING_UP: f64 = 1.1;

const MODES: [Mode; 2] = [Mode::PushPull, Mode::Push];
const FANOUTS: [usize; 6] = [1, 2, 3, 4, 5, 6];
const INTERVALS_MS: [u64; 7] = [50, 100, 200, 500, 1_000, 2_000, 5_000];
/// The share of nodes that the push shall reach by itself, before comparisons help: as many as the share of messages that
/// shall be in time. Who relies on comparisons for more has nothing left when they are slow.
const COVERAGE_MIN: f64 = 0.99;
const LAMBDAS: [f64; 9] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0];

/// Settings, how fast they are, and what they cost.
#[derive(Clone, Debug)]
pub(super) struct Proposal {
    pub(super) config: ConfigBuilder,
    /// Until 99 of 100 messages have reached all.
    pub(super) time: f64,
    bytes_per_second: f64,
    /// Whether it stays within the bandwidth asked for.
    fits: bool,
    bandwidth_needed: f64,
    /// Whether the push alone reaches nearly all.
    is_sturdy: bool,
}

/// Everything that is worth a thought.
///
/// # Errors
/// That somebody said stop.
pub(super) fn proposals(parameters: &Parameters, watch: &dyn Watch) -> Result<Vec<Proposal>, Error> {
    let base = base(parameters);
    let mut configs = Vec::new();
    for mode in MODES {
        for fanout in FANOUTS.into_iter().filter(|fanout| *fanout < parameters.nodes) {
            for millis in INTERVALS_MS {
                for lambda in LAMBDAS {
                    let gossip_interval = Duration::from_millis(millis);
                    let stop = StopRule::TransmitLimit { lambda };
                    let config = ConfigBuilder { mode, fanout, gossip_interval, stop, ..base.clone() };
                    if config.clone().build().is_ok() {
                        configs.push(config);
                    }
                }
            }
        }
    }
    let proposals = jobs::run_each(&configs, &Within::new(watch), |config| proposal(parameters, config.clone()));
    proposals.into_iter().collect::<Option<_>>().ok_or(Error::Stopped)
}

fn proposal(parameters: &Parameters, config: ConfigBuilder) -> Proposal {
    let model = Model::new(parameters.nodes, &parameters.conditions, &config);
    let Bill { time, bytes_per_second } = model.bill();
    let fits = parameters.bandwidth.is_none_or(|bandwidth| model.fits(bandwidth));
    let bandwidth_needed = model.bandwidth_needed(config.mtu_bytes);
    let is_sturdy = model.coverage() >= COVERAGE_MIN;
    Proposal { config, time, bytes_per_second, fits, bandwidth_needed, is_sturdy }
}

/// What does not depend on the goal: a preset by distance, time for the round trip, probes that few live members fail.
fn base(parameters: &Parameters) -> ConfigBuilder {
    let Conditions { latency, jitter, .. } = parameters.conditions;
    let mut config = if latency >= FAR { ConfigBuilder::wan() } else { ConfigBuilder::lan() };
    config.bandwidth_max = parameters.bandwidth.unwrap_or(0);
    let trip = 2 * (latency + jitter);
    config.probe_timeout = config.probe_timeout.max(3 * trip);
    config.probe_interval = config.probe_interval.max(2 * config.probe_timeout);
    config.suspicion_timeout_min = config.suspicion_timeout_min.max(config.probe_timeout);
    for _ in 0..8 {
        let model = Model::new(parameters.nodes, &parameters.conditions, &config);
        if model.suspicions() <= SUSPICIONS_MAX {
            break;
        }
        // More pings cost the living nothing, more relays help where the direct way is bad; each at its time.
        if config.probe_resends < 6 {
            config.probe_resends += 1;
        } else {
            config.indirect_probes += 1;
        }
    }
    config
}

/// The cheapest that is in time and within the bandwidth; of those whose push reaches nearly all, if there is one.
pub(super) fn cheapest(proposals: &[Proposal], deadline: f64) -> Option<&Proposal> {
    let in_time = || proposals.iter().filter(|proposal| proposal.fits && proposal.time <= deadline);
    let by_cost = |a: &&Proposal, b: &&Proposal| a.bytes_per_second.total_cmp(&b.bytes_per_second);
    in_time().filter(|proposal| proposal.is_sturdy).min_by(by_cost).or_else(|| in_time().min_by(by_cost))
}

/// The fastest within the bandwidth; what needs the least of it if nothing is within it.
pub(super) fn fastest(proposals: &[Proposal]) -> &Proposal {
    let within = proposals.iter().filter(|proposal| proposal.fits);
    let fastest = within.min_by(|a, b| a.time.total_cmp(&b.time));
    let least = || proposals.iter().min_by(|a, b| a.bandwidth_needed.total_cmp(&b.bandwidth_needed));
    fastest.or_else(least).expect("there are proposals for every cluster")
}

/// The least bandwidth with which the formulas keep the deadline.
pub(super) fn bandwidth_needed(proposals: &[Proposal], deadline: f64) -> Option<u64> {
    let in_time = proposals.iter().filter(|proposal| proposal.time <= deadline);
    let bandwidth = in_time.map(|proposal| proposal.bandwidth_needed).min_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "above 0, far below 2^53")]
    bandwidth.map(|bytes| bytes.ceil() as u64)
}
