//! The streams of a node: one small task a connection, which moves bytes and decides nothing.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rumormill_core::io::StreamId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cluster::SocketCounters;
use crate::faults::{Direction, Faults};
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

/// What happened on a connection.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// Another node opened one.
    Accepted(TcpStream, SocketAddr),
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
    events: mpsc::Sender<StreamEvent>,
    incoming: mpsc::Receiver<StreamEvent>,
    faults: Option<Faults>,
    counters: Arc<SocketCounters>,
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
        streams_max: usize,
        faults: Option<Faults>,
        counters: Arc<SocketCounters>,
    ) -> Self {
        let (events, incoming) = mpsc::channel(EVENTS_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, events.clone()));
        // As many again may linger.
        let tasks_max = 2 * streams_max;
        Self { open: BTreeMap::new(), accepted: 0, dialed: 0, tasks, tasks_max, events, incoming, faults, counters }
    }

    /// The next event. Cancel safe.
    pub(crate) async fn event(&mut self) -> StreamEvent {
        self.incoming.recv().await.expect("this end keeps a sender")
    }

    pub(crate) fn try_event(&mut self) -> Option<StreamEvent> {
        self.incoming.try_recv().ok()
    }

    /// Gives an accepted connection its number, or closes it where there are too many.
    pub(crate) fn accept(&mut self, socket: TcpStream, from: SocketAddr) -> Option<StreamId> {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= self.tasks_max {
            self.counters.streams_refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let stream = StreamId(2 * self.accepted + 1);
        self.accepted += 1;
        self.spawn(stream, from, Some(socket));
        Some(stream)
    }

    /// Hands over a piece; the first on a new even number opens a connection.
    pub(crate) fn send(&mut self, stream: StreamId, to: SocketAddr, piece: Vec<u8>) {
        if stream.0.is_multiple_of(2) && stream.0 > self.dialed {
            self.dialed = stream.0;
            self.spawn(stream, to, None);
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
        self.tasks.shutdown().await;
    }

    fn spawn(&mut self, id: StreamId, peer: SocketAddr, socket: Option<TcpStream>) {
        while self.tasks.try_join_next().is_some() {}
        let (pieces, waiting) = mpsc::unbounded_channel();
        self.open.insert(id, Open { pieces, handed_over: 0 });
        let connection = Connection { id, peer, events: self.events.clone(), faults: self.faults.clone() };
        self.tasks.spawn(connection.run(socket, waiting));
    }
}

async fn accept(listener: TcpListener, events: mpsc::Sender<StreamEvent>) {
    loop {
        match listener.accept().await {
            Ok((socket, from)) => {
                if events.send(StreamEvent::Accepted(socket, canonical(from))).await.is_err() {
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
}

/// One connection.
struct Connection {
    id: StreamId,
    peer: SocketAddr,
    events: mpsc::Sender<StreamEvent>,
    faults: Option<Faults>,
}

impl Connection {
    async fn run(self, accepted: Option<TcpStream>, pieces: mpsc::UnboundedReceiver<Vec<u8>>) {
        let end = tokio::select! {
            end = self.connect_and_move(accepted, pieces) => end,
            () = self.until_cut() => End::Theirs,
        };
        if let End::Theirs = end {
            self.tell(StreamEvent::Closed(self.id)).await;
        }
    }

    async fn connect_and_move(&self, accepted: Option<TcpStream>, pieces: mpsc::UnboundedReceiver<Vec<u8>>) -> End {
        let connected = match accepted {
            Some(socket) => Ok(socket),
            None => match timeout(CONNECT_TIMEOUT, TcpStream::connect(self.peer)).await {
                Ok(connected) => connected,
                Err(_) => return End::Theirs,
            },
        };
        let Ok(mut socket) = connected else { return End::Theirs };
        // Pieces are whole messages; waiting for more to fill a segment would only delay them.
        socket.set_nodelay(true).ok();
        let end = self.move_bytes(&mut socket, pieces).await;
        if let End::Ours = end {
            // The other end may have gone already.
            timeout(LINGER_TIMEOUT, linger(&mut socket)).await.ok();
        }
        end
    }

    /// Moves bytes both ways until either end is done.
    async fn move_bytes(&self, socket: &mut TcpStream, pieces: mpsc::UnboundedReceiver<Vec<u8>>) -> End {
        let (reader, writer) = socket.split();
        let progress = Progress::start();
        tokio::select! {
            end = self.write(writer, pieces, &progress) => end,
            () = self.read(reader, &progress) => End::Theirs,
            () = progress.stalled() => End::Theirs,
        }
    }

    async fn read(&self, mut reader: ReadHalf<'_>, progress: &Progress) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let Ok(length @ 1..) = reader.read(&mut buffer).await else { return };
            progress.note();
            self.delay(Direction::In).await;
            self.tell(StreamEvent::Bytes(self.id, buffer[..length].to_vec())).await;
        }
    }

    async fn write(
        &self,
        mut writer: WriteHalf<'_>,
        mut pieces: mpsc::UnboundedReceiver<Vec<u8>>,
        progress: &Progress,
    ) -> End {
        let mut written = 0;
        while let Some(piece) = pieces.recv().await {
            self.delay(Direction::Out).await;
            if write_piece(&mut writer, &piece, progress).await.is_err() {
                return End::Theirs;
            }
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
