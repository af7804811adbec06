//! The sessions that this node has heard from: who speaks in each, and what came already.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rumormill_core::NodeId;
use rumormill_core::limits::Limits;

use super::window::Window;

/// How many sessions are remembered: as many as `members_max` has members by default.
const SESSIONS_MAX: usize = 1 << 16;

/// A session that an authentic datagram came from.
#[derive(Debug)]
struct Session {
    sender: NodeId,
    window: Window,
}

/// All that are remembered.
///
/// Overflow rule: what is older than any datagram that is still accepted goes first, and costs nothing. Next goes what lies ahead
/// of this node's clock, where honest sessions seldom are: it may come once more. Where that is not enough the half that was
/// heard of longest ago goes, and sessions that are not remembered must then be ahead of all that went: a datagram that was
/// forgotten so cannot come again.
///
/// **Invariant:** `floor` is never ahead of this node's clock. Else who sends from the future would keep everybody out until then.
#[derive(Debug)]
pub(super) struct Sessions {
    known: BTreeMap<u64, Session>,
    most: usize,
    floor: u64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::of_most(SESSIONS_MAX)
    }
}

impl Sessions {
    pub(super) const fn of_most(most: usize) -> Self {
        Self { known: BTreeMap::new(), most, floor: 0 }
    }

    /// Who speaks in a session, if that is known.
    pub(super) fn sender(&self, session: u64) -> Option<NodeId> {
        self.known.get(&session).map(|known| known.sender)
    }

    /// Whether this datagram did not come already, as far as is remembered.
    pub(super) fn is_new(&self, session: u64, counter: u64) -> bool {
        self.known.get(&session).map_or(counter > self.floor, |known| known.window.is_new(counter))
    }

    /// Notes an authentic datagram that is new. What is older than the first of `times` is not accepted anyway; the second is now.
    pub(super) fn take(&mut self, session: u64, sender: NodeId, counter: u64, times: RangeInclusive<u64>) {
        if !self.known.contains_key(&session) && self.known.len() >= self.most {
            self.make_room(times);
        }
        let known = self.known.entry(session).or_insert_with(|| Session { sender, window: Window::default() });
        known.window.take(counter);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn make_room(&mut self, times: RangeInclusive<u64>) {
        self.known.retain(|_, known| known.window.last() >= *times.start());
        if self.has_room() {
            return;
        }
        self.known.retain(|_, known| known.window.last() <= *times.end());
        if self.has_room() {
            return;
        }
        let mut lasts: Vec<u64> = self.known.values().map(|known| known.window.last()).collect();
        let middle = lasts.len() / 2;
        let (_, &mut median, _) = lasts.select_nth_unstable(middle);
        self.known.retain(|_, known| known.window.last() > median);
        self.floor = self.floor.max(median);
    }

    /// Whether there is room for so many that looking through all of them was worth it.
    fn has_room(&self) -> bool {
        self.known.len() < self.most - self.most / 8
    }

    /// What is bounded here.
    pub(super) fn limits(&self, to: &mut Limits) {
        let Self { known, most, floor: _ } = self;
        to.entries("sessions", known.len(), *most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_was_forgotten_cannot_be_replayed() {
        let mut sessions = Sessions::of_most(8);
        for session in 1..=20 {
            assert!(sessions.is_new(session, 100 + session));
            sessions.take(session, NodeId(session), 100 + session, 0..=1_000);
            assert!(sessions.len() <= 8);
        }
        for session in 1..=20 {
            assert!(!sessions.is_new(session, 100 + session), "session {session}");
        }
        assert!(sessions.is_new(1, 121), "it may go on");
    }

    #[test]
    fn what_is_too_old_to_be_accepted_is_forgotten_without_a_trace() {
        let mut sessions = Sessions::of_most(4);
        for session in 1..=4 {
            sessions.take(session, NodeId(session), session, 0..=100);
        }
        sessions.take(5, NodeId(5), 100, 50..=100);
        assert_eq!((sessions.len(), sessions.floor), (1, 0));
    }

    #[test]
    fn whoever_speaks_from_the_future_keeps_nobody_out() {
        const NOW: u64 = 1_000;
        let mut sessions = Sessions::of_most(64);
        for session in 1..=32 {
            sessions.take(session, NodeId(session), NOW - session, 0..=NOW);
        }
        for session in 33..1_000 {
            sessions.take(session, NodeId(session), NOW + session, 0..=NOW);
            assert!(sessions.len() <= 64 && sessions.floor <= NOW);
        }
        assert!((1..=32).all(|session| sessions.sender(session).is_some()), "who spoke before is forgotten");
        assert!(sessions.is_new(1_000, NOW), "who starts now is not heard");
    }
}
