//! Whole nodes under scripts: any bytes are steps of a node's life, as a driver that keeps its contract would bring them about.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::signing;
use crate::agreement::Change;
use crate::config::{Config, ConfigBuilder, IdentityKind, View};
use crate::credentials::Signatures;
use crate::data::{Edit, Write};
use crate::frame::KIND_UPDATES;
use crate::identity::{Identity, NodeId, Sequence, Tags};
use crate::io::{Channel, Command, Input, Output, QueryId, State, StreamId, Ticket, Token};
use crate::node::Node;
use crate::time::{Instant, Now, Wall};
use crate::wire::{Header, Put, Reader, VERSION};

/// A script goes no further.
const STEPS_MAX: usize = 2_000;
/// One input causes no more: what it asks for goes out by and by.
const OUTPUTS_MAX: usize = 10_000;
/// When all scripts begin.
pub(super) const EPOCH: u64 = 1_800_000_000_000_000;

const DATAGRAM: u8 = 0;
const TIMEOUT: u8 = 1;
const WAIT: u8 = 2;
const CLOCK: u8 = 3;
const STREAM_OPENED: u8 = 4;
const STREAM_BYTES: u8 = 5;
const STREAM_WRITTEN: u8 = 6;
const STREAM_CLOSED: u8 = 7;
const STREAM_REFUSED: u8 = 8;
const PERSISTED: u8 = 9;
const PERSIST_FAILED: u8 = 10;
const COMMAND: u8 = 11;
const ABANDONED: u8 = 12;
/// An update of a member, signed as it should be.
const VOUCHED: u8 = 13;
const STEPS: u8 = 14;

/// The first byte of a script: the node has a partial view.
pub const PARTIAL: u8 = 1;
/// Likewise: what it stores outlives it, so that it waits for the disk.
pub const DURABLE: u8 = 2;
/// Likewise: its cluster signs, with signatures for scripts.
pub const SIGNED: u8 = 4;

/// The id of the node of that number.
pub(super) fn id(number: u8) -> NodeId {
    NodeId(u64::from(number) + 1)
}

/// Where the node of that number is reached.
pub fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 4747))
}

/// The moment so many microseconds after the start of all scripts.
pub fn moment(micros: u64) -> Now {
    Now { instant: Instant::from_micros(micros), wall: Wall::from_micros(EPOCH + micros) }
}

/// The node of that number at the beginning of a script.
pub fn start(flags: u8, number: u8) -> Node {
    let identity = Identity {
        durable: flags & DURABLE != 0,
        signing: (flags & SIGNED != 0).then(|| signing::signing(number)),
        ..Identity::new(id(number), format!("n{number}"), address(number), u64::from(number))
    };
    let view = if flags & PARTIAL != 0 { View::Partial } else { View::Full };
    let mut config = ConfigBuilder { view, ..ConfigBuilder::lan() };
    if flags & SIGNED != 0 {
        (config.identity, config.authority) = (IdentityKind::Signed, signing::authority());
    }
    let config: Config = config.build().expect("valid settings");
    Node::new(identity, config, u64::from(number), moment(0))
}

/// What the node of that number signs with, where it does.
pub fn signatures(number: u8) -> Arc<dyn Signatures> {
    signing::signing(number).signatures
}

/// Runs node 1 by a script. It must live through it, hold no more streams and hot updates than its settings allow, and
/// believe that it is alive.
pub fn node(script: &[u8]) {
    live(script, |_, _| {}, |_| {});
}

/// The same; `between` has the node before each step, and `witness` sees what it does.
pub fn live(script: &[u8], mut between: impl FnMut(usize, &mut Node), witness: impl FnMut(&Output)) {
    let mut reader = Reader::new(script);
    let mut host = Host::new(reader.u8().unwrap_or(0), witness);
    for step in 0..STEPS_MAX {
        between(step, &mut host.node);
        if host.step(&mut reader).is_none() {
            break;
        }
    }
}

/// A node and what its driver knows of it.
struct Host<W> {
    node: Node,
    now: Now,
    /// Open streams, and whether a piece is on its way.
    streams: BTreeMap<StreamId, bool>,
    accepted: u64,
    tokens: VecDeque<Token>,
    tickets: u64,
    witness: W,
}

impl<W: FnMut(&Output)> Host<W> {
    fn new(flags: u8, witness: W) -> Self {
        let node = start(flags, 1);
        let (streams, tokens) = (BTreeMap::new(), VecDeque::new());
        let mut host = Self { node, now: moment(0), streams, accepted: 1, tokens, tickets: 0, witness };
        host.drain();
        host
    }

    /// One step; `None` at the end of the script.
    fn step(&mut self, script: &mut Reader<'_>) -> Option<()> {
        let (kind, which) = (script.u8()?, script.u8()?);
        let stream = self.streams.keys().nth(usize::from(which) % self.streams.len().max(1)).copied();
        match kind % STEPS {
            DATAGRAM => self.give(Input::Datagram { from: address(which), bytes: script.block()? }),
            TIMEOUT => self.sleep(which),
            WAIT => self.advance(u64::from(script.u32()?)),
            CLOCK => self.set_clock(script.u32()?),
            STREAM_OPENED => self.accept(address(which)),
            STREAM_BYTES => {
                let bytes = script.block()?;
                if let Some(stream) = stream.filter(|_| !bytes.is_empty()) {
                    self.give(Input::StreamBytes { stream, bytes });
                }
            }
            STREAM_WRITTEN => self.write(stream),
            STREAM_CLOSED => self.end(stream, |stream| Input::StreamClosed { stream }),
            STREAM_REFUSED => self.end(stream, |stream| Input::StreamRefused { stream }),
            PERSISTED => {
                let token = self.tokens.pop_front();
                token.map(|token| self.give(Input::Persisted { token })).unwrap_or_default();
            }
            PERSIST_FAILED => {
                let token = self.tokens.pop_front();
                let reason = "disk full".to_owned();
                token.map(|token| self.give(Input::PersistFailed { token, reason })).unwrap_or_default();
            }
            COMMAND => {
                let command = command(which, script.block()?);
                self.tickets += 1;
                self.give(Input::Command { ticket: Ticket(self.tickets), command });
            }
            ABANDONED => self.give(Input::Abandoned { ticket: Ticket(u64::from(which)) }),
            VOUCHED => self.hear_vouched(which, script.block()?),
            _ => unreachable!("a remainder"),
        }
        Some(())
    }

    fn advance(&mut self, micros: u64) {
        let by = Duration::from_micros(micros);
        self.now = Now { instant: self.now.instant + by, wall: self.now.wall + by };
    }

    /// The deadline comes, by some milliseconds late.
    fn sleep(&mut self, late: u8) {
        let Some(due) = self.node.poll_timeout() else { return };
        let until = due + Duration::from_millis(late.into());
        let by = until.since(self.now.instant);
        self.advance(u64::try_from(by.as_micros()).unwrap_or(u64::MAX));
        self.give(Input::Timeout);
    }

    /// A datagram of the node of that number, with one update that it signed.
    fn hear_vouched(&mut self, number: u8, update: &[u8]) {
        let Some(update) = signing::vouched(number, update, self.node.config()) else { return };
        let (cluster, session) = (self.node.cluster_hash(), u64::from(number));
        let header = Header { cluster, sender: id(number), target: self.node.id(), session, clock: 0 };
        let mut content = vec![0; 3];
        content.put_varint(update.len() as u64 + 1);
        content.push(0);
        content.extend_from_slice(&update);
        let mut datagram = header.to_bytes().to_vec();
        datagram.extend_from_slice(&[VERSION.to_byte(), KIND_UPDATES]);
        datagram.put_varint(content.len() as u64);
        datagram.extend_from_slice(&content);
        self.give(Input::Datagram { from: address(number), bytes: &datagram });
    }

    /// Somebody sets the time of day: by so many seconds from where all began.
    fn set_clock(&mut self, seconds: u32) {
        self.now.wall = Wall::from_micros(u64::from(seconds) * 1_000_000);
    }

    fn accept(&mut self, from: SocketAddr) {
        let stream = StreamId(self.accepted);
        self.accepted += 2;
        self.streams.insert(stream, false);
        self.give(Input::StreamOpened { stream, from });
    }

    fn write(&mut self, stream: Option<StreamId>) {
        let Some(stream) = stream else { return };
        if self.streams.insert(stream, false) == Some(true) {
            self.give(Input::StreamWritten { stream });
        }
    }

    fn end(&mut self, stream: Option<StreamId>, input: fn(StreamId) -> Input<'static>) {
        let Some(stream) = stream else { return };
        self.streams.remove(&stream);
        self.give(input(stream));
    }

    fn give(&mut self, input: Input<'_>) {
        self.node.handle_input(self.now, input);
        self.drain();
        let (streams, hot) = self.node.load();
        let config = self.node.config();
        assert!(streams <= config.streams_max && hot <= config.hot_max, "{streams} streams, {hot} hot updates");
        let own = self.node.member(self.node.id()).map(|own| own.state);
        assert!(own.is_none_or(|state| matches!(state, State::Alive | State::Left)), "it believes to be {own:?}");
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(output) = self.node.poll_output() {
            count += 1;
            (self.witness)(&output);
            match output {
                Output::Transmit { channel: Channel::Stream(stream), .. } => {
                    self.streams.insert(stream, true);
                }
                Output::Close { stream } => drop(self.streams.remove(&stream)),
                Output::Persist { token, .. } => self.tokens.push_back(token),
                Output::Transmit { channel: Channel::Datagram, .. } | Output::Event(_) => {}
            }
        }
        assert!(count <= OUTPUTS_MAX, "{count} outputs of one input");
    }
}

/// The command of that number; its arguments come out of `text`.
pub fn command(number: u8, text: &[u8]) -> Command {
    let timeout = Duration::from_secs(5);
    let word = String::from_utf8_lossy(text).into_owned();
    let small = u64::from(text.first().copied().unwrap_or(0));
    let ids = || text.iter().map(|byte| NodeId(u64::from(*byte))).collect::<Vec<_>>();
    let key: String = word.chars().take(8).collect();
    let write = |edit| Command::Write { writes: vec![Write::new(key, edit)], replicas: 1, timeout };
    match number % 25 {
        0 => Command::Join { contacts: text.iter().take(8).map(|number| address(*number)).collect() },
        1 => Command::Publish { topic: "news".to_owned(), payload: text.to_vec() },
        2 => Command::Query { name: word, payload: Vec::new(), filter: Tags::new(), nearest: None, timeout },
        3 => {
            let query = QueryId { origin: NodeId(small), sequence: Sequence(small) };
            Command::Answer { query, payload: text.to_vec() }
        }
        4 => write(Edit::Put { value: text.to_vec(), ttl: (small % 2 == 1).then(|| Duration::from_secs(small)) }),
        5 => write(Edit::Delete),
        6 => write(Edit::Add { amount: i64::try_from(small).expect("a byte") - 128 }),
        7 => write(Edit::Insert { element: text.to_vec() }),
        8 => write(Edit::RemoveElement { element: text.to_vec() }),
        9 => Command::SetTags { tags: Tags::from([("tag".to_owned(), word)]) },
        10 => Command::SetGauge { name: "gauge".to_owned(), value: text.first().map(|byte| f64::from(*byte)) },
        11 => Command::Aggregate { gauge: "gauge".to_owned(), quantile: (small % 2 == 1).then_some(0.5) },
        12 => Command::Found { voters: ids() },
        13 => Command::ChangeVoters { voters: ids(), timeout },
        14 => Command::Operate { register: word, change: Change::Read, timeout },
        15 => Command::Operate { register: "register".to_owned(), change: Change::set(text.into()), timeout },
        16 => Command::Acquire { lease: word, holder: small, label: String::new(), ttl: timeout, timeout },
        17 => Command::Renew { lease: word, holder: small, token: small, ttl: timeout, timeout },
        18 => Command::Release { lease: word, holder: small, token: small, timeout },
        19 => Command::Forgo { lease: word, holder: small, token: small, timeout },
        20 => Command::RoundTrip { from: NodeId(2), to: NodeId(small), timeout },
        21 => Command::Trace { topic: "news".to_owned(), origin: NodeId(2), sequence: Sequence::new(1, 1), timeout },
        22 => Command::Remove { member: NodeId(small), force: small % 2 == 1 },
        23 => Command::Leave,
        _ => Command::Revoke { revocation: signing::revocation(text) },
    }
}

/// Writes scripts, for corpora of what really happens.
#[derive(Debug)]
pub struct Scribe {
    script: Vec<u8>,
    now: Instant,
}

impl Scribe {
    /// A script that begins so.
    pub fn new(flags: u8) -> Self {
        Self { script: vec![flags], now: Instant::ZERO }
    }

    /// The script so far.
    pub fn script(&self) -> &[u8] {
        &self.script
    }

    /// Time passes until then.
    pub fn wait(&mut self, until: Instant) {
        let micros = u32::try_from(until.since(self.now).as_micros()).expect("scripts of real lives wait for seconds");
        if micros > 0 {
            self.script.extend_from_slice(&[WAIT, 0]);
            self.script.extend_from_slice(&micros.to_le_bytes());
            self.now = until;
        }
    }

    /// The deadline comes in time.
    pub fn timeout(&mut self, due: Instant) {
        self.script.extend_from_slice(&[TIMEOUT, 0]);
        self.now = self.now.max(due);
    }

    /// A datagram of the node of that number.
    pub fn datagram(&mut self, from: u8, bytes: &[u8]) {
        self.put(DATAGRAM, from, bytes);
    }

    /// An update that the node of that number signed; `bytes` may be without credentials.
    pub fn vouched(&mut self, from: u8, bytes: &[u8]) {
        self.put(VOUCHED, from, bytes);
    }

    /// That node opens a stream.
    pub fn opened(&mut self, from: u8) {
        self.script.extend_from_slice(&[STREAM_OPENED, from]);
    }

    /// Bytes on that one of the open streams.
    pub fn bytes(&mut self, stream: u8, bytes: &[u8]) {
        self.put(STREAM_BYTES, stream, bytes);
    }

    /// What was sent on that one is on its way.
    pub fn written(&mut self, stream: u8) {
        self.script.extend_from_slice(&[STREAM_WRITTEN, stream]);
    }

    /// That one ends.
    pub fn closed(&mut self, stream: u8) {
        self.script.extend_from_slice(&[STREAM_CLOSED, stream]);
    }

    /// The disk has what it was asked to keep first.
    pub fn persisted(&mut self) {
        self.script.extend_from_slice(&[PERSISTED, 0]);
    }

    /// The application asks for something.
    pub fn command(&mut self, number: u8, text: &[u8]) {
        self.put(COMMAND, number, text);
    }

    fn put(&mut self, kind: u8, which: u8, bytes: &[u8]) {
        self.script.extend_from_slice(&[kind, which]);
        self.script.put_varint(bytes.len() as u64);
        self.script.extend_from_slice(bytes);
    }
}
