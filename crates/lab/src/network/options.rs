//! Everything that a run depends on besides its seed, and how it is drawn from one.

use std::time::Duration;

use rumormill_core::StopRule;
use rumormill_core::config::{ConfigBuilder, Forward, Mode};
use rumormill_core::rng::Rng;

use super::act::{Act, DiskFate, Planned};
use super::link::Link;

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes there are at the start.
    pub nodes: usize,
    /// How many of them are contacts of a cold start: each other node is told one of them.
    pub contacts: usize,
    /// The network between all of them.
    pub link: Link,
    /// What a stream carries, in bytes per second and direction.
    pub stream_bytes_per_second: u64,
    /// By how much a node's time of day may be wrong, either way.
    pub clock_skew: Duration,
    /// By how many millionths it may run too fast or too slow.
    pub clock_drift_ppm: u32,
    /// By how many millionths its monotonic clock may.
    pub rate_drift_ppm: u32,
    /// How long a write to disk takes at most; a tenth of it at least.
    pub disk_delay: Duration,
    /// Whether nodes have a data directory.
    pub durable: bool,
    /// The settings of every node.
    pub config: ConfigBuilder,
    /// What befalls the network, by time since the start; of a joined start, since all have joined.
    pub plan: Vec<Planned>,
}

impl Default for Options {
    /// One node on a quiet local network, with the `lan` preset.
    fn default() -> Self {
        Self {
            nodes: 1,
            contacts: 1,
            link: Link::default(),
            stream_bytes_per_second: 125_000_000,
            clock_skew: Duration::ZERO,
            clock_drift_ppm: 0,
            rate_drift_ppm: 0,
            disk_delay: Duration::from_millis(2),
            durable: true,
            config: ConfigBuilder::lan(),
            plan: Vec::new(),
        }
    }
}

/// How long drawn faults go on.
const CHAOS: Duration = Duration::from_mins(1);

impl Options {
    /// Options that are a function of the seed: the network, the settings and one minute of faults and work. Each kind
    /// of trouble is left out of some runs, so that one kind cannot hide another ("swarm testing", Groce et al.
    /// 2012, as in `TigerBeetle`'s VOPR).
    pub fn drawn(seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let nodes = 3 + rng.below(22);
        Self {
            nodes,
            contacts: 1,
            link: drawn_link(rng),
            stream_bytes_per_second: pick(rng, &[1_000_000, 12_500_000, 125_000_000]),
            clock_skew: Duration::from_millis(pick(rng, &[0, 10, 1_000, 10_000])),
            clock_drift_ppm: pick(rng, &[0, 50, 500]),
            rate_drift_ppm: 0,
            disk_delay: Duration::from_millis(pick(rng, &[1, 10, 200])),
            durable: true,
            config: drawn_config(rng),
            plan: drawn_plan(nodes, rng),
        }
    }
}

fn drawn_link(rng: &mut Rng) -> Link {
    Link {
        latency: Duration::from_micros(pick(rng, &[50, 500, 5_000, 40_000])),
        jitter: Duration::from_micros(pick(rng, &[0, 100, 2_000, 20_000])),
        span: Duration::ZERO,
        height: Duration::ZERO,
        loss: pick(rng, &[0.0, 0.0, 0.01, 0.1, 0.25]),
        duplication: pick(rng, &[0.0, 0.01, 0.2]),
        reordering: pick(rng, &[0.0, 0.05, 0.3]),
    }
}

fn drawn_config(rng: &mut Rng) -> ConfigBuilder {
    ConfigBuilder {
        mode: pick(rng, &[Mode::PushPull, Mode::PushPull, Mode::Push, Mode::Pull]),
        fanout: 1 + rng.below(4),
        stop: pick(
            rng,
            &[
                StopRule::TransmitLimit { lambda: 4.0 },
                StopRule::TransmitLimit { lambda: 1.0 },
                StopRule::FeedbackCounter { k: 2 },
                StopRule::FeedbackCoin { k: 2 },
                StopRule::BlindCounter { k: 8 },
                StopRule::BlindCoin { k: 8 },
                StopRule::ForwardOnce,
            ],
        ),
        forward: pick(rng, &[Forward::AtOnce, Forward::AtRounds]),
        bandwidth_max: pick(rng, &[0, 0, 0, 20_000, 100_000]),
        ..ConfigBuilder::lan()
    }
}

/// A kind of trouble.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Death,
    Pause,
    Partition,
    OneWay,
    Disk,
    Departure,
}

impl Trouble {
    /// Each kind with the share of runs that know it.
    const ALL: [(Self, f64); 6] = [
        (Self::Death, 0.6),
        (Self::Pause, 0.4),
        (Self::Partition, 0.5),
        (Self::OneWay, 0.3),
        (Self::Disk, 0.2),
        (Self::Departure, 0.2),
    ];
}

fn drawn_plan(nodes: usize, rng: &mut Rng) -> Vec<Planned> {
    let troubles: Vec<_> =
        Trouble::ALL.into_iter().filter(|&(_, share)| rng.chance(share)).map(|(trouble, _)| trouble).collect();
    let mut plan = Vec::new();
    // A few seconds in peace first, in most runs: trouble during the join is its own kind of run.
    let mut at = Duration::from_millis(pick(rng, &[0, 5_000, 5_000, 5_000]));
    while at < CHAOS && !troubles.is_empty() {
        let trouble = pick(rng, &troubles);
        plan.extend(drawn_trouble(trouble, at, nodes, rng));
        at += Duration::from_millis(rng.below(8_000) as u64);
    }
    let works = rng.below(60);
    plan.extend((0..works).map(|_| {
        let bytes = pick(rng, &[1, 100, 100, 1_000, 5_000, 40_000]);
        planned(Duration::from_millis(rng.below(60_000) as u64), Act::Publish(rng.below(nodes), bytes))
    }));
    let writes = pick(rng, &[0, 0, 20, 100]);
    plan.extend((0..writes).map(|_| {
        let at = Duration::from_millis(rng.below(60_000) as u64);
        planned(at, Act::Write(rng.below(nodes)))
    }));
    plan.sort_by_key(|planned| planned.at);
    plan
}

/// One trouble and, where it ends, its end.
fn drawn_trouble(trouble: Trouble, at: Duration, nodes: usize, rng: &mut Rng) -> Vec<Planned> {
    let node = rng.below(nodes);
    let length = Duration::from_millis(pick(rng, &[50, 800, 3_000, 10_000, 25_000]));
    let end = at + length;
    match trouble {
        Trouble::Death => {
            let down = pick(rng, &[Act::Crash(node), Act::Kill(node)]);
            let fate = pick(rng, &[DiskFate::Kept, DiskFate::Kept, DiskFate::Lost]);
            vec![planned(at, down), planned(end, Act::Restart(node, fate))]
        }
        Trouble::Pause => vec![planned(at, Act::Pause(node, length.min(Duration::from_secs(8))))],
        Trouble::Partition => {
            let group = (0..nodes).filter(|_| rng.chance(0.4)).collect();
            vec![planned(at, Act::Partition(vec![group])), planned(end, Act::Heal)]
        }
        Trouble::OneWay => {
            let other = (node + 1 + rng.below(nodes - 1)) % nodes;
            vec![planned(at, Act::OneWay(node, other)), planned(end, Act::Heal)]
        }
        Trouble::Disk => vec![planned(at, Act::DiskFails(node)), planned(end, Act::DiskWorks(node))],
        Trouble::Departure => vec![planned(at, Act::Leave(node))],
    }
}

fn planned(at: Duration, act: Act) -> Planned {
    Planned { at, act }
}

pub(crate) fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len())].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_options_every_time_and_another_seed_others() {
        let drawn = |seed| format!("{:?}", Options::drawn(seed));
        assert_eq!(drawn(5), drawn(5));
        assert_ne!(drawn(5), drawn(6));
    }

    #[test]
    fn drawn_settings_are_valid_and_plans_name_only_nodes_that_exist() {
        for seed in 0..500 {
            let options = Options::drawn(seed);
            options.config.clone().build().unwrap();
            assert!(options.plan.is_sorted_by_key(|planned| planned.at));
            assert!(options.link.loss < 1.0);
        }
    }

    #[test]
    fn every_kind_of_trouble_is_drawn_sooner_or_later() {
        let plans = (0..200).flat_map(|seed| Options::drawn(seed).plan);
        let all: String = plans.map(|planned| planned.to_string()).collect();
        for word in
            ["crash:", "kill:", "restart:", ":lost", "pause:", "partition:", "oneway:", "heal", "disk-fails:", "leave:"]
        {
            assert!(all.contains(word), "{word} never drawn");
        }
    }
}
