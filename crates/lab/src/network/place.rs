//! Where machines lie, and what that adds to the time that datagrams take.

use std::time::Duration;

use rumormill_core::rng::Rng;

use super::Network;
use super::host::derived_seed;
use crate::micros;

/// A place in a square of side 1, and a height above it: the line that leads to the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    point: [f64; 2],
    /// From 0 to 2.
    height: f64,
}

/// Not those of any node or its life.
const SEED: u64 = 0x70_6c61_6365;
/// More pairs than this are not looked at.
const PAIRS_MAX: usize = 20_000;

impl Place {
    /// Of the machine of a number, in a run of a seed.
    pub(crate) fn drawn(seed: u64, node: usize) -> Self {
        let mut rng = Rng::new(derived_seed(seed ^ SEED, node, 0));
        Self { point: [rng.fraction(), rng.fraction()], height: 2.0 * rng.fraction() }
    }
}

/// By which part estimates of round trips are wrong, of random pairs of nodes.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct EstimateError {
    /// Half of them are better.
    pub median: f64,
    /// Nine of ten are better.
    pub p90: f64,
}

impl Network {
    /// How much longer a datagram takes from one machine to another because of where they lie, in microseconds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most minutes")]
    pub(crate) fn way(&self, from: usize, to: usize) -> u64 {
        let link = &self.options.link;
        if link.span.is_zero() && link.height.is_zero() || from == to {
            return 0;
        }
        let [Some(from), Some(to)] = [from, to].map(|node| self.hosts.get(node).map(|host| host.place)) else {
            return 0;
        };
        let [dx, dy] = [0, 1].map(|axis| from.point[axis] - to.point[axis]);
        let across = (dx * dx + dy * dy).sqrt() * link.span.as_secs_f64();
        let lines = (from.height + to.height) * link.height.as_secs_f64();
        ((across + lines) * 1e6 / 2.0) as u64
    }

    /// How long a datagram and its answer take between two machines, in the mean.
    pub fn round_trip(&self, a: usize, b: usize) -> Duration {
        let link = self.link();
        2 * link.latency + link.jitter + Duration::from_micros(self.way(a, b) + self.way(b, a))
    }

    /// How well the nodes that are up know where they are. `None` if fewer than two do.
    pub fn estimate_error(&self) -> Option<EstimateError> {
        let placed: Vec<_> = self.up().filter_map(|node| Some((node, self.node(node)?.coordinate()?))).collect();
        if placed.len() < 2 {
            return None;
        }
        let mut rng = Rng::new(SEED);
        let mut errors: Vec<f64> = (0..PAIRS_MAX)
            .map(|_| {
                let a = rng.below(placed.len());
                let b = (a + 1 + rng.below(placed.len() - 1)) % placed.len();
                let truth = micros(self.round_trip(placed[a].0, placed[b].0)).max(1);
                let estimate = micros(placed[a].1.round_trip_to(&placed[b].1));
                as_part(estimate.abs_diff(truth), truth)
            })
            .collect();
        errors.sort_by(f64::total_cmp);
        Some(EstimateError { median: errors[PAIRS_MAX / 2], p90: errors[PAIRS_MAX * 9 / 10] })
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a round trip")]
fn as_part(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use crate::{Link, Network, Options};

    #[test]
    fn ways_are_the_same_both_ways_longer_between_machines_that_lie_apart_and_add_their_lines() {
        let ms = std::time::Duration::from_millis;
        let link = Link { span: ms(100), height: ms(10), ..Link::default() };
        let mut net = Network::new(3).options(Options { nodes: 50, link, ..Options::default() });
        net = net.start_cold(0, ms(1));
        let pairs: Vec<_> = (0..50).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
        assert!(pairs.iter().all(|&(a, b)| net.way(a, b) == net.way(b, a)));
        // Half of a round trip: the diagonal of the square, and two lines of 20 ms.
        assert!(pairs.iter().all(|&(a, b)| net.way(a, b) <= 90_711));
        let mean = pairs.iter().map(|&(a, b)| net.way(a, b)).sum::<u64>() / pairs.len() as u64;
        // 0.52 of the side between two random points, and two lines of 10 ms, halved.
        assert!((28_000..44_000).contains(&mean), "{mean}");
        assert_eq!(net.way(1, 1), 0);
        assert_eq!(
            net.round_trip(1, 2),
            2 * ms(0)
                + 2 * Link::default().latency
                + Link::default().jitter
                + 2 * std::time::Duration::from_micros(net.way(1, 2))
        );
        net.set_link(Link::default());
        assert_eq!(net.way(1, 2), 0);
    }
}
