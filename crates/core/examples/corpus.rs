//! Writes the corpora of the fuzz targets of this crate: what three real nodes say to each other, and what happens to one
//! of them meanwhile. `cargo run -p rumormill-core --example corpus`

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use rumormill_core::fuzz::{self, DURABLE, PARTIAL, SIGNED, Scribe};
use rumormill_core::io::{StreamId, Ticket, Token};
use rumormill_core::{Channel, Input, Instant, Node, Output};

const NODES: u8 = 3;
const HEADER: usize = 31;
const SKETCH: u8 = 0x17;
const UPDATES: u8 = 0x12;

/// What happens on its way to a node.
enum Arrival {
    Datagram(u8, Vec<u8>),
    Opened(u8, StreamId),
    Bytes(StreamId, Vec<u8>),
    Written(StreamId),
    Closed(StreamId),
    Persisted(Token),
    Command(u8, Vec<u8>),
}

/// Three nodes between which nothing takes time, and what is seen of them.
struct Observed {
    nodes: BTreeMap<u8, Node>,
    now: Instant,
    waiting: VecDeque<(u8, Arrival)>,
    /// The other ends of streams.
    ends: BTreeMap<(u8, StreamId), (u8, StreamId)>,
    opened: BTreeMap<u8, u64>,
    tickets: u64,
    scribe: Scribe,
    /// The streams of node 1, as its script counts them.
    open: BTreeSet<StreamId>,
    datagrams: Vec<Vec<u8>>,
    streams: BTreeMap<(u8, StreamId), Vec<u8>>,
}

impl Observed {
    fn new(flags: u8) -> Self {
        let mut observed = Self {
            nodes: (1..=NODES).map(|number| (number, fuzz::start(flags, number))).collect(),
            now: Instant::ZERO,
            waiting: VecDeque::new(),
            ends: BTreeMap::new(),
            opened: BTreeMap::new(),
            tickets: 0,
            scribe: Scribe::new(flags),
            open: BTreeSet::new(),
            datagrams: Vec::new(),
            streams: BTreeMap::new(),
        };
        (1..=NODES).for_each(|number| observed.drain(number));
        observed.settle();
        observed
    }

    /// Time passes, and whatever is due happens.
    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((due, number)) = self.next_due().filter(|(due, _)| *due <= until) {
            self.now = self.now.max(due);
            if number == 1 {
                self.scribe.timeout(due);
            }
            self.give(number, Input::Timeout);
            self.settle();
        }
        self.now = until;
    }

    fn next_due(&self) -> Option<(Instant, u8)> {
        self.nodes.iter().filter_map(|(number, node)| Some((node.poll_timeout()?, *number))).min()
    }

    fn command(&mut self, number: u8, command: u8, text: &[u8]) {
        self.waiting.push_back((number, Arrival::Command(command, text.to_vec())));
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((number, arrival)) = self.waiting.pop_front() {
            if self.nodes.contains_key(&number) {
                if number == 1 {
                    self.note(&arrival);
                }
                self.arrive(number, arrival);
            }
        }
    }

    /// Writes down what happens to node 1.
    fn note(&mut self, arrival: &Arrival) {
        self.scribe.wait(self.now);
        let place = |stream| {
            let place = self.open.iter().position(|open| open == stream).expect("it is open");
            u8::try_from(place).expect("a few streams")
        };
        match arrival {
            Arrival::Datagram(from, bytes) => self.scribe.datagram(*from, bytes),
            Arrival::Opened(from, _) => self.scribe.opened(*from),
            Arrival::Bytes(stream, bytes) => self.scribe.bytes(place(stream), bytes),
            Arrival::Written(stream) => self.scribe.written(place(stream)),
            Arrival::Closed(stream) => self.scribe.closed(place(stream)),
            Arrival::Persisted(_) => self.scribe.persisted(),
            Arrival::Command(command, text) => self.scribe.command(*command, text),
        }
    }

    fn arrive(&mut self, number: u8, arrival: Arrival) {
        match arrival {
            Arrival::Datagram(from, bytes) => {
                self.give(number, Input::Datagram { from: fuzz::address(from), bytes: &bytes });
                self.datagrams.push(bytes);
            }
            Arrival::Opened(from, stream) => {
                self.opens(number, stream);
                self.give(number, Input::StreamOpened { stream, from: fuzz::address(from) });
            }
            Arrival::Bytes(stream, bytes) => {
                self.give(number, Input::StreamBytes { stream, bytes: &bytes });
                self.streams.entry((number, stream)).or_default().extend(bytes);
            }
            Arrival::Written(stream) => self.give(number, Input::StreamWritten { stream }),
            Arrival::Closed(stream) => {
                self.closes(number, stream);
                self.give(number, Input::StreamClosed { stream });
            }
            Arrival::Persisted(token) => self.give(number, Input::Persisted { token }),
            Arrival::Command(command, text) => {
                self.tickets += 1;
                let (ticket, command) = (Ticket(self.tickets), fuzz::command(command, &text));
                self.give(number, Input::Command { ticket, command });
            }
        }
    }

    fn give(&mut self, number: u8, input: Input<'_>) {
        let node = self.nodes.get_mut(&number).expect("it runs");
        node.handle_input(fuzz::moment(self.now.as_micros()), input);
        self.drain(number);
    }

    fn drain(&mut self, number: u8) {
        while let Some(output) = self.nodes.get_mut(&number).and_then(Node::poll_output) {
            match output {
                Output::Transmit { to, channel: Channel::Datagram, bytes } => {
                    self.waiting.push_back((number_of(to), Arrival::Datagram(number, bytes)));
                }
                Output::Transmit { to, channel: Channel::Stream(stream), bytes } => {
                    let (other, end) = self.other_end(number, stream, number_of(to));
                    self.waiting.push_back((other, Arrival::Bytes(end, bytes)));
                    self.waiting.push_back((number, Arrival::Written(stream)));
                }
                Output::Close { stream } => {
                    self.closes(number, stream);
                    self.waiting.retain(|(to, arrival)| {
                        *to != number || !matches!(arrival, Arrival::Written(written) if *written == stream)
                    });
                    if let Some((other, end)) = self.ends.remove(&(number, stream)) {
                        self.ends.remove(&(other, end));
                        self.waiting.push_back((other, Arrival::Closed(end)));
                    }
                }
                Output::Persist { token, .. } => self.waiting.push_back((number, Arrival::Persisted(token))),
                Output::Event(_) => {}
            }
        }
    }

    /// Where a stream ends; it begins here if it is new.
    fn other_end(&mut self, number: u8, stream: StreamId, to: u8) -> (u8, StreamId) {
        self.opens(number, stream);
        if let Some(end) = self.ends.get(&(number, stream)) {
            return *end;
        }
        let count = self.opened.entry(to).or_default();
        *count += 1;
        let end = (to, StreamId(2 * *count - 1));
        self.ends.insert((number, stream), end);
        self.ends.insert(end, (number, stream));
        self.waiting.push_back((to, Arrival::Opened(number, end.1)));
        end
    }

    fn opens(&mut self, number: u8, stream: StreamId) {
        if number == 1 {
            self.open.insert(stream);
        }
    }

    fn closes(&mut self, number: u8, stream: StreamId) {
        if number == 1 {
            self.open.remove(&stream);
        }
    }
}

fn number_of(address: SocketAddr) -> u8 {
    match address.ip() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => unreachable!("nodes of scripts have short addresses"),
    }
}

/// A life in which everything happens that nodes talk about.
fn life(flags: u8) -> Observed {
    let mut observed = Observed::new(flags);
    let second = Duration::from_secs(1);
    for number in [2, 3] {
        observed.command(number, 0, &[1]);
        observed.run(second);
    }
    observed.command(1, 12, &[2, 3, 4]);
    observed.command(2, 1, b"hello");
    observed.command(1, 1, &[7; 2_000]);
    observed.command(3, 2, b"who");
    observed.run(second);
    let all: [(u8, u8, &[u8]); 12] = [
        (1, 4, b"key"),
        (2, 6, &[200]),
        (3, 7, b"element"),
        (2, 5, b"key"),
        (3, 9, b"tag"),
        (1, 10, &[5]),
        (2, 11, &[1]),
        (1, 15, b"value"),
        (2, 15, b"another"),
        (3, 16, b"lease"),
        (3, 20, &[3]),
        (1, 21, b""),
    ];
    for (number, command, text) in all {
        observed.command(number, command, text);
        observed.run(second / 4);
    }
    observed.run(2 * second);
    if flags & SIGNED != 0 {
        // Nodes that are not there: what they wrote before counts, and what after does not; the second word is earlier.
        observed.command(2, 24, &[77, 0]);
        observed.command(1, 24, &[78, 9, 1]);
        observed.command(1, 24, &[78, 2, 2]);
        observed.run(second);
    }
    // Node 3 falls silent, and is believed dead in the end; node 2 leaves.
    observed.nodes.remove(&3);
    observed.run(12 * second);
    observed.command(2, 23, b"");
    observed.run(2 * second);
    observed
}

/// One of each kind.
fn of_each<K: Ord>(inputs: impl Iterator<Item = (K, Vec<u8>)>) -> Vec<Vec<u8>> {
    inputs.collect::<BTreeMap<_, _>>().into_values().collect()
}

fn write(target: &str, inputs: Vec<Vec<u8>>) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    std::fs::create_dir_all(&directory).expect("a directory for the corpus");
    for (number, input) in inputs.iter().enumerate() {
        std::fs::write(directory.join(format!("{number:02}")), input).expect("room for the corpus");
    }
}

/// The content of the first frame of a datagram, if it is of that kind and shorter than 128 bytes.
fn first_frame(frames: &[u8], kind: u8) -> Option<&[u8]> {
    let (head, content) = frames.split_at_checked(2)?;
    (head[0] == kind && head[1] < 128).then(|| content.get(..usize::from(head[1])))?
}

/// What node 1 has in the database in the end.
fn held(life: &Observed) -> Vec<Vec<u8>> {
    life.nodes.get(&1).map(|node| node.shelf().contents()).unwrap_or_default()
}

/// A life of nodes that sign. In the end others say with good signatures what was said in lives that are not signed, and
/// some of them and at last the node itself are revoked.
fn signed_life(flags: u8, others: &[Vec<u8>]) -> Observed {
    let mut signed = life(SIGNED | flags);
    for from in [2, 3, 78, 200] {
        for update in others {
            signed.scribe.vouched(from, update);
        }
    }
    for revoked in [2, 200, 1] {
        signed.scribe.command(24, &[revoked, 1, 1]);
        for update in others {
            signed.scribe.vouched(revoked, update);
        }
    }
    signed
}

fn main() {
    let lives = [life(0), life(PARTIAL), life(DURABLE)];
    let frames: Vec<&[u8]> = lives.iter().flat_map(|life| &life.datagrams).map(|bytes| &bytes[HEADER..]).collect();
    write("wire", of_each(frames.iter().filter_map(|frames| Some((*frames.first()?, frames.to_vec())))));
    let updates = frames.iter().filter_map(|frames| first_frame(frames, UPDATES)?.get(5..)).filter(|u| !u.is_empty());
    let updates = of_each(updates.map(|update| (update[0], update.to_vec())));
    let said = [&updates[..], &held(&lives[0])].concat();
    let signed = [signed_life(0, &said), signed_life(PARTIAL | DURABLE, &said)];
    write("update", updates.into_iter().chain(held(&signed[0])).collect());
    let sketches = frames.iter().filter_map(|frames| first_frame(frames, SKETCH)?.get(19..));
    let sketches = sketches.map(|symbols| (symbols.len(), [&[0][..], symbols].concat()));
    let ids = (1..200_u64).flat_map(|id| id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    write("sketch", of_each(sketches.chain([(0, [1].into_iter().chain(ids).collect())])));
    let streams = lives.iter().flat_map(|life| life.streams.values());
    write("stream", of_each(streams.map(|bytes| (bytes.len() / 512, [&[7][..], bytes].concat()))));
    write("node", lives.iter().chain(&signed).map(|life| life.scribe.script().to_vec()).collect());
}
