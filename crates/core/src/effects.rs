//! What the parts of a node share while they handle one input: the time, randomness, timers and the outbox.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::identity::{NodeId, Record};
use crate::io::{Event, Output, StreamId, Token};
use crate::map::Map;
use crate::rng::Rng;
use crate::stats::Counters;
use crate::time::{Instant, Now};
use crate::update::UpdateId;

/// Everything that can come due.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
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
    /// Answers on their way back go on, or their question has ended.
    Return,
    /// A stream was silent for too long.
    Stream(StreamId),
    /// The bandwidth contract allows the next piece.
    Pace,
    /// Others have had the time to learn that this node leaves.
    Leave,
    /// Known members are written down.
    Remember,
    /// A write that waits for its turn has waited too long.
    Write,
    /// What could not be stored is tried again.
    Save,
    /// What this node added to counters in earlier lives is asked for again.
    OwnSums,
    /// Somebody who was out of touch is asked to reconcile.
    Reunion,
    /// The next shuffle of a partial view.
    Shuffle,
    /// A free place among neighbours is to be filled.
    Search,
    /// What came lately is announced on lazy links.
    Lazy,
    /// An operation on a register is over, or a proposal was not answered.
    Agree,
    /// The next round of averaging gauges.
    Gauges,
    /// A message that was announced has not come.
    Graft(UpdateId),
    /// Somebody who was asked to be a neighbour has not answered.
    Neighbour(NodeId),
    /// Others have not confirmed that they hold a write.
    Hold(u64),
}

/// The shared part of a node.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Effects {
    pub(crate) now: Now,
    pub(crate) rng: Rng,
    pub(crate) timers: Timers,
    /// Empty between inputs, when a node is written.
    #[serde(skip)]
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

/// Not armed.
const NEVER: Instant = Instant::from_micros(u64::MAX);

/// Timers, each armed at most once, in the order in which they come due.
///
/// Those of which a node has one each are in an array: they come and go all the time, and there are always some. Those
/// about somebody are in a heap, which may hold some that were cancelled or moved since; the first never is.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Timers {
    single: [Instant; SINGLE.len()],
    queue: BinaryHeap<Reverse<(Instant, Timer)>>,
    /// What in the queue counts.
    armed: Map<Timer, Instant>,
}

/// The timers of which a node has one each, in their order.
const SINGLE: [Timer; 16] = [
    Timer::ProbeInterval,
    Timer::Round,
    Timer::Echo,
    Timer::Repair,
    Timer::Rejoin,
    Timer::Pace,
    Timer::Leave,
    Timer::Remember,
    Timer::Write,
    Timer::Save,
    Timer::OwnSums,
    Timer::Reunion,
    Timer::Shuffle,
    Timer::Search,
    Timer::Lazy,
    Timer::Gauges,
];

/// The place of a timer in the array, if it is one of those.
const fn place(timer: Timer) -> Option<usize> {
    match timer {
        Timer::ProbeInterval => Some(0),
        Timer::Round => Some(1),
        Timer::Echo => Some(2),
        Timer::Repair => Some(3),
        Timer::Rejoin => Some(4),
        Timer::Pace => Some(5),
        Timer::Leave => Some(6),
        Timer::Remember => Some(7),
        Timer::Write => Some(8),
        Timer::Save => Some(9),
        Timer::OwnSums => Some(10),
        Timer::Reunion => Some(11),
        Timer::Shuffle => Some(12),
        Timer::Search => Some(13),
        Timer::Lazy => Some(14),
        Timer::Gauges => Some(15),
        Timer::Probe(_)
        // There are nodes that never need it.
        | Timer::Agree
        | Timer::Neighbour(_)
        | Timer::Graft(_)
        | Timer::Relay(_)
        | Timer::Suspicion(_)
        | Timer::Verdict(_)
        | Timer::Doubt(_)
        | Timer::Ask(_)
        | Timer::Contact(_)
        | Timer::Want(_)
        | Timer::Query(_)
        | Timer::Answer(..)
        | Timer::Return
        | Timer::Stream(_)
        | Timer::Hold(_) => None,
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self { single: [NEVER; SINGLE.len()], queue: BinaryHeap::new(), armed: Map::default() }
    }
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        assert!(at < NEVER, "a timer comes due some day");
        if let Some(place) = place(timer) {
            self.single[place] = at;
            return;
        }
        if self.armed.insert(timer, at) != Some(at) {
            self.queue.push(Reverse((at, timer)));
            self.prune();
        }
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(place) = place(timer) {
            self.single[place] = NEVER;
        } else if self.armed.remove(&timer).is_some() {
            self.prune();
            if self.armed.is_empty() {
                // At rest there are none, and many nodes of one process take no memory for them.
                (self.armed, self.queue) = Default::default();
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When a timer comes due, if it is armed.
    pub(crate) fn due(&self, timer: Timer) -> Option<Instant> {
        match place(timer) {
            Some(place) => Some(self.single[place]).filter(|at| *at < NEVER),
            None => self.armed.get(&timer).copied(),
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        let queued = self.queue.peek().map_or(NEVER, |Reverse((at, _))| *at);
        let next = self.single.iter().fold(queued, |next, at| next.min(*at));
        (next < NEVER).then_some(next)
    }

    /// Takes out the first timer that is due, with the moment at which it should have come.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        let at = self.next().filter(|at| *at <= now)?;
        let single = self.single.iter().position(|due| *due == at).map(|place| SINGLE[place]);
        let queued = self.queue.peek().filter(|Reverse(first)| first.0 == at).map(|Reverse(first)| first.1);
        let timer = single.into_iter().chain(queued).min()?;
        self.cancel(timer);
        Some((timer, at))
    }

    /// Lets what does not count any more go from the front of the queue, and from all of it once that is most.
    fn prune(&mut self) {
        let armed = &self.armed;
        let counts = |Reverse((at, timer)): &Reverse<(Instant, Timer)>| armed.get(timer) == Some(at);
        while self.queue.peek().is_some_and(|first| !counts(first)) {
            self.queue.pop();
        }
        if self.queue.len() > 2 * armed.len() + STALE_MAX {
            self.queue.retain(counts);
        }
    }
}

/// Timers in the queue that may be stale, beyond as many as count.
const STALE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_single_timer_has_its_own_place() {
        for (expected, timer) in SINGLE.into_iter().enumerate() {
            assert_eq!(place(timer), Some(expected));
        }
        assert!(SINGLE.is_sorted());
    }

    proptest! {
        #[test]
        fn timers_come_in_the_order_of_time_and_then_of_themselves_whatever_was_armed_moved_and_cancelled(
            steps in proptest::collection::vec((0_u64..12, 0_u64..20, 0_u8..4), 1..200)
        ) {
            let timer = |n: u64| match n {
                0 => Timer::ProbeInterval,
                1 => Timer::Remember,
                2..5 => Timer::Suspicion(NodeId(n)),
                5..8 => Timer::Want(UpdateId(n)),
                8 => Timer::Round,
                _ => Timer::Query(n),
            };
            let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
            for (n, at, step) in steps {
                let (timer, at) = (timer(n), Instant::from_micros(at));
                match step {
                    0 => {
                        timers.cancel(timer);
                        model.remove(&timer);
                    }
                    1 => {
                        let first = model.iter().map(|(timer, at)| (*at, *timer)).min().filter(|first| first.0 <= at);
                        prop_assert_eq!(timers.expire(at), first.map(|(at, timer)| (timer, at)));
                        first.and_then(|(_, timer)| model.remove(&timer));
                    }
                    _ => {
                        timers.set(timer, at);
                        model.insert(timer, at);
                    }
                }
                prop_assert_eq!(timers.next(), model.values().min().copied());
                prop_assert_eq!(timers.due(timer), model.get(&timer).copied());
                prop_assert!(timers.queue.len() <= 2 * timers.armed.len() + STALE_MAX);
            }
        }
    }
}
