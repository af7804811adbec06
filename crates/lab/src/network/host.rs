//! A machine of the virtual network, and the node that runs on it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rumormill_core::io::StreamId;
use rumormill_core::rng::Rng;
use rumormill_core::{Config, Node, NodeId, Tags};

use super::clock::Clock;
use super::disk::Disk;
use super::place::Place;
use super::run::Due;
use super::signing::{Pair, Papers};
use super::streams::ConnectionId;
use super::tape::Tape;

/// A machine. Its address stays, its node may die and start again.
#[derive(Debug)]
pub(crate) struct Host {
    /// The process, while it runs.
    pub(crate) node: Option<Box<Node>>,
    /// Which start of the process this is, from 1. What was under way for an earlier life reaches nobody.
    pub(crate) life: u64,
    /// When that was.
    pub(crate) started_at: u64,
    /// Without power not even the kernel answers.
    pub(crate) powered: bool,
    /// The node said that it stopped: its process ends when its outputs are done.
    pub(crate) stopped: bool,
    /// It stopped because it left, or found its identity in use.
    pub(crate) left: bool,
    /// Until when the process stands still.
    pub(crate) paused_until: Option<u64>,
    /// What came in meanwhile.
    pub(crate) waiting: Vec<Due>,
    /// When the earliest timeout in the queue is due.
    pub(crate) armed_at: u64,
    /// Timeouts in a row at one instant.
    pub(crate) idle_turns: u32,
    pub(crate) id: NodeId,
    pub(crate) name: String,
    /// Its key pair, where identity is signed.
    pub(crate) pair: Option<Pair>,
    pub(crate) papers: Papers,
    /// Where the machine lies.
    pub(crate) place: Place,
    pub(crate) tags: Tags,
    /// Its own settings, where they differ from all others'.
    pub(crate) config: Option<Arc<Config>>,
    /// For how many microseconds its process stands still, again and again; zero for never.
    pub(crate) slow: u64,
    /// When it does so next.
    pub(crate) slow_due: u64,
    /// When nothing gets through to its process and from it.
    pub(crate) stalls: Stalls,
    /// Where its present or last life is noted.
    pub(crate) life_index: usize,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    /// The streams that this life of the process has open.
    pub(crate) streams: BTreeMap<StreamId, ConnectionId>,
    /// The last even number that the core opened a stream with.
    pub(crate) opened_last: u64,
    /// The last odd number that a stream was accepted with.
    pub(crate) accepted_last: Option<u64>,
    /// Where what happens to the node is recorded.
    pub(crate) tape: Option<Box<Tape>>,
}

/// Times in which nothing gets through, and as long ones in which it does, by turns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stalls {
    since: u64,
    length: u64,
}

impl Stalls {
    pub(crate) const fn new(since: u64, length: u64) -> Self {
        Self { since, length }
    }

    pub(crate) const fn are_none(self) -> bool {
        self.length == 0
    }

    /// Until when nothing gets through now.
    pub(crate) fn until(self, now: u64) -> Option<u64> {
        let begun = (now - self.since).checked_rem(2 * self.length)?;
        (begun < self.length).then(|| now - begun + self.length)
    }
}

/// Nothing is due.
pub(crate) const NEVER: u64 = u64::MAX;

impl Host {
    pub(crate) fn new(id: NodeId, name: String, place: Place, clock: Clock) -> Self {
        Self {
            node: None,
            life: 0,
            started_at: 0,
            powered: true,
            stopped: false,
            left: false,
            paused_until: None,
            waiting: Vec::new(),
            armed_at: NEVER,
            idle_turns: 0,
            id,
            name,
            pair: None,
            papers: Papers::default(),
            place,
            tags: Tags::new(),
            config: None,
            slow: 0,
            slow_due: 0,
            stalls: Stalls::default(),
            life_index: 0,
            clock,
            disk: Disk::default(),
            streams: BTreeMap::new(),
            opened_last: 0,
            accepted_last: None,
            tape: None,
        }
    }

    /// The number of the next stream that comes in.
    pub(crate) fn next_accepted(&mut self) -> StreamId {
        let next = self.accepted_last.map_or(1, |last| last + 2);
        self.accepted_last = Some(next);
        StreamId(next)
    }

    /// The process is gone: what belonged to it goes too.
    pub(crate) fn end_life(&mut self, rng: &mut Rng) {
        self.node = None;
        self.stopped = false;
        self.paused_until = None;
        self.armed_at = NEVER;
        self.disk.crash(rng);
        self.streams.clear();
        self.opened_last = 0;
        self.accepted_last = None;
    }
}

const PORT: u16 = 4747;

/// Where the machine of a number is: 10.x.y.z:4747, from 10.0.0.1 on.
pub(crate) fn address(node: usize) -> SocketAddr {
    let low = u32::try_from(node + 1).ok().filter(|&low| low < 1 << 24).expect("10.0.0.0/8 has room for 16 million");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(10 << 24 | low)), PORT)
}

/// Which machine is at an address, if there could be one.
pub(crate) fn at_address(address: SocketAddr) -> Option<usize> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    if ip.octets()[0] != 10 || address.port() != PORT {
        return None;
    }
    (ip.to_bits() as usize & 0x00ff_ffff).checked_sub(1)
}

/// A seed for a part of a run, from the seed of the whole.
pub(crate) fn derived_seed(seed: u64, node: usize, life: u64) -> u64 {
    let mixed = Rng::new(seed ^ (node as u64).wrapping_mul(0xd6e8_feb8_6659_fd93)).bits();
    Rng::new(mixed ^ life).bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_come_by_turns() {
        let stalls = Stalls::new(100, 10);
        let untils = [100, 109, 110, 119, 120, 139, 140].map(|now| stalls.until(now));
        assert_eq!(untils, [Some(110), Some(110), None, None, Some(130), None, Some(150)]);
        assert_eq!(Stalls::default().until(100), None);
    }

    #[test]
    fn an_address_and_the_number_of_its_machine_name_each_other() {
        for node in [0, 1, 254, 255, 65_535, 1_000_000] {
            assert_eq!(at_address(address(node)), Some(node));
        }
        assert_eq!(address(0).to_string(), "10.0.0.1:4747");
        assert_eq!(at_address("10.0.0.1:80".parse().unwrap()), None);
        assert_eq!(at_address("11.0.0.1:4747".parse().unwrap()), None);
    }
}
