//! Which settings are worth a thought, and which of them is the cheapest that does.

use std::time::Duration;

use rumormill_core::config::Mode;
use rumormill_core::{ConfigBuilder, StopRule};

use super::model::{Bill, Model};
use super::{Alternative, Conditions, Parameters};
use crate::jobs::{self, Unwatched};

/// From this latency on settings start from those for several regions.
const FAR: Duration = Duration::from_millis(20);
/// Suspicions of live members that a node may raise in an hour: one a day.
const SUSPICIONS_MAX: f64 = 1.0 / 24.0;
/// What is said to be possible has at most so much more time than the fastest.
pub(super) const ROUNDING_UP: f64 = 1.1;

const MODES: [Mode; 2] = [Mode::PushPull, Mode::Push];
const FANOUTS: [usize; 6] = [1, 2, 3, 4, 5, 6];
const INTERVALS_MS: [u64; 7] = [50, 100, 200, 500, 1_000, 2_000, 5_000];
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
}

/// Everything that is worth a thought.
pub(super) fn proposals(parameters: &Parameters) -> Vec<Proposal> {
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
    let proposals = jobs::run_each(&configs, &Unwatched, |config| proposal(parameters, config.clone()));
    proposals.into_iter().flatten().collect()
}

fn proposal(parameters: &Parameters, config: ConfigBuilder) -> Proposal {
    let model = Model::new(parameters.nodes, &parameters.conditions, &config);
    let Bill { time, bytes_per_second } = model.bill();
    let fits = parameters.bandwidth.is_none_or(|bandwidth| model.fits(bandwidth));
    let bandwidth_needed = model.bandwidth_needed(config.mtu_bytes);
    Proposal { config, time, bytes_per_second, fits, bandwidth_needed }
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

/// The cheapest that is in time and within the bandwidth.
pub(super) fn cheapest<'a>(proposals: &'a [Proposal], deadline: f64, parameters: &Parameters) -> Option<&'a Proposal> {
    let in_time = within(proposals, parameters).filter(|proposal| proposal.time <= deadline);
    in_time.min_by(|a, b| a.bytes_per_second.total_cmp(&b.bytes_per_second))
}

/// The fastest within the bandwidth; the fastest of all if nothing is within it.
pub(super) fn fastest<'a>(proposals: &'a [Proposal], parameters: &Parameters) -> &'a Proposal {
    let fastest = within(proposals, parameters).min_by(|a, b| a.time.total_cmp(&b.time));
    let least = || proposals.iter().min_by(|a, b| a.bandwidth_needed.total_cmp(&b.bandwidth_needed));
    fastest.or_else(least).expect("there are proposals for every cluster")
}

/// What can be had where not all can.
pub(super) fn alternative(proposals: &[Proposal], parameters: &Parameters) -> Alternative {
    let deadline = parameters.deadline.as_secs_f64();
    let fastest = within(proposals, parameters).map(|proposal| proposal.time).min_by(f64::total_cmp);
    let in_time = proposals.iter().filter(|proposal| proposal.time <= deadline);
    let bandwidth = in_time.map(|proposal| proposal.bandwidth_needed).min_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "above 0, far below 2^53")]
    let bandwidth = bandwidth.map(|bytes| bytes.ceil() as u64);
    Alternative { deadline: fastest.map(|time| time * ROUNDING_UP), bandwidth }
}

fn within<'a>(proposals: &'a [Proposal], parameters: &Parameters) -> impl Iterator<Item = &'a Proposal> {
    let bounded = parameters.bandwidth.is_some();
    proposals.iter().filter(move |proposal| proposal.fits || !bounded)
}
