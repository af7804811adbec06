//! Binding one port for datagrams and streams, and the way of datagrams through it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rumormill_core::NodeId;
use rumormill_core::limits::Limits;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::Instant;

use crate::clock;
use crate::cluster::SocketCounters;
use crate::error::StartError;
use crate::faults::{Direction, Faults, Verdict};
use crate::seal::{HEADROOM, SealCounters, Sealer, Unsealed};

/// What the system is asked to buffer each way; it may grant less. A burst of a thousand full datagrams fits.
const BUFFER_BYTES: usize = 4 << 20;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// How often another port is drawn when the one that UDP got is taken for TCP.
const PORT_TRIES: usize = 32;

/// How many datagrams wait while the system takes none, and how many are held back by the fault table. Further ones are
/// dropped, as a network would.
const WAITING_MAX: usize = 4_096;

/// Where the byte stands that names the key of a sealed datagram.
const KEY_AT: usize = 4;

/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Binds UDP and TCP to one port of `address`; port 0 lets the system choose.
pub(crate) fn bind(address: SocketAddr) -> Result<(UdpSocket, TcpListener), StartError> {
    let tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    let mut result = bind_once(address);
    for _ in 1..tries {
        match &result {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => result = bind_once(address),
            Ok(_) | Err(_) => break,
        }
    }
    result.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            StartError::PortInUse { address }
        } else {
            StartError::Bind { address: address.to_string(), source }
        }
    })
}

fn bind_once(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = new_socket(address, Type::DGRAM, Protocol::UDP)?;
    // Less than asked for is no reason not to start.
    udp.set_recv_buffer_size(BUFFER_BYTES).ok();
    udp.set_send_buffer_size(BUFFER_BYTES).ok();
    udp.bind(&address.into())?;
    let udp = UdpSocket::from_std(udp.into())?;

    let tcp = new_socket(address, Type::STREAM, Protocol::TCP)?;
    // Without this a restart would wait for the connections of the life before to time out.
    #[cfg(unix)]
    tcp.set_reuse_address(true)?;
    tcp.bind(&udp.local_addr()?.into())?;
    tcp.listen(BACKLOG)?;
    Ok((udp, TcpListener::from_std(tcp.into())?))
}

fn new_socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // All addresses of both families; on a single address this changes nothing.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// An IPv4 address that a socket for both families shows as an IPv6 one, as itself.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The datagrams of a node on their way in and out.
#[derive(Debug)]
pub(crate) struct Datagrams {
    socket: UdpSocket,
    is_v6: bool,
    /// What came in last lies behind the headroom.
    buffer: Box<[u8]>,
    sealing: Option<DatagramSealing>,
    /// What the system did not take yet, in order.
    unsent: VecDeque<(SocketAddr, Vec<u8>)>,
    faults: Option<Faults>,
    held: BTreeMap<(Instant, u64), Held>,
    held_before: u64,
    counters: Arc<SocketCounters>,
}

/// How the datagrams of a node are sealed.
#[derive(Debug)]
pub(crate) struct DatagramSealing {
    pub(crate) sealer: Box<Sealer>,
    pub(crate) counters: Arc<SealCounters>,
}

/// A datagram that came in.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) from: SocketAddr,
    /// Where it lies, opened; or why it was not.
    pub(crate) payload: Result<Range<usize>, Refused>,
}

/// A datagram that was not opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Refused {
    pub(crate) cause: Unsealed,
    /// The byte that names its key, if it is long enough to have one.
    pub(crate) key: u8,
}

/// A datagram that the fault table delays.
#[derive(Debug)]
struct Held {
    direction: Direction,
    peer: SocketAddr,
    bytes: Vec<u8>,
}

impl Datagrams {
    pub(crate) fn new(
        socket: UdpSocket,
        local_address: SocketAddr,
        sealing: Option<DatagramSealing>,
        faults: Option<Faults>,
        counters: Arc<SocketCounters>,
    ) -> Self {
        Self {
            socket,
            is_v6: local_address.is_ipv6(),
            buffer: vec![0; HEADROOM + DATAGRAM_BYTES_MAX].into(),
            sealing,
            unsent: VecDeque::new(),
            faults,
            held: BTreeMap::new(),
            held_before: 0,
            counters,
        }
    }

    /// Waits until [`receive`](Self::receive) may have something, or something can be sent again. Cancel safe.
    pub(crate) async fn ready(&self) {
        let held_due = self.held.first_key_value().map(|((due, _), _)| *due);
        tokio::select! {
            biased;
            // An error shows again where the socket is used.
            _ = self.socket.readable() => {}
            _ = self.socket.writable(), if !self.unsent.is_empty() => {}
            () = sleep_until(held_due) => {}
        }
    }

    /// The next datagram, if one is there. [`payload`](Self::payload) has it until the next call. What is not opened is one as
    /// well, so that a flood of such cannot hold up whoever asks.
    pub(crate) fn receive(&mut self) -> Option<Arrived> {
        self.send_unsent();
        let (from, length) = self.receive_raw()?;
        let end = HEADROOM + length;
        let Some(sealing) = &mut self.sealing else { return Some(Arrived { from, payload: Ok(HEADROOM..end) }) };
        let key = if length > KEY_AT { self.buffer[HEADROOM + KEY_AT] } else { 0 };
        let payload = sealing.sealer.open(&mut self.buffer[..end], clock::wall()).map_err(|cause| {
            sealing.counters.note(cause);
            Refused { cause, key }
        });
        Some(Arrived { from, payload })
    }

    /// The next datagram as it came: its source and its length.
    fn receive_raw(&mut self) -> Option<(SocketAddr, usize)> {
        loop {
            if let Some(arrived) = self.release() {
                return Some(arrived);
            }
            // An error is that of a datagram sent earlier; the socket goes on.
            let (length, from) = self.socket.try_recv_from(&mut self.buffer[HEADROOM..]).ok()?;
            self.counters.datagrams_received.fetch_add(1, Ordering::Relaxed);
            self.counters.note_received(length);
            let from = canonical(from);
            match self.judge(from, Direction::In) {
                Verdict::Pass => return Some((from, length)),
                Verdict::Drop => {}
                Verdict::Delay(delay) => {
                    let bytes = self.buffer[HEADROOM..HEADROOM + length].to_vec();
                    self.hold(delay, Held { direction: Direction::In, peer: from, bytes });
                }
            }
        }
    }

    /// The datagram that was just received, out of its seal.
    pub(crate) fn payload(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    pub(crate) fn send(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        let bytes = match &mut self.sealing {
            Some(sealing) => sealing.sealer.seal(&datagram, clock::wall()),
            None => datagram,
        };
        match self.judge(to, Direction::Out) {
            Verdict::Pass => self.put(to, bytes),
            Verdict::Drop => {}
            Verdict::Delay(delay) => self.hold(delay, Held { direction: Direction::Out, peer: to, bytes }),
        }
    }

    /// What came in last has been handled: what is sent from now on answers nobody.
    pub(crate) fn settle(&mut self) {
        if let Some(sealing) = &mut self.sealing {
            sealing.sealer.settle();
        }
    }

    /// The node goes on under another id.
    pub(crate) fn rename(&mut self, node: NodeId) {
        if let Some(sealing) = &mut self.sealing {
            sealing.sealer.rename(node);
        }
    }

    fn judge(&self, peer: SocketAddr, direction: Direction) -> Verdict {
        self.faults.as_ref().map_or(Verdict::Pass, |faults| faults.judge(peer, direction))
    }

    fn hold(&mut self, delay: Duration, held: Held) {
        if self.held.len() < WAITING_MAX {
            self.held_before += 1;
            self.held.insert((Instant::now() + delay, self.held_before), held);
        }
    }

    /// Sends what was held back long enough, up to the first that goes in.
    fn release(&mut self) -> Option<(SocketAddr, usize)> {
        while self.held.first_key_value().is_some_and(|((due, _), _)| *due <= Instant::now()) {
            let (_, Held { direction, peer, bytes }) = self.held.pop_first().expect("just seen");
            match direction {
                Direction::Out => self.put(peer, bytes),
                Direction::In => {
                    self.buffer[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(&bytes);
                    return Some((peer, bytes.len()));
                }
            }
        }
        None
    }

    fn put(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        if self.unsent.is_empty() && self.try_put(to, &bytes) {
            return;
        }
        if self.unsent.len() < WAITING_MAX {
            self.unsent.push_back((to, bytes));
        } else {
            self.counters.datagrams_unsent.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn send_unsent(&mut self) {
        while let Some((to, bytes)) = self.unsent.pop_front() {
            if !self.try_put(to, &bytes) {
                self.unsent.push_front((to, bytes));
                return;
            }
        }
    }

    /// Whether this datagram is done with: sent, or impossible to send.
    fn try_put(&self, to: SocketAddr, bytes: &[u8]) -> bool {
        match self.socket.try_send_to(bytes, self.on_wire(to)) {
            Ok(_) => {
                self.counters.datagrams_sent.fetch_add(1, Ordering::Relaxed);
                self.counters.note_sent(bytes.len());
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                self.counters.datagrams_unsent.fetch_add(1, Ordering::Relaxed);
                true
            }
        }
    }

    /// A socket for both families takes IPv4 addresses as IPv6 ones.
    fn on_wire(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(ip) if self.is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => to,
        }
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        let Self { socket: _, is_v6: _, buffer: _, sealing, unsent, faults: _, held, held_before: _, counters: _ } =
            self;
        to.entries("datagrams_unsent", unsent.len(), WAITING_MAX);
        to.entries("datagrams_held_back", held.len(), WAITING_MAX);
        if let Some(sealing) = sealing {
            sealing.sealer.limits(to);
        }
    }
}

/// Waits for a moment, or for ever.
pub(crate) async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn open(address: SocketAddr, faults: Option<Faults>) -> Datagrams {
        let (udp, _) = bind(address).unwrap();
        Datagrams::new(udp, address, None, faults, Arc::default())
    }

    async fn receive(datagrams: &mut Datagrams) -> (SocketAddr, Vec<u8>) {
        loop {
            if let Some(Arrived { from, payload }) = datagrams.receive() {
                return (from, datagrams.payload(payload.unwrap()).to_vec());
            }
            datagrams.ready().await;
        }
    }

    #[tokio::test]
    async fn udp_and_tcp_share_a_port_that_the_system_chose() {
        let (udp, tcp) = bind(loopback(0)).unwrap();
        assert_eq!(udp.local_addr().unwrap().port(), tcp.local_addr().unwrap().port());
    }

    #[tokio::test]
    async fn a_port_in_use_is_refused_with_its_address() {
        let (udp, _tcp) = bind(loopback(0)).unwrap();
        let taken = udp.local_addr().unwrap();
        let error = bind(taken).unwrap_err();
        assert!(matches!(error, StartError::PortInUse { .. }));
        assert_eq!((error.field(), error.value()), ("bind", taken.to_string()));
    }

    fn held(datagrams: &Datagrams, what: &str) -> u64 {
        let mut limits = Limits::new();
        datagrams.limits(&mut limits);
        limits.iter().find(|limit| limit.what == what).unwrap().held
    }

    #[tokio::test]
    async fn what_waits_for_the_socket_is_bounded_and_the_rest_counted() {
        let mut datagrams = open(loopback(0), None);
        // As if the socket had no room.
        datagrams.unsent.push_back((loopback(1), vec![0]));
        for _ in 0..WAITING_MAX + 10 {
            datagrams.put(loopback(1), vec![0]);
            assert!(held(&datagrams, "datagrams_unsent") <= WAITING_MAX as u64);
        }
        assert_eq!(held(&datagrams, "datagrams_unsent"), WAITING_MAX as u64);
        assert_eq!(datagrams.counters.datagrams_unsent.load(Ordering::Relaxed), 11);
    }

    #[tokio::test]
    async fn what_the_fault_table_holds_back_is_bounded() {
        let faults = Faults::new(1);
        faults.delay(Duration::from_mins(1)).unwrap();
        let mut datagrams = open(loopback(0), Some(faults));
        for _ in 0..WAITING_MAX + 10 {
            datagrams.send(loopback(1), vec![0]);
        }
        assert_eq!(held(&datagrams, "datagrams_held_back"), WAITING_MAX as u64);
    }

    #[tokio::test]
    async fn a_burst_comes_through_in_order() {
        let (mut a, mut b) = (open(loopback(0), None), open(loopback(0), None));
        let to = b.socket.local_addr().unwrap();
        for n in 0..200_u8 {
            a.send(to, vec![n]);
        }
        a.socket.writable().await.unwrap();
        a.send_unsent();
        for n in 0..200_u8 {
            let (from, bytes) = receive(&mut b).await;
            assert_eq!((from, bytes), (a.socket.local_addr().unwrap(), vec![n]));
        }
    }

    #[tokio::test]
    async fn a_socket_for_both_families_shows_ipv4_peers_as_such() {
        let mut both = open("[::]:0".parse().unwrap(), None);
        let mut v4 = open(loopback(0), None);
        let port = both.socket.local_addr().unwrap().port();
        v4.socket.writable().await.unwrap();
        v4.send(loopback(port), b"ping".to_vec());
        let (from, _) = receive(&mut both).await;
        assert_eq!(from, v4.socket.local_addr().unwrap());
        both.send(from, b"ack".to_vec());
        assert_eq!(receive(&mut v4).await, (loopback(port), b"ack".to_vec()));
    }

    #[tokio::test]
    async fn a_delayed_datagram_is_overtaken_by_one_sent_after_healing() {
        let faults = Faults::new(1);
        let (mut a, mut b) = (open(loopback(0), Some(faults.clone())), open(loopback(0), None));
        let to = b.socket.local_addr().unwrap();
        a.socket.writable().await.unwrap();
        faults.delay(Duration::from_millis(20)).unwrap();
        a.send(to, b"first".to_vec());
        faults.heal();
        a.send(to, b"second".to_vec());
        assert_eq!(receive(&mut b).await.1, b"second");
        a.ready().await;
        assert!(a.receive().is_none());
        assert_eq!(receive(&mut b).await.1, b"first");
    }
}
