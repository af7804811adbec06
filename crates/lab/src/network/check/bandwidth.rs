//! The bandwidth contract: whatever happens, a node sends no more than `bandwidth_max`.

use std::collections::VecDeque;

use super::{Verdict, breach};
use crate::network::link::SEGMENT_BYTES;

/// Checks that no node hands more than `bandwidth_max` bytes, headers included, to the network in any window
/// of one second.
#[derive(Debug, Default)]
pub struct Bandwidth {
    senders: Vec<Window>,
}

#[derive(Debug, Default)]
struct Window {
    /// Bytes per second; zero for no bound.
    most: u64,
    sent: VecDeque<(u64, u64)>,
    bytes: u64,
}

const RULE: &str = "no second carries more than bandwidth_max";
const SECOND: u64 = 1_000_000;
/// An IPv4 and a UDP header.
const HEADER_BYTES: usize = 28;
/// An IPv4 and a TCP header.
const SEGMENT_HEADER_BYTES: usize = 40;

impl Bandwidth {
    /// A node starts with a bound in bytes per second, zero for none: its new life knows nothing of what the last one
    /// sent.
    pub fn started(&mut self, node: usize, most: u64) {
        let needed = self.senders.len().max(node + 1);
        self.senders.resize_with(needed, Window::default);
        self.senders[node] = Window { most, ..Window::default() };
    }

    /// A node sends a datagram.
    pub fn datagram(&mut self, now: u64, node: usize, bytes: usize) -> Verdict {
        self.count(now, node, (bytes + HEADER_BYTES) as u64)
    }

    /// A node writes a piece to a stream.
    pub fn piece(&mut self, now: u64, node: usize, bytes: usize) -> Verdict {
        self.count(now, node, (bytes + bytes.div_ceil(SEGMENT_BYTES) * SEGMENT_HEADER_BYTES) as u64)
    }

    fn count(&mut self, now: u64, node: usize, bytes: u64) -> Verdict {
        let Window { most, sent, bytes: sum } = &mut self.senders[node];
        if *most == 0 {
            return Ok(());
        }
        while let Some((_, old)) = sent.pop_front_if(|(at, _)| *at + SECOND <= now) {
            *sum -= old;
        }
        sent.push_back((now, bytes));
        *sum += bytes;
        if *sum <= *most { Ok(()) } else { breach(RULE, format!("{sum} bytes, {most} allowed")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(most: u64) -> Bandwidth {
        let mut bandwidth = Bandwidth::default();
        bandwidth.started(0, most);
        bandwidth.started(1, most);
        bandwidth
    }

    #[test]
    fn a_steady_flow_at_the_bound_passes() {
        let mut bandwidth = bounded(10_000);
        for tick in 0..100 {
            bandwidth.datagram(tick * 100_000, 0, 1_000 - HEADER_BYTES).unwrap();
        }
    }

    #[test]
    fn a_burst_is_caught_even_where_the_mean_is_low() {
        let mut bandwidth = bounded(10_000);
        bandwidth.piece(0, 0, 6_000).unwrap();
        assert_eq!(bandwidth.piece(999_999, 0, 6_000).unwrap_err().rule, RULE);
    }

    #[test]
    fn nodes_are_counted_apart_and_no_bound_is_no_bound() {
        let mut bandwidth = bounded(10_000);
        bandwidth.piece(0, 0, 9_000).unwrap();
        bandwidth.piece(0, 1, 9_000).unwrap();
        bounded(0).piece(0, 0, 1 << 30).unwrap();
    }

    #[test]
    fn one_node_without_a_bound_frees_no_other() {
        let mut bandwidth = bounded(10_000);
        bandwidth.started(1, 0);
        bandwidth.piece(0, 1, 1 << 30).unwrap();
        assert_eq!(bandwidth.piece(0, 0, 10_001).unwrap_err().rule, RULE);
    }
}
