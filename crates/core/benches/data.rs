//! What the database costs: bytes of memory for each entry, local reads, and what two nodes say to each other to reconcile
//! replicas that differ, beside what a full digest and a full exchange would take.
//!
//! Two real nodes talk over a wire without loss that delivers in a millisecond of virtual time. Counted are the frames
//! that compare data and ask for them, with the whole envelope of each datagram that carries one; not the entries.
#![expect(clippy::disallowed_types, reason = "a benchmark measures real time")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use std::collections::{BTreeSet, VecDeque};
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant as Stopwatch};

use rumormill_core::data::{Edit, Write};
use rumormill_core::io::{Command, StreamId, Ticket};
use rumormill_core::{
    Channel, ConfigBuilder, Identity, Input, Instant, Node, NodeId, Now, Output, Record, Stored, Wall,
};

/// Cluster, sender, target, session, clock and version.
const ENVELOPE: usize = 31;
const REQUEST: u8 = 0x16;
const SKETCH: u8 = 0x17;
const MORE: u8 = 0x18;
const SETTLED: u8 = 0x19;
const DATA: u8 = 1;
const DIFFERENCES: usize = 100;
const TRIALS: u64 = 20;
const VALUE_BYTES: usize = 100;

fn main() {
    memory_and_reads(1_000_000);
    for size in [10, 100_000] {
        insertions(size);
    }
    let records = entries(1_000_000);
    println!("\nreconciling replicas that differ in {DIFFERENCES} updates, {TRIALS} trials");
    for size in [10_000, 100_000, 1_000_000] {
        reconcile(&records[..size]);
    }
}

/// Records of that many registers, as a node has them stored.
fn entries(count: usize) -> Vec<Record> {
    let mut node = node(9, true, Stored::default());
    let mut records = Vec::with_capacity(count);
    drain(&mut node, &mut records);
    let all: Vec<usize> = (0..count).collect();
    for keys in all.chunks(10_000) {
        let writes = keys.iter().map(|key| put(&format!("key-{key:09}"))).collect();
        write(&mut node, writes, &mut records);
    }
    records.retain(|record| record.key.starts_with(b"data/"));
    assert_eq!(records.len(), count);
    records
}

fn put(key: &str) -> Write {
    Write::new(key, Edit::Put { value: vec![7; VALUE_BYTES], ttl: None })
}

fn write(node: &mut Node, writes: Vec<Write>, records: &mut Vec<Record>) {
    let timeout = Duration::from_secs(1);
    let command = Command::Write { writes, replicas: 0, timeout };
    node.handle_input(start(), Input::Command { ticket: Ticket(1), command });
    drain(node, records);
}

/// Takes all outputs; what is to be stored is at once.
fn drain(node: &mut Node, records: &mut Vec<Record>) {
    while let Some(output) = node.poll_output() {
        let Output::Persist { token, records: more } = output else { continue };
        records.extend(more);
        while node.poll_output().is_some() {}
        node.handle_input(start(), Input::Persisted { token });
    }
}

fn start() -> Now {
    Now { wall: Wall::from_micros(1_800_000_000_000_000), ..Now::default() }
}

fn address(number: u64) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 4_000 + u16::try_from(number).expect("few nodes")).into()
}

fn node(number: u64, durable: bool, stored: Stored) -> Node {
    let identity = Identity {
        stored,
        durable,
        ..Identity::new(NodeId(number), format!("node-{number}"), address(number), number)
    };
    // No probes: news about members would be counted as well.
    let config = ConfigBuilder { probe_interval: Duration::from_mins(10), ..ConfigBuilder::lan() };
    let config = config.build().expect("a long interval is fine");
    let mut node = Node::new(identity, config, number, start());
    if !durable {
        drain(&mut node, &mut Vec::new());
    }
    node
}

/// What it takes to insert one more element into a set of that many, all watchers told.
fn insertions(size: usize) {
    const MORE: usize = 1_000;
    let mut node = node(9, false, Stored::default());
    let insert = |element: usize| Write::new("set", Edit::Insert { element: element.to_be_bytes().to_vec() });
    for elements in (0..size).collect::<Vec<_>>().chunks(1_000) {
        write(&mut node, elements.iter().map(|element| insert(*element)).collect(), &mut Vec::new());
    }
    let begun = Stopwatch::now();
    for element in size..size + MORE {
        write(&mut node, vec![insert(element)], &mut Vec::new());
    }
    let micros = begun.elapsed().as_secs_f64() * 1e6 / MORE as f64;
    println!("{micros:.1} us for each of {MORE} insertions into a set of {size} elements");
}

fn restored(number: u64, records: &[Record]) -> Node {
    let records = records.iter().map(|Record { key, value }| (key.as_slice(), value.as_deref().unwrap_or_default()));
    node(number, false, Stored::from_records(records))
}

/// A node that wrote it all itself. Nothing else has used the heap before, so that what is resident is what it takes.
fn memory_and_reads(count: usize) {
    let before = resident_bytes();
    let mut node = node(9, false, Stored::default());
    for keys in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let writes = keys.iter().map(|key| put(&format!("key-{key:09}"))).collect();
        write(&mut node, writes, &mut Vec::new());
    }
    let beyond = resident_bytes() - before - count * ("key-000000000".len() + VALUE_BYTES);
    println!("{count} entries: {:.1} bytes each beyond key and value", beyond as f64 / count as f64);
    for count in [10_000, count] {
        reads(&node, count);
    }
}

/// Reads keys of the first `count`, in an order without a pattern.
fn reads(node: &Node, count: usize) {
    const READS: usize = 1_000_000;
    let shelf = node.shelf().clone();
    let keys: Vec<String> = (0..READS).map(|n| format!("key-{:09}", n.wrapping_mul(2_654_435_761) % count)).collect();
    let watch = Stopwatch::now();
    let found = keys.iter().filter(|key| black_box(shelf.get(key, start().wall)).is_some()).count();
    let took = watch.elapsed();
    assert_eq!(found, READS);
    println!("reads among {count} keys: {:.2} million a second, one thread", 1e-6 * READS as f64 / took.as_secs_f64());
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this benchmark needs Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("statm has a second field");
    pages * 4_096
}

fn reconcile(records: &[Record]) {
    let mut bytes: Vec<usize> = Vec::new();
    let mut busy: Vec<Duration> = Vec::new();
    let mut wire = Wire::between([restored(1, records), restored(2, records)]);
    wire.meet();
    let equal = wire.spoken;
    for trial in 0..TRIALS {
        let spent = wire.differ_and_reconcile(trial);
        bytes.push(spent.bytes);
        busy.push(spent.busiest);
    }
    bytes.sort_unstable();
    busy.sort_unstable();
    let (count, nineteen) = (records.len(), bytes.len() * 19 / 20 - 1);
    let full: usize = records.iter().map(|record| record.value.as_ref().map_or(0, Vec::len)).sum();
    println!(
        "{count:>9} entries: {} bytes in the median, {} in 19 of 20 trials; {:.2} ms of the busier node in the median",
        bytes[bytes.len() / 2],
        bytes[nineteen],
        busy[busy.len() / 2].as_secs_f64() * 1e3,
    );
    // chitchat: key, version and length of each key of a node, once its version differs; memberlist: all state, both ways.
    let digest = records.iter().map(|record| record.key.len() + 8).sum::<usize>();
    println!(
        "          one comparison of equal replicas: {} bytes in {} datagrams; a list of keys and versions takes {digest} bytes, all of both sides {}",
        equal.bytes,
        equal.datagrams,
        2 * full
    );
}

/// What was said to compare data.
#[derive(Clone, Copy, Debug, Default)]
struct Spoken {
    bytes: usize,
    datagrams: usize,
}

struct Spent {
    bytes: usize,
    busiest: Duration,
}

/// Two nodes and what is on its way between them.
struct Wire {
    nodes: [Node; 2],
    now: u64,
    flying: VecDeque<(u64, usize, Flight)>,
    streams: Vec<(usize, StreamId, StreamId)>,
    spoken: Spoken,
    busy: [Duration; 2],
    keys: usize,
    /// The numbers of comparisons of data.
    exchanges: BTreeSet<Vec<u8>>,
}

enum Flight {
    Datagram(Vec<u8>),
    Opened(StreamId),
    Bytes(StreamId, Vec<u8>),
    Closed(StreamId),
}

impl Wire {
    fn between(nodes: [Node; 2]) -> Self {
        let (flying, streams) = (VecDeque::new(), Vec::new());
        Self {
            nodes,
            now: 0,
            flying,
            streams,
            spoken: Spoken::default(),
            busy: [Duration::ZERO; 2],
            keys: 0,
            exchanges: BTreeSet::new(),
        }
    }

    /// The nodes get to know each other, and compare replicas that are equal.
    fn meet(&mut self) {
        let command = Command::Join { contacts: vec![address(2)] };
        self.input(0, Input::Command { ticket: Ticket(1), command });
        self.run_for(Duration::from_secs(30));
        assert_eq!(self.nodes[0].root(), self.nodes[1].root());
        self.spoken = Spoken::default();
        while self.spoken.datagrams < 2 {
            self.step();
        }
    }

    /// Each node writes half of the differences, which are not pushed, and then they meet again.
    fn differ_and_reconcile(&mut self, trial: u64) -> Spent {
        for number in 0..2 {
            for _ in 0..DIFFERENCES / 2 {
                self.keys += 1;
                let writes = vec![put(&format!("trial-{trial}-{}", self.keys))];
                let command = Command::Write { writes, replicas: 0, timeout: Duration::from_secs(1) };
                self.nodes[number].handle_input(self.moment(), Input::Command { ticket: Ticket(1), command });
                while self.nodes[number].poll_output().is_some() {}
            }
            // Cut off, until nothing of it is hot any more.
            self.deafen(number);
        }
        self.flying.clear();
        assert_ne!(self.nodes[0].root(), self.nodes[1].root());
        (self.spoken, self.busy) = (Spoken::default(), [Duration::ZERO; 2]);
        while self.nodes[0].root() != self.nodes[1].root() {
            self.step();
        }
        let spent = Spent { bytes: self.spoken.bytes, busiest: self.busy[0].max(self.busy[1]) };
        self.run_for(Duration::from_secs(30));
        spent
    }

    /// Lets a node speak to nobody until its news is cold.
    fn deafen(&mut self, number: usize) {
        while self.nodes[number].load().1 > 0 {
            let due = self.nodes[number].poll_timeout().expect("rounds go on");
            self.now = self.now.max(due.as_micros());
            let now = self.moment();
            self.nodes[number].handle_input(now, Input::Timeout);
            while self.nodes[number].poll_output().is_some() {}
        }
    }

    fn moment(&self) -> Now {
        Now { instant: Instant::from_micros(self.now), wall: Wall::from_micros(start().wall.as_micros() + self.now) }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + u64::try_from(time.as_micros()).expect("seconds");
        while self.now < end {
            self.step();
        }
    }

    /// The next thing that happens.
    fn step(&mut self) {
        let due = [0, 1].map(|number| self.nodes[number].poll_timeout().map_or(u64::MAX, Instant::as_micros));
        if let Some((at, _, _)) = self.flying.front()
            && *at <= due[0].min(due[1])
        {
            let (at, to, flight) = self.flying.pop_front().expect("it was just looked at");
            self.now = self.now.max(at);
            return self.land(to, flight);
        }
        let number = usize::from(due[1] < due[0]);
        self.now = self.now.max(due[number]);
        self.input(number, Input::Timeout);
    }

    fn land(&mut self, to: usize, flight: Flight) {
        match flight {
            Flight::Datagram(bytes) => self.input(to, Input::Datagram { from: self.address(1 - to), bytes: &bytes }),
            Flight::Opened(stream) => self.input(to, Input::StreamOpened { stream, from: self.address(1 - to) }),
            Flight::Bytes(stream, bytes) => self.input(to, Input::StreamBytes { stream, bytes: &bytes }),
            Flight::Closed(stream) => self.input(to, Input::StreamClosed { stream }),
        }
    }

    fn address(&self, number: usize) -> SocketAddr {
        address(self.nodes[number].id().0)
    }

    fn input(&mut self, number: usize, input: Input<'_>) {
        let now = self.moment();
        let watch = Stopwatch::now();
        self.nodes[number].handle_input(now, input);
        self.busy[number] += watch.elapsed();
        let mut written = Vec::new();
        while let Some(output) = self.nodes[number].poll_output() {
            self.carry(number, output, &mut written);
        }
        for stream in written {
            self.input(number, Input::StreamWritten { stream });
        }
    }

    fn carry(&mut self, from: usize, output: Output, written: &mut Vec<StreamId>) {
        let (at, to) = (self.now + 1_000, 1 - from);
        match output {
            Output::Transmit { channel: Channel::Datagram, bytes, .. } => {
                self.listen(&bytes, ENVELOPE);
                self.flying.push_back((at, to, Flight::Datagram(bytes)));
            }
            Output::Transmit { channel: Channel::Stream(stream), bytes, .. } => {
                let there = self.other_end(from, stream).unwrap_or_else(|| {
                    let there = StreamId(2 * self.streams.len() as u64 + 1);
                    self.streams.push((from, stream, there));
                    self.flying.push_back((at, to, Flight::Opened(there)));
                    there
                });
                written.push(stream);
                self.flying.push_back((at, to, Flight::Bytes(there, bytes)));
            }
            Output::Close { stream } => {
                if let Some(there) = self.other_end(from, stream) {
                    self.flying.push_back((at, to, Flight::Closed(there)));
                }
            }
            Output::Persist { .. } | Output::Event(_) => {}
        }
    }

    fn other_end(&self, from: usize, stream: StreamId) -> Option<StreamId> {
        self.streams.iter().find_map(|&(opener, here, there)| match (opener == from, here == stream, there == stream) {
            (true, true, _) => Some(there),
            (false, _, true) => Some(here),
            (true | false, ..) => None,
        })
    }

    /// Counts what compares data in a datagram.
    fn listen(&mut self, bytes: &[u8], envelope: usize) {
        let mut rest = &bytes[envelope..];
        let mut counted = 0;
        while let Some((&kind, content)) = rest.split_first() {
            let (head, length) = if kind < 0x10 { (1, 10) } else { sized(content) };
            let frame = &rest[head..head + length];
            let exchange = |from: usize| frame.get(from..from + 8).map(<[u8]>::to_vec);
            let is_of_data = match kind {
                SKETCH if frame[0] & 0x7f == DATA => {
                    self.exchanges.extend(exchange(1));
                    true
                }
                MORE | SETTLED => exchange(0).is_some_and(|exchange| self.exchanges.contains(&exchange)),
                kind => kind == REQUEST,
            };
            if is_of_data {
                counted += head + length;
            }
            rest = &rest[head + length..];
        }
        if counted > 0 {
            self.spoken.bytes += envelope + counted;
            self.spoken.datagrams += 1;
        }
    }
}

/// How long the kind and length of a frame are, and what follows.
fn sized(content: &[u8]) -> (usize, usize) {
    let bytes = content.iter().position(|byte| byte & 0x80 == 0).expect("a whole frame") + 1;
    let length = content[..bytes].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
    (1 + bytes, length)
}
