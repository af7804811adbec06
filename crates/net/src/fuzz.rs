//! A door for fuzzers and for the tests that replay what they found, and for nobody else: what is behind it may change at
//! any time.
//!
//! The first byte of an input says whether the rest is what came in (even), or changes to something genuine (odd): what was
//! changed must not pass for authentic.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rumormill_core::wire::{Header, VERSION};
use rumormill_core::{NodeId, Wall};
use tokio::io::{duplex, join};
use tokio::sync::watch;

use crate::keyring::derived::Ring;
use crate::keyring::{Key, Keyring};
use crate::noise::{Channel, Opener, Terms};
use crate::seal::{HEADROOM, Sealer};

const CLUSTER: u32 = 1;
/// When everything happens.
const NOW: u64 = 1_800_000_000_000_000;
const WINDOW: Duration = Duration::from_hours(1);
/// For first words: longer than a fuzzer runs.
const OPENING_WINDOW: Duration = Duration::from_hours(24);

thread_local! {
    /// The first words of somebody who has the key. They are the only ones for as long as a fuzzer runs: it learns them from what
    /// they are compared with, and others that are not old yet would rightly be answered too.
    static OPENING: Vec<u8> = first_words(&terms());
    /// Both ends of a sealed stream.
    static CHANNEL: (Channel, Channel) = meet(&terms());
}

/// A datagram.
pub fn seal(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let (_keys, ring) = watch::channel(Arc::new(Ring::of(&keyring())));
    let (mut here, mut there) = (sealer(NodeId(1), &ring), sealer(NodeId(2), &ring));
    if kind.is_multiple_of(2) {
        open(&mut there, bytes);
        return;
    }
    let genuine = here.seal(&datagram(), Wall::from_micros(NOW));
    let changed = changed(&genuine, bytes);
    let is_open = open(&mut there, &changed);
    assert_eq!(is_open, changed == genuine, "what was changed is not authentic, and what was not is");
}

/// The first words of a stream.
pub fn handshake(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    OPENING.with(|genuine| {
        let words = if kind.is_multiple_of(2) { bytes.to_vec() } else { changed(genuine, bytes) };
        let mut answer = Vec::new();
        let is_accepted = at_once(terms().answer(&mut join(&words[..], &mut answer))).is_ok();
        assert_eq!(is_accepted, words.starts_with(genuine), "nobody else has the key");
        assert!(is_accepted || answer.is_empty(), "whoever does not have the key gets no answer");
    });
}

/// What comes after them.
pub fn frames(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    CHANNEL.with(|(here, there)| {
        let (content, mut sent) = (b"first".to_vec(), 0);
        let mut genuine = here.seal(&content, &mut sent);
        genuine.extend(here.seal(b"second", &mut sent));
        let frames = if kind.is_multiple_of(2) { bytes.to_vec() } else { changed(&genuine, bytes) };
        let (mut opener, mut opened) = (Opener::default(), Vec::new());
        for piece in frames.chunks(usize::from(kind).max(1)) {
            opener.take_in(piece);
            while let Ok(Some(content)) = opener.next(there) {
                opened.extend(content);
            }
        }
        assert!(b"firstsecond".starts_with(&opened[..]), "{opened:?} was never sealed");
    });
}

/// Something genuine after changes: each three bytes xor the third into the place that the first two name; what is left over
/// is appended.
fn changed(genuine: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = genuine.to_vec();
    let (changes, rest) = changes.as_chunks::<3>();
    for [low, high, by] in changes {
        let place = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
        bytes[place] ^= by;
    }
    bytes.extend_from_slice(rest);
    bytes
}

fn keyring() -> Keyring {
    Keyring::new(&[1; 16], vec![Key::new(&[2; 32])]).expect("one key is a ring")
}

fn sealer(node: NodeId, ring: &watch::Receiver<Arc<Ring>>) -> Sealer {
    Sealer::new(node, CLUSTER, WINDOW, ring.clone(), || Some(7)).expect("it was drawn")
}

fn datagram() -> Vec<u8> {
    let header = Header { cluster: CLUSTER, sender: NodeId(1), target: NodeId(2), session: 1, clock: 0 };
    [&header.to_bytes()[..], &[VERSION.major << 4], &[1; 11]].concat()
}

fn open(sealer: &mut Sealer, sealed: &[u8]) -> bool {
    let mut buffer = [&[0; HEADROOM][..], sealed].concat();
    sealer.open(&mut buffer, Wall::from_micros(NOW)).is_ok()
}

fn terms() -> Terms {
    let (_keys, keys) = watch::channel(Arc::new(Ring::of(&keyring())));
    Terms { cluster: CLUSTER, cluster_name: "a".into(), window: OPENING_WINDOW, keys, counters: Arc::default() }
}

fn first_words(terms: &Terms) -> Vec<u8> {
    let mut words = Vec::new();
    assert!(at_once(terms.open(&mut join(&[][..], &mut words))).is_err(), "nobody answers");
    words
}

fn meet(terms: &Terms) -> (Channel, Channel) {
    let (mut here, mut there) = duplex(1_024);
    let (here, there) = at_once(async { tokio::join!(terms.open(&mut here), terms.answer(&mut there)) });
    (here.expect("it has the key"), there.expect("so has the other"))
}

/// Runs what waits for nothing but itself.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
    }
}
