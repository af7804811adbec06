//! Streams between machines as TCP gives them: in order, at most so fast, late where segments get lost, never instant.
//!
//! An opening takes one and a half round trips; it is refused by a machine whose process is gone, and times out at one
//! that has no power or cannot be reached. A cut stream stalls and goes on when the cut heals in time; else both ends
//! close. A killed process closes its streams at the other ends, a machine that lost its power does not: its peers
//! learn it when they time out.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use rumormill_core::Input;
use rumormill_core::io::StreamId;

use super::Network;
use super::host::{address, at_address};
use super::link::{RETRANSMISSION_TIMEOUT_MAX, RETRANSMISSION_TIMEOUT_MIN};
use super::queue::Turn;
use super::run::Due;

/// A stream, numbered through the whole run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct ConnectionId(u64);

/// How long an opening is tried: three attempts, one, two and two seconds apart.
const CONNECT_TIMEOUT: u64 = 5_000_000;
/// How long a stream stalls before both ends give it up, as a driver sets it with `TCP_USER_TIMEOUT`.
const STALL_TIMEOUT: u64 = 10_000_000;
/// The first wait of an opening that was not answered (RFC 6298: one second).
const CONNECT_RETRY: u64 = 1_000_000;

/// All streams.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    opened: u64,
    open: BTreeMap<ConnectionId, Connection>,
}

/// A stream: side 0 opened it.
#[derive(Debug)]
struct Connection {
    ends: [End; 2],
    lanes: [Lane; 2],
    opened_at: u64,
    established: bool,
}

/// One end of a stream.
#[derive(Clone, Copy, Debug)]
struct End {
    node: usize,
    /// Of the process; a later one knows nothing of the stream.
    life: u64,
    /// `None` at the far side until it is accepted, and at either side once it is closed there.
    stream: Option<StreamId>,
}

/// One direction of a stream.
#[derive(Debug, Default)]
struct Lane {
    /// Pieces that have not arrived, the oldest first, each with its time.
    pieces: VecDeque<(u64, Piece)>,
    /// When all that was handed over has left.
    free_at: u64,
    /// Pieces handed over that have not left.
    unsent: usize,
    /// The sender waits for room, which comes when the stalled stream moves again.
    blocked: bool,
    /// Since when nothing gets through, and the next wait.
    stalled: Option<(u64, u64)>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Fin,
}

impl Network {
    /// A node writes to a stream; the first piece on a fresh even number opens one.
    pub(crate) fn send_piece(&mut self, node: usize, to: SocketAddr, stream: StreamId, bytes: Vec<u8>) {
        let connection = match self.hosts[node].streams.get(&stream) {
            Some(&connection) => connection,
            None if stream.0.is_multiple_of(2) && stream.0 > self.hosts[node].opened_last => {
                self.open(node, to, stream)
            }
            // Closed by the other end while this piece was on its way to the driver.
            None => return,
        };
        self.enqueue(connection, node, stream, Piece::Bytes(bytes));
    }

    /// A node ends a stream: what was written still goes out.
    pub(crate) fn close_stream(&mut self, node: usize, stream: StreamId) {
        let Some(connection) = self.hosts[node].streams.remove(&stream) else { return };
        self.enqueue(connection, node, stream, Piece::Fin);
        if let Some(connection) = self.connections.open.get_mut(&connection) {
            for end in &mut connection.ends {
                if end.node == node && end.stream == Some(stream) {
                    end.stream = None;
                }
            }
        }
    }

    /// A process is gone but its machine runs: the kernel closes its streams.
    pub(crate) fn close_all_streams(&mut self, node: usize) {
        let streams: Vec<_> = self.hosts[node].streams.keys().copied().collect();
        for stream in streams {
            self.close_stream(node, stream);
        }
    }

    /// Streams across a new cut, or to a machine without power, will time out unless it ends first.
    pub(crate) fn watch_stalled_streams(&mut self) {
        let at = self.now + STALL_TIMEOUT;
        let stalled = self.connections.open.iter().filter(|(_, c)| self.is_unreachable(c)).map(|(&id, _)| id);
        for connection in stalled.collect::<Vec<_>>() {
            self.queue.push(at, Turn::Input, Due::Check { connection });
        }
    }

    fn open(&mut self, node: usize, to: SocketAddr, stream: StreamId) -> ConnectionId {
        let connections = &mut self.connections;
        connections.opened += 1;
        let id = ConnectionId(connections.opened);
        let host = &mut self.hosts[node];
        host.opened_last = stream.0;
        host.streams.insert(stream, id);
        let opener = End { node, life: host.life, stream: Some(stream) };
        // An address where no machine is gets a number that no machine has.
        let acceptor = End { node: at_address(to).unwrap_or(usize::MAX), life: 0, stream: None };
        let lanes = [Lane::default(), Lane::default()];
        connections
            .open
            .insert(id, Connection { ends: [opener, acceptor], lanes, opened_at: self.now, established: false });
        self.queue.push(self.now, Turn::Input, Due::Connect { connection: id, attempt: 0 });
        id
    }

    pub(crate) fn on_connect(&mut self, id: ConnectionId, attempt: u32) {
        let Some(connection) = self.connections.open.get(&id) else { return };
        let leaves_at = self.leaves_at(connection.ends[0].node);
        if leaves_at > self.now {
            self.queue.push(leaves_at, Turn::Input, Due::Connect { connection: id, attempt });
            return;
        }
        let link = self.options.link;
        let unanswered = self.is_unreachable(connection)
            || link.deliveries(&mut self.rng).next().is_none()
            || link.deliveries(&mut self.rng).next().is_none();
        if !unanswered {
            let [from, to] = connection.ends.each_ref().map(|end| end.node);
            let ways = 2 * self.way(from, to);
            let round_trip = ways + link.plain_delay(&mut self.rng) + link.plain_delay(&mut self.rng);
            self.queue.push(self.now + round_trip, Turn::Input, Due::Connected { connection: id });
        } else if self.now - connection.opened_at >= CONNECT_TIMEOUT {
            self.abort(id);
        } else {
            let next = (self.now + (CONNECT_RETRY << attempt)).min(connection.opened_at + CONNECT_TIMEOUT);
            self.queue.push(next, Turn::Input, Due::Connect { connection: id, attempt: attempt + 1 });
        }
    }

    pub(crate) fn on_connected(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.open.get(&id) else { return };
        if self.hosts[connection.ends[1].node].node.is_none() {
            self.abort(id);
            return;
        }
        let [from, to] = connection.ends.each_ref().map(|end| end.node);
        let accepted_at = self.now + self.way(from, to) + self.options.link.plain_delay(&mut self.rng);
        self.queue.push(accepted_at, Turn::Input, Due::Accept { connection: id });
    }

    pub(crate) fn on_accept(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.open.get(&id) else { return };
        let [from, node] = connection.ends.map(|end| end.node);
        if self.withheld(node, || Due::Accept { connection: id }) {
            return;
        }
        let host = &mut self.hosts[node];
        if host.node.is_none() {
            self.abort(id);
            return;
        }
        let stream = host.next_accepted();
        host.streams.insert(stream, id);
        let connection = self.connections.open.get_mut(&id).expect("looked up above");
        connection.ends[1] = End { node, life: host.life, stream: Some(stream) };
        connection.established = true;
        // What was written before waits for the stream to be there; then it leaves in one go.
        let waiting = std::mem::take(&mut connection.lanes[0].pieces);
        connection.lanes[0].unsent = 0;
        self.give(node, Input::StreamOpened { stream, from: address(from) });
        for (_, piece) in waiting {
            self.depart(id, 0, piece);
        }
    }

    fn enqueue(&mut self, id: ConnectionId, node: usize, stream: StreamId, piece: Piece) {
        let Some(connection) = self.connections.open.get_mut(&id) else { return };
        let side = usize::from(connection.ends[0].node != node || connection.ends[0].stream != Some(stream));
        if connection.established {
            self.depart(id, side, piece);
        } else {
            connection.lanes[side].pieces.push_back((0, piece));
            connection.lanes[side].unsent += 1;
        }
    }

    /// A piece leaves as fast as the line takes it, and later ones wait for its retransmissions.
    fn depart(&mut self, id: ConnectionId, side: usize, piece: Piece) {
        let Some(connection) = self.connections.open.get(&id) else { return };
        let [from, to] = connection.ends.each_ref().map(|end| end.node);
        let (leaves_at, way) = (self.leaves_at(from), self.way(from, to));
        let connection = self.connections.open.get_mut(&id).expect("looked up above");
        let lane = &mut connection.lanes[side];
        let bytes = if let Piece::Bytes(bytes) = &piece { bytes.len() } else { 0 };
        let link = &self.options.link;
        let sending = bytes as u64 * 1_000_000 / self.options.stream_bytes_per_second;
        let left_at = lane.free_at.max(leaves_at) + sending;
        lane.free_at = left_at + link.retransmissions(bytes, &mut self.rng);
        let last = lane.pieces.back().map_or(0, |&(at, _)| at);
        let arrives_at = last.max(lane.free_at + way + link.plain_delay(&mut self.rng));
        if lane.pieces.is_empty() {
            self.queue.push(arrives_at, Turn::Input, Due::Arrive { connection: id, side });
        }
        lane.pieces.push_back((arrives_at, piece));
        lane.unsent += 1;
        self.queue.push(left_at, Turn::Input, Due::Left { connection: id, side });
    }

    pub(crate) fn on_left(&mut self, id: ConnectionId, side: usize) {
        let Some(connection) = self.connections.open.get(&id) else { return };
        let (node, unreachable) = (connection.ends[side].node, self.is_unreachable(connection));
        if self.deferred(node, || Due::Left { connection: id, side }) {
            return;
        }
        let Some(connection) = self.connections.open.get_mut(&id) else { return };
        let lane = &mut connection.lanes[side];
        lane.unsent -= 1;
        lane.blocked = unreachable && !lane.pieces.is_empty();
        if lane.unsent == 0 && !lane.blocked {
            self.tell_written(id, side);
        }
    }

    fn tell_written(&mut self, id: ConnectionId, side: usize) {
        let Some(end) = self.connections.open.get(&id).map(|connection| connection.ends[side]) else { return };
        if let Some(stream) = end.stream
            && self.hosts[end.node].life == end.life
        {
            self.give(end.node, Input::StreamWritten { stream });
        }
    }

    pub(crate) fn on_arrive(&mut self, id: ConnectionId, side: usize) {
        let Some(connection) = self.connections.open.get(&id) else { return };
        let receiver = connection.ends[1 - side];
        if self.is_unreachable(connection) {
            self.stall_lane(id, side);
            return;
        }
        if self.hosts[receiver.node].life != receiver.life || self.hosts[receiver.node].node.is_none() {
            // The machine knows no such stream (any more) and resets it.
            self.abort(id);
            return;
        }
        if self.withheld(receiver.node, || Due::Arrive { connection: id, side }) {
            return;
        }
        let Some(connection) = self.connections.open.get_mut(&id) else { return };
        let lane = &mut connection.lanes[side];
        lane.stalled = None;
        let moves_again = std::mem::take(&mut lane.blocked) && lane.unsent == 0;
        let Some((_, piece)) = lane.pieces.pop_front() else { return };
        if let Some(&(at, _)) = lane.pieces.front() {
            self.queue.push(at.max(self.now), Turn::Input, Due::Arrive { connection: id, side });
        }
        match (piece, receiver.stream) {
            (Piece::Bytes(bytes), Some(stream)) => {
                self.give(receiver.node, Input::StreamBytes { stream, bytes: &bytes });
            }
            // The receiver has closed: nobody reads.
            (Piece::Bytes(_), None) => {}
            (Piece::Fin, _) => self.abort(id),
        }
        if moves_again {
            self.tell_written(id, side);
        }
    }

    /// Nothing gets through: tried again with growing waits, then given up.
    fn stall_lane(&mut self, id: ConnectionId, side: usize) {
        let Some(connection) = self.connections.open.get_mut(&id) else { return };
        let (since, wait) = connection.lanes[side].stalled.unwrap_or((self.now, RETRANSMISSION_TIMEOUT_MIN));
        connection.lanes[side].stalled = Some((since, (2 * wait).min(RETRANSMISSION_TIMEOUT_MAX)));
        if self.now - since >= STALL_TIMEOUT {
            self.abort(id);
        } else {
            let next = (self.now + wait).min(since + STALL_TIMEOUT);
            self.queue.push(next, Turn::Input, Due::Arrive { connection: id, side });
        }
    }

    pub(crate) fn on_check(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.open.get(&id) else { return };
        let orphaned = connection.ends.iter().any(|end| end.stream.is_some() && self.hosts[end.node].life != end.life);
        if orphaned || self.is_unreachable(connection) {
            self.abort(id);
        }
    }

    /// The stream is over; ends that have not closed it are told, each when it can hear.
    fn abort(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.open.remove(&id) else { return };
        for End { node, life, stream } in connection.ends {
            if let Some(stream) = stream {
                self.queue.push(self.now, Turn::Input, Due::Closed { node, life, stream });
            }
        }
    }

    pub(crate) fn on_closed(&mut self, node: usize, life: u64, stream: StreamId) {
        if self.hosts[node].life != life || self.withheld(node, || Due::Closed { node, life, stream }) {
            return;
        }
        // Closed by the node itself in the meantime: then it hears nothing of it.
        if self.hosts[node].streams.remove(&stream).is_some() {
            self.give(node, Input::StreamClosed { stream });
        }
    }

    fn is_unreachable(&self, connection: &Connection) -> bool {
        let [a, b] = connection.ends.map(|end| end.node);
        let powered = |node: usize| self.hosts.get(node).is_some_and(|host| host.powered);
        !powered(a) || !powered(b) || self.cuts.cut_either_way(a, b)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{DiskFate, Link};

    const OPENED: StreamId = StreamId(2);
    const LATENCY: u64 = 10_000;

    /// Two running nodes that are never heard: the test writes to their streams and sees what they are given.
    fn pair() -> Network {
        let mut net = Network::new(1).nodes(1).without_disks().unchecked();
        net = net.latency(Duration::from_micros(LATENCY)).jitter(Duration::ZERO).stream_speed(1_000_000);
        net = net.start_cold(0, Duration::ZERO);
        // Its own contact: it joins nobody.
        net.add(1, 1, Duration::ZERO);
        net.run_for(Duration::from_micros(1)).unwrap();
        net.tap = Some(Vec::new());
        net
    }

    fn write(net: &mut Network, bytes: usize) {
        net.send_piece(0, address(1), OPENED, vec![7; bytes]);
    }

    /// Runs on; returns what streams brought since the last time: when (microseconds of the run), to whom, what.
    fn brought(net: &mut Network, span: Duration) -> Vec<(u64, usize, String)> {
        net.run_for(span).unwrap();
        let inputs = net.tap.replace(Vec::new()).unwrap();
        let word = |input: String| input.split(' ').next().unwrap().to_owned();
        let inputs = inputs.into_iter().map(|(at, node, input)| (at - 1, node, word(input)));
        inputs.filter(|(_, _, input)| input.starts_with("Stream")).collect()
    }

    fn seen(at: u64, node: usize, input: &str) -> (u64, usize, String) {
        (at, node, input.to_owned())
    }

    #[test]
    fn an_opening_takes_one_and_a_half_round_trips_and_bytes_take_half_of_one_more() {
        let mut net = pair();
        write(&mut net, 1_000);
        let expected = [
            seen(3 * LATENCY, 1, "StreamOpened"),
            seen(3 * LATENCY + 1_000, 0, "StreamWritten"),
            seen(4 * LATENCY + 1_000, 1, "StreamBytes"),
        ];
        assert_eq!(brought(&mut net, Duration::from_secs(1)), expected);
    }

    #[test]
    fn pieces_arrive_in_order_and_no_faster_than_the_line_carries_them() {
        let mut net = pair();
        for _ in 0..10 {
            write(&mut net, 100_000);
        }
        let arrivals: Vec<_> =
            brought(&mut net, Duration::from_secs(5)).into_iter().filter(|seen| seen.2 == "StreamBytes").collect();
        assert_eq!(arrivals.len(), 10);
        assert_eq!(arrivals[9].0, 4 * LATENCY + 1_000_000);
    }

    #[test]
    fn loss_makes_a_stream_late_and_breaks_nothing() {
        let mut net = pair();
        net.set_link(Link { loss: 0.3, ..net.link() });
        for _ in 0..50 {
            write(&mut net, 3_000);
        }
        let arrivals = brought(&mut net, Duration::from_mins(2));
        assert_eq!(arrivals.iter().filter(|seen| seen.2 == "StreamBytes").count(), 50);
        assert!(arrivals.last().unwrap().0 > 2_000_000, "lossless, the last would arrive after 0.19 s");
    }

    #[test]
    fn a_closed_stream_ends_at_the_other_end_after_its_bytes_and_silently_here() {
        let mut net = pair();
        write(&mut net, 1_000);
        net.close_stream(0, OPENED);
        let events: Vec<_> =
            brought(&mut net, Duration::from_secs(1)).into_iter().map(|(_, node, input)| (node, input)).collect();
        let at_other = ["StreamOpened", "StreamBytes", "StreamClosed"].map(|input| (1, input.to_owned()));
        assert_eq!(events, at_other);
    }

    #[test]
    fn what_a_stalled_node_is_sent_or_sends_gets_through_when_the_stall_ends() {
        for (stalled, opened_at) in [(1, 2_000_000), (0, 2_000_000 + 3 * LATENCY)] {
            let mut net = pair();
            net.stall(stalled, Duration::from_secs(2));
            write(&mut net, 1_000);
            let expected = [
                seen(opened_at, 1, "StreamOpened"),
                seen(opened_at + 1_000, 0, "StreamWritten"),
                seen(opened_at + 1_000 + LATENCY, 1, "StreamBytes"),
            ];
            assert_eq!(brought(&mut net, Duration::from_secs(3)), expected);
            // What comes in the next one waits for its end, too.
            write(&mut net, 1_000);
            brought(&mut net, Duration::from_secs(1));
            write(&mut net, 1_000);
            let bytes = brought(&mut net, Duration::from_secs(3)).into_iter().find(|seen| seen.2 == "StreamBytes");
            assert!(bytes.is_some_and(|(at, ..)| (6_000_000..6_100_000).contains(&at)), "n{stalled}");
        }
    }

    #[test]
    fn a_cut_that_heals_in_time_only_delays() {
        let mut net = pair();
        write(&mut net, 1_000);
        brought(&mut net, Duration::from_secs(1));
        net.partition(&[vec![0]]);
        write(&mut net, 1_000);
        assert_eq!(brought(&mut net, Duration::from_secs(5)), []);
        net.heal();
        let words: Vec<_> = brought(&mut net, Duration::from_secs(20)).into_iter().map(|seen| seen.2).collect();
        assert_eq!(words, ["StreamBytes", "StreamWritten"]);
    }

    #[test]
    fn a_cut_that_stays_closes_both_ends() {
        let mut net = pair();
        write(&mut net, 1_000);
        brought(&mut net, Duration::from_secs(1));
        net.oneway(1, 0);
        let mut ends = brought(&mut net, Duration::from_secs(20));
        ends.sort();
        let closed_at = 1_000_000 + STALL_TIMEOUT;
        assert_eq!(ends, [seen(closed_at, 0, "StreamClosed"), seen(closed_at, 1, "StreamClosed")]);
    }

    #[test]
    fn a_killed_process_closes_at_its_peers_and_a_dead_machine_only_when_they_time_out() {
        let mut net = pair();
        write(&mut net, 1_000);
        brought(&mut net, Duration::from_secs(1));
        net.kill(1);
        assert_eq!(brought(&mut net, Duration::from_secs(1)), [seen(1_000_000 + LATENCY, 0, "StreamClosed")]);
        let mut net = pair();
        write(&mut net, 1_000);
        brought(&mut net, Duration::from_secs(1));
        net.crash(1);
        assert_eq!(brought(&mut net, Duration::from_secs(20)), [seen(1_000_000 + STALL_TIMEOUT, 0, "StreamClosed")]);
    }

    #[test]
    fn a_restarted_machine_resets_what_its_last_life_had_open() {
        let mut net = pair();
        write(&mut net, 1_000);
        brought(&mut net, Duration::from_secs(1));
        net.crash(1);
        net.restart(1, DiskFate::Lost);
        write(&mut net, 1_000);
        let words: Vec<_> = brought(&mut net, Duration::from_secs(1)).into_iter().map(|seen| seen.2).collect();
        assert_eq!(words, ["StreamWritten", "StreamClosed"]);
    }

    #[test]
    fn an_opening_is_refused_by_a_machine_without_the_process_and_times_out_without_the_machine() {
        let mut net = pair();
        net.kill(1);
        write(&mut net, 1_000);
        assert_eq!(brought(&mut net, Duration::from_secs(9)), [seen(2 * LATENCY, 0, "StreamClosed")]);
        let mut net = pair();
        net.crash(1);
        write(&mut net, 1_000);
        assert_eq!(brought(&mut net, Duration::from_secs(9)), [seen(CONNECT_TIMEOUT, 0, "StreamClosed")]);
    }

    #[test]
    fn a_process_that_stands_still_hears_of_its_stream_when_it_goes_on() {
        let mut net = pair();
        net.pause(1, Duration::from_secs(2));
        write(&mut net, 1_000);
        let events = brought(&mut net, Duration::from_secs(5));
        assert!(events.iter().filter(|seen| seen.1 == 1).all(|seen| seen.0 >= 2_000_000), "{events:?}");
        assert_eq!(events.len(), 3);
    }
}
