//! Ballots: the order of all attempts to change registers.

use std::fmt;

use crate::identity::NodeId;

/// Counters end here, so that the next one always is a number.
pub(super) const COUNTER_MAX: u64 = 1 << 56;

/// The number of an attempt. No two attempts ever have the same one: the configuration and the counter order them, boot and
/// proposer keep apart those that began in the dark (design §2 rule 1).
///
/// The default comes before all that are used: nothing was promised yet.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct Ballot {
    /// Under which configuration of voters, from 1.
    pub configuration: u32,
    /// Above all that its proposer had seen.
    pub counter: u64,
    /// The start of its proposer, which is durable: nobody uses a ballot again after a restart.
    pub boot: u64,
    /// Whose attempt it is.
    pub proposer: NodeId,
}

impl Ballot {
    /// Whether it is one that somebody could use.
    pub(crate) fn is_lawful(self) -> bool {
        self.configuration > 0 && self.counter <= COUNTER_MAX
    }
}

/// As `3.17 of 00000000000000a1` in failures; the configuration first.
impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} of {}", self.configuration, self.counter, self.proposer)
    }
}

/// Gives a proposer its ballots, for all registers, each once.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Ballots {
    proposer: NodeId,
    boot: u64,
    last: u64,
}

impl Ballots {
    /// Those of one start of a proposer, with counters above `first`. A node draws that: should its disk be a backup that was
    /// restored, it hardly repeats the ballots of the life that it has forgotten before it hears of it.
    pub const fn new(proposer: NodeId, boot: u64, first: u64) -> Self {
        Self { proposer, boot, last: first }
    }

    /// One that is above all that was given before in this configuration, and above those that were seen with a counter of
    /// `seen`. `None` once counters are used up.
    pub fn next(&mut self, configuration: u32, seen: u64) -> Option<Ballot> {
        let counter = self.last.max(seen) + 1;
        if counter > COUNTER_MAX {
            return None;
        }
        self.last = counter;
        Some(Ballot { configuration, counter, boot: self.boot, proposer: self.proposer })
    }

    /// From now on counters are above that, as long as there are any.
    pub fn leave_behind(&mut self, counter: u64) {
        self.last = self.last.max(counter.min(COUNTER_MAX / 2));
    }

    /// The same proposer with a higher boot.
    pub fn raise(&mut self, boot: u64) {
        assert!(boot >= self.boot, "boots rise");
        self.boot = boot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_come_first_then_counters_then_those_who_began_in_the_dark() {
        let ballot = |configuration, counter, boot, proposer| Ballot {
            configuration,
            counter,
            boot,
            proposer: NodeId(proposer),
        };
        let rising = [
            Ballot::default(),
            ballot(1, 1, 1, 1),
            ballot(1, 1, 1, 2),
            ballot(1, 1, 2, 1),
            ballot(1, 2, 1, 1),
            ballot(2, 1, 1, 1),
        ];
        assert!(rising.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn ballots_rise_and_leave_what_was_seen_behind() {
        let mut ballots = Ballots::new(NodeId(7), 1, 0);
        let first = ballots.next(1, 0).unwrap();
        let second = ballots.next(1, 41).unwrap();
        let third = ballots.next(1, 5).unwrap();
        assert_eq!([first.counter, second.counter, third.counter], [1, 42, 43]);
    }

    #[test]
    fn counters_that_are_used_up_are_said_to_be_and_do_not_wrap() {
        let mut ballots = Ballots::new(NodeId(7), 1, 0);
        assert!(ballots.next(1, COUNTER_MAX - 1).is_some_and(Ballot::is_lawful));
        assert_eq!(ballots.next(1, COUNTER_MAX), None);
        assert_eq!(ballots.next(1, 0), None);
    }
}
