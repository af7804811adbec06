//! The fault table: what experiments and tests of real processes do to the traffic of one node.
//!
//! Rules name a peer by its gossip address, or all peers, and a direction as this node sees it. Datagrams are dropped,
//! held back or cut. A stream is delayed and cut, but loses nothing, as the system would send again.
//!
//! All nodes of an experiment share the address 127.0.0.1, so an accepted stream, which comes from a port of its own, does
//! not show whose it is. A node with a fault table therefore opens streams from a loopback address that holds its gossip
//! port. Where the system has one loopback address only, and with IPv6, streams are cut by the node that opens them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rumormill_core::ConfigError;
use rumormill_core::rng::Rng;
use tokio::sync::watch;

/// The longest delay, so that what is held back stays little.
const DELAY_MAX: Duration = Duration::from_mins(1);

/// Whose traffic a rule is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Peer {
    /// Everybody's.
    All,
    /// That of the node that is reached here.
    Address(SocketAddr),
}

/// Which way, as this node sees it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Direction {
    /// What this node sends.
    Out,
    /// What this node receives.
    In,
}

/// What happens to traffic. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fault {
    /// The share of datagrams that is dropped, 0 to 1.
    pub loss: f64,
    /// By how much everything comes later, up to a minute.
    pub delay: Duration,
    /// Whether nothing passes at all.
    pub cut: bool,
}

impl Fault {
    /// Both faults, one after the other.
    fn and(self, other: Self) -> Self {
        Self {
            loss: 1.0 - (1.0 - self.loss) * (1.0 - other.loss),
            delay: self.delay + other.delay,
            cut: self.cut || other.cut,
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRule {
    /// Whose traffic.
    pub peer: Peer,
    /// Which way.
    pub direction: Direction,
    /// What happens to it.
    pub fault: Fault,
}

/// A handle to the fault table of a node. What it changes holds at once.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Table {
    rules: BTreeMap<(Peer, Direction), Fault>,
    rng: Rng,
}

/// What becomes of one datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Pass,
    Drop,
    Delay(Duration),
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        let table = Mutex::new(Table { rules: BTreeMap::new(), rng: Rng::new(seed) });
        Self(Arc::new(Shared { table, changed: watch::Sender::new(()) }))
    }

    /// Drops this share of all datagrams that the node sends, 0 to 1. On every node of a cluster it is the share of all
    /// datagrams.
    ///
    /// # Errors
    /// Where the share is not from 0 to 1.
    pub fn loss(&self, share: f64) -> Result<(), ConfigError> {
        let all = self.rule(Peer::All, Direction::Out);
        self.set(Peer::All, Direction::Out, Fault { loss: share, ..all })
    }

    /// Holds back all that the node sends.
    ///
    /// # Errors
    /// Where the delay is above a minute.
    pub fn delay(&self, delay: Duration) -> Result<(), ConfigError> {
        let all = self.rule(Peer::All, Direction::Out);
        self.set(Peer::All, Direction::Out, Fault { delay, ..all })
    }

    /// Cuts the node off from these peers, in both directions.
    pub fn cut(&self, peers: impl IntoIterator<Item = SocketAddr>) {
        {
            let mut table = self.lock();
            for (peer, direction) in peers.into_iter().flat_map(|peer| [(peer, Direction::Out), (peer, Direction::In)])
            {
                table.rules.entry((Peer::Address(peer), direction)).or_default().cut = true;
            }
        }
        self.0.changed.send_replace(());
    }

    /// Sets one line of the table; the default fault strikes it.
    ///
    /// # Errors
    /// Where the share is not from 0 to 1, or the delay is above a minute.
    pub fn set(&self, peer: Peer, direction: Direction, fault: Fault) -> Result<(), ConfigError> {
        let refuse = |field, value, rule: &str| Err(ConfigError { field, value, rule: rule.to_owned() });
        if !(0.0..=1.0).contains(&fault.loss) {
            return refuse("loss", fault.loss.to_string(), "a share from 0 to 1");
        }
        if fault.delay > DELAY_MAX {
            return refuse("delay", format!("{:?}", fault.delay), "at most 1m");
        }
        if fault == Fault::default() {
            self.lock().rules.remove(&(peer, direction));
        } else {
            self.lock().rules.insert((peer, direction), fault);
        }
        self.0.changed.send_replace(());
        Ok(())
    }

    /// Strikes every line.
    pub fn heal(&self) {
        self.lock().rules.clear();
        self.0.changed.send_replace(());
    }

    /// The whole table, sorted.
    pub fn state(&self) -> Vec<FaultRule> {
        self.lock().rules.iter().map(|(&(peer, direction), &fault)| FaultRule { peer, direction, fault }).collect()
    }

    /// What becomes of a datagram.
    pub(crate) fn judge(&self, peer: SocketAddr, direction: Direction) -> Verdict {
        let mut table = self.lock();
        let Fault { loss, delay, cut } = table.fault(peer, direction);
        if cut || (loss > 0.0 && table.rng.chance(loss)) {
            Verdict::Drop
        } else if delay > Duration::ZERO {
            Verdict::Delay(delay)
        } else {
            Verdict::Pass
        }
    }

    /// How much later the bytes of a stream come.
    pub(crate) fn stream_delay(&self, peer: SocketAddr, direction: Direction) -> Duration {
        self.lock().fault(peer, direction).delay
    }

    /// Waits until the peer is cut in some direction: a stream needs both.
    pub(crate) async fn until_cut(&self, peer: SocketAddr) {
        let mut changed = self.0.changed.subscribe();
        while !self.is_cut(peer) {
            changed.changed().await.expect("this handle keeps the sender");
        }
    }

    fn is_cut(&self, peer: SocketAddr) -> bool {
        let table = self.lock();
        [Direction::Out, Direction::In].iter().any(|&direction| table.fault(peer, direction).cut)
    }

    fn rule(&self, peer: Peer, direction: Direction) -> Fault {
        self.lock().rules.get(&(peer, direction)).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The two bytes in front of the port in an address that streams of an experiment come from.
const SOURCE_PREFIX: [u8; 2] = [127, 77];

/// Where the node at `local` opens streams from.
pub(crate) fn stream_source(local: SocketAddr) -> Option<SocketAddr> {
    let [a, b] = SOURCE_PREFIX;
    let [c, d] = local.port().to_be_bytes();
    (local.ip() == Ipv4Addr::LOCALHOST).then(|| SocketAddr::from(([a, b, c, d], 0)))
}

/// The gossip address of the node whose stream comes from `source`, or `source` itself.
pub(crate) fn stream_owner(source: SocketAddr) -> SocketAddr {
    match source.ip() {
        IpAddr::V4(ip) if ip.octets()[..2] == SOURCE_PREFIX => {
            let [_, _, c, d] = ip.octets();
            SocketAddr::from((Ipv4Addr::LOCALHOST, u16::from_be_bytes([c, d])))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => source,
    }
}

impl Table {
    fn fault(&self, peer: SocketAddr, direction: Direction) -> Fault {
        let rule = |peer| self.rules.get(&(peer, direction)).copied().unwrap_or_default();
        rule(Peer::All).and(rule(Peer::Address(peer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_cut_holds_for_its_peers_both_ways_until_it_heals() {
        let faults = Faults::new(1);
        faults.cut([address(1)]);
        for direction in [Direction::Out, Direction::In] {
            assert_eq!(faults.judge(address(1), direction), Verdict::Drop);
            assert_eq!(faults.judge(address(2), direction), Verdict::Pass);
        }
        faults.heal();
        assert_eq!(faults.judge(address(1), Direction::Out), Verdict::Pass);
        assert_eq!(faults.state(), []);
    }

    #[test]
    fn about_the_given_share_is_lost_and_only_on_the_way_out() {
        let faults = Faults::new(1);
        faults.loss(0.3).unwrap();
        let lost = |direction| (0..10_000).filter(|_| faults.judge(address(1), direction) == Verdict::Drop).count();
        // Five standard deviations are 229.
        assert!(lost(Direction::Out).abs_diff(3_000) < 229);
        assert_eq!(lost(Direction::In), 0);
    }

    #[test]
    fn rules_for_all_and_for_one_peer_add_up() {
        let faults = Faults::new(1);
        let millis = Duration::from_millis;
        faults.delay(millis(20)).unwrap();
        faults.set(Peer::Address(address(1)), Direction::Out, Fault { delay: millis(5), ..Fault::default() }).unwrap();
        assert_eq!(faults.judge(address(1), Direction::Out), Verdict::Delay(millis(25)));
        assert_eq!(faults.judge(address(2), Direction::Out), Verdict::Delay(millis(20)));
    }

    #[test]
    fn a_share_above_one_is_refused_with_its_rule() {
        let error = Faults::new(1).loss(1.5).unwrap_err();
        assert_eq!((error.field, error.value.as_str()), ("loss", "1.5"));
    }
}
