//! What a member that has the key and means harm may send, and what anybody else may.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use rumormill::Keyring;
use rumormill::bench::Insider;
use rumormill_core::io::StreamId;
use rumormill_core::io::Ticket;
use rumormill_core::rng::Rng;
use rumormill_core::{Channel, Command, Config, Identity, Input, Instant, Node, NodeId, Now, Output, Wall};

/// What stands before the frames: the header, which the seal takes, and the version.
const HEADER_BYTES: usize = 30;
const SENDER: Range<usize> = 4..12;
const TARGET: Range<usize> = 12..20;
/// Who has the key and means harm: a session of the seal belongs to one node.
const INSIDER: NodeId = NodeId(0xbad);
/// Pairs of made-up members whose datagrams are sent and bent.
const PAIRS: u64 = 50;

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) sealed: u64,
    pub(crate) garbage: u64,
    pub(crate) took: Duration,
}

impl Sent {
    /// How many of a number of datagrams it was in a second.
    pub(crate) fn rate(&self, datagrams: u64) -> u64 {
        datagrams / self.took.as_secs().max(1)
    }
}

/// Datagrams of one call to the system: as many with a seal as without.
const PAIRS_AT_ONCE: usize = 32;
/// Bytes that garbage is cut from.
const NOISE_BYTES: usize = 1 << 16;
/// The longest garbage.
const GARBAGE_BYTES_MAX: usize = 1_200;

/// Makes hostile datagrams.
pub(crate) struct Flood {
    insider: Insider,
    victims: Vec<u64>,
    /// Datagrams that members might send, with their headers.
    plausible: Vec<Vec<u8>>,
    noise: Vec<u8>,
    rng: Rng,
    /// The last that was sealed, to be replayed.
    last: Vec<u8>,
}

impl Flood {
    pub(crate) fn new(keyring: &Keyring, victims: Vec<u64>) -> Self {
        let insider = Insider::new(keyring, INSIDER);
        let plausible: Vec<Vec<u8>> = (0..PAIRS).flat_map(|pair| datagrams_of_pair(pair, insider.secret())).collect();
        assert!(plausible.len() > 500, "only {} datagrams", plausible.len());
        let mut rng = Rng::new(1);
        let noise = (0..NOISE_BYTES / 8).flat_map(|_| rng.bits().to_le_bytes()).collect();
        Self { insider, victims, plausible, noise, rng, last: Vec::new() }
    }

    /// Sends to all targets in turn for that long.
    pub(crate) fn run(mut self, targets: &[SocketAddr], duration: Duration) -> Sent {
        let mut outlet = Outlet::new();
        let begun = StdInstant::now();
        let mut sent = Sent::default();
        while sent.took < duration {
            let (mut sealed, mut garbage, mut whom) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..PAIRS_AT_ONCE {
                let target = self.rng.below(targets.len());
                sealed.push(self.sealed(target));
                garbage.push(self.garbage(sealed.last().unwrap()));
                whom.push(Some(SockaddrStorage::from(targets[target])));
            }
            sent.sealed += outlet.send(&sealed, &whom);
            sent.garbage += outlet.send(&garbage, &whom);
            sent.took = begun.elapsed();
        }
        sent
    }

    /// With a valid seal: as a member might say it, or bent, or an accusation of an honest member.
    fn sealed(&mut self, target: usize) -> Vec<u8> {
        let victim = self.victims[target];
        let mut datagram = match self.rng.below(8) {
            0 => self.accusation(),
            kind => {
                let mut datagram = self.plausible[self.rng.below(self.plausible.len())].clone();
                for _ in 0..kind / 2 {
                    let at = HEADER_BYTES + 1 + self.rng.below(datagram.len() - HEADER_BYTES - 1);
                    datagram[at] = self.rng.bits().to_le_bytes()[0];
                }
                datagram
            }
        };
        datagram[SENDER].copy_from_slice(&INSIDER.0.to_le_bytes());
        datagram[TARGET].copy_from_slice(&victim.to_le_bytes());
        self.insider.seal(&datagram)
    }

    /// That two others could not reach an honest member either, in its first incarnation.
    fn accusation(&mut self) -> Vec<u8> {
        let mut datagram = self.plausible[0][..=HEADER_BYTES].to_vec();
        let accused = self.victims[self.rng.below(self.victims.len())];
        datagram.extend_from_slice(&[0x14, 24]);
        for word in [accused, 1 << 20, self.rng.bits()] {
            datagram.extend_from_slice(&word.to_le_bytes());
        }
        datagram
    }

    /// Of somebody without the key: noise, what was heard with another tag, and what was heard again.
    fn garbage(&mut self, heard: &[u8]) -> Vec<u8> {
        match self.rng.below(4) {
            0 => {
                let length = self.rng.below(GARBAGE_BYTES_MAX);
                let from = self.rng.below(NOISE_BYTES - length);
                self.noise[from..from + length].to_vec()
            }
            1 => std::mem::replace(&mut self.last, heard.to_vec()),
            2 => {
                let mut other = heard.to_vec();
                let session = self.rng.bits().to_le_bytes();
                other[5..13].copy_from_slice(&session);
                other
            }
            _ => {
                let mut bent = heard.to_vec();
                if let Some(last) = bent.last_mut() {
                    *last ^= 1;
                }
                bent
            }
        }
    }
}

/// A socket that takes many datagrams in one call.
struct Outlet {
    socket: UdpSocket,
    headers: MultiHeaders<SockaddrStorage>,
}

impl Outlet {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self { socket, headers: MultiHeaders::preallocate(PAIRS_AT_ONCE, None) }
    }

    /// How many the system took.
    fn send(&mut self, datagrams: &[Vec<u8>], whom: &[Option<SockaddrStorage>]) -> u64 {
        let slices: Vec<[IoSlice<'_>; 1]> = datagrams.iter().map(|bytes| [IoSlice::new(bytes)]).collect();
        let (socket, no_more) = (self.socket.as_raw_fd(), [] as [ControlMessage<'_>; 0]);
        let taken = sendmmsg(socket, &mut self.headers, &slices, whom, no_more, MsgFlags::empty());
        // A full buffer is the receiver's matter.
        taken.map_or(0, |taken| taken.count() as u64)
    }
}

/// What two members that do not exist say to each other when they publish. They have known each other for long: who makes
/// up members all the time is stopped by signed identities only.
fn datagrams_of_pair(pair: u64, secret: [u8; 16]) -> Vec<Vec<u8>> {
    let mut clock = Clock::new();
    let mut nodes = [2 * pair, 2 * pair + 1].map(|number| node(number, secret, clock.now()));
    introduce(&mut nodes, clock.now());
    talk(&mut nodes, &mut clock, Duration::from_mins(1));
    let mut said = Vec::new();
    for topic in 0..10 {
        let command = Command::Publish { topic: format!("noise-{pair}-{topic}"), payload: vec![7; 500] };
        said.extend(give(&mut nodes[1], clock.now(), Input::Command { ticket: Ticket(topic), command }));
    }
    let mut datagrams: Vec<Vec<u8>> = said.into_iter().filter_map(datagram).collect();
    datagrams.extend(talk(&mut nodes, &mut clock, Duration::from_secs(5)));
    datagrams
}

/// Lets time pass, and carries datagrams between the two.
fn talk(nodes: &mut [Node; 2], clock: &mut Clock, duration: Duration) -> Vec<Vec<u8>> {
    let (ends, mut carried) = (clock.passed + duration, Vec::new());
    loop {
        let due = |node: &Node| node.poll_timeout().expect("a node with peers has timers");
        let first = usize::from(due(&nodes[1]) < due(&nodes[0]));
        clock.advance_to(due(&nodes[first]));
        if clock.passed > ends {
            return carried;
        }
        let outputs = give(&mut nodes[first], clock.now(), Input::Timeout);
        let mut waiting: VecDeque<_> = outputs.into_iter().map(|output| (first, output)).collect();
        while let Some((sender, output)) = waiting.pop_front() {
            let Some(bytes) = datagram(output) else { continue };
            let (from, receiver) = (address(sender as u64), 1 - sender);
            let answers = give(&mut nodes[receiver], clock.now(), Input::Datagram { from, bytes: &bytes });
            waiting.extend(answers.into_iter().map(|output| (receiver, output)));
            carried.push(bytes);
        }
    }
}

fn datagram(output: Output) -> Option<Vec<u8>> {
    match output {
        Output::Transmit { channel: Channel::Datagram, bytes, .. } => Some(bytes),
        Output::Transmit { .. } | Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => None,
    }
}

/// The machine's day, and time that passes as it is told.
#[derive(Clone, Copy, Debug)]
struct Clock {
    started: Duration,
    passed: Instant,
}

impl Clock {
    fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self { started, passed: Instant::from_micros(0) }
    }

    fn now(&self) -> Now {
        let wall = Wall::from_micros(self.passed.as_micros()) + self.started;
        Now { instant: self.passed, wall }
    }

    fn advance_to(&mut self, instant: Instant) {
        self.passed = self.passed.max(instant);
    }
}

fn node(number: u64, secret: [u8; 16], now: Now) -> Node {
    let identity = Identity {
        secret: Some(secret),
        ..Identity::new(NodeId(number + 1), format!("nobody{number}"), address(number % 2), number)
    };
    let mut node = Node::new(identity, Config::default(), number, now);
    while node.poll_output().is_some() {}
    node
}

/// Where nobody answers.
fn address(number: u64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1 + u16::try_from(number).unwrap()))
}

fn give(node: &mut Node, now: Now, input: Input<'_>) -> Vec<Output> {
    node.handle_input(now, input);
    std::iter::from_fn(|| node.poll_output()).collect()
}

/// Has the second join the first, over a stream that is carried by hand.
fn introduce(nodes: &mut [Node; 2], now: Now) {
    let mut waiting: VecDeque<(usize, Output)> = VecDeque::new();
    let mut give_to = |waiting: &mut VecDeque<_>, receiver: usize, input: Input<'_>| {
        waiting.extend(give(&mut nodes[receiver], now, input).into_iter().map(|output| (receiver, output)));
    };
    let command = Command::Join { contacts: vec![address(0)] };
    give_to(&mut waiting, 0, Input::StreamOpened { stream: StreamId(1), from: address(1) });
    give_to(&mut waiting, 1, Input::Command { ticket: Ticket(99), command });
    while let Some((sender, output)) = waiting.pop_front() {
        let Output::Transmit { channel: Channel::Stream(sent_on), bytes, .. } = output else { continue };
        let receiver = 1 - sender;
        let stream = StreamId(receiver as u64 + 1);
        give_to(&mut waiting, receiver, Input::StreamBytes { stream, bytes: &bytes });
        give_to(&mut waiting, sender, Input::StreamWritten { stream: sent_on });
    }
    assert_eq!(nodes[1].member_counts().alive, 2, "they have met");
}
