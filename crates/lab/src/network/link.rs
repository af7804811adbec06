//! What happens to a datagram between two machines, and which machines reach each other.

use std::collections::BTreeSet;
use std::time::Duration;

use rumormill_core::rng::Rng;

use crate::micros;

/// How the network treats a datagram: the same between all machines, but for how far apart they lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// How long it takes at least, one way.
    pub latency: Duration,
    /// How much longer it may take: uniform from zero to this, each datagram on its own.
    pub jitter: Duration,
    /// The side of the square in which machines lie at random places, as a round trip: their distance is added. Zero: all
    /// in one place.
    pub span: Duration,
    /// The round trip over the line that leads to a machine: from zero to twice this, added at both ends.
    pub height: Duration,
    /// The share that is lost, 0 to below 1.
    pub loss: f64,
    /// The share that arrives twice, the second time with a delay of its own.
    pub duplication: f64,
    /// The share that is held back for up to four times latency and jitter, so that later ones overtake it.
    pub reordering: f64,
}

impl Default for Link {
    /// A quiet local network: half a millisecond, nothing lost.
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(500),
            jitter: Duration::from_micros(100),
            span: Duration::ZERO,
            height: Duration::ZERO,
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
        }
    }
}

impl Link {
    /// The same network on a day when nothing gets lost, repeated or out of order.
    #[must_use]
    pub fn healed(self) -> Self {
        Self { loss: 0.0, duplication: 0.0, reordering: 0.0, ..self }
    }

    /// The delays in microseconds with which copies of one datagram arrive: none, one or two.
    pub(crate) fn deliveries(&self, rng: &mut Rng) -> impl Iterator<Item = u64> + use<> {
        let lost = happens(self.loss, rng);
        let first = (!lost).then(|| self.delay(rng));
        let second = (!lost && happens(self.duplication, rng)).then(|| self.delay(rng));
        first.into_iter().chain(second)
    }

    /// The delay in microseconds of one datagram that is not lost.
    pub(crate) fn delay(&self, rng: &mut Rng) -> u64 {
        let mut delay = self.plain_delay(rng);
        if happens(self.reordering, rng) {
            delay += below(4 * micros(self.latency + self.jitter) + 1, rng);
        }
        delay
    }

    /// Latency and jitter alone; at least a microsecond, so that nothing arrives in the moment in which it is sent.
    pub(crate) fn plain_delay(&self, rng: &mut Rng) -> u64 {
        let jitter = if self.jitter.is_zero() { 0 } else { below(micros(self.jitter) + 1, rng) };
        (micros(self.latency) + jitter).max(1)
    }

    /// How much later a piece of a stream arrives because segments of it had to be sent again, and again.
    pub(crate) fn retransmissions(&self, bytes: usize, rng: &mut Rng) -> u64 {
        let mut lost = bytes.div_ceil(SEGMENT_BYTES).max(1);
        let mut timeout = RETRANSMISSION_TIMEOUT_MIN.max(4 * micros(self.latency));
        let mut delay = 0;
        loop {
            lost = (0..lost).filter(|_| happens(self.loss, rng)).count();
            if lost == 0 {
                return delay;
            }
            delay += timeout;
            timeout = (2 * timeout).min(RETRANSMISSION_TIMEOUT_MAX);
        }
    }
}

/// Payload of a TCP segment on Ethernet.
pub(crate) const SEGMENT_BYTES: usize = 1_448;
/// Linux' `TCP_RTO_MIN`, in microseconds.
pub(crate) const RETRANSMISSION_TIMEOUT_MIN: u64 = 200_000;
/// Far below Linux' 120 s: what is that late is given up by the stream's timeout anyway.
pub(crate) const RETRANSMISSION_TIMEOUT_MAX: u64 = 5_000_000;

fn happens(share: f64, rng: &mut Rng) -> bool {
    share > 0.0 && rng.chance(share)
}

fn below(bound: u64, rng: &mut Rng) -> u64 {
    rng.below(usize::try_from(bound).expect("64-bit machines")) as u64
}

/// Which machines reach which.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cuts {
    /// The side of a partition on which a machine is; empty while there is none.
    sides: Vec<usize>,
    /// Pairs (from, to) between which nothing gets through in this direction.
    oneway: BTreeSet<(usize, usize)>,
}

impl Cuts {
    /// Each group on its own, and all machines that are in none of them together. Machines come `nodes` in number.
    pub(crate) fn partition(&mut self, nodes: usize, groups: &[Vec<usize>]) {
        self.sides = vec![0; nodes];
        for (side, group) in groups.iter().enumerate() {
            for &node in group {
                self.sides[node] = side + 1;
            }
        }
    }

    pub(crate) fn oneway(&mut self, from: usize, to: usize) {
        self.oneway.insert((from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.sides.clear();
        self.oneway.clear();
    }

    /// Whether a datagram gets nowhere.
    pub(crate) fn cut(&self, from: usize, to: usize) -> bool {
        // A machine that came after the partition stands with those that are in no group.
        let side = |node: usize| self.sides.get(node).copied().unwrap_or(0);
        side(from) != side(to) || (!self.oneway.is_empty() && self.oneway.contains(&(from, to)))
    }

    /// Whether a stream gets nowhere: it needs both directions.
    pub(crate) fn cut_either_way(&self, a: usize, b: usize) -> bool {
        self.cut(a, b) || self.cut(b, a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_duplication_come_as_often_as_asked() {
        let link = Link { loss: 0.2, duplication: 0.1, ..Link::default() };
        let mut rng = Rng::new(1);
        let counts: Vec<usize> = (0..10_000).map(|_| link.deliveries(&mut rng).count()).collect();
        let lost = counts.iter().filter(|&&n| n == 0).count();
        let twice = counts.iter().filter(|&&n| n == 2).count();
        // Means 2,000 and 800; five standard deviations are 200 and 136.
        assert!(lost.abs_diff(2_000) < 200 && twice.abs_diff(800) < 136, "{lost} lost, {twice} twice");
    }

    #[test]
    fn a_stream_under_loss_is_late_rather_than_lossless() {
        let mut rng = Rng::new(1);
        let lossy = Link { loss: 0.3, ..Link::default() };
        let total: u64 = (0..1_000).map(|_| lossy.retransmissions(1, &mut rng)).sum();
        // One segment: 0.3 · 200 ms + 0.09 · 400 ms + 0.027 · 800 ms + … is about 140 ms on average.
        assert!((100_000_000..250_000_000).contains(&total), "{total}");
        assert_eq!(Link::default().retransmissions(1 << 20, &mut rng), 0);
    }

    #[test]
    fn a_partition_separates_groups_and_keeps_the_rest_together() {
        let mut cuts = Cuts::default();
        cuts.partition(5, &[vec![0, 1], vec![2]]);
        assert!(!cuts.cut(0, 1) && !cuts.cut(3, 4));
        assert!(cuts.cut(0, 2) && cuts.cut(2, 0) && cuts.cut(1, 3));
        cuts.heal();
        assert!(!cuts.cut(0, 2));
    }

    #[test]
    fn a_one_way_cut_stops_one_direction_of_datagrams_and_both_of_streams() {
        let mut cuts = Cuts::default();
        cuts.oneway(0, 1);
        assert!(cuts.cut(0, 1) && !cuts.cut(1, 0));
        assert!(cuts.cut_either_way(0, 1) && cuts.cut_either_way(1, 0));
    }
}
