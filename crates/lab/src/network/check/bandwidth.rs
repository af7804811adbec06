//! The bandwidth contract: whatever happens, a node sends no more than `bandwidth_max`.

use std::collections::VecDeque;

use super::{Verdict, breach};
use crate::network::link::SEGMENT_BYTES;

/// Checks that no node hands more than `bandwidth_max` bytes, headers included, to the network in any window
/// of one second.
#[derive(Debug, Default)]
pub struct Bandwidth {
    /// Bytes per second; zero for no bound.
    most: u64,
    senders: Vec<Window>,
}

#[derive(Debug, Default)]
struct Window {
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
    /// Sets the bound, in bytes per second; zero for none.
    pub fn bound(&mut self, most: u64) {
        self.most = most;
    }

    /// Some nodes have this bound, which may be looser; zero for none.
    pub fn widen(&mut self, most: u64) {
        self.most = if most == 0 || self.most == 0 { 0 } else { most.max(self.most) };
    }

    /// A node starts: its new life knows nothing of what the last one sent.
    pub fn started(&mut self, node: usize) {
        let needed = self.senders.len().max(node + 1);
        self.senders.resize_with(needed, Window::default);
        self.senders[node] = Window::default();
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
        if self.most == 0 {
            return Ok(());
        }
        let Window { sent, bytes: sum } = &mut self.senders[node];
        while let Some((_, old)) = sent.pop_front_if(|(at, _)| *at + SECOND <= now) {
            *sum -= old;
        }
        sent.push_back((now, bytes));
        *sum += bytes;
        if *sum <= self.most { Ok(()) } else { breach(RULE, format!("{sum} bytes, {} allowed", self.most)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(most: u64) -> Bandwidth {
        let mut bandwidth = Bandwidth::default();
        bandwidth.bound(most);
        bandwidth.started(0);
        bandwidth.started(1);
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
}
