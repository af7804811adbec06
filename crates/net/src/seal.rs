//! The one place through which every datagram passes, last on its way out and first on its way in: sealed under a key that
//! is derived from the cluster's, so that nobody outside can read, forge or replay one. The node sees neither what is sealed
//! nor a key.
//!
//! The seal takes the place of the node's own header ([`Header`], 30 bytes): 4 bytes of the cluster's hash, which stay as
//! they are, then key id 1, session 8, low 5 bytes of the counter; behind the content a tag of 16. Sender and receiver are known
//! from their sessions; where they may not be, both ids lead the content: an **introduction** (`peers`). `docs/protocol.md` has
//! the bytes, decision 0016 the reasons.
//!
//! **Invariant:** a nonce is used once. It is the counter, which rises within a session, and each session has a key of its own.
//! **Invariant:** a datagram that is not authentic changes nothing, is not answered, and costs at most one derivation and one opening.

mod ciphers;
mod counts;
mod peers;
mod sessions;
mod window;

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use ring::aead::{Aad, LessSafeKey, Nonce};
use rumormill_core::limits::Limits;
use rumormill_core::wire::{HEADER_BYTES, Header};
use rumormill_core::{NodeId, Overhead, Wall};
use tokio::sync::watch;

use self::ciphers::Ciphers;
pub use self::counts::SealCounts;
pub(crate) use self::counts::{SealCounters, Unsealed};
use self::peers::{Form, Peers};
use self::sessions::Sessions;
use crate::keyring::KeyId;
use crate::keyring::derived::Ring;

/// What stands in clear before the content: cluster 4, key id 1, session 8, counter 5.
const CLEAR_BYTES: usize = 18;
/// What leads the content of an introduction: sender, receiver, and the receiver's session as the sender knows it.
const INTRODUCTION_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Room that a buffer has in front of what is received: the header of the node is longer than what stands in clear.
pub(crate) const HEADROOM: usize = HEADER_BYTES - CLEAR_BYTES;
/// What the seal adds to a datagram of the node, at most.
pub(crate) const DATAGRAM_OVERHEAD: usize = CLEAR_BYTES + INTRODUCTION_BYTES + TAG_BYTES - HEADER_BYTES;

/// The counter as it travels: its low 39 bits, six days of microseconds; the bit above says that this is an introduction.
const COUNTER_BITS: u32 = 39;
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;
const INTRODUCTION: u64 = 1 << COUNTER_BITS;

/// How far a clock may be set back until a new session begins. Until then the counter goes on from where it was.
const STEP_BACK_MAX: Duration = Duration::from_mins(1);

/// How old a datagram may be, and how far ahead: short against the time for which deletions are remembered, so that
/// nothing deleted comes back by a replay (design §6: 1 h for the default of a day).
pub(crate) fn window_of(tombstone_ttl: Duration) -> Duration {
    (tombstone_ttl / 24).clamp(Duration::from_mins(1), Duration::from_hours(1))
}

/// Seals and opens the datagrams of one node.
#[derive(Debug)]
pub(crate) struct Sealer {
    node: NodeId,
    cluster: [u8; 4],
    window: Duration,
    keys: watch::Receiver<Arc<Ring>>,
    /// The keys as this sealer knows them.
    ring: Arc<Ring>,
    own: Own,
    peers: Peers,
    sessions: Sessions,
    ciphers: Ciphers,
    /// Draws the sessions of this node.
    draw: fn() -> Option<u64>,
}

/// The session in which this node speaks.
#[derive(Debug)]
struct Own {
    session: u64,
    key: KeyId,
    cipher: LessSafeKey,
    /// Of the last datagram.
    counter: u64,
}

impl Own {
    fn new(session: u64, ring: &Ring, counter: u64) -> Self {
        let used = ring.used();
        Self { session, key: used.id(), cipher: used.datagrams(session), counter }
    }
}

/// What stands in clear before a datagram.
#[derive(Clone, Copy, Debug)]
struct Clear {
    cluster: [u8; 4],
    key: u8,
    session: u64,
    /// Low bits of the counter.
    low: u64,
    introduces: bool,
}

impl Clear {
    fn to_bytes(self) -> [u8; CLEAR_BYTES] {
        let mut bytes = [0; CLEAR_BYTES];
        bytes[..4].copy_from_slice(&self.cluster);
        bytes[4] = self.key;
        bytes[5..13].copy_from_slice(&self.session.to_le_bytes());
        let counter = self.low | if self.introduces { INTRODUCTION } else { 0 };
        bytes[13..].copy_from_slice(&counter.to_le_bytes()[..5]);
        bytes
    }

    fn of(bytes: &[u8; CLEAR_BYTES]) -> Self {
        let [c0, c1, c2, c3, key, s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, n4] = *bytes;
        let counter = u64::from_le_bytes([n0, n1, n2, n3, n4, 0, 0, 0]);
        Self {
            cluster: [c0, c1, c2, c3],
            key,
            session: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            low: counter & COUNTER_MASK,
            introduces: counter & INTRODUCTION != 0,
        }
    }
}

impl Sealer {
    /// A sealer of this node, with a session of its own; `None` if the system gives no random numbers.
    pub(crate) fn new(
        node: NodeId,
        cluster: u32,
        window: Duration,
        keys: watch::Receiver<Arc<Ring>>,
        draw: fn() -> Option<u64>,
    ) -> Option<Self> {
        let ring = Arc::clone(&keys.borrow());
        Some(Self {
            node,
            cluster: cluster.to_le_bytes(),
            window,
            keys,
            own: Own::new(draw()?, &ring, 0),
            ring,
            peers: Peers::default(),
            sessions: Sessions::default(),
            ciphers: Ciphers::default(),
            draw,
        })
    }

    /// What sealing adds to what a node sends.
    pub(crate) const fn overhead() -> Overhead {
        let (piece, opening) = (crate::noise::FRAME_OVERHEAD, crate::noise::OPENING_BYTES);
        Overhead { datagram: DATAGRAM_OVERHEAD, piece, opening }
    }

    /// This node goes on under another id.
    pub(crate) const fn rename(&mut self, node: NodeId) {
        self.node = node;
    }

    /// How many sessions are remembered.
    #[cfg(test)]
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// What came in last has been handled: what is sent from now on answers nobody.
    pub(crate) const fn settle(&mut self) {
        self.peers.settle();
    }

    /// Makes a datagram of the node ready to be sent.
    ///
    /// # Panics
    /// If it is shorter than the header that every datagram of a node has.
    pub(crate) fn seal(&mut self, datagram: &[u8], now: Wall) -> Vec<u8> {
        let (header, content) = Header::split(datagram).expect("a node's datagram has a header");
        self.take_up_keys();
        let counter = self.count(now);
        let sessions = &self.sessions;
        let form = self.peers.form(header.target, |session| sessions.sender(session) == Some(header.target));
        let clear = Clear {
            cluster: self.cluster,
            key: self.own.key.byte(),
            session: self.own.session,
            low: counter & COUNTER_MASK,
            introduces: matches!(form, Form::Introduction(_)),
        }
        .to_bytes();
        let mut sealed = Vec::with_capacity(CLEAR_BYTES + INTRODUCTION_BYTES + content.len() + TAG_BYTES);
        sealed.extend_from_slice(&clear);
        if let Form::Introduction(known) = form {
            sealed.extend_from_slice(&header.sender.0.to_le_bytes());
            sealed.extend_from_slice(&header.target.0.to_le_bytes());
            sealed.extend_from_slice(&known.to_le_bytes());
        }
        sealed.extend_from_slice(content);
        let receiver = if let Form::Short(session) = form { Some((header.target, session)) } else { None };
        let authenticated = Aad::from(Authenticated::new(&clear, receiver));
        let tag = self
            .own
            .cipher
            .seal_in_place_separate_tag(nonce(counter), authenticated, &mut sealed[CLEAR_BYTES..])
            .expect("a datagram is far shorter than what one nonce may seal");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Takes what came in out of its seal. It lies in `buffer` behind [`HEADROOM`] bytes; where the datagram of the node
    /// then lies is returned.
    pub(crate) fn open(&mut self, buffer: &mut [u8], now: Wall) -> Result<Range<usize>, Unsealed> {
        self.take_up_keys();
        let (_, received) = buffer.split_at_mut_checked(HEADROOM).ok_or(Unsealed::Malformed)?;
        let Some((&mut clear_bytes, content)) = received.split_first_chunk_mut::<CLEAR_BYTES>() else {
            return Err(Unsealed::Malformed);
        };
        let clear = Clear::of(&clear_bytes);
        if clear.cluster != self.cluster {
            return Err(Unsealed::Foreign);
        }
        let before = if clear.introduces { INTRODUCTION_BYTES } else { 0 };
        if content.len() < before + 1 + TAG_BYTES {
            return Err(Unsealed::Malformed);
        }
        let key = self.ring.get(clear.key).ok_or(Unsealed::UnknownKey)?;
        let (times, counter) = self.admit(&clear, now)?;
        let receiver = (!clear.introduces).then_some((self.node, self.own.session));
        let authenticated = Authenticated::new(&clear_bytes, receiver);
        let opened = self.ciphers.open(key, clear.session, nonce(counter), authenticated, content)?;

        let (sender, target, knows_us) = if clear.introduces {
            let introduced = Introduced::of(opened).ok_or(Unsealed::Malformed)?;
            if self.sessions.sender(clear.session).is_some_and(|known| known != introduced.sender) {
                return Err(Unsealed::Malformed);
            }
            (introduced.sender, introduced.target, introduced.known == self.own.session)
        } else {
            (self.sessions.sender(clear.session).ok_or(Unsealed::UnknownSession)?, self.node, true)
        };
        self.sessions.take(clear.session, sender, counter, times);
        if target == self.node || target == NodeId::NONE {
            self.peers.hear(sender, clear.session, knows_us);
        }
        let header = Header {
            cluster: u32::from_le_bytes(self.cluster),
            sender,
            target,
            session: clear.session,
            clock: low_seconds(counter),
        };
        let start = HEADROOM + CLEAR_BYTES + before;
        buffer[start - HEADER_BYTES..start].copy_from_slice(&header.to_bytes());
        Ok(start - HEADER_BYTES..buffer.len() - TAG_BYTES)
    }

    /// What can be seen before anything is opened: the oldest counter that is still accepted and the present one, and that of
    /// this datagram.
    fn admit(&self, clear: &Clear, now: Wall) -> Result<(RangeInclusive<u64>, u64), Unsealed> {
        let (now, window) = (now.as_micros(), micros(self.window));
        let (oldest, counter) = (now.saturating_sub(window), nearest(clear.low, now));
        if counter < oldest {
            return Err(Unsealed::Old);
        }
        if counter > now.saturating_add(window) {
            return Err(Unsealed::Ahead);
        }
        if !clear.introduces && self.sessions.sender(clear.session).is_none() {
            return Err(Unsealed::UnknownSession);
        }
        if !self.sessions.is_new(clear.session, counter) {
            return Err(Unsealed::Replayed);
        }
        Ok((oldest..=now, counter))
    }

    /// The counter of the next datagram: this machine's clock, but always more than the last. A clock that is set back far
    /// begins a new session, as the old one would soon be refused for its age.
    fn count(&mut self, now: Wall) -> u64 {
        let now = now.as_micros();
        if now.saturating_add(micros(STEP_BACK_MAX)) < self.own.counter
            && let Some(session) = (self.draw)()
        {
            self.own = Own::new(session, &self.ring, 0);
            self.peers.forget_us();
        }
        self.own.counter = now.max(self.own.counter + 1);
        self.own.counter
    }

    /// Goes on with other keys if they have changed; session and counter stay.
    fn take_up_keys(&mut self) {
        // An error says that the node is about to end.
        if !self.keys.has_changed().unwrap_or(false) {
            return;
        }
        self.ring = Arc::clone(&self.keys.borrow_and_update());
        if self.ring.used().id() != self.own.key {
            self.own = Own::new(self.own.session, &self.ring, self.own.counter);
        }
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        let Self { node: _, cluster: _, window: _, keys: _, ring, own: _, peers, sessions, ciphers, draw: _ } = self;
        ring.limits(to);
        peers.limits(to);
        sessions.limits(to);
        ciphers.limits(to);
    }
}

/// What leads the content of an introduction.
#[derive(Clone, Copy, Debug)]
struct Introduced {
    sender: NodeId,
    target: NodeId,
    known: u64,
}

impl Introduced {
    fn of(content: &[u8]) -> Option<Self> {
        let (words, _) = content.get(..INTRODUCTION_BYTES)?.as_chunks::<8>();
        let [sender, target, known] = *words else { return None };
        let [sender, target, known] = [sender, target, known].map(u64::from_le_bytes);
        Some(Self { sender: NodeId(sender), target: NodeId(target), known })
    }
}

/// What is authenticated beside the content: all that stands in clear, and of the short form the receiver and its session.
#[derive(Clone, Copy, Debug)]
struct Authenticated {
    bytes: [u8; CLEAR_BYTES + 16],
    length: usize,
}

impl Authenticated {
    fn new(clear: &[u8; CLEAR_BYTES], receiver: Option<(NodeId, u64)>) -> Self {
        let mut bytes = [0; CLEAR_BYTES + 16];
        bytes[..CLEAR_BYTES].copy_from_slice(clear);
        let Some((node, session)) = receiver else { return Self { bytes, length: CLEAR_BYTES } };
        bytes[CLEAR_BYTES..CLEAR_BYTES + 8].copy_from_slice(&node.0.to_le_bytes());
        bytes[CLEAR_BYTES + 8..].copy_from_slice(&session.to_le_bytes());
        Self { bytes, length: CLEAR_BYTES + 16 }
    }
}

impl AsRef<[u8]> for Authenticated {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The counter nearest to `now` that has these low bits.
fn nearest(low: u64, now: u64) -> u64 {
    const SPAN: u64 = 1 << COUNTER_BITS;
    let here = (now & !COUNTER_MASK) | low;
    if here > now && here - now > SPAN / 2 {
        here.checked_sub(SPAN).unwrap_or(here)
    } else if now > here && now - here > SPAN / 2 {
        here.saturating_add(SPAN)
    } else {
        here
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn low_seconds(counter: u64) -> u16 {
    u16::try_from((counter / 1_000_000) & 0xffff).expect("16 bits")
}

#[cfg(test)]
mod tests;
