//! The loop: the next thing in time, the input that it is for a node, and what the node wants then.

use std::net::SocketAddr;
use std::time::Duration;

use rumormill_core::io::{StreamId, Ticket};
use rumormill_core::{Channel, Command, Event, Input, Output, Reply};

use super::Network;
use super::act::Act;
use super::check::{Breach, Verdict};
use super::disk;
use super::host::{NEVER, address, at_address};
use super::measure::{Arrival, Change, End, MessageKey, Note};
use super::queue::Turn;
use super::streams::ConnectionId;
use crate::{Failure, micros};

/// What is due at a moment of virtual time.
#[derive(Debug)]
pub(crate) enum Due {
    /// A datagram arrives.
    Datagram { from: usize, to: usize, bytes: Vec<u8> },
    /// A node's deadline, unless it moved meanwhile.
    Timeout { node: usize },
    /// The oldest write of a node's disk completes.
    Disk { node: usize, life: u64 },
    /// A node starts, and is told a contact if there is one.
    Start { node: usize, contact: Option<usize> },
    /// A slow node stands still once more.
    Slow { node: usize },
    /// A process that stood still goes on, unless it stands still for longer now.
    Wake { node: usize },
    /// Something befalls the network.
    Act(Box<Act>),
    /// A stream's opening reaches out, for the nth time.
    Connect { connection: ConnectionId, attempt: u32 },
    /// The answer to it is back.
    Connected { connection: ConnectionId },
    /// The other end learns of the stream.
    Accept { connection: ConnectionId },
    /// A piece has left the end that sent it.
    Left { connection: ConnectionId, side: usize },
    /// The oldest piece of this side is at the other end.
    Arrive { connection: ConnectionId, side: usize },
    /// A stream that lost its way, or its other end, times out.
    Check { connection: ConnectionId },
    /// An end learns that its stream is over.
    Closed { node: usize, life: u64, stream: StreamId },
}

/// How often [`Network::run_until`] looks whether its condition holds.
const LOOK_EVERY: u64 = 1_000;
/// A node that asks for so many timeouts at one instant would go on for ever.
const IDLE_TURNS_MAX: u32 = 10_000;

impl Network {
    /// Runs for a span of virtual time.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn run_for(&mut self, span: Duration) -> Result<(), Failure> {
        let end = self.now + micros(span);
        while self.queue.next_at().is_some_and(|at| at <= end) {
            self.step()?;
        }
        self.now = end;
        Ok(())
    }

    /// Runs until a condition holds, looked at every virtual millisecond; returns how long it took.
    ///
    /// # Errors
    /// The first rule that was broken, or that `budget` was not enough.
    pub fn run_until(&mut self, mut holds: impl FnMut(&Self) -> bool, budget: Duration) -> Result<Duration, Failure> {
        let start = self.now;
        loop {
            if holds(self) {
                return Ok(Duration::from_micros(self.now - start));
            }
            if self.now - start >= micros(budget) {
                let detail = format!("not within {budget:?}; {}", self.summary());
                return Err(self.failure(None, Breach { rule: "comes true in time", detail }));
            }
            self.run_for(Duration::from_micros(LOOK_EVERY))?;
        }
    }

    /// Gives a node something to do now; see [`result`](Self::result).
    ///
    /// # Panics
    /// If the node is down or paused.
    pub fn command(&mut self, node: usize, command: Command) -> Ticket {
        assert!(self.takes_commands(node), "n{node} is down or paused and takes no commands");
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        if let Command::Publish { topic, .. } = &command {
            self.publishing.insert(ticket, topic.clone());
        }
        if let Command::Write { writes, .. } = &command {
            self.note_writes(node, ticket, writes);
        }
        self.give(node, Input::Command { ticket, command });
        ticket
    }

    fn step(&mut self) -> Result<(), Failure> {
        let Some((at, due)) = self.queue.pop() else { return Ok(()) };
        debug_assert!(at >= self.now, "time runs forwards");
        self.now = at;
        self.dispatch(due);
        match self.broken.take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn dispatch(&mut self, due: Due) {
        match due {
            Due::Datagram { from, to, bytes } => self.on_datagram(from, to, bytes),
            Due::Timeout { node } => self.on_timeout(node),
            Due::Disk { node, life } => self.on_disk(node, life),
            // A plan may have restarted it before its time.
            Due::Start { node, .. } if self.is_up(node) => {}
            Due::Start { node, contact } => self.start(node, contact),
            Due::Slow { node } => self.on_slow(node),
            Due::Wake { node } if self.hosts[node].paused_until.is_some_and(|until| until <= self.now) => {
                self.wake(node);
            }
            Due::Wake { .. } => {}
            Due::Act(act) => self.act(*act),
            Due::Connect { connection, attempt } => self.on_connect(connection, attempt),
            Due::Connected { connection } => self.on_connected(connection),
            Due::Accept { connection } => self.on_accept(connection),
            Due::Left { connection, side } => self.on_left(connection, side),
            Due::Arrive { connection, side } => self.on_arrive(connection, side),
            Due::Check { connection } => self.on_check(connection),
            Due::Closed { node, life, stream } => self.on_closed(node, life, stream),
        }
    }

    /// Whether a node's process stands still; then `due` comes again when it goes on. In the instant in which it does,
    /// what waits comes first.
    pub(crate) fn deferred(&mut self, node: usize, due: impl FnOnce() -> Due) -> bool {
        let host = &mut self.hosts[node];
        let stands = host.paused_until.is_some_and(|until| until > self.now) || !host.waiting.is_empty();
        if stands {
            host.waiting.push(due());
        }
        stands
    }

    /// The same of what others sent, which also waits while nothing gets through.
    pub(crate) fn withheld(&mut self, node: usize, due: impl FnOnce() -> Due) -> bool {
        let Some(until) = self.hosts[node].stalls.until(self.now) else { return self.deferred(node, due) };
        self.queue.push(until, Turn::Input, due());
        true
    }

    /// When what a node sends now gets out.
    pub(crate) fn leaves_at(&self, node: usize) -> u64 {
        self.hosts[node].stalls.until(self.now).unwrap_or(self.now)
    }

    fn on_datagram(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        // Moved out only if it has to wait.
        let mut bytes = Some(bytes);
        if self.withheld(to, || Due::Datagram { from, to, bytes: bytes.take().expect("not given yet") }) {
            return;
        }
        if let Some(bytes) = bytes
            && self.hosts[to].node.is_some()
        {
            self.give(to, Input::Datagram { from: address(from), bytes: &bytes });
        }
    }

    fn on_timeout(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if host.armed_at != self.now {
            return;
        }
        if let Some(until) = host.paused_until.filter(|&until| until > self.now) {
            host.armed_at = until;
            self.queue.push(until, Turn::Timeout, Due::Timeout { node });
            return;
        }
        host.armed_at = NEVER;
        let deadline = host.node.as_deref().and_then(rumormill_core::Node::poll_timeout);
        if deadline.is_some_and(|deadline| self.hosts[node].clock.moment(deadline) <= self.now) {
            self.hosts[node].idle_turns += 1;
            if self.hosts[node].idle_turns > IDLE_TURNS_MAX {
                let detail = format!("{IDLE_TURNS_MAX} timeouts at one instant, and another is due");
                self.judge(node, Err(Breach { rule: "time goes on", detail }));
                return;
            }
            self.give(node, Input::Timeout);
        } else {
            self.arm(node);
        }
    }

    fn on_disk(&mut self, node: usize, life: u64) {
        if self.hosts[node].life != life || self.deferred(node, || Due::Disk { node, life }) {
            return;
        }
        match self.hosts[node].disk.complete() {
            Some((token, true)) => self.give(node, Input::Persisted { token }),
            Some((token, false)) => {
                let reason = disk::FAILURE.to_owned();
                self.give(node, Input::PersistFailed { token, reason });
            }
            None => {}
        }
    }

    /// The contract: one input, all outputs, the deadline. A node that is gone takes nothing.
    pub(crate) fn give(&mut self, node: usize, input: Input<'_>) {
        #[cfg(test)]
        if let Some(tap) = &mut self.tap {
            tap.push((self.now, node, format!("{input:?}")));
            return;
        }
        let host = &mut self.hosts[node];
        let Some(machine) = &mut host.node else { return };
        self.trace.given(self.now, node, &input);
        self.measured.inputs += 1;
        if !matches!(input, Input::Timeout) {
            host.idle_turns = 0;
        }
        let now = host.clock.read(self.now);
        if let Some(tape) = &mut host.tape {
            tape.on_input(host.life, now, &input);
        }
        machine.handle_input(now, input);
        self.drain(node);
    }

    /// Does what a node wants done, looks at what became of it, and notes its deadline.
    pub(crate) fn drain(&mut self, node: usize) {
        while let Some(output) = self.hosts[node].node.as_deref_mut().and_then(rumormill_core::Node::poll_output) {
            if let Some(tape) = &mut self.hosts[node].tape {
                tape.on_output(&output);
            }
            self.on_output(node, output);
        }
        if let Some(tape) = &mut self.hosts[node].tape {
            tape.on_settled();
        }
        if self.hosts[node].stopped {
            self.end_of_life(node, End::Stopped);
            self.end_process(node);
            self.hosts[node].left = true;
            return;
        }
        let host = &self.hosts[node];
        if let (Some(machine), Some(checkers)) = (&host.node, &mut self.checkers) {
            let verdict = checkers.after_input(self.now, node, machine, host.streams.len());
            self.judge(node, verdict);
        }
        self.arm(node);
    }

    fn on_output(&mut self, node: usize, output: Output) {
        match output {
            Output::Transmit { to, channel: Channel::Datagram, bytes } => self.send_datagram(node, to, bytes),
            Output::Transmit { to, channel: Channel::Stream(stream), bytes } => {
                self.measured.traffic[node].count_piece(bytes.len());
                if let Some(checkers) = &mut self.checkers {
                    let verdict = checkers.sent_piece(self.now, node, bytes.len());
                    self.judge(node, verdict);
                }
                self.send_piece(node, to, stream, bytes);
            }
            Output::Close { stream } => self.close_stream(node, stream),
            Output::Persist { token, records } => {
                let longest = self.longest_write();
                let delay = longest / 10 + self.below(longest - longest / 10);
                let host = &mut self.hosts[node];
                let done_at = host.disk.write(self.now, delay, token, records);
                self.queue.push(done_at, Turn::Input, Due::Disk { node, life: host.life });
            }
            Output::Event(event) => self.on_event(node, event),
        }
    }

    fn send_datagram(&mut self, node: usize, to: SocketAddr, bytes: Vec<u8>) {
        self.measured.traffic[node].count_datagram(bytes.len());
        if let Some(checkers) = &mut self.checkers {
            let verdict = checkers.sent_datagram(self.now, node, bytes.len());
            self.judge(node, verdict);
        }
        let Some(to) = at_address(to).filter(|&to| to < self.hosts.len()) else { return };
        if self.cuts.cut(node, to) {
            return;
        }
        let leaves_at = self.leaves_at(node) + self.way(node, to);
        let mut arrivals = self.options.link.deliveries(&mut self.rng).map(|delay| leaves_at + delay);
        let Some(first) = arrivals.next() else { return };
        if let Some(second) = arrivals.next() {
            self.queue.push(second, Turn::Input, Due::Datagram { from: node, to, bytes: bytes.clone() });
        }
        self.queue.push(first, Turn::Input, Due::Datagram { from: node, to, bytes });
    }

    fn on_event(&mut self, node: usize, event: Event) {
        if let Some(checkers) = &mut self.checkers {
            let verdict = checkers.told(self.now, node, &event);
            self.judge(node, verdict);
        }
        match event {
            Event::Member { change, member, .. } => self.note_change(node, change, member.id),
            Event::Message(message) => {
                let key =
                    MessageKey { origin: message.origin, sequence: message.sequence, topic: message.topic.clone() };
                let arrival = Arrival { node, life: self.hosts[node].life, at: self.now(), hops: message.hops };
                self.measured.messages.entry(key).or_default().arrivals.push(arrival);
            }
            Event::Stopped { .. } => {
                self.note(node, event);
                self.hosts[node].stopped = true;
            }
            Event::Done { ticket, ref result } => {
                if let Some((checkers, latest)) = self.checkers_now() {
                    checkers.data.answered(ticket, result, latest);
                }
                if let (Some(topic), Ok(Reply::Published { sequence })) = (self.publishing.remove(&ticket), result) {
                    let key = MessageKey { origin: self.hosts[node].id, sequence: *sequence, topic };
                    let now = self.now();
                    self.measured.messages.entry(key.clone()).or_default().acknowledged = Some(now);
                    self.published.insert(ticket, key);
                }
                self.results.insert(ticket, result.clone());
                self.note(node, event);
            }
            // Written in the network's own record of what was acknowledged.
            Event::Data(_) => {}
            Event::Started { .. }
            | Event::Register { .. }
            | Event::Lease { .. }
            | Event::Missed { .. }
            | Event::Query { .. }
            | Event::Answer { .. }
            | Event::Trace { .. }
            | Event::Answered { .. }
            | Event::ContactFailed { .. }
            | Event::Warning(_) => self.note(node, event),
        }
    }

    fn note(&mut self, node: usize, event: Event) {
        let note = Note { at: self.now(), node, event };
        self.measured.notes.push(note);
    }

    fn note_change(&mut self, observer: usize, change: rumormill_core::MemberChange, member: rumormill_core::NodeId) {
        use rumormill_core::MemberChange::{
            Failed, Joined, Left, Refuted, Removed, Replaced, Revoked, Suspected, Updated,
        };
        match change {
            Joined | Updated => {}
            Suspected | Refuted | Failed | Left | Removed | Replaced | Revoked => {
                let mistaken = matches!(change, Suspected | Failed)
                    && self.numbers_of(member).any(|n| self.is_up(n) && !self.cuts.cut_either_way(observer, n));
                let is_well = |n| self.takes_commands(n) && self.hosts[n].slow == 0 && self.hosts[n].stalls.are_none();
                let unwell = mistaken && !self.numbers_of(member).any(is_well);
                self.measured.changes.push(Change { at: self.now(), observer, member, change, mistaken, unwell });
            }
        }
    }

    /// Keeps the first breach; it ends the run.
    pub(crate) fn judge(&mut self, node: usize, verdict: Verdict) {
        if let Err(breach) = verdict
            && self.broken.is_none()
        {
            self.broken = Some(self.failure(Some(node), breach));
        }
    }

    /// Puts a node's deadline into the queue, unless an earlier or equal timeout is there: that one will look again.
    pub(super) fn arm(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let Some(deadline) = host.node.as_deref().and_then(rumormill_core::Node::poll_timeout) else { return };
        let at = host.clock.moment(deadline).max(self.now);
        if at < host.armed_at {
            host.armed_at = at;
            self.queue.push(at, Turn::Timeout, Due::Timeout { node });
        }
    }
}
