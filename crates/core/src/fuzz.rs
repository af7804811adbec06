//! A door for fuzzers and for the tests that replay what they found, and for nobody else: what is behind it may change at
//! any time.
//!
//! Each entry takes any bytes and must return. What it asserts on the way is what remote bytes must not be able to break.

mod script;
mod signing;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::effects::Effects;
use crate::frame::{Frame, Frames, Items};
use crate::io::StreamId;
use crate::rng::Rng;
use crate::sketch::{self, Decoded, SYMBOL_BYTES, SYMBOLS_MAX, Sketch, Symbol};
use crate::streams::{Received, Streams};
use crate::time::Now;
use crate::update::UpdateRef;

pub use script::{DURABLE, PARTIAL, SIGNED, Scribe, address, command, live, moment, node, signatures, start};

/// Any key will do.
const SECRET: [u8; 16] = *b"a secret of ids!";

/// The frames of a datagram or of a packet, each read to its last entry.
pub fn wire(bytes: &[u8]) {
    let frames = Frames::new(bytes).filter_map(Result::ok);
    let entries: usize = frames.map(|frame| entries_of(&frame)).sum();
    assert!(entries <= bytes.len(), "{entries} entries were read out of {} bytes", bytes.len());
}

/// How many entries the lists of a frame have, each at least a byte long.
fn entries_of(frame: &Frame<'_>) -> usize {
    match frame {
        Frame::Updates { items, .. }
        | Frame::Hold { items, .. }
        | Frame::Payload(items)
        | Frame::Propose(items)
        | Frame::Vote(items) => updates_of(items),
        Frame::Accusations(list) => list.accusations().count(),
        Frame::Announce(list) => list.announced().count(),
        Frame::Request(list) => list.short_ids().count(),
        Frame::Sketch { symbols, .. } => symbols.symbols().count(),
        Frame::Roll { list, .. } | Frame::Prune(list) => list.ids().count(),
        Frame::Graft { ids, .. } => ids.ids().count(),
        Frame::Ihave(list) => list.with_hops().count(),
        Frame::Shuffle { peers, .. } | Frame::Peers(peers) => peers.clone().count(),
        Frame::Average { offered: shares, .. } | Frame::Averaged { flows: shares, .. } => shares.clone().count(),
        // What they carry is read by handlers: `node` has those.
        Frame::Ping { .. }
        | Frame::Ack { .. }
        | Frame::PingReq { .. }
        | Frame::Nack { .. }
        | Frame::Feedback { .. }
        | Frame::More { .. }
        | Frame::Settled { .. }
        | Frame::Bulk { .. }
        | Frame::Challenge { .. }
        | Frame::Echo { .. }
        | Frame::Join
        | Frame::Welcome { .. }
        | Frame::Answer { .. }
        | Frame::Answered { .. }
        | Frame::Held { .. }
        | Frame::Reunion { .. }
        | Frame::Walk { .. }
        | Frame::Neighbour(_)
        | Frame::Size(_)
        | Frame::Forward(_)
        | Frame::Outcome(_)
        | Frame::Gauge { .. }
        | Frame::Gauged { .. }
        | Frame::Return { .. }
        | Frame::Returned { .. }
        | Frame::Locate
        | Frame::Located(_)
        | Frame::Refused
        | Frame::Unknown => 0,
    }
}

fn updates_of(items: &Items<'_>) -> usize {
    items.clone().map(|(_, bytes)| update(bytes)).count()
}

/// One update: what is read of it is the same whenever it is read, and is written in no other way.
pub fn update(bytes: &[u8]) {
    let Some(update) = UpdateRef::read(bytes) else { return };
    let again = UpdateRef::read(update.bytes).expect("what was read once is read again");
    assert_eq!((update.head, update.forget, update.expires), (again.head, again.forget, again.expires));
    assert_eq!(update.id(&SECRET), again.id(&SECRET));
    assert_eq!(update.rewritten(), bytes, "the same can be written in another way");
    assert!(update.expires <= update.forget, "a value outlives its place");
}

/// The difference of two sketches. Of a hostile peer, any symbols behind each other, after an even byte; after an odd one the ids
/// of an honest difference, which decodes to what it is.
pub fn sketch(bytes: &[u8]) {
    match bytes.split_first() {
        Some((kind, ids)) if kind % 2 == 1 => honest_sketch(ids),
        Some((_, symbols)) => hostile_sketch(symbols),
        None => {}
    }
}

fn hostile_sketch(bytes: &[u8]) {
    let (symbols, _) = bytes.as_chunks::<SYMBOL_BYTES>();
    let symbols: Vec<Symbol> = symbols.iter().take(SYMBOLS_MAX).map(|bytes| Symbol::from_bytes(*bytes)).collect();
    let given = symbols.len();
    match sketch::decode(symbols) {
        Decoded::Complete(ids) => {
            assert!(ids.len() <= given, "{} ids out of {given} symbols", ids.len());
            assert!(ids.is_sorted_by(|before, after| before < after), "an id came out twice");
        }
        Decoded::Incomplete { found } => assert!(found <= given, "{found} ids out of {given} symbols"),
        Decoded::Hostile => {}
    }
}

fn honest_sketch(bytes: &[u8]) {
    let (ids, _) = bytes.as_chunks::<8>();
    let ids: BTreeSet<u64> = ids.iter().take(SYMBOLS_MAX / 4).map(|id| u64::from_le_bytes(*id)).collect();
    let sketch = Sketch::grown(2 * ids.len() + 16, ids.iter().copied());
    match sketch::decode(sketch.symbols().to_vec()) {
        Decoded::Complete(found) => assert_eq!(found, ids.into_iter().collect::<Vec<_>>()),
        Decoded::Incomplete { found } => assert!(found < ids.len(), "all was found, and more was asked for"),
        Decoded::Hostile => panic!("an honest difference of {} ids looks hostile", ids.len()),
    }
}

/// What came in on a stream: the same packets come out of it whole and in pieces. The first byte says of how many bytes.
pub fn stream(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    assert_eq!(packets(bytes.chunks(bytes.len().max(1))), packets(bytes.chunks(usize::from(piece).max(1))));
}

fn packets<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut fx = Effects::new(Now::default(), 1);
    let (mut streams, id, mut packets) = (Streams::new(1), StreamId(1), Vec::new());
    assert!(streams.accept(id, SocketAddr::from(([127, 0, 0, 1], 1)), &mut fx), "there is room for one");
    for piece in pieces {
        streams.on_bytes(id, piece, &mut fx);
        while let Some(received) = streams.next(id, &mut fx) {
            match received {
                Received::Greeting(greeting) => streams.set_peer(id, greeting.header.sender),
                Received::Packet(packet) => packets.push(packet),
                Received::Oversized => return packets,
            }
        }
    }
    packets
}

/// Some of `bytes` changed as fuzzers change them, out of `rng`, and mixed with `other` now and then.
pub fn mutated(rng: &mut Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=rng.below(4) {
        mutate(rng, &mut bytes, other);
    }
    bytes
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.below(bytes.len() + 1);
    let until = at + rng.below((bytes.len() - at).min(32) + 1);
    match rng.below(8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..until)),
        2 => bytes.extend_from_within(at..until),
        3 => drop(bytes.splice(at..until, random(rng))),
        4 => bytes[at..until].fill(EDGES[rng.below(EDGES.len())]),
        5 => {
            let from = rng.below(other.len() + 1);
            let to = from + rng.below((other.len() - from).min(512) + 1);
            bytes.splice(at..until, other[from..to].iter().copied());
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
    }
}

/// Bytes at which something may break.
const EDGES: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];

fn random(rng: &mut Rng) -> Vec<u8> {
    (0..rng.below(9)).map(|_| rng.bits().to_le_bytes()[0]).collect()
}
