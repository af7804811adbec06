//! Streams under seal: the Noise protocol (Perrin 2018, revision 34), pattern `NNpsk0`, with a key derived from the cluster's
//! as the pre-shared one. Neither end has a key of its own here, so there is nobody to name; both prove in one round trip that
//! they have the cluster's, and what they say stays secret even if that becomes known later.
//!
//! Before the first message stand the hash of the cluster's name and the byte of the key's id, as before a datagram. Whoever
//! does not have the key is not answered: the first message is authentic already, and carries its sender's clock, so that
//! an old one is not answered either. But somebody may have recorded one that is not old yet: only the first frame, sealed to what
//! the answering end has just drawn, shows that the other end is there and has the key. It greets at once, so that this costs nothing.
//!
//! After that each way is a row of frames: a length of two bytes, then so many, of which the last 16 are a tag.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rumormill_core::wire::VERSION;
use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use crate::clock;
use crate::keyring::KeyId;
use crate::keyring::derived::{Derived, Ring};
use crate::seal::{SealCounters, Unsealed};

const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";
const TAG_BYTES: usize = 16;
const POINT_BYTES: usize = 32;
/// Cluster 4, key id 1.
const CLEAR_BYTES: usize = 5;
/// What the first message carries: the sender's clock in microseconds.
const CLOCK_BYTES: usize = 8;
const FIRST_BYTES: usize = POINT_BYTES + CLOCK_BYTES + TAG_BYTES;
const SECOND_BYTES: usize = POINT_BYTES + TAG_BYTES;
/// All that the opening side sends before its first frame.
pub(crate) const OPENING_BYTES: usize = CLEAR_BYTES + FIRST_BYTES;
const LENGTH_BYTES: usize = 2;
/// All that the other side sends before its first frame.
pub(crate) const ANSWER_BYTES: usize = SECOND_BYTES;
/// What a frame adds to what is in it.
pub(crate) const FRAME_OVERHEAD: usize = LENGTH_BYTES + TAG_BYTES;
/// The most that is in a frame: the largest piece of a stream.
const CONTENT_MAX: usize = 16 << 10;

/// What both ends of a stream must agree in.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) cluster: u32,
    pub(crate) cluster_name: Arc<str>,
    pub(crate) window: Duration,
    pub(crate) keys: watch::Receiver<Arc<Ring>>,
    pub(crate) counters: Arc<SealCounters>,
}

/// Why there is no sealed stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSealed {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other end ended the stream before it answered: it has no such key, or no room, or is about to stop.
    #[error("the other end ended the stream before it answered")]
    Unanswered,
    /// The other end has no such key, is of another cluster, or its clock is far off.
    #[error("the other end cannot prove that it belongs to the cluster")]
    Refused {
        /// As far as this end can tell.
        cause: Unsealed,
        /// The byte that names the key.
        key: u8,
    },
}

impl NotSealed {
    const fn because(cause: Unsealed, key: u8) -> Self {
        Self::Refused { cause, key }
    }
}

/// Whatever Noise finds wrong is not authentic.
impl From<snow::Error> for NotSealed {
    fn from(_: snow::Error) -> Self {
        Self::because(Unsealed::Forged, 0)
    }
}

impl Terms {
    /// Opens a stream: proves to the other end that this one has its key, and asks the same of it.
    pub(crate) async fn open(&self, socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<Channel, NotSealed> {
        let key = Arc::clone(self.keys.borrow().used());
        let mut handshake = self.handshake(&key, Side::Opens)?;
        let mut opening = [0; OPENING_BYTES];
        opening[..4].copy_from_slice(&self.cluster.to_le_bytes());
        opening[4] = key.id().byte();
        let clock = clock::wall().as_micros().to_le_bytes();
        let length = handshake.write_message(&clock, &mut opening[CLEAR_BYTES..])?;
        assert_eq!(length, FIRST_BYTES, "a point, the clock and a tag");
        socket.write_all(&opening).await?;
        let mut second = [0; SECOND_BYTES];
        match socket.read_exact(&mut second).await {
            // That is what becomes of those who cannot prove that they belong to the cluster, but not of them alone.
            Err(error) if is_end(error.kind()) => return Err(NotSealed::Unanswered),
            result => result?,
        };
        handshake.read_message(&second, &mut [])?;
        Channel::new(&key, handshake)
    }

    /// Answers who opened a stream, if that end has a key that is accepted here.
    pub(crate) async fn answer(
        &self,
        socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Result<Channel, NotSealed> {
        let mut opening = [0; OPENING_BYTES];
        socket.read_exact(&mut opening).await?;
        let (clear, first) = opening.split_at(CLEAR_BYTES);
        if clear[..4] != self.cluster.to_le_bytes() {
            return Err(NotSealed::because(Unsealed::Foreign, clear[4]));
        }
        let key = self
            .keys
            .borrow()
            .get(clear[4])
            .cloned()
            .ok_or_else(|| NotSealed::because(Unsealed::UnknownKey, clear[4]))?;
        let mut handshake = self.handshake(&key, Side::Answers)?;
        let mut clock = [0; CLOCK_BYTES];
        if handshake.read_message(first, &mut clock)? != CLOCK_BYTES {
            return Err(NotSealed::because(Unsealed::Malformed, 0));
        }
        self.check_clock(u64::from_le_bytes(clock))?;
        let mut second = [0; SECOND_BYTES];
        let length = handshake.write_message(&[], &mut second)?;
        assert_eq!(length, SECOND_BYTES, "a point and a tag");
        socket.write_all(&second).await?;
        Channel::new(&key, handshake)
    }

    /// Answers who opened a stream and waits for its first frame. Says too how many bytes came.
    pub(crate) async fn accept(
        &self,
        socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Result<(Sealed, usize), NotSealed> {
        let channel = self.answer(socket).await?;
        let (mut opener, mut bytes) = (Opener::default(), OPENING_BYTES);
        loop {
            if let Some(first) = opener.next(&channel)? {
                opener.first = Some(first);
                return Ok((Sealed { channel, opener }, bytes));
            }
            match socket.read_buf(&mut opener.waiting).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                length => bytes += length,
            }
        }
    }

    /// Whether streams under this key may go on.
    pub(crate) fn accepts(&self, channel: &Channel) -> bool {
        self.keys.borrow().get(channel.key.byte()).is_some_and(|key| key.id() == channel.key)
    }

    /// Counts why there is no stream.
    pub(crate) fn note(&self, error: &NotSealed) {
        self.counters.handshakes.fetch_add(1, Ordering::Relaxed);
        if let NotSealed::Refused { cause, .. } = error {
            self.counters.note(*cause);
        }
    }

    fn check_clock(&self, theirs: u64) -> Result<(), NotSealed> {
        let (ours, window) = (clock::wall().as_micros(), u64::try_from(self.window.as_micros()).unwrap_or(u64::MAX));
        if theirs < ours.saturating_sub(window) {
            return Err(NotSealed::because(Unsealed::Old, 0));
        }
        if theirs > ours.saturating_add(window) {
            return Err(NotSealed::because(Unsealed::Ahead, 0));
        }
        Ok(())
    }

    fn handshake(&self, key: &Derived, side: Side) -> Result<HandshakeState, snow::Error> {
        self.handshake_in(VERSION.major, key, side)
    }

    fn handshake_in(&self, version: u8, key: &Derived, side: Side) -> Result<HandshakeState, snow::Error> {
        let prologue = [
            b"rumormill".as_slice(),
            &[version],
            &key.id().0.to_be_bytes(),
            &self.cluster.to_le_bytes(),
            self.cluster_name.as_bytes(),
        ]
        .concat();
        let secret = key.streams();
        let pattern = PATTERN.parse().expect("a pattern of Noise");
        let builder = Builder::new(pattern).prologue(&prologue)?.psk(0, &secret)?;
        match side {
            Side::Opens => builder.build_initiator(),
            Side::Answers => builder.build_responder(),
        }
    }
}

/// Who speaks first.
#[derive(Clone, Copy, Debug)]
enum Side {
    Opens,
    Answers,
}

fn is_end(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// A stream that both ends have proved to belong to the cluster.
#[derive(Debug)]
pub(crate) struct Channel {
    key: KeyId,
    transport: StatelessTransportState,
}

impl Channel {
    fn new(key: &Derived, handshake: HandshakeState) -> Result<Self, NotSealed> {
        Ok(Self { key: key.id(), transport: handshake.into_stateless_transport_mode()? })
    }

    /// The byte that names the key.
    pub(crate) const fn key_byte(&self) -> u8 {
        self.key.byte()
    }

    /// A piece as frames; `sent` counts those of this way.
    pub(crate) fn seal(&self, piece: &[u8], sent: &mut u64) -> Vec<u8> {
        let frames = piece.len().div_ceil(CONTENT_MAX);
        let mut sealed = Vec::with_capacity(piece.len() + frames * FRAME_OVERHEAD);
        for content in piece.chunks(CONTENT_MAX) {
            let length = u16::try_from(content.len() + TAG_BYTES).expect("a frame is far below 64 KiB");
            sealed.extend_from_slice(&length.to_le_bytes());
            let start = sealed.len();
            sealed.resize(start + usize::from(length), 0);
            self.transport
                .write_message(*sent, content, &mut sealed[start..])
                .expect("it has room for content and tag");
            *sent += 1;
        }
        sealed
    }
}

/// A stream at whose other end is somebody now who has the key.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) channel: Channel,
    /// What has come already waits in it.
    pub(crate) opener: Opener,
}

/// Takes the bytes that come in on a stream apart into frames, and opens them.
#[derive(Debug, Default)]
pub(crate) struct Opener {
    waiting: Vec<u8>,
    /// What was in the first frame, where that was opened before anybody wanted it.
    first: Option<Vec<u8>>,
    received: u64,
}

impl Opener {
    /// Whether something waits from before the stream was one.
    pub(crate) const fn has_first(&self) -> bool {
        self.first.is_some()
    }

    pub(crate) fn take_in(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The content of the next frame, once all of it has come in. An error says that the stream cannot go on.
    pub(crate) fn next(&mut self, channel: &Channel) -> Result<Option<Vec<u8>>, NotSealed> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(length) = self.waiting.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes(*length));
        if !(TAG_BYTES + 1..=CONTENT_MAX + TAG_BYTES).contains(&length) {
            return Err(NotSealed::because(Unsealed::Malformed, 0));
        }
        let Some(frame) = self.waiting.get(LENGTH_BYTES..LENGTH_BYTES + length) else { return Ok(None) };
        let mut content = vec![0; length - TAG_BYTES];
        channel.transport.read_message(self.received, frame, &mut content)?;
        self.received += 1;
        self.waiting.drain(..LENGTH_BYTES + length);
        Ok(Some(content))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;
    use crate::keyring::Keyring;

    fn terms(keyring: &Keyring, name: &str, cluster: u32) -> Terms {
        let (sender, keys) = watch::channel(Arc::new(Ring::of(keyring)));
        drop(sender);
        let window = Duration::from_hours(1);
        Terms { cluster, cluster_name: name.into(), window, keys, counters: Arc::default() }
    }

    async fn meet(a: &Terms, b: &Terms) -> (Result<Channel, NotSealed>, Result<Channel, NotSealed>) {
        let (mut here, mut there) = duplex(1_024);
        let answer = async {
            let result = b.answer(&mut there).await;
            drop(there);
            result
        };
        tokio::join!(a.open(&mut here), answer)
    }

    /// Why there is no stream, as the end that opened it knows, and the other.
    fn causes((here, there): (Result<Channel, NotSealed>, Result<Channel, NotSealed>)) -> Unsealed {
        assert!(matches!(here, Err(NotSealed::Unanswered)), "{here:?}");
        match there {
            Err(NotSealed::Refused { cause, .. }) => cause,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_one_end_seals_the_other_opens_in_order() {
        let keyring = Keyring::generate().unwrap();
        let terms = terms(&keyring, "a", 1);
        let (here, there) = meet(&terms, &terms).await;
        let (here, there) = (here.unwrap(), there.unwrap());
        let piece: Vec<u8> = (0..40_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut sent = 0;
        let mut sealed = here.seal(&piece, &mut sent);
        sealed.extend(here.seal(b"more", &mut sent));
        assert_eq!(sealed.len(), piece.len() + 4 + 4 * FRAME_OVERHEAD);
        assert!(!sealed.windows(8).any(|window| window == &piece[..8]), "it can be read");
        let (mut opener, mut opened) = (Opener::default(), Vec::new());
        for part in sealed.chunks(1_000) {
            opener.take_in(part);
            while let Some(content) = opener.next(&there).unwrap() {
                opened.extend(content);
            }
        }
        assert_eq!(opened, [piece, b"more".to_vec()].concat());
        assert!(terms.accepts(&here));
    }

    #[tokio::test]
    async fn a_bit_flipped_and_a_frame_left_out_end_the_stream() {
        let terms = terms(&Keyring::generate().unwrap(), "a", 1);
        let (here, there) = meet(&terms, &terms).await;
        let (here, there) = (here.unwrap(), there.unwrap());
        let sealed = here.seal(b"hello", &mut 0);
        for bit in 0..8 * sealed.len() {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let mut opener = Opener::default();
            opener.take_in(&changed);
            assert!(!matches!(opener.next(&there), Ok(Some(_))), "bit {bit}");
        }
        let mut opener = Opener::default();
        opener.take_in(&here.seal(b"hello", &mut 1));
        assert!(opener.next(&there).is_err(), "the first frame is missing");
    }

    #[tokio::test]
    async fn who_has_another_key_name_or_cluster_gets_no_answer() {
        let keyring = Keyring::generate().unwrap();
        let home = terms(&keyring, "a", 1);
        let stranger = terms(&keyring.renewed().unwrap(), "a", 1);
        assert_eq!(causes(meet(&stranger, &home).await), Unsealed::UnknownKey);
        assert_eq!(causes(meet(&terms(&keyring, "a", 2), &home).await), Unsealed::Foreign);
        assert_eq!(causes(meet(&terms(&keyring, "b", 1), &home).await), Unsealed::Forged);
    }

    #[tokio::test]
    async fn who_speaks_another_version_gets_no_answer() {
        let home = terms(&Keyring::generate().unwrap(), "a", 1);
        let key = Arc::clone(home.keys.borrow().used());
        for (version, is_answered) in [(VERSION.major, true), (VERSION.major + 1, false), (VERSION.major - 1, false)] {
            let mut handshake = home.handshake_in(version, &key, Side::Opens).unwrap();
            let mut opening = [0; OPENING_BYTES];
            opening[..4].copy_from_slice(&home.cluster.to_le_bytes());
            opening[4] = key.id().byte();
            let clock = clock::wall().as_micros().to_le_bytes();
            handshake.write_message(&clock, &mut opening[CLEAR_BYTES..]).unwrap();
            let (mut here, mut there) = duplex(1_024);
            here.write_all(&opening).await.unwrap();
            let answered = home.answer(&mut there).await;
            drop(there);
            let mut answer = Vec::new();
            here.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer.len(), if is_answered { ANSWER_BYTES } else { 0 }, "version {version}");
            let refusal = match answered {
                Ok(_) => None,
                Err(NotSealed::Refused { cause, .. }) => Some(cause),
                Err(other) => panic!("{other:?}"),
            };
            assert_eq!(refusal, (!is_answered).then_some(Unsealed::Forged), "version {version}");
        }
    }

    #[tokio::test]
    async fn the_first_words_of_a_stream_are_not_answered_twice_as_long_as_the_window() {
        let terms = terms(&Keyring::generate().unwrap(), "a", 1);
        let now = clock::wall().as_micros();
        let hour = 3_600_000_000;
        assert!(terms.check_clock(now).is_ok());
        let refusal = |result: Result<(), NotSealed>| match result {
            Err(NotSealed::Refused { cause, .. }) => cause,
            other => panic!("{other:?}"),
        };
        assert_eq!(refusal(terms.check_clock(now - 2 * hour)), Unsealed::Old);
        assert_eq!(refusal(terms.check_clock(now + 2 * hour)), Unsealed::Ahead);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_frame_and_no_opening(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let terms = terms(&Keyring::generate().unwrap(), "a", 1);
                let (_, there) = meet(&terms, &terms).await;
                let mut opener = Opener::default();
                opener.take_in(&bytes);
                prop_assert!(!matches!(opener.next(&there.unwrap()), Ok(Some(_))));
                let (mut here, mut there) = duplex(1_024);
                here.write_all(&bytes).await.unwrap();
                drop(here);
                prop_assert!(terms.answer(&mut there).await.is_err());
                Ok(())
            })?;
        }
    }
}
