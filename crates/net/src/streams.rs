//! The streams of a node: one small task a connection, which moves bytes and decides nothing.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rumormill_core::io::StreamId;
use rumormill_core::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cluster::SocketCounters;
use crate::faults::{self, Direction, Faults};
use crate::noise::{ANSWER_BYTES, Channel, NotSealed, OPENING_BYTES, Opener, Sealed, Terms};
use crate::seal::Unsealed;
use crate::socket::canonical;

/// How long a connection may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may be without a byte moving in either direction.
const STALLED_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the other end may take to close after this end has: closing with bytes unread would reset the connection,
/// and the other end might lose what was written last.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait where the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many bytes are read at once.
const READ_BYTES: usize = 16 << 10;

/// How many events wait for the driver, with up to [`READ_BYTES`] each; connections wait beyond it.
const EVENTS_MAX: usize = 64;

/// How long the other end of a connection may take to prove that it belongs to the cluster.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many connections may be about to prove that. One more ends the one that has been at it for longest, of the machine that
/// has most: an honest node is done within two round trips, so that silent ones do not keep it out.
const HANDSHAKES_MAX: usize = 64;

/// A connection that another node opened.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// As it came.
    Fresh(TcpStream),
    /// The other end has proved that it belongs to the cluster.
    Proved(TcpStream, Box<Sealed>),
}

/// What happened on a connection.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// Another node opened one.
    Accepted(Accepted, SocketAddr),
    /// Somebody opened one and did not prove to belong to the cluster: why, and which byte named its key.
    Unproved(SocketAddr, Unsealed, u8),
    /// One that this node opened was refused: the other end does not take its key, or has no room.
    Refused(StreamId),
    /// Bytes came.
    Bytes(StreamId, Vec<u8>),
    /// So many pieces have been handed to the network in all.
    Written(StreamId, u64),
    /// It ended, or never began.
    Closed(StreamId),
}

/// The connections of a node.
#[derive(Debug)]
pub(crate) struct Streams {
    open: BTreeMap<StreamId, Open>,
    accepted: u64,
    dialed: u64,
    /// The acceptor, and one task a connection, those that only linger included. Dropping it ends them all.
    tasks: JoinSet<()>,
    tasks_max: usize,
    /// Under which terms streams are sealed, if they are.
    terms: Option<Terms>,
    /// Those of others that are about to prove that they belong to the cluster, the longest at it first.
    handshakes: Vec<Handshake>,
    proving: JoinSet<()>,
    events: mpsc::Sender<StreamEvent>,
    incoming: mpsc::Receiver<StreamEvent>,
    local_address: SocketAddr,
    faults: Option<Faults>,
    counters: Arc<SocketCounters>,
}

/// A connection of another node that is about to prove that it belongs to the cluster.
#[derive(Debug)]
struct Handshake {
    from: IpAddr,
    task: AbortHandle,
}

/// Which of the handshakes is the oldest of the machine that has most.
fn oldest_of_most(handshakes: &[Handshake]) -> usize {
    let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for handshake in handshakes {
        *counts.entry(handshake.from).or_default() += 1;
    }
    let most = counts.values().copied().max();
    let oldest = handshakes.iter().position(|handshake| counts.get(&handshake.from).copied() == most);
    oldest.expect("there are some")
}

/// The driver's end of a connection.
#[derive(Debug)]
struct Open {
    /// Bounded by the node, which hands over the next piece when the last was written. Dropping it ends the stream.
    pieces: mpsc::UnboundedSender<Vec<u8>>,
    handed_over: u64,
}

impl Streams {
    /// Accepts on `listener`. The node itself refuses what it has no room for; `streams_max` is its limit.
    pub(crate) fn new(
        listener: TcpListener,
        local_address: SocketAddr,
        streams_max: usize,
        terms: Option<Terms>,
        faults: Option<Faults>,
        counters: Arc<SocketCounters>,
    ) -> Self {
        let (events, incoming) = mpsc::channel(EVENTS_MAX);
        let mut tasks = JoinSet::new();
        let owner = if faults.is_some() { faults::stream_owner } else { canonical };
        tasks.spawn(accept(listener, events.clone(), owner));
        // As many again may linger.
        let tasks_max = 2 * streams_max;
        Self {
            open: BTreeMap::new(),
            accepted: 0,
            dialed: 0,
            tasks,
            tasks_max,
            terms,
            handshakes: Vec::new(),
            proving: JoinSet::new(),
            events,
            incoming,
            local_address,
            faults,
            counters,
        }
    }

    /// The next event. Cancel safe.
    pub(crate) async fn event(&mut self) -> StreamEvent {
        self.incoming.recv().await.expect("this end keeps a sender")
    }

    pub(crate) fn try_event(&mut self) -> Option<StreamEvent> {
        self.incoming.try_recv().ok()
    }

    /// Gives an accepted connection its number, or closes it where there are too many. Where streams are sealed it comes twice:
    /// the second time with proof that it is one of the cluster.
    pub(crate) fn accept(&mut self, accepted: Accepted, from: SocketAddr) -> Option<StreamId> {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= self.tasks_max {
            self.counters.streams_refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let link = match (accepted, &self.terms) {
            (Accepted::Fresh(socket), None) => Link::Accepted(socket, None),
            (Accepted::Fresh(socket), Some(terms)) => {
                let terms = terms.clone();
                self.prove(socket, from, terms);
                return None;
            }
            (Accepted::Proved(socket, sealed), _) => Link::Accepted(socket, Some(sealed)),
        };
        let stream = StreamId(2 * self.accepted + 1);
        self.accepted += 1;
        self.spawn(stream, link, from);
        Some(stream)
    }

    /// Has the other end of a new connection prove that it belongs to the cluster.
    fn prove(&mut self, socket: TcpStream, from: SocketAddr, terms: Terms) {
        while self.proving.try_join_next().is_some() {}
        self.handshakes.retain(|handshake| !handshake.task.is_finished());
        if self.handshakes.len() >= HANDSHAKES_MAX {
            self.handshakes.remove(oldest_of_most(&self.handshakes)).task.abort();
            terms.counters.handshakes.fetch_add(1, Ordering::Relaxed);
        }
        let (events, counters) = (self.events.clone(), Arc::clone(&self.counters));
        let task = self.proving.spawn(prove(socket, from, terms, events, counters));
        self.handshakes.push(Handshake { from: from.ip(), task });
    }

    /// Hands over a piece; the first on a new even number opens a connection.
    pub(crate) fn send(&mut self, stream: StreamId, to: SocketAddr, piece: Vec<u8>) {
        if stream.0.is_multiple_of(2) && stream.0 > self.dialed {
            self.dialed = stream.0;
            let link = Link::Dialed { from: self.source(), to };
            self.spawn(stream, link, to);
        }
        // Otherwise it has just ended, and the node will learn so.
        if let Some(open) = self.open.get_mut(&stream)
            && open.pieces.send(piece).is_ok()
        {
            open.handed_over += 1;
        }
    }

    /// Ends a stream after what was handed over.
    pub(crate) fn close(&mut self, stream: StreamId) {
        self.open.remove(&stream);
    }

    /// How many streams the node has ended that are not at their other ends as a whole, or linger.
    pub(crate) fn ending(&mut self) -> usize {
        while self.tasks.try_join_next().is_some() {}
        // One task accepts.
        self.tasks.len().saturating_sub(1 + self.open.len())
    }

    /// Whether the node still has this stream.
    pub(crate) fn is_open(&self, stream: StreamId) -> bool {
        self.open.contains_key(&stream)
    }

    /// Whether all that was handed over has been written.
    pub(crate) fn is_written(&self, stream: StreamId, pieces: u64) -> bool {
        self.open.get(&stream).is_some_and(|open| open.handed_over == pieces)
    }

    /// Ends everything at once.
    pub(crate) async fn shutdown(mut self) {
        self.proving.shutdown().await;
        self.tasks.shutdown().await;
    }

    fn spawn(&mut self, id: StreamId, link: Link, peer: SocketAddr) {
        while self.tasks.try_join_next().is_some() {}
        let (pieces, waiting) = mpsc::unbounded_channel();
        self.open.insert(id, Open { pieces, handed_over: 0 });
        let connection = Connection {
            id,
            peer,
            terms: self.terms.clone(),
            events: self.events.clone(),
            faults: self.faults.clone(),
            counters: Arc::clone(&self.counters),
        };
        self.tasks.spawn(connection.run(link, waiting));
    }

    /// Where to open streams from, if that matters.
    fn source(&self) -> Option<SocketAddr> {
        self.faults.as_ref().and_then(|_| faults::stream_source(self.local_address))
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        // Streams that are open are the node's.
        let Self {
            open: _,
            accepted: _,
            dialed: _,
            tasks,
            tasks_max,
            terms: _,
            handshakes,
            proving: _,
            events,
            incoming: _,
            local_address: _,
            faults: _,
            counters: _,
        } = self;
        to.entries("connections", tasks.len(), *tasks_max);
        to.entries("handshakes", handshakes.len(), HANDSHAKES_MAX);
        to.entries("events_of_streams", events.max_capacity() - events.capacity(), events.max_capacity());
    }
}

/// Where a connection comes from.
#[derive(Debug)]
enum Link {
    Accepted(TcpStream, Option<Box<Sealed>>),
    Dialed { from: Option<SocketAddr>, to: SocketAddr },
}

impl Link {
    /// The connection, and what seals it, if it has to be.
    async fn connect(self, terms: Option<&Terms>) -> Result<(TcpStream, Option<Sealed>), NotSealed> {
        let (from, to) = match self {
            Self::Accepted(socket, sealed) => return Ok((socket, sealed.map(|sealed| *sealed))),
            Self::Dialed { from, to } => (from, to),
        };
        let mut socket = dial(from, to).await?;
        let Some(terms) = terms else { return Ok((socket, None)) };
        socket.set_nodelay(true).ok();
        let channel = terms.open(&mut socket).await;
        match &channel {
            Ok(_) => terms.counters.note_refusal(None),
            Err(error) => {
                terms.note(error);
                if !matches!(error, NotSealed::Io(_)) {
                    terms.counters.note_refusal(Some(to));
                }
            }
        }
        Ok((socket, Some(Sealed { channel: channel?, opener: Opener::default() })))
    }
}

async fn dial(from: Option<SocketAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect(to).await };
    let socket = TcpSocket::new_v4()?;
    match socket.bind(from) {
        Ok(()) => socket.connect(to).await,
        // A system with one loopback address only.
        Err(_) => TcpStream::connect(to).await,
    }
}

/// Asks for proof that the other end belongs to the cluster; whoever gives none is not answered.
async fn prove(
    mut socket: TcpStream,
    from: SocketAddr,
    terms: Terms,
    events: mpsc::Sender<StreamEvent>,
    counters: Arc<SocketCounters>,
) {
    let event = match timeout(HANDSHAKE_TIMEOUT, terms.accept(&mut socket)).await {
        Ok(Ok((sealed, bytes))) => {
            counters.note_received(bytes);
            counters.note_sent(ANSWER_BYTES);
            terms.counters.note_refusal(None);
            StreamEvent::Accepted(Accepted::Proved(socket, Box::new(sealed)), from)
        }
        Ok(Err(error)) => {
            terms.note(&error);
            let NotSealed::Refused { cause, key } = error else { return };
            StreamEvent::Unproved(from, cause, key)
        }
        Err(_) => {
            terms.counters.handshakes.fetch_add(1, Ordering::Relaxed);
            return;
        }
    };
    // The driver is gone only when this task is about to be.
    events.send(event).await.ok();
}

async fn accept(listener: TcpListener, events: mpsc::Sender<StreamEvent>, owner: fn(SocketAddr) -> SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((socket, from)) => {
                if events.send(StreamEvent::Accepted(Accepted::Fresh(socket), owner(from))).await.is_err() {
                    return;
                }
            }
            // A connection that was reset before it was accepted, or no file descriptor left.
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// How a connection ended.
enum End {
    /// The node closed it.
    Ours,
    /// The other end did, or the network.
    Theirs,
    /// The other end does not take this node's key, or did not say why it ended the stream.
    Refused,
}

/// One connection.
struct Connection {
    id: StreamId,
    peer: SocketAddr,
    terms: Option<Terms>,
    events: mpsc::Sender<StreamEvent>,
    faults: Option<Faults>,
    counters: Arc<SocketCounters>,
}

impl Connection {
    async fn run(self, link: Link, pieces: mpsc::UnboundedReceiver<Vec<u8>>) {
        let end = tokio::select! {
            // A cut lets nothing pass, not even what is there already.
            biased;
            () = self.until_cut() => End::Theirs,
            end = self.connect_and_move(link, pieces) => end,
        };
        match end {
            End::Ours => {}
            End::Theirs => self.tell(StreamEvent::Closed(self.id)).await,
            End::Refused => self.tell(StreamEvent::Refused(self.id)).await,
        }
    }

    async fn connect_and_move(&self, link: Link, pieces: mpsc::UnboundedReceiver<Vec<u8>>) -> End {
        let (mut socket, sealed) = match timeout(CONNECT_TIMEOUT, link.connect(self.terms.as_ref())).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(NotSealed::Unanswered | NotSealed::Refused { .. })) => return End::Refused,
            Ok(Err(NotSealed::Io(_))) | Err(_) => return End::Theirs,
        };
        if sealed.is_some() && self.id.0.is_multiple_of(2) {
            self.counters.note_sent(OPENING_BYTES);
            self.counters.note_received(ANSWER_BYTES);
        }
        // Pieces are whole messages; waiting for more to fill a segment would only delay them.
        socket.set_nodelay(true).ok();
        let end = self.move_bytes(&mut socket, sealed, pieces).await;
        if let End::Ours = end {
            // The other end may have gone already.
            timeout(LINGER_TIMEOUT, linger(&mut socket)).await.ok();
        }
        end
    }

    /// Moves bytes both ways until either end is done.
    async fn move_bytes(
        &self,
        socket: &mut TcpStream,
        sealed: Option<Sealed>,
        pieces: mpsc::UnboundedReceiver<Vec<u8>>,
    ) -> End {
        let (reader, writer) = socket.split();
        let progress = Progress::start();
        let (channel, opener) = sealed.map(|Sealed { channel, opener }| (channel, opener)).unzip();
        let incoming = channel.as_ref().zip(opener);
        tokio::select! {
            end = self.write(writer, channel.as_ref(), pieces, &progress) => end,
            () = self.read(reader, incoming, &progress) => End::Theirs,
            () = progress.stalled() => End::Theirs,
        }
    }

    async fn read(&self, mut reader: ReadHalf<'_>, mut incoming: Option<(&Channel, Opener)>, progress: &Progress) {
        let mut buffer = vec![0; READ_BYTES];
        if let Some((channel, opener)) = &mut incoming
            && opener.has_first()
        {
            self.delay(Direction::In).await;
            if self.open_frames(opener, channel).await.is_err() {
                return;
            }
        }
        loop {
            let Ok(length @ 1..) = reader.read(&mut buffer).await else { return };
            progress.note();
            self.counters.note_received(length);
            self.delay(Direction::In).await;
            let Some((channel, opener)) = &mut incoming else {
                self.tell(StreamEvent::Bytes(self.id, buffer[..length].to_vec())).await;
                continue;
            };
            opener.take_in(&buffer[..length]);
            if self.open_frames(opener, channel).await.is_err() {
                return;
            }
        }
    }

    /// Tells what is in the frames that have come in.
    async fn open_frames(&self, opener: &mut Opener, channel: &Channel) -> Result<(), NotSealed> {
        while let Some(content) = opener.next(channel)? {
            // The key may have been removed since the stream began.
            if !self.accepts(channel) {
                return Err(NotSealed::Refused { cause: Unsealed::UnknownKey, key: channel.key_byte() });
            }
            self.tell(StreamEvent::Bytes(self.id, content)).await;
        }
        Ok(())
    }

    fn accepts(&self, channel: &Channel) -> bool {
        self.terms.as_ref().is_some_and(|terms| terms.accepts(channel))
    }

    async fn write(
        &self,
        mut writer: WriteHalf<'_>,
        channel: Option<&Channel>,
        mut pieces: mpsc::UnboundedReceiver<Vec<u8>>,
        progress: &Progress,
    ) -> End {
        let (mut written, mut frames) = (0, 0);
        while let Some(piece) = pieces.recv().await {
            self.delay(Direction::Out).await;
            let piece = match channel {
                // Whoever has a removed key still gets nothing more.
                Some(channel) if !self.accepts(channel) => return End::Theirs,
                Some(channel) => channel.seal(&piece, &mut frames),
                None => piece,
            };
            if write_piece(&mut writer, &piece, progress).await.is_err() {
                return End::Theirs;
            }
            self.counters.note_sent(piece.len());
            written += 1;
            if pieces.is_empty() {
                self.tell(StreamEvent::Written(self.id, written)).await;
            }
        }
        End::Ours
    }

    async fn delay(&self, direction: Direction) {
        let delay = self.faults.as_ref().map_or(Duration::ZERO, |faults| faults.stream_delay(self.peer, direction));
        if delay > Duration::ZERO {
            sleep(delay).await;
        }
    }

    async fn until_cut(&self) {
        match &self.faults {
            Some(faults) => faults.until_cut(self.peer).await,
            None => std::future::pending().await,
        }
    }

    async fn tell(&self, event: StreamEvent) {
        // The driver is gone only when this task is about to be.
        self.events.send(event).await.ok();
    }
}

/// When bytes moved last, in either direction.
struct Progress {
    start: Instant,
    /// Milliseconds after the start.
    moved: AtomicU64,
}

impl Progress {
    fn start() -> Self {
        Self { start: Instant::now(), moved: AtomicU64::new(0) }
    }

    fn note(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).expect("no connection lasts that long");
        self.moved.store(millis, Ordering::Relaxed);
    }

    /// Waits until nothing has moved for too long.
    async fn stalled(&self) {
        loop {
            let due = self.start + Duration::from_millis(self.moved.load(Ordering::Relaxed)) + STALLED_TIMEOUT;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}

/// Writes a piece as far as the network takes it, again and again.
async fn write_piece(writer: &mut WriteHalf<'_>, mut piece: &[u8], progress: &Progress) -> io::Result<()> {
    while !piece.is_empty() {
        let length = writer.write(piece).await?;
        progress.note();
        piece = &piece[length..];
    }
    Ok(())
}

/// Says that nothing more will come, then reads what the other end still says until it closes too.
async fn linger(socket: &mut TcpStream) -> io::Result<()> {
    socket.shutdown().await?;
    let mut rest = [0; 1_024];
    while socket.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::keyring::Keyring;
    use crate::keyring::derived::Ring;
    use crate::socket::bind;

    fn open(faults: Option<Faults>) -> (Streams, SocketAddr) {
        let (udp, tcp) = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = udp.local_addr().unwrap();
        (Streams::new(tcp, address, 8, None, faults, Arc::default()), address)
    }

    /// One whose streams are sealed with these keys.
    fn open_sealed(keyring: &Keyring) -> (Streams, SocketAddr, watch::Sender<Arc<Ring>>) {
        let (udp, tcp) = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = udp.local_addr().unwrap();
        let keys = watch::Sender::new(Arc::new(Ring::of(keyring)));
        let terms = Terms {
            cluster: 1,
            cluster_name: "rumor".into(),
            window: Duration::from_hours(1),
            keys: keys.subscribe(),
            counters: Arc::default(),
        };
        (Streams::new(tcp, address, 8, Some(terms), None, Arc::default()), address, keys)
    }

    /// Waits until who opened a sealed stream has proved that it belongs to the cluster.
    async fn proved(streams: &mut Streams) -> StreamId {
        let StreamEvent::Accepted(fresh @ Accepted::Fresh(_), from) = streams.event().await else {
            panic!("nothing was accepted")
        };
        assert_eq!(streams.accept(fresh, from), None, "it has proved nothing yet");
        let StreamEvent::Accepted(proved @ Accepted::Proved(..), from) = streams.event().await else {
            panic!("nothing was proved")
        };
        streams.accept(proved, from).unwrap()
    }

    async fn accepted(streams: &mut Streams) -> StreamId {
        let StreamEvent::Accepted(socket, from) = streams.event().await else { panic!("nothing was accepted") };
        streams.accept(socket, from).unwrap()
    }

    /// All that comes until the stream ends.
    async fn read_to_end(streams: &mut Streams, stream: StreamId) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match streams.event().await {
                StreamEvent::Bytes(id, bytes) if id == stream => all.extend(bytes),
                StreamEvent::Closed(id) if id == stream => return all,
                StreamEvent::Accepted(..)
                | StreamEvent::Unproved(..)
                | StreamEvent::Refused(_)
                | StreamEvent::Bytes(..)
                | StreamEvent::Written(..)
                | StreamEvent::Closed(_) => {}
            }
        }
    }

    const DIALED: StreamId = StreamId(2);

    #[tokio::test]
    async fn what_was_handed_over_is_written_before_the_stream_ends() {
        let (mut a, _) = open(None);
        let (mut b, to) = open(None);
        let piece: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        a.send(DIALED, to, piece.clone());
        a.close(DIALED);
        let stream = accepted(&mut b).await;
        // Unread bytes at the end that closes must not cost the other end what was sent to it.
        b.send(stream, to, vec![0; 1_000]);
        assert!(read_to_end(&mut b, stream).await == piece);
    }

    #[tokio::test]
    async fn the_node_hears_that_all_was_written_and_may_go_on() {
        let (mut a, _) = open(None);
        let (mut b, to) = open(None);
        a.send(DIALED, to, b"one".to_vec());
        let StreamEvent::Written(DIALED, pieces) = a.event().await else { panic!("nothing was written") };
        assert!(a.is_written(DIALED, pieces));
        a.send(DIALED, to, b"two".to_vec());
        assert!(!a.is_written(DIALED, pieces));
        let stream = accepted(&mut b).await;
        a.close(DIALED);
        assert_eq!(read_to_end(&mut b, stream).await, b"onetwo");
    }

    #[tokio::test]
    async fn a_stream_to_nobody_ends() {
        let (mut a, _) = open(None);
        let (b, nobody) = open(None);
        b.shutdown().await;
        a.send(DIALED, nobody, b"hello".to_vec());
        assert!(matches!(a.event().await, StreamEvent::Closed(DIALED)));
    }

    #[tokio::test]
    async fn a_cut_ends_streams_at_once_and_refuses_new_ones_from_either_end() {
        for cut_at_dialer in [true, false] {
            let (at_a, at_b) = (Faults::new(1), Faults::new(2));
            let (mut a, address_a) = open(Some(at_a.clone()));
            let (mut b, address_b) = open(Some(at_b.clone()));
            a.send(DIALED, address_b, b"hello".to_vec());
            let stream = accepted(&mut b).await;
            assert!(matches!(b.event().await, StreamEvent::Bytes(..)));
            if cut_at_dialer {
                at_a.cut([address_b]);
            } else {
                at_b.cut([address_a]);
            }
            assert_eq!(read_to_end(&mut b, stream).await, b"");
            assert_eq!(read_to_end(&mut a, DIALED).await, b"");

            let next = StreamId(4);
            a.send(next, address_b, b"again".to_vec());
            if !cut_at_dialer {
                let stream = accepted(&mut b).await;
                assert_eq!(read_to_end(&mut b, stream).await, b"");
            }
            assert_eq!(read_to_end(&mut a, next).await, b"");
        }
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_closed_and_counted() {
        let (mut b, to) = open(None);
        let mut sockets = Vec::new();
        // The acceptor is one of the 16 tasks.
        for _ in 0..15 {
            sockets.push(TcpStream::connect(to).await.unwrap());
            accepted(&mut b).await;
        }
        let held = |streams: &Streams| {
            let mut limits = Limits::new();
            streams.limits(&mut limits);
            limits.iter().find(|limit| limit.what == "connections").map(|limit| (limit.held, limit.most)).unwrap()
        };
        assert_eq!(held(&b), (16, 16));
        let mut refused = TcpStream::connect(to).await.unwrap();
        let StreamEvent::Accepted(socket, from) = b.event().await else { panic!("nothing was accepted") };
        assert_eq!(b.accept(socket, from), None);
        assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(b.counters.streams_refused.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn events_that_nobody_takes_fill_their_queue_and_streams_are_not_read_then() {
        let (mut a, _) = open(None);
        let (mut b, to) = open(None);
        a.send(DIALED, to, vec![7; 64 << 20]);
        let stream = accepted(&mut b).await;
        let level = |streams: &Streams| {
            let mut limits = Limits::new();
            streams.limits(&mut limits);
            limits.iter().find(|limit| limit.what == "events_of_streams").map(|limit| (limit.held, limit.most)).unwrap()
        };
        while level(&b).0 < level(&b).1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(level(&b), (EVENTS_MAX as u64, EVENTS_MAX as u64));
        a.close(DIALED);
        assert_eq!(read_to_end(&mut b, stream).await.len(), 64 << 20, "nothing was lost");
    }

    #[tokio::test]
    async fn sealed_streams_carry_what_was_handed_over_both_ways() {
        let keyring = Keyring::generate().unwrap();
        let (mut a, _, _a_keys) = open_sealed(&keyring);
        let (mut b, to, _b_keys) = open_sealed(&keyring);
        let piece: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        a.send(DIALED, to, piece.clone());
        let stream = proved(&mut b).await;
        b.send(stream, to, b"hello".to_vec());
        b.close(stream);
        assert_eq!(read_to_end(&mut a, DIALED).await, b"hello");
        a.close(DIALED);
        assert_eq!(a.counters.bytes_sent.load(Ordering::Relaxed), 61 + 300_000 + 19 * 18);
    }

    #[tokio::test]
    async fn a_stream_under_another_key_is_refused_and_both_ends_know_why() {
        let keyring = Keyring::generate().unwrap();
        let (mut b, to, _b_keys) = open_sealed(&keyring);
        let (mut a, _, _a_keys) = open_sealed(&keyring.renewed().unwrap());
        a.send(DIALED, to, b"let me in".to_vec());
        let StreamEvent::Accepted(fresh, from) = b.event().await else { panic!("nothing was accepted") };
        assert_eq!(b.accept(fresh, from), None);
        let StreamEvent::Unproved(_, cause, _) = b.event().await else { panic!("it was not refused") };
        assert_eq!(cause, Unsealed::UnknownKey);
        assert!(matches!(a.event().await, StreamEvent::Refused(DIALED)));
        let counts = a.terms.as_ref().unwrap().counters.read();
        assert_eq!((counts.handshakes, counts.refused_by), (1, Some(to)));
        assert!(counts.by_cause().iter().all(|(_, count)| *count == 0), "who gets no answer knows no cause");
    }

    #[tokio::test]
    async fn of_too_many_handshakes_the_oldest_goes_of_the_machine_that_has_most() {
        let mut tasks = JoinSet::<()>::new();
        let handshakes: Vec<_> = [1, 2, 2, 3, 2, 1]
            .map(|host| Handshake { from: [10, 0, 0, host].into(), task: tasks.spawn(std::future::pending()) })
            .into();
        assert_eq!(oldest_of_most(&handshakes), 1);
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_first_frame_after_its_key_was_removed() {
        let keyring = Keyring::generate().unwrap();
        let (mut a, _, _a_keys) = open_sealed(&keyring);
        let (mut b, to, b_keys) = open_sealed(&keyring);
        a.send(DIALED, to, b"hello".to_vec());
        let stream = proved(&mut b).await;
        assert!(matches!(b.event().await, StreamEvent::Bytes(id, bytes) if id == stream && bytes == b"hello"));
        b_keys.send_replace(Arc::new(Ring::of(&keyring.renewed().unwrap())));
        a.send(DIALED, to, b"still here".to_vec());
        assert_eq!(read_to_end(&mut b, stream).await, b"");
    }

    #[tokio::test]
    async fn nothing_goes_out_under_a_key_that_was_removed() {
        let keyring = Keyring::generate().unwrap();
        let (mut a, _, _a_keys) = open_sealed(&keyring);
        let (mut b, to, b_keys) = open_sealed(&keyring);
        a.send(DIALED, to, b"hello".to_vec());
        let stream = proved(&mut b).await;
        assert!(matches!(b.event().await, StreamEvent::Bytes(id, _) if id == stream));
        b_keys.send_replace(Arc::new(Ring::of(&keyring.renewed().unwrap())));
        b.send(stream, to, b"a secret".to_vec());
        assert_eq!(read_to_end(&mut a, DIALED).await, b"");
        assert!(matches!(b.event().await, StreamEvent::Closed(id) if id == stream));
    }

    #[tokio::test]
    async fn silent_connections_do_not_keep_out_one_that_speaks() {
        let keyring = Keyring::generate().unwrap();
        let (mut a, _, _a_keys) = open_sealed(&keyring);
        let (mut b, to, _b_keys) = open_sealed(&keyring);
        let mut silent = Vec::new();
        for _ in 0..2 * HANDSHAKES_MAX {
            silent.push(TcpStream::connect(to).await.unwrap());
            let StreamEvent::Accepted(fresh, from) = b.event().await else { panic!("nothing was accepted") };
            assert_eq!(b.accept(fresh, from), None);
            assert!(b.handshakes.len() <= HANDSHAKES_MAX);
        }
        a.send(DIALED, to, b"hello".to_vec());
        let stream = proved(&mut b).await;
        assert!(matches!(b.event().await, StreamEvent::Bytes(id, bytes) if id == stream && bytes == b"hello"));
        assert_eq!(silent[0].read(&mut [0]).await.unwrap(), 0, "the first one had to go");
    }

    #[tokio::test]
    async fn an_opening_that_somebody_recorded_opens_no_stream() {
        let keyring = Keyring::generate().unwrap();
        let (mut a, _, _a_keys) = open_sealed(&keyring);
        let (mut b, to, _b_keys) = open_sealed(&keyring);
        let wire = TcpListener::bind("127.0.0.1:0").await.unwrap();
        a.send(DIALED, wire.local_addr().unwrap(), b"hello".to_vec());
        let mut recorded = [0; OPENING_BYTES];
        wire.accept().await.unwrap().0.read_exact(&mut recorded).await.unwrap();

        let terms = b.terms.clone().unwrap();
        let refused_by = Some(SocketAddr::from(([192, 0, 2, 1], 4747)));
        terms.counters.note_refusal(refused_by);
        let mut replayed = TcpStream::connect(to).await.unwrap();
        let StreamEvent::Accepted(fresh, from) = b.event().await else { panic!("nothing was accepted") };
        assert_eq!(b.accept(fresh, from), None);
        replayed.write_all(&recorded).await.unwrap();
        replayed.shutdown().await.unwrap();
        let mut answer = Vec::new();
        replayed.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len(), ANSWER_BYTES, "it might be an honest one");
        assert!(b.try_event().is_none(), "the node hears of a stream");
        assert_eq!((terms.counters.read().handshakes, terms.counters.read().refused_by), (1, refused_by));
    }

    /// What an event took, which comes after `least` and little later.
    async fn event_after(least: Duration, streams: &mut Streams) -> StreamEvent {
        let begun = Instant::now();
        let event = timeout(2 * least, streams.event()).await.expect("nothing ends it");
        let took = begun.elapsed();
        assert!(took >= least && took < least + Duration::from_secs(1), "{event:?} after {took:?}");
        event
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_that_the_other_end_takes_and_never_answers() {
        let (mut a, _, _a_keys) = open_sealed(&Keyring::generate().unwrap());
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        a.send(DIALED, silent.local_addr().unwrap(), b"hello".to_vec());
        let (_held, _) = silent.accept().await.unwrap();
        let event = event_after(CONNECT_TIMEOUT, &mut a).await;
        assert!(matches!(event, StreamEvent::Closed(DIALED)), "{event:?}");
        a.close(DIALED);
        assert_eq!(a.ending(), 0, "its task goes on");
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_the_cluster_that_neither_reads_nor_writes_keeps_no_stream() {
        for waiting in [0, 64 << 20] {
            let keyring = Keyring::generate().unwrap();
            let (mut b, to, _b_keys) = open_sealed(&keyring);
            let mut peer = TcpStream::connect(to).await.unwrap();
            let terms = b.terms.clone().unwrap();
            let joined = tokio::spawn(async move {
                let channel = terms.open(&mut peer).await.unwrap();
                peer.write_all(&channel.seal(b"hello", &mut 0)).await.unwrap();
                peer
            });
            let stream = proved(&mut b).await;
            let peer = joined.await.unwrap();
            assert!(matches!(b.event().await, StreamEvent::Bytes(id, _) if id == stream));
            if waiting > 0 {
                b.send(stream, to, vec![0; waiting]);
            }
            let event = event_after(STALLED_TIMEOUT, &mut b).await;
            assert!(matches!(event, StreamEvent::Closed(id) if id == stream), "{event:?}");
            b.close(stream);
            assert_eq!(b.ending(), 0, "its task goes on");
            drop(peer);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_stream_waits_for_the_other_end_for_a_while_only() {
        let (mut b, to) = open(None);
        let peer = TcpStream::connect(to).await.unwrap();
        let stream = accepted(&mut b).await;
        b.close(stream);
        let begun = Instant::now();
        while b.ending() > 0 && begun.elapsed() < 2 * LINGER_TIMEOUT {
            sleep(LINGER_TIMEOUT / 100).await;
        }
        let took = begun.elapsed();
        assert!(took >= LINGER_TIMEOUT && took < LINGER_TIMEOUT * 3 / 2, "it ended after {took:?}");
        drop(peer);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_slow_to_prove_anything_is_cut_off() {
        let (mut b, to, _b_keys) = open_sealed(&Keyring::generate().unwrap());
        let mut silent = TcpStream::connect(to).await.unwrap();
        silent.write_all(&[1, 0, 0]).await.unwrap();
        let StreamEvent::Accepted(fresh, from) = b.event().await else { panic!("nothing was accepted") };
        assert_eq!(b.accept(fresh, from), None);
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        let terms = b.terms.as_ref().unwrap();
        assert_eq!(terms.counters.handshakes.load(Ordering::Relaxed), 1);
    }
}
