//! What the parts of a node share while they handle one input: the time, randomness, timers and the outbox.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::identity::{NodeId, Record};
use crate::io::{Event, Output, StreamId, Token};
use crate::rng::Rng;
use crate::stats::Counters;
use crate::time::{Instant, Now};
use crate::update::UpdateId;

/// Everything that can come due.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Timer {
    /// The next probe of the pass.
    ProbeInterval,
    /// The present step of a probe ends.
    Probe(u16),
    /// This node was asked to ping somebody; the asker wants to hear of failure.
    Relay(u16),
    /// A suspect had its time.
    Suspicion(NodeId),
    /// The last probe of a suspect had its time.
    Verdict(NodeId),
    /// A claim that a live member is dead had its time to be contradicted.
    Doubt(NodeId),
    /// The next gossip round.
    Round,
    /// A peer that was asked for news has not answered.
    Ask(NodeId),
    /// Fresh news goes out once more.
    Echo,
    /// The next comparison with a random peer.
    Repair,
    /// Try somebody who died or left.
    Rejoin,
    /// Try a contact again.
    Contact(SocketAddr),
    /// The next announcer of a large update is asked.
    Want(UpdateId),
    /// A query ends.
    Query(u64),
    /// An answer was not confirmed.
    Answer(NodeId, u64),
    /// A stream was silent for too long.
    Stream(StreamId),
    /// The bandwidth contract allows the next piece.
    Pace,
    /// Others have had the time to learn that this node leaves.
    Leave,
    /// Known members are written down.
    Remember,
}

/// The shared part of a node.
#[derive(Debug)]
pub(crate) struct Effects {
    pub(crate) now: Now,
    pub(crate) rng: Rng,
    pub(crate) timers: Timers,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) counters: Counters,
    tokens: u64,
}

impl Effects {
    pub(crate) fn new(now: Now, seed: u64) -> Self {
        Self {
            now,
            rng: Rng::new(seed),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            tokens: 0,
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(crate) fn arm(&mut self, after: Duration, timer: Timer) {
        self.timers.set(timer, self.now.instant + after);
    }

    /// Like [`arm`](Self::arm), unless the timer is armed already.
    pub(crate) fn arm_once(&mut self, after: Duration, timer: Timer) {
        if self.timers.due(timer).is_none() {
            self.arm(after, timer);
        }
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.timers.cancel(timer);
    }

    pub(crate) fn persist(&mut self, records: Vec<Record>) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.outputs.push_back(Output::Persist { token, records });
        token
    }
}

/// Timers, each armed at most once, in the order in which they come due.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(Instant, Timer)>,
    by_timer: BTreeMap<Timer, Instant>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.cancel(timer);
        self.by_timer.insert(timer, at);
        self.by_time.insert((at, timer));
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.by_timer.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When a timer comes due, if it is armed.
    pub(crate) fn due(&self, timer: Timer) -> Option<Instant> {
        self.by_timer.get(&timer).copied()
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out the first timer that is due, with the moment at which it should have come.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        let (at, timer) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some((timer, at))
    }
}
